//! A function that calls itself through its cache, on one thread: how deep it can go.

use crate::cache::*;
use crate::driver::blocking::{self, Blocking};
use crate::generated::presets;
use crate::interrupt::Uninterrupted;
use crate::l1::{L1, Limits};
use crate::remote::memory::Memory;

type Recursive = Cache<L1<u64, u64>, MessagePack<u64>, String, Memory, Blocking>;

fn cache() -> Recursive {
    Builder::new(Identity::new("test", "recursive", None), presets::DEFAULT)
        .metrics(Box::leak(Box::default()))
        .build(
            L1::new(Limits {
                max_entries: 2000,
                max_bytes: 1 << 20,
            }),
            MessagePack::new(),
            Some(Arc::new(Memory::default())),
            Blocking,
        )
        .expect("the options are valid")
}

/// Counts down, and says where on the stack the bottom was.
fn down(cache: &Recursive, n: u64, bottom: &mut usize) -> u64 {
    if n == 0 {
        *bottom = std::ptr::from_ref(&n).addr();
        return 0;
    }
    let load = move || async move { Ok(down(cache, n - 1, bottom) + 1) };
    let call = cache.get_or_load(Lookup::of(n).expect("short"), load);
    blocking::run(call, &Uninterrupted)
        .expect("not interrupted")
        .expect("it returns")
        .value
}

#[test]
fn nine_hundred_levels_take_less_than_six_kilobytes_each() {
    const LEVELS: u64 = 900;
    let deep = std::thread::Builder::new().stack_size(8 << 20).spawn(|| {
        let cache = cache();
        let top = 0;
        let mut bottom = 0;
        assert_eq!(down(&cache, LEVELS, &mut bottom), LEVELS);
        let each = (std::ptr::from_ref(&top).addr() - bottom) / LEVELS as usize;
        println!("{each} bytes of stack for each level");
        assert!(each < 6 * 1024, "{each} bytes of stack for each level");
        assert_eq!(cache.local().len() as u64, LEVELS);
    });
    deep.expect("a thread")
        .join()
        .expect("it does not overflow");
}

#[test]
fn a_function_that_asks_for_its_own_key_calls_through() {
    fn again(cache: &Recursive, left: u64) -> Served<u64> {
        let load = || async {
            if left == 0 {
                return Ok(1);
            }
            let inner = again(cache, left - 1);
            assert_eq!(inner.from, Source::Nested);
            Ok(inner.value + 1)
        };
        let call = cache.get_or_load(Lookup::of(7_u64).expect("short"), load);
        blocking::run(call, &Uninterrupted)
            .expect("not interrupted")
            .expect("it returns")
    }
    let cache = cache();
    assert_eq!(
        again(&cache, 3),
        Served {
            value: 4,
            from: Source::Load
        }
    );
    assert_eq!(
        again(&cache, 3),
        Served {
            value: 4,
            from: Source::L1
        }
    );
    let lookups = &cache.bound.shared.metrics.lookups;
    let [hits, misses] =
        [LookupOutcome::Hit, LookupOutcome::Miss].map(|outcome| lookups.value(Tier::L1, outcome));
    assert_eq!(
        (hits, misses),
        (1, 4),
        "whoever calls through has missed too"
    );
}
