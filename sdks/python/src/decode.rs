//! Bytes to Python objects, with nothing in between.
//!
//! The bytes may come from anybody who can write to the remote. So the reader weighs every declared length against what is
//! left, depth is bounded, every range is checked, and whatever Python refuses (an unhashable key, say) is `value_corrupt`.

use std::ptr::NonNull;

use cachekit_runtime::error::Error;
use cachekit_runtime::native::{Reader, Token, types};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::classes;
use crate::errors;
use crate::memo;
use crate::plans::Types;
use crate::temporal;
use crate::types::{Known, must_propagate, require};

/// Why bytes gave no object.
#[derive(Debug)]
pub(crate) enum DecodeFailure {
    /// They are not a value: a `value_corrupt` error.
    Corrupt(Error),
    /// Python raised what is no verdict on the bytes: an interruption, or the end of memory.
    Raised(PyErr),
}

impl DecodeFailure {
    /// As what a caller sees.
    pub(crate) fn raised(self, py: Python<'_>) -> PyErr {
        match self {
            Self::Corrupt(error) => errors::raise(py, error),
            Self::Raised(error) => error,
        }
    }
}

/// A failure on its way up: one word.
pub(crate) type Fail = Box<DecodeFailure>;

impl From<Error> for Fail {
    #[cold]
    fn from(error: Error) -> Self {
        Box::new(DecodeFailure::Corrupt(error))
    }
}

impl From<PyErr> for Fail {
    #[cold]
    fn from(error: PyErr) -> Self {
        Box::new(DecodeFailure::Raised(error))
    }
}

/// The exception that is set.
#[cold]
#[inline(never)]
#[expect(
    clippy::unnecessary_box_returns,
    reason = "a failure on its way up is boxed"
)]
fn raised(py: Python<'_>) -> Fail {
    PyErr::fetch(py).into()
}

type Owned = NonNull<ffi::PyObject>;

/// Reads the one value that `bytes` are.
pub(crate) fn decode_value<'py>(
    py: Python<'py>,
    types: Option<&Types>,
    bytes: &[u8],
) -> Result<Bound<'py, PyAny>, DecodeFailure> {
    read(py, types, Reader::new(bytes))
}

/// Reads the one value that `bytes` are as plain MessagePack.
pub(crate) fn decode_portable<'py>(
    py: Python<'py>,
    bytes: &[u8],
) -> Result<Bound<'py, PyAny>, DecodeFailure> {
    read(py, None, Reader::portable(bytes))
}

fn read<'py>(
    py: Python<'py>,
    types: Option<&Types>,
    reader: Reader<'_>,
) -> Result<Bound<'py, PyAny>, DecodeFailure> {
    let mut walk = Walk { py, reader, types };
    let value = walk.object().map_err(|failure| match *failure {
        DecodeFailure::Raised(error) if !must_propagate(py, &error) => {
            DecodeFailure::Corrupt(walk.reader.corrupt(&error.value(py).to_string()))
        }
        failure => failure,
    })?;
    // SAFETY: the walk gives a reference of our own.
    let value = unsafe { Bound::from_owned_ptr(py, value.as_ptr()) };
    walk.reader.finish().map_err(DecodeFailure::Corrupt)?;
    Ok(value)
}

struct Walk<'a, 'py> {
    py: Python<'py>,
    reader: Reader<'a>,
    types: Option<&'a Types>,
}

impl<'a, 'py> Walk<'a, 'py> {
    fn object(&mut self) -> Result<Owned, Fail> {
        let token = self.reader.token()?;
        self.of(token)
    }

    /// The object that begins with `token`; a reference of the caller's own.
    #[inline(always)]
    #[expect(
        clippy::inline_always,
        reason = "one frame a container instead of two, and no call for a leaf"
    )]
    fn of(&mut self, token: Token<'a>) -> Result<Owned, Fail> {
        // SAFETY: the interpreter is attached; null comes with an exception, which `owned` takes.
        unsafe {
            match token {
                Token::Str(bytes) => self.text(bytes),
                Token::Int(value) => self.owned(ffi::PyLong_FromLongLong(value)),
                Token::Map(length) => self.dict(length),
                Token::Array(length) => self.list(length),
                Token::Nil => Ok(shared(ffi::Py_None())),
                Token::Bool(true) => Ok(shared(ffi::Py_True())),
                Token::Bool(false) => Ok(shared(ffi::Py_False())),
                Token::Float(value) => self.owned(ffi::PyFloat_FromDouble(value)),
                Token::Uint(value) => self.owned(ffi::PyLong_FromUnsignedLongLong(value)),
                Token::Bin(bytes) => self.owned(ffi::PyBytes_FromStringAndSize(
                    bytes.as_ptr().cast(),
                    bytes.len().cast_signed(),
                )),
                Token::Ext(types::TUPLE) => self.tuple(),
                Token::Ext(types::SET) => self.set(false),
                Token::Ext(types::FROZENSET) => self.set(true),
                Token::Ext(type_byte) => self.ours(type_byte),
            }
        }
    }

    /// # Safety
    /// `object` is a new reference, or null with an exception set.
    #[inline]
    unsafe fn owned(&self, object: *mut ffi::PyObject) -> Result<Owned, Fail> {
        match NonNull::new(object) {
            Some(object) => Ok(object),
            None => Err(raised(self.py)),
        }
    }

    #[inline]
    fn text(&self, bytes: &[u8]) -> Result<Owned, Fail> {
        // SAFETY: the interpreter is attached; a new compact ASCII string has room for its length.
        unsafe {
            #[cfg(not(Py_3_14))]
            if let Some(text) = memo::short_text(bytes) {
                return self.owned(text);
            }
            #[cfg(not(Py_3_14))]
            if bytes.len() > 1 && bytes.is_ascii() {
                let text = ffi::PyUnicode_New(bytes.len().cast_signed(), 0x7f);
                let text = self.owned(text)?;
                let data = ffi::PyUnicode_1BYTE_DATA(text.as_ptr());
                std::ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
                return Ok(text);
            }
            self.owned(memo::new_text(bytes))
        }
    }

    #[inline]
    fn key(&mut self) -> Result<Owned, Fail> {
        match self.reader.token()? {
            Token::Str(bytes) if memo::fits(bytes) => {
                // SAFETY: the interpreter is attached.
                unsafe { self.owned(memo::text(self.py, bytes)) }
            }
            token => self.of(token),
        }
    }

    #[inline(never)]
    fn list(&mut self, length: usize) -> Result<Owned, Fail> {
        self.reader.enter()?;
        // SAFETY: the reader answers for the length. Slots that are not filled yet are null, which a list bears.
        let list = unsafe {
            let list = self.owned(ffi::PyList_New(length.cast_signed()))?;
            Bound::from_owned_ptr(self.py, list.as_ptr())
        };
        for index in 0..length {
            let token = self.reader.token()?;
            let item = self.of(token)?;
            // SAFETY: the index is below the length; the slot takes the reference.
            unsafe { ffi::PyList_SET_ITEM(list.as_ptr(), index.cast_signed(), item.as_ptr()) };
        }
        self.reader.leave();
        Ok(into_owned(list))
    }

    #[inline(never)]
    fn tuple(&mut self) -> Result<Owned, Fail> {
        let length = self.reader.array()?;
        self.reader.enter()?;
        // SAFETY: as in `list`.
        let tuple = unsafe {
            let tuple = self.owned(ffi::PyTuple_New(length.cast_signed()))?;
            Bound::from_owned_ptr(self.py, tuple.as_ptr())
        };
        for index in 0..length {
            let item = self.object()?;
            // SAFETY: the index is below the length; the slot takes the reference; nobody else has the tuple.
            unsafe { ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index.cast_signed(), item.as_ptr()) };
        }
        self.reader.leave();
        Ok(into_owned(tuple))
    }

    #[inline(never)]
    fn dict(&mut self, length: usize) -> Result<Owned, Fail> {
        self.reader.enter()?;
        // SAFETY: the reader answers for the length.
        let dict = unsafe {
            let dict = self.owned(new_dict(length))?;
            Bound::from_owned_ptr(self.py, dict.as_ptr())
        };
        for _ in 0..length {
            let key = self.key()?;
            let token = self.reader.token();
            let value = token.map_err(Fail::from).and_then(|token| self.of(token));
            // SAFETY: both references are ours; the dict takes its own.
            let inserted = unsafe {
                let inserted = match &value {
                    Ok(value) => ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()),
                    Err(_) => 0,
                };
                ffi::Py_DECREF(key.as_ptr());
                if let Ok(value) = &value {
                    ffi::Py_DECREF(value.as_ptr());
                }
                inserted
            };
            value?;
            if inserted < 0 {
                return Err(raised(self.py));
            }
        }
        // SAFETY: an exact dict.
        if unsafe { ffi::PyDict_Size(dict.as_ptr()) } != length.cast_signed() {
            return Err(self.reader.corrupt("a dict has a key twice").into());
        }
        self.reader.leave();
        Ok(into_owned(dict))
    }

    #[inline(never)]
    fn set(&mut self, frozen: bool) -> Result<Owned, Fail> {
        let length = self.reader.array()?;
        self.reader.enter()?;
        // SAFETY: null makes an empty one.
        let set = unsafe {
            let nothing = std::ptr::null_mut();
            let set = if frozen {
                ffi::PyFrozenSet_New(nothing)
            } else {
                ffi::PySet_New(nothing)
            };
            Bound::from_owned_ptr(self.py, self.owned(set)?.as_ptr())
        };
        for _ in 0..length {
            let member = self.object()?;
            // SAFETY: the member is ours; a frozen set that nobody else has may be added to.
            let added = unsafe {
                let added = ffi::PySet_Add(set.as_ptr(), member.as_ptr());
                ffi::Py_DECREF(member.as_ptr());
                added
            };
            if added < 0 {
                return Err(raised(self.py));
            }
        }
        // SAFETY: an exact set or frozenset.
        if unsafe { ffi::PySet_Size(set.as_ptr()) } != length.cast_signed() {
            return Err(self.reader.corrupt("a set has a member twice").into());
        }
        self.reader.leave();
        Ok(into_owned(set))
    }

    /// An object of a type that is not built in.
    #[inline(never)]
    fn ours(&mut self, type_byte: u8) -> Result<Owned, Fail> {
        match type_byte {
            types::RECORD => self.record(),
            _ if types::is_content(type_byte) => self.content(type_byte),
            _ => self.extension(type_byte),
        }
    }

    /// An object that Python code makes of a few values.
    #[inline(never)]
    fn content(&mut self, type_byte: u8) -> Result<Owned, Fail> {
        let Some((count, make)) = classes::content(self.py, type_byte)? else {
            return Err(self
                .reader
                .corrupt("it has a type that no value has")
                .into());
        };
        self.reader.enter()?;
        let parts = self.parts(count)?;
        self.reader.leave();
        let arguments = pyo3::types::PyTuple::new(self.py, parts)?;
        Ok(into_owned(make.call1(arguments)?))
    }

    #[inline(never)]
    fn parts(&mut self, count: usize) -> Result<Vec<Bound<'py, PyAny>>, Fail> {
        let mut parts = Vec::with_capacity(count);
        for _ in 0..count {
            let part = self.object()?;
            // SAFETY: a reference of our own.
            parts.push(unsafe { Bound::from_owned_ptr(self.py, part.as_ptr()) });
        }
        Ok(parts)
    }

    #[inline(never)]
    fn record(&mut self) -> Result<Owned, Fail> {
        let Some(types) = self.types else {
            return Err(self.reader.corrupt("it has a class").into());
        };
        self.reader.enter()?;
        let (plan, count) = classes::read_head(self.py, types, &mut self.reader)?;
        let mut parts = Vec::with_capacity(count);
        for index in 0..count {
            plan.get().read_name(index, &mut self.reader)?;
            let part = self.object()?;
            // SAFETY: a reference of our own.
            parts.push(unsafe { Bound::from_owned_ptr(self.py, part.as_ptr()) });
        }
        let count = plan.get().read_rest(&mut self.reader)?;
        parts.extend(self.parts(count)?);
        self.reader.leave();
        Ok(into_owned(plan.get().make(self.py, parts)?))
    }

    /// The object of a type that holds no others.
    #[inline(never)]
    fn extension(&mut self, type_byte: u8) -> Result<Owned, Fail> {
        let Self { py, reader, types } = self;
        let object = match type_byte {
            types::DATETIME => temporal::read_datetime(*py, reader)?,
            types::MEMBER | types::CLASS => classes::read_named(*py, *types, reader, type_byte)?,
            types::DATE => temporal::read_date(*py, reader)?,
            types::TIME => temporal::read_time(*py, reader)?,
            types::TIMEDELTA => temporal::read_delta(*py, reader)?,
            types::DECIMAL => self.decimal()?,
            types::UUID => self.uuid()?,
            types::BIG_INT => self.big_integer()?,
            types::SURROGATES => self.surrogates()?,
            _ => return Err(reader.corrupt("it has a type that no value has").into()),
        };
        Ok(into_owned(object))
    }

    fn decimal(&mut self) -> Result<Bound<'py, PyAny>, Fail> {
        let number = self.reader.str()?;
        if !is_decimal(number) {
            return Err(self.reader.corrupt("a Decimal is not a number").into());
        }
        let number_text = text(self.py, number, &self.reader)?;
        let decimal = self.class(Known::Decimal)?.call1((number_text,))?;
        // An exponent out of range is not an exception where the caller's context does not trap it.
        let is_nan = number.contains(&b'N');
        if !is_nan
            && decimal
                .call_method0(crate::once::text!(self.py, "is_nan"))?
                .is_truthy()?
        {
            return Err(self.reader.corrupt("a Decimal is out of range").into());
        }
        Ok(decimal)
    }

    fn uuid(&mut self) -> Result<Bound<'py, PyAny>, Fail> {
        let number = u128::from_be_bytes(*self.reader.raw::<16>()?);
        let arguments = pyo3::types::PyDict::new(self.py);
        arguments.set_item(crate::once::text!(self.py, "int"), number)?;
        Ok(self.class(Known::Uuid)?.call((), Some(&arguments))?)
    }

    fn class(&self, known: Known) -> Result<Bound<'py, PyAny>, Fail> {
        let class = require(self.py, known)?;
        // SAFETY: `require` gives a live type.
        Ok(unsafe { Bound::from_borrowed_ptr(self.py, class.cast()) })
    }

    fn big_integer(&mut self) -> Result<Bound<'py, PyAny>, Fail> {
        let bytes = self.reader.bin()?;
        let arguments = pyo3::types::PyDict::new(self.py);
        arguments.set_item(crate::once::text!(self.py, "signed"), true)?;
        let class = self.py.get_type::<pyo3::types::PyInt>();
        let number = class.call_method(
            crate::once::text!(self.py, "from_bytes"),
            (bytes, crate::once::text!(self.py, "big")),
            Some(&arguments),
        )?;
        Ok(number)
    }

    fn surrogates(&mut self) -> Result<Bound<'py, PyAny>, Fail> {
        let bytes = self.reader.bin()?;
        let (data, length) = (bytes.as_ptr().cast(), bytes.len().cast_signed());
        // SAFETY: the bytes outlive the call; null comes with an exception.
        unsafe {
            let text = ffi::PyUnicode_DecodeUTF8(data, length, c"surrogatepass".as_ptr());
            Ok(Bound::from_owned_ptr_or_err(self.py, text)?)
        }
    }
}

/// A str of bytes that must be UTF-8.
pub(crate) fn text<'py>(
    py: Python<'py>,
    bytes: &[u8],
    reader: &Reader<'_>,
) -> Result<Bound<'py, PyAny>, Fail> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(pyo3::types::PyString::new(py, text).into_any()),
        Err(_) => Err(reader.corrupt("text is not UTF-8").into()),
    }
}

/// A new reference to an object that always lives.
///
/// # Safety
/// `object` is live.
#[inline]
unsafe fn shared(object: *mut ffi::PyObject) -> Owned {
    // SAFETY: the caller's.
    unsafe {
        ffi::Py_INCREF(object);
        NonNull::new_unchecked(object)
    }
}

#[inline]
fn into_owned(object: Bound<'_, PyAny>) -> Owned {
    // SAFETY: a bound object is never null.
    unsafe { NonNull::new_unchecked(object.into_ptr()) }
}

/// An empty dict with room for `length` items.
#[inline]
unsafe fn new_dict(length: usize) -> *mut ffi::PyObject {
    #[cfg(all(not(Py_3_14), unix))]
    {
        unsafe extern "C" {
            fn _PyDict_NewPresized(length: ffi::Py_ssize_t) -> *mut ffi::PyObject;
        }
        // SAFETY: exported by every CPython of these versions.
        unsafe { _PyDict_NewPresized(length.cast_signed()) }
    }
    #[cfg(not(all(not(Py_3_14), unix)))]
    {
        let _ = length;
        // SAFETY: the interpreter is attached.
        unsafe { ffi::PyDict_New() }
    }
}

/// Whether it is what `str` of a `Decimal` gives: digits with a point and an exponent, an infinity or a NaN.
fn is_decimal(text: &[u8]) -> bool {
    let digits = |text: &[u8]| text.iter().all(u8::is_ascii_digit);
    let unsigned = text.strip_prefix(b"-").unwrap_or(text);
    if unsigned == b"Infinity" {
        return true;
    }
    let nan = unsigned
        .strip_prefix(b"s")
        .unwrap_or(unsigned)
        .strip_prefix(b"NaN");
    if let Some(payload) = nan {
        return digits(payload);
    }
    let mut parts = unsigned.splitn(2, |byte| *byte == b'E');
    let number = parts.next().unwrap_or_default();
    let exponent_holds = parts.next().is_none_or(|exponent| match exponent {
        [b'+' | b'-', rest @ ..] => !rest.is_empty() && digits(rest),
        _ => false,
    });
    let mut sides = number.splitn(2, |byte| *byte == b'.');
    let whole = sides.next().unwrap_or_default();
    let fraction_holds = sides
        .next()
        .is_none_or(|side| !side.is_empty() && digits(side));
    exponent_holds && !whole.is_empty() && digits(whole) && fraction_holds
}
