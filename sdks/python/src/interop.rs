//! Keys and values that the other cachekit SDKs read and write: `interop/v1`, as `docs/design/0010-interop.md` specifies it.
//!
//! A closed set of types, one encoding each. What is not in it raises: a key that another language makes in another way
//! would be a miss for ever, in silence.

use cachekit_runtime::error::{Error, ErrorCode};
use cachekit_runtime::key::{KeyHash, MAX_KEY_BYTES};
use cachekit_runtime::native::Writer;
use pyo3::exceptions::PyUnicodeError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyFrozenSet, PyInt, PyList, PySet, PyString,
    PyTuple, PyType,
};

use crate::decode::{DecodeFailure, decode_portable};
use crate::errors;
use crate::failure::{EncodeFailure, Step, Stop};
use crate::types::is_enum;

/// Most bytes that a value takes.
const MAX_VALUE_BYTES: usize = 512 << 20;

/// Most characters of a segment.
const SEGMENT: usize = 64;

/// Namespaces that a cachekit service takes for its own.
const RESERVED: [&str; 2] = ["ns", "nsapi"];

/// What ISO 8601 texts of a value stand behind, and the classes that they are of.
const MARKS: [(&str, &str); 3] = [
    ("__datetime__", "datetime"),
    ("__date__", "date"),
    ("__time__", "time"),
];

/// Adds the functions to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(generate_interop_key, module)?)?;
    module.add_function(wrap_pyfunction!(encode_interop_value, module)?)?;
    module.add_function(wrap_pyfunction!(decode_interop_value, module)?)
}

/// The key of a call in interop mode: `{namespace}:{operation}:{hash}`.
#[pyfunction]
fn generate_interop_key(
    namespace: &Bound<'_, PyAny>,
    operation: &Bound<'_, PyAny>,
    args: &Bound<'_, PyAny>,
) -> PyResult<String> {
    let py = args.py();
    let namespace = segment(namespace, "namespace")?;
    if RESERVED.contains(&&*namespace) {
        let reason = "a cachekit service keeps it to itself; choose another one";
        return Err(no_segment(py, "namespace", &namespace, reason));
    }
    let operation = segment(operation, "operation")?;
    let args: Vec<_> = if let Ok(list) = args.cast::<PyList>() {
        list.iter().collect()
    } else if let Ok(tuple) = args.cast::<PyTuple>() {
        tuple.iter().collect()
    } else {
        let reason = "give the arguments as one list or tuple";
        return Err(refused(
            py,
            "args",
            &crate::failure::type_name(args),
            reason,
        ));
    };
    let mut out = Writer::with_capacity(128, MAX_KEY_BYTES);
    let hash = arguments(py, &args, &mut out).map_err(|(at, failure)| {
        let root = at.map_or_else(|| "args".to_owned(), |at| format!("args[{at}]"));
        raise(py, failure, &root)
    })?;
    Ok(format!("{namespace}:{operation}:{hash}"))
}

/// The hash of a call's arguments; on failure, which one it was.
fn arguments(
    py: Python<'_>,
    args: &[Bound<'_, PyAny>],
    out: &mut Writer,
) -> Result<KeyHash, (Option<usize>, EncodeFailure)> {
    let mut walk = Walk {
        py,
        out,
        in_key: true,
    };
    let head = walk.out.enter().and_then(|()| walk.out.array(args.len()));
    head.map_err(|error| (None, EncodeFailure::TooLarge(error)))?;
    for (at, arg) in args.iter().enumerate() {
        walk.object(arg)
            .map_err(|stop| (Some(at), stop.finish(arg)))?;
    }
    Ok(KeyHash::of(out.as_bytes()))
}

/// The bytes of a value in interop mode: one MessagePack document, the only one for that value.
#[pyfunction]
fn encode_interop_value<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut out = Writer::with_capacity(256, MAX_VALUE_BYTES);
    let mut walk = Walk {
        py,
        out: &mut out,
        in_key: false,
    };
    let step = walk.object(value);
    step.map_err(|stop| raise(py, stop.finish(value), "value"))?;
    Ok(PyBytes::new(py, out.as_bytes()))
}

/// The value of such bytes, whoever wrote them: any well-formed document is read, and no more than one.
#[pyfunction]
fn decode_interop_value<'py>(data: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = data.py();
    let copied;
    let bytes = if let Ok(bytes) = data.cast::<PyBytes>() {
        bytes.as_bytes()
    } else {
        copied = pyo3::buffer::PyBuffer::<u8>::get(data)?.to_vec(py)?;
        &copied
    };
    let value = decode_portable(py, bytes).map_err(|failure| match failure {
        DecodeFailure::Corrupt(error) => {
            let reason = error.context().find(|(name, _)| *name == "reason");
            corrupt(py, reason.map_or("", |(_, reason)| reason))
        }
        DecodeFailure::Raised(error) => error,
    })?;
    let has_mark = MARKS.iter().any(|(mark, _)| {
        let mark = mark.as_bytes();
        bytes.windows(mark.len()).any(|window| window == mark)
    });
    if has_mark { revive(value) } else { Ok(value) }
}

/// The value with times in place of the maps that stand for them.
fn revive(value: Bound<'_, PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let py = value.py();
    if let Ok(list) = value.cast::<PyList>() {
        for (at, item) in list.iter().enumerate() {
            list.set_item(at, revive(item)?)?;
        }
        return Ok(value);
    }
    let Ok(dict) = value.cast::<PyDict>() else {
        return Ok(value);
    };
    for (mark, class) in MARKS {
        let marked = dict.get_item(mark)?;
        if marked.is_some_and(|marked| marked.is(PyBool::new(py, true)))
            && let Some(text) = dict.get_item("value")?
            && let Ok(text) = text.cast::<PyString>()
        {
            let text = text.to_str()?;
            // Not before 3.11 does Python read the "Z" that others write.
            let text = text
                .strip_suffix(['Z', 'z'])
                .map_or_else(|| text.to_owned(), |text| format!("{text}+00:00"));
            let class = py.import("datetime")?.getattr(class)?;
            return class
                .call_method1("fromisoformat", (text,))
                .map_err(|error| corrupt(py, &error.value(py).to_string()));
        }
    }
    for (key, item) in dict.copy()?.iter() {
        dict.set_item(key, revive(item)?)?;
    }
    Ok(value)
}

/// A part of a key: it fully matches `[a-z0-9][a-z0-9._-]{0,63}` and has no two dots side by side, which services refuse.
fn segment(given: &Bound<'_, PyAny>, what: &str) -> PyResult<String> {
    let py = given.py();
    let Ok(text) = given.cast::<PyString>() else {
        let reason = "it must be a str";
        return Err(no_segment(py, what, &given.repr()?.to_string(), reason));
    };
    let text = text.to_string_lossy().into_owned();
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let matches = text.len() <= SEGMENT
        && text.bytes().next().is_some_and(is_plain)
        && text
            .bytes()
            .all(|byte| is_plain(byte) || b"._-".contains(&byte))
        && !text.contains("..");
    if matches {
        return Ok(text);
    }
    let reason = "it takes 1 to 64 of a-z, 0-9, '.', '_' and '-', begins with a letter or digit, and has no '..'";
    Err(no_segment(py, what, &format!("{text:?}"), reason))
}

struct Walk<'a, 'py> {
    py: Python<'py>,
    out: &'a mut Writer,
    /// Whether it is an argument: integral floats are integers then, and times are numbers.
    in_key: bool,
}

impl<'py> Walk<'_, 'py> {
    /// Writes an object. Subclasses of plain types are written as what they are made of, whatever methods they have.
    fn object(&mut self, object: &Bound<'py, PyAny>) -> Step {
        if object.is_none() {
            return Ok(self.out.nil()?);
        }
        if let Ok(flag) = object.cast::<PyBool>() {
            return Ok(self.out.bool(flag.is_true())?);
        }
        if object.is_instance_of::<PyInt>() {
            return self.integer(object);
        }
        if let Ok(float) = object.cast::<PyFloat>() {
            // SAFETY: a float, or of a subclass.
            return self.float(object, unsafe { ffi::PyFloat_AS_DOUBLE(float.as_ptr()) });
        }
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(self.out.str(utf8(text)?)?);
        }
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(self.out.bin(bytes.as_bytes())?);
        }
        if let Ok(bytes) = object.cast::<PyByteArray>() {
            return Ok(self.out.bin(&bytes.to_vec())?);
        }
        self.container(object)
    }

    fn container(&mut self, object: &Bound<'py, PyAny>) -> Step {
        self.out.enter()?;
        if let Ok(list) = object.cast::<PyList>() {
            self.array(object, &list.iter().collect::<Vec<_>>())?;
        } else if let Ok(tuple) = object.cast::<PyTuple>() {
            self.array(object, &tuple.iter().collect::<Vec<_>>())?;
        } else if let Ok(dict) = object.cast::<PyDict>() {
            self.map(object, dict)?;
        } else if self.in_key
            && let Ok(set) = object.cast::<PySet>()
        {
            self.set(object, set.iter().collect())?;
        } else if self.in_key
            && let Ok(set) = object.cast::<PyFrozenSet>()
        {
            self.set(object, set.iter().collect())?;
        } else {
            self.rare(object)?;
        }
        self.out.leave();
        Ok(())
    }

    fn integer(&mut self, object: &Bound<'py, PyAny>) -> Step {
        let mut overflow = 0;
        // SAFETY: an int, or of a subclass, whose own digits are read; the exception is cleared.
        unsafe {
            let value = ffi::PyLong_AsLongLongAndOverflow(object.as_ptr(), &raw mut overflow);
            if overflow == 0 {
                return Ok(self.out.int(value)?);
            }
            if overflow > 0 {
                let value = ffi::PyLong_AsUnsignedLongLong(object.as_ptr());
                if ffi::PyErr_Occurred().is_null() {
                    return Ok(self.out.uint(value)?);
                }
                ffi::PyErr_Clear();
            }
        }
        let reason = "it is outside -2**63 to 2**64 - 1; give its text";
        Err(Stop::refused(object, reason))
    }

    #[expect(
        clippy::cast_sign_loss,
        reason = "what is cast was compared with the bounds before"
    )]
    fn float(&mut self, object: &Bound<'py, PyAny>, value: f64) -> Step {
        const LOWEST: f64 = -9_223_372_036_854_775_808.0;
        const ABOVE: f64 = 18_446_744_073_709_551_616.0;
        if !value.is_finite() {
            let reason = "NaN and infinities are not part of interop/v1; give None, or text";
            return Err(Stop::refused(object, reason));
        }
        if self.in_key && value.fract() == 0.0 && (LOWEST..ABOVE).contains(&value) {
            let written = if value < 0.0 {
                self.out.int(value as i64)
            } else {
                self.out.uint(value as u64)
            };
            return Ok(written?);
        }
        Ok(self.out.float(value)?)
    }

    fn array(&mut self, whole: &Bound<'py, PyAny>, items: &[Bound<'py, PyAny>]) -> Step {
        self.out.array(items.len())?;
        for (at, item) in items.iter().enumerate() {
            self.object(item)
                .map_err(|stop| stop.within(whole.as_ptr(), format!("[{at}]")))?;
        }
        Ok(())
    }

    /// The items in the order of their keys' UTF-8, which is that of their code points.
    fn map(&mut self, whole: &Bound<'py, PyAny>, dict: &Bound<'py, PyDict>) -> Step {
        let items: Vec<_> = dict.iter().collect();
        let mut sorted = Vec::with_capacity(items.len());
        for (key, value) in &items {
            let within = |stop: Box<Stop>| stop.within(whole.as_ptr(), ".keys()");
            let Ok(text) = key.cast::<PyString>() else {
                return Err(within(Stop::refused(key, "keys of maps must be str")));
            };
            sorted.push((utf8(text).map_err(within)?, key, value));
        }
        sorted.sort_by_key(|(text, ..)| *text);
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(Stop::refused(pair[0].1, "two keys of the map are one text")
                .within(whole.as_ptr(), ".keys()"));
        }
        self.out.map(sorted.len())?;
        for (text, key, value) in sorted {
            self.out.str(text)?;
            self.object(value)
                .map_err(|stop| stop.under(whole.as_ptr(), key))?;
        }
        Ok(())
    }

    /// The elements in the order of their bytes, each once.
    fn set(&mut self, whole: &Bound<'py, PyAny>, elements: Vec<Bound<'py, PyAny>>) -> Step {
        let mut encoded = Vec::with_capacity(elements.len());
        for element in elements {
            let mut out = Writer::new(MAX_KEY_BYTES);
            let mut walk = Walk {
                py: self.py,
                out: &mut out,
                in_key: true,
            };
            walk.object(&element)
                .map_err(|stop| stop.within(whole.as_ptr(), "{…}"))?;
            encoded.push(out.into_vec());
        }
        encoded.sort_unstable();
        encoded.dedup();
        self.out.array(encoded.len())?;
        for element in encoded {
            self.out.raw(&element)?;
        }
        Ok(())
    }

    /// Types of the standard library.
    fn rare(&mut self, object: &Bound<'py, PyAny>) -> Step {
        let is = |module, name| is_of(object, module, name);
        if is("datetime", "datetime")? {
            return if self.in_key {
                let seconds = unix_seconds(object)?;
                self.float(object, seconds)
            } else {
                self.mark("__datetime__", object)
            };
        }
        if self.in_key {
            if is_enum(self.py, object.get_type_ptr()) {
                return self.object(&object.getattr("value")?);
            }
            if is("uuid", "UUID")? || is("decimal", "Decimal")? {
                return Ok(self.out.str(utf8(&object.str()?)?)?);
            }
            if is("pathlib", "PurePath")? {
                let text = object.call_method0("as_posix")?;
                return Ok(self.out.str(utf8(text.cast().map_err(PyErr::from)?)?)?);
            }
            let reason = "arguments in interop/v1 are None, bool, int, float, str, bytes, list, tuple, dict with str keys, set, \
                          datetime with a zone, UUID, Enum, path and Decimal; give one of those";
            return Err(Stop::refused(object, reason));
        }
        if is("datetime", "date")? {
            return self.mark("__date__", object);
        }
        if is("datetime", "time")? {
            return self.mark("__time__", object);
        }
        let reason = "values in interop/v1 are None, bool, int, float, str, bytes, list, tuple, dict with str keys, datetime, date \
                      and time; return one of those";
        Err(Stop::refused(object, reason))
    }

    /// A map that stands for a time.
    fn mark(&mut self, mark: &str, object: &Bound<'py, PyAny>) -> Step {
        let text = object.call_method0("isoformat")?;
        self.out.map(2)?;
        self.out.str(mark)?;
        self.out.bool(true)?;
        self.out.str("value")?;
        Ok(self.out.str(utf8(text.cast().map_err(PyErr::from)?)?)?)
    }
}

/// Seconds since 1970: whole microseconds, rounded down, by one division.
#[expect(
    clippy::cast_precision_loss,
    reason = "the rounding is what is specified"
)]
fn unix_seconds(moment: &Bound<'_, PyAny>) -> Result<f64, Box<Stop>> {
    let py = moment.py();
    if moment.call_method0("utcoffset")?.is_none() {
        let reason = "it has no time zone, so other machines would mean another moment; give it one, such as timezone.utc";
        return Err(Stop::refused(moment, reason));
    }
    let datetime = py.import("datetime")?;
    let utc = datetime.getattr("timezone")?.getattr("utc")?;
    let epoch = datetime
        .getattr("datetime")?
        .call_method1("fromtimestamp", (0, utc))?;
    let since = moment.call_method1("__sub__", (epoch,))?;
    let part = |name| since.getattr(name)?.extract::<i64>();
    let micros = (part("days")? * 86_400 + part("seconds")?) * 1_000_000 + part("microseconds")?;
    Ok(micros as f64 / 1e6)
}

/// Whether it is an instance of a class of a module that somebody must have imported to make one.
fn is_of(object: &Bound<'_, PyAny>, module: &str, name: &str) -> PyResult<bool> {
    let modules = object.py().import("sys")?.getattr("modules")?;
    let Ok(module) = modules.get_item(module) else {
        return Ok(false);
    };
    match module.getattr_opt(name)? {
        Some(class) if class.is_instance_of::<PyType>() => {
            let (kind, class) = (object.get_type_ptr(), class.as_ptr().cast());
            // SAFETY: both are types, and alive.
            Ok(unsafe { ffi::PyType_IsSubtype(kind, class) != 0 })
        }
        _ => Ok(false),
    }
}

/// The text's UTF-8.
fn utf8<'a>(text: &'a Bound<'_, PyString>) -> Result<&'a str, Box<Stop>> {
    let py = text.py();
    text.to_str().map_err(|error| {
        if error.is_instance_of::<PyUnicodeError>(py) {
            Stop::refused(text, "it has a lone surrogate, which UTF-8 cannot encode")
        } else {
            error.into()
        }
    })
}

fn raise(py: Python<'_>, failure: EncodeFailure, root: &str) -> PyErr {
    match failure {
        EncodeFailure::Refused(what) => {
            let path = format!("{root}{}", what.path);
            refused(py, &path, &what.type_name, &what.reason)
        }
        EncodeFailure::TooLarge(error) | EncodeFailure::Failed(error) => errors::raise(py, error),
        EncodeFailure::Raised(error) => error,
    }
}

fn refused(py: Python<'_>, path: &str, type_name: &str, reason: &str) -> PyErr {
    let error = Error::new(ErrorCode::InteropUnsupported)
        .with("path", path)
        .with("type", type_name)
        .with("reason", reason);
    errors::raise(py, error)
}

fn no_segment(py: Python<'_>, segment: &str, value: &str, reason: &str) -> PyErr {
    let error = Error::new(ErrorCode::InteropSegment)
        .with("segment", segment)
        .with("value", value)
        .with("reason", reason);
    errors::raise(py, error)
}

fn corrupt(py: Python<'_>, reason: &str) -> PyErr {
    errors::raise(
        py,
        Error::new(ErrorCode::InteropCorrupt).with("reason", reason),
    )
}
