//! How much memory a value takes, roughly and quickly.
//!
//! It bounds a cache by bytes, so it must tell a megabyte from a kilobyte, and must cost little beside the call that made
//! the value. So at most [`NODES`] objects are looked at; of a longer container some are, and stand for the others.
//! Classes, functions and modules weigh nothing, nor does what many others refer to: the cache does not keep those alive.
//! What arrays and frames hold no collector sees, so their libraries are asked.

use std::collections::HashSet;
use std::sync::Arc;

use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyModule, PyType};

use crate::kinds::{self, Block, Collection, Kind};
use crate::scalar::small;
use crate::types::is_of_package;

/// Most objects that are looked at.
const NODES: u32 = 4096;
/// Containers up to this length are looked at whole.
const WHOLE: usize = 256;
/// As many items stand for the items of a longer one.
const SAMPLE: usize = 128;
/// Objects with more references than that belong to others.
const SHARED: isize = 16;
const DEPTH: u32 = 128;
/// Packages whose objects hold what the collector does not see.
const ARRAYS: [&str; 4] = ["numpy", "pandas", "polars", "pyarrow"];
/// What the collector puts before an object.
const HEAD: u64 = 16;

/// An estimate of the bytes that `value` keeps in memory. Runs no Python code but that of libraries of arrays.
#[inline(always)]
pub(crate) fn weigh(value: Borrowed<'_, '_, PyAny>) -> u64 {
    // SAFETY: the object is borrowed during the call.
    unsafe { scalar(value.as_ptr()) }.unwrap_or_else(|| weigh_tree(value, true))
}

/// The same without what arrays and frames hold, which is known.
pub(crate) fn weigh_beside_arrays(value: Borrowed<'_, '_, PyAny>) -> u64 {
    weigh_tree(value, false)
}

#[inline(never)]
fn weigh_tree(value: Borrowed<'_, '_, PyAny>, arrays: bool) -> u64 {
    let mut scale = Scale {
        py: value.py(),
        left: NODES,
        met: HashSet::new(),
        arrays,
        ordinary: std::ptr::null_mut(),
    };
    // SAFETY: the object is borrowed during the call.
    unsafe { scale.object(value.as_ptr(), 0) }
}

/// What an object weighs that holds no others; nothing for containers, and for integers that do not fit a machine's.
///
/// # Safety
/// It is alive.
#[inline]
unsafe fn scalar(object: *mut ffi::PyObject) -> Option<u64> {
    // SAFETY: the caller's; each cast follows a check of the exact type.
    unsafe {
        let class = ffi::Py_TYPE(object);
        if class == &raw mut ffi::PyLong_Type {
            return small(object).map(|_| 32);
        }
        if class == &raw mut ffi::PyUnicode_Type {
            return Some(text(object));
        }
        if class == &raw mut ffi::PyFloat_Type {
            return Some(24);
        }
        if class == &raw mut ffi::PyBytes_Type {
            return Some(33 + ffi::PyBytes_Size(object).unsigned_abs() as u64);
        }
        None
    }
}

struct Scale<'py> {
    py: Python<'py>,
    left: u32,
    met: HashSet<usize>,
    /// Whether arrays and frames are asked what they hold.
    arrays: bool,
    /// The type that was last found to be of none of their libraries.
    ordinary: *mut ffi::PyTypeObject,
}

impl Scale<'_> {
    /// # Safety
    /// `object` is live during the call.
    unsafe fn object(&mut self, object: *mut ffi::PyObject, depth: u32) -> u64 {
        let Some(left) = self.left.checked_sub(1) else {
            return 0;
        };
        self.left = left;
        // SAFETY: the caller's; each cast follows a check of the exact type.
        unsafe {
            let class = ffi::Py_TYPE(object);
            if depth > 0 && ffi::Py_REFCNT(object) as isize > SHARED {
                return 0;
            }
            if let Some(weight) = scalar(object) {
                return weight;
            }
            if class == &raw mut ffi::PyLong_Type {
                return own_size(&Bound::from_borrowed_ptr(self.py, object));
            }
            if depth >= DEPTH || !self.met.insert(object as usize) {
                return 0;
            }
            if class == &raw mut ffi::PyList_Type {
                let items = length(ffi::PyList_GET_SIZE(object));
                56 + 8 * items as u64 + self.indexed(object, items, depth, list_item)
            } else if class == &raw mut ffi::PyTuple_Type {
                let items = length(ffi::PyTuple_GET_SIZE(object));
                56 + 8 * items as u64 + self.indexed(object, items, depth, tuple_item)
            } else if class == &raw mut ffi::PyDict_Type {
                let items = length(ffi::PyDict_Size(object));
                80 + table(items, 24) + self.dict(object, items, depth)
            } else if ffi::PyAnySet_CheckExact(object) != 0 {
                let items = length(ffi::PySet_Size(object));
                216 + table(items, 16) + self.iterated(object, items, depth)
            } else {
                match self.kind(class).as_deref() {
                    Some(Kind::Collection(collection)) => {
                        self.collection(object, *collection, depth)
                    }
                    Some(Kind::Block(block)) => self
                        .block(object, block)
                        .unwrap_or_else(|| self.other(object, depth)),
                    _ => self.other(object, depth),
                }
            }
        }
    }

    /// What is known of a type, or can be asked because it is one of a library of arrays.
    unsafe fn kind(&mut self, class: *mut ffi::PyTypeObject) -> Option<Arc<Kind>> {
        let known = kinds::find(class);
        if known.is_some() || class == self.ordinary {
            return known;
        }
        // SAFETY: a live type.
        let class = unsafe { Bound::from_borrowed_ptr(self.py, class.cast()) };
        let class = class.cast_into::<PyType>().ok()?;
        if is_of_package(self.py, class.as_type_ptr(), &ARRAYS) {
            let learnt = kinds::learn(&class);
            quiet(self.py, learnt)?;
            return kinds::find(class.as_type_ptr());
        }
        self.ordinary = class.as_type_ptr();
        None
    }

    /// What an array or a frame says that it holds.
    unsafe fn block(&self, object: *mut ffi::PyObject, block: &Block) -> Option<u64> {
        if !self.arrays {
            return Some(0);
        }
        // SAFETY: a live object.
        let object = unsafe { Bound::from_borrowed_ptr(self.py, object) };
        let (_, bytes) = quiet(self.py, block.look(&object))??;
        Some(HEAD.saturating_add(bytes))
    }

    /// Items that can be reached by their index: those that stand for the others are spread evenly.
    unsafe fn indexed(
        &mut self,
        container: *mut ffi::PyObject,
        items: usize,
        depth: u32,
        item: unsafe fn(*mut ffi::PyObject, usize) -> *mut ffi::PyObject,
    ) -> u64 {
        let looked_at = if items <= WHOLE { items } else { SAMPLE };
        let (mut sum, mut seen) = (0, 0);
        while seen < looked_at && self.left > 0 {
            // SAFETY: the index is below the length, and nothing here can change that; the item is held.
            unsafe {
                let item = item(container, seen * items / looked_at);
                let Some(item) = Bound::from_owned_ptr_or_opt(self.py, item) else {
                    break;
                };
                sum += self.object(item.as_ptr(), depth + 1);
            }
            seen += 1;
        }
        scaled(sum, seen, items)
    }

    unsafe fn dict(&mut self, dict: *mut ffi::PyObject, items: usize, depth: u32) -> u64 {
        let looked_at = if items <= WHOLE { items } else { SAMPLE };
        let (mut sum, mut seen, mut position) = (0, 0, 0);
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a dict whose walk runs no code of others, or its copy where other threads could change it; both parts are held.
        unsafe {
            #[cfg(Py_GIL_DISABLED)]
            let Some(copy) = Bound::from_owned_ptr_or_opt(self.py, ffi::PyDict_Copy(dict)) else {
                ffi::PyErr_Clear();
                return 0;
            };
            #[cfg(Py_GIL_DISABLED)]
            let dict = copy.as_ptr();
            while seen < looked_at
                && self.left > 0
                && ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut value) != 0
            {
                let key = Bound::from_borrowed_ptr(self.py, key);
                let value = Bound::from_borrowed_ptr(self.py, value);
                sum += self.object(key.as_ptr(), depth + 1);
                sum += self.object(value.as_ptr(), depth + 1);
                seen += 1;
            }
        }
        scaled(sum, seen, items)
    }

    /// Its own size, and the items of what can be longer than what the collector would be asked for.
    unsafe fn collection(
        &mut self,
        object: *mut ffi::PyObject,
        collection: Collection,
        depth: u32,
    ) -> u64 {
        // SAFETY: a live object, which by its kind is what it is taken for.
        unsafe {
            let own = own_size(&Bound::from_borrowed_ptr(self.py, object));
            if collection == Collection::Deque {
                let items = length(ffi::PyObject_Size(object));
                own + self.iterated(object, items, depth)
            } else {
                own + self.dict(object, length(ffi::PyDict_Size(object)), depth)
            }
        }
    }

    unsafe fn iterated(&mut self, container: *mut ffi::PyObject, items: usize, depth: u32) -> u64 {
        let looked_at = if items <= WHOLE { items } else { SAMPLE };
        let (mut sum, mut seen) = (0, 0);
        // SAFETY: a set or a deque; its iterator gives references of our own, and what it raises is dropped.
        unsafe {
            let iterator = Bound::from_owned_ptr_or_opt(self.py, ffi::PyObject_GetIter(container));
            while let Some(iterator) = &iterator
                && seen < looked_at
                && self.left > 0
            {
                let member = ffi::PyIter_Next(iterator.as_ptr());
                let Some(member) = Bound::from_owned_ptr_or_opt(self.py, member) else {
                    break;
                };
                sum += self.object(member.as_ptr(), depth + 1);
                seen += 1;
            }
            ffi::PyErr_Clear();
        }
        scaled(sum, seen, items)
    }

    /// Any other object: its own size, and what the collector would find in it.
    unsafe fn other(&mut self, object: *mut ffi::PyObject, depth: u32) -> u64 {
        // SAFETY: a live object.
        let held = unsafe { Bound::from_borrowed_ptr(self.py, object) };
        let mut sum = own_size(&held);
        if held.is_instance_of::<PyType>()
            || held.is_instance_of::<PyModule>()
            || held.is_instance_of::<pyo3::types::PyFunction>()
            || held.is_instance_of::<pyo3::types::PyCFunction>()
        {
            return 0;
        }
        for part in parts(&held) {
            if self.left == 0 {
                break;
            }
            // SAFETY: the part is held.
            sum += unsafe { self.object(part.as_ptr(), depth + 1) };
        }
        sum
    }
}

/// The result, without an exception. An interruption comes again at the next moment that it may.
fn quiet<T>(py: Python<'_>, result: PyResult<T>) -> Option<T> {
    result
        .map_err(|error| {
            if error.is_instance_of::<PyKeyboardInterrupt>(py) {
                // SAFETY: attached.
                unsafe { ffi::PyErr_SetInterrupt() };
            }
        })
        .ok()
}

fn length(size: ffi::Py_ssize_t) -> usize {
    usize::try_from(size).unwrap_or(0)
}

fn scaled(sum: u64, seen: usize, items: usize) -> u64 {
    if seen == 0 {
        0
    } else {
        (u128::from(sum) * items as u128 / seen as u128) as u64
    }
}

/// A hash table with room for `items`.
fn table(items: usize, entry: u64) -> u64 {
    if items <= 5 {
        return 8 + 5 * entry;
    }
    let slots = (items as u64)
        .saturating_mul(3)
        .div_ceil(2)
        .next_power_of_two();
    let index = if slots <= 256 {
        1
    } else if slots <= 65_536 {
        2
    } else {
        4
    };
    slots * index + slots * 2 / 3 * entry
}

unsafe fn text(text: *mut ffi::PyObject) -> u64 {
    // SAFETY: an exact str.
    unsafe {
        60 + ffi::PyUnicode_GET_LENGTH(text).unsigned_abs() as u64
            * u64::from(ffi::PyUnicode_KIND(text))
    }
}

unsafe fn list_item(list: *mut ffi::PyObject, index: usize) -> *mut ffi::PyObject {
    // SAFETY: a live list; null with an exception where another thread made it shorter.
    unsafe {
        let item = ffi::compat::PyList_GetItemRef(list, index.cast_signed());
        if item.is_null() {
            ffi::PyErr_Clear();
        }
        item
    }
}

unsafe fn tuple_item(tuple: *mut ffi::PyObject, index: usize) -> *mut ffi::PyObject {
    // SAFETY: a live tuple that is longer than the index.
    unsafe {
        let item = ffi::PyTuple_GET_ITEM(tuple, index.cast_signed());
        ffi::Py_XINCREF(item);
        item
    }
}

/// What `__sizeof__` says, where that is not Python code, else the size that the type declares.
fn own_size(object: &Bound<'_, PyAny>) -> u64 {
    let class = object.get_type();
    // SAFETY: live types.
    let (declared, collected) = unsafe {
        let class = class.as_type_ptr();
        (
            length((*class).tp_basicsize) as u64,
            ffi::PyType_IS_GC(class) != 0,
        )
    };
    let size = class
        .getattr(crate::once::text!(object.py(), "__sizeof__"))
        .ok()
        .filter(|method| method.get_type_ptr() == &raw mut ffi::PyMethodDescr_Type)
        .and_then(|method| method.call1((object,)).ok()?.extract::<u64>().ok());
    size.unwrap_or(declared) + if collected { HEAD } else { 0 }
}

/// What the collector would visit from `object`, up to a bound.
#[cfg(not(Py_GIL_DISABLED))]
fn parts<'py>(object: &Bound<'py, PyAny>) -> Vec<Bound<'py, PyAny>> {
    use std::ffi::{c_int, c_void};

    unsafe extern "C" fn visit(part: *mut ffi::PyObject, list: *mut c_void) -> c_int {
        // SAFETY: `list` is the one below, which nobody else touches meanwhile; the part is live.
        unsafe {
            let list = &mut *list.cast::<Vec<*mut ffi::PyObject>>();
            ffi::Py_INCREF(part);
            list.push(part);
            c_int::from(list.len() >= WHOLE)
        }
    }
    let py = object.py();
    let mut found: Vec<*mut ffi::PyObject> = Vec::new();
    // SAFETY: the collector calls the slot in the same way; it runs no Python code.
    unsafe {
        let class = ffi::Py_TYPE(object.as_ptr());
        if ffi::PyObject_IS_GC(object.as_ptr()) != 0
            && let Some(traverse) = (*class).tp_traverse
        {
            traverse(object.as_ptr(), visit, (&raw mut found).cast());
        }
        found
            .into_iter()
            .map(|part| Bound::from_owned_ptr(py, part))
            .collect()
    }
}

/// Other threads may change the object, and only the collector can stop them: nothing is visited.
#[cfg(Py_GIL_DISABLED)]
fn parts<'py>(_: &Bound<'py, PyAny>) -> Vec<Bound<'py, PyAny>> {
    Vec::new()
}
