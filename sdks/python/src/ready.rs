//! What an `async def` returns on a hit: an awaitable that is done, without a coroutine's frame.
//!
//! It has no state, so it can be awaited many times, by any loop, or never.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;

use pyo3::exceptions::PyStopIteration;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::function::CallArgs;
use crate::guard;
use crate::heap::{self, attribute, method, simple_method, slot};
use crate::once::Once;
use crate::steps;

#[cfg(all(Py_3_12, not(Py_GIL_DISABLED)))]
mod again;

#[repr(C)]
struct Ready {
    base: ffi::PyObject,
    value: *mut ffi::PyObject,
    #[cfg(all(Py_3_12, not(Py_GIL_DISABLED)))]
    end: again::End,
}

static TYPE: Once<Py<PyAny>> = Once::new();

/// An awaitable that gives `value`.
pub(crate) fn ready(py: Python<'_>, value: Py<PyAny>) -> PyResult<Py<PyAny>> {
    let kind = TYPE.get(py).expect("made with the module").as_ptr();
    // SAFETY: the struct is the type's own, and the reference is given to it.
    unsafe { heap::allocate(py, kind.cast(), offset_of!(Ready, value), value.into_ptr()) }
}

/// The value that an awaitable of this type gives.
pub(crate) fn value(py: Python<'_>, awaitable: &Py<PyAny>) -> Py<PyAny> {
    debug_assert!(
        TYPE.get(py)
            .is_some_and(|kind| awaitable.bind(py).get_type().is(kind))
    );
    // SAFETY: only objects of this type are stored as such.
    unsafe { Bound::from_borrowed_ptr(py, value_of(awaitable.as_ptr())) }.unbind()
}

/// Makes the type and adds it to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let methods = vec![
        simple_method(c"send", send, ffi::METH_O, c"Ends at once."),
        method(c"throw", throw, c"Raises what it is given."),
        simple_method(c"close", close, ffi::METH_NOARGS, c"Does nothing."),
        steps::method(),
        ffi::PyMethodDef::zeroed(),
    ];
    let attributes = vec![
        coroutine_class(),
        attribute(c"__name__", name, None),
        attribute(c"__qualname__", name, None),
        ffi::PyGetSetDef::default(),
    ];
    let slots = vec![
        slot(ffi::Py_tp_new, heap::no_new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_iternext, iternext as *mut c_void),
        slot(ffi::Py_am_await, itself as *mut c_void),
        #[cfg(Py_3_10)]
        slot(ffi::Py_am_send, am_send as *mut c_void),
        slot(ffi::Py_tp_methods, heap::forever(methods)),
        slot(ffi::Py_tp_getset, heap::forever(attributes)),
    ];
    let kind = TYPE.get_or_try_init(py, || {
        // SAFETY: the slots are written for this struct.
        let kind = unsafe { heap::make::<Ready>(py, c"cachekit._native.Ready", 0, slots) };
        kind.map(Bound::unbind)
    })?;
    module.add("Ready", kind)
}

/// What `isinstance` goes by: many a framework asks whether it has a coroutine before it awaits what a function returned.
pub(crate) const fn coroutine_class() -> ffi::PyGetSetDef {
    unsafe extern "C" fn class(_: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
        // SAFETY: the type lives as long as the interpreter; the caller gets a reference.
        unsafe {
            let coroutine = (&raw mut ffi::PyCoro_Type).cast();
            ffi::Py_INCREF(coroutine);
            coroutine
        }
    }
    attribute(c"__class__", class, None)
}

/// What a task of it is shown by. It does not know its function.
unsafe extern "C" fn name(_object: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    guard::object(|py| Ok(PyString::intern(py, "cached").into_any().unbind()))
}

/// # Safety
/// `object` is a `Ready`.
unsafe fn value_of(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: by the contract above.
    unsafe { (*object.cast::<Ready>()).value }
}

unsafe extern "C" fn itself(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a slot of this type.
    unsafe { ffi::Py_INCREF(object) };
    object
}

unsafe extern "C" fn iternext(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a slot of this type, which holds its value.
    unsafe {
        #[cfg(all(Py_3_12, not(Py_GIL_DISABLED)))]
        (*object.cast::<Ready>())
            .end
            .stop((*object.cast::<Ready>()).value);
        #[cfg(not(all(Py_3_12, not(Py_GIL_DISABLED))))]
        stop(value_of(object));
    }
    null_mut()
}

/// Raises `StopIteration(value)`.
///
/// # Safety
/// Attached, and `value` is alive.
pub(crate) unsafe fn stop(value: *mut ffi::PyObject) {
    // SAFETY: by the contract above.
    unsafe {
        if ffi::PyTuple_Check(value) == 0 && ffi::PyExceptionInstance_Check(value) == 0 {
            ffi::PyErr_SetObject(ffi::PyExc_StopIteration, value);
            return;
        }
        // What is set may be taken for the arguments, or for the exception itself.
        guard::slot((), |py| {
            let value = Bound::from_borrowed_ptr(py, value);
            let stop = py.get_type::<PyStopIteration>().call1((value,))?;
            Err(PyErr::from_value(stop))
        });
    }
}

#[cfg(Py_3_10)]
unsafe extern "C" fn am_send(
    object: *mut ffi::PyObject,
    _argument: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    // SAFETY: a slot of this type; `result` takes a new reference.
    unsafe {
        let value = value_of(object);
        ffi::Py_INCREF(value);
        *result = value;
    }
    ffi::PySendResult::PYGEN_RETURN
}

unsafe extern "C" fn send(
    object: *mut ffi::PyObject,
    _argument: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of this type, which holds its value. The caller may keep what is raised.
    unsafe { stop(value_of(object)) };
    null_mut()
}

unsafe extern "C" fn throw(
    _object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    given: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        Err(thrown(
            py,
            CallArgs {
                args,
                given: given.cast_unsigned(),
                kwnames,
            },
        )?)
    })
}

/// The exception that `throw(...)` was called with.
pub(crate) fn thrown(py: Python<'_>, args: CallArgs) -> PyResult<PyErr> {
    let Some(first) = args.first(py) else {
        return Err(pyo3::exceptions::PyTypeError::new_err(
            "throw() takes an exception",
        ));
    };
    let rest = if args.given > 1 {
        args.rest().first(py)
    } else {
        None
    };
    let Ok(class) = first.cast::<pyo3::types::PyType>() else {
        return Ok(PyErr::from_value(first));
    };
    // `throw(type, value, traceback)`, as it was before 3.12.
    let value = rest.filter(|value| !value.is_none());
    let made = match value {
        Some(value) if value.is_instance(class)? => value,
        Some(value) if value.is_instance_of::<pyo3::types::PyTuple>() => {
            class.call1(value.cast_into::<pyo3::types::PyTuple>()?)?
        }
        Some(value) => class.call1((value,))?,
        None => class.call0()?,
    };
    Ok(PyErr::from_value(made))
}

unsafe extern "C" fn close(
    _object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: None is alive; the caller gets a reference.
    unsafe {
        let none = ffi::Py_None();
        ffi::Py_INCREF(none);
        none
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once, by the interpreter, for an object of this type that nobody refers to.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        #[cfg(all(Py_3_12, not(Py_GIL_DISABLED)))]
        ffi::Py_XDECREF((*object.cast::<Ready>()).end.object());
        ffi::Py_XDECREF(value_of(object));
        heap::free(object);
    }
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: the collector calls this for a living object of this type.
    unsafe {
        heap::traverse(object, visit, arg, |see| {
            see(value_of(object));
            #[cfg(all(Py_3_12, not(Py_GIL_DISABLED)))]
            see((*object.cast::<Ready>()).end.object());
        })
    }
}
