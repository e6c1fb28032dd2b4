//! What other languages read back as it was, and nothing else: the values of the serializers `msgpack` and `json`.
//!
//! A tuple that comes back as a list, or a key that comes back as text, is a bug in whoever reads it, so it is refused when it
//! is stored. Looking at the types runs no code of others. What is found to be portable has no type of our own in its native
//! encoding, which then is plain MessagePack.

use cachekit_runtime::native::MAX_DEPTH;
use pyo3::exceptions::PyUnicodeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::failure::{EncodeFailure, Step, Stop};
use crate::int64::Int64;

/// Whose values they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Portable {
    MessagePack,
    Json,
}

impl Portable {
    /// Refuses what would come back as something else.
    pub(crate) fn check(self, value: Borrowed<'_, '_, PyAny>) -> Result<(), EncodeFailure> {
        let mut walk = Walk {
            py: value.py(),
            kind: self,
            depth: 0,
        };
        // SAFETY: the object is borrowed for the whole walk.
        unsafe { walk.object(value.as_ptr()) }.map_err(|stop| stop.finish(&value))
    }

    fn name(self) -> &'static str {
        match self {
            Self::MessagePack => "msgpack",
            Self::Json => "json",
        }
    }

    fn values(self) -> &'static str {
        match self {
            Self::MessagePack => "None, bool, int of 64 bits, float, str, bytes, list and dict",
            Self::Json => "None, bool, int of 64 bits, finite float, str, list and dict",
        }
    }
}

struct Walk<'py> {
    py: Python<'py>,
    kind: Portable,
    depth: u32,
}

impl Walk<'_> {
    /// # Safety
    /// `object` is live during the call.
    unsafe fn object(&mut self, object: *mut ffi::PyObject) -> Step {
        // SAFETY: each cast follows a check of the exact type.
        unsafe {
            let class = ffi::Py_TYPE(object);
            if class == &raw mut ffi::PyUnicode_Type {
                self.text(object)
            } else if class == &raw mut ffi::PyLong_Type {
                self.integer(object)
            } else if class == &raw mut ffi::PyDict_Type {
                self.enter()?;
                self.dict(object)
            } else if class == &raw mut ffi::PyList_Type {
                self.enter()?;
                self.list(object)
            } else if class == &raw mut ffi::PyFloat_Type {
                self.float(object)
            } else if object == ffi::Py_None()
                || class == &raw mut ffi::PyBool_Type
                || class == &raw mut ffi::PyBytes_Type && self.kind == Portable::MessagePack
            {
                Ok(())
            } else {
                Err(self.refused(object))
            }
        }
    }

    fn enter(&mut self) -> Step {
        if self.depth >= MAX_DEPTH {
            return Err(Stop::deep());
        }
        self.depth += 1;
        Ok(())
    }

    /// Text that has no UTF-8 is no text elsewhere.
    unsafe fn text(&self, text: *mut ffi::PyObject) -> Step {
        // SAFETY: an exact str; what comes back is an object or null with an exception.
        unsafe {
            if ffi::PyUnicode_KIND(text) == ffi::PyUnicode_1BYTE_KIND {
                return Ok(());
            }
            let bytes = ffi::PyUnicode_AsUTF8String(text);
            if Bound::from_owned_ptr_or_opt(self.py, bytes).is_some() {
                return Ok(());
            }
            let error = PyErr::fetch(self.py);
            if error.is_instance_of::<PyUnicodeError>(self.py) {
                let text = Bound::from_borrowed_ptr(self.py, text);
                return Err(Stop::refused(&text, "UTF-8 has no lone surrogates"));
            }
            Err(error.into())
        }
    }

    unsafe fn integer(&self, integer: *mut ffi::PyObject) -> Step {
        // SAFETY: an exact int.
        unsafe {
            if Int64::of(integer).is_some() {
                return Ok(());
            }
            let integer = Bound::from_borrowed_ptr(self.py, integer);
            let reason = "it takes more than 64 bits; return its text";
            Err(Stop::refused(&integer, reason))
        }
    }

    unsafe fn float(&self, float: *mut ffi::PyObject) -> Step {
        // SAFETY: an exact float.
        unsafe {
            if self.kind == Portable::MessagePack || ffi::PyFloat_AS_DOUBLE(float).is_finite() {
                return Ok(());
            }
            let float = Bound::from_borrowed_ptr(self.py, float);
            let reason = "JSON has neither NaN nor infinities; return None, or text";
            Err(Stop::refused(&float, reason))
        }
    }

    unsafe fn list(&mut self, list: *mut ffi::PyObject) -> Step {
        #[cfg(Py_GIL_DISABLED)]
        // SAFETY: a live list; the snapshot is a list that nobody else has.
        let snapshot = unsafe {
            let whole = ffi::PyList_GetSlice(list, 0, ffi::Py_ssize_t::MAX);
            Bound::from_owned_ptr_or_err(self.py, whole)?
        };
        #[cfg(Py_GIL_DISABLED)]
        let list = snapshot.as_ptr();
        // SAFETY: the caller holds the list, and nothing that runs here can change it.
        unsafe {
            for index in 0..ffi::PyList_GET_SIZE(list) {
                let item = ffi::PyList_GET_ITEM(list, index);
                if let Err(stop) = self.object(item) {
                    return Err(stop.within(list, format!("[{index}]")));
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    unsafe fn dict(&mut self, dict: *mut ffi::PyObject) -> Step {
        #[cfg(Py_GIL_DISABLED)]
        // SAFETY: a live dict; the copy is nobody else's.
        let snapshot = unsafe { Bound::from_owned_ptr_or_err(self.py, ffi::PyDict_Copy(dict))? };
        #[cfg(Py_GIL_DISABLED)]
        let dict = snapshot.as_ptr();
        let (mut position, mut key, mut value) = (0, std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: the caller holds the dict, and nothing that runs here can change it.
        unsafe {
            while ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut value) != 0 {
                let step = if ffi::Py_TYPE(key) == &raw mut ffi::PyUnicode_Type {
                    self.text(key)
                } else {
                    let key = Bound::from_borrowed_ptr(self.py, key);
                    let reason = format!(
                        "serializer=\"{}\" takes no keys but str, as other languages do; return str keys, or leave \
                         serializer out",
                        self.kind.name()
                    );
                    Err(Stop::refused(&key, reason))
                };
                step.map_err(|stop| stop.within(dict, ".keys()"))?;
                if let Err(stop) = self.object(value) {
                    return Err(stop.under(dict, &Bound::from_borrowed_ptr(self.py, key)));
                }
            }
        }
        self.depth -= 1;
        Ok(())
    }

    #[cold]
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "a failure on its way up is boxed"
    )]
    unsafe fn refused(&self, object: *mut ffi::PyObject) -> Box<Stop> {
        // SAFETY: the caller's.
        let object = unsafe { Bound::from_borrowed_ptr(self.py, object) };
        let why = if object.is_exact_instance_of::<pyo3::types::PyTuple>() {
            "a tuple would come back as a list; return a list, or leave serializer out".to_owned()
        } else {
            format!(
                "serializer=\"{}\" takes {} alone, which every language has; return those, or leave serializer out",
                self.kind.name(),
                self.kind.values()
            )
        };
        Stop::refused(&object, why)
    }
}
