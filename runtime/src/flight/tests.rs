use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Barrier, mpsc};
use std::task::Wake;
use std::time::Duration;

use super::*;
use crate::clock::Clock;
use crate::driver::Driver;
use crate::driver::blocking;
use crate::driver::simulation::{Process, Simulation};
use crate::interrupt::Uninterrupted;

mod schedules;

type Flights = Arc<Flight<u64, String>>;

fn key(n: u8) -> KeyHash {
    KeyHash([n; 32])
}

/// A caller on a thread of its own, so that tests running beside each other share no waits.
fn someone() -> Caller {
    Caller {
        thread: fresh_number(),
        task: 0,
    }
}

fn leader(role: Role<u64, String>) -> Lead<u64, String> {
    match role {
        Role::Leader(lead) => lead,
        other => panic!("leads, not {other:?}"),
    }
}

fn waiter(role: Role<u64, String>) -> Wait<u64, String> {
    match role {
        Role::Waiter(wait) => wait,
        other => panic!("waits, not {other:?}"),
    }
}

fn look(wait: &mut Wait<u64, String>) -> Poll<Landing<u64, String>> {
    Pin::new(wait).poll(&mut Context::from_waker(Waker::noop()))
}

fn handed_over(wait: &mut Wait<u64, String>) -> Lead<u64, String> {
    match look(wait) {
        Poll::Ready(Landing::HandedOver(lead)) => lead,
        other => panic!("handed over, not {other:?}"),
    }
}

#[test]
fn sixty_four_threads_on_one_key_make_one_load() {
    let flight: Flights = Flight::new();
    let (loads, barrier) = (AtomicUsize::new(0), Barrier::new(64));
    std::thread::scope(|scope| {
        for _ in 0..64 {
            scope.spawn(|| {
                barrier.wait();
                let value = match flight.join(key(1), Caller::this_thread()) {
                    Role::Leader(lead) => {
                        loads.fetch_add(1, Ordering::Relaxed);
                        while flight.len() < 64 {
                            std::thread::yield_now();
                        }
                        lead.finish(Ok(42));
                        42
                    }
                    Role::Waiter(wait) => match blocking::run(wait, &Uninterrupted) {
                        Ok(Landing::Value(value)) => value,
                        other => panic!("{other:?}"),
                    },
                    Role::Nested => panic!("every thread is a caller of its own"),
                };
                assert_eq!(value, 42);
            });
        }
    });
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert!(flight.is_empty());
}

#[test]
fn a_caller_never_waits_for_itself() {
    let flight: Flights = Flight::new();
    let me = someone();
    let lead = leader(flight.join(key(1), me));
    assert!(matches!(flight.join(key(1), me), Role::Nested));
    // A task of the leader's thread runs within the leader's stack.
    assert!(matches!(
        flight.join(key(1), Caller { task: 5, ..me }),
        Role::Nested
    ));
    assert!(matches!(flight.join(key(1), someone()), Role::Waiter(_)));
    drop(lead);

    let task = Caller {
        thread: fresh_number(),
        task: 5,
    };
    let _lead = leader(flight.join(key(2), task));
    assert!(matches!(flight.join(key(2), task), Role::Nested));
    assert!(matches!(
        flight.join(key(2), Caller { task: 6, ..task }),
        Role::Waiter(_)
    ));
    assert!(matches!(
        flight.join(key(2), Caller { task: 0, ..task }),
        Role::Nested
    ));
}

#[test]
fn an_error_reaches_every_waiter_as_one() {
    let flight: Flights = Flight::new();
    let lead = leader(flight.join(key(1), someone()));
    let mut waits = [
        waiter(flight.join(key(1), someone())),
        waiter(flight.join(key(1), someone())),
    ];
    let error = Arc::new("no".to_owned());
    lead.finish(Err(Arc::clone(&error)));
    for wait in &mut waits {
        let Poll::Ready(Landing::Failed(seen)) = look(wait) else {
            panic!("it failed")
        };
        assert!(Arc::ptr_eq(&seen, &error));
    }
}

#[test]
fn a_leader_that_goes_away_hands_over_in_order_of_arrival() {
    let flight: Flights = Flight::new();
    let lead = leader(flight.join(key(1), someone()));
    let mut first = waiter(flight.join(key(1), someone()));
    let mut second = waiter(flight.join(key(1), someone()));
    assert!(look(&mut first).is_pending() && look(&mut second).is_pending());
    drop(lead);
    assert!(!flight.is_empty(), "one was chosen");
    assert!(look(&mut second).is_pending());
    let lead = handed_over(&mut first);
    assert!(lead.is_current());
    assert!(look(&mut second).is_pending());
    lead.finish(Ok(7));
    assert!(matches!(look(&mut second), Poll::Ready(Landing::Value(7))));
    assert!(flight.is_empty());
    let left = flight.state.with(|state| state.current.len());
    assert_eq!(left, 0, "no key stays behind");
}

#[test]
fn a_chosen_waiter_that_goes_away_passes_on() {
    struct Count(AtomicUsize);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let flight: Flights = Flight::new();
    let lead = leader(flight.join(key(1), someone()));
    let first = waiter(flight.join(key(1), someone()));
    let mut second = waiter(flight.join(key(1), someone()));
    let woken = Arc::new(Count(AtomicUsize::new(0)));
    let waker = Arc::clone(&woken).into();
    assert!(
        Pin::new(&mut second)
            .poll(&mut Context::from_waker(&waker))
            .is_pending()
    );
    drop(lead);
    assert_eq!(woken.0.load(Ordering::Relaxed), 0, "the first was chosen");
    drop(first);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    drop(handed_over(&mut second));
    assert!(flight.is_empty());
    drop(leader(flight.join(key(1), someone())));
}

#[test]
fn the_new_leader_is_known_as_such() {
    let flight: Flights = Flight::new();
    let lead = leader(flight.join(key(1), someone()));
    let heir = someone();
    let mut wait = waiter(flight.join(key(1), heir));
    drop(lead);
    let lead = handed_over(&mut wait);
    assert!(matches!(flight.join(key(1), heir), Role::Nested));
    let mut other = waiter(flight.join(key(1), someone()));
    lead.finish(Ok(1));
    assert!(matches!(look(&mut other), Poll::Ready(Landing::Value(1))));
}

#[test]
fn a_forgotten_load_serves_its_waiters_and_nobody_later() {
    let flight: Flights = Flight::new();
    let old = leader(flight.join(key(1), someone()));
    let other = leader(flight.join(key(2), someone()));
    let mut early = waiter(flight.join(key(1), someone()));
    assert!(old.is_current());
    flight.forget(&key(1));
    assert!(!old.is_current() && other.is_current());
    let new = leader(flight.join(key(1), someone()));
    let mut late = waiter(flight.join(key(1), someone()));
    old.finish(Ok(1));
    assert!(matches!(look(&mut early), Poll::Ready(Landing::Value(1))));
    assert!(look(&mut late).is_pending());
    assert!(
        new.is_current(),
        "the end of the old one is not the end of the new one"
    );
    new.finish(Ok(2));
    assert!(matches!(look(&mut late), Poll::Ready(Landing::Value(2))));
    flight.forget_all();
    assert!(!other.is_current());
}

#[test]
fn who_replaces_a_load_leads_at_once_and_is_the_current_one() {
    let flight: Flights = Flight::new();
    let me = someone();
    let old = leader(flight.join(key(1), me));
    let mut early = waiter(flight.join(key(1), someone()));
    let new = flight.replace(key(1), me);
    assert!(new.is_current() && !old.is_current());
    let mut late = waiter(flight.join(key(1), someone()));
    old.finish(Ok(1));
    assert!(matches!(look(&mut early), Poll::Ready(Landing::Value(1))));
    assert!(look(&mut late).is_pending());
    new.finish(Ok(2));
    assert!(matches!(look(&mut late), Poll::Ready(Landing::Value(2))));
    drop(flight.replace(key(1), me));
    assert!(flight.is_empty());
}

#[test]
fn a_key_settles_until_the_last_overtaken_load_has_ended() {
    let flight: Flights = Flight::new();
    let first = leader(flight.join(key(1), someone()));
    flight.forget(&key(1));
    assert!(!flight.is_settling(&key(1)), "it will store nothing");
    let second = leader(flight.join(key(1), someone()));
    let other = leader(flight.join(key(2), someone()));
    second.land(Ok(2), None);
    other.land(Ok(2), None);
    assert!(!flight.is_settling(&key(1)), "it is current");
    let third = flight.replace(key(1), someone());
    assert!(flight.is_settling(&key(1)), "the second had landed");
    third.land(Ok(3), None);
    flight.forget_all();
    assert!(flight.is_settling(&key(1)) && flight.is_settling(&key(2)));
    drop((first, second));
    assert!(flight.is_settling(&key(1)));
    drop(third);
    assert!(!flight.is_settling(&key(1)) && flight.is_settling(&key(2)));
    flight.reset_after_fork();
    assert!(!flight.is_settling(&key(2)));
    drop(other);
}

#[test]
fn who_takes_over_a_forgotten_load_begins_a_current_one() {
    let flight: Flights = Flight::new();
    let lead = leader(flight.join(key(1), someone()));
    let mut wait = waiter(flight.join(key(1), someone()));
    flight.forget(&key(1));
    drop(lead);
    assert!(handed_over(&mut wait).is_current());
}

#[test]
fn a_landed_result_is_there_until_the_lead_ends() {
    let flight: Flights = Flight::new();
    let me = someone();
    let lead = leader(flight.join(key(1), me));
    lead.land(Ok(5), None);
    let mut late = waiter(flight.join(key(1), someone()));
    assert!(matches!(look(&mut late), Poll::Ready(Landing::Value(5))));
    let mut own = waiter(flight.join(key(1), me));
    assert!(matches!(look(&mut own), Poll::Ready(Landing::Value(5))));
    drop(lead);
    drop(leader(flight.join(key(1), someone())));
    assert!(flight.is_empty());
}

#[test]
fn callers_of_two_functions_do_not_wait_for_each_other() {
    let (f, g): (Flights, Flights) = (Flight::new(), Flight::new());
    let (a, b) = (someone(), someone());
    let _f = leader(f.join(key(1), a));
    let _g = leader(g.join(key(1), b));
    let wait = waiter(f.join(key(1), b));
    assert!(matches!(g.join(key(1), a), Role::Nested));
    drop(wait);
    assert!(matches!(g.join(key(1), a), Role::Waiter(_)));
}

#[test]
fn what_has_landed_holds_up_nobody() {
    let flight: Flights = Flight::new();
    let (a, b) = (someone(), someone());
    let lead = leader(flight.join(key(1), a));
    let _other = leader(flight.join(key(2), b));
    let mut unaware = waiter(flight.join(key(1), b));
    lead.finish(Ok(1));
    let wait = waiter(flight.join(key(2), a));
    assert!(matches!(look(&mut unaware), Poll::Ready(Landing::Value(1))));
    drop(wait);
    assert!(!waits::any_on(a.thread) && !waits::any_on(b.thread));
}

#[test]
fn wakers_run_outside_the_lock() {
    struct Nosy(Flights);
    impl Wake for Nosy {
        fn wake(self: Arc<Self>) {
            let _ = self.0.len();
        }
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            let _ = self.0.len();
        }
    }
    let (done, ended) = mpsc::channel();
    std::thread::spawn(move || {
        let flight: Flights = Flight::new();
        let lead = leader(flight.join(key(1), someone()));
        let mut waits: Vec<_> = (0..3)
            .map(|_| waiter(flight.join(key(1), someone())))
            .collect();
        for wait in &mut waits {
            // Twice, so that one waker replaces another.
            for _ in 0..2 {
                let waker = Arc::new(Nosy(Arc::clone(&flight))).into();
                assert!(
                    Pin::new(&mut *wait)
                        .poll(&mut Context::from_waker(&waker))
                        .is_pending()
                );
            }
        }
        drop(waits.pop());
        drop(lead);
        handed_over(&mut waits[0]).finish(Ok(1));
        let waker = Arc::new(Nosy(Arc::clone(&flight))).into();
        assert!(
            Pin::new(&mut waits[1])
                .poll(&mut Context::from_waker(&waker))
                .is_ready()
        );
        done.send(()).expect("somebody listens");
    });
    ended
        .recv_timeout(Duration::from_secs(20))
        .expect("no section calls a waker");
}

#[test]
fn a_forked_child_starts_with_nobody_in_flight() {
    struct Foreign;
    impl Wake for Foreign {
        fn wake(self: Arc<Self>) {}
    }
    let flight: Flights = Flight::new();
    let gone = leader(flight.join(key(1), someone()));
    let me = someone();
    let mut wait = waiter(flight.join(key(1), me));
    let foreign = Arc::new(Foreign);
    let waker = Arc::clone(&foreign).into();
    let polled = Pin::new(&mut wait).poll(&mut Context::from_waker(&waker));
    assert!(polled.is_pending() && waits::any_on(me.thread));
    drop(waker);
    let mine = leader(flight.join(key(2), Caller::this_thread()));
    flight.reset_after_fork();
    assert!(flight.is_empty() && !waits::any_on(me.thread));
    assert_eq!(Arc::strong_count(&foreign), 2, "it is not touched");
    let heir = handed_over(&mut wait);
    assert!(heir.is_current());
    let mut late = waiter(flight.join(key(1), someone()));
    // A lead from before the fork changes nothing.
    mine.finish(Ok(1));
    assert!(!gone.is_current());
    drop(gone);
    assert!(look(&mut late).is_pending());
    heir.finish(Ok(2));
    assert!(matches!(look(&mut late), Poll::Ready(Landing::Value(2))));
}

/// Tasks that load, fail, are cancelled and call each other's keys, in every order that a seed gives: nobody hangs, and
/// nothing is left.
#[test]
fn nobody_hangs_in_any_of_many_histories() {
    static TAKEN_OVER: AtomicU64 = AtomicU64::new(0);

    type Visit = Pin<Box<dyn Future<Output = u64> + Send>>;

    fn visit(flights: Arc<[Flights; 3]>, process: Process, depth: u32) -> Visit {
        Box::pin(visiting(flights, process, depth))
    }

    async fn visiting(flights: Arc<[Flights; 3]>, process: Process, depth: u32) -> u64 {
        let chance = process.random();
        let flight = Arc::clone(&flights[(chance % 3) as usize]);
        let mut role = flight.join(key((chance / 3 % 2) as u8), process.caller());
        loop {
            let lead = match role {
                Role::Leader(lead) => Some(lead),
                Role::Nested => None,
                Role::Waiter(wait) => match wait.await {
                    Landing::Value(value) => return value,
                    Landing::Failed(_) => return 0,
                    Landing::HandedOver(lead) => {
                        TAKEN_OVER.fetch_add(1, Ordering::Relaxed);
                        role = Role::Leader(lead);
                        continue;
                    }
                },
            };
            process
                .simulation()
                .sleep(Duration::from_millis(process.random() % 10))
                .await;
            if depth < 3 && process.random().is_multiple_of(2) {
                visit(Arc::clone(&flights), process.clone(), depth + 1).await;
            }
            if let Some(lead) = lead {
                match process.random() % 4 {
                    0 => lead.finish(Err(Arc::new("failed".to_owned()))),
                    1 => drop(lead),
                    _ => lead.finish(Ok(9)),
                }
            }
            return 9;
        }
    }

    for seed in 0..300 {
        let simulation = Simulation::new(seed);
        let flights = Arc::new([Flight::new(), Flight::new(), Flight::new()]);
        let processes: Vec<_> = (0..2).map(|_| simulation.process()).collect();
        let mut tasks = Vec::new();
        for n in 0..12 {
            let process = &processes[n % 2];
            let visiting = visit(Arc::clone(&flights), process.clone(), 0);
            let own = process.clone();
            tasks.push(process.start(async move {
                own.simulation()
                    .sleep(Duration::from_millis(own.random() % 10))
                    .await;
                visiting.await
            }));
        }
        simulation.run_until(simulation.now().after(Duration::from_millis(8)));
        for task in tasks.drain(..3) {
            task.cancel();
        }
        simulation.run();
        for task in tasks {
            assert!(task.take().is_some(), "seed {seed}: a task hangs");
        }
        assert!(
            flights.iter().all(|flight| flight.is_empty()),
            "seed {seed}: something is left"
        );
    }
    assert!(TAKEN_OVER.load(Ordering::Relaxed) > 100);
}
