//! Copies of values, which share their immutable parts.
//!
//! Most values are trees of built-in containers, and their copy is compiled by itself: it knows nothing of records and
//! arrays, which cost a lookup for everything that is no container.

use std::ptr::null_mut;

use pyo3::exceptions::PyRuntimeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::isolate::{self, MAX_DEPTH, is_atom, is_container};
use crate::kept::Rules;
use crate::kinds::{self, Collection, Kind, Record};

/// What becomes of objects that are no built-in containers.
trait Others: Copy {
    /// Whether any of them is copied.
    const COPIED: bool;

    /// A copy, if it takes one.
    ///
    /// # Safety
    /// `object` is live during the call.
    unsafe fn copy(
        self,
        py: Python<'_>,
        object: *mut ffi::PyObject,
        depth: u32,
    ) -> Result<Option<*mut ffi::PyObject>, Raised>;
}

/// They are shared.
#[derive(Clone, Copy)]
struct Shared;

impl Others for Shared {
    const COPIED: bool = false;

    #[inline]
    unsafe fn copy(
        self,
        _py: Python<'_>,
        _object: *mut ffi::PyObject,
        _depth: u32,
    ) -> Result<Option<*mut ffi::PyObject>, Raised> {
        Ok(None)
    }
}

impl Others for &Rules {
    const COPIED: bool = true;

    unsafe fn copy(
        self,
        py: Python<'_>,
        object: *mut ffi::PyObject,
        depth: u32,
    ) -> Result<Option<*mut ffi::PyObject>, Raised> {
        // SAFETY: a live object; by its kind it is what it is taken for.
        unsafe {
            let class = ffi::Py_TYPE(object);
            if is_atom(class) || self.is_immutable(class) {
                return Ok(None);
            }
            let Some(kind) = kinds::find(class) else {
                return Ok(None);
            };
            match &*kind {
                Kind::Other | Kind::Immutable => Ok(None),
                Kind::NamedTuple => copy_named_tuple(py, object, class, depth, self),
                Kind::Collection(collection) => {
                    copy_collection(py, object, *collection, depth, self).map(Some)
                }
                Kind::Record(record) => copy_record(py, object, class, record, depth, self),
                Kind::Block(block) => {
                    let copy = ffi::PyObject_CallOneArg(block.copy.as_ptr(), object);
                    Ok(Some(made(py, copy)?.into_ptr()))
                }
            }
        }
    }
}

/// A copy of a [`Shape::Tree`](isolate::Shape::Tree). Anything that is not one of the built-in containers is shared, so the
/// shape must have been [`isolate::classify`]'s answer.
pub(crate) fn copy_tree<'py>(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    copy_with(value, Shared)
}

/// A copy of a [`Shape::Flat`](isolate::Shape::Flat), of which nothing needs to be looked at again.
pub(crate) fn copy_flat<'py>(value: Borrowed<'_, 'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let object = value.as_ptr();
    // SAFETY: each call follows a check of the exact type, and gives a new reference, or null with an exception.
    unsafe {
        let class = ffi::Py_TYPE(object);
        let copy = if class == &raw mut ffi::PyDict_Type {
            ffi::PyDict_Copy(object)
        } else if class == &raw mut ffi::PyList_Type {
            ffi::PyList_GetSlice(object, 0, ffi::Py_ssize_t::MAX)
        } else if class == &raw mut ffi::PySet_Type {
            ffi::PySet_New(object)
        } else {
            ffi::PyByteArray_FromObject(object)
        };
        Bound::from_owned_ptr_or_err(value.py(), copy)
    }
}

/// A copy of a [`Shape::Rich`](isolate::Shape::Rich), classified by the same rules.
pub(crate) fn copy_rich<'py>(
    value: Borrowed<'_, 'py, PyAny>,
    rules: &Rules,
) -> PyResult<Bound<'py, PyAny>> {
    copy_with(value, rules)
}

fn copy_with<'py>(
    value: Borrowed<'_, 'py, PyAny>,
    others: impl Others,
) -> PyResult<Bound<'py, PyAny>> {
    let py = value.py();
    // SAFETY: the object is borrowed during the call.
    match unsafe { copy(py, value.as_ptr(), 0, others) } {
        // SAFETY: a reference of our own.
        Ok(Some(copy)) => Ok(unsafe { Bound::from_owned_ptr(py, copy) }),
        Ok(None) => Ok(value.to_owned()),
        Err(Raised) => Err(PyErr::fetch(py)),
    }
}

/// An exception is set. It stays with the interpreter, so that the frames of the recursion stay small.
struct Raised;

impl Raised {
    #[cold]
    fn of(py: Python<'_>, error: PyErr) -> Self {
        error.restore(py);
        Self
    }
}

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
    others: impl Others,
) -> Result<Option<*mut ffi::PyObject>, Raised> {
    // SAFETY: each cast follows a check of the exact type; null comes with an exception.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if class == &raw mut ffi::PyUnicode_Type || class == &raw mut ffi::PyLong_Type {
            Ok(None)
        } else if class == &raw mut ffi::PyDict_Type {
            copy_dict(py, object, depth, others).map(Some)
        } else if class == &raw mut ffi::PyList_Type {
            copy_list(py, object, depth, others).map(Some)
        } else if class == &raw mut ffi::PyTuple_Type {
            copy_tuple(py, object, depth, others)
        } else if class == &raw mut ffi::PySet_Type {
            Ok(Some(made(py, ffi::PySet_New(object))?.into_ptr()))
        } else if class == &raw mut ffi::PyByteArray_Type {
            Ok(Some(
                made(py, ffi::PyByteArray_FromObject(object))?.into_ptr(),
            ))
        } else {
            others.copy(py, object, depth)
        }
    }
}

#[inline]
unsafe fn made(py: Python<'_>, object: *mut ffi::PyObject) -> Result<Bound<'_, PyAny>, Raised> {
    // SAFETY: the caller's: a new reference, or null with an exception.
    unsafe { Bound::from_owned_ptr_or_opt(py, object).ok_or(Raised) }
}

#[inline(never)]
unsafe fn copy_dict<O: Others>(
    py: Python<'_>,
    dict: *mut ffi::PyObject,
    depth: u32,
    others: O,
) -> Result<*mut ffi::PyObject, Raised> {
    if depth >= MAX_DEPTH {
        return Err(too_deep(py));
    }
    // SAFETY: a live exact dict, and a copy that is nobody else's.
    unsafe {
        let new = made(py, ffi::PyDict_Copy(dict))?;
        copy_values(&new, depth, others)?;
        Ok(new.into_ptr())
    }
}

/// Puts copies of its values into a dict that is a copy itself.
#[inline(always)]
#[expect(clippy::inline_always, reason = "no frame of its own in the recursion")]
unsafe fn copy_values<O: Others>(
    new: &Bound<'_, PyAny>,
    depth: u32,
    others: O,
) -> Result<(), Raised> {
    let py = new.py();
    // SAFETY: a dict that nobody else has. Replacing the value of a key that it has moves nothing in it, and keeps what the
    // collector tracks right. A value and its key are held while the value is copied.
    unsafe {
        let mut position = 0;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        while ffi::PyDict_Next(
            new.as_ptr(),
            &raw mut position,
            &raw mut key,
            &raw mut value,
        ) != 0
        {
            let class = ffi::Py_TYPE(value);
            if !is_container(class) && (!O::COPIED || is_atom(class)) {
                continue;
            }
            let key = Bound::from_borrowed_ptr(py, key);
            let value = Bound::from_borrowed_ptr(py, value);
            if let Some(part) = copy(py, value.as_ptr(), depth + 1, others)? {
                let part = Bound::from_owned_ptr(py, part);
                if ffi::PyDict_SetItem(new.as_ptr(), key.as_ptr(), part.as_ptr()) < 0 {
                    return Err(Raised);
                }
            }
        }
        Ok(())
    }
}

#[inline(never)]
unsafe fn copy_list(
    py: Python<'_>,
    list: *mut ffi::PyObject,
    depth: u32,
    others: impl Others,
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
            if let Some(part) = copy(py, item.as_ptr(), depth + 1, others)?
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
            let part = match copy(py, item.as_ptr(), depth + 1, others)? {
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
    others: impl Others,
) -> Result<Option<*mut ffi::PyObject>, Raised> {
    if depth >= MAX_DEPTH {
        return Err(too_deep(py));
    }
    // SAFETY: a tuple keeps its items as long as it lives; the new one is nobody else's.
    unsafe {
        let length = ffi::PyTuple_GET_SIZE(tuple);
        for first in 0..length {
            let Some(part) = copy(py, ffi::PyTuple_GET_ITEM(tuple, first), depth + 1, others)?
            else {
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
                let part = copy(py, item, depth + 1, others)?.unwrap_or_else(|| {
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

/// The same for a tuple whose items have names.
#[inline(never)]
unsafe fn copy_named_tuple(
    py: Python<'_>,
    tuple: *mut ffi::PyObject,
    class: *mut ffi::PyTypeObject,
    depth: u32,
    rules: &Rules,
) -> Result<Option<*mut ffi::PyObject>, Raised> {
    // SAFETY: a tuple by its layout; its items are held by it, and those of the plain one by that.
    unsafe {
        let Some(items) = copy_tuple(py, tuple, depth, rules)? else {
            return Ok(None);
        };
        let arguments = made(py, ffi::PyTuple_Pack(1, items));
        ffi::Py_DECREF(items);
        let new = ffi::PyTuple_Type.tp_new.expect("a tuple can be made");
        Ok(Some(
            made(py, new(class, arguments?.as_ptr(), null_mut()))?.into_ptr(),
        ))
    }
}

/// The like of it with copies of what is in it.
#[inline(never)]
unsafe fn copy_collection(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    collection: Collection,
    depth: u32,
    rules: &Rules,
) -> Result<*mut ffi::PyObject, Raised> {
    if depth >= MAX_DEPTH {
        return Err(too_deep(py));
    }
    // SAFETY: a live object, which by its kind is what it is taken for.
    unsafe {
        if collection == Collection::Deque {
            let items = made(py, ffi::PySequence_Tuple(object))?;
            let copied = copy_tuple(py, items.as_ptr(), depth, rules)?;
            let copied = Bound::from_owned_ptr_or_opt(py, copied.unwrap_or_else(null_mut));
            return deque_like(py, object, copied.unwrap_or(items));
        }
        let new = shallow(py, object, collection)?;
        copy_values(&new, depth, rules)?;
        Ok(new.into_ptr())
    }
}

/// A deque of these items that grows as long as the other. Not a part of the recursion, whose frames stay small without it.
#[inline(never)]
unsafe fn deque_like(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    items: Bound<'_, PyAny>,
) -> Result<*mut ffi::PyObject, Raised> {
    // SAFETY: a live deque.
    let old = unsafe { Bound::from_borrowed_ptr(py, object) };
    let most = old.getattr(crate::once::text!(py, "maxlen"));
    most.and_then(|most| old.get_type().call1((items, most)))
        .map(Bound::into_ptr)
        .map_err(|error| Raised::of(py, error))
}

/// A copy that shares its keys and values with the other. Not a part of the recursion either.
#[inline(never)]
unsafe fn shallow(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    collection: Collection,
) -> Result<Bound<'_, PyAny>, Raised> {
    // SAFETY: a live object, a dict by its layout.
    unsafe {
        if collection != Collection::Counter {
            let copy = crate::once::text!(py, "copy");
            let new = Bound::from_borrowed_ptr(py, object).call_method0(copy);
            return new.map_err(|error| Raised::of(py, error));
        }
        // Its `copy` is Python code, and it has nothing that a dict has not.
        let new = ffi::PyDict_Type.tp_new.expect("a dict can be made");
        let none = made(py, ffi::PyTuple_New(0))?;
        let new = new(ffi::Py_TYPE(object), none.as_ptr(), null_mut());
        let new = made(py, new)?;
        if ffi::PyDict_Merge(new.as_ptr(), object, 1) < 0 {
            return Err(Raised);
        }
        Ok(new)
    }
}

/// A record of the same class with copies of what it refers to, by neither its `__init__` nor its `__setattr__`. One that
/// is frozen serves itself, unless there is something to copy in it.
#[inline(never)]
unsafe fn copy_record(
    py: Python<'_>,
    object: *mut ffi::PyObject,
    class: *mut ffi::PyTypeObject,
    record: &Record,
    depth: u32,
    rules: &Rules,
) -> Result<Option<*mut ffi::PyObject>, Raised> {
    if depth >= MAX_DEPTH {
        return Err(too_deep(py));
    }
    let raised = |error| Raised::of(py, error);
    // SAFETY: a live object, whose kind says what it has; everything read from it is held while it is copied.
    unsafe {
        let old = Bound::from_borrowed_ptr(py, object);
        let mut changed = !record.frozen;
        let new = ffi::PyBaseObject_Type
            .tp_new
            .expect("an object can be made");
        let new = made(
            py,
            new(class, made(py, ffi::PyTuple_New(0))?.as_ptr(), null_mut()),
        )?;
        if record.has_dict {
            let dict = isolate::attributes(&old).map_err(raised)?;
            let copied = made(py, copy_dict(py, dict.as_ptr(), depth, rules)?)?;
            changed = changed || !same_values(&dict, &copied);
            // By the class's own descriptor, which knows how this interpreter keeps attributes.
            let name = crate::once::text!(py, "__dict__").as_ptr();
            if ffi::PyObject_GenericSetAttr(new.as_ptr(), name, copied.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        for name in &record.slots {
            let name = name.bind(py);
            let Some(value) = isolate::member(&old, name).map_err(raised)? else {
                continue;
            };
            let part = match copy(py, value.as_ptr(), depth + 1, rules)? {
                Some(part) => {
                    changed = true;
                    Bound::from_owned_ptr(py, part)
                }
                None => value,
            };
            let place = isolate::descriptor(&old, name).map_err(raised)?;
            let set = (*place.get_type_ptr()).tp_descr_set.expect("a slot has it");
            if set(place.as_ptr(), new.as_ptr(), part.as_ptr()) < 0 {
                return Err(Raised);
            }
        }
        Ok(changed.then(|| new.into_ptr()))
    }
}

/// Whether a copied dict has the very values of the other.
unsafe fn same_values(one: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> bool {
    let (mut at, mut there) = (0, 0);
    let (mut value, mut copied) = (null_mut(), null_mut());
    // SAFETY: exact dicts that are held, and that nobody changes meanwhile: one is new, the other belongs to a record
    // that is kept.
    unsafe {
        while ffi::PyDict_Next(one.as_ptr(), &raw mut at, null_mut(), &raw mut value) != 0 {
            let more =
                ffi::PyDict_Next(other.as_ptr(), &raw mut there, null_mut(), &raw mut copied);
            if more == 0 || value != copied {
                return false;
            }
        }
    }
    true
}
