//! Data that every thread of the interpreter sees, guarded by what that interpreter has.
//!
//! Where there is a global lock, holding it is enough, and a hit pays nothing; a section must then never give it up, so
//! it makes no Python object and drops none. Without a global lock the same sections run under a lock of ours.

#[cfg(Py_GIL_DISABLED)]
use cachekit_runtime::shim::Mutex;

/// A value that is reached in sections that do not overlap.
#[cfg(Py_GIL_DISABLED)]
pub(crate) struct Guarded<T>(Mutex<T>);

/// A value that is reached in sections that do not overlap.
#[cfg(not(Py_GIL_DISABLED))]
pub(crate) struct Guarded<T>(std::cell::UnsafeCell<T>);

// SAFETY: the value is only reached by threads that hold the interpreter's lock, which `with` asserts in debug builds.
#[cfg(not(Py_GIL_DISABLED))]
unsafe impl<T: Send> Sync for Guarded<T> {}

impl<T> Guarded<T> {
    #[cfg(Py_GIL_DISABLED)]
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    #[cfg(not(Py_GIL_DISABLED))]
    pub(crate) fn new(value: T) -> Self {
        Self(std::cell::UnsafeCell::new(value))
    }

    /// Runs `section` with the value. It must call no Python code, nor make or release an object.
    #[cfg(Py_GIL_DISABLED)]
    #[inline]
    pub(crate) fn with<R>(&self, section: impl FnOnce(&mut T) -> R) -> R {
        self.0.with(section)
    }

    /// Runs `section` with the value. It must call no Python code, nor make or release an object.
    #[cfg(not(Py_GIL_DISABLED))]
    #[inline]
    pub(crate) fn with<R>(&self, section: impl FnOnce(&mut T) -> R) -> R {
        if cfg!(debug_assertions) {
            // SAFETY: always allowed.
            let is_attached = unsafe { pyo3::ffi::PyGILState_Check() } == 1;
            assert!(is_attached, "not attached to the interpreter");
        }
        // SAFETY: this thread holds the interpreter's lock and, by the contract above, keeps it until the section ends;
        // sections do not nest, since they call nothing that could come back here.
        section(unsafe { &mut *self.0.get() })
    }

    /// The value, for a section in the caller's own code: a closure is not always inlined.
    ///
    /// # Safety
    /// Attached to the interpreter. The section is as for [`with`](Self::with), and ends before another one begins.
    #[cfg(not(Py_GIL_DISABLED))]
    #[inline(always)]
    #[allow(
        clippy::mut_from_ref,
        reason = "the interpreter's lock is what makes it the only one"
    )]
    pub(crate) unsafe fn section(&self) -> &mut T {
        // SAFETY: by the contract above.
        unsafe { &mut *self.0.get() }
    }

    /// Runs `section` while the collector has stopped every other thread.
    ///
    /// # Safety
    /// Only from `tp_traverse`: no section can be half-way then, and no lock may be taken.
    #[cfg(not(Py_GIL_DISABLED))]
    pub(crate) unsafe fn while_stopped<R>(&self, section: impl FnOnce(&T) -> R) -> R {
        // SAFETY: the collector runs where objects are made, which no section does.
        section(unsafe { &*self.0.get() })
    }

    /// Runs `section` while the collector has stopped every other thread.
    ///
    /// # Safety
    /// Only from `tp_traverse`: no section can be half-way then.
    #[cfg(Py_GIL_DISABLED)]
    pub(crate) unsafe fn while_stopped<R>(&self, section: impl FnOnce(&T) -> R) -> R {
        self.0.with(|value| section(value))
    }
}

/// Parts of which a hash names one: one alone where the interpreter's lock is held anyway, several where threads run at once.
#[cfg(not(Py_GIL_DISABLED))]
pub(crate) struct Shards<T>([T; 1]);

/// Parts of which a hash names one.
#[cfg(Py_GIL_DISABLED)]
pub(crate) struct Shards<T>(Box<[T]>);

impl<T> Shards<T> {
    /// One, where threads do not run at once. `make` is told how many.
    #[cfg(not(Py_GIL_DISABLED))]
    pub(crate) fn new(_count: u64, make: impl Fn(u64) -> T) -> Self {
        Self([make(1)])
    }

    /// `count` of them, which is a power of two, so that bits of the hash choose. `make` is told how many.
    #[cfg(Py_GIL_DISABLED)]
    pub(crate) fn new(count: u64, make: impl Fn(u64) -> T) -> Self {
        Self((0..count).map(|_| make(count)).collect())
    }

    /// The part of `hash`, by bits that a table does not use.
    #[inline(always)]
    pub(crate) fn of(&self, hash: u64) -> &T {
        if cfg!(Py_GIL_DISABLED) {
            &self.0[hash as usize & (self.0.len() - 1)]
        } else {
            &self.0[0]
        }
    }

    /// Every part.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }
}
