//! What a decorated function can do besides being called.
//!
//! Each operation takes the arguments of a call and means the entry of that call. On a method the same operations come
//! with the object put in front, so both types list them from one table.

use pyo3::ffi;
use pyo3::prelude::*;

use super::{CachedFunction, CallArgs, bound, looks};
use crate::guard;
use crate::heap::{method, simple_method};

/// An operation on the entry of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    Key,
    Invalidate,
    AsyncInvalidate,
    Refresh,
    Peek,
    Put,
    Bypass,
}

/// Runs `operation` of `function`.
///
/// # Safety
/// A method of this type, called by the interpreter.
pub(super) unsafe fn operate(
    operation: Operation,
    function: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    given: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        let args = CallArgs {
            args,
            given: given.cast_unsigned(),
            kwnames,
        };
        // SAFETY: alive, and of this type.
        unsafe {
            let function = Bound::from_borrowed_ptr(py, function);
            CachedFunction::from_ptr(function.as_ptr())
                .tiers()
                .operate(&function, operation, args)
        }
    })
}

/// The same method on the function and on the bound function; the number is where the receiver goes.
macro_rules! operations {
    ($($name:literal $on_function:ident $on_bound:ident $operation:ident $at:literal $doc:literal)*) => {
        $(
            unsafe extern "C" fn $on_function(
                object: *mut ffi::PyObject,
                args: *const *mut ffi::PyObject,
                given: ffi::Py_ssize_t,
                kwnames: *mut ffi::PyObject,
            ) -> *mut ffi::PyObject {
                // SAFETY: called by the interpreter as a method of the type.
                unsafe { operate(Operation::$operation, object, args, given, kwnames) }
            }

            unsafe extern "C" fn $on_bound(
                object: *mut ffi::PyObject,
                args: *const *mut ffi::PyObject,
                given: ffi::Py_ssize_t,
                kwnames: *mut ffi::PyObject,
            ) -> *mut ffi::PyObject {
                // SAFETY: called by the interpreter as a method of the type.
                unsafe { bound::operate(Operation::$operation, $at, object, args, given, kwnames) }
            }
        )*

        /// The methods of a decorated function.
        pub(super) fn of_function() -> Vec<ffi::PyMethodDef> {
            let mut methods = vec![$(method($name, $on_function, $doc)),*];
            methods.extend([
                simple_method(c"cache_info", cache_info, ffi::METH_NOARGS, c"Counters since the start or the last cache_clear()."),
                simple_method(c"cache_clear", cache_clear, ffi::METH_NOARGS, c"Drops every entry, in both tiers."),
                simple_method(c"_clear_local", clear_local, ffi::METH_NOARGS, c"Drops every entry of this process and zeroes the counters."),
                simple_method(c"__reduce__", looks::reduce, ffi::METH_NOARGS, c"Pickled by name."),
                simple_method(c"__class_getitem__", looks::class_getitem, ffi::METH_O | ffi::METH_CLASS, c"For annotations."),
                ffi::PyMethodDef::zeroed(),
            ]);
            methods
        }

        /// The methods of a bound function that need the object.
        pub(super) fn of_bound() -> Vec<ffi::PyMethodDef> {
            vec![$(method($name, $on_bound, $doc),)* ffi::PyMethodDef::zeroed()]
        }
    };
}

operations! {
    c"cache_key" function_key bound_key Key 0 c"The name of a call's entry, as the remote tier knows it."
    c"invalidate" function_invalidate bound_invalidate Invalidate 0 c"Removes the entry of a call from both tiers."
    c"invalidate_cache" function_invalidate_cache bound_invalidate_cache Invalidate 0 c"As invalidate()."
    c"ainvalidate" function_ainvalidate bound_ainvalidate AsyncInvalidate 0 c"As invalidate(), to be awaited."
    c"ainvalidate_cache" function_ainvalidate_cache bound_ainvalidate_cache AsyncInvalidate 0 c"As ainvalidate()."
    c"refresh" function_refresh bound_refresh Refresh 0 c"Calls the function whatever is cached, stores its result and returns it."
    c"peek" function_peek bound_peek Peek 0 c"The cached value of a call, or None. Never calls the function."
    c"put" function_put bound_put Put 1 c"Stores a value, given first, as the result of a call."
    c"bypass" function_bypass bound_bypass Bypass 0 c"Calls the function itself, and caches nothing."
}

unsafe extern "C" fn cache_info(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of this type.
    guard::object(|py| unsafe { CachedFunction::from_ptr(object) }.tiers().info(py))
}

unsafe extern "C" fn cache_clear(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of this type.
    guard::object(|py| unsafe {
        let function = Bound::from_borrowed_ptr(py, object);
        CachedFunction::from_ptr(object).tiers().clear(&function)
    })
}

unsafe extern "C" fn clear_local(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a method of this type.
        unsafe { CachedFunction::from_ptr(object) }
            .tiers()
            .clear_local(py)?;
        Ok(py.None())
    })
}
