//! Both tiers under many schedules of those who read, store and invalidate.

use std::future::poll_fn;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use bytes::Bytes;
use shuttle::future::{JoinHandle, block_on, spawn};
use shuttle::rand::{Rng, thread_rng};

use super::support::{Bench, Probe, Problem, Setup, lookup};
use crate::cache::*;
use crate::clock::{Clock, Instant, ManualClock};
use crate::driver::{Caller, Spawn, Task};
use crate::l1::{L1, Limits};
use crate::remote::Deadline;
use crate::shim::Mutex;
use crate::shim::schedules::{explore, point};

const SCHEDULES: usize = 1000;

/// Ends a poll.
async fn pause() {
    let mut paused = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A remote tier whose operations take effect some time between their beginning and their end.
struct Slow(Probe);

impl Remote for Slow {
    async fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        deadline: Deadline,
    ) -> Result<Vec<Option<Bytes>>> {
        pause().await;
        let result = self.0.get(keys, renew, deadline).await;
        pause().await;
        result
    }

    async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        deadline: Deadline,
    ) -> Result<()> {
        pause().await;
        let result = self.0.set(key, value, lifetime, deadline).await;
        pause().await;
        result
    }

    async fn remove(&self, keys: &[&[u8]], deadline: Deadline) -> Result<u64> {
        pause().await;
        let result = self.0.remove(keys, deadline).await;
        pause().await;
        result
    }
}

/// Spawns tasks of the explorer.
#[derive(Clone)]
struct Explored {
    bench: Bench,
    background: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Clock for Explored {
    fn now(&self) -> Instant {
        self.bench.now()
    }
    fn unix_millis(&self) -> u64 {
        self.bench.unix_millis()
    }
}

impl Spawn for Explored {
    fn spawn(&self, task: Task) {
        let handle = spawn(task);
        self.background.with(|background| background.push(handle));
    }
}

impl Driver for Explored {
    fn caller(&self) -> Caller {
        self.bench.caller()
    }
    fn random(&self) -> u64 {
        self.bench.random()
    }
}

type Near = L1<String, u64, Arc<ManualClock>>;
type Explorable = Cache<Near, MessagePack<u64>, Problem, Slow, Explored>;

/// A process, and what it is on.
struct World {
    setup: Setup,
    cache: Explorable,
    background: Arc<Mutex<Vec<JoinHandle<()>>>>,
    /// What a load comes to.
    source: Arc<AtomicU64>,
}

impl World {
    /// With a tier in this process or without, and with a remote tier or without.
    fn new(l1: bool, remote: bool) -> Self {
        // One for all: it is large, and is never freed.
        static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
        let mut setup = Setup::with_metrics(&METRICS);
        setup.options.l1 = l1 || !remote;
        setup.options.remote = remote;
        let limits = Limits {
            max_entries: 10,
            max_bytes: 1 << 20,
        };
        let background = Arc::default();
        let driver = Explored {
            bench: Bench {
                clock: Arc::clone(&setup.clock),
                spawned: Arc::default(),
            },
            background: Arc::clone(&background),
        };
        let cache = setup.builder().build(
            L1::new(limits).on_clock(Arc::clone(&setup.clock)),
            MessagePack::new(),
            Some(Arc::new(Slow(setup.remote.clone()))),
            driver,
        );
        Self {
            cache: cache.expect("the options are valid"),
            setup,
            background,
            source: Arc::default(),
        }
    }

    /// Somebody who looks and then calls.
    fn read(&self) -> JoinHandle<()> {
        let peeking = self.cache.get(lookup("k"));
        let reading = self.cache.get_or_load(lookup("k"), self.load());
        spawn(async move {
            peeking.await.expect("the remote answers");
            reading.await.expect("it loads");
        })
    }

    fn load(&self) -> impl FnOnce() -> Loaded + Send + use<> {
        let source = Arc::clone(&self.source);
        move || {
            Box::pin(async move {
                let value = source.load(Ordering::SeqCst);
                pause().await;
                Ok(value)
            })
        }
    }
}

type Loaded = std::pin::Pin<Box<dyn Future<Output = Result<u64, Problem>> + Send>>;

type Done = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// One way to make what is stored obsolete, given the value that takes its place.
type Way = fn(&World, u64) -> Done;

const REMOVE: Way = |world, _| {
    let removal = world.cache.remove(lookup("k"));
    Box::pin(async move {
        removal.await.expect("the remote answers");
    })
};
const CLEAR: Way = |world, _| {
    let clearing = world.cache.clear();
    // Where the reply to a store is lost, it says so.
    Box::pin(async move {
        let _ = clearing.await;
    })
};
const SET: Way = |world, value| {
    let setting = world.cache.set(lookup("k"), value);
    Box::pin(async move {
        let _ = setting.await;
    })
};
const REFRESH: Way = |world, _| {
    let refresh = world.cache.refresh(lookup("k"), world.load());
    Box::pin(async move {
        refresh.await.expect("it loads");
    })
};

/// A reader or two, one of whom may be cancelled, perhaps an eviction, a reader who comes later, and somebody who changes what loads come to and then
/// says so in this way: when all have ended, nothing in either tier is older than the change. Each schedule has its own
/// circumstances.
fn nothing_old_is_left_after(way: Way) {
    explore(SCHEDULES, move || {
        let chance = |one_in: u32| thread_rng().gen_ratio(1, one_in);
        let world = World::new(chance(2), chance(2));
        if chance(2) {
            block_on(world.cache.set(lookup("k"), 0)).expect("the remote answers");
        }
        if chance(2) {
            // The replies to stores are lost.
            world.setup.remote.lose("set", ErrorCode::RemoteTimeout);
        }
        let mut tasks = vec![world.read()];
        if chance(2) {
            tasks.push(world.read());
        }
        if chance(3) {
            let cancelled = tasks[0].abort_handle();
            tasks.push(spawn(async move { cancelled.abort() }));
        }
        if chance(3) {
            let cache = world.cache.clone();
            tasks.push(spawn(async move { cache.local().clear() }));
        }
        for _ in 0..thread_rng().gen_range(0..80) {
            point();
        }
        world.source.store(1, Ordering::SeqCst);
        block_on(way(&world, 1));
        tasks.push(world.read());
        for task in tasks {
            drop(block_on(task));
        }
        while let Some(task) = world.background.with(Vec::pop) {
            drop(block_on(task));
        }
        assert_eq!(world.cache.in_flight(), 0);
        if let Some(value) = world.cache.local().get("k") {
            assert_eq!(value, 1, "in this process");
        }
        world.cache.local().clear();
        let remote = block_on(world.cache.get(lookup("k"))).expect("the remote answers");
        if let Some(served) = remote {
            assert_eq!(served.value, 1, "in the remote tier");
        }
    });
}

#[test]
fn nothing_old_is_left_after_a_removal() {
    nothing_old_is_left_after(REMOVE);
}

#[test]
fn nothing_old_is_left_after_a_clear() {
    nothing_old_is_left_after(CLEAR);
}

#[test]
fn nothing_old_is_left_after_a_set() {
    nothing_old_is_left_after(SET);
}

#[test]
fn nothing_old_is_left_after_a_refresh() {
    nothing_old_is_left_after(REFRESH);
}
