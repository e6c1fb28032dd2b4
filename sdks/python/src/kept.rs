//! Values that take more than a structural copy, and what their function says about copies.
//!
//! The table holds an object of ours around such a value, which knows how another caller gets it. So the entries of plain
//! values are as small, and their hits as quick, as if these did not exist.

use std::sync::Arc;

use bytes::Bytes;
use cachekit_runtime::error::{Error, ErrorCode};
use cachekit_runtime::generated::config::Isolation;
use cachekit_runtime::native::Writer;
use pyo3::PyTraverseError;
use pyo3::ffi;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyType};

use crate::copies::{copy_flat, copy_rich, copy_tree};
use crate::encode::EncodeFailure;
use crate::failure::type_name;
use crate::isolate::{self, Shape};
use crate::secrets::Secrets;
use crate::serializer::{Serializer, Source};
use crate::types::must_propagate;
use crate::weight::{weigh, weigh_beside_arrays};

/// How a function isolates its callers, and how its values become bytes.
pub(crate) struct Rules {
    pub(crate) isolation: Isolation,
    /// Types whose instances its author says nobody changes.
    immutable: Vec<Py<PyType>>,
    /// The author's own way to copy.
    copy: Option<Py<PyAny>>,
    pub(crate) serializer: Serializer,
    /// What seals the bytes that are kept, if they are not kept as they are.
    vault: Option<Arc<Secrets>>,
}

impl Rules {
    pub(crate) fn new(
        isolation: Isolation,
        immutable: Vec<Py<PyType>>,
        copy: Option<Py<PyAny>>,
        serializer: Serializer,
        vault: Option<Arc<Secrets>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            isolation,
            immutable,
            copy,
            serializer,
            vault,
        })
    }

    /// Whether instances of `class` are to be shared. Runs no Python code.
    pub(crate) fn is_immutable(&self, class: *mut ffi::PyTypeObject) -> bool {
        // SAFETY: live types.
        self.immutable
            .iter()
            .any(|known| unsafe { ffi::PyType_IsSubtype(class, known.as_ptr().cast()) } != 0)
    }

    /// Shows the collector what is held here.
    pub(crate) fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        for class in &self.immutable {
            visit(class.as_ptr());
        }
        if let Some(copy) = &self.copy {
            visit(copy.as_ptr());
        }
        self.serializer.each_object(visit);
    }
}

/// How a caller gets a kept value.
enum Way {
    /// By a copy along its structure.
    Copied,
    /// By the author's function.
    Asked,
    /// Out of its encoding.
    Decoded,
}

/// A value as the table holds it.
#[pyclass(frozen, module = "cachekit._native")]
pub(crate) struct Kept {
    stored: Py<PyAny>,
    way: Way,
    rules: Arc<Rules>,
    weight: u64,
}

#[pymethods]
impl Kept {
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.stored)
    }
}

/// How a value that was just made is stored.
pub(crate) enum Storage {
    /// As it is.
    Same,
    /// As a copy, which hits copy again: of a container, or of containers in each other.
    Flat(Py<PyAny>),
    Tree(Py<PyAny>),
    /// Like this.
    Kept(Py<Kept>),
    /// Not at all.
    Never(Error),
}

impl Storage {
    /// What `rules` make of `value`.
    pub(crate) fn of(value: &Bound<'_, PyAny>, rules: &Arc<Rules>) -> PyResult<Self> {
        match rules.isolation {
            Isolation::Shared => Ok(Self::Same),
            Isolation::Sealed => Self::sealed(value, rules),
            _ => Self::copied(value, None, rules),
        }
    }

    /// For a value that was decoded from `bytes` just now.
    pub(crate) fn of_decoded(
        value: &Bound<'_, PyAny>,
        bytes: &[u8],
        rules: &Arc<Rules>,
    ) -> PyResult<Self> {
        match rules.isolation {
            Isolation::Shared => Ok(Self::Same),
            Isolation::Sealed => Kept::sealed(value.py(), bytes, rules),
            _ => Self::copied(value, Some(bytes), rules),
        }
    }

    fn sealed(value: &Bound<'_, PyAny>, rules: &Arc<Rules>) -> PyResult<Self> {
        let mut out = Writer::with_capacity(256, usize::MAX);
        match rules.serializer.encode(value.as_borrowed(), &mut out) {
            Ok(()) => Kept::sealed(value.py(), out.as_bytes(), rules),
            Err(failure) => failure.value_error("result").map(Self::Never),
        }
    }

    /// What only its serializer knows is kept as its bytes, which are here if it was made of them.
    fn copied(
        value: &Bound<'_, PyAny>,
        bytes: Option<&[u8]>,
        rules: &Arc<Rules>,
    ) -> PyResult<Self> {
        let py = value.py();
        let known = match isolate::classify(value, rules) {
            Ok((Shape::Immutable, _)) => return Ok(Self::Same),
            Ok(known) => Some(known),
            Err(failure) if rules.copy.is_none() => {
                let refused = unshaped(value, failure)?;
                return match bytes {
                    _ if !rules.serializer.is_foreign() => Ok(Self::Never(refused)),
                    Some(bytes) => Kept::sealed(py, bytes, rules),
                    None => match Self::sealed(value, rules)? {
                        Self::Never(_) => Ok(Self::Never(refused)),
                        sealed => Ok(sealed),
                    },
                };
            }
            Err(EncodeFailure::Raised(error)) if must_propagate(py, &error) => return Err(error),
            Err(_) => None,
        };
        let how = match (&rules.copy, known) {
            (Some(copy), _) => copy
                .bind(py)
                .call1((value,))
                .and_then(|stored| Kept::around(&stored, Way::Asked, rules, None)),
            (None, Some((Shape::Rich, bytes))) => copy_rich(value.as_borrowed(), rules)
                .and_then(|stored| Kept::around(&stored, Way::Copied, rules, Some(bytes))),
            (None, Some((Shape::Flat, _))) => {
                copy_flat(value.as_borrowed()).map(|stored| Self::Flat(stored.unbind()))
            }
            (None, _) => copy_tree(value.as_borrowed()).map(|stored| Self::Tree(stored.unbind())),
        };
        how.or_else(|error| not_copied(value, error).map(Self::Never))
    }
}

impl Kept {
    fn around(
        stored: &Bound<'_, PyAny>,
        way: Way,
        rules: &Arc<Rules>,
        arrays: Option<u64>,
    ) -> PyResult<Storage> {
        let weight = match arrays {
            Some(bytes) => weigh_beside_arrays(stored.as_borrowed()).saturating_add(bytes),
            None => weigh(stored.as_borrowed()),
        };
        let kept = Self {
            stored: stored.clone().unbind(),
            way,
            rules: Arc::clone(rules),
            weight,
        };
        Py::new(stored.py(), kept).map(Storage::Kept)
    }

    fn sealed(py: Python<'_>, bytes: &[u8], rules: &Arc<Rules>) -> PyResult<Storage> {
        let sealed = match &rules.vault {
            Some(vault) => vault.seal(py, bytes)?,
            None => None,
        };
        let bytes = sealed.as_deref().unwrap_or(bytes);
        Self::around(PyBytes::new(py, bytes).as_any(), Way::Decoded, rules, None)
    }

    /// How many bytes it takes, estimated.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }

    /// What is kept of the value.
    pub(crate) fn stored<'py>(&self, py: Python<'py>) -> &Bound<'py, PyAny> {
        self.stored.bind(py)
    }

    /// What one caller gets.
    pub(crate) fn hand_out<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let stored = self.stored.bind(py);
        match (&self.way, &self.rules.copy) {
            (Way::Decoded, _) => {
                let stored = stored.cast::<PyBytes>()?;
                let opened = self.opened(stored)?;
                let bytes = opened.as_ref().map_or(Source::Kept(stored), Source::Stored);
                let value = self.rules.serializer.decode(py, bytes);
                value.map_err(|failure| failure.raised(py))
            }
            (Way::Asked, Some(copy)) => copy.bind(py).call1((stored,)),
            _ => copy_rich(stored.as_borrowed(), &self.rules),
        }
    }

    /// The encoding behind a seal, if there is one.
    fn opened(&self, stored: &Bound<'_, PyBytes>) -> PyResult<Option<Bytes>> {
        match &self.rules.vault {
            Some(vault) => vault.open(stored.py(), stored.as_bytes()),
            None => Ok(None),
        }
    }

    /// Its encoding.
    pub(crate) fn encode(&self, py: Python<'_>, out: &mut Writer) -> Result<(), EncodeFailure> {
        let stored = self.stored.bind_borrowed(py);
        match &self.way {
            Way::Decoded => {
                let bytes = stored.cast::<PyBytes>().map_err(PyErr::from);
                let bytes = bytes.map_err(EncodeFailure::Raised)?;
                let opened = self.opened(&bytes).map_err(EncodeFailure::Raised)?;
                let bytes = opened.as_deref().unwrap_or(bytes.as_bytes());
                out.raw(bytes).map_err(EncodeFailure::TooLarge)
            }
            _ => self.rules.serializer.encode(stored, out),
        }
    }
}

/// Why a value is not kept: no copies can be made of it.
fn unshaped(value: &Bound<'_, PyAny>, failure: EncodeFailure) -> PyResult<Error> {
    match failure {
        EncodeFailure::Refused(refused) => {
            Ok(never(&refused.path, &refused.type_name, &refused.reason))
        }
        EncodeFailure::TooLarge(error) | EncodeFailure::Failed(error) => Ok(error),
        EncodeFailure::Raised(error) => not_copied(value, error),
    }
}

/// Why a value is not kept, or not given out: copying it raised. What is not ours to swallow comes out unchanged.
pub(crate) fn not_copied(value: &Bound<'_, PyAny>, error: PyErr) -> PyResult<Error> {
    let py = value.py();
    if must_propagate(py, &error) {
        return Err(error);
    }
    let reason = format!("copying it raised {}", type_name(error.value(py)));
    Ok(never("", &type_name(value), &reason).with_source(error))
}

fn never(path: &str, type_name: &str, reason: &str) -> Error {
    Error::new(ErrorCode::ValueUnsupported)
        .with("path", format_args!("result{path}"))
        .with("type", type_name)
        .with(
            "reason",
            format_args!(
                "callers get copies of what is cached, and {reason}; return built-in values, name types that nobody \
                 changes in immutable=, give a function that copies as copy=, or share the object itself with \
                 isolation=\"shared\""
            ),
        )
}

/// Makes the type with the module: made later, it could be half made in a forked child.
pub(crate) fn register(py: Python<'_>) {
    py.get_type::<Kept>();
}
