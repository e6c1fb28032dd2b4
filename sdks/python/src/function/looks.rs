//! What a decorated function looks like to those who look: `inspect`, `pickle`, `functools`, frameworks, people.
//!
//! As `functools.update_wrapper` would leave it, plus what tells the interpreter's own modules that an `async def` is still
//! one: a marker from 3.12 on, and before that, where only functions can be, saying that it is a function. From 3.14 on
//! annotations are evaluated when somebody asks for them, and so they are asked of the function below.

use std::ffi::{c_int, c_void};

use pyo3::exceptions::PyAttributeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use super::CachedFunction;
use crate::guard;
use crate::heap::attribute;

const ASSIGNED: [&str; 7] = [
    "__module__",
    "__name__",
    "__qualname__",
    "__doc__",
    if cfg!(Py_3_14) {
        "__annotate__"
    } else {
        "__annotations__"
    },
    "__type_params__",
    "__text_signature__",
];

/// `annotationlib.Format.VALUE`.
const VALUE_FORMAT: u8 = 1;

/// The attributes that a decorated function takes over from the function itself.
pub(super) fn dict_of(wrapped: &Bound<'_, PyAny>) -> PyResult<Py<PyDict>> {
    let py = wrapped.py();
    let dict = PyDict::new(py);
    for name in ASSIGNED {
        if let Ok(value) = wrapped.getattr(name) {
            dict.set_item(name, value)?;
        }
    }
    if let Ok(own) = wrapped.getattr("__dict__")
        && let Ok(own) = own.cast::<PyDict>()
    {
        dict.update(own.as_mapping())?;
    }
    dict.set_item("__wrapped__", wrapped)?;
    Ok(dict.unbind())
}

/// The attributes that are computed.
pub(super) fn attributes() -> Vec<ffi::PyGetSetDef> {
    let mut attributes = vec![
        ffi::PyGetSetDef {
            name: c"__dict__".as_ptr(),
            get: Some(ffi::PyObject_GenericGetDict),
            set: Some(ffi::PyObject_GenericSetDict),
            doc: std::ptr::null(),
            closure: std::ptr::null_mut(),
        },
        attribute(c"__class__", class, None),
        attribute(c"_is_coroutine_marker", marker, None),
        attribute(c"is_async", is_async, None),
        attribute(c"cache_settings", settings, None),
    ];
    if cfg!(Py_3_14) {
        attributes.push(attribute(
            c"__annotations__",
            annotations,
            Some(set_annotations),
        ));
    }
    for name in [
        c"__code__",
        c"__defaults__",
        c"__kwdefaults__",
        c"__globals__",
        c"__closure__",
    ] {
        let mut forwarded = attribute(name, forward, None);
        forwarded.closure = name.as_ptr() as *mut c_void;
        attributes.push(forwarded);
    }
    attributes.push(ffi::PyGetSetDef::default());
    attributes
}

/// `inspect` before 3.12 asks whether it is a function and then for its code.
unsafe extern "C" fn class(
    object: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a getter of this type.
        let this = unsafe { CachedFunction::from_ptr(object) };
        if !cfg!(Py_3_12) && this.tiers().is_async && has_async_code(this.tiers().wrapped.bind(py))
        {
            return Ok(py.get_type::<pyo3::types::PyFunction>().into_any().unbind());
        }
        // SAFETY: alive.
        Ok(unsafe { Bound::from_borrowed_ptr(py, ffi::Py_TYPE(object).cast()) }.unbind())
    })
}

fn has_async_code(wrapped: &Bound<'_, PyAny>) -> bool {
    const CO_COROUTINE: u32 = 0x80;
    let flags = wrapped
        .getattr("__code__")
        .and_then(|code| code.getattr("co_flags"))
        .and_then(|flags| flags.extract::<u32>());
    flags.is_ok_and(|flags| flags & CO_COROUTINE != 0)
}

unsafe extern "C" fn marker(
    object: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a getter of this type.
        if !cfg!(Py_3_12) || !unsafe { CachedFunction::from_ptr(object) }.tiers().is_async {
            return Err(PyAttributeError::new_err("_is_coroutine_marker"));
        }
        let inspect = py.import("inspect")?;
        // It was renamed within 3.12.
        let mark = inspect
            .getattr("_is_coroutine_mark")
            .or_else(|_| inspect.getattr("_is_coroutine_marker"))?;
        Ok(mark.unbind())
    })
}

unsafe extern "C" fn is_async(
    object: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a getter of this type.
        let is_async = unsafe { CachedFunction::from_ptr(object) }.tiers().is_async;
        Ok(is_async.into_pyobject(py)?.to_owned().into_any().unbind())
    })
}

unsafe extern "C" fn settings(
    object: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a getter of this type.
        let settings = &unsafe { CachedFunction::from_ptr(object) }.tiers().given;
        Ok(settings.bind(py).copy()?.into_any().unbind())
    })
}

/// Those of the function below, unless somebody gave this one its own, or an `__annotate__` that makes them.
unsafe extern "C" fn annotations(
    object: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a getter of this type.
        let (this, wrapped) = unsafe {
            (
                Bound::from_borrowed_ptr(py, object),
                CachedFunction::from_ptr(object).tiers().wrapped.bind(py),
            )
        };
        let annotate = this.getattr_opt("__annotate__")?;
        let made_below = wrapped.getattr_opt("__annotate__")?;
        if let Some(annotate) = &annotate
            && !annotate.is_none()
            && !made_below.is_some_and(|below| below.is(annotate))
        {
            return Ok(annotate.call1((VALUE_FORMAT,))?.unbind());
        }
        let own = this.getattr("__dict__")?.cast_into::<PyDict>()?;
        match own.get_item("__annotations__")? {
            Some(own) => Ok(own.unbind()),
            None => Ok(wrapped.getattr("__annotations__")?.unbind()),
        }
    })
}

/// As with a function: what made the former annotations does not make these.
unsafe extern "C" fn set_annotations(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> c_int {
    guard::slot(-1, |py| {
        // SAFETY: a setter of this type, whose value is alive, or null to delete the attribute.
        let (this, value) = unsafe {
            (
                Bound::from_borrowed_ptr(py, object),
                Bound::from_borrowed_ptr_or_opt(py, value),
            )
        };
        let own = this.getattr("__dict__")?.cast_into::<PyDict>()?;
        own.set_item("__annotate__", py.None())?;
        own.set_item(
            "__annotations__",
            value
                .filter(|value| !value.is_none())
                .unwrap_or_else(|| PyDict::new(py).into_any()),
        )?;
        Ok(0)
    })
}

/// Attributes that frameworks read from functions, wherever this one wraps such.
unsafe extern "C" fn forward(object: *mut ffi::PyObject, name: *mut c_void) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a getter of this type, whose closure is the attribute's name.
        let (this, name) = unsafe {
            (
                CachedFunction::from_ptr(object),
                std::ffi::CStr::from_ptr(name.cast_const().cast()),
            )
        };
        let name = PyString::new(py, &name.to_string_lossy());
        Ok(this.tiers().wrapped.bind(py).getattr(name)?.unbind())
    })
}

pub(super) unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a slot of this type.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        let name = object
            .getattr("__qualname__")
            .or_else(|_| object.getattr("__wrapped__")?.repr().map(Bound::into_any))?;
        let text = format!(
            "<cached function {} at {:#x}>",
            name.str()?,
            object.as_ptr() as usize
        );
        Ok(PyString::new(py, &text).into_any().unbind())
    })
}

/// Pickled by name, as functions are.
pub(super) unsafe extern "C" fn reduce(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a method of this type.
        let object = unsafe { Bound::from_borrowed_ptr(py, object) };
        Ok(object.getattr("__qualname__")?.unbind())
    })
}

/// `CachedFunction[P, R]` in annotations.
pub(super) unsafe extern "C" fn class_getitem(
    kind: *mut ffi::PyObject,
    item: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a class method with one argument.
    unsafe { ffi::Py_GenericAlias(kind, item) }
}
