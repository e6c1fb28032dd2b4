//! Tests under many schedules: wherever a critical section begins, another thread or task may go on first.
//!
//! One such point for each section is enough, since threads share nothing outside of sections but what is set once.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::atomic::AtomicBool;
use shuttle::{Config, Runner};

thread_local! {
    static EXPLORING: Cell<bool> = const { Cell::new(false) };
}

/// Lets another thread go on, if one is there.
pub(crate) fn point() {
    if EXPLORING.get() {
        AtomicBool::new(false).load(Ordering::SeqCst);
    }
}

/// Runs `test` under `count` schedules drawn at random, and as many in which a few switches at the wrong moment are likely.
/// They are the same ones each time; a failure prints its own.
pub(crate) fn explore(count: usize, test: impl Fn() + Send + Sync + 'static) {
    const SEED: u64 = 1;
    let test = Arc::new(test);
    let run = |scheduler: Box<dyn Scheduler + Send>| {
        let mut config = Config::default();
        config.stack_size = 1 << 18;
        let test = Arc::clone(&test);
        Runner::new(scheduler, config).run(move || test());
    };
    EXPLORING.set(true);
    run(Box::new(RandomScheduler::new_from_seed(SEED, count)));
    run(Box::new(PctScheduler::new_from_seed(SEED, 3, count)));
    EXPLORING.set(false);
}
