//! Time on the hot path: a reading that costs four nanoseconds and is a few milliseconds late.
//!
//! The precise clock would cost as much as the rest of a hit, and no lifetime needs it.

use cachekit_runtime::clock::Instant;

/// Now, on a scale of the in-process tier's own.
#[cfg(target_os = "linux")]
#[inline]
pub(crate) fn now() -> Instant {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: writes one timespec; this clock exists on every Linux that Rust supports.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, &raw mut time) };
    let nanos = time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned();
    Instant::from_nanos(nanos.wrapping_add(cachekit_runtime::clock::advanced()))
}

/// Now.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> Instant {
    use cachekit_runtime::clock::{Clock, SystemClock};
    SystemClock.now()
}
