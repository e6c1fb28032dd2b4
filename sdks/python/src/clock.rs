//! Time on the hot path: a reading that costs four nanoseconds and is a few milliseconds late.
//!
//! The precise clock would cost as much as the rest of a hit, and no lifetime needs it.

use cachekit_runtime::clock::Instant;

#[cfg(target_os = "linux")]
pub(crate) use linux::{now, register};

#[cfg(target_os = "linux")]
mod linux {
    use std::ffi::{CStr, c_int, c_void};
    use std::mem::MaybeUninit;
    use std::ptr::null_mut;
    use std::sync::atomic::{AtomicPtr, Ordering};

    use super::Instant;

    type Read = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> c_int;

    /// What it is called there. On other machines its time may have another width than the C library's.
    const NAME: &CStr = if cfg!(target_arch = "x86_64") {
        c"__vdso_clock_gettime"
    } else if cfg!(target_arch = "aarch64") {
        c"__kernel_clock_gettime"
    } else {
        c"none"
    };

    /// The kernel's own function, which the C library's would call; null until it is found.
    static READ: AtomicPtr<c_void> = AtomicPtr::new(null_mut());

    /// Finds it. Where that cannot be done the C library is asked each time.
    pub(crate) fn register() {
        // SAFETY: both take strings that end in zero. What is mapped there stays so for as long as the process lives.
        let found = unsafe {
            let kernel = libc::dlopen(
                c"linux-vdso.so.1".as_ptr(),
                libc::RTLD_NOW | libc::RTLD_NOLOAD,
            );
            if kernel.is_null() {
                return;
            }
            libc::dlsym(kernel, NAME.as_ptr())
        };
        READ.store(found, Ordering::Relaxed);
    }

    /// Now, on a scale of the in-process tier's own.
    #[inline]
    pub(crate) fn now() -> Instant {
        let read = READ.load(Ordering::Relaxed);
        let read: Read = if read.is_null() {
            libc::clock_gettime
        } else {
            // SAFETY: the kernel's function has this signature.
            unsafe { std::mem::transmute::<*mut c_void, Read>(read) }
        };
        let mut time = MaybeUninit::<libc::timespec>::uninit();
        // SAFETY: writes one timespec; this clock exists on every Linux that Rust supports, and asking for it does not fail.
        let time = unsafe {
            read(libc::CLOCK_MONOTONIC_COARSE, time.as_mut_ptr());
            time.assume_init()
        };
        let nanos = time.tv_sec.cast_unsigned() * 1_000_000_000 + time.tv_nsec.cast_unsigned();
        Instant::from_nanos(nanos.wrapping_add(cachekit_runtime::clock::advanced()))
    }
}

/// Nothing is to be found.
#[cfg(not(target_os = "linux"))]
pub(crate) fn register() {}

/// Now.
#[cfg(not(target_os = "linux"))]
pub(crate) fn now() -> Instant {
    use cachekit_runtime::clock::{Clock, SystemClock};
    SystemClock.now()
}
