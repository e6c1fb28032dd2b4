//! A decorated function as a method of an object.
//!
//! The interpreter's own method object would serve for calls, but `obj.method.invalidate(1)` must know the object too. So
//! this one says that it is a method, and puts the object in front of what it passes on. Plain calls of a method never
//! make one.

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use super::methods::{self, Operation};
use crate::guard;
use crate::heap::{self, Callable, attribute, simple_method, slot};
use crate::once::Once;

#[repr(C)]
struct BoundFunction {
    callable: Callable,
    function: *mut ffi::PyObject,
    receiver: *mut ffi::PyObject,
}

unsafe extern "C" {
    /// `types.MethodType`.
    static mut PyMethod_Type: ffi::PyTypeObject;
}

static TYPE: Once<Py<PyAny>> = Once::new();

pub(super) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let kind = TYPE.get_or_try_init(py, || make(py).map(Bound::unbind))?;
    module.add("BoundCachedFunction", kind)
}

fn make(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let [vectorcall, weak] = Callable::members();
    let member = |name: &'static std::ffi::CStr, at: usize| ffi::PyMemberDef {
        type_code: ffi::Py_T_OBJECT_EX,
        ..heap::offset(name, at)
    };
    let members = vec![
        vectorcall,
        weak,
        member(c"__func__", offset_of!(BoundFunction, function)),
        member(c"__self__", offset_of!(BoundFunction, receiver)),
        ffi::PyMemberDef::default(),
    ];
    let mut table = methods::of_bound();
    table.insert(
        0,
        simple_method(
            c"__reduce__",
            reduce,
            ffi::METH_NOARGS,
            c"Pickled as the attribute of its object.",
        ),
    );
    let slots = vec![
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(ffi::Py_tp_getattro, getattro as *mut c_void),
        slot(ffi::Py_tp_richcompare, richcompare as *mut c_void),
        slot(ffi::Py_tp_hash, hash as *mut c_void),
        slot(ffi::Py_tp_repr, repr as *mut c_void),
        slot(ffi::Py_tp_members, heap::forever(members)),
        slot(ffi::Py_tp_methods, heap::forever(table)),
        slot(
            ffi::Py_tp_getset,
            heap::forever(vec![
                attribute(c"__class__", class, None),
                ffi::PyGetSetDef::default(),
            ]),
        ),
    ];
    // SAFETY: the slots are written for this struct.
    unsafe {
        heap::make::<BoundFunction>(
            py,
            c"cachekit._native.BoundCachedFunction",
            ffi::Py_TPFLAGS_HAVE_VECTORCALL,
            slots,
        )
    }
}

/// `function.__get__(receiver, owner)` of a function that binds the class.
pub(super) unsafe extern "C" fn descr_get_class(
    function: *mut ffi::PyObject,
    receiver: *mut ffi::PyObject,
    owner: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: all are alive for the call, and one of the two is there.
    unsafe {
        let no_owner = owner.is_null() || owner == ffi::Py_None();
        let class = if no_owner {
            ffi::Py_TYPE(receiver).cast()
        } else {
            owner
        };
        guard::object(|py| bind(py, function, class))
    }
}

/// `function.__get__(receiver, owner)`.
pub(super) unsafe extern "C" fn descr_get(
    function: *mut ffi::PyObject,
    receiver: *mut ffi::PyObject,
    _owner: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: both are alive for the call.
    unsafe {
        if receiver.is_null() || receiver == ffi::Py_None() {
            ffi::Py_INCREF(function);
            return function;
        }
        guard::object(|py| bind(py, function, receiver))
    }
}

/// # Safety
/// Both are alive, and the first is a `CachedFunction`.
unsafe fn bind(
    py: Python<'_>,
    function: *mut ffi::PyObject,
    receiver: *mut ffi::PyObject,
) -> PyResult<Py<PyAny>> {
    let kind = TYPE.get(py).expect("made with the module");
    // SAFETY: the struct is the type's own; the references are given to the new object.
    unsafe {
        let object = heap::allocate(
            py,
            kind.as_ptr().cast(),
            offset_of!(BoundFunction, function),
            [function, receiver],
        )?;
        ffi::Py_INCREF(function);
        ffi::Py_INCREF(receiver);
        (*object.as_ptr().cast::<BoundFunction>())
            .callable
            .vectorcall = Some(vectorcall);
        Ok(object)
    }
}

/// `type(method)(function, receiver)`, which is how `weakref.WeakMethod` brings one back.
unsafe extern "C" fn new(
    _kind: *mut ffi::PyTypeObject,
    args: *mut ffi::PyObject,
    _kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: `tp_new` gets a tuple.
        let args = unsafe { Borrowed::from_ptr(py, args).cast_unchecked::<PyTuple>() };
        let (function, receiver): (Bound<'_, PyAny>, Bound<'_, PyAny>) = args.extract()?;
        if super::tiers_of(&function).is_none() {
            return Err(PyTypeError::new_err(
                "the first argument is not a cached function",
            ));
        }
        // SAFETY: alive, and the type was checked.
        unsafe { bind(py, function.as_ptr(), receiver.as_ptr()) }
    })
}

/// Calls `operation` with the receiver in front of the positional arguments.
///
/// # Safety
/// As for a vectorcall function.
unsafe fn in_front<R>(
    receiver: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    given: usize,
    kwnames: *mut ffi::PyObject,
    at: usize,
    operation: impl FnOnce(*const *mut ffi::PyObject, usize) -> R,
) -> R {
    let named = if kwnames.is_null() {
        0
    } else {
        // SAFETY: a tuple, by the vectorcall protocol.
        unsafe { ffi::PyTuple_GET_SIZE(kwnames) }.cast_unsigned()
    };
    let len = given + named;
    let mut all = Vec::with_capacity(len + 1);
    if len > 0 {
        // SAFETY: so many values are there.
        all.extend_from_slice(unsafe { std::slice::from_raw_parts(args, len) });
    }
    all.insert(at.min(given), receiver);
    operation(all.as_ptr(), given + 1)
}

unsafe extern "C" fn vectorcall(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::raw(null_mut(), || {
        // SAFETY: a slot of this type; the object in front may be overwritten if the caller says so.
        unsafe {
            let this = object.cast::<BoundFunction>();
            let (function, receiver) = ((*this).function, (*this).receiver);
            let given = ffi::PyVectorcall_NARGS(nargsf).cast_unsigned();
            if nargsf & ffi::PY_VECTORCALL_ARGUMENTS_OFFSET != 0 {
                let front = args.cast_mut().sub(1);
                let before = std::mem::replace(&mut *front, receiver);
                let result = super::call::vectorcall(function, front, given + 1, kwnames);
                *front = before;
                return result;
            }
            in_front(receiver, args, given, kwnames, 0, |args, given| {
                super::call::vectorcall(function, args, given, kwnames)
            })
        }
    })
}

/// A cache operation called on the method.
///
/// # Safety
/// A method of this type, called by the interpreter.
pub(super) unsafe fn operate(
    operation: Operation,
    at: usize,
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    given: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: by the contract above.
    unsafe {
        let this = object.cast::<BoundFunction>();
        let (function, receiver) = ((*this).function, (*this).receiver);
        in_front(
            receiver,
            args,
            given.cast_unsigned(),
            kwnames,
            at,
            |args, given| methods::operate(operation, function, args, given.cast_signed(), kwnames),
        )
    }
}

unsafe extern "C" fn getattro(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a slot of this type.
        let (this, name, function) = unsafe {
            let function = (*object.cast::<BoundFunction>()).function;
            (
                Bound::from_borrowed_ptr(py, object),
                Bound::from_borrowed_ptr(py, name),
                Bound::from_borrowed_ptr(py, function),
            )
        };
        let text = name.cast::<PyString>()?;
        // The type has these of its own, which nobody means.
        if text == "__doc__" || text == "__module__" {
            return Ok(function.getattr(text)?.unbind());
        }
        // SAFETY: alive; a new reference or null with an error set.
        let own = unsafe {
            Bound::from_owned_ptr_or_err(
                py,
                ffi::PyObject_GenericGetAttr(this.as_ptr(), name.as_ptr()),
            )
        };
        match own {
            Err(error) if error.is_instance_of::<PyAttributeError>(py) => {
                Ok(function.getattr(text)?.unbind())
            }
            own => Ok(own?.unbind()),
        }
    })
}

unsafe extern "C" fn class(
    _object: *mut ffi::PyObject,
    _closure: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: a static type, for which the caller gets a reference.
    unsafe {
        let method = (&raw mut PyMethod_Type).cast::<ffi::PyObject>();
        ffi::Py_INCREF(method);
        method
    }
}

unsafe extern "C" fn reduce(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a method of this type.
        let this = unsafe { Bound::from_borrowed_ptr(py, object) };
        let getattr = py.import("builtins")?.getattr("getattr")?;
        let arguments = (this.getattr("__self__")?, this.getattr("__name__")?);
        Ok((getattr, arguments).into_pyobject(py)?.into_any().unbind())
    })
}

unsafe extern "C" fn richcompare(
    a: *mut ffi::PyObject,
    b: *mut ffi::PyObject,
    op: c_int,
) -> *mut ffi::PyObject {
    // SAFETY: a slot of this type: `a` is one, and `b` is checked.
    unsafe {
        let comparable =
            ffi::Py_TYPE(a) == ffi::Py_TYPE(b) && (op == ffi::Py_EQ || op == ffi::Py_NE);
        let result = if comparable {
            let (a, b) = (a.cast::<BoundFunction>(), b.cast::<BoundFunction>());
            let same = (*a).function == (*b).function && (*a).receiver == (*b).receiver;
            if same == (op == ffi::Py_EQ) {
                ffi::Py_True()
            } else {
                ffi::Py_False()
            }
        } else {
            ffi::Py_NotImplemented()
        };
        ffi::Py_INCREF(result);
        result
    }
}

unsafe extern "C" fn hash(object: *mut ffi::PyObject) -> ffi::Py_hash_t {
    // SAFETY: a slot of this type.
    let (function, receiver) = unsafe {
        let this = object.cast::<BoundFunction>();
        ((*this).function as usize, (*this).receiver as usize)
    };
    // Never negative, since -1 means an error.
    ((function.rotate_right(4) ^ receiver.rotate_right(9)) >> 1).cast_signed()
}

unsafe extern "C" fn repr(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a slot of this type.
        let this = unsafe { Bound::from_borrowed_ptr(py, object) };
        let name = this.getattr("__qualname__").and_then(|name| name.str())?;
        let receiver = this.getattr("__self__")?.repr()?;
        let text = format!("<bound cached method {name} of {receiver}>");
        Ok(PyString::new(py, &text).into_any().unbind())
    })
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once, by the interpreter, for an object of this type that nobody refers to.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        if !(*object.cast::<BoundFunction>()).callable.weak.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        let this = object.cast::<BoundFunction>();
        ffi::Py_XDECREF(std::mem::replace(&mut (*this).function, null_mut()));
        ffi::Py_XDECREF(std::mem::replace(&mut (*this).receiver, null_mut()));
        heap::free(object);
    }
}

/// There is no `tp_clear`, as with the interpreter's own methods: a cycle through one goes through an object that has it.
unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: the collector calls this for a living object of this type.
    unsafe {
        heap::traverse(object, visit, arg, |see| {
            let this = object.cast::<BoundFunction>();
            see((*this).function);
            see((*this).receiver);
        })
    }
}
