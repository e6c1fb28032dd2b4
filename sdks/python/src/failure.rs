//! Why an object could not be encoded, and where inside it.
//!
//! A value of a thousand rows is refused because of one field, so the way down to that field is part of the message.
//! It is put together while the failure travels up, so that success never pays for it.

use std::collections::HashMap;
use std::ffi::CStr;
use std::fmt::Write as _;

use cachekit_runtime::error::{Error, ErrorCode};
use cachekit_runtime::native::MAX_DEPTH;
use pyo3::ffi;
use pyo3::prelude::*;

/// Steps of a path that are shown from its beginning and from its end; a path that is longer is cut between them.
const SHOWN_FIRST: usize = 6;
const SHOWN_LAST: usize = 4;
/// Characters of a key that a path shows.
const KEY_SHOWN: usize = 40;

/// Why an object has no bytes.
#[derive(Debug)]
pub(crate) enum EncodeFailure {
    /// Something inside it has no encoding.
    Refused(Box<Refused>),
    /// Its bytes would exceed the limit: a `value_too_large` error.
    TooLarge(Error),
    /// Its serializer did not make any: a `value_unsupported` error.
    Failed(Error),
    /// Python code that was called for it raised.
    Raised(PyErr),
}

/// What has no encoding, where it is, and what to do.
#[derive(Debug)]
pub(crate) struct Refused {
    /// From the value down to it, such as `["users"][3]`; empty for the value itself.
    pub(crate) path: String,
    pub(crate) type_name: String,
    pub(crate) reason: String,
}

impl EncodeFailure {
    /// As an error about a value that is called `root` in its text.
    pub(crate) fn value_error(self, root: &str) -> Result<Error, PyErr> {
        match self {
            Self::Refused(refused) => Ok(Error::new(ErrorCode::ValueUnsupported)
                .with("path", format_args!("{root}{}", refused.path))
                .with("type", refused.type_name)
                .with("reason", refused.reason)),
            Self::TooLarge(error) | Self::Failed(error) => Ok(error),
            Self::Raised(error) => Err(error),
        }
    }

    /// As an error about an argument of a function.
    pub(crate) fn argument_error(self, parameter: &str, function: &str) -> Result<Error, PyErr> {
        let about = |path: &str, type_name: &str, reason: &str| {
            Error::new(ErrorCode::ArgumentUnsupported)
                .with("path", format_args!("{parameter}{path}"))
                .with("function", function)
                .with("type", type_name)
                .with("reason", reason)
        };
        match self {
            Self::Refused(refused) => Ok(about(&refused.path, &refused.type_name, &refused.reason)),
            Self::TooLarge(error) => {
                let limit = error.context().find(|(name, _)| *name == "limit");
                let limit = limit.map_or("the limit", |(_, limit)| limit);
                let reason = format!(
                    "its encoding takes more than {limit} bytes; give a smaller argument, or key= a function that \
                     names it"
                );
                Ok(about("", "too large object", &reason))
            }
            Self::Failed(error) => Ok(error),
            Self::Raised(error) => Err(error),
        }
    }
}

/// A failure on its way up; always boxed, so that the result of a step is one word.
pub(crate) struct Stop {
    why: Why,
    /// From the innermost step outwards.
    steps: Vec<Place>,
}

/// A place in a container.
struct Place {
    container: usize,
    class: String,
    text: String,
}

enum Why {
    Refused { type_name: String, reason: String },
    Deep,
    Runtime(Error),
    Raised(PyErr),
}

/// What every step of the walk gives: one word, so that success costs nothing.
pub(crate) type Step = Result<(), Box<Stop>>;

#[expect(
    clippy::unnecessary_box_returns,
    reason = "the box is the failure's form everywhere"
)]
impl Stop {
    fn boxed(why: Why) -> Box<Self> {
        Box::new(Self {
            why,
            steps: Vec::new(),
        })
    }

    /// An object that has no encoding.
    #[cold]
    pub(crate) fn refused(object: &Bound<'_, PyAny>, reason: impl Into<String>) -> Box<Self> {
        let type_name = type_name(object);
        Self::boxed(Why::Refused {
            type_name,
            reason: reason.into(),
        })
    }

    /// Containers nest too deep, or without end.
    #[cold]
    pub(crate) fn deep() -> Box<Self> {
        Self::boxed(Why::Deep)
    }

    /// Python code raised.
    #[cold]
    pub(crate) fn raised(error: PyErr) -> Box<Self> {
        Self::boxed(Why::Raised(error))
    }

    /// Adds the place in `container` that the failure comes from.
    #[cold]
    pub(crate) fn within(
        mut self: Box<Self>,
        container: *mut ffi::PyObject,
        place: impl Into<String>,
    ) -> Box<Self> {
        if !matches!(self.why, Why::Raised(_) | Why::Runtime(_)) {
            // SAFETY: the caller holds the container, whose type has a name that is a valid C string.
            let class = unsafe { CStr::from_ptr((*ffi::Py_TYPE(container)).tp_name) };
            self.steps.push(Place {
                container: container as usize,
                class: class.to_string_lossy().into_owned(),
                text: place.into(),
            });
        }
        self
    }

    /// Adds the place under `key`.
    #[cold]
    pub(crate) fn under(
        self: Box<Self>,
        container: *mut ffi::PyObject,
        key: &Bound<'_, PyAny>,
    ) -> Box<Self> {
        self.within(container, key_place(key))
    }

    /// The failure as callers see it.
    pub(crate) fn finish(self, root: &Bound<'_, PyAny>) -> EncodeFailure {
        match self.why {
            Why::Raised(error) => EncodeFailure::Raised(error),
            Why::Runtime(error) => EncodeFailure::TooLarge(error),
            Why::Refused { type_name, reason } => EncodeFailure::Refused(Box::new(Refused {
                path: path(&self.steps),
                type_name,
                reason,
            })),
            Why::Deep => EncodeFailure::Refused(Box::new(too_deep(&self.steps, root))),
        }
    }
}

impl From<Error> for Box<Stop> {
    #[cold]
    fn from(error: Error) -> Self {
        match error.code() {
            ErrorCode::ValueUnsupported => Stop::deep(),
            _ => Stop::boxed(Why::Runtime(error)),
        }
    }
}

impl From<PyErr> for Box<Stop> {
    #[cold]
    fn from(error: PyErr) -> Self {
        Stop::raised(error)
    }
}

/// Tells a container that holds itself from one that is merely deep: only then the way down meets one object twice.
fn too_deep(steps: &[Place], root: &Bound<'_, PyAny>) -> Refused {
    let mut seen = HashMap::new();
    let again = steps.iter().rev().enumerate().find_map(|(index, place)| {
        seen.insert(place.container, index)
            .map(|_| (index, &place.class))
    });
    match again {
        Some((length, class)) => Refused {
            path: path(&steps[steps.len() - length..]),
            type_name: class.clone(),
            reason: "it contains itself; break the cycle".into(),
        },
        None => Refused {
            path: path(steps),
            type_name: type_name(root),
            reason: format!("it nests more than {MAX_DEPTH} containers; flatten it"),
        },
    }
}

fn path(steps: &[Place]) -> String {
    let count = steps.len();
    let whole = count <= SHOWN_FIRST + SHOWN_LAST;
    let mut text = String::new();
    for (index, place) in steps.iter().rev().enumerate() {
        if !whole && index == SHOWN_FIRST {
            text.push('…');
        }
        if whole || index < SHOWN_FIRST || index + SHOWN_LAST >= count {
            text.push_str(&place.text);
        }
    }
    text
}

fn key_place(key: &Bound<'_, PyAny>) -> String {
    let mut text = String::from("[");
    let known = if let Ok(name) = key.cast_exact::<pyo3::types::PyString>() {
        let name = name.to_string_lossy();
        text.push('"');
        let mut characters = name.chars();
        text.extend(
            characters
                .by_ref()
                .take(KEY_SHOWN)
                .flat_map(char::escape_debug),
        );
        if characters.next().is_some() {
            text.push('…');
        }
        text.push('"');
        true
    } else if key.cast_exact::<pyo3::types::PyInt>().is_ok() {
        key.extract::<i64>()
            .is_ok_and(|number| write!(text, "{number}").is_ok())
    } else {
        false
    };
    if !known {
        let _ = write!(text, "<{}>", type_name(key));
    }
    text.push(']');
    text
}

/// The name of an object's type as people write it. Runs no code of the type's own.
pub(crate) fn type_name(object: &Bound<'_, PyAny>) -> String {
    let class = object.get_type();
    let name = class
        .qualname()
        .map(|name| name.to_string_lossy().into_owned());
    let module = class
        .module()
        .map(|module| module.to_string_lossy().into_owned());
    match (module, name) {
        (Ok(module), Ok(name)) if module != "builtins" => format!("{module}.{name}"),
        (_, Ok(name)) => name,
        _ => "object of a nameless type".into(),
    }
}
