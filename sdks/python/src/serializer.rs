//! How the values of a function become bytes: in a way of ours, or by an object of somebody else's.
//!
//! Bytes serve the remote tier and values that are kept sealed, so both ask here. What an object raises is no reason for a call
//! to fail: it makes a value that cannot be stored, or an entry that does not open. What is not ours to swallow goes on.

use std::ffi::c_int;

use bytes::Bytes;
use cachekit_runtime::error::{Error, ErrorCode};
use cachekit_runtime::generated::wire;
use cachekit_runtime::native::Writer;
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::decode::{DecodeFailure, decode_portable, decode_value};
use crate::encode::{EncodeFailure, encode_value};
use crate::errors;
use crate::failure::type_name;
use crate::interop;
use crate::plans::Types;
use crate::portable::Portable;
use crate::types::must_propagate;

/// The serializer of a function.
pub(crate) enum Serializer {
    /// The native encoding, with the classes that values may have.
    Native(Types),
    /// Plain MessagePack.
    MessagePack,
    /// What the SDKs of all languages agree on.
    Interop,
    /// One that is called.
    Object(Object),
}

/// A serializer that is called.
pub(crate) struct Object {
    wire: wire::Serializer,
    serialize: Py<PyAny>,
    deserialize: Py<PyAny>,
}

/// Bytes that are read.
#[derive(Clone, Copy)]
pub(crate) enum Source<'a, 'py> {
    /// Out of the remote tier.
    Stored(&'a Bytes),
    /// Kept in this process.
    Kept(&'a Bound<'py, PyBytes>),
}

impl Serializer {
    /// What `_serializing.py` made of the option.
    pub(crate) fn new(choice: Option<&Bound<'_, PyAny>>, types: Types) -> PyResult<Self> {
        let Some(choice) = choice else {
            return Ok(Self::Native(types));
        };
        if let Ok(name) = choice.extract::<String>() {
            return match name.as_str() {
                "native" => Ok(Self::Native(types)),
                "msgpack" => Ok(Self::MessagePack),
                "interop" => Ok(Self::Interop),
                _ => Err(PyValueError::new_err(name)),
            };
        }
        let (name, serialize, deserialize): (String, _, _) = choice.extract()?;
        let wire = match name.as_str() {
            "json" => wire::Serializer::Json,
            "arrow" => wire::Serializer::Arrow,
            "pickle" => wire::Serializer::Pickle,
            "custom" => wire::Serializer::Custom,
            _ => return Err(PyValueError::new_err(name)),
        };
        Ok(Self::Object(Object {
            wire,
            serialize,
            deserialize,
        }))
    }

    /// How an entry's header names it.
    pub(crate) fn wire(&self) -> wire::Serializer {
        match self {
            Self::Native(_) => wire::Serializer::Native,
            Self::MessagePack | Self::Interop => wire::Serializer::Messagepack,
            Self::Object(object) => object.wire,
        }
    }

    /// Whether it takes types that nobody else knows.
    pub(crate) fn is_foreign(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    /// Whether what it makes is not to be compressed: Arrow reads where the bytes lie, and has a compression of its own.
    pub(crate) fn reads_in_place(&self) -> bool {
        self.wire() == wire::Serializer::Arrow
    }

    /// Shows the collector what is held here.
    pub(crate) fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        match self {
            Self::Native(types) => types.each_object(visit),
            Self::MessagePack | Self::Interop => {}
            Self::Object(object) => {
                visit(object.serialize.as_ptr());
                visit(object.deserialize.as_ptr());
            }
        }
    }

    /// Writes the bytes of `value`.
    pub(crate) fn encode(
        &self,
        value: Borrowed<'_, '_, PyAny>,
        out: &mut Writer,
    ) -> Result<(), EncodeFailure> {
        match self {
            Self::Native(types) => encode_value(value, Some(types), out),
            Self::MessagePack => {
                Portable::MessagePack.check(value)?;
                encode_value(value, None, out)
            }
            Self::Interop => interop::encode(value, out),
            Self::Object(object) => object.encode(value, out),
        }
    }

    /// The value of `source`.
    pub(crate) fn decode<'py>(
        &self,
        py: Python<'py>,
        source: Source<'_, 'py>,
    ) -> Result<Bound<'py, PyAny>, DecodeFailure> {
        match self {
            Self::Native(types) => decode_value(py, Some(types), source.bytes()),
            Self::MessagePack => decode_portable(py, source.bytes()),
            Self::Interop => interop::decode(py, source.bytes()),
            Self::Object(object) => object.decode(py, source),
        }
    }
}

impl Object {
    fn encode(
        &self,
        value: Borrowed<'_, '_, PyAny>,
        out: &mut Writer,
    ) -> Result<(), EncodeFailure> {
        let py = value.py();
        if self.wire == wire::Serializer::Json {
            Portable::Json.check(value)?;
        }
        let made = self.serialize.bind(py).call1((value,));
        let made = made.map_err(|error| not_serialized(value, error))?;
        let bytes = View::of(&made).map_err(|error| not_bytes(value, &made, error))?;
        out.raw(bytes.bytes()).map_err(EncodeFailure::TooLarge)
    }

    fn decode<'py>(
        &self,
        py: Python<'py>,
        source: Source<'_, 'py>,
    ) -> Result<Bound<'py, PyAny>, DecodeFailure> {
        let value = match (source, self.wire) {
            (Source::Kept(bytes), _) => self.deserialize.bind(py).call1((bytes,)),
            (Source::Stored(bytes), wire::Serializer::Arrow) => {
                Bound::new(py, Stored(bytes.clone()))
                    .and_then(|stored| self.deserialize.bind(py).call1((stored,)))
            }
            (Source::Stored(bytes), _) => {
                let bytes = PyBytes::new(py, bytes);
                self.deserialize.bind(py).call1((bytes,))
            }
        };
        value.map_err(|error| {
            if must_propagate(py, &error) {
                return DecodeFailure::Raised(error);
            }
            let reason = format!("its serializer raised {}", described(py, &error));
            DecodeFailure::Corrupt(
                Error::new(ErrorCode::ValueCorrupt)
                    .with("reason", reason)
                    .with_source(error),
            )
        })
    }
}

impl<'a> Source<'a, '_> {
    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Stored(bytes) => bytes,
            Self::Kept(bytes) => bytes.as_bytes(),
        }
    }
}

fn described(py: Python<'_>, error: &PyErr) -> String {
    let name = type_name(error.value(py));
    match error.value(py).str() {
        Ok(text) => format!("{name}: {text}"),
        Err(_) => name,
    }
}

#[cold]
fn not_serialized(value: Borrowed<'_, '_, PyAny>, error: PyErr) -> EncodeFailure {
    let py = value.py();
    if must_propagate(py, &error) {
        return EncodeFailure::Raised(error);
    }
    let reason = format!("its serializer raised {}", described(py, &error));
    EncodeFailure::Failed(unsupported(value, &reason).with_source(error))
}

#[cold]
fn not_bytes(
    value: Borrowed<'_, '_, PyAny>,
    made: &Bound<'_, PyAny>,
    error: PyErr,
) -> EncodeFailure {
    if must_propagate(value.py(), &error) {
        return EncodeFailure::Raised(error);
    }
    let reason = format!("its serializer returned {}, not bytes", type_name(made));
    EncodeFailure::Failed(unsupported(value, &reason))
}

fn unsupported(value: Borrowed<'_, '_, PyAny>, reason: &str) -> Error {
    Error::new(ErrorCode::ValueUnsupported)
        .with("path", "result")
        .with("type", type_name(&value))
        .with("reason", reason)
}

/// The bytes of an object, for as long as this lives.
pub(crate) struct View(ffi::Py_buffer);

impl View {
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let mut view = ffi::Py_buffer::new();
        // SAFETY: a live object, and a view that is not used before it is filled.
        let status =
            unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut view, ffi::PyBUF_SIMPLE) };
        if status < 0 {
            return Err(PyErr::fetch(object.py()));
        }
        Ok(Self(view))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        if self.0.buf.is_null() {
            return &[];
        }
        // SAFETY: the view holds its owner, and is contiguous.
        unsafe { std::slice::from_raw_parts(self.0.buf.cast(), self.0.len.cast_unsigned()) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        // SAFETY: filled by `PyObject_GetBuffer`, on this thread, which is attached.
        unsafe { ffi::PyBuffer_Release(&raw mut self.0) };
    }
}

/// The bytes of an entry, which whoever reads them in place keeps.
#[pyclass(frozen, module = "cachekit._native")]
struct Stored(Bytes);

#[pymethods]
impl Stored {
    /// # Safety
    /// Called by the interpreter.
    unsafe fn __getbuffer__(
        slf: &Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &slf.get().0;
        let (data, length) = (bytes.as_ptr().cast_mut().cast(), bytes.len().cast_signed());
        // SAFETY: the view holds the object, which holds the bytes; nobody may write through it.
        let status = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), data, length, 1, flags) };
        if status < 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}

/// The bytes of a value, as `codec` makes them.
#[pyfunction]
pub(crate) fn serialize<'py>(
    codec: &Bound<'py, PyAny>,
    value: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut out = Writer::with_capacity(256, usize::MAX);
    match Serializer::new(Some(codec), Types::new(py, None, None))?
        .encode(value.as_borrowed(), &mut out)
    {
        Ok(()) => Ok(PyBytes::new(py, out.as_bytes())),
        Err(failure) => Err(errors::raise(py, failure.value_error("result")?)),
    }
}

/// The value of bytes that `codec` made.
#[pyfunction]
pub(crate) fn deserialize<'py>(
    codec: &Bound<'py, PyAny>,
    data: &Bound<'py, PyBytes>,
) -> PyResult<Bound<'py, PyAny>> {
    let py = data.py();
    let value =
        Serializer::new(Some(codec), Types::new(py, None, None))?.decode(py, Source::Kept(data));
    value.map_err(|failure| failure.raised(py))
}

/// Whether text in Arrow's views, of sixteen bytes each, lies within `data`, and it and `data` are ASCII.
#[pyfunction]
pub(crate) fn is_ascii(
    views: Option<&Bound<'_, PyAny>>,
    data: Vec<Bound<'_, PyAny>>,
) -> PyResult<bool> {
    let data = data
        .into_iter()
        .map(|data| View::of(&data))
        .collect::<PyResult<Vec<_>>>()?;
    let views = views.map(View::of).transpose()?;
    let views = views.as_ref().map_or(&[][..], View::bytes);
    let (views, rest) = views.as_chunks::<16>();
    Ok(rest.is_empty()
        && data.iter().all(|data| data.bytes().is_ascii())
        && views.iter().all(|view| lies_within(view, &data)))
}

/// Text of up to twelve bytes lies in the view itself: length, text. Any other has its length, its first four bytes, which
/// data, and where in it.
fn lies_within(view: &[u8; 16], data: &[View]) -> bool {
    let [length, _, index, offset] = [0, 4, 8, 12].map(|at| {
        u32::from_ne_bytes([view[at], view[at + 1], view[at + 2], view[at + 3]]) as usize
    });
    if length <= 12 {
        return view.is_ascii();
    }
    let text = data
        .get(index)
        .and_then(|data| data.bytes().get(offset..)?.get(..length));
    text.is_some_and(|text| text.starts_with(&view[4..8]))
}

/// Makes the type with the module: made later, it could be half made in a forked child.
pub(crate) fn register(py: Python<'_>) {
    py.get_type::<Stored>();
}
