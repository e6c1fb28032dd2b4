//! How an awaitable ends more than once: by raising the same `StopIteration` again.
//!
//! From 3.12 on an exception is made when it is raised, which takes longer than all the rest of a hit. `await` takes the value
//! out of it and lets it go; whoever else got hold of it may have kept or changed it, and then another one is made.

use std::cell::Cell;
use std::ptr::null_mut;

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::guard;

/// What ends an awaitable. Zeroed, it has not ended yet.
#[repr(C)]
pub(super) struct End {
    object: Cell<*mut ffi::PyObject>,
    /// Whether it has ended before: what is awaited once keeps nothing.
    has_ended: Cell<bool>,
}

impl End {
    /// The exception that is kept; null if there is none.
    pub(super) fn object(&self) -> *mut ffi::PyObject {
        self.object.get()
    }

    /// Raises `StopIteration(value)`.
    ///
    /// # Safety
    /// Attached, and `value` is alive and the same each time.
    pub(super) unsafe fn stop(&self, value: *mut ffi::PyObject) {
        // SAFETY: by the contract above. What is kept is a `StopIteration`, and one reference to it is given away.
        unsafe {
            let known = self.object.get();
            if !known.is_null() && is_as_made(known, value) {
                ffi::Py_INCREF(known);
                ffi::PyErr_SetRaisedException(known);
            } else if self.has_ended.replace(true) {
                self.renew(value);
            } else {
                super::stop(value);
            }
        }
    }

    /// Makes another one, raises it and keeps it.
    ///
    /// # Safety
    /// As for [`stop`](Self::stop).
    #[cold]
    unsafe fn renew(&self, value: *mut ffi::PyObject) {
        let before = self.object.replace(null_mut());
        guard::slot((), |py| {
            // SAFETY: alive, and the reference to the one before is given up.
            let (value, before) = unsafe {
                (
                    Bound::from_borrowed_ptr(py, value),
                    Bound::from_owned_ptr_or_opt(py, before),
                )
            };
            drop(before);
            let made = py.get_type::<PyStopIteration>().call1((value,))?;
            // Whoever let go of the one before may have come here meanwhile.
            let other = self.object.replace(made.clone().into_ptr());
            // SAFETY: as above.
            drop(unsafe { Bound::from_owned_ptr_or_opt(py, other) });
            Err(PyErr::from_value(made))
        });
    }
}

/// Whether nobody else has it, and nobody who had it left anything on it.
///
/// # Safety
/// Attached, and it is a `StopIteration` that was made with `value`.
unsafe fn is_as_made(stop: *mut ffi::PyObject, value: *mut ffi::PyObject) -> bool {
    // SAFETY: by the contract above. Its arguments are a tuple, whoever set them.
    unsafe {
        let this = &*stop.cast::<ffi::PyStopIterationObject>();
        // One byte, which the binding takes for a character.
        let suppresses = (&raw const this.suppress_context).cast::<u8>().read();
        ffi::Py_REFCNT(stop) == 1
            && this.traceback.is_null()
            && this.context.is_null()
            && this.cause.is_null()
            && this.dict.is_null()
            && suppresses == 0
            && this.value == value
            && ffi::PyTuple_GET_SIZE(this.args) == 1
            && ffi::PyTuple_GET_ITEM(this.args, 0) == value
    }
}
