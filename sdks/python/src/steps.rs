//! What `__await__()` gives to Python code: an iterator, for `yield from`.
//!
//! An awaitable is none itself, so that a loop over a call that nobody awaited is an error. `await` does not come here.

use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::guard;
use crate::heap::simple_method;

/// The steps of an awaitable.
#[pyclass(frozen, module = "cachekit._native")]
struct Steps(Py<PyAny>);

#[pymethods]
impl Steps {
    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.send(py.None().bind(py))
    }

    fn send<'py>(&self, value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        self.0.bind(value.py()).call_method1("send", (value,))
    }

    #[pyo3(signature = (*exception))]
    fn throw<'py>(&self, exception: &Bound<'py, PyTuple>) -> PyResult<Bound<'py, PyAny>> {
        self.0.bind(exception.py()).call_method1("throw", exception)
    }

    fn close<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.0.bind(py).call_method0("close")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.0)
    }
}

/// `__await__` as a method, in place of the one that the interpreter makes of the slot.
pub(crate) const fn method() -> ffi::PyMethodDef {
    let flags = ffi::METH_NOARGS | ffi::METH_COEXIST;
    simple_method(c"__await__", of, flags, c"Its steps, for `yield from`.")
}

unsafe extern "C" fn of(object: *mut ffi::PyObject, _: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a method, whose object is alive.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        Ok(Py::new(py, Steps(object.unbind()))?.into_any())
    })
}

/// Makes the type with the module: made later, it could be half made in a forked child.
pub(crate) fn register(py: Python<'_>) {
    py.get_type::<Steps>();
}
