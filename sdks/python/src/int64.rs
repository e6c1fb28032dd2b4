//! Integers that 64 bits hold, which is what MessagePack has.

use cachekit_runtime::error::Result;
use cachekit_runtime::native::Writer;
use pyo3::ffi;

/// One of them.
pub(crate) enum Int64 {
    Signed(i64),
    /// One over the greatest signed one.
    Unsigned(u64),
}

impl Int64 {
    /// The value of an int; nothing if it takes more bits. Runs no code of a subclass.
    ///
    /// # Safety
    /// A live int, or of a subclass.
    #[inline]
    pub(crate) unsafe fn of(integer: *mut ffi::PyObject) -> Option<Self> {
        let mut overflow = 0;
        // SAFETY: an int, for which this cannot fail.
        let value = unsafe { ffi::PyLong_AsLongLongAndOverflow(integer, &raw mut overflow) };
        match overflow {
            0 => Some(Self::Signed(value)),
            // SAFETY: an int.
            1 => unsafe { Self::unsigned(integer) },
            _ => None,
        }
    }

    #[cold]
    unsafe fn unsigned(integer: *mut ffi::PyObject) -> Option<Self> {
        // SAFETY: an int; the exception is cleared.
        unsafe {
            let value = ffi::PyLong_AsUnsignedLongLong(integer);
            if ffi::PyErr_Occurred().is_null() {
                return Some(Self::Unsigned(value));
            }
            ffi::PyErr_Clear();
        }
        None
    }

    #[inline]
    pub(crate) fn write(self, out: &mut Writer) -> Result<()> {
        match self {
            Self::Signed(value) => out.int(value),
            Self::Unsigned(value) => out.uint(value),
        }
    }
}
