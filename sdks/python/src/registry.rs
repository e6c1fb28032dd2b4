//! Every decorated function that is alive, for test suites and for looking around.

use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::function::tiers_of;
use crate::once::Once;
use crate::shared::Guarded;

/// Weak references: being listed keeps nothing alive.
static FUNCTIONS: Once<Guarded<Vec<Py<PyAny>>>> = Once::new();

fn functions(py: Python<'_>) -> &'static Guarded<Vec<Py<PyAny>>> {
    FUNCTIONS
        .get_or_try_init(py, || Ok(Guarded::new(Vec::new())))
        .expect("making it cannot fail")
}

/// Lists a new function.
pub(crate) fn add(function: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = function.py();
    // SAFETY: alive; returns a new reference or null with an error set.
    let reference = unsafe {
        let reference = pyo3::ffi::PyWeakref_NewRef(function.as_ptr(), std::ptr::null_mut());
        Bound::from_owned_ptr_or_err(py, reference)?.unbind()
    };
    let known = functions(py);
    let tidy = known.with(|known| {
        known.push(reference);
        // At each doubling, so that what died costs no more than what lives.
        known.len().is_power_of_two() && known.len() >= 64
    });
    if tidy {
        let all = known.with(std::mem::take);
        let mut alive = Vec::with_capacity(all.len());
        for reference in all {
            if living(reference.bind(py)).is_some() {
                alive.push(reference);
            }
        }
        known.with(|known| known.append(&mut alive));
    }
    Ok(())
}

fn living<'py>(reference: &Bound<'py, PyAny>) -> Option<Bound<'py, PyAny>> {
    reference
        .call0()
        .ok()
        .filter(|function| !function.is_none())
}

/// Every decorated function that is alive.
#[pyfunction]
pub(crate) fn caches(py: Python<'_>) -> PyResult<Bound<'_, PyList>> {
    let mut references = Vec::new();
    functions(py).with(|known| {
        for reference in known.iter() {
            references.push(reference.clone_ref(py));
        }
    });
    PyList::new(
        py,
        references
            .iter()
            .filter_map(|reference| living(reference.bind(py))),
    )
}

/// Drops what every function keeps in this process, and starts their counters anew.
#[pyfunction]
pub(crate) fn clear_all(py: Python<'_>) -> PyResult<()> {
    for function in caches(py)?.iter() {
        if let Some(tiers) = tiers_of(&function) {
            tiers.clear_local(py)?;
        }
    }
    Ok(())
}
