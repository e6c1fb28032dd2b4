//! Many processes on one store, each with a tier and flights of its own.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::cache::*;
use crate::clock::{Clock, Instant};
use crate::driver::simulation::{Process, Server, Simulation, Wire};
use crate::generated::metrics::{LoadOutcome, RemoteOperation, RemoteOutcome};
use crate::generated::presets;
use crate::l1::{L1, Limits};

const PROCESSES: u64 = 1000;
const CALLS: u64 = 5;
const LOAD: Duration = Duration::from_millis(100);

type Simulated = Cache<L1<String, String, Process>, MessagePack<String>, String, Wire, Process>;

fn cache(process: &Process, store: &Server, metrics: &'static Metrics) -> Simulated {
    let limits = Limits {
        max_entries: 100,
        max_bytes: 1 << 20,
    };
    Builder::new(Identity::new("test", "stampede", None), presets::DEFAULT)
        .metrics(metrics)
        .build(
            L1::new(limits).on_clock(process.clone()),
            MessagePack::new(),
            Some(Arc::new(store.reached_from(process))),
            process.clone(),
        )
        .expect("the options are valid")
}

struct Stampede {
    metrics: &'static Metrics,
    loads: u64,
    /// When each call was served, by its place.
    served: Vec<(Instant, Source)>,
    trace: Vec<crate::driver::simulation::Event>,
    first_write: Instant,
}

/// Every process makes [`CALLS`] calls at once, at a time of its own within `spread`.
fn stampede(seed: u64, spread: Duration) -> Stampede {
    let simulation = Simulation::new(seed);
    let store = Server::new(&simulation);
    let metrics: &'static Metrics = Box::leak(Box::default());
    let loads = Arc::new(AtomicU64::new(0));
    let mut calls = Vec::new();
    for _ in 0..PROCESSES {
        let process = simulation.process();
        let cache = cache(&process, &store, metrics);
        let spread = u64::try_from(spread.as_nanos())
            .expect("it is short")
            .max(1);
        let begin = Instant::from_nanos(process.random() % spread);
        for _ in 0..CALLS {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            let own = simulation.clone();
            calls.push(process.start(async move {
                own.sleep_until(begin).await;
                let lookup = Lookup::of("hot".to_owned()).expect("short");
                let loading = own.clone();
                let load = || async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    loading.sleep(LOAD).await;
                    Ok("value".to_owned())
                };
                let served = cache
                    .get_or_load(lookup, load)
                    .await
                    .expect("nothing fails");
                assert_eq!(served.value, "value");
                (begin, served.from)
            }));
        }
    }
    simulation.run();
    let trace = simulation.trace();
    let write = |event: &&crate::driver::simulation::Event| event.what.starts_with("set of");
    let first_write = trace.iter().find(write).expect("somebody writes").at;
    Stampede {
        metrics,
        loads: loads.load(Ordering::Relaxed),
        served: calls
            .iter()
            .map(|call| call.take().expect("nobody hangs"))
            .collect(),
        trace,
        first_write,
    }
}

fn count(served: &[(Instant, Source)], from: Source) -> u64 {
    served.iter().filter(|(_, source)| *source == from).count() as u64
}

#[test]
fn a_stampede_makes_one_load_a_process_and_none_after_the_first_write() {
    // Each process asks the store once, whatever happens; one call of it leads, the others wait.
    let at_once = stampede(1, Duration::ZERO);
    let gets = &at_once.metrics.remote_operations;
    assert_eq!(
        gets.value(RemoteOperation::Get, RemoteOutcome::Ok),
        PROCESSES
    );
    assert_eq!(
        at_once.loads, PROCESSES,
        "nobody could have known of the others"
    );
    assert_eq!(
        gets.value(RemoteOperation::Set, RemoteOutcome::Ok),
        PROCESSES
    );
    assert_eq!(count(&at_once.served, Source::Load), PROCESSES);
    assert_eq!(
        count(&at_once.served, Source::Flight),
        PROCESSES * (CALLS - 1)
    );

    // Spread over a second, those who come after the first write read it.
    let spread = stampede(2, Duration::from_secs(1));
    let gets = &spread.metrics.remote_operations;
    assert_eq!(
        gets.value(RemoteOperation::Get, RemoteOutcome::Ok),
        PROCESSES
    );
    let l2 = |outcome| spread.metrics.lookups.value(Tier::L2, outcome);
    assert_eq!(l2(LookupOutcome::Hit) + l2(LookupOutcome::Miss), PROCESSES);
    assert_eq!(l2(LookupOutcome::Miss), spread.loads);
    assert_eq!(spread.metrics.loads.value(LoadOutcome::Ok), spread.loads);
    assert_eq!(count(&spread.served, Source::L2), PROCESSES - spread.loads);
    assert!(
        spread.loads > 50 && spread.loads < 300,
        "{} loads",
        spread.loads
    );
    for (begin, source) in &spread.served {
        if *begin >= spread.first_write {
            assert!(
                matches!(source, Source::L2 | Source::Flight | Source::L1),
                "{source:?}"
            );
        }
    }
}

#[test]
fn one_seed_gives_one_stampede() {
    let spread = Duration::from_secs(1);
    let (one, same, other) = (
        stampede(3, spread),
        stampede(3, spread),
        stampede(4, spread),
    );
    assert!(one.trace == same.trace && one.served == same.served);
    assert!(one.trace != other.trace);
}

#[test]
fn a_partition_costs_loads_and_fails_nobody() {
    let simulation = Simulation::new(5);
    let store = Server::new(&simulation);
    let metrics: &'static Metrics = Box::leak(Box::default());
    let (inside, outside) = (simulation.process(), simulation.process());
    outside.cut_off(true);
    let begun = simulation.now();
    let calls: Vec<_> = [&inside, &outside]
        .into_iter()
        .map(|process| {
            let (cache, own) = (cache(process, &store, metrics), process.clone());
            process.start(async move {
                let lookup = Lookup::of("k".to_owned()).expect("short");
                let load = || async { Ok("value".to_owned()) };
                let served = cache
                    .get_or_load(lookup, load)
                    .await
                    .expect("nothing fails");
                (served.from, own.now())
            })
        })
        .collect();
    simulation.run();
    let [near, far] = [calls[0].take(), calls[1].take()].map(|call| call.expect("nobody hangs"));
    assert_eq!((near.0, far.0), (Source::Load, Source::Load));
    assert!(near.1.since(begun) < Duration::from_millis(20));
    assert_eq!(
        far.1.since(begun),
        presets::DEFAULT.remote_timeout,
        "one timeout and no second"
    );
    let gets = &metrics.remote_operations;
    assert_eq!(gets.value(RemoteOperation::Get, RemoteOutcome::Timeout), 1);
    assert_eq!(gets.value(RemoteOperation::Set, RemoteOutcome::Ok), 1);
}
