//! The flight under many schedules of its callers.

use std::sync::atomic::AtomicBool;

use shuttle::future::{block_on, spawn, yield_now};

use super::*;
use crate::shim::schedules::explore;

const SCHEDULES: usize = 1000;

/// Notes that a load runs, and that it ends, in whatever way.
struct Loading<'a>(&'a AtomicBool);

impl<'a> Loading<'a> {
    fn begin(running: &'a AtomicBool) -> Self {
        let another = running.swap(true, Ordering::SeqCst);
        assert!(!another, "two loads of one key run at once");
        Self(running)
    }
}

impl Drop for Loading<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

fn caller() -> Caller {
    Caller {
        thread: fresh_number(),
        task: 1,
    }
}

enum Part {
    Lead(Lead<u64, String>),
    Served(u64),
}

/// What a caller gets to do or to have once it has entered.
async fn enter(flight: &Flights, caller: Caller) -> Part {
    match flight.join(key(1), caller) {
        Role::Leader(lead) => Part::Lead(lead),
        Role::Nested => panic!("it leads nothing"),
        Role::Waiter(wait) => match wait.await {
            Landing::HandedOver(lead) => Part::Lead(lead),
            Landing::Value(value) => Part::Served(value),
            Landing::Failed(error) => panic!("{error}"),
        },
    }
}

#[test]
fn one_load_at_a_time_and_nobody_is_stranded_when_callers_are_cancelled() {
    async fn call(flight: Flights, running: Arc<AtomicBool>, caller: Caller) -> u64 {
        match enter(&flight, caller).await {
            Part::Served(value) => value,
            Part::Lead(lead) => {
                let loading = Loading::begin(&running);
                yield_now().await;
                drop(loading);
                lead.land(Ok(7), None);
                yield_now().await;
                7
            }
        }
    }

    explore(SCHEDULES, || {
        let flight: Flights = Flight::new();
        let running = Arc::new(AtomicBool::new(false));
        let thread = fresh_number();
        let mut calls: Vec<_> = (1..=4)
            .map(|task| {
                let shared = (Arc::clone(&flight), Arc::clone(&running));
                spawn(call(shared.0, shared.1, Caller { thread, task }))
            })
            .collect();
        let cancelled = calls.split_off(2);
        for call in &cancelled {
            call.abort();
        }
        for call in calls {
            assert_eq!(block_on(call).expect("nobody cancels it"), 7);
        }
        for call in cancelled {
            drop(block_on(call));
        }
        assert!(flight.is_empty() && !waits::any_on(thread));
    });
}

#[test]
fn nobody_who_comes_after_an_invalidation_gets_what_was_loaded_before_it() {
    async fn call(flight: Flights, source: Arc<AtomicU64>, invalidated: Arc<AtomicU64>) {
        let least = invalidated.load(Ordering::SeqCst);
        match enter(&flight, caller()).await {
            Part::Served(value) => assert!(value >= least, "{value} after {least}"),
            Part::Lead(lead) => {
                let value = source.load(Ordering::SeqCst);
                yield_now().await;
                lead.finish(Ok(value));
            }
        }
    }

    explore(SCHEDULES, || {
        let flight: Flights = Flight::new();
        let [source, invalidated]: [Arc<AtomicU64>; 2] = Default::default();
        let come = || {
            let shared = (Arc::clone(&source), Arc::clone(&invalidated));
            spawn(call(Arc::clone(&flight), shared.0, shared.1))
        };
        let mut calls = vec![come(), come(), come()];
        let cancelled = calls.swap_remove(0);
        cancelled.abort();
        for value in [1, 2] {
            source.store(value, Ordering::SeqCst);
            if value == 1 {
                flight.forget(&key(1));
            } else {
                flight.replace(key(1), caller()).finish(Ok(value));
            }
            invalidated.store(value, Ordering::SeqCst);
            calls.push(come());
        }
        for call in calls {
            block_on(call).expect("nobody cancels it");
        }
        drop(block_on(cancelled));
        assert!(flight.is_empty() && !flight.is_settling(&key(1)));
    });
}

#[test]
fn no_circle_closes_while_a_lead_changes_hands() {
    async fn come(flight: Flights, key: KeyHash, caller: Caller) {
        match flight.join(key, caller) {
            Role::Leader(lead) => lead.finish(Ok(1)),
            Role::Waiter(wait) => drop(wait.await),
            Role::Nested => {}
        }
    }

    explore(SCHEDULES, || {
        let flight: Flights = Flight::new();
        let (other, heir) = (caller(), caller());
        let goes_away = leader(flight.join(key(1), caller()));
        let wait = waiter(flight.join(key(1), heir));
        let lead = leader(flight.join(key(2), other));
        let shared = Arc::clone(&flight);
        let inherits = spawn(async move {
            let Landing::HandedOver(lead) = wait.await else {
                panic!("nobody else leads")
            };
            come(shared, key(2), heir).await;
            lead.finish(Ok(1));
        });
        let shared = Arc::clone(&flight);
        let comes = spawn(async move {
            come(shared, key(1), other).await;
            lead.finish(Ok(2));
        });
        drop(goes_away);
        for call in [inherits, comes] {
            block_on(call).expect("nobody cancels it");
        }
        assert!(flight.is_empty());
    });
}
