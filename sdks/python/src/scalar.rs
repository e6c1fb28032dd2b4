//! Hashes and comparison of plain arguments: scalars of exact types, and flat tuples of them.
//!
//! By their representation and not through the interpreter's functions, since a hit is little more than this. Nothing here
//! runs Python code, makes an object or fails. The hash is for one table in one process, so it need not be Python's.

use pyo3::ffi;

use crate::key::fold;

/// The hash of one plain argument; nothing if it is not plain.
///
/// # Safety
/// It is alive.
#[inline(always)]
pub(crate) unsafe fn hash_of(part: *mut ffi::PyObject) -> Option<u64> {
    // SAFETY: alive.
    unsafe {
        if let Some(hash) = scalar(part) {
            return Some(hash);
        }
        if ffi::PyTuple_CheckExact(part) != 0 {
            return tuple(part);
        }
        None
    }
}

/// # Safety
/// A live exact tuple.
#[inline(never)]
unsafe fn tuple(part: *mut ffi::PyObject) -> Option<u64> {
    // SAFETY: by the contract above; the indices are below its length.
    unsafe {
        let len = ffi::PyTuple_GET_SIZE(part);
        let mut hash = 0x7475_706c ^ len.cast_unsigned() as u64;
        for index in 0..len {
            hash = fold(hash, scalar(ffi::PyTuple_GET_ITEM(part, index))?);
        }
        Some(hash)
    }
}

/// The hash of a scalar. Its type enters only where values of two types would often meet: comparison decides.
///
/// # Safety
/// It is alive.
#[inline(always)]
unsafe fn scalar(part: *mut ffi::PyObject) -> Option<u64> {
    // SAFETY: alive, and hashing these exact types runs no Python code and cannot fail.
    unsafe {
        if let Some(hash) = common(part) {
            return Some(hash);
        }
        let kind = ffi::Py_TYPE(part);
        if kind == &raw mut ffi::PyLong_Type || kind == &raw mut ffi::PyUnicode_Type {
            return Some(slow_hash(part));
        }
        other_scalar(part, kind)
    }
}

/// The hash of an integer that is not long, or of a string that was hashed before.
///
/// # Safety
/// It is alive.
#[inline(always)]
pub(crate) unsafe fn common(part: *mut ffi::PyObject) -> Option<u64> {
    // SAFETY: alive, and the type that was found is the one whose representation is read.
    unsafe {
        let kind = ffi::Py_TYPE(part);
        if kind == &raw mut ffi::PyLong_Type {
            return small(part).map(i64::cast_unsigned);
        }
        if kind == &raw mut ffi::PyUnicode_Type {
            return Some(text_hash(part)).filter(|hash| *hash != u64::MAX);
        }
        None
    }
}

/// # Safety
/// It is alive, and `kind` is its type.
#[inline(never)]
unsafe fn other_scalar(part: *mut ffi::PyObject, kind: *mut ffi::PyTypeObject) -> Option<u64> {
    // SAFETY: as for `scalar`.
    unsafe {
        if kind == &raw mut ffi::PyBytes_Type {
            return Some(slow_hash(part));
        }
        if kind == &raw mut ffi::PyBool_Type || part == ffi::Py_None() {
            return Some(part as u64);
        }
        if kind == &raw mut ffi::PyFloat_Type {
            return Some(ffi::PyFloat_AS_DOUBLE(part).to_bits().rotate_left(32));
        }
        None
    }
}

#[cold]
unsafe fn slow_hash(part: *mut ffi::PyObject) -> u64 {
    // SAFETY: the caller's.
    unsafe { (ffi::PyObject_Hash(part) as i64).cast_unsigned() }
}

/// The hash that a string has once anybody asked for it; until then all bits are set.
///
/// # Safety
/// A live exact string.
#[inline(always)]
unsafe fn text_hash(text: *mut ffi::PyObject) -> u64 {
    // SAFETY: by the contract above. Where threads run at once another one may be writing the same value.
    unsafe {
        let place = &raw const (*text.cast::<ffi::PyASCIIObject>()).hash;
        (place.read_volatile() as i64).cast_unsigned()
    }
}

/// The start of an integer. `PyO3` does not know it, since it is not part of the API.
#[repr(C)]
struct Long {
    base: ffi::PyObject,
    #[cfg(Py_3_12)]
    tag: usize,
    #[cfg(not(Py_3_12))]
    size: isize,
    digits: [u32; 1],
}

/// Bits of a digit.
const DIGIT: u32 = 30;

/// The value of an integer of two digits at most, which is 60 bits; nothing for a longer one.
///
/// # Safety
/// A live exact integer.
#[inline(always)]
pub(crate) unsafe fn small(long: *mut ffi::PyObject) -> Option<i64> {
    // SAFETY: by the contract above. An integer of no digits has room for one.
    unsafe {
        let long = long.cast::<Long>();
        let digits = (&raw const (*long).digits).cast::<u32>();
        let one = i64::from(*digits);
        let two = || one | i64::from(*digits.add(1)) << DIGIT;
        #[cfg(Py_3_12)]
        {
            // Number of digits above three bits, of which two are the sign: 0, zero or 2.
            let sign = 1 - ((*long).tag & 3).cast_signed() as i64;
            match (*long).tag >> 3 {
                0 | 1 => Some(sign * one),
                2 => Some(sign * two()),
                _ => None,
            }
        }
        #[cfg(not(Py_3_12))]
        {
            // Number of digits, negative for negative ones.
            match (*long).size {
                size @ -1..=1 => Some(size as i64 * one),
                2 => Some(two()),
                -2 => Some(-two()),
                _ => None,
            }
        }
    }
}

/// Whether two plain arguments have equal encodings.
///
/// # Safety
/// Both are alive, and both were hashed by [`hash_of`].
#[inline(always)]
pub(crate) unsafe fn equal(a: *mut ffi::PyObject, b: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's.
    a == b || unsafe { equal_objects(a, b) }
}

/// # Safety
/// As for [`equal`].
#[inline(never)]
unsafe fn equal_objects(a: *mut ffi::PyObject, b: *mut ffi::PyObject) -> bool {
    // SAFETY: alive; comparing these exact types runs no Python code and cannot fail.
    unsafe {
        let kind = ffi::Py_TYPE(a);
        if kind != ffi::Py_TYPE(b) {
            return false;
        }
        if kind == &raw mut ffi::PyUnicode_Type {
            return equal_text(a, b);
        }
        if kind == &raw mut ffi::PyLong_Type {
            return match (small(a), small(b)) {
                (None, None) => same(a, b),
                (a, b) => a == b,
            };
        }
        if kind == &raw mut ffi::PyFloat_Type {
            return ffi::PyFloat_AS_DOUBLE(a).to_bits() == ffi::PyFloat_AS_DOUBLE(b).to_bits();
        }
        if kind == &raw mut ffi::PyTuple_Type {
            let len = ffi::PyTuple_GET_SIZE(a);
            return len == ffi::PyTuple_GET_SIZE(b)
                && (0..len).all(|index| {
                    equal(
                        ffi::PyTuple_GET_ITEM(a, index),
                        ffi::PyTuple_GET_ITEM(b, index),
                    )
                });
        }
        kind != &raw mut ffi::PyBool_Type && same(a, b)
    }
}

/// By the type's own function: the general one takes a level of recursion, of which there may be none left.
unsafe fn same(a: *mut ffi::PyObject, b: *mut ffi::PyObject) -> bool {
    // SAFETY: the caller's. The answer is a new reference to one of two objects, or to none.
    unsafe {
        let Some(compare) = (*ffi::Py_TYPE(a)).tp_richcompare else {
            return false;
        };
        let answer = compare(a, b, ffi::Py_EQ);
        ffi::Py_XDECREF(answer);
        answer == ffi::Py_True()
    }
}

/// # Safety
/// Two live exact strings, both of which were hashed.
#[inline(always)]
unsafe fn equal_text(a: *mut ffi::PyObject, b: *mut ffi::PyObject) -> bool {
    // SAFETY: by the contract above. The data is as long as it says, in units of its kind.
    unsafe {
        let len = ffi::PyUnicode_GET_LENGTH(a);
        if text_hash(a) != text_hash(b) || len != ffi::PyUnicode_GET_LENGTH(b) {
            return false;
        }
        #[cfg(Py_3_14)]
        {
            same(a, b)
        }
        #[cfg(not(Py_3_14))]
        {
            let kind = ffi::PyUnicode_KIND(a);
            let bytes = len.cast_unsigned() * kind as usize;
            let data = |text| {
                let data = ffi::PyUnicode_DATA(text).cast::<u8>();
                std::slice::from_raw_parts(data.cast_const(), bytes)
            };
            kind == ffi::PyUnicode_KIND(b) && data(a) == data(b)
        }
    }
}

/// Bytes of a string that are compared on the spot.
#[cfg(not(Py_3_14))]
const SHORT: usize = 64;

/// Whether two objects are equal strings, if both are short and of ASCII alone: they are compared without calling anything.
///
/// # Safety
/// Both are alive.
#[cfg(not(Py_3_14))]
#[inline(always)]
pub(crate) unsafe fn equal_short_text(a: *mut ffi::PyObject, b: *mut ffi::PyObject) -> bool {
    // SAFETY: what is read of a string is read only of exact ones. Those of ASCII alone have their data behind the header.
    unsafe {
        let text = &raw mut ffi::PyUnicode_Type;
        if ffi::Py_TYPE(a) != text || ffi::Py_TYPE(b) != text || text_hash(a) != text_hash(b) {
            return false;
        }
        let len = ffi::PyUnicode_GET_LENGTH(a).cast_unsigned();
        let is_short = len <= SHORT && len == ffi::PyUnicode_GET_LENGTH(b).cast_unsigned();
        if !is_short
            || ffi::PyUnicode_IS_COMPACT_ASCII(a) == 0
            || ffi::PyUnicode_IS_COMPACT_ASCII(b) == 0
        {
            return false;
        }
        let data = |text: *mut ffi::PyObject| text.cast::<ffi::PyASCIIObject>().add(1).cast();
        equal_bytes(data(a), data(b), len)
    }
}

/// Whether two objects are equal strings, as far as it can be seen without calling anything: here it cannot.
///
/// # Safety
/// Both are alive.
#[cfg(Py_3_14)]
#[inline(always)]
pub(crate) unsafe fn equal_short_text(_: *mut ffi::PyObject, _: *mut ffi::PyObject) -> bool {
    false
}

/// A word at a time, where the last one may overlap the one before.
///
/// # Safety
/// So many bytes are there.
#[cfg(not(Py_3_14))]
#[inline(always)]
unsafe fn equal_bytes(a: *const u8, b: *const u8, len: usize) -> bool {
    // SAFETY: no read goes beyond the length.
    unsafe {
        let differ = |at: usize| {
            let word = |data: *const u8| data.add(at).cast::<u64>().read_unaligned();
            word(a) != word(b)
        };
        if len < size_of::<u64>() {
            return (0..len).all(|at| *a.add(at) == *b.add(at));
        }
        let mut at = 0;
        while at + size_of::<u64>() <= len {
            if differ(at) {
                return false;
            }
            at += size_of::<u64>();
        }
        !differ(len - size_of::<u64>())
    }
}
