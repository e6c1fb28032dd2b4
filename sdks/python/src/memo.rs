//! The strings that keys of decoded dicts are made of, kept from one decoding to the next.
//!
//! Rows repeat their field names. Looking a short name up is cheaper than making a string and hashing it, and rows that
//! share their keys take less memory. A fixed table, so that hostile names cannot grow it; free-threaded builds have none.

use pyo3::ffi;
use pyo3::prelude::*;

/// Longest name that is kept.
const LONGEST: usize = 32;

/// Whether a name is of a length that is kept, if it is ASCII too.
#[inline]
pub(crate) fn fits(name: &[u8]) -> bool {
    cfg!(not(any(Py_3_14, Py_GIL_DISABLED))) && name.len() > 1 && name.len() <= LONGEST
}

/// A new reference to the string of so few bytes that they are two words, which may overlap; nothing where that takes more
/// than two of them, or where they are not ASCII.
///
/// # Safety
/// The interpreter is attached.
#[cfg(not(Py_3_14))]
#[inline(always)]
pub(crate) unsafe fn short_text(text: &[u8]) -> Option<*mut ffi::PyObject> {
    /// In each byte, the bit that no ASCII has.
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let (first, last, from) = words(text)?;
    if (first | last) & HIGH != 0 {
        return None;
    }
    // SAFETY: a new compact ASCII string has room for its length, and both words lie within it.
    unsafe {
        let made = ffi::PyUnicode_New(text.len().cast_signed(), 0x7f);
        if !made.is_null() {
            let data = ffi::PyUnicode_1BYTE_DATA(made);
            if text.len() >= 8 {
                data.cast::<u64>().write_unaligned(first);
                data.add(from).cast::<u64>().write_unaligned(last);
            } else {
                data.cast::<u32>().write_unaligned(first as u32);
                data.add(from).cast::<u32>().write_unaligned(last as u32);
            }
        }
        Some(made)
    }
}

/// The first and the last word of four to sixteen bytes, and where the last one begins.
#[cfg(not(Py_3_14))]
#[inline(always)]
fn words(text: &[u8]) -> Option<(u64, u64, usize)> {
    let length = text.len();
    if length > 16 {
        return None;
    }
    if let (Some(first), Some(last)) = (text.first_chunk(), text.last_chunk()) {
        return Some((
            u64::from_ne_bytes(*first),
            u64::from_ne_bytes(*last),
            length - 8,
        ));
    }
    let (first, last) = (text.first_chunk()?, text.last_chunk()?);
    Some((
        u64::from(u32::from_ne_bytes(*first)),
        u64::from(u32::from_ne_bytes(*last)),
        length - 4,
    ))
}

/// A new reference to a string, or null with an exception.
///
/// # Safety
/// The interpreter is attached.
pub(crate) unsafe fn new_text(text: &[u8]) -> *mut ffi::PyObject {
    // SAFETY: the bytes outlive the call, which checks that they are UTF-8.
    unsafe {
        let (data, length) = (text.as_ptr().cast(), text.len().cast_signed());
        ffi::PyUnicode_DecodeUTF8(data, length, std::ptr::null())
    }
}

/// A new reference to the string of a name that [`fits`], or null with an exception.
///
/// # Safety
/// The interpreter is attached.
#[cfg(any(Py_3_14, Py_GIL_DISABLED))]
pub(crate) unsafe fn text(_: Python<'_>, name: &[u8]) -> *mut ffi::PyObject {
    // SAFETY: the caller's.
    unsafe { new_text(name) }
}

#[cfg(not(any(Py_3_14, Py_GIL_DISABLED)))]
pub(crate) use table::text;

#[cfg(not(any(Py_3_14, Py_GIL_DISABLED)))]
mod table {
    use std::cell::UnsafeCell;
    use std::ptr::null_mut;

    use super::{Python, ffi, new_text, words};

    const SLOTS: usize = 512;

    struct Table(UnsafeCell<[*mut ffi::PyObject; SLOTS]>);

    // SAFETY: touched only with the interpreter's lock held, and no borrow lives across a call that could release it.
    unsafe impl Sync for Table {}

    static TABLE: Table = Table(UnsafeCell::new([null_mut(); SLOTS]));

    /// A new reference to the string of a name that fits, or null with an exception.
    ///
    /// # Safety
    /// The interpreter is attached.
    #[inline]
    pub(crate) unsafe fn text(_: Python<'_>, name: &[u8]) -> *mut ffi::PyObject {
        // SAFETY: `Table`'s rule. A kept string is compact ASCII, and dropping one runs no code.
        unsafe {
            let slot = TABLE.0.get().cast::<*mut ffi::PyObject>().add(hash(name));
            let kept = *slot;
            if !kept.is_null() && is(kept, name) {
                ffi::Py_INCREF(kept);
                return kept;
            }
            replace(slot, name)
        }
    }

    #[inline]
    unsafe fn is(kept: *mut ffi::PyObject, name: &[u8]) -> bool {
        // SAFETY: a compact ASCII string.
        unsafe {
            let length = ffi::PyUnicode_GET_LENGTH(kept).cast_unsigned();
            let data = ffi::PyUnicode_1BYTE_DATA(kept);
            let kept = std::slice::from_raw_parts(data, length);
            length == name.len()
                && match (words(kept), words(name)) {
                    (Some(kept), Some(name)) => kept == name,
                    _ => kept == name,
                }
        }
    }

    #[inline(never)]
    unsafe fn replace(slot: *mut *mut ffi::PyObject, name: &[u8]) -> *mut ffi::PyObject {
        // SAFETY: the caller's slot; the table takes a reference of its own.
        unsafe {
            let text = new_text(name);
            if !text.is_null() && name.is_ascii() {
                ffi::Py_INCREF(text);
                let old = std::mem::replace(&mut *slot, text);
                ffi::Py_XDECREF(old);
            }
            text
        }
    }

    /// Mixes the first and the last eight bytes, which overlap in a short name, and the length.
    #[inline]
    fn hash(name: &[u8]) -> usize {
        const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
        let (first, last) = if let Some((first, last)) = ends::<8>(name) {
            (u64::from_le_bytes(first), u64::from_le_bytes(last))
        } else if let Some((first, last)) = ends::<4>(name) {
            (
                u64::from(u32::from_le_bytes(first)),
                u64::from(u32::from_le_bytes(last)),
            )
        } else {
            let [first, .., last] = name else { return 0 };
            (
                u64::from(*first),
                u64::from(*last) << 8 | u64::from(name[name.len() / 2]),
            )
        };
        let mixed = (first ^ last.rotate_left(29) ^ name.len() as u64).wrapping_mul(MIX);
        (mixed >> (64 - SLOTS.ilog2())) as usize
    }

    #[inline]
    fn ends<const N: usize>(name: &[u8]) -> Option<([u8; N], [u8; N])> {
        Some((*name.first_chunk()?, *name.last_chunk()?))
    }
}
