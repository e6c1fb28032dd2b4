//! The Python face of cachekit's runtime.
//!
//! It holds what only a binding can: Python objects as keys and values, and the raw types whose calls must cost next to
//! nothing. Policy is the runtime's.

mod arguments;
mod async_calls;
mod awaitable;
mod backend;
mod classes;
mod clock;
mod codec;
mod copies;
mod coroutine;
mod counters;
mod decode;
mod disabled;
mod encode;
mod ending;
mod entries;
mod errors;
mod event_loop;
mod failure;
mod fork;
mod function;
mod guard;
mod heap;
mod int64;
mod interop;
mod isolate;
mod kept;
mod key;
mod key_types;
mod kinds;
mod lazy;
mod load;
mod local;
mod lookup;
mod memo;
mod notices;
mod once;
mod operations;
mod packed;
mod part;
mod plans;
mod portable;
mod quick;
mod ready;
mod receivers;
mod registry;
mod remote;
mod scalar;
mod secrets;
mod serializer;
mod settings;
mod shared;
mod steps;
mod stored;
mod sweeper;
mod temporal;
mod thread;
mod tiers;
mod types;
mod unjoined;
mod values;
mod weight;

use std::time::Duration;

use pyo3::exceptions::{PyImportError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::once::Once;

static MISSING: Once<Py<PyAny>> = Once::new();
static INFO: Once<Py<PyAny>> = Once::new();

/// What stands for no default in a plan.
fn missing(py: Python<'_>) -> &'static Py<PyAny> {
    let made = MISSING.get_or_try_init(py, || {
        Missing
            .into_pyobject(py)
            .map(|made| made.into_any().unbind())
    });
    made.expect("it is made with the module")
}

/// The class of `MISSING`.
#[pyclass(frozen, module = "cachekit._native")]
struct Missing;

#[pymethods]
impl Missing {
    #[allow(clippy::unused_self, reason = "a Python method")]
    fn __repr__(&self) -> &'static str {
        "MISSING"
    }
}

/// The class of what `cache_info()` returns. Made at first use: `collections` would cost every import.
fn info_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    let class = INFO.get_or_try_init(py, || {
        let fields = [
            "hits",
            "misses",
            "maxsize",
            "currsize",
            "l1_hits",
            "l2_hits",
            "shared",
            "loads",
            "load_errors",
            "remote_errors",
            "evictions",
            "currbytes",
        ];
        let named = pyo3::types::PyDict::new(py);
        named.set_item("module", "cachekit")?;
        let make = lazy::COLLECTIONS.get(py)?.getattr("namedtuple")?;
        make.call(("CacheInfo", fields.to_vec()), Some(&named))
            .map(Bound::unbind)
    })?;
    Ok(class.bind(py))
}

#[pyfunction]
#[pyo3(name = "CacheInfo")]
fn cache_info_class(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    info_class(py).cloned()
}

/// The process's metrics in Prometheus' text format.
#[pyfunction]
fn metrics_text() -> String {
    cachekit_runtime::metrics::render()
}

/// Whether calls made here and now go straight through.
#[pyfunction]
fn is_disabled() -> bool {
    disabled::here()
}

/// Moves the time of this process forward, for tests.
#[pyfunction]
fn advance_clock(seconds: f64) -> PyResult<()> {
    let by = Duration::try_from_secs_f64(seconds)
        .map_err(|reason| PyValueError::new_err(reason.to_string()))?;
    cachekit_runtime::clock::advance(by);
    sweeper::look_again();
    Ok(())
}

// A free-threaded interpreter turns its lock on for this module: what has locks of its own for such builds has not been
// run on one yet.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    // SAFETY: attached; both return borrowed pointers that are only compared.
    if unsafe { ffi::PyInterpreterState_Get() != ffi::PyInterpreterState_Main() } {
        return Err(PyImportError::new_err(
            "cachekit runs in the main interpreter only, not in subinterpreters",
        ));
    }
    clock::register();
    fork::register()?;
    ending::register(module)?;
    lazy::register(py)?;
    module.add("MISSING", missing(py))?;
    module.add("spec_hash", cachekit_runtime::generated::SPEC_HASH)?;
    module.add_class::<backend::Backend>()?;
    module.add_class::<secrets::Keyring>()?;
    local::register(py);
    kept::register(py);
    kinds::register(py);
    serializer::register(py);
    steps::register(py);
    function::register(module)?;
    ready::register(module)?;
    awaitable::register(module)?;
    event_loop::register(module)?;
    disabled::register(module)?;
    interop::register(module)?;
    values::register_private(module)?;
    module.add_class::<entries::Entries>()?;
    plans::register(module)?;
    for function in [
        wrap_pyfunction!(cache_info_class, module)?,
        wrap_pyfunction!(metrics_text, module)?,
        wrap_pyfunction!(is_disabled, module)?,
        wrap_pyfunction!(advance_clock, module)?,
        wrap_pyfunction!(serializer::serialize, module)?,
        wrap_pyfunction!(serializer::deserialize, module)?,
        wrap_pyfunction!(serializer::is_ascii, module)?,
        wrap_pyfunction!(tiers::backends_changed, module)?,
        wrap_pyfunction!(registry::caches, module)?,
        wrap_pyfunction!(registry::clear_all, module)?,
        wrap_pyfunction!(fork::after_fork_in_child, module)?,
        wrap_pyfunction!(sweeper::stop_sweeper, module)?,
        wrap_pyfunction!(lazy::hold_imports, module)?,
        wrap_pyfunction!(lazy::release_imports, module)?,
    ] {
        module.add_function(function)?;
    }
    Ok(())
}
