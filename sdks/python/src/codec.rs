//! Python values to bytes and back, for the runtime.

use std::sync::Arc;

use bytes::Bytes;
use cachekit_runtime::cache::Codec;
use cachekit_runtime::error::{Error, ErrorCode, Result};
use cachekit_runtime::generated::wire::Serializer;
use cachekit_runtime::native::Writer;
use pyo3::prelude::*;

use crate::decode::DecodeFailure;
use crate::ending;
use crate::guard::attached;
use crate::kept::{Rules, Storage};
use crate::serializer::Source;
use crate::stored::Value;

/// The values of a function, as its serializer has them.
pub(crate) struct Values {
    pub(crate) max_value_bytes: u64,
    pub(crate) rules: Arc<Rules>,
}

impl Codec<Value> for Values {
    fn serializer(&self) -> Serializer {
        self.rules.serializer.wire()
    }

    fn encode(&self, value: &Value) -> Result<Vec<u8>> {
        attached(|py| {
            let limit = usize::try_from(self.max_value_bytes).unwrap_or(usize::MAX);
            let mut out = Writer::with_capacity(256, limit);
            match value.encode(py, &self.rules.serializer, &mut out) {
                Ok(()) => Ok(out.into_vec()),
                Err(failure) => Err(failure.value_error("result").unwrap_or_else(interrupted)),
            }
        })
    }

    fn decode(&self, bytes: &Bytes) -> Result<Value> {
        attached(
            |py| match self.rules.serializer.decode(py, Source::Stored(bytes)) {
                Ok(object) => match Storage::of_decoded(&object, bytes, &self.rules) {
                    Ok(how) => Ok(Value::as_stored(object, how)),
                    Err(raised) => Err(interrupted(raised)),
                },
                Err(DecodeFailure::Corrupt(error)) => Err(error),
                Err(DecodeFailure::Raised(raised)) => Err(interrupted(raised)),
            },
        )
    }

    fn aside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        attached(|py| ending::detached(py, work))
    }
}

/// What Python raised on the way, to be raised again unchanged.
fn interrupted(raised: PyErr) -> Error {
    Error::new(ErrorCode::Interrupted).with_source(raised)
}
