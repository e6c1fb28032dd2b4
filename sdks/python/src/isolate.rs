//! What it takes to give every caller a value of its own, and the cheap copy that does.
//!
//! Decided once, when a value enters the cache, so that a hit only acts on the answer: immutable values are shared, trees
//! of built-in containers are copied along their structure, and for anything else the caller decides, since copying an
//! arbitrary object in silence may be slow or wrong.

use std::collections::HashMap;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyType;

use crate::types::{is_enum, known};

/// Containers deeper than this are left to the caller; it bounds the stack.
const MAX_DEPTH: u32 = 1024;

/// How a value can be given to several callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Nobody can change it: the same object serves everybody.
    Immutable,
    /// Exact built-in containers, each met once, and immutable leaves: [`copy_tree`] copies it.
    Tree,
    /// Neither: other types, or containers that are met twice, whose copy would have to keep that.
    Other,
}

/// What `value` is. Runs no Python code.
pub(crate) fn classify(value: Borrowed<'_, '_, PyAny>) -> Shape {
    let mut survey = Survey {
        py: value.py(),
        met: Met::default(),
    };
    // SAFETY: the object is borrowed during the call.
    unsafe { survey.shape(value.as_ptr(), 0) }
}

struct Survey<'py> {
    py: Python<'py>,
    met: Met,
}

/// The containers met so far, and what each was found to be. A container whose inside is still looked at counts as
/// [`Shape::Other`]: meeting it again is a cycle.
#[derive(Default)]
struct Met {
    few: Vec<(usize, Shape)>,
    many: HashMap<usize, Shape>,
}

impl Met {
    const FEW: usize = 16;

    fn get(&self, object: usize) -> Option<Shape> {
        let few = self.few.iter().find(|(known, _)| *known == object);
        few.map(|(_, shape)| *shape)
            .or_else(|| self.many.get(&object).copied())
    }

    fn set(&mut self, object: usize, shape: Shape) {
        if let Some((_, known)) = self.few.iter_mut().find(|(known, _)| *known == object) {
            *known = shape;
        } else if self.few.len() < Self::FEW {
            self.few.push((object, shape));
        } else {
            self.many.insert(object, shape);
        }
    }
}

impl Survey<'_> {
    /// # Safety
    /// `object` is live during the call.
    unsafe fn shape(&mut self, object: *mut ffi::PyObject, depth: u32) -> Shape {
        // SAFETY: a live object has a type.
        let class = unsafe { ffi::Py_TYPE(object) };
        if is_atom(class) {
            return Shape::Immutable;
        }
        if !is_container(class) {
            return self.leaf(object, class);
        }
        if depth >= MAX_DEPTH {
            return Shape::Other;
        }
        match self.met.get(object as usize) {
            Some(Shape::Immutable) => return Shape::Immutable,
            Some(_) => return Shape::Other,
            None => self.met.set(object as usize, Shape::Other),
        }
        // SAFETY: the caller's; a container of an exact type that was just checked.
        let shape = unsafe { self.container(object, class, depth + 1) };
        self.met.set(object as usize, shape);
        shape
    }

    fn leaf(&self, object: *mut ffi::PyObject, class: *mut ffi::PyTypeObject) -> Shape {
        // SAFETY: a live object.
        let immutable = known(self.py, class).is_some()
            || unsafe { Bound::from_borrowed_ptr(self.py, object) }.is_instance_of::<PyType>()
            || is_enum(self.py, class);
        if immutable {
            Shape::Immutable
        } else {
            Shape::Other
        }
    }

    unsafe fn container(
        &mut self,
        object: *mut ffi::PyObject,
        class: *mut ffi::PyTypeObject,
        depth: u32,
    ) -> Shape {
        // SAFETY: exact types, checked before each use; nothing here runs Python code, so what is borrowed stays alive.
        unsafe {
            if class == &raw mut ffi::PyTuple_Type {
                self.items(object, depth, Shape::Immutable)
            } else if class == &raw mut ffi::PyList_Type {
                let Some(items) = snapshot(self.py, ffi::PyList_AsTuple(object)) else {
                    return Shape::Other;
                };
                self.items(items.as_ptr(), depth, Shape::Tree)
            } else if class == &raw mut ffi::PyDict_Type {
                self.dict(object, depth)
            } else if class == &raw mut ffi::PyByteArray_Type {
                Shape::Tree
            } else {
                let frozen = class == &raw mut ffi::PyFrozenSet_Type;
                let Some(members) = snapshot(self.py, ffi::PySequence_Tuple(object)) else {
                    return Shape::Other;
                };
                // What has a hash and is not immutable is no built-in container.
                match self.items(members.as_ptr(), depth, Shape::Immutable) {
                    Shape::Immutable if frozen => Shape::Immutable,
                    Shape::Immutable => Shape::Tree,
                    _ => Shape::Other,
                }
            }
        }
    }

    unsafe fn items(&mut self, tuple: *mut ffi::PyObject, depth: u32, least: Shape) -> Shape {
        let mut shape = least;
        // SAFETY: an exact tuple, held by the caller.
        unsafe {
            for index in 0..ffi::PyTuple_GET_SIZE(tuple) {
                shape = shape.max(self.shape(ffi::PyTuple_GET_ITEM(tuple, index), depth));
                if shape == Shape::Other {
                    break;
                }
            }
        }
        shape
    }

    unsafe fn dict(&mut self, dict: *mut ffi::PyObject, depth: u32) -> Shape {
        let mut shape = Shape::Tree;
        let mut position = 0;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: an exact dict, of which a copy is walked where other threads could change it; both parts are held.
        unsafe {
            let Some(dict) = snapshot(self.py, walkable(dict)) else {
                return Shape::Other;
            };
            while shape != Shape::Other
                && ffi::PyDict_Next(
                    dict.as_ptr(),
                    &raw mut position,
                    &raw mut key,
                    &raw mut value,
                ) != 0
            {
                let key = Bound::from_borrowed_ptr(self.py, key);
                let value = Bound::from_borrowed_ptr(self.py, value);
                if self.shape(key.as_ptr(), depth) != Shape::Immutable {
                    return Shape::Other;
                }
                shape = shape.max(self.shape(value.as_ptr(), depth));
            }
        }
        shape
    }
}

/// A new reference to a dict that can be walked: the dict itself, or a copy of it where threads run at once.
unsafe fn walkable(dict: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live dict.
    unsafe {
        if cfg!(Py_GIL_DISABLED) {
            ffi::PyDict_Copy(dict)
        } else {
            ffi::Py_INCREF(dict);
            dict
        }
    }
}

/// The snapshot that was made, unless that failed; then there is no exception left.
unsafe fn snapshot(py: Python<'_>, made: *mut ffi::PyObject) -> Option<Bound<'_, PyAny>> {
    // SAFETY: a new reference, or null with an exception.
    unsafe {
        let made = Bound::from_owned_ptr_or_opt(py, made);
        if made.is_none() {
            ffi::PyErr_Clear();
        }
        made
    }
}

/// Exact built-in types that hold no other object, or none that can be changed.
#[inline]
pub(crate) fn is_atom(class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: the singletons are live.
    let singletons = unsafe {
        [ffi::Py_None(), ffi::Py_Ellipsis(), ffi::Py_NotImplemented()].map(|one| ffi::Py_TYPE(one))
    };
    class == &raw mut ffi::PyUnicode_Type
        || class == &raw mut ffi::PyLong_Type
        || class == &raw mut ffi::PyFloat_Type
        || class == &raw mut ffi::PyBool_Type
        || class == &raw mut ffi::PyBytes_Type
        || class == &raw mut ffi::PyComplex_Type
        || class == &raw mut ffi::PyRange_Type
        || class == &raw mut ffi::PyFunction_Type
        || class == &raw mut ffi::PyCFunction_Type
        || class == &raw mut ffi::PyCode_Type
        || singletons.contains(&class)
}

#[inline]
fn is_container(class: *mut ffi::PyTypeObject) -> bool {
    class == &raw mut ffi::PyDict_Type
        || class == &raw mut ffi::PyList_Type
        || class == &raw mut ffi::PyTuple_Type
        || class == &raw mut ffi::PySet_Type
        || class == &raw mut ffi::PyFrozenSet_Type
        || class == &raw mut ffi::PyByteArray_Type
}

/// A copy of a [`Shape::Tree`], which shares its immutable parts. Anything that is not one of the built-in containers is
/// shared, so the shape must have been [`classify`]'s answer.
pub(crate) fn copy_tree<'py>(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    // SAFETY: the object is borrowed during the call.
    match unsafe { copy(py, value.as_ptr(), 0) } {
        // SAFETY: a reference of our own.
        Ok(Some(copy)) => Ok(unsafe { Bound::from_owned_ptr(py, copy) }),
        Ok(None) => Ok(value.to_owned()),
        Err(Raised) => Err(PyErr::fetch(py)),
    }
}

/// An exception is set. It stays with the interpreter, so that the frames of the recursion stay small.
struct Raised;

#[cold]
fn raise(py: Python<'_>, text: &'static str) -> Raised {
    PyRuntimeError::new_err(text).restore(py);
    Raised
}

#[cold]
fn too_deep(py: Python<'_>) -> Raised {
    raise(py, "a cached value nests deeper than when it was stored")
}

/// A copy, if it takes one.
///
/// # Safety
/// `object` is live during the call.
#[inline]
unsafe fn copy(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    depth: u32,
) -> Result<Option<*mut ffi::PyObject>, Raised> {
    // SAFETY: each cast follows a check of the exact type; null comes with an exception.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if class == &raw mut ffi::PyUnicode_Type || class == &raw mut ffi::PyLong_Type {
            Ok(None)
        } else if class == &raw mut ffi::PyDict_Type {
            copy_dict(py, object, depth).map(Some)
        } else if class == &raw mut ffi::PyList_Type {
            copy_list(py, object, depth).map(Some)
        } else if class == &raw mut ffi::PyTuple_Type {
            copy_tuple(py, object, depth)
        } else if class == &raw mut ffi::PySet_Type {
            Ok(Some(made(py, ffi::PySet_New(object))?.into_ptr()))
        } else if class == &raw mut ffi::PyByteArray_Type {
            Ok(Some(
                made(py, ffi::PyByteArray_FromObject(object))?.into_ptr(),
            ))
        } else {
            Ok(None)
        }
    }
}

#[inline]
unsafe fn made(py: Python<'_>, object: *mut ffi::PyObject) -> Result<Bound<'_, PyAny>, Raised> {
    // SAFETY: the caller's: a new reference, or null with an exception.
    unsafe { Bound::from_owned_ptr_or_opt(py, object).ok_or(Raised) }
}

#[inline(never)]
unsafe fn copy_dict(
    py: Python<'_>,
    dict: *mut ffi::PyObject,
    depth: u32,
) -> Result<*mut ffi::PyObject, Raised> {
    if depth >= MAX_DEPTH {
        return Err(too_deep(py));
    }
    // SAFETY: a live exact dict. Only the new dict is walked. Replacing the value of a key that it has moves nothing in it,
    // and keeps what the collector tracks right. A value and its key are held while the value is copied.
    unsafe {
        let new = made(py, ffi::PyDict_Copy(dict))?;
        let mut position = 0;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        while ffi::PyDict_Next(
            new.as_ptr(),
            &raw mut position,
            &raw mut key,
            &raw mut value,
        ) != 0
        {
            if !is_container(ffi::Py_TYPE(value)) {
                continue;
            }
            let key = Bound::from_borrowed_ptr(py, key);
            let value = Bound::from_borrowed_ptr(py, value);
            if let Some(part) = copy(py, value.as_ptr(), depth + 1)? {
                let part = Bound::from_owned_ptr(py, part);
                if ffi::PyDict_SetItem(new.as_ptr(), key.as_ptr(), part.as_ptr()) < 0 {
                    return Err(Raised);
                }
            }
        }
        Ok(new.into_ptr())
    }
}

#[inline(never)]
unsafe fn copy_list(
    py: Python<'_>,
    list: *mut ffi::PyObject,
    depth: u32,
) -> Result<*mut ffi::PyObject, Raised> {
    if depth >= MAX_DEPTH {
        return Err(too_deep(py));
    }
    #[cfg(Py_GIL_DISABLED)]
    // SAFETY: a live exact list; the copy has its own items, and nobody else has it.
    unsafe {
        let new = made(py, ffi::PyList_GetSlice(list, 0, ffi::Py_ssize_t::MAX))?;
        for index in 0..ffi::PyList_GET_SIZE(new.as_ptr()) {
            let item = made(py, ffi::PyList_GetItemRef(new.as_ptr(), index))?;
            if let Some(part) = copy(py, item.as_ptr(), depth + 1)?
                && ffi::PyList_SetItem(new.as_ptr(), index, part) < 0
            {
                return Err(Raised);
            }
        }
        Ok(new.into_ptr())
    }
    #[cfg(not(Py_GIL_DISABLED))]
    // SAFETY: a live exact list, whose size is read again for each item; an item is held before anything can run. Slots
    // that are not filled yet are null, which a list bears.
    unsafe {
        let length = ffi::PyList_GET_SIZE(list);
        let new = made(py, ffi::PyList_New(length))?;
        for index in 0..length {
            if index >= ffi::PyList_GET_SIZE(list) {
                return Err(raise(py, "a cached value was changed while it was copied"));
            }
            let item = Bound::from_borrowed_ptr(py, ffi::PyList_GET_ITEM(list, index));
            let part = match copy(py, item.as_ptr(), depth + 1)? {
                Some(part) => part,
                None => item.into_ptr(),
            };
            ffi::PyList_SET_ITEM(new.as_ptr(), index, part);
        }
        Ok(new.into_ptr())
    }
}

/// The tuple itself serves, until an item is met that takes a copy.
#[inline(never)]
unsafe fn copy_tuple(
    py: Python<'_>,
    tuple: *mut ffi::PyObject,
    depth: u32,
) -> Result<Option<*mut ffi::PyObject>, Raised> {
    if depth >= MAX_DEPTH {
        return Err(too_deep(py));
    }
    // SAFETY: a tuple keeps its items as long as it lives; the new one is nobody else's.
    unsafe {
        let length = ffi::PyTuple_GET_SIZE(tuple);
        for first in 0..length {
            let Some(part) = copy(py, ffi::PyTuple_GET_ITEM(tuple, first), depth + 1)? else {
                continue;
            };
            let part = Bound::from_owned_ptr(py, part);
            let new = made(py, ffi::PyTuple_New(length))?;
            for index in 0..first {
                let item = ffi::PyTuple_GET_ITEM(tuple, index);
                ffi::Py_INCREF(item);
                ffi::PyTuple_SET_ITEM(new.as_ptr(), index, item);
            }
            ffi::PyTuple_SET_ITEM(new.as_ptr(), first, part.into_ptr());
            for index in first + 1..length {
                let item = ffi::PyTuple_GET_ITEM(tuple, index);
                let part = copy(py, item, depth + 1)?.unwrap_or_else(|| {
                    ffi::Py_INCREF(item);
                    item
                });
                ffi::PyTuple_SET_ITEM(new.as_ptr(), index, part);
            }
            return Ok(Some(new.into_ptr()));
        }
        Ok(None)
    }
}
