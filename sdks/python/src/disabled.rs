//! Whether caching is switched off here and now.
//!
//! Two readings: a word that says whether anybody switched off anything, which is all that a hit pays for, and only then
//! the context variable that says whether it was this thread or task.

use std::sync::atomic::{AtomicI64, AtomicIsize, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::once::Once;

static ANYBODY: AtomicI64 = AtomicI64::new(0);
static PROCESS: AtomicIsize = AtomicIsize::new(0);
static VARIABLE: Once<Py<PyAny>> = Once::new();

/// Whether anybody at all switched off anything.
#[inline(always)]
pub(crate) fn by_anybody() -> bool {
    ANYBODY.load(Ordering::Relaxed) != 0
}

/// Whether calls go straight through.
#[inline]
pub(crate) fn here() -> bool {
    by_anybody() && look()
}

#[cold]
fn look() -> bool {
    if PROCESS.load(Ordering::Relaxed) > 0 {
        return true;
    }
    crate::guard::attached(|py| {
        let Some(variable) = VARIABLE.get(py) else {
            return false;
        };
        let mut value = std::ptr::null_mut();
        // SAFETY: it is a context variable, and `value` takes a new reference or null.
        let status = unsafe {
            ffi::PyContextVar_Get(variable.as_ptr(), std::ptr::null_mut(), &raw mut value)
        };
        if status < 0 {
            drop(PyErr::take(py));
            return false;
        }
        // SAFETY: a new reference, or null when nothing was set.
        unsafe { Bound::from_owned_ptr_or_opt(py, value) }.is_some_and(|value| !value.is_none())
    })
}

/// Counts marks of single contexts: `delta` more of them are alive.
#[pyfunction]
pub(crate) fn disabled_add(delta: i64) {
    ANYBODY.fetch_add(delta, Ordering::Relaxed);
}

/// Counts blocks that switch off the whole process.
#[pyfunction]
pub(crate) fn disabled_process(delta: isize) {
    PROCESS.fetch_add(delta, Ordering::Relaxed);
    ANYBODY.fetch_add(delta as i64, Ordering::Relaxed);
}

/// Makes the context variable and adds all of this to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let variable = VARIABLE.get_or_try_init(py, || {
        // SAFETY: returns a new reference or null with an error set.
        unsafe {
            let variable = ffi::PyContextVar_New(c"cachekit_disabled".as_ptr(), ffi::Py_None());
            Bound::from_owned_ptr_or_err(py, variable).map(Bound::unbind)
        }
    })?;
    module.add("DISABLED", variable.clone_ref(py))?;
    module.add_function(wrap_pyfunction!(disabled_add, module)?)?;
    module.add_function(wrap_pyfunction!(disabled_process, module)?)
}
