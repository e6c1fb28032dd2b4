use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use super::*;
use crate::error::ErrorCode;
use crate::remote::Remote;

/// A minute of ten processes that read and write over a network that loses messages.
fn history(seed: u64) -> Vec<Event> {
    let simulation = Simulation::new(seed);
    simulation.network(|network| network.lost_per_million = 50_000);
    let server = Server::new(&simulation);
    for _ in 0..10 {
        let process = simulation.process();
        let wire = server.reached_from(&process);
        let own = process.clone();
        process.start(async move {
            for _ in 0..20 {
                let pause = Duration::from_millis(own.random() % 3000);
                own.simulation().sleep(pause).await;
                let deadline = own.now().after(Duration::from_millis(500));
                let value = Bytes::from(own.index().to_string());
                let _ = wire.set(b"last", value, None, deadline).await;
                if let Ok(values) = wire.get(&[b"last"], None, deadline).await {
                    own.note(format_args!("saw {values:?}"));
                }
            }
        });
    }
    simulation.run();
    simulation.trace()
}

#[test]
fn one_seed_is_one_history_and_another_is_another() {
    let first = history(7);
    assert!(first.len() > 400, "{} events", first.len());
    assert!(
        first.iter().any(|event| event.what == "remote_timeout"),
        "messages are lost"
    );
    assert_eq!(first, history(7));
    assert_ne!(first, history(8));
}

#[test]
fn time_jumps_to_what_happens_next() {
    let simulation = Simulation::new(1);
    let process = simulation.process();
    let (a, b) = (simulation.clone(), simulation.clone());
    let late = process.start(async move { a.sleep(Duration::from_hours(1)).await });
    let early = process.start(async move {
        b.sleep(Duration::from_mins(1)).await;
        b.now()
    });
    simulation.run_until(Instant::default().after(Duration::from_secs(100)));
    assert_eq!(
        early.take(),
        Some(Instant::default().after(Duration::from_mins(1)))
    );
    assert_eq!(late.take(), None);
    simulation.run();
    assert_eq!(late.take(), Some(()));
    assert_eq!(
        simulation.now(),
        Instant::default().after(Duration::from_hours(1))
    );
}

#[test]
fn a_write_whose_sender_gave_up_still_arrives() {
    let simulation = Simulation::new(1);
    simulation.network(|network| network.least = Duration::from_millis(300));
    let server = Server::new(&simulation);
    let process = simulation.process();
    let wire = server.reached_from(&process);
    let deadline = simulation.now().after(Duration::from_millis(400));
    let write = process.start(async move {
        wire.set(b"key", Bytes::from_static(b"value"), None, deadline)
            .await
    });
    simulation.run();
    let error = write
        .take()
        .expect("it ended")
        .expect_err("300 ms there and 300 ms back");
    assert_eq!(error.code(), ErrorCode::RemoteTimeout);
    assert!(server.store().get_now(b"key").is_some());
}

#[test]
fn dead_silent_and_cut_off_differ() {
    let simulation = Simulation::new(1);
    let server = Server::new(&simulation);
    let process = simulation.process();
    let ask = || {
        let wire = server.reached_from(&process);
        let own = process.clone();
        let asking = process.start(async move {
            let begun = own.now();
            let deadline = begun.after(Duration::from_millis(500));
            let reply = wire.get(&[b"key"], None, deadline).await;
            (reply.map_err(|error| error.code()), own.now().since(begun))
        });
        simulation.run();
        asking.take().expect("it ends by its deadline")
    };
    assert_eq!(ask().0, Ok(vec![None]));
    server.kill();
    let (reply, took) = ask();
    assert_eq!(reply, Err(ErrorCode::RemoteUnavailable));
    assert!(took < Duration::from_millis(10));
    server.silence();
    assert_eq!(
        ask(),
        (Err(ErrorCode::RemoteTimeout), Duration::from_millis(500))
    );
    server.revive();
    process.cut_off(true);
    assert_eq!(
        ask(),
        (Err(ErrorCode::RemoteTimeout), Duration::from_millis(500))
    );
    process.cut_off(false);
    assert_eq!(ask().0, Ok(vec![None]));
}

#[test]
fn a_killed_process_does_nothing_more() {
    static REACHED: AtomicU64 = AtomicU64::new(0);
    let simulation = Simulation::new(1);
    let (dies, lives) = (simulation.process(), simulation.process());
    for process in [&dies, &lives] {
        let own = simulation.clone();
        process.start(async move {
            own.sleep(Duration::from_secs(1)).await;
            REACHED.fetch_add(1, Ordering::Relaxed);
        });
    }
    simulation.run_until(Instant::default().after(Duration::from_millis(1)));
    dies.kill();
    simulation.run();
    assert_eq!(REACHED.load(Ordering::Relaxed), 1);
    dies.spawn(Box::pin(async { panic!("it is dead") }));
    simulation.run();
}
