//! Loads that nobody waits for, until somebody does.

mod schedules;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::support::Problem;
use crate::cache::*;
use crate::driver::fresh_number;
use crate::flight::{Landing, Role, Wait};
use crate::generated::metrics::LoadOutcome;
use crate::l1::{Item, Limits, Table};

const HASH: KeyHash = KeyHash([1; 32]);

type Notes = Unjoined<u64, u64, Problem>;
type Flights = Arc<Flight<u64, Problem>>;

fn table<T>() -> Table<u64, T> {
    Table::new(Limits {
        max_entries: 4,
        max_bytes: 1 << 20,
    })
}

fn item<T>(value: T) -> Item<(), T> {
    Item {
        key: (),
        value,
        weight: 1,
        expires: None,
    }
}

fn begin(notes: &mut Notes, key: u64) -> Result<Load, u64> {
    notes.begin(key, key, 7, |known| *known == key)
}

fn lead(flight: &Flights, thread: u64) -> Lead<u64, Problem> {
    let role = flight.join(HASH, Caller { thread, task: 0 });
    role.lead().expect("nobody leads")
}

fn waiter(flight: &Flights) -> Wait<u64, Problem> {
    let caller = Caller {
        thread: fresh_number(),
        task: 0,
    };
    match flight.join(HASH, caller) {
        Role::Waiter(wait) => wait,
        other => panic!("waits, not {other:?}"),
    }
}

#[test]
fn one_load_of_a_key_is_noted_and_others_beside_it() {
    let mut notes = Notes::new();
    let first = begin(&mut notes, 1).expect("nobody loads");
    assert_eq!(begin(&mut notes, 1).expect_err("somebody loads it"), 1);
    // Another key with its hash is another load.
    let second = notes
        .begin(1, 2, 7, |known| *known == 2)
        .expect("nobody loads that one");
    assert_eq!(notes.len(), 2);
    let ended = notes.end(first).expect("it was noted");
    assert_eq!(ended.key, Some(1));
    assert!(ended.lead.is_none());
    let third = begin(&mut notes, 1).expect("it is over");
    for load in [second, third] {
        assert!(notes.end(load).is_some());
    }
    assert!(notes.is_empty());
}

#[test]
fn no_more_are_noted_than_there_are_places() {
    let mut notes = Notes::new();
    let mut loads = BTreeMap::new();
    while let Ok(load) = begin(&mut notes, loads.len() as u64) {
        loads.insert(loads.len() as u64, load);
    }
    assert_eq!((notes.len(), loads.len()), (32, 32));
    let load = loads.remove(&9).expect("it was noted");
    assert_eq!(notes.end(load).and_then(|ended| ended.key), Some(9));
    let again = begin(&mut notes, 99).expect("there is a place");
    assert_eq!(begin(&mut notes, 100).expect_err("there is none"), 100);
    assert_eq!(notes.end(again).and_then(|ended| ended.key), Some(99));
    for (key, load) in loads {
        assert_eq!(notes.end(load).and_then(|ended| ended.key), Some(key));
    }
    assert!(notes.is_empty());
}

#[test]
fn while_somebody_has_a_flight_nothing_is_noted() {
    let mut notes = Notes::new();
    let (one, other) = (notes.enter(), notes.enter());
    notes.leave(one);
    assert!(begin(&mut notes, 1).is_err());
    notes.leave(other);
    let load = begin(&mut notes, 1).expect("they left");
    assert!(notes.end(load).is_some());
}

#[test]
fn what_was_overtaken_is_neither_kept_nor_joined_and_may_be_loaded_again() {
    let (mut notes, mut table) = (Notes::new(), table());
    let old = begin(&mut notes, 1).expect("nobody loads");
    let beside = begin(&mut notes, 2).expect("nobody loads that one");
    notes.overtake(1);
    assert!(notes.loader(1, |_| true).is_none());
    let new = begin(&mut notes, 1).expect("what is loaded is nothing for it");
    let now = Instant::default();
    let (ended, left) = notes.keep(old, &mut table, item(10), now, |key| *key == 1);
    assert_eq!(
        (ended.and_then(|ended| ended.key), left),
        (Some(1), Some(10))
    );
    assert!(table.is_empty());
    let (ended, left) = notes.keep(new, &mut table, item(11), now, |key| *key == 1);
    assert_eq!((ended.and_then(|ended| ended.key), left), (None, None));
    assert_eq!(table.find(1, now, |key| *key == 1), Some(&11));
    notes.overtake_all();
    let (_, left) = notes.keep(beside, &mut table, item(12), now, |key| *key == 2);
    assert_eq!((left, table.len()), (Some(12), 1));
}

#[test]
fn who_joins_gets_the_result_or_the_duty() {
    let flight: Flights = Flight::new();
    let (mut notes, mut table) = (Notes::new(), table());
    let join = |notes: &mut Notes| {
        let loader = notes.loader(1, |_| true).expect("somebody loads");
        assert!(
            notes
                .owe(&loader, Box::new(lead(&flight, loader.thread)))
                .is_none()
        );
        assert!(notes.loader(1, |_| true).is_none(), "its flight is entered");
        waiter(&flight)
    };

    let load = begin(&mut notes, 1).expect("nobody loads");
    let wait = join(&mut notes);
    let (ended, _) = notes.keep(load, &mut table, item(5), Instant::default(), |_| true);
    let owed = ended.and_then(|ended| ended.lead);
    owed.expect("somebody waits").finish(Ok(5));
    assert!(matches!(block_on_now(wait), Landing::Value(5)));

    for (problem, counts) in [
        (Problem::Cancelled, LoadOutcome::Cancelled),
        (Problem::Failed, LoadOutcome::Error),
    ] {
        let load = begin(&mut notes, 1).expect("nobody loads");
        let wait = join(&mut notes);
        let ended = notes.end(load);
        assert!(ended.is_some());
        assert_eq!(Ended::fail(ended, problem), counts);
        match block_on_now(wait) {
            Landing::HandedOver(_) => assert_eq!(counts, LoadOutcome::Cancelled),
            Landing::Failed(_) => assert_eq!(counts, LoadOutcome::Error),
            Landing::Value(value) => panic!("there is no {value}"),
        }
    }
}

#[test]
fn a_lead_that_comes_too_late_passes_on() {
    let flight: Flights = Flight::new();
    let mut notes = Notes::new();
    let load = begin(&mut notes, 1).expect("nobody loads");
    let loader = notes.loader(1, |_| true).expect("somebody loads");
    assert!(notes.end(load).is_some());
    // In the same place.
    let next = begin(&mut notes, 1).expect("nobody loads");
    assert!(
        notes
            .owe(&loader, Box::new(lead(&flight, loader.thread)))
            .is_some()
    );

    let loader = notes.loader(1, |_| true).expect("somebody loads");
    notes.overtake(1);
    assert!(
        notes
            .owe(&loader, Box::new(lead(&flight, loader.thread)))
            .is_some()
    );
    assert!(notes.end(next).is_some());
    assert!(flight.is_empty());
}

#[test]
fn in_a_forked_child_only_its_own_thread_loads() {
    let mut notes = Notes::new();
    let mine = begin(&mut notes, 1).expect("nobody loads");
    let theirs = notes.begin(2, 2, 8, |_| true).expect("nobody loads");
    let mine_too = begin(&mut notes, 3).expect("nobody loads");
    let before = notes.enter();
    notes.after_fork(7);
    assert_eq!(notes.len(), 2);
    let load = begin(&mut notes, 2).expect("who loaded it is not here");
    assert!(begin(&mut notes, 1).is_err());
    assert!(notes.end(theirs).is_none());
    let entered = notes.enter();
    // This one had entered before the fork, and does not take anybody else's place.
    notes.leave(before);
    assert!(begin(&mut notes, 4).is_err());
    notes.leave(entered);
    for load in [mine, load, mine_too] {
        assert!(notes.end(load).is_some());
    }
    assert!(notes.is_empty());
}

fn block_on_now(mut wait: Wait<u64, Problem>) -> Landing<u64, Problem> {
    let mut cx = Context::from_waker(Waker::noop());
    match Pin::new(&mut wait).poll(&mut cx) {
        Poll::Ready(landing) => landing,
        Poll::Pending => panic!("nobody will end it"),
    }
}
