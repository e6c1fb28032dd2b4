//! What the decorator decided, as the runtime's options.
//!
//! `_decorate.py` has checked every value; a wrong type here is a defect of that file.

use std::sync::Arc;
use std::time::Duration;

use cachekit_runtime::envelope::Choice;
use cachekit_runtime::error::{Error, ErrorCode};
use cachekit_runtime::generated::config::{Isolation, Monitoring, Options};
use cachekit_runtime::generated::envelope::{Compression, FORMATS};
use cachekit_runtime::generated::presets;
use cachekit_runtime::interop;
use cachekit_runtime::key::Identity;
use pyo3::exceptions::PyKeyError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::errors;
use crate::kept::Rules;
use crate::plans::Types;
use crate::secrets::Secrets;
use crate::serializer::Serializer;

/// Settings by name.
pub(crate) struct Settings<'a, 'py>(pub(crate) &'a Bound<'py, PyDict>);

impl<'py> Settings<'_, 'py> {
    pub(crate) fn py(&self) -> Python<'py> {
        self.0.py()
    }

    /// A setting that is always there.
    pub(crate) fn get<T>(&self, name: &str) -> PyResult<T>
    where
        T: for<'a> FromPyObject<'a, 'py>,
    {
        let found = self
            .0
            .get_item(name)?
            .ok_or_else(|| PyKeyError::new_err(name.to_owned()))?;
        found.extract::<T>().map_err(Into::into)
    }

    /// A setting that may be missing or `None`.
    pub(crate) fn object(&self, name: &str) -> PyResult<Option<Py<PyAny>>> {
        Ok(self
            .0
            .get_item(name)?
            .filter(|found| !found.is_none())
            .map(Bound::unbind))
    }

    /// How callers are kept apart, and values become bytes.
    pub(crate) fn rules(
        &self,
        isolation: Isolation,
        secrets: &Arc<Secrets>,
    ) -> PyResult<Arc<Rules>> {
        let immutable = match self.object("immutable")? {
            Some(types) => types.extract(self.0.py())?,
            None => Vec::new(),
        };
        let py = self.0.py();
        let types = Types::new(py, self.object("annotated")?, self.object("types")?);
        let choice = self.object("codec")?;
        let serializer = Serializer::new(choice.as_ref().map(|choice| choice.bind(py)), types)?;
        Ok(Rules::new(
            isolation,
            immutable,
            self.object("copy")?,
            serializer,
            secrets.seals().then(|| Arc::clone(secrets)),
        ))
    }

    /// Whose entries they are, where the SDKs of all languages share them.
    pub(crate) fn shared(&self) -> PyResult<Option<Identity>> {
        let Some(names) = self.object("shared")? else {
            return Ok(None);
        };
        let (namespace, operation): (String, String) = names.extract(self.py())?;
        let identity = interop::identity(&namespace, &operation);
        identity
            .map(Some)
            .map_err(|error| errors::raise(self.py(), error))
    }

    /// All that the runtime wants to know.
    pub(crate) fn options(&self) -> PyResult<Options> {
        let py = self.0.py();
        let seconds = |value: f64, name: &'static str| {
            Duration::try_from_secs_f64(value).map_err(|reason| {
                let error = Error::new(ErrorCode::OptionInvalid)
                    .with("option", name)
                    .with("value", value)
                    .with("reason", reason);
                errors::raise(py, error)
            })
        };
        let mut options = presets::DEFAULT.clone();
        options.ttl = self
            .get::<Option<f64>>("ttl")?
            .map(|ttl| seconds(ttl, "ttl"))
            .transpose()?;
        options.ttl_jitter = self.get("ttl_jitter")?;
        options.sliding = self.get("sliding")?;
        options.fail_closed = self.get("fail_closed")?;
        options.hide_keys = self.get("hide_keys")?;
        options.l1 = self.get("l1")?;
        options.max_entries = self.get("max_entries")?;
        options.max_bytes = self.get("max_bytes")?;
        options.strict = self.get("strict")?;
        options.isolation = match self.get::<String>("isolation")?.as_str() {
            "shared" => Isolation::Shared,
            "copy" => Isolation::Copy,
            "sealed" => Isolation::Sealed,
            other => return Err(unknown(py, "isolation", other)),
        };
        options.remote_timeout = seconds(self.get("remote_timeout")?, "remote_timeout")?;
        let envelope: String = self.get("envelope")?;
        let format = FORMATS
            .iter()
            .find(|format| format.name == envelope)
            .ok_or_else(|| unknown(py, "envelope", &envelope))?;
        let mut choice = Choice::of(format);
        if let Some(checksum) = self.object("integrity")? {
            choice.checksum = checksum.extract(py)?;
        }
        options.compression = self.get("compression")?;
        if let Some(compressor) = self.object("compressor")? {
            let compressor: String = compressor.extract(py)?;
            options.compression = compressor != "none";
            choice.compression = match compressor.as_str() {
                "none" => choice.compression,
                "lz4" => Some(Compression::Lz4),
                "zstd" => Some(Compression::Zstd),
                other => return Err(unknown(py, "compressor", other)),
            };
        }
        let format = choice.within(format);
        options.envelope = format.ok_or_else(|| no_format(py))?.name;
        options.max_value_bytes = self.get("max_value_bytes")?;
        options.monitoring = match self.get::<String>("monitoring")?.as_str() {
            "off" => Monitoring::Off,
            "counters" => Monitoring::Counters,
            "full" => Monitoring::Full,
            other => return Err(unknown(py, "monitoring", other)),
        };
        Ok(options)
    }
}

#[cold]
fn no_format(py: Python<'_>) -> PyErr {
    let error = Error::new(ErrorCode::OptionInvalid)
        .with("option", "compressor")
        .with("value", "\"zstd\"")
        .with("reason", "such entries carry a checksum, and this one is not to; give integrity=True, or take lz4");
    errors::raise(py, error)
}

fn unknown(py: Python<'_>, option: &'static str, value: &str) -> PyErr {
    let error = Error::new(ErrorCode::OptionInvalid)
        .with("option", option)
        .with("value", value)
        .with("reason", "it is not one of its values");
    errors::raise(py, error)
}
