//! Time, as the rest of the crate sees it.
//!
//! Two readings, since they answer two questions: how much time has passed (never steps), and what
//! to write into an entry that another machine reads (may step).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A moment of a [`Clock`], in nanoseconds since that clock's own origin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// The moment `nanos` nanoseconds after the clock's origin.
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the clock's origin.
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Time from `earlier` to here; zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    /// The moment `duration` later; the end of time if there is none.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)),
        )
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync {
    /// Now, on a scale that never steps.
    fn now(&self) -> Instant;
    /// Now, in milliseconds since 1970-01-01 UTC.
    fn unix_millis(&self) -> u64;
}

impl<C: Clock + ?Sized> Clock for Arc<C> {
    fn now(&self) -> Instant {
        (**self).now()
    }
    fn unix_millis(&self) -> u64 {
        (**self).unix_millis()
    }
}

static ADVANCED: AtomicU64 = AtomicU64::new(0);

/// Moves every [`SystemClock`] of this process forward, for test suites that cannot wait for a lifetime to end.
pub fn advance(by: Duration) {
    let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX >> 1);
    ADVANCED.fetch_add(nanos, Ordering::Relaxed);
}

/// How far the clocks have been [moved](advance), in nanoseconds: for a clock that a binding reads by itself.
#[inline]
pub fn advanced() -> u64 {
    ADVANCED.load(Ordering::Relaxed)
}

/// The machine's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Instant {
        // One origin for the process: `std`'s instants have no number of their own.
        static ORIGIN: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
        let elapsed = ORIGIN.get_or_init(std::time::Instant::now).elapsed();
        Instant(advanced()).after(elapsed)
    }

    fn unix_millis(&self) -> u64 {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            + Duration::from_nanos(advanced());
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// A clock that stands still until it is moved, for tests and simulations.
#[derive(Debug)]
pub struct ManualClock {
    nanos: AtomicU64,
    epoch_millis: u64,
}

impl ManualClock {
    /// A clock whose origin is `epoch_millis` milliseconds after 1970-01-01 UTC.
    pub fn new(epoch_millis: u64) -> Self {
        Self {
            nanos: AtomicU64::new(0),
            epoch_millis,
        }
    }

    /// Moves it forward.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        self.nanos.fetch_add(by, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        Instant(self.nanos.load(Ordering::SeqCst))
    }

    fn unix_millis(&self) -> u64 {
        self.epoch_millis + self.nanos.load(Ordering::SeqCst) / 1_000_000
    }
}
