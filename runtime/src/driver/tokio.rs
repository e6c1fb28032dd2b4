//! The tokio driver: for async Rust.
//!
//! A task here may poll several of our futures side by side (`join!`), so its number cannot say who is nested in whom. What
//! can is the load that is being polled: a call from within a load is its leader's, any other call is a caller of its own.

use ::tokio::runtime::Handle;

use super::{Caller, Driver, Spawn, Task, fresh_number, inside, kernel_random};
use crate::clock::{Clock, Instant, SystemClock};

/// Tasks move between threads, so they all count as tasks of one thread that is none.
const NO_THREAD: u64 = u64::MAX;

/// The driver of a tokio runtime.
#[derive(Clone, Debug)]
pub struct Tokio {
    handle: Handle,
}

impl Tokio {
    /// The driver of the runtime behind `handle`.
    pub fn new(handle: Handle) -> Self {
        Self { handle }
    }

    /// The driver of the runtime that this is called in.
    ///
    /// # Panics
    /// Outside a runtime.
    #[must_use]
    pub fn current() -> Self {
        Self::new(Handle::current())
    }
}

impl Clock for Tokio {
    fn now(&self) -> Instant {
        SystemClock.now()
    }
    fn unix_millis(&self) -> u64 {
        SystemClock.unix_millis()
    }
}

impl Spawn for Tokio {
    fn spawn(&self, task: Task) {
        drop(self.handle.spawn(task));
    }
}

impl Driver for Tokio {
    fn caller(&self) -> Caller {
        inside().unwrap_or_else(|| Caller {
            thread: NO_THREAD,
            task: fresh_number(),
        })
    }
    fn random(&self) -> u64 {
        kernel_random()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Scope;
    use super::*;

    #[::tokio::test]
    async fn calls_from_within_a_load_are_its_leaders_and_others_are_not() {
        let driver = Tokio::current();
        let (one, other) = (driver.caller(), driver.caller());
        assert_ne!(one, other);
        let inner = Scope::new(one, async {
            ::tokio::task::yield_now().await;
            driver.caller()
        });
        let beside = async {
            ::tokio::task::yield_now().await;
            driver.caller()
        };
        let (inner, beside) = ::tokio::join!(inner, beside);
        assert_eq!(inner, one);
        assert_ne!(beside, one);
        assert!(!one.holds_up(other));
    }

    #[::tokio::test]
    async fn what_is_spawned_runs_although_nobody_waits() {
        let (send, receive) = ::tokio::sync::oneshot::channel();
        Tokio::current().spawn(Box::pin(async move {
            send.send(()).expect("the test listens");
        }));
        receive.await.expect("it ran");
    }
}
