//! The runtime's half of the event-loop driver; the loop itself belongs to another language.
//!
//! The loop polls our futures in its own tasks and carries our bytes in its own transport, so all that is asked of it here
//! is who is calling, and to keep a task that lost its caller.

use std::fmt;
use std::sync::Arc;

use super::{Caller, Driver, Spawn, Task, kernel_random};
use crate::clock::{Clock, Instant, SystemClock};

/// What an event loop of another language does for the logic.
pub trait LoopHost: Send + Sync {
    /// The thread and the task that are running.
    fn caller(&self) -> Caller;
    /// Polls `task` to its end on the loop, and holds it strongly until then. Dropping it is legal when the loop closes.
    fn spawn(&self, task: Task);
}

/// The driver of one event loop.
#[derive(Clone)]
pub struct LoopDriver {
    host: Arc<dyn LoopHost>,
}

impl LoopDriver {
    /// The driver of the loop behind `host`.
    pub fn new(host: Arc<dyn LoopHost>) -> Self {
        Self { host }
    }
}

impl fmt::Debug for LoopDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopDriver").finish_non_exhaustive()
    }
}

impl Clock for LoopDriver {
    fn now(&self) -> Instant {
        SystemClock.now()
    }
    fn unix_millis(&self) -> u64 {
        SystemClock.unix_millis()
    }
}

impl Spawn for LoopDriver {
    fn spawn(&self, task: Task) {
        self.host.spawn(task);
    }
}

impl Driver for LoopDriver {
    fn caller(&self) -> Caller {
        self.host.caller()
    }
    fn random(&self) -> u64 {
        kernel_random()
    }
}
