//! Runs the steps of a scenario on a stage.

use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;

use cachekit_runtime::cache::{Builder, Cache, Failure, LoadError, Lookup, MessagePack, Source};
use cachekit_runtime::generated::presets;
use cachekit_runtime::key::Identity;
use cachekit_runtime::l1::{L1, Limits};
use cachekit_runtime::metrics::Metrics;
use prometheus::{Registry, TextEncoder};

use crate::file::{Ending, From, Load, Outcome, Scenario, Step};
use crate::stages::Stage;

#[derive(Debug)]
struct Raised(String);

impl LoadError for Raised {}

type Shop<S> = Cache<
    L1<String, String, <S as Stage>::Driver>,
    MessagePack<String>,
    Raised,
    <S as Stage>::Remote,
    <S as Stage>::Driver,
>;

/// A cache, and who polls its futures.
type Process<S> = (Shop<S>, <S as Stage>::Driver);

/// What the conductor and a call know of each other.
#[derive(Default)]
struct Caller {
    loading: bool,
    ending: Option<Ending>,
    waker: Option<Waker>,
    outcome: Option<Outcome>,
}

type Shared = Arc<Mutex<Caller>>;

/// A caller, and what makes it go away.
type Called = (Shared, Box<dyn FnOnce()>);

/// Says that a call went away, unless it has ended.
struct OnDrop(Shared);

impl Drop for OnDrop {
    fn drop(&mut self) {
        let mut caller = self.0.lock().expect("nobody panicked");
        caller
            .outcome
            .get_or_insert(Outcome::Cancelled { cancelled: true });
    }
}

struct Running<'a, S: Stage> {
    scenario: &'a Scenario,
    stage: S,
    metrics: &'static Metrics,
    processes: BTreeMap<String, Process<S>>,
    callers: BTreeMap<String, Called>,
}

pub(crate) fn run<S: Stage>(scenario: &Scenario, stage: S) {
    let metrics: &'static Metrics = Box::leak(Box::default());
    let mut running = Running {
        scenario,
        stage,
        metrics,
        processes: BTreeMap::new(),
        callers: BTreeMap::new(),
    };
    for (nth, step) in scenario.steps.iter().enumerate() {
        println!("  {nth}: {step:?}");
        running.step(step);
    }
    assert_eq!(
        counters(metrics),
        scenario.counters,
        "counters of {:?}",
        scenario.name
    );
}

/// Every counter that has counted something, by its series in Prometheus' text.
fn counters(metrics: &Metrics) -> BTreeMap<String, u64> {
    let registry = Registry::new();
    metrics.register(&registry).expect("names are unique");
    let text = TextEncoder::new()
        .encode_to_string(&registry.gather())
        .expect("it is text");
    let series = text.lines().filter(|line| !line.starts_with('#'));
    let series = series.filter_map(|line| line.rsplit_once(' '));
    series
        .filter(|(name, _)| {
            name.split('{')
                .next()
                .is_some_and(|name| name.ends_with("_total"))
        })
        .map(|(name, value)| (name.to_owned(), value.parse().expect("a whole number")))
        .filter(|(_, value)| *value > 0)
        .collect()
}

impl<S: Stage> Running<'_, S> {
    fn step(&mut self, step: &Step) {
        match step {
            Step::Call {
                caller,
                process,
                key,
                load,
            } => self.call(caller, process, key, load),
            Step::Loading { caller } => {
                let caller = self.caller(caller);
                self.stage
                    .until(&|| caller.lock().expect("nobody panicked").loading);
            }
            Step::Waiting { process, callers } => {
                let (cache, _) = self.process(process);
                self.stage.until(&|| cache.in_flight() == *callers);
            }
            Step::Release { caller, load } => {
                let caller = self.caller(caller);
                let waker = {
                    let mut caller = caller.lock().expect("nobody panicked");
                    caller.ending = Some(load.clone());
                    caller.waker.take()
                };
                waker.expect("its function runs").wake();
            }
            Step::Cancel { caller } => {
                let (shared, cancel) = self.callers.remove(caller).expect("it was called");
                cancel();
                self.callers
                    .insert(caller.clone(), (shared, Box::new(|| ())));
            }
            Step::Result { caller, is } => {
                let caller = self.caller(caller);
                let ended = || caller.lock().expect("nobody panicked").outcome.is_some();
                self.stage.until(&ended);
                let seen = caller.lock().expect("nobody panicked").outcome.clone();
                assert_eq!(seen.as_ref(), Some(is));
            }
            Step::Server { is } => self.stage.server(*is),
            Step::Clear { process } => {
                let (cache, driver) = self.process(process);
                let clear = cache.clear();
                self.finish(
                    &driver,
                    async move { clear.await.expect("the server answers") },
                );
            }
            Step::Remove { process, key } => {
                let (cache, driver) = self.process(process);
                let remove = cache.remove(lookup(key));
                let removed = async move {
                    let _ = remove.await.expect("the server answers");
                };
                self.finish(&driver, removed);
            }
            Step::Stored { key, is } => {
                // A process that was never there has nothing but the server, and counts elsewhere.
                let (cache, driver) = self.open(Box::leak(Box::default()));
                let get = cache.get(lookup(key));
                let seen = Arc::new(Mutex::new(None));
                let place = Arc::clone(&seen);
                self.finish(&driver, async move {
                    let found = get.await.expect("a read never fails").is_some();
                    *place.lock().expect("nobody panicked") = Some(found);
                });
                assert_eq!(*seen.lock().expect("nobody panicked"), Some(*is));
            }
        }
    }

    fn caller(&self, name: &str) -> Shared {
        Arc::clone(&self.callers.get(name).expect("it was called").0)
    }

    fn process(&mut self, name: &str) -> Process<S> {
        if let Some(known) = self.processes.get(name) {
            return known.clone();
        }
        let process = self.open(self.metrics);
        self.processes.insert(name.to_owned(), process.clone());
        process
    }

    fn open(&mut self, metrics: &'static Metrics) -> Process<S> {
        let (remote, driver) = self.stage.process();
        let mut options = presets::DEFAULT;
        options.remote_timeout = Duration::from_millis(self.scenario.remote_timeout_ms);
        let limits = Limits {
            max_entries: 100,
            max_bytes: 1 << 20,
        };
        let cache = Builder::new(
            Identity::new("scenarios", &self.scenario.name, None),
            options,
        )
        .metrics(metrics)
        .build(
            L1::new(limits).on_clock(driver.clone()),
            MessagePack::new(),
            Some(remote),
            driver.clone(),
        )
        .expect("the options are valid");
        (cache, driver)
    }

    /// Runs something that no step waits for.
    fn finish(&mut self, driver: &S::Driver, future: impl Future<Output = ()> + Send + 'static) {
        let done = Arc::new(Mutex::new(false));
        let place = Arc::clone(&done);
        let running = async move {
            future.await;
            *place.lock().expect("nobody panicked") = true;
        };
        drop(self.stage.start(driver, Box::pin(running)));
        self.stage.until(&|| *done.lock().expect("nobody panicked"));
    }

    fn call(&mut self, caller: &str, process: &str, key: &str, load: &Load) {
        let (cache, driver) = self.process(process);
        let shared = Shared::default();
        if let Load::Ends(ending) = load {
            shared.lock().expect("nobody panicked").ending = Some(ending.clone());
        }
        let loading = Arc::clone(&shared);
        let call = cache.get_or_load(lookup(key), move || function(loading));
        let guard = OnDrop(Arc::clone(&shared));
        let running = async move {
            let outcome = match call.await {
                Ok(served) => {
                    let from = match served.from {
                        Source::L1 => From::L1,
                        Source::L2 => From::L2,
                        Source::Load => From::Load,
                        Source::Flight => From::Flight,
                        other => panic!("from {other:?}"),
                    };
                    Outcome::Served {
                        value: served.value,
                        from,
                    }
                }
                Err(Failure::Raised { error, .. }) => Outcome::Failed {
                    error: error.0.clone(),
                },
                Err(other) => panic!("{other:?}"),
            };
            guard.0.lock().expect("nobody panicked").outcome = Some(outcome);
        };
        let cancel = self.stage.start(&driver, Box::pin(running));
        self.callers.insert(caller.to_owned(), (shared, cancel));
    }
}

/// The function that is cached: ends as its caller's steps say.
async fn function(caller: Shared) -> Result<String, Raised> {
    let ending = poll_fn(|cx| {
        let mut caller = caller.lock().expect("nobody panicked");
        caller.loading = true;
        caller.waker = Some(cx.waker().clone());
        caller.ending.take().map_or(Poll::Pending, Poll::Ready)
    });
    match ending.await {
        Ending::Value(value) => Ok(value),
        Ending::Error(error) => Err(Raised(error)),
    }
}

fn lookup(key: &str) -> Lookup<String> {
    Lookup::of(key.to_owned()).expect("a short key")
}
