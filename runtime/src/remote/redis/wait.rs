//! How long one blocking operation may still wait, and when to ask whether it should.
//!
//! Every wait of an operation (for a name, a connection, room to write, a reply) draws on the one deadline, in slices, so that
//! no sequence of small waits adds up to more, and a server that sends a byte now and then keeps nobody from being
//! interrupted.

use std::cell::Cell;
use std::time::Duration;

use super::{Endpoint, timed_out};
use crate::clock::{Clock, Instant, SystemClock};
use crate::error::Result;
use crate::interrupt::{self, Interrupt, SLICE};

/// The patience of one operation.
pub(super) struct Wait<'a> {
    endpoint: &'a Endpoint,
    operation: &'static str,
    interrupt: &'a dyn Interrupt,
    started: Instant,
    deadline: Instant,
    next_check: Cell<Instant>,
}

impl<'a> Wait<'a> {
    pub(super) fn new(
        endpoint: &'a Endpoint,
        operation: &'static str,
        interrupt: &'a dyn Interrupt,
        deadline: Instant,
    ) -> Self {
        let started = SystemClock.now();
        let next_check = Cell::new(started.after(SLICE));
        Self {
            endpoint,
            operation,
            interrupt,
            started,
            deadline,
            next_check,
        }
    }

    /// The same patience, but an earlier end.
    pub(super) fn until(&self, deadline: Instant) -> Self {
        Self {
            deadline: deadline.min(self.deadline),
            next_check: self.next_check.clone(),
            ..*self
        }
    }

    /// How long to wait at most before asking again; an error once the deadline has passed or the caller is interrupted.
    pub(super) fn slice(&self) -> Result<Duration> {
        let now = SystemClock.now();
        if now >= self.deadline {
            let timeout = self.deadline.since(self.started);
            return Err(timed_out(self.endpoint, self.operation, timeout));
        }
        if now >= self.next_check.get() {
            self.check()?;
        }
        Ok(self.deadline.since(now).min(SLICE))
    }

    /// Asks now, because a signal came.
    pub(super) fn check(&self) -> Result<()> {
        interrupt::check(self.interrupt)?;
        self.next_check.set(SystemClock.now().after(SLICE));
        Ok(())
    }

    /// The end of this wait if what is left were shared equally among `shares`.
    pub(super) fn share(&self, shares: u32) -> Instant {
        let now = SystemClock.now();
        now.after(self.deadline.since(now) / shares.max(1))
    }

    pub(super) fn endpoint(&self) -> &'a Endpoint {
        self.endpoint
    }
}
