//! The thread that returns the memory of expired entries that nobody asks for.
//!
//! One for the process. It starts when the first entry that expires is stored, sleeps until something is due, and ends
//! before a fork: the interpreter warns of forks with threads, and the child would be without it anyway. The next entry
//! starts it again. Destructors of what it releases run on it, as they do on any thread that happens to release them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use cachekit_runtime::shim::Mutex;
use pyo3::prelude::*;

use crate::clock;
use crate::ending;
use crate::guard;
use crate::local::Local;

/// What is due within this time is swept together.
const TOGETHER: Duration = Duration::from_millis(250);
/// Steps after which other threads may have the interpreter.
const STEPS: usize = 1000;
/// Longest time that a fork waits for the thread to end. Only a destructor that blocks takes that long.
const PATIENCE: Duration = Duration::from_secs(1);
/// Nothing is due.
const NEVER: u64 = u64::MAX;

/// When the thread looks next: what is due later need not tell it. [`NEVER`] too while there is no thread.
static NEXT: AtomicU64 = AtomicU64::new(NEVER);
static STOP: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<State> = Mutex::new(State {
    tiers: Vec::new(),
    sweeper: None,
});

struct State {
    tiers: Vec<(Arc<Due>, Weak<Local>)>,
    sweeper: Option<JoinHandle<()>>,
}

/// When a tier is to be swept.
pub(crate) struct Due {
    nanos: AtomicU64,
    listed: AtomicBool,
}

impl Due {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            nanos: AtomicU64::new(NEVER),
            listed: AtomicBool::new(false),
        })
    }

    /// Has `tier` swept at that time, or soon afterwards; never at the end of time.
    #[inline]
    pub(crate) fn set(self: &Arc<Self>, nanos: u64, tier: &Weak<Local>) {
        if nanos == self.nanos.load(Ordering::Relaxed) && NEXT.load(Ordering::Relaxed) <= nanos {
            return;
        }
        // Before the look at `NEXT`, which the thread sets before it looks here: one of the two sees the other.
        self.nanos.store(nanos, Ordering::SeqCst);
        let is_listed = self.listed.load(Ordering::Relaxed) || nanos == NEVER;
        if nanos < NEXT.load(Ordering::SeqCst) || !is_listed {
            self.wake(nanos, tier);
        }
    }

    #[cold]
    fn wake(self: &Arc<Self>, nanos: u64, tier: &Weak<Local>) {
        if ending::has_begun() {
            return;
        }
        STATE.with(|state| {
            if !self.listed.swap(true, Ordering::Relaxed) {
                state.tiers.retain(|(_, tier)| tier.strong_count() > 0);
                state.tiers.push((Arc::clone(self), Weak::clone(tier)));
            }
            NEXT.fetch_min(nanos, Ordering::SeqCst);
            if let Some(sweeper) = &state.sweeper {
                sweeper.thread().unpark();
                return;
            }
            STOP.store(false, Ordering::Release);
            let builder = thread::Builder::new().name("cachekit-sweeper".to_owned());
            // Without a thread entries go when somebody stores others.
            state.sweeper = builder.spawn(run).ok();
        });
    }
}

fn is_over() -> bool {
    STOP.load(Ordering::Acquire) || ending::has_begun()
}

fn run() {
    while !is_over() {
        NEXT.store(NEVER, Ordering::SeqCst);
        let (due, next) = STATE.with(|state| look(state, clock::now().as_nanos()));
        for tier in due {
            sweep(&tier);
        }
        match next {
            Some(left) if left.is_zero() => {}
            Some(left) => thread::park_timeout(left + TOGETHER),
            None => thread::park(),
        }
    }
}

/// The tiers that are due, and how long it is until others are.
fn look(state: &mut State, now: u64) -> (Vec<Weak<Local>>, Option<Duration>) {
    let mut due = Vec::new();
    let mut next = NEVER;
    state.tiers.retain(|(when, tier)| {
        let nanos = when.nanos.load(Ordering::SeqCst);
        if nanos <= now {
            due.push(Weak::clone(tier));
        }
        next = next.min(nanos);
        tier.strong_count() > 0
    });
    NEXT.fetch_min(next, Ordering::SeqCst);
    let left = (next != NEVER).then(|| Duration::from_nanos(next.saturating_sub(now)));
    (due, left)
}

/// Attached for a moment at a time, so that nobody waits for long.
fn sweep(tier: &Weak<Local>) {
    let step = |py: Python<'_>| {
        tier.upgrade()
            .is_some_and(|tier| tier.sweep(py, STEPS, is_over))
    };
    while !is_over() && guard::try_attached(step) == Some(true) {}
}

/// Has the thread look again: its clock was moved.
pub(crate) fn look_again() {
    STATE.with(|state| {
        if let Some(sweeper) = &state.sweeper {
            sweeper.thread().unpark();
        }
    });
}

/// Ends the thread until somebody needs it again.
#[pyfunction]
pub(crate) fn stop_sweeper(py: Python<'_>) {
    let Some(sweeper) = STATE.with(|state| state.sweeper.take()) else {
        return;
    };
    if sweeper.thread().id() == thread::current().id() {
        return;
    }
    STOP.store(true, Ordering::Release);
    sweeper.thread().unpark();
    ending::detached(py, || {
        let begun = std::time::Instant::now();
        while !sweeper.is_finished() && begun.elapsed() < PATIENCE {
            thread::sleep(Duration::from_micros(20));
        }
        if sweeper.is_finished() {
            // It does not panic: what it runs is guarded.
            let _ = sweeper.join();
        }
    });
    NEXT.store(NEVER, Ordering::SeqCst);
}

/// In a forked child there is no such thread, if a hook of somebody else's had started one before the fork.
pub(crate) fn after_fork_in_child() {
    std::mem::forget(STATE.with(|state| state.sweeper.take()));
    NEXT.store(NEVER, Ordering::SeqCst);
}
