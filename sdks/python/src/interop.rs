//! Keys and values that the other cachekit SDKs read and write: `interop/v1`, as `docs/design/0010-interop.md` specifies it.
//!
//! A closed set of types, one encoding each. What names, numbers and documents are is the runtime's business; here Python objects
//! become those.

use cachekit_runtime::error::{Error, ErrorCode};
use cachekit_runtime::interop::{self, MAX_VALUE_BYTES, Number};
use cachekit_runtime::key::{KeyHash, MAX_KEY_BYTES};
use cachekit_runtime::native::{Reader, Token, Writer};
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
use crate::int64::Int64;
use crate::types::{is_enum, must_propagate};

/// What ISO 8601 texts of a value stand behind, and the classes that they are of.
const MARKS: [(&str, &str); 3] = [
    ("__datetime__", "datetime"),
    ("__date__", "date"),
    ("__time__", "time"),
];

const VALUES: &str = "values in interop/v1 are None, bool, int of 64 bits, finite float, str, bytes, list, dict with str keys, datetime, \
                      date and time; give one of those";

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
    let (namespace, operation) = (text(namespace, "namespace")?, text(operation, "operation")?);
    let identity = interop::identity(&namespace, &operation);
    let identity = identity.map_err(|error| errors::raise(py, error))?;
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
    arguments(py, &args, &mut out, |at| format!("args[{at}]"))?;
    let name = identity.entry_name(&KeyHash::of(out.as_bytes()));
    Ok(String::from_utf8_lossy(&name).into_owned())
}

/// Writes a call's arguments; gives where each of them begins. `name` calls an argument by its place.
pub(crate) fn arguments(
    py: Python<'_>,
    args: &[Bound<'_, PyAny>],
    out: &mut Writer,
    name: impl Fn(usize) -> String,
) -> PyResult<Vec<usize>> {
    let mut walk = Walk {
        py,
        out,
        kind: Kind::Argument,
    };
    let head = walk.out.enter().and_then(|()| walk.out.array(args.len()));
    head.map_err(|error| errors::raise(py, error))?;
    let mut starts = Vec::with_capacity(args.len());
    for (at, arg) in args.iter().enumerate() {
        starts.push(walk.out.len());
        walk.object(arg)
            .map_err(|stop| raise(py, stop.finish(arg), &name(at)))?;
    }
    Ok(starts)
}

/// The arguments that `arguments` wrote from `starts` on, as the objects that they mean to other languages; nothing if one of them
/// is a container.
pub(crate) fn scalars<'py>(
    py: Python<'py>,
    written: &[u8],
    starts: &[usize],
) -> PyResult<Option<Vec<Bound<'py, PyAny>>>> {
    let ends = starts.iter().skip(1).copied().chain([written.len()]);
    let mut objects = Vec::with_capacity(starts.len());
    for (start, end) in starts.iter().zip(ends) {
        let argument = &written[*start..end];
        if let Ok(Token::Array(_) | Token::Map(_)) = Reader::new(argument).peek() {
            return Ok(None);
        }
        objects.push(decode_portable(py, argument).map_err(|failure| failure.raised(py))?);
    }
    Ok(Some(objects))
}

/// The bytes of a value in interop mode: one MessagePack document, the only one for that value.
#[pyfunction]
fn encode_interop_value<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = value.py();
    let mut out = Writer::with_capacity(256, MAX_VALUE_BYTES);
    let mut walk = Walk {
        py,
        out: &mut out,
        kind: Kind::Value,
    };
    let step = walk.object(value);
    step.map_err(|stop| raise(py, stop.finish(value), "value"))?;
    Ok(PyBytes::new(py, out.as_bytes()))
}

/// Writes what a function returned: what would come back as something else is refused.
pub(crate) fn encode(
    value: Borrowed<'_, '_, PyAny>,
    out: &mut Writer,
) -> Result<(), EncodeFailure> {
    let mut walk = Walk {
        py: value.py(),
        out,
        kind: Kind::Result,
    };
    walk.object(&value).map_err(|stop| stop.finish(&value))
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
    decode(py, bytes).map_err(|failure| match failure {
        DecodeFailure::Corrupt(error) => {
            let reason = error.context().find(|(name, _)| *name == "reason");
            let reason = reason.map_or("", |(_, reason)| reason);
            let error = Error::new(ErrorCode::InteropCorrupt).with("reason", reason);
            errors::raise(py, error)
        }
        DecodeFailure::Raised(error) => error,
    })
}

/// The value of a document, whoever wrote it.
pub(crate) fn decode<'py>(
    py: Python<'py>,
    bytes: &[u8],
) -> Result<Bound<'py, PyAny>, DecodeFailure> {
    let value = decode_portable(py, bytes)?;
    // Most have none, and need not be gone through again.
    let may_have_marks = bytes.windows(2).any(|pair| pair == b"__");
    if may_have_marks {
        revive(value).map_err(|error| no_time(py, error))
    } else {
        Ok(value)
    }
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
    if let Some((class, text)) = marked(dict)? {
        let text = text.to_str()?;
        // Not before 3.11 does Python read the "Z" that others write.
        let text = text
            .strip_suffix(['Z', 'z'])
            .map_or_else(|| text.to_owned(), |text| format!("{text}+00:00"));
        let class = py.import("datetime")?.getattr(class)?;
        return class.call_method1("fromisoformat", (text,));
    }
    for (key, item) in dict.copy()?.iter() {
        dict.set_item(key, revive(item)?)?;
    }
    Ok(value)
}

/// The class and the text of the time that a map stands for.
fn marked<'py>(
    dict: &Bound<'py, PyDict>,
) -> PyResult<Option<(&'static str, Bound<'py, PyString>)>> {
    let Some(Ok(text)) = dict.get_item("value")?.map(Bound::cast_into::<PyString>) else {
        return Ok(None);
    };
    for (mark, class) in MARKS {
        let marked = dict.get_item(mark)?;
        if marked.is_some_and(|marked| marked.is(PyBool::new(dict.py(), true))) {
            return Ok(Some((class, text)));
        }
    }
    Ok(None)
}

#[cold]
fn no_time(py: Python<'_>, error: PyErr) -> DecodeFailure {
    if must_propagate(py, &error) {
        return DecodeFailure::Raised(error);
    }
    let reason = error.value(py).to_string();
    DecodeFailure::Corrupt(Error::new(ErrorCode::ValueCorrupt).with("reason", reason))
}

/// A part of a key.
fn text(given: &Bound<'_, PyAny>, what: &str) -> PyResult<String> {
    let py = given.py();
    let Ok(text) = given.cast::<PyString>() else {
        let error = Error::new(ErrorCode::InteropSegment)
            .with("segment", what)
            .with("value", given.repr()?)
            .with("reason", "it must be a str");
        return Err(errors::raise(py, error));
    };
    Ok(text.to_string_lossy().into_owned())
}

/// What an object is written as.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Integral floats are integers then, and times are numbers.
    Argument,
    Value,
    /// A value that comes back to the same function, so that it must come back as what it was.
    Result,
}

struct Walk<'a, 'py> {
    py: Python<'py>,
    out: &'a mut Writer,
    kind: Kind,
}

impl<'py> Walk<'_, 'py> {
    /// Writes an object. Subclasses of plain types are written as what they are made of, whatever methods they have.
    fn object(&mut self, object: &Bound<'py, PyAny>) -> Step {
        if self.kind == Kind::Result {
            Self::check(object)?;
        }
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

    /// Refuses what would be read back as something else.
    fn check(object: &Bound<'py, PyAny>) -> Step {
        let is = |name| {
            let class = known_class(object.py(), "datetime", name)?;
            PyResult::Ok(class.is_some_and(|class| class.is(object.get_type())))
        };
        let comes_back = object.is_none()
            || object.is_exact_instance_of::<PyBool>()
            || object.is_exact_instance_of::<PyInt>()
            || object.is_exact_instance_of::<PyFloat>()
            || object.is_exact_instance_of::<PyString>()
            || object.is_exact_instance_of::<PyBytes>()
            || object.is_exact_instance_of::<PyList>()
            || object.is_exact_instance_of::<PyDict>()
            || is("datetime")?
            || is("date")?
            || is("time")?;
        if let Ok(dict) = object.cast_exact::<PyDict>()
            && marked(dict)?.is_some()
        {
            let reason = "it would come back as a time, since it is what stands for a time; name its keys otherwise";
            return Err(Stop::refused(object, reason));
        }
        if comes_back {
            return Ok(());
        }
        let reason = if object.is_exact_instance_of::<PyTuple>() {
            "a tuple would come back as a list; return a list"
        } else {
            VALUES
        };
        Err(Stop::refused(object, reason))
    }

    fn container(&mut self, object: &Bound<'py, PyAny>) -> Step {
        self.out.enter()?;
        if let Ok(list) = object.cast::<PyList>() {
            self.array(object, &list.iter().collect::<Vec<_>>())?;
        } else if let Ok(tuple) = object.cast::<PyTuple>() {
            self.array(object, &tuple.iter().collect::<Vec<_>>())?;
        } else if let Ok(dict) = object.cast::<PyDict>() {
            self.map(object, dict)?;
        } else if self.kind == Kind::Argument
            && let Ok(set) = object.cast::<PySet>()
        {
            self.set(object, set.iter().collect())?;
        } else if self.kind == Kind::Argument
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
        // SAFETY: an int, or of a subclass, whose own digits are read.
        if let Some(value) = unsafe { Int64::of(object.as_ptr()) } {
            return Ok(value.write(self.out)?);
        }
        let reason = "it is outside -2**63 to 2**64 - 1; give its text";
        Err(Stop::refused(object, reason))
    }

    fn float(&mut self, object: &Bound<'py, PyAny>, value: f64) -> Step {
        match Number::of(value) {
            Some(number) if self.kind == Kind::Argument => Ok(number.write(self.out)?),
            Some(_) => Ok(self.out.float(value)?),
            None => {
                let reason = "NaN and infinities are not part of interop/v1; give None, or text";
                Err(Stop::refused(object, reason))
            }
        }
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
            let as_is = self.kind != Kind::Result || key.is_exact_instance_of::<PyString>();
            let Some(text) = key.cast::<PyString>().ok().filter(|_| as_is) else {
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
                kind: Kind::Argument,
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
            return if self.kind == Kind::Argument {
                let seconds = unix_seconds(object)?;
                self.float(object, seconds)
            } else {
                self.mark("__datetime__", object)
            };
        }
        if self.kind == Kind::Argument {
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
        Err(Stop::refused(object, VALUES))
    }

    /// A map that stands for a time.
    fn mark(&mut self, mark: &str, object: &Bound<'py, PyAny>) -> Step {
        if self.kind == Kind::Result && mark != "__date__" {
            comes_back_whole(object)?;
        }
        let text = object.call_method0("isoformat")?;
        self.out.map(2)?;
        self.out.str(mark)?;
        self.out.bool(true)?;
        self.out.str("value")?;
        Ok(self.out.str(utf8(text.cast().map_err(PyErr::from)?)?)?)
    }
}

/// Refuses a time of whose zone or fold its text says nothing.
fn comes_back_whole(moment: &Bound<'_, PyAny>) -> Step {
    if !moment.call_method0("utcoffset")?.is_none() {
        return Ok(());
    }
    if !moment.getattr("tzinfo")?.is_none() {
        let reason =
            "its time zone says no offset, so it would come back without one; give it a timezone";
        return Err(Stop::refused(moment, reason));
    }
    if moment.getattr("fold")?.extract::<u8>()? != 0 {
        let reason = "it would not come back as which of two times it is; give it a time zone";
        return Err(Stop::refused(moment, reason));
    }
    Ok(())
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

/// Whether it is an instance of that class, or of a subclass.
fn is_of(object: &Bound<'_, PyAny>, module: &str, name: &str) -> PyResult<bool> {
    let class = known_class(object.py(), module, name)?;
    Ok(class.is_some_and(|class| {
        let (kind, class) = (object.get_type_ptr(), class.as_ptr().cast());
        // SAFETY: both are types, and alive.
        unsafe { ffi::PyType_IsSubtype(kind, class) != 0 }
    }))
}

/// A class of a module that somebody must have imported to have an instance.
fn known_class<'py>(
    py: Python<'py>,
    module: &str,
    name: &str,
) -> PyResult<Option<Bound<'py, PyType>>> {
    let modules = py.import("sys")?.getattr("modules")?;
    let Ok(module) = modules.get_item(module) else {
        return Ok(None);
    };
    let class = module.getattr_opt(name)?;
    Ok(class.and_then(|class| class.cast_into().ok()))
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
