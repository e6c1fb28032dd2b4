//! What may happen between two steps of a read, made to happen.

use super::support::*;
use crate::cache::*;
use crate::clock::{Clock, Instant};
use crate::driver::{Caller, Spawn, Task};
use crate::l1::{L1, Limits};
use crate::remote::NoRemote;
use crate::shim::Mutex;

/// A local tier that lets something happen after a lookup or before an insertion, once.
struct Racing {
    inner: Near,
    after_get: Meanwhile,
    before_insert: Meanwhile,
}

type Meanwhile = Mutex<Option<Box<dyn FnOnce() + Send>>>;

impl Racing {
    fn happen(meanwhile: &Meanwhile) {
        if let Some(meanwhile) = meanwhile.with(Option::take) {
            meanwhile();
        }
    }
}

impl Local for Racing {
    type Key = String;
    type Value = String;

    fn get(&self, key: &String) -> Option<String> {
        let found = self.inner.get(key);
        Self::happen(&self.after_get);
        found
    }

    fn insert(&self, key: &String, value: String, lifetime: Option<Duration>) {
        Self::happen(&self.before_insert);
        self.inner.insert(key.clone(), value, lifetime);
    }

    fn remove(&self, key: &String) -> bool {
        self.inner.remove(key)
    }

    fn clear(&self) {
        self.inner.clear();
    }
}

/// A driver that lets something happen when it is asked who calls, once.
#[derive(Clone)]
struct Nudged {
    bench: Bench,
    meanwhile: Arc<Meanwhile>,
}

impl Clock for Nudged {
    fn now(&self) -> Instant {
        self.bench.now()
    }
    fn unix_millis(&self) -> u64 {
        self.bench.unix_millis()
    }
}

impl Spawn for Nudged {
    fn spawn(&self, task: Task) {
        self.bench.spawn(task);
    }
}

impl Driver for Nudged {
    fn caller(&self) -> Caller {
        Racing::happen(&self.meanwhile);
        self.bench.caller()
    }
    fn random(&self) -> u64 {
        self.bench.random()
    }
}

type RacingCache = Cache<Racing, MessagePack<String>, Problem, NoRemote, Bench>;

fn racing() -> RacingCache {
    let setup = Setup::new();
    let limits = Limits {
        max_entries: 100,
        max_bytes: 1 << 20,
    };
    let local = Racing {
        inner: L1::new(limits).on_clock(Arc::clone(&setup.clock)),
        after_get: Mutex::default(),
        before_insert: Mutex::default(),
    };
    let driver = Bench {
        clock: Arc::clone(&setup.clock),
        spawned: Arc::default(),
    };
    let builder = setup.builder();
    let built = builder.build(local, MessagePack::new(), None, driver);
    built.expect("the options are valid")
}

#[test]
fn a_load_that_ended_between_the_lookup_and_the_flight_is_enough() {
    let cache = racing();
    let other = cache.clone();
    let meanwhile = move || {
        let load = || async { Ok("theirs".to_owned()) };
        let served = now(other.get_or_load(lookup("k"), load)).expect("it loads");
        assert_eq!(served.from, Source::Load);
    };
    let place = &cache.local().after_get;
    place.with(|place| *place = Some(Box::new(meanwhile)));
    let load = || async { panic!("it was loaded just now") };
    let served = now(cache.get_or_load(lookup("k"), load)).expect("it is there");
    assert_eq!((served.value.as_str(), served.from), ("theirs", Source::L1));
}

#[test]
fn a_refresh_does_not_wait_for_a_read_that_came_first() {
    let setup = Setup::new();
    call(&setup.process(), "k");
    let cache = setup.process();
    setup.remote.hold("get", true);
    let reader = Arc::new(Mutex::new(None));
    let (other, place) = (cache.clone(), Arc::clone(&reader));
    let meanwhile = move || {
        let load = || async { panic!("it is stored") };
        let mut reading = Box::pin(other.get_or_load(lookup("k"), load));
        pending(&mut reading);
        place.with(|place| *place = Some(reading));
    };
    let driver = Nudged {
        bench: cache.bound.driver.clone(),
        meanwhile: Arc::new(Mutex::new(Some(Box::new(meanwhile)))),
    };
    let nudged = cache.on(Some(Arc::new(setup.remote.clone())), driver);
    let mut refresh = nudged.refresh(lookup("k"), || async { Ok("new".to_owned()) });
    pending(&mut refresh);
    let mut reading = reader.with(Option::take).expect("it is on its way");
    setup.remote.let_go();
    assert_eq!(
        ready(&mut reading).expect("it asked before").from,
        Source::L2
    );
    let served = ready(&mut refresh).expect("it loads");
    assert_eq!((served.value.as_str(), served.from), ("new", Source::Load));
    assert_eq!(cache.local().get("k").as_deref(), Some("new"));
}

#[test]
fn an_invalidation_just_before_the_insertion_still_counts() {
    let cache = racing();
    let other = cache.clone();
    let meanwhile = move || drop(now(other.remove(lookup("k"))));
    let place = &cache.local().before_insert;
    place.with(|place| *place = Some(Box::new(meanwhile)));
    let load = || async { Ok("old".to_owned()) };
    let served = now(cache.get_or_load(lookup("k"), load)).expect("its caller gets it");
    assert_eq!(served.value, "old");
    assert!(cache.local().inner.is_empty());
}
