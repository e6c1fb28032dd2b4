//! A remote tier that counts and can be told to fail or to wait, and a driver whose time stands still.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;

use crate::cache::*;
use crate::clock::{Clock, Instant, ManualClock};
use crate::driver::{Caller, Driver, Spawn, Task, fresh_number};
use crate::generated::presets;
use crate::key::{Identity, KeyHash};
use crate::l1::{L1, Limits};
use crate::remote::Deadline;
use crate::remote::memory::Memory;
use crate::shim::Mutex;

pub(super) const TTL: Duration = Duration::from_secs(10);

pub(super) type Near = L1<String, String, Arc<ManualClock>>;
pub(super) type TestCache = Cache<Near, MessagePack<String>, Problem, Probe, Bench>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Problem {
    Failed,
    Cancelled,
}

impl LoadError for Problem {
    fn hands_over(&self) -> bool {
        *self == Self::Cancelled
    }
}

/// A store that other processes of the test share.
#[derive(Clone)]
pub(super) struct Probe {
    pub(super) store: Arc<Memory<Arc<ManualClock>>>,
    pub(super) gets: Arc<AtomicU32>,
    pub(super) sets: Arc<AtomicU32>,
    pub(super) removes: Arc<AtomicU32>,
    state: Arc<Mutex<ProbeState>>,
}

#[derive(Default)]
struct ProbeState {
    failing: Option<ErrorCode>,
    /// Operations that wait before and after they take effect.
    held: Option<(&'static str, bool)>,
    /// Operations that take effect and fail nevertheless.
    lost: Option<(&'static str, ErrorCode)>,
}

impl Probe {
    pub(super) fn fail(&self, code: Option<ErrorCode>) {
        self.state.with(|state| state.failing = code);
    }

    /// Has `operation` wait, before or after it takes effect, until it is let go.
    pub(super) fn hold(&self, operation: &'static str, after: bool) {
        self.state
            .with(|state| state.held = Some((operation, after)));
    }

    pub(super) fn let_go(&self) {
        self.state.with(|state| state.held = None);
    }

    /// Has `operation` fail although it takes effect.
    pub(super) fn lose(&self, operation: &'static str, code: ErrorCode) {
        self.state
            .with(|state| state.lost = Some((operation, code)));
    }

    async fn gate(&self, operation: &'static str, after: bool) {
        poll_fn(|_| {
            let held = self
                .state
                .with(|state| state.held == Some((operation, after)));
            if held { Poll::Pending } else { Poll::Ready(()) }
        })
        .await;
    }

    async fn run<T>(&self, operation: &'static str, act: impl FnOnce() -> T + Send) -> Result<T> {
        if let Some(code) = self.state.with(|state| state.failing) {
            return Err(Error::new(code));
        }
        self.gate(operation, false).await;
        let result = act();
        self.gate(operation, true).await;
        match self.state.with(|state| state.lost) {
            Some((lost, code)) if lost == operation => Err(Error::new(code)),
            _ => Ok(result),
        }
    }

    pub(super) fn counts(&self) -> (u32, u32, u32) {
        let [gets, sets, removes] =
            [&self.gets, &self.sets, &self.removes].map(|count| count.load(Ordering::Relaxed));
        (gets, sets, removes)
    }
}

impl Remote for Probe {
    async fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        _deadline: Deadline,
    ) -> Result<Vec<Option<Bytes>>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.run("get", || self.store.read_now(keys, renew)).await
    }

    async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        _deadline: Deadline,
    ) -> Result<()> {
        self.sets.fetch_add(1, Ordering::Relaxed);
        self.run("set", || self.store.set_now(key, value, lifetime))
            .await
    }

    async fn remove(&self, keys: &[&[u8]], _deadline: Deadline) -> Result<u64> {
        self.removes.fetch_add(1, Ordering::Relaxed);
        let removed = || {
            keys.iter()
                .map(|key| u64::from(self.store.remove_now(key)))
                .sum()
        };
        self.run("remove", removed).await
    }
}

/// A driver on a manual clock, each of whose calls is a caller of its own, and that keeps what it should spawn.
#[derive(Clone)]
pub(super) struct Bench {
    pub(super) clock: Arc<ManualClock>,
    pub(super) spawned: Arc<Mutex<VecDeque<Task>>>,
}

impl Clock for Bench {
    fn now(&self) -> Instant {
        self.clock.now()
    }
    fn unix_millis(&self) -> u64 {
        self.clock.unix_millis()
    }
}

impl Spawn for Bench {
    fn spawn(&self, task: Task) {
        self.spawned.with(|spawned| spawned.push_back(task));
    }
}

impl Driver for Bench {
    fn caller(&self) -> Caller {
        Caller {
            thread: fresh_number(),
            task: 1,
        }
    }
    fn random(&self) -> u64 {
        fresh_number()
    }
}

/// A remote tier, and processes that use it.
pub(super) struct Setup {
    pub(super) clock: Arc<ManualClock>,
    pub(super) remote: Probe,
    pub(super) options: Options,
    pub(super) metrics: &'static Metrics,
}

impl Setup {
    pub(super) fn new() -> Self {
        Self::with_metrics(Box::leak(Box::default()))
    }

    pub(super) fn with_metrics(metrics: &'static Metrics) -> Self {
        let clock = Arc::new(ManualClock::new(1_000_000));
        let remote = Probe {
            store: Arc::new(Memory::new(Arc::clone(&clock))),
            gets: Arc::default(),
            sets: Arc::default(),
            removes: Arc::default(),
            state: Arc::default(),
        };
        let mut options = presets::DEFAULT;
        options.ttl = Some(TTL);
        Self {
            clock,
            remote,
            options,
            metrics,
        }
    }

    pub(super) fn builder(&self) -> Builder {
        Builder::new(Identity::new("test", "f", None), self.options.clone()).metrics(self.metrics)
    }

    pub(super) fn build(&self, builder: Builder) -> TestCache {
        let limits = Limits {
            max_entries: 100,
            max_bytes: 1 << 20,
        };
        let mut local = L1::new(limits).on_clock(Arc::clone(&self.clock));
        if let (true, Some(ttl)) = (self.options.sliding, self.options.ttl) {
            local = local.sliding(ttl);
        }
        let remote = Some(Arc::new(self.remote.clone()));
        builder
            .build(local, MessagePack::new(), remote, self.driver())
            .expect("the options are valid")
    }

    pub(super) fn driver(&self) -> Bench {
        Bench {
            clock: Arc::clone(&self.clock),
            spawned: Arc::default(),
        }
    }

    /// A process with nothing in it.
    pub(super) fn process(&self) -> TestCache {
        self.build(self.builder())
    }

    pub(super) fn advance(&self, by: Duration) {
        self.clock.advance(by);
    }

    /// The name of the entry of `key`.
    pub(super) fn name(key: &str) -> Vec<u8> {
        Identity::new("test", "f", None).entry_name(&lookup(key).hash)
    }

    pub(super) fn stored(&self, key: &str) -> bool {
        self.remote.store.get_now(&Self::name(key)).is_some()
    }

    /// The bytes of the entry of `key`.
    pub(super) fn entry(&self, key: &str) -> Bytes {
        let stored = self.remote.store.get_now(&Self::name(key));
        stored.expect("it is stored")
    }

    /// Has the remote keep the entry of `key` past its lifetime.
    pub(super) fn outlives(&self, key: &str) {
        let entry = self.entry(key);
        self.remote.store.set_now(&Self::name(key), entry, None);
    }
}

pub(super) fn lookup(key: &str) -> Lookup<String> {
    Lookup::of(key.to_owned()).expect("a short key")
}

pub(super) fn hash(key: &str) -> KeyHash {
    lookup(key).hash
}

/// Polls once.
pub(super) fn step<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Polls what needs no second poll.
pub(super) fn now<F: Future>(future: F) -> F::Output {
    match step(&mut Box::pin(future)) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// Runs what the cache's driver was to spawn.
pub(super) fn run_spawned(cache: &TestCache) {
    let spawned = &cache.bound.driver.spawned;
    while let Some(task) = spawned.with(VecDeque::pop_front) {
        now(task);
    }
}

/// Polls what keeps waiting.
pub(super) fn pending<F: Future + Unpin>(future: &mut F) {
    assert!(step(future).is_pending());
}

pub(super) fn ready<F: Future + Unpin>(future: &mut F) -> F::Output {
    match step(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it waits for something"),
    }
}

/// The value of `key`, from wherever it is, or "loaded KEY".
pub(super) fn call(cache: &TestCache, key: &str) -> Served<String> {
    let loaded = format!("loaded {key}");
    now(cache.get_or_load(lookup(key), || async { Ok(loaded) })).expect("nothing fails")
}

/// A load that waits until it is told how it ends.
#[derive(Clone, Default)]
pub(super) struct Ending(Arc<Mutex<Option<Result<String, Problem>>>>);

impl Ending {
    pub(super) fn end(&self, how: Result<String, Problem>) {
        self.0.with(|ending| *ending = Some(how));
    }

    pub(super) fn load(&self) -> impl Future<Output = Result<String, Problem>> + Send + use<> {
        let this = self.clone();
        poll_fn(move |_| match this.0.with(Option::take) {
            Some(how) => Poll::Ready(how),
            None => Poll::Pending,
        })
    }
}
