//! Python values to bytes and back, for the runtime.

use std::sync::Arc;

use cachekit_runtime::cache::Codec;
use cachekit_runtime::error::{Error, ErrorCode, Result};
use cachekit_runtime::generated::wire::Serializer;
use cachekit_runtime::native::Writer;
use pyo3::prelude::*;

use crate::decode::{DecodeFailure, decode_value};
use crate::ending;
use crate::guard::attached;
use crate::kept::{Rules, Storage};
use crate::stored::Value;

/// The native encoding.
pub(crate) struct Native {
    pub(crate) max_value_bytes: u64,
    pub(crate) rules: Arc<Rules>,
}

impl Codec<Value> for Native {
    fn serializer(&self) -> Serializer {
        Serializer::Native
    }

    fn encode(&self, value: &Value) -> Result<Vec<u8>> {
        attached(|py| {
            let limit = usize::try_from(self.max_value_bytes).unwrap_or(usize::MAX);
            let mut out = Writer::with_capacity(256, limit);
            match value.encode(py, &mut out) {
                Ok(()) => Ok(out.into_vec()),
                Err(failure) => Err(failure.value_error("result").unwrap_or_else(interrupted)),
            }
        })
    }

    fn decode(&self, bytes: &[u8]) -> Result<Value> {
        attached(|py| match decode_value(py, bytes) {
            Ok(object) => match Storage::of_decoded(&object, bytes, &self.rules) {
                Ok(how) => Ok(Value::as_stored(object, how)),
                Err(raised) => Err(interrupted(raised)),
            },
            Err(DecodeFailure::Corrupt(reason)) => {
                Err(Error::new(ErrorCode::ValueCorrupt).with("reason", reason))
            }
            Err(DecodeFailure::Raised(raised)) => Err(interrupted(raised)),
        })
    }

    fn aside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        attached(|py| ending::detached(py, work))
    }
}

/// What Python raised on the way, to be raised again unchanged.
fn interrupted(raised: PyErr) -> Error {
    Error::new(ErrorCode::Interrupted).with_source(raised)
}
