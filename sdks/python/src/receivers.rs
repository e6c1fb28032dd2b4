//! Whether calls of a method are told apart by the identity of their object.
//!
//! They are unless its class has a `__cache_key__`. Looking for that costs as much as a hit, so the last answer is kept, by
//! the number that the interpreter gives each version of each class, and no two of them.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::ffi;

use crate::guard::attached;
use crate::types::has_cache_key;

/// What is known of the classes of one method's objects: the version of the last one, and the answer in the lowest bit.
#[derive(Default)]
pub(crate) struct Receivers(AtomicU64);

impl Receivers {
    /// Whether `receiver` goes by its identity.
    ///
    /// # Safety
    /// It is alive, and the thread attached.
    #[inline(always)]
    pub(crate) unsafe fn go_by_identity(&self, receiver: *mut ffi::PyObject) -> bool {
        // SAFETY: alive.
        let version = unsafe { version(ffi::Py_TYPE(receiver)) };
        let known = self.0.load(Ordering::Relaxed);
        // A class that has no version now may have changed.
        if version != 0 && known >> 1 == version {
            return known & 1 != 0;
        }
        // SAFETY: as above.
        unsafe { self.look(receiver) }
    }

    #[cold]
    unsafe fn look(&self, receiver: *mut ffi::PyObject) -> bool {
        attached(|py| {
            // SAFETY: alive. The lookup gives the class a version, if it can have one.
            let (by_identity, version) = unsafe {
                let class = ffi::Py_TYPE(receiver);
                (!has_cache_key(py, class), version(class))
            };
            let known = version << 1 | u64::from(by_identity);
            self.0.store(known, Ordering::Relaxed);
            by_identity
        })
    }
}

/// # Safety
/// A living class.
#[inline(always)]
unsafe fn version(class: *mut ffi::PyTypeObject) -> u64 {
    // SAFETY: by the contract above. Where threads run at once, whoever changes a class meanwhile may be a little later.
    u64::from(unsafe { (&raw const (*class).tp_version_tag).read_volatile() })
}
