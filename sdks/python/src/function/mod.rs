//! The decorated function: a callable object of a raw type.
//!
//! Its call is in `call`, what it can do besides in `methods`, what it looks like in `looks`, and as a method of an object
//! in `bound`.

mod bound;
mod call;
mod looks;
mod methods;

use std::ffi::{c_int, c_void};
use std::mem::offset_of;
use std::ptr::null_mut;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

pub(crate) use self::call::{CallArgs, KeptArgs, Place, shared_as};
pub(crate) use self::methods::Operation;
use crate::guard;
use crate::heap::{self, Callable, slot};
use crate::once::Once;
use crate::tiers::Tiers;

/// A decorated function, as the interpreter sees it.
#[repr(C)]
pub(crate) struct CachedFunction {
    callable: Callable,
    dict: *mut ffi::PyObject,
    tiers: Option<Box<Tiers>>,
}

static TYPE: Once<Py<PyAny>> = Once::new();
static CLASS_TYPE: Once<Py<PyAny>> = Once::new();

impl CachedFunction {
    /// The state of a decorated function. Only objects that [`new`] finished are ever seen by anybody.
    #[inline]
    pub(crate) fn tiers(&self) -> &Tiers {
        self.tiers
            .as_ref()
            .expect("it is set before anybody sees the object")
    }

    /// # Safety
    /// `object` is a `CachedFunction` and outlives the result.
    #[inline]
    pub(crate) unsafe fn from_ptr<'a>(object: *mut ffi::PyObject) -> &'a Self {
        // SAFETY: by the contract above.
        unsafe { &*object.cast::<Self>() }
    }
}

/// The state of `object` if it is a decorated function.
pub(crate) fn tiers_of<'a>(object: &'a Bound<'_, PyAny>) -> Option<&'a Tiers> {
    let py = object.py();
    let kind = object.get_type();
    let ours = [&TYPE, &CLASS_TYPE]
        .into_iter()
        .any(|known| known.get(py).is_some_and(|known| known.is(&kind)));
    // SAFETY: the type is checked, and nobody can make objects of types derived from it.
    ours.then(|| unsafe { CachedFunction::from_ptr(object.as_ptr()) }.tiers())
}

/// Makes the types and adds them to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let kind = TYPE.get_or_try_init(py, || make(py, None).map(Bound::unbind))?;
    CLASS_TYPE.get_or_try_init(py, || make(py, Some(kind.bind(py))).map(Bound::unbind))?;
    module.add("CachedFunction", kind)?;
    bound::register(module)
}

/// Makes the type or, on top of it, the one whose objects bind the class that they are found in. Two types, since
/// whether calls as a method may skip `__get__` is a flag of the type.
fn make<'py>(py: Python<'py>, base: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
    let [vectorcall, weak] = Callable::members();
    let members = vec![
        vectorcall,
        weak,
        heap::offset(c"__dictoffset__", offset_of!(CachedFunction, dict)),
        ffi::PyMemberDef::default(),
    ];
    let get = if base.is_some() {
        bound::descr_get_class
    } else {
        bound::descr_get
    };
    let mut slots = vec![
        slot(ffi::Py_tp_new, new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_call, ffi::PyVectorcall_Call as *mut c_void),
        slot(
            ffi::Py_tp_descr_get,
            get as ffi::descrgetfunc as *mut c_void,
        ),
        slot(ffi::Py_tp_repr, looks::repr as *mut c_void),
        slot(ffi::Py_tp_members, heap::forever(members)),
        slot(ffi::Py_tp_methods, heap::forever(methods::of_function())),
        slot(ffi::Py_tp_getset, heap::forever(looks::attributes())),
    ];
    let (name, flags) = match base {
        None => (
            c"cachekit._native.CachedFunction",
            ffi::Py_TPFLAGS_METHOD_DESCRIPTOR | ffi::Py_TPFLAGS_BASETYPE,
        ),
        Some(base) => {
            slots.push(slot(ffi::Py_tp_base, base.as_ptr().cast()));
            (c"cachekit._native.CachedClassMethod", 0)
        }
    };
    // SAFETY: the slots are written for this struct.
    unsafe {
        heap::make::<CachedFunction>(py, name, ffi::Py_TPFLAGS_HAVE_VECTORCALL | flags, slots)
    }
}

unsafe extern "C" fn new(
    kind: *mut ffi::PyTypeObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: `tp_new` gets a tuple, and a dict or null.
        let (args, kwargs) = unsafe {
            (
                Borrowed::from_ptr(py, args).cast_unchecked::<PyTuple>(),
                Borrowed::from_ptr_or_opt(py, kwargs),
            )
        };
        if kwargs.is_some_and(|kwargs| kwargs.len().is_ok_and(|len| len > 0)) {
            return Err(PyTypeError::new_err(
                "CachedFunction() takes no keyword arguments",
            ));
        }
        let (wrapped, plan, settings): (Bound<'_, PyAny>, Bound<'_, PyAny>, Bound<'_, PyDict>) =
            args.extract()?;
        let [usual, of_class] = [&TYPE, &CLASS_TYPE].map(|known| known.get(py).map(Py::as_ptr));
        if usual != Some(kind.cast()) {
            return Err(PyTypeError::new_err(
                "nothing can be derived from CachedFunction",
            ));
        }
        if !wrapped.is_callable() {
            return Err(PyTypeError::new_err(
                "the first argument of CachedFunction() is not callable",
            ));
        }
        let tiers = Tiers::new(&wrapped, &plan, &settings)?;
        let dict = looks::dict_of(&wrapped)?;
        let kind = if tiers.binds_class {
            of_class.map_or(kind, <*mut ffi::PyObject>::cast)
        } else {
            kind
        };
        let vectorcall = match (tiers.is_async, tiers.has_receiver, tiers.plain) {
            (false, false, 1) => call::vectorcall_one::<false, false>,
            (false, true, 2) => call::vectorcall_one::<true, false>,
            (true, false, 1) => call::vectorcall_one::<false, true>,
            (true, true, 2) => call::vectorcall_one::<true, true>,
            _ => call::vectorcall,
        };
        // SAFETY: the type's objects are this struct; its header is made by the allocation and not overwritten.
        unsafe {
            let object = heap::allocate(
                py,
                kind,
                offset_of!(CachedFunction, tiers),
                Some(Box::new(tiers)),
            )?;
            let this = object.as_ptr().cast::<CachedFunction>();
            (*this).dict = dict.into_ptr();
            (*this).callable.vectorcall = Some(vectorcall);
            heap::count_lazily(object.bind(py));
            crate::registry::add(object.bind(py))?;
            Ok(object)
        }
    })
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once, by the interpreter, for an object of this type that nobody refers to.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let this = object.cast::<CachedFunction>();
        if !(*this).callable.weak.is_null() {
            ffi::PyObject_ClearWeakRefs(object);
        }
        let dict = std::mem::replace(&mut (*this).dict, null_mut());
        let tiers = (*this).tiers.take();
        guard::slot((), |_| {
            drop(tiers);
            ffi::Py_XDECREF(dict);
            Ok(())
        });
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
            let this = CachedFunction::from_ptr(object);
            see(this.dict);
            if let Some(tiers) = &this.tiers {
                tiers.each_object(see);
            }
        })
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    guard::slot(0, |_| {
        // SAFETY: the collector calls this for a living object of this type.
        unsafe {
            let this = object.cast::<CachedFunction>();
            // Cycles go through entries or attributes; a function that it wraps breaks its own.
            if let Some(tiers) = &(*this).tiers {
                tiers.local.clear();
            }
            ffi::Py_XDECREF(std::mem::replace(&mut (*this).dict, null_mut()));
        }
        Ok(0)
    })
}
