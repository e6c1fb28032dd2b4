//! Modules that are imported when they are first needed, at a moment that no fork can fall into.
//!
//! A module that one thread is importing while another one forks stays half made in the child, and locked by a thread that
//! does not exist there. So these imports hold a lock that the fork takes first. It is the interpreter's own: waiting for
//! it lets go of the interpreter, which the import needs to end, and a signal handler may come back to it.

use pyo3::prelude::*;

use crate::once::Once;

static LOCK: Once<Py<PyAny>> = Once::new();

/// The event loop's half of the event-loop driver.
pub(crate) static ASYNCIO: Lazy = Lazy::new("cachekit._asyncio");
/// Exceptions for those who waited for another call.
pub(crate) static RAISED: Lazy = Lazy::new("cachekit._raised");
/// `collections`, for a named tuple.
pub(crate) static COLLECTIONS: Lazy = Lazy::new("collections");
/// The classes that values may have.
pub(crate) static CLASSES: Lazy = Lazy::new("cachekit._classes");
/// Types of the standard library and of numpy.
pub(crate) static CONTENTS: Lazy = Lazy::new("cachekit._contents");
/// What is known of types that are not built in.
pub(crate) static KINDS: Lazy = Lazy::new("cachekit._kinds");
/// `inspect`, for what it says of arguments that do not fit.
pub(crate) static INSPECT: Lazy = Lazy::new("inspect");

/// One such module.
pub(crate) struct Lazy {
    name: &'static str,
    module: Once<Py<PyModule>>,
}

impl Lazy {
    const fn new(name: &'static str) -> Self {
        Self {
            name,
            module: Once::new(),
        }
    }

    /// The module.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, PyModule>> {
        if let Some(module) = self.module.get(py) {
            return Ok(module.bind(py));
        }
        acquire(py)?;
        let imported = py.import(self.name);
        release(py)?;
        let module = self
            .module
            .get_or_try_init(py, || imported.map(Bound::unbind))?;
        Ok(module.bind(py))
    }
}

/// Makes the lock, with the module.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    LOCK.get_or_try_init(py, || {
        py.import("_thread")?
            .getattr("RLock")?
            .call0()
            .map(Bound::unbind)
    })?;
    Ok(())
}

/// Waits until no thread is importing one of these modules, and keeps them from it. Called by Python's hook before a fork.
#[pyfunction]
pub(crate) fn hold_imports(py: Python<'_>) -> PyResult<()> {
    acquire(py)
}

/// Lets them again. Called by Python's hooks after a fork, on both sides.
#[pyfunction]
pub(crate) fn release_imports(py: Python<'_>) -> PyResult<()> {
    release(py)
}

fn acquire(py: Python<'_>) -> PyResult<()> {
    LOCK.get(py)
        .map_or(Ok(()), |lock| lock.call_method0(py, "acquire").map(drop))
}

fn release(py: Python<'_>) -> PyResult<()> {
    LOCK.get(py)
        .map_or(Ok(()), |lock| lock.call_method0(py, "release").map(drop))
}
