//! Entries without a cache or a store around them, for the extension's own tests and the benchmark.
//!
//! They go the way of every entry, codec, envelope and all; only where it is then sent is left out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit_runtime::cache::{Codec, aside};
use cachekit_runtime::envelope::{Meta, Name, Pipeline};
use cachekit_runtime::error::Result;
use cachekit_runtime::generated::config::Isolation;
use cachekit_runtime::generated::envelope::FORMATS;
use cachekit_runtime::generated::presets;
use cachekit_runtime::key::Tenant;
use cachekit_runtime::keyring::{Keyring, MasterKey};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::codec::Values;
use crate::errors;
use crate::kept::Rules;
use crate::plans::Types;
use crate::serializer::Serializer;
use crate::stored::{Share, Value};

const NAME: Name<'_> = Name::of(b"ck:private:entries:0");

/// Writes and opens entries of one format.
#[pyclass(frozen, name = "_Entries", module = "cachekit._native")]
pub(crate) struct Entries {
    codec: Values,
    pipeline: Pipeline,
}

/// The bytes of one.
#[pyclass(frozen, name = "_Entry", module = "cachekit._native")]
struct Entry(Bytes);

#[pymethods]
impl Entry {
    fn __len__(&self) -> usize {
        self.0.len()
    }

    fn __bytes__<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0)
    }
}

fn with_keys(pipeline: Pipeline, keys: Vec<Vec<u8>>) -> Result<Pipeline> {
    let mut keys = keys.into_iter().map(|key| MasterKey::from_bytes(&key));
    let Some(current) = keys.next() else {
        return Ok(pipeline);
    };
    let keyring = Keyring::new(current?, keys.collect::<Result<_>>()?)?;
    Ok(pipeline.with_keyring(Arc::new(keyring)))
}

/// Created in Unix milliseconds, lifetime in milliseconds, whether it slides, cost in microseconds, generations.
type Head = (u64, Option<u64>, bool, u64, Vec<u64>);

#[pymethods]
impl Entries {
    /// Of a format, of a serializer as a function's settings have it, and of master keys, the current one first.
    #[new]
    #[pyo3(signature = (
        format,
        max_value_bytes = presets::DEFAULT.max_value_bytes,
        serializer = None,
        keys = Vec::new(),
    ))]
    fn new(
        py: Python<'_>,
        format: &str,
        max_value_bytes: u64,
        serializer: Option<&Bound<'_, PyAny>>,
        keys: Vec<Vec<u8>>,
    ) -> PyResult<Self> {
        let known = FORMATS.iter().find(|known| known.name == format);
        let known =
            known.ok_or_else(|| PyValueError::new_err(format!("there is no format {format}")))?;
        let mut options = presets::DEFAULT;
        options.envelope = known.name;
        options.max_value_bytes = max_value_bytes;
        let serializer = Serializer::new(serializer, Types::new(py, None, None))?;
        let pipeline = Pipeline::new(&options, serializer.wire())
            .and_then(|pipeline| with_keys(pipeline, keys))
            .map_err(|error| errors::raise(py, error))?;
        Ok(Self {
            codec: Values {
                max_value_bytes,
                rules: Rules::new(Isolation::Shared, Vec::new(), None, serializer, None),
            },
            pipeline,
        })
    }

    /// The entry of a value.
    fn store(&self, value: &Bound<'_, PyAny>) -> PyResult<Entry> {
        let stored = || {
            let value = Value::stored(value.clone().unbind(), Share::Same);
            let payload = self.codec.encode(&value)?;
            let size = payload.len() as u64;
            aside(&self.codec, size, || {
                self.pipeline.wrap(NAME, &Meta::default(), payload)
            })
        };
        stored()
            .map(Entry)
            .map_err(|error| errors::raise(value.py(), error))
    }

    /// The value of an entry.
    fn load(&self, py: Python<'_>, entry: &Entry) -> PyResult<Py<PyAny>> {
        let loaded = || {
            let stored = entry.0.clone();
            let effort = self.pipeline.effort(&stored);
            let (_, payload) = aside(&self.codec, effort, || self.pipeline.open(NAME, stored))?;
            self.codec.decode(&payload)
        };
        loaded()
            .map(Value::own)
            .map_err(|error| errors::raise(py, error))
    }

    /// The entry of a payload.
    #[pyo3(signature = (key, head, payload, tenant = Tenant::DEFAULT))]
    fn wrap<'py>(
        &self,
        py: Python<'py>,
        key: &[u8],
        head: Head,
        payload: Vec<u8>,
        tenant: &str,
    ) -> PyResult<Bound<'py, PyBytes>> {
        let (created_ms, lifetime, sliding, cost, generations) = head;
        let meta = Meta {
            created_ms,
            lifetime: lifetime.map(Duration::from_millis),
            sliding,
            cost: Duration::from_micros(cost),
            generations,
        };
        let entry = self.pipeline.wrap(Name { tenant, key }, &meta, payload);
        let entry = entry.map_err(|error| errors::raise(py, error))?;
        Ok(PyBytes::new(py, &entry))
    }

    /// What an entry says, and its payload.
    #[pyo3(signature = (key, stored, tenant = Tenant::DEFAULT))]
    fn open<'py>(
        &self,
        py: Python<'py>,
        key: &[u8],
        stored: &[u8],
        tenant: &str,
    ) -> PyResult<(Head, Bound<'py, PyBytes>)> {
        let opened = self
            .pipeline
            .open(Name { tenant, key }, Bytes::copy_from_slice(stored));
        let (meta, payload) = opened.map_err(|error| errors::raise(py, error))?;
        let head = (
            meta.created_ms,
            meta.lifetime.map(|lifetime| lifetime.as_millis() as u64),
            meta.sliding,
            meta.cost.as_micros() as u64,
            meta.generations,
        );
        Ok((head, PyBytes::new(py, &payload)))
    }
}
