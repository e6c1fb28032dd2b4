//! Python objects to bytes, with nothing in between.
//!
//! One walk serves values and keys; keys add sorting and types of their own (`key_types.rs`). It takes exact types only: a
//! subclass that went out as its base would come back as another type, in silence.
//!
//! Code of other people can run inside the walk (a `__cache_key__`, a `Decimal` written in Python) and change what is
//! being walked. So whatever is walked is held, sizes are read again at each step, and a container that changed is refused.
//! Free-threaded builds walk a snapshot of each container instead.

use cachekit_runtime::native::{Writer, types};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::failure::{Step, Stop};
use crate::int64::Int64;
use crate::plans::Types;
use crate::temporal;
use crate::types::{Known, known};

pub(crate) use crate::failure::EncodeFailure;
pub(crate) use crate::key_types::{Locals, encode_key_arg};

const CHANGED: &str = "it was changed while it was read; do not share it with code that changes it";

/// Writes a value that a function returned.
pub(crate) fn encode_value(
    value: Borrowed<'_, '_, PyAny>,
    types: Option<&Types>,
    out: &mut Writer,
) -> Result<(), EncodeFailure> {
    let mut nobody = Locals::default();
    let mut walk = Walk::<false> {
        py: value.py(),
        out,
        locals: &mut nobody,
        types,
    };
    // SAFETY: the object is borrowed for the whole walk.
    unsafe { walk.object(value.as_ptr()) }.map_err(|stop| stop.finish(&value))
}

/// A walk; `KEY` says whether it makes a key.
pub(crate) struct Walk<'a, 'py, const KEY: bool> {
    pub(crate) py: Python<'py>,
    pub(crate) out: &'a mut Writer,
    pub(crate) locals: &'a mut Locals,
    /// The classes that values may have, if any.
    pub(crate) types: Option<&'a Types>,
}

/// Whether writing an object of that type runs no code but ours, so that what is only borrowed stays alive.
#[inline]
fn is_plain(class: *mut ffi::PyTypeObject) -> bool {
    class == &raw mut ffi::PyUnicode_Type
        || class == &raw mut ffi::PyLong_Type
        || class == &raw mut ffi::PyFloat_Type
        || class == &raw mut ffi::PyBool_Type
        || class == none_type()
        || class == &raw mut ffi::PyBytes_Type
}

/// Zones are written as a part of what has one, and are no values of their own.
fn is_zone(known: Known) -> bool {
    matches!(known, Known::TimeZone | Known::ZoneInfo)
}

#[inline]
fn none_type() -> *mut ffi::PyTypeObject {
    // SAFETY: `None` is immortal in practice and has a type.
    unsafe { ffi::Py_TYPE(ffi::Py_None()) }
}

impl<'py, const KEY: bool> Walk<'_, 'py, KEY> {
    /// Writes any object.
    ///
    /// # Safety
    /// `object` is live; if it is not of a plain type, it stays so during the call.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "one frame a container instead of two, and no call for a leaf"
    )]
    pub(crate) unsafe fn object(&mut self, object: *mut ffi::PyObject) -> Step {
        // SAFETY: each cast follows a check of the exact type.
        unsafe {
            let class = ffi::Py_TYPE(object);
            if class == &raw mut ffi::PyUnicode_Type {
                self.text(object)
            } else if class == &raw mut ffi::PyLong_Type {
                self.integer(object)
            } else if class == &raw mut ffi::PyDict_Type {
                self.dict(object)
            } else if class == &raw mut ffi::PyList_Type {
                self.list(object)
            } else if class == none_type() {
                Ok(self.out.nil()?)
            } else if class == &raw mut ffi::PyBool_Type {
                Ok(self.out.bool(object == ffi::Py_True())?)
            } else if class == &raw mut ffi::PyFloat_Type {
                Ok(self.out.float(ffi::PyFloat_AS_DOUBLE(object))?)
            } else {
                self.rare(object, class)
            }
        }
    }

    #[inline]
    unsafe fn text(&mut self, text: *mut ffi::PyObject) -> Step {
        #[cfg(not(Py_3_14))]
        // SAFETY: an exact str; the bytes of a compact ASCII one follow its head.
        unsafe {
            if ffi::PyUnicode_IS_COMPACT_ASCII(text) != 0 {
                let length = ffi::PyUnicode_GET_LENGTH(text).cast_unsigned();
                let bytes = std::slice::from_raw_parts(ffi::PyUnicode_1BYTE_DATA(text), length);
                return Ok(self.out.str(std::str::from_utf8_unchecked(bytes))?);
            }
        }
        #[cfg(Py_3_14)]
        // SAFETY: an exact str, which owns the bytes that come back; the exception is cleared.
        unsafe {
            if ffi::PyUnicode_KIND(text) == ffi::PyUnicode_1BYTE_KIND {
                let mut length = 0;
                let bytes = ffi::PyUnicode_AsUTF8AndSize(text, &raw mut length);
                if !bytes.is_null() {
                    let bytes = std::slice::from_raw_parts(bytes.cast(), length.cast_unsigned());
                    return Ok(self.out.str(std::str::from_utf8_unchecked(bytes))?);
                }
                ffi::PyErr_Clear();
            }
        }
        // SAFETY: an exact str.
        unsafe { self.long_text(text) }
    }

    /// Text that is not ASCII. Its UTF-8 goes through an object of its own: the conversion that Python would rather have
    /// us call leaves a second copy of the text inside the caller's object, for good.
    #[inline(never)]
    unsafe fn long_text(&mut self, text: *mut ffi::PyObject) -> Step {
        // SAFETY: an exact str; what comes back is bytes, or null with an exception.
        unsafe {
            let encoded = ffi::PyUnicode_AsUTF8String(text);
            if let Some(encoded) = Bound::from_owned_ptr_or_opt(self.py, encoded) {
                let bytes = bytes_of(encoded.as_ptr());
                return Ok(self.out.str(std::str::from_utf8_unchecked(bytes))?);
            }
            let error = PyErr::fetch(self.py);
            if !error.is_instance_of::<pyo3::exceptions::PyUnicodeError>(self.py) {
                return Err(error.into());
            }
            let pass = c"surrogatepass".as_ptr();
            let encoded = ffi::PyUnicode_AsEncodedString(text, c"utf-8".as_ptr(), pass);
            let encoded = Bound::from_owned_ptr_or_err(self.py, encoded)?;
            self.out.ext(types::SURROGATES)?;
            Ok(self.out.bin(bytes_of(encoded.as_ptr()))?)
        }
    }

    #[inline]
    unsafe fn integer(&mut self, integer: *mut ffi::PyObject) -> Step {
        // SAFETY: an exact int.
        match unsafe { Int64::of(integer) } {
            Some(value) => Ok(value.write(self.out)?),
            // SAFETY: as above.
            None => unsafe { self.big_integer(integer) },
        }
    }

    #[cold]
    unsafe fn big_integer(&mut self, integer: *mut ffi::PyObject) -> Step {
        let py = self.py;
        // SAFETY: a live object.
        let integer = unsafe { Bound::from_borrowed_ptr(py, integer) };
        let bits: usize = integer
            .call_method0(crate::once::text!(py, "bit_length"))?
            .extract()?;
        let options = pyo3::types::PyDict::new(py);
        options.set_item(crate::once::text!(py, "signed"), true)?;
        let bytes = integer.call_method(
            crate::once::text!(py, "to_bytes"),
            (bits / 8 + 1, crate::once::text!(py, "big")),
            Some(&options),
        )?;
        // SAFETY: `int.to_bytes` of an exact int gives exact bytes.
        Ok(self.out.big_int(unsafe { bytes_of(bytes.as_ptr()) })?)
    }

    #[inline(never)]
    unsafe fn list(&mut self, list: *mut ffi::PyObject) -> Step {
        #[cfg(Py_GIL_DISABLED)]
        // SAFETY: a live list; the snapshot is a tuple that nobody else has.
        unsafe {
            let snapshot = ffi::PyList_AsTuple(list);
            let snapshot = Bound::from_owned_ptr_or_err(self.py, snapshot)?;
            self.out.enter()?;
            self.out
                .array(ffi::PyTuple_GET_SIZE(snapshot.as_ptr()).cast_unsigned())?;
            self.tuple_items(snapshot.as_ptr())
        }
        #[cfg(not(Py_GIL_DISABLED))]
        // SAFETY: the caller holds the list. An item that can run code is held while it is written, and no index is used
        // that was not compared with the size of this moment.
        unsafe {
            let length = ffi::PyList_GET_SIZE(list);
            self.out.enter()?;
            self.out.array(length.cast_unsigned())?;
            for index in 0..length {
                if index >= ffi::PyList_GET_SIZE(list) {
                    break;
                }
                let item = ffi::PyList_GET_ITEM(list, index);
                let step = if is_plain(ffi::Py_TYPE(item)) {
                    self.object(item)
                } else {
                    ffi::Py_INCREF(item);
                    let step = self.object(item);
                    ffi::Py_DECREF(item);
                    step
                };
                if let Err(stop) = step {
                    return Err(stop.within(list, format!("[{index}]")));
                }
            }
            if ffi::PyList_GET_SIZE(list) != length {
                return Err(self.changed(list));
            }
            self.out.leave();
            Ok(())
        }
    }

    /// Writes the items of a tuple, whose head is written and entered.
    ///
    /// # Safety
    /// `tuple` is a tuple, or of a subclass, that is held during the call.
    pub(crate) unsafe fn tuple_items(&mut self, tuple: *mut ffi::PyObject) -> Step {
        // SAFETY: a tuple keeps its items as long as it lives.
        unsafe {
            for index in 0..ffi::PyTuple_GET_SIZE(tuple) {
                if let Err(stop) = self.object(ffi::PyTuple_GET_ITEM(tuple, index)) {
                    return Err(stop.within(tuple, format!("[{index}]")));
                }
            }
        }
        self.out.leave();
        Ok(())
    }

    #[inline(never)]
    unsafe fn dict(&mut self, dict: *mut ffi::PyObject) -> Step {
        #[cfg(Py_GIL_DISABLED)]
        // SAFETY: a live dict; the copy is nobody else's.
        let snapshot = unsafe { Bound::from_owned_ptr_or_err(self.py, ffi::PyDict_Copy(dict))? };
        #[cfg(Py_GIL_DISABLED)]
        let dict = snapshot.as_ptr();
        // SAFETY: the caller holds the dict. An item of which a part can run code is held while it is written.
        // `PyDict_Next` checks its position against the table of this moment.
        unsafe {
            let length = ffi::PyDict_Size(dict);
            self.out.enter()?;
            self.out.map(length.cast_unsigned())?;
            let group = if KEY {
                Some((self.out.group(), self.locals.len()))
            } else {
                None
            };
            let (mut position, mut seen) = (0, 0);
            let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
            while ffi::PyDict_Next(dict, &raw mut position, &raw mut key, &raw mut value) != 0 {
                if seen == length {
                    return Err(self.changed(dict));
                }
                seen += 1;
                if is_plain(ffi::Py_TYPE(value)) && is_plain(ffi::Py_TYPE(key)) {
                    self.object(key)?;
                    if let Err(stop) = self.object(value) {
                        return Err(self.under(stop, dict, key));
                    }
                } else {
                    self.held_item(dict, key, value)?;
                }
                if let Some((group, _)) = &group {
                    self.out.part(group);
                }
            }
            if seen != length {
                return Err(self.changed(dict));
            }
            if let Some((group, first_local)) = group {
                self.sort(group, first_local);
            }
        }
        self.out.leave();
        Ok(())
    }

    #[inline(never)]
    unsafe fn held_item(
        &mut self,
        dict: *mut ffi::PyObject,
        key: *mut ffi::PyObject,
        value: *mut ffi::PyObject,
    ) -> Step {
        // SAFETY: both are live now, and held from here on.
        unsafe {
            ffi::Py_INCREF(key);
            ffi::Py_INCREF(value);
            let step = match self.object(key) {
                Ok(()) => self
                    .object(value)
                    .map_err(|stop| self.under(stop, dict, key)),
                Err(stop) => Err(stop.within(dict, ".keys()")),
            };
            ffi::Py_DECREF(key);
            ffi::Py_DECREF(value);
            step
        }
    }

    /// # Safety
    /// `set` is a set or frozenset that is held during the call.
    #[inline(never)]
    unsafe fn set(&mut self, set: *mut ffi::PyObject, type_byte: u8) -> Step {
        // SAFETY: the iterator gives references of our own and notices changes by itself.
        unsafe {
            let length = ffi::PySet_Size(set);
            let iterator = Bound::from_owned_ptr_or_err(self.py, ffi::PyObject_GetIter(set))?;
            self.out.enter()?;
            self.out.ext(type_byte)?;
            self.out.array(length.cast_unsigned())?;
            let (group, first_local) = (self.out.group(), self.locals.len());
            for _ in 0..length {
                let member = ffi::PyIter_Next(iterator.as_ptr());
                let Some(member) = Bound::from_owned_ptr_or_opt(self.py, member) else {
                    break;
                };
                self.object(member.as_ptr())
                    .map_err(|stop| stop.within(set, "{…}"))?;
                self.out.part(&group);
            }
            let rest = ffi::PyIter_Next(iterator.as_ptr());
            let rest = Bound::from_owned_ptr_or_opt(self.py, rest);
            if rest.is_some() || PyErr::take(self.py).is_some() || ffi::PySet_Size(set) != length {
                return Err(self.changed(set));
            }
            self.sort(group, first_local);
        }
        self.out.leave();
        Ok(())
    }

    fn sort(&mut self, group: cachekit_runtime::native::Group, first_local: usize) {
        self.out.sort(group);
        if KEY {
            self.locals.follow(first_local, self.out.order());
        }
    }

    #[inline(never)]
    unsafe fn rare(&mut self, object: *mut ffi::PyObject, class: *mut ffi::PyTypeObject) -> Step {
        // SAFETY: each use follows a check of the exact type; the caller holds the object.
        unsafe {
            if class == &raw mut ffi::PyTuple_Type {
                self.out.enter()?;
                self.out.ext(types::TUPLE)?;
                self.out
                    .array(ffi::PyTuple_GET_SIZE(object).cast_unsigned())?;
                self.tuple_items(object)
            } else if class == &raw mut ffi::PyBytes_Type {
                Ok(self.out.bin(bytes_of(object))?)
            } else if class == &raw mut ffi::PySet_Type {
                self.set(object, types::SET)
            } else if class == &raw mut ffi::PyFrozenSet_Type {
                self.set(object, types::FROZENSET)
            } else {
                let object = Bound::from_borrowed_ptr(self.py, object);
                match known(self.py, class) {
                    Some(known) if !is_zone(known) => self.library(&object, known),
                    _ if KEY => self.key_only(&object),
                    _ => self.classed(&object),
                }
            }
        }
    }

    /// # Safety
    /// `object` is exactly of the type that `known` stands for.
    #[inline(never)]
    unsafe fn library(&mut self, object: &Bound<'py, PyAny>, known: Known) -> Step {
        // SAFETY: the caller's.
        unsafe {
            match known {
                Known::DateTime => temporal::write_datetime(self.out, object),
                Known::Date => temporal::write_date(self.out, object.as_ptr()),
                Known::Time => temporal::write_time(self.out, object),
                Known::TimeDelta => temporal::write_delta(self.out, object.as_ptr()),
                Known::Decimal => self.decimal(object),
                Known::Uuid => self.uuid(object),
                Known::TimeZone | Known::ZoneInfo => Err(not_a_value(object)),
            }
        }
    }

    fn decimal(&mut self, decimal: &Bound<'py, PyAny>) -> Step {
        let text = decimal.str()?;
        let text = text.to_str()?;
        self.out.ext(types::DECIMAL)?;
        // The letter of the exponent follows the current context, which is no part of the number.
        if text.contains('e') {
            Ok(self.out.str(&text.replace('e', "E"))?)
        } else {
            Ok(self.out.str(text)?)
        }
    }

    fn uuid(&mut self, uuid: &Bound<'py, PyAny>) -> Step {
        let number = uuid.getattr(crate::once::text!(self.py, "int"))?;
        let Ok(number) = number.extract::<u128>() else {
            return Err(Stop::refused(uuid, "its number is not one of 128 bits"));
        };
        self.out.ext(types::UUID)?;
        Ok(self.out.raw(&number.to_be_bytes())?)
    }

    #[expect(
        clippy::unnecessary_box_returns,
        reason = "a failure on its way up is boxed"
    )]
    #[cold]
    fn changed(&self, container: *mut ffi::PyObject) -> Box<Stop> {
        // SAFETY: the caller holds the container.
        Stop::refused(
            &unsafe { Bound::from_borrowed_ptr(self.py, container) },
            CHANGED,
        )
    }

    #[expect(
        clippy::unnecessary_box_returns,
        reason = "a failure on its way up is boxed"
    )]
    #[cold]
    unsafe fn under(
        &self,
        stop: Box<Stop>,
        dict: *mut ffi::PyObject,
        key: *mut ffi::PyObject,
    ) -> Box<Stop> {
        // SAFETY: the caller's: the key is live.
        stop.under(dict, &unsafe { Bound::from_borrowed_ptr(self.py, key) })
    }
}

/// The content of an exact `bytes`.
///
/// # Safety
/// `bytes` is live for as long as the slice is used.
unsafe fn bytes_of<'a>(bytes: *mut ffi::PyObject) -> &'a [u8] {
    // SAFETY: the caller's.
    unsafe {
        let data = ffi::PyBytes_AsString(bytes).cast::<u8>();
        std::slice::from_raw_parts(data, ffi::PyBytes_Size(bytes).cast_unsigned())
    }
}

/// The refusal of an object that has no encoding as a value, with advice by what it is.
#[expect(
    clippy::unnecessary_box_returns,
    reason = "a failure on its way up is boxed"
)]
#[cold]
pub(crate) fn not_a_value(object: &Bound<'_, PyAny>) -> Box<Stop> {
    use pyo3::types as py;
    let base = [
        (object.is_instance_of::<py::PyDict>(), "dict"),
        (object.is_instance_of::<py::PyList>(), "list"),
        (object.is_instance_of::<py::PyTuple>(), "tuple"),
        (object.is_instance_of::<py::PySet>(), "set"),
        (object.is_instance_of::<py::PyFrozenSet>(), "frozenset"),
        (object.is_instance_of::<py::PyString>(), "str"),
        (object.is_instance_of::<py::PyBytes>(), "bytes"),
        (object.is_instance_of::<py::PyInt>(), "int"),
        (object.is_instance_of::<py::PyFloat>(), "float"),
        (object.is_instance_of::<py::PyDateTime>(), "datetime"),
        (object.is_instance_of::<py::PyDate>(), "date"),
    ]
    .into_iter()
    .find_map(|(is, name)| is.then_some(name));
    let reason = if let Some(base) = base {
        format!(
            "a subclass would come back as a plain {base}; return {base}(...) of it, or use backend=None to keep it in \
             this process"
        )
    } else if object.hasattr("__next__").unwrap_or(false) {
        "it can be read only once; return a list of its items".into()
    } else {
        "it is none of the types that can be; return one of those, such as a dataclass, or use backend=None to keep it in \
         this process"
            .into()
    };
    Stop::refused(object, reason)
}
