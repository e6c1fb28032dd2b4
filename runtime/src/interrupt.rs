//! How whoever blocks a thread learns that the thread's owner wants it back.
//!
//! A module of its own, since both the blocking driver and the blocking sockets below it wait, and neither may know the
//! other.

use std::time::Duration;

use crate::error::{BoxError, Error, ErrorCode, Result};

/// The longest that a thread waits without asking its [`Interrupt`].
pub const SLICE: Duration = Duration::from_millis(50);

/// Asked again and again while a thread waits: in Python, whether a signal handler raised.
pub trait Interrupt: Send + Sync {
    /// An error ends the wait; it comes back as the source of [`ErrorCode::Interrupted`].
    fn check(&self) -> Result<(), BoxError>;
}

/// Never interrupts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Uninterrupted;

impl Interrupt for Uninterrupted {
    fn check(&self) -> Result<(), BoxError> {
        Ok(())
    }
}

/// Asks `interrupt`, with this crate's error.
pub fn check(interrupt: &dyn Interrupt) -> Result<()> {
    interrupt
        .check()
        .map_err(|source| Error::new(ErrorCode::Interrupted).with_source(source))
}
