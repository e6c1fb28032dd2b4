//! Shards under many schedules of the threads that use them.

use std::sync::Arc;
use std::time::Duration;

use shuttle::thread;

use super::*;
use crate::clock::ManualClock;
use crate::shim::schedules::explore;

const SCHEDULES: usize = 500;

#[test]
fn threads_see_whole_entries_and_limits_hold() {
    explore(SCHEDULES, || {
        let clock = Arc::new(ManualClock::new(0));
        let limits = Limits {
            max_entries: 3,
            max_bytes: 1 << 20,
        };
        let cache: Arc<L1<u64, (u64, u64), _>> = Arc::new(L1::new(limits).on_clock(clock.clone()));
        let threads: Vec<_> = (0..3_u64)
            .map(|thread| {
                let (cache, clock) = (Arc::clone(&cache), clock.clone());
                thread::spawn(move || {
                    for round in 0..4 {
                        let key = (thread + round) % 5;
                        let life = (round % 2 == 0).then_some(Duration::from_secs(1));
                        assert!(cache.insert(key, (key, thread), life));
                        for key in 0..5 {
                            assert!(cache.get(&key).is_none_or(|(of, _)| of == key));
                        }
                        assert!(cache.len() <= 3);
                        match round {
                            1 => drop(cache.remove(&key)),
                            2 => clock.advance(Duration::from_secs(1)),
                            _ => {}
                        }
                    }
                })
            })
            .collect();
        for thread in threads {
            thread.join().expect("it does not panic");
        }
        cache.insert(7, (7, 7), None);
        assert_eq!(cache.get(&7), Some((7, 7)));
        cache.clear();
        assert_eq!((cache.len(), cache.bytes()), (0, 0));
    });
}
