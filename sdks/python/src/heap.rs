//! Types made by the raw C API, for what `PyO3`'s classes cannot be.
//!
//! `PyO3` has no vectorcall and no `am_send`, and a hit through its classes costs twice as much as one without them. What
//! such types share is here: making them, making their objects, and the slots that every one of them needs.

use std::ffi::{CStr, c_int, c_void};
use std::mem::offset_of;

use pyo3::ffi;
use pyo3::prelude::*;

use crate::guard;

/// `tp_new` of types whose objects only Rust makes. (The flag that says so came with 3.10.)
pub(crate) unsafe extern "C" fn no_new(
    kind: *mut ffi::PyTypeObject,
    _args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: called by the interpreter with a living type; `%s` takes its name.
    unsafe {
        ffi::PyErr_Format(
            ffi::PyExc_TypeError,
            c"cannot create '%s' instances".as_ptr(),
            (*kind).tp_name,
        )
    }
}

/// A slot of a type under construction.
pub(crate) fn slot(id: c_int, function: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot {
        slot: id,
        pfunc: function,
    }
}

/// A read-only member that tells the interpreter where in an object something lies.
pub(crate) const fn offset(name: &'static CStr, at: usize) -> ffi::PyMemberDef {
    ffi::PyMemberDef {
        name: name.as_ptr(),
        type_code: ffi::Py_T_PYSSIZET,
        offset: at.cast_signed(),
        flags: ffi::Py_READONLY,
        doc: std::ptr::null(),
    }
}

/// A method that takes any arguments.
pub(crate) const fn method(
    name: &'static CStr,
    function: ffi::PyCFunctionFastWithKeywords,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunctionFastWithKeywords: function,
        },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: doc.as_ptr(),
    }
}

/// A method that takes nothing, or one argument if `flags` say so.
pub(crate) const fn simple_method(
    name: &'static CStr,
    function: ffi::PyCFunction,
    flags: c_int,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer {
            PyCFunction: function,
        },
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    }
}

/// An attribute that is computed.
pub(crate) const fn attribute(
    name: &'static CStr,
    get: ffi::getter,
    set: Option<ffi::setter>,
) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        name: name.as_ptr(),
        get: Some(get),
        set,
        doc: std::ptr::null(),
        closure: std::ptr::null_mut(),
    }
}

/// Tables that a type refers to for as long as it lives, which is for ever.
pub(crate) fn forever<T>(entries: Vec<T>) -> *mut c_void {
    Box::leak(entries.into_boxed_slice()).as_mut_ptr().cast()
}

/// Makes a type for objects that are a `T`.
///
/// # Safety
/// The slots suit objects that are a `T`, which starts with a `PyObject`.
pub(crate) unsafe fn make<'py, T>(
    py: Python<'py>,
    name: &'static CStr,
    flags: std::ffi::c_ulong,
    mut slots: Vec<ffi::PyType_Slot>,
) -> PyResult<Bound<'py, PyAny>> {
    slots.push(slot(0, std::ptr::null_mut()));
    // The interpreter finds an attribute of a class faster if nobody can change the type of what is found.
    #[cfg(Py_3_10)]
    let flags = flags | ffi::Py_TPFLAGS_IMMUTABLETYPE;
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: c_int::try_from(size_of::<T>()).expect("a struct of a few words"),
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_HAVE_GC | flags) as _,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete, and what it points to lives at least as long as the call, tables for ever.
    unsafe { Bound::from_owned_ptr_or_err(py, ffi::PyType_FromSpec(&raw mut spec)) }
}

/// A new object of a type that [`make`] made, with `state` behind its header and whatever follows zero.
///
/// # Safety
/// `kind` was made for objects whose `state` field, at `at`, is an `S`.
pub(crate) unsafe fn allocate<S>(
    py: Python<'_>,
    kind: *mut ffi::PyTypeObject,
    at: usize,
    state: S,
) -> PyResult<Py<PyAny>> {
    // SAFETY: the type is alive; allocation gives zeroed memory of its size, already known to the collector, which may run
    // `tp_traverse` before the state is written only if something allocates in between.
    unsafe {
        let object = ffi::PyType_GenericAlloc(kind, 0);
        if object.is_null() {
            return Err(PyErr::fetch(py));
        }
        object.byte_add(at).cast::<S>().write(state);
        Ok(Bound::from_owned_ptr(py, object).unbind())
    }
}

/// Frees an object whose state is already dropped.
///
/// # Safety
/// The last step of `tp_dealloc`.
pub(crate) unsafe fn free(object: *mut ffi::PyObject) {
    // SAFETY: heap types own their `tp_free`, and each object holds a reference to its type.
    unsafe {
        let kind = ffi::Py_TYPE(object);
        if let Some(free) = (*kind).tp_free {
            free(object.cast());
        }
        ffi::Py_DECREF(kind.cast());
    }
}

/// Shows the collector the type of an object, and what `each` shows, nulls left out.
///
/// # Safety
/// From `tp_traverse`, with its own arguments.
pub(crate) unsafe fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
    each: impl FnOnce(&mut dyn FnMut(*mut ffi::PyObject)),
) -> c_int {
    guard::raw(0, || {
        let mut status = 0;
        let mut see = |held: *mut ffi::PyObject| {
            if status == 0 && !held.is_null() {
                // SAFETY: the collector's own function, with its own argument.
                status = unsafe { visit(held, arg) };
            }
        };
        // SAFETY: the object is alive.
        see(unsafe { ffi::Py_TYPE(object) }.cast());
        each(&mut see);
        status
    })
}

/// Header of an object that is called by vectorcall and can be held weakly.
#[repr(C)]
pub(crate) struct Callable {
    pub(crate) base: ffi::PyObject,
    pub(crate) vectorcall: Option<ffi::vectorcallfunc>,
    pub(crate) weak: *mut ffi::PyObject,
}

impl Callable {
    /// Where its parts are.
    pub(crate) const fn members() -> [ffi::PyMemberDef; 2] {
        [
            offset(c"__vectorcalloffset__", offset_of!(Self, vectorcall)),
            offset(c"__weaklistoffset__", offset_of!(Self, weak)),
        ]
    }
}

/// Whether the collector has found that nobody refers to `object` any more: a finaliser has reached it nevertheless.
///
/// The interpreter has no function that says so. What is read here are a few bits of the collector's own, the same on every
/// version since 3.8, and tested on each.
#[cfg(not(Py_GIL_DISABLED))]
pub(crate) fn is_garbage(object: &Bound<'_, PyAny>) -> bool {
    /// Its header: two words before the object, of which the second ends in flags.
    const BACK: usize = 1;
    const COLLECTING: usize = 0b10;
    // SAFETY: an object that the collector knows has its header before it.
    unsafe {
        ffi::PyObject_IS_GC(object.as_ptr()) != 0
            && *object.as_ptr().cast::<usize>().sub(BACK) & COLLECTING != 0
    }
}

/// Whether the collector has found that nobody refers to `object` any more: a finaliser has reached it nevertheless.
#[cfg(Py_GIL_DISABLED)]
pub(crate) fn is_garbage(object: &Bound<'_, PyAny>) -> bool {
    const UNREACHABLE: u8 = 0b100;
    // SAFETY: the object is alive, and no other thread runs while its finaliser does.
    unsafe { (*object.as_ptr()).ob_gc_bits & UNREACHABLE != 0 }
}

/// Has threads that call `object` at once not count their references to it in one place, on interpreters where they would.
#[cfg(Py_GIL_DISABLED)]
pub(crate) fn count_lazily(object: &Bound<'_, PyAny>) {
    unsafe extern "C" {
        fn PyUnstable_Object_EnableDeferredRefcount(object: *mut ffi::PyObject) -> c_int;
    }
    // SAFETY: an object that nobody else has seen yet. Where it cannot be done, nothing is.
    unsafe { PyUnstable_Object_EnableDeferredRefcount(object.as_ptr()) };
}

/// Has threads that call `object` at once not count their references to it in one place, on interpreters where they would.
#[cfg(not(Py_GIL_DISABLED))]
pub(crate) fn count_lazily(_: &Bound<'_, PyAny>) {}
