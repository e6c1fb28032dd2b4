//! Entries as stored bytes: a payload, what must be known about it, and what proves that it is whole.
//!
//! The formats are data ([`FORMATS`]): lists of steps that this module interprets, so that another format needs no code. A
//! reader opens its own format alone: whoever can write to the store must not be able to choose which checks are made.
//! `docs/design/0003-envelope.md` specifies every byte.

mod checksum;
mod compress;
mod header;

use std::fmt;
use std::time::Duration;

use bytes::{Buf, Bytes};

use crate::error::{Error, ErrorCode, Result};
use crate::generated::config::Options;
use crate::generated::envelope::{FORMATS, Format, Framing, Step};
use crate::generated::wire::{Compression, Serializer};
use crate::key::Tenant;

/// What an entry says about its payload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// When the value was computed, in Unix milliseconds.
    pub created_ms: u64,
    /// For how long after that it is served, in whole milliseconds, rounded up. `None`: forever.
    pub lifetime: Option<Duration>,
    /// Whether that is from its last use on, which only the store knows.
    pub sliding: bool,
    /// What computing it cost, in whole microseconds.
    pub cost: Duration,
    /// Generations under which it was written: the function's, then one for each tag.
    pub generations: Vec<u64>,
}

/// What an entry is stored under. A seal binds the entry to both; a checksum to the key alone.
#[derive(Clone, Copy)]
pub struct Name<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The name that the store knows it by.
    pub key: &'a [u8],
}

impl<'a> Name<'a> {
    /// The name of an entry of no tenant in particular.
    pub const fn of(key: &'a [u8]) -> Self {
        Self {
            tenant: Tenant::DEFAULT,
            key,
        }
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Name")
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// Writes and opens entries of one format.
#[derive(Clone)]
pub struct Pipeline {
    format: &'static Format,
    serializer: Serializer,
    compression: bool,
    max_value_bytes: u64,
}

impl Pipeline {
    /// The pipeline that `options` ask for, for payloads of `serializer`. `option_invalid` if there is no such format.
    pub fn new(options: &Options, serializer: Serializer) -> Result<Self> {
        let format = FORMATS
            .iter()
            .find(|format| format.name == options.envelope);
        let format = format.ok_or_else(|| {
            let names: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
            Error::new(ErrorCode::OptionInvalid)
                .with("option", "envelope")
                .with("value", options.envelope)
                .with(
                    "reason",
                    format_args!("the formats are {}", names.join(", ")),
                )
        })?;
        Ok(Self {
            format,
            serializer,
            compression: options.compression,
            max_value_bytes: options.max_value_bytes,
        })
    }

    /// The format that it writes, and the only one that it opens.
    pub fn format(&self) -> &'static Format {
        self.format
    }

    /// Largest payload, before compression, that it writes or opens, in bytes.
    pub fn max_value_bytes(&self) -> u64 {
        self.max_value_bytes
    }

    /// The entry of `payload` under `name`.
    ///
    /// `value_too_large` if the payload is larger than the options allow, `envelope_malformed` if `meta` does not fit
    /// a header.
    pub fn wrap(&self, name: Name<'_>, meta: &Meta, payload: Vec<u8>) -> Result<Bytes> {
        let size = payload.len() as u64;
        if size > self.max_value_bytes {
            return Err(Error::new(ErrorCode::ValueTooLarge)
                .with("size", size)
                .with("limit", self.max_value_bytes));
        }
        let mut header = header::of(meta, self.serializer, size);
        let mut payload = payload;
        for step in self.format.steps {
            match *step {
                Step::Compress {
                    algorithm,
                    min_bytes,
                } if self.compression && size >= min_bytes => {
                    if let Some(packed) = compress::compress(algorithm, &payload) {
                        let mut other = header.clone();
                        other.set_compression(compress::wire(algorithm));
                        if header::framed(&other, &packed) < header::framed(&header, &payload) {
                            (header, payload) = (other, packed);
                        }
                    }
                }
                Step::Serialize | Step::Compress { .. } | Step::Checksum { .. } => {}
            }
        }
        let mut entry = match self.format.framing {
            Framing::Cachekit => header::frame(self.format.id, &header, &payload)?,
        };
        for step in self.format.steps {
            if let Step::Checksum { algorithm } = *step {
                let digest = checksum::digest(algorithm, name.key, &entry);
                entry.extend_from_slice(&digest);
            }
        }
        Ok(entry.into())
    }

    /// How many bytes [`Pipeline::open`] will go through, as far as `stored` says without being believed.
    pub fn effort(&self, stored: &[u8]) -> u64 {
        let frame = match self.format.framing {
            Framing::Cachekit => header::unframe(self.format.id, stored),
        };
        let header = frame.and_then(|frame| header::parse(&stored[frame]));
        let declared = header.map_or(0, |header| header.uncompressed_size);
        declared.min(self.max_value_bytes).max(stored.len() as u64)
    }

    /// What [`Pipeline::wrap`] was given, from the entry that was stored under `name`. The payload is a part of `stored`
    /// if it is not compressed.
    ///
    /// `envelope_malformed` if it is no entry, `envelope_foreign` if it is one of another format, serializer or
    /// compression, `envelope_checksum` if it was changed or stored under another key. Nothing is allocated by a length
    /// that was not checked.
    pub fn open(&self, name: Name<'_>, stored: Bytes) -> Result<(Meta, Bytes)> {
        let frame = match self.format.framing {
            Framing::Cachekit => header::unframe(self.format.id, &stored)?,
        };
        let start = frame.end;
        let mut end = stored.len();
        for step in self.format.steps.iter().rev() {
            if let Step::Checksum { algorithm } = *step {
                end = checksum::check(algorithm, name.key, &stored[..end], start)?;
            }
        }
        let header = header::parse(&stored[frame])?;
        let mut payload = stored;
        payload.truncate(end);
        payload.advance(start);
        self.accept(&header, payload.len() as u64)?;
        if header.compression() != Compression::None {
            for step in self.format.steps.iter().rev() {
                if let Step::Compress { algorithm, .. } = *step {
                    let size = header.uncompressed_size;
                    payload = compress::decompress(algorithm, &payload, size)?.into();
                }
            }
        }
        Ok((header::meta(header), payload))
    }

    /// Checks what the header says before anybody acts on it.
    fn accept(&self, header: &header::Header, stored: u64) -> Result<()> {
        if header.serializer != self.serializer as i32 {
            return Err(foreign(format_args!("serializer {}", header.serializer)));
        }
        let compressed = header.compression != Compression::None as i32;
        let known = self.format.steps.iter().any(|step| {
            matches!(*step, Step::Compress { algorithm, .. }
                if compress::wire(algorithm) as i32 == header.compression)
        });
        if compressed && !known {
            return Err(foreign(format_args!("compression {}", header.compression)));
        }
        let size = header.uncompressed_size;
        if size > self.max_value_bytes {
            let limit = self.max_value_bytes;
            return Err(malformed(format_args!(
                "its {size} bytes are more than the {limit} allowed"
            )));
        }
        if !compressed && size != stored {
            return Err(malformed(format_args!(
                "it declares {size} bytes and has {stored}"
            )));
        }
        Ok(())
    }
}

impl fmt::Debug for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipeline")
            .field("format", &self.format.name)
            .field("serializer", &self.serializer)
            .field("compression", &self.compression)
            .field("max_value_bytes", &self.max_value_bytes)
            .finish()
    }
}

#[cold]
fn malformed(reason: impl fmt::Display) -> Error {
    Error::new(ErrorCode::EnvelopeMalformed).with("reason", reason)
}

#[cold]
fn foreign(what: impl fmt::Display) -> Error {
    Error::new(ErrorCode::EnvelopeForeign).with("what", what)
}

#[cfg(test)]
mod tests;
