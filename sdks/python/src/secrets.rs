//! Whose entries a call reads and writes, and under which keys they are sealed and named.
//!
//! Keys arrive here once, as what the caller wrote, and go into memory that is wiped; no Python object holds them afterwards.
//! What a function keeps sealed in this process is sealed like an entry, and opened for each hit.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use cachekit_runtime::envelope::{Meta, Name, Pipeline};
use cachekit_runtime::error::{Error, ErrorCode, Result};
use cachekit_runtime::generated::config::Options;
use cachekit_runtime::generated::wire::Serializer;
use cachekit_runtime::key::{KeyHash, Tenant};
use cachekit_runtime::keyring::{self, Domain, MasterKey};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyBytes, PyString};

use crate::errors;
use crate::function::CallArgs;
use crate::settings::Settings;
use crate::shared::Guarded;
use crate::tiers::CONFIGURATION;

/// Master keys, of which Python sees nothing.
#[pyclass(frozen, module = "cachekit._native")]
pub(crate) struct Keyring(Arc<keyring::Keyring>);

#[pymethods]
impl Keyring {
    #[new]
    fn new(current: &Bound<'_, PyAny>, previous: Vec<Bound<'_, PyAny>>) -> PyResult<Self> {
        let py = current.py();
        let (current, previous) = masters(current, previous)?;
        keyring::Keyring::new(current, previous)
            .map(|ring| Self(Arc::new(ring)))
            .map_err(|error| errors::raise(py, error))
    }

    /// Puts other keys in place of those that are there.
    fn rotate(&self, current: &Bound<'_, PyAny>, previous: Vec<Bound<'_, PyAny>>) -> PyResult<()> {
        let py = current.py();
        let (current, previous) = masters(current, previous)?;
        self.0
            .rotate(current, previous)
            .map_err(|error| errors::raise(py, error))
    }
}

fn masters(
    current: &Bound<'_, PyAny>,
    previous: Vec<Bound<'_, PyAny>>,
) -> PyResult<(MasterKey, Vec<MasterKey>)> {
    let previous = previous.into_iter().map(|key| master(&key));
    let previous = previous.collect::<PyResult<_>>()?;
    Ok((master(current)?, previous))
}

fn master(given: &Bound<'_, PyAny>) -> PyResult<MasterKey> {
    let made = if let Ok(digits) = given.cast::<PyString>() {
        // Half a surrogate pair is no digit either.
        MasterKey::from_hex(digits.to_str().unwrap_or("?"))
    } else if let Ok(bytes) = given.cast::<PyBytes>() {
        MasterKey::from_bytes(bytes.as_bytes())
    } else if let Ok(bytes) = given.cast::<PyByteArray>() {
        // SAFETY: no Python code runs until they are copied.
        MasterKey::from_bytes(unsafe { bytes.as_bytes() })
    } else {
        let reason = "it is neither a str of hexadecimal digits nor bytes";
        Err(Error::new(ErrorCode::KeyInvalid).with("reason", reason))
    };
    made.map_err(|error| errors::raise(given.py(), error))
}

/// Where the tenant of a call comes from.
enum Whose {
    Always(Tenant),
    /// A function says, of the call's own arguments if it takes any.
    Asked {
        function: Py<PyAny>,
        of_call: bool,
    },
}

/// What a function keeps from others.
pub(crate) struct Secrets {
    whose: Option<Whose>,
    /// Gives the keyring.
    ask: Option<Py<PyAny>>,
    known: Guarded<Option<(u64, Arc<keyring::Keyring>)>>,
    /// Whether entries are sealed, in this process too; how, apart from the keys.
    seal: Option<Pipeline>,
}

impl Secrets {
    pub(crate) fn new(settings: &Settings<'_, '_>, options: &Options) -> PyResult<Arc<Self>> {
        let py = settings.py();
        let whose = match settings.object("tenant")? {
            None => None,
            Some(given) => match given.extract::<String>(py) {
                Ok(name) => Some(Whose::Always(named(py, &name)?)),
                Err(_) => Some(Whose::Asked {
                    function: given,
                    of_call: settings.get("tenant_of_call")?,
                }),
            },
        };
        let pipeline = |options| {
            Pipeline::new(options, Serializer::Native).map_err(|error| errors::raise(py, error))
        };
        let seals = pipeline(options)?.is_sealed();
        // What stays in this process is as large as its limits let it be, and no format of others.
        let mut here = options.clone();
        here.max_value_bytes = u64::MAX;
        here.envelope = "sealed";
        Ok(Arc::new(Self {
            whose,
            ask: settings.object("keyring")?,
            known: Guarded::new(None),
            seal: if seals { Some(pipeline(&here)?) } else { None },
        }))
    }

    /// Whether nothing plain may be kept.
    pub(crate) fn seals(&self) -> bool {
        self.seal.is_some()
    }

    /// Whether arguments alone do not say which entry is meant, or are not to be kept.
    pub(crate) fn go_by_hash(&self) -> bool {
        self.whose.is_some() || self.seals()
    }

    /// Whose call it is.
    ///
    /// # Safety
    /// Within the call that the arguments belong to.
    pub(crate) unsafe fn tenant(&self, py: Python<'_>, args: CallArgs) -> PyResult<Tenant> {
        match &self.whose {
            None => Ok(Tenant::default()),
            Some(Whose::Always(tenant)) => Ok(tenant.clone()),
            Some(Whose::Asked { function, of_call }) => {
                let function = function.bind(py);
                let said = if *of_call {
                    // SAFETY: by the contract above.
                    unsafe { args.pass_to(function) }?
                } else {
                    function.call0()?
                };
                match said.cast::<PyString>().map(|name| name.to_str()) {
                    Ok(Ok(name)) => named(py, name),
                    _ => Err(no_tenant(py, &crate::failure::type_name(&said))),
                }
            }
        }
    }

    /// The keyring, asked for again after each change of the configuration; nothing where nothing takes keys.
    pub(crate) fn keyring(&self, py: Python<'_>) -> PyResult<Option<Arc<keyring::Keyring>>> {
        let Some(ask) = &self.ask else {
            return Ok(None);
        };
        let epoch = CONFIGURATION.load(Ordering::Acquire);
        let known = self.known.with(|known| match known {
            Some((of, ring)) if *of == epoch => Some(Arc::clone(ring)),
            _ => None,
        });
        if known.is_some() {
            return Ok(known);
        }
        let ring = ask.bind(py).call0()?;
        let ring = Arc::clone(&ring.cast::<Keyring>()?.get().0);
        let new = Some((epoch, Arc::clone(&ring)));
        drop(self.known.with(|known| std::mem::replace(known, new)));
        Ok(Some(ring))
    }

    /// What an entry of this process is found by, where its arguments are not to be seen: a keyed hash, which says nothing about
    /// arguments that can be guessed.
    pub(crate) fn hidden(
        &self,
        py: Python<'_>,
        tenant: &Tenant,
        hash: &KeyHash,
    ) -> PyResult<KeyHash> {
        match self.keyring(py)?.filter(|_| self.seals()) {
            Some(ring) => {
                let keys = ring.keys(Domain::Local, tenant.as_str());
                Ok(KeyHash(keys.current().mac(&hash.0)))
            }
            None => Ok(*hash),
        }
    }

    /// `payload` as it is kept in this process, where that is not as it is.
    pub(crate) fn seal(&self, py: Python<'_>, payload: &[u8]) -> PyResult<Option<Bytes>> {
        let Some(pipeline) = self.pipeline(py)? else {
            return Ok(None);
        };
        pipeline
            .wrap(HERE, &Meta::default(), payload.to_vec())
            .map(Some)
            .map_err(|error| errors::raise(py, error))
    }

    /// What [`seal`](Self::seal) was given.
    pub(crate) fn open(&self, py: Python<'_>, kept: &[u8]) -> PyResult<Option<Bytes>> {
        let Some(pipeline) = self.pipeline(py)? else {
            return Ok(None);
        };
        let opened: Result<_> = pipeline.open(HERE, Bytes::copy_from_slice(kept));
        opened
            .map(|(_, payload)| Some(payload))
            .map_err(|error| errors::raise(py, error))
    }

    fn pipeline(&self, py: Python<'_>) -> PyResult<Option<Pipeline>> {
        let Some(pipeline) = &self.seal else {
            return Ok(None);
        };
        let pipeline = pipeline.clone();
        Ok(Some(match self.keyring(py)? {
            Some(ring) => pipeline.with_keyring(ring),
            None => pipeline,
        }))
    }

    /// Shows the collector what is held here.
    pub(crate) fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        if let Some(Whose::Asked { function, .. }) = &self.whose {
            visit(function.as_ptr());
        }
        if let Some(ask) = &self.ask {
            visit(ask.as_ptr());
        }
    }
}

/// What is kept in this process has no name that a remote could know.
const HERE: Name<'_> = Name::of(b"");

fn named(py: Python<'_>, name: &str) -> PyResult<Tenant> {
    Tenant::new(name).map_err(|error| errors::raise(py, error))
}

#[cold]
fn no_tenant(py: Python<'_>, said: &str) -> PyErr {
    let error = Error::new(ErrorCode::OptionInvalid)
        .with("option", "tenant")
        .with("value", format_args!("a {said}"))
        .with(
            "reason",
            "the function must return the tenant's name, a str that UTF-8 can encode",
        );
    errors::raise(py, error)
}
