//! Which entry of the in-process tier a call means.
//!
//! Calls whose arguments are plain scalars, or flat tuples of them, are told apart by the arguments themselves: hashing and
//! comparing those runs no Python code and makes no object. All other calls are told apart by their canonical encoding.
//! Both follow one rule, that two calls are one exactly when their encodings are equal, so `1`, `1.0` and `True` differ.

use std::sync::Arc;

use cachekit_runtime::key::KeyHash;
use cachekit_runtime::l1::mix;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use crate::encode::Locals;
use crate::guard::attached;
use crate::scalar::{common, equal, hash_of};

/// The key of one entry.
pub(crate) struct Key {
    /// Address of the receiver, whose death removes the entry; zero if there is none.
    pub(crate) receiver: usize,
    pub(crate) form: Form,
}

pub(crate) enum Form {
    /// No argument besides the receiver.
    Empty,
    /// One plain argument.
    One(Py<PyAny>),
    /// Several plain arguments.
    Many(Py<PyTuple>),
    /// Whatever has a canonical encoding.
    Encoded(Box<Encoded>),
    /// A canonical encoding that names objects which mean something in this process only.
    Local(Arc<Opaque>),
}

/// The hash of a canonical encoding, where an address has bits to spare.
#[derive(Clone, PartialEq)]
#[repr(align(8))]
pub(crate) struct Encoded(pub(crate) KeyHash);

/// What a key with process-local objects is compared by.
pub(crate) struct Opaque {
    pub(crate) hash: KeyHash,
    pub(crate) locals: Locals,
}

impl Clone for Key {
    fn clone(&self) -> Self {
        let form = match &self.form {
            Form::Empty => Form::Empty,
            Form::One(only) => Form::One(attached(|py| only.clone_ref(py))),
            Form::Many(all) => Form::Many(attached(|py| all.clone_ref(py))),
            Form::Encoded(hash) => Form::Encoded(hash.clone()),
            Form::Local(opaque) => Form::Local(Arc::clone(opaque)),
        };
        Self {
            receiver: self.receiver,
            form,
        }
    }
}

impl Key {
    /// Whether both are the key of one entry, without asking Python: process-local objects count only if they were
    /// encoded by one call.
    pub(crate) fn same(&self, other: &Self) -> bool {
        if self.receiver != other.receiver {
            return false;
        }
        match (&self.form, &other.form) {
            (Form::Empty, Form::Empty) => true,
            // SAFETY: both keys hold what they name.
            (Form::One(a), Form::One(b)) => unsafe { equal(a.as_ptr(), b.as_ptr()) },
            // SAFETY: as above.
            (Form::Many(a), Form::Many(b)) => unsafe { equal(a.as_ptr(), b.as_ptr()) },
            (Form::Encoded(a), Form::Encoded(b)) => a == b,
            (Form::Local(a), Form::Local(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Whether it is the key of a call with this receiver and these plain arguments.
    ///
    /// # Safety
    /// The parts are alive.
    #[inline(always)]
    pub(crate) unsafe fn is_plain(&self, receiver: usize, parts: &[*mut ffi::PyObject]) -> bool {
        if self.receiver != receiver {
            return false;
        }
        match (&self.form, parts) {
            // SAFETY: the key holds its part, the caller the other.
            (Form::One(known), [part]) => unsafe { equal(known.as_ptr(), *part) },
            // SAFETY: as above.
            (Form::Many(known), parts) => unsafe { are_items(known.as_ptr(), parts) },
            (Form::Empty, []) => true,
            _ => false,
        }
    }

    /// The key of plain arguments, to be kept.
    ///
    /// # Safety
    /// The parts are alive.
    pub(crate) unsafe fn plain(
        py: Python<'_>,
        receiver: usize,
        parts: &[*mut ffi::PyObject],
    ) -> PyResult<Self> {
        let form = match parts {
            [] => Form::Empty,
            // SAFETY: alive.
            [only] => Form::One(unsafe { Bound::from_borrowed_ptr(py, *only) }.unbind()),
            // SAFETY: alive, and a tuple is what `tuple_from` makes.
            parts => Form::Many(unsafe {
                crate::arguments::tuple_from(py, parts.as_ptr(), parts.len())?
                    .into_bound(py)
                    .cast_into_unchecked()
                    .unbind()
            }),
        };
        Ok(Self { receiver, form })
    }

    /// Whether plain arguments find it.
    pub(crate) fn is_plain_form(&self) -> bool {
        matches!(self.form, Form::Empty | Form::One(_) | Form::Many(_))
    }

    /// Whether it names objects of this process.
    pub(crate) fn is_local_form(&self) -> bool {
        matches!(self.form, Form::Local(_))
    }

    /// Shows the collector what is held here.
    pub(crate) fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        match &self.form {
            Form::Empty | Form::Encoded(_) => {}
            Form::One(only) => visit(only.as_ptr()),
            Form::Many(all) => visit(all.as_ptr()),
            // An encoding that several keys hold is not this one's alone to show.
            Form::Local(opaque) if Arc::strong_count(opaque) > 1 => {}
            Form::Local(opaque) => opaque
                .locals
                .iter()
                .for_each(|local| visit(local.object.as_ptr())),
        }
    }
}

/// Whether a tuple has these items, and no others.
///
/// # Safety
/// A live tuple of plain arguments, and live parts.
#[inline(always)]
pub(crate) unsafe fn are_items(tuple: *mut ffi::PyObject, parts: &[*mut ffi::PyObject]) -> bool {
    // SAFETY: the indices are below its length.
    unsafe {
        ffi::PyTuple_GET_SIZE(tuple) == parts.len().cast_signed()
            && parts
                .iter()
                .enumerate()
                .all(|(at, part)| equal(ffi::PyTuple_GET_ITEM(tuple, at.cast_signed()), *part))
    }
}

/// The table hash of a key that goes by its encoding.
pub(crate) fn of_encoding(receiver: usize, hash: &KeyHash) -> u64 {
    mix(hash.short() ^ receiver as u64)
}

/// The table hash of plain arguments; nothing if one of them is not plain.
///
/// # Safety
/// The parts are alive.
#[inline(always)]
pub(crate) unsafe fn of_plain(receiver: usize, parts: &[*mut ffi::PyObject]) -> Option<u64> {
    let mut hash = receiver as u64;
    if parts.is_empty() {
        return Some(mix(hash));
    }
    for part in parts {
        // SAFETY: alive.
        hash = fold(hash, unsafe { hash_of(*part)? });
    }
    Some(hash)
}

/// As [`of_plain`] for one argument, but only of the commonest kinds.
///
/// # Safety
/// It is alive.
#[inline(always)]
pub(crate) unsafe fn of_common(receiver: usize, part: *mut ffi::PyObject) -> Option<u64> {
    // SAFETY: alive.
    unsafe { common(part) }.map(|part| fold(receiver as u64, part))
}

/// Spreads a part over all bits of a hash, as [`mix`] does.
#[inline(always)]
pub(crate) fn fold(hash: u64, part: u64) -> u64 {
    let wide = u128::from(hash ^ 0x9e37_79b9_7f4a_7c15) * u128::from(part ^ 0xe703_7ed1_a0b4_28db);
    (wide >> 64) as u64 ^ wide as u64 ^ hash.rotate_left(23)
}
