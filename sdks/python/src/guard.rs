//! The way into Rust from the interpreter's slots, and into the interpreter from Rust.
//!
//! In one place, since a panic that leaves a raw slot aborts the user's process, and since a thread may be inside a slot
//! while the interpreter ends, when `PyO3` refuses to attach although the thread is attached already.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use cachekit_runtime::error::{Error, ErrorCode};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ending::{self, Inside};
use crate::errors;

/// Runs `body` with this thread attached to the interpreter.
pub(crate) fn attached<R>(body: impl FnOnce(Python<'_>) -> R) -> R {
    let _inside = Inside::enter();
    let mut body = Some(body);
    let done = Python::try_attach(|py| body.take().map(|body| body(py)));
    if let Some(Some(result)) = done {
        return result;
    }
    let body = body
        .take()
        .expect("it was not run, or its result was returned above");
    // SAFETY: always allowed.
    if unsafe { ffi::PyGILState_Check() } == 0 {
        // The interpreter has ended, or never lets this thread in again.
        ending::park();
    }
    // SAFETY: just checked. PyO3 does not know, so references dropped in `body` are released later.
    body(unsafe { Python::assume_attached() })
}

/// Whether this thread may touch the interpreter at all, or can be made to.
pub(crate) fn try_attached<R>(body: impl FnOnce(Python<'_>) -> R) -> Option<R> {
    let _inside = Inside::enter();
    Python::try_attach(body)
}

/// The body of a slot that must not attach: the hot path, where `body` sets the Python error itself.
#[inline]
pub(crate) fn raw<R>(failed: R, body: impl FnOnce() -> R) -> R {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(panic) => {
            report(&*panic);
            failed
        }
    }
}

/// The body of a slot: a Python error or a panic becomes the interpreter's current error, and `failed` is returned.
pub(crate) fn slot<R>(failed: R, body: impl FnOnce(Python<'_>) -> PyResult<R>) -> R {
    match catch_unwind(AssertUnwindSafe(|| {
        attached(|py| body(py).map_err(|error| error.restore(py)))
    })) {
        Ok(Ok(result)) => result,
        Ok(Err(())) => failed,
        Err(panic) => {
            report(&*panic);
            failed
        }
    }
}

/// [`slot`] for those that return a new reference.
pub(crate) fn object(body: impl FnOnce(Python<'_>) -> PyResult<Py<PyAny>>) -> *mut ffi::PyObject {
    slot(std::ptr::null_mut(), |py| body(py).map(Py::into_ptr))
}

#[cold]
fn report(panic: &(dyn Any + Send)) {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned());
    // A second panic here, while telling of the first, must not leave the slot either.
    let told = catch_unwind(AssertUnwindSafe(|| {
        attached(|py| {
            errors::raise(py, Error::new(ErrorCode::Internal).with("reason", text)).restore(py);
        });
    }));
    if told.is_err() {
        // SAFETY: a slot is running, so the thread is attached.
        unsafe {
            ffi::PyErr_SetString(
                ffi::PyExc_SystemError,
                c"cachekit: a panic inside a panic".as_ptr(),
            );
        }
    }
}
