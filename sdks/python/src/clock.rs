//! Time on the hot path: a reading that costs four nanoseconds and is a few milliseconds late.
//!
//! The precise clock would cost as much as the rest of a hit, and no lifetime needs it. Tests move it forward.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachekit_runtime::clock::Instant;

static ADVANCED: AtomicU64 = AtomicU64::new(0);

/// Now, on a scale of the in-process tier's own.
#[inline]
pub(crate) fn now() -> Instant {
    Instant::from_nanos(coarse().wrapping_add(ADVANCED.load(Ordering::Relaxed)))
}

/// Moves the in-process tier's time forward, for tests.
pub(crate) fn advance(by: Duration) {
    let nanos = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX >> 1);
    ADVANCED.fetch_add(nanos, Ordering::Relaxed);
}

#[cfg(target_os = "linux")]
#[inline]
fn coarse() -> u64 {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec; this clock exists on every Linux that Rust supports.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned()
}

#[cfg(not(target_os = "linux"))]
fn coarse() -> u64 {
    use cachekit_runtime::clock::{Clock, SystemClock};
    SystemClock.now().as_nanos()
}
