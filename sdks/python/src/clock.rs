//! Time on the hot path: a reading that costs four nanoseconds and is a few milliseconds late.
//!
//! The precise clock would cost as much as the rest of a hit, and no lifetime needs it.

#[cfg(target_os = "linux")]
use std::mem::MaybeUninit;

use cachekit_runtime::clock::Instant;

/// Now, on a scale of the in-process tier's own.
#[cfg(target_os = "linux")]
#[inline]
pub(crate) fn now() -> Instant {
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: writes one timespec; this clock exists on every Linux that Rust supports, and asking for it does not fail.
    let time = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC_COARSE, time.as_mut_ptr());
        time.assume_init()
    };
    let nanos = time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned();
    Instant::from_nanos(nanos.wrapping_add(cachekit_runtime::clock::advanced()))
}

/// Now.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> Instant {
    use cachekit_runtime::clock::{Clock, SystemClock};
    SystemClock.now()
}
