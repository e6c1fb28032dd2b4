//! Entries as stored bytes: a payload, what must be known about it, and what proves that it is whole.
//!
//! The formats are data ([`FORMATS`]): lists of steps that this module interprets, so that another format needs no code. A
//! reader opens its own format alone: whoever can write to the store must not be able to choose which checks are made.
//! `docs/design/0003-envelope.md` specifies every byte.

mod bytestorage;
mod checksum;
mod compress;
mod header;
pub mod seal;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};

use self::header::Header;
use crate::error::{Error, ErrorCode, Result};
use crate::generated::config::Options;
use crate::generated::envelope::{self, FORMATS, Format, Framing, Step};
use crate::generated::wire::{Compression, Serializer};
use crate::key::Tenant;
use crate::keyring::{Domain, Keyring};

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

/// What a caller may choose of a format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// Whether entries carry a checksum.
    pub checksum: bool,
    /// What they are compressed with.
    pub compression: Option<envelope::Compression>,
}

impl Choice {
    /// What `format` has chosen.
    pub fn of(format: &Format) -> Self {
        Self {
            checksum: format
                .steps
                .iter()
                .any(|step| matches!(step, Step::Checksum { .. })),
            compression: format.steps.iter().find_map(|step| match step {
                Step::Compress { algorithm, .. } => Some(*algorithm),
                _ => None,
            }),
        }
    }

    /// The format that differs from `format` in what was chosen alone, if there is one.
    pub fn within(self, format: &Format) -> Option<&'static Format> {
        let others = |format: &'_ Format| {
            let is_other =
                |step: &&Step| !matches!(step, Step::Checksum { .. } | Step::Compress { .. });
            format
                .steps
                .iter()
                .filter(is_other)
                .copied()
                .collect::<Vec<_>>()
        };
        let alike = |other: &&Format| {
            other.framing == format.framing
                && Self::of(other) == self
                && others(other) == others(format)
        };
        FORMATS.iter().copied().find(alike)
    }
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
    keyring: Option<Arc<Keyring>>,
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
            keyring: None,
        })
    }

    /// The same with keys, which a sealed format cannot do without.
    #[must_use]
    pub fn with_keyring(mut self, keyring: Arc<Keyring>) -> Self {
        self.keyring = Some(keyring);
        self
    }

    /// Whether its entries say what [`Meta`] does. Those of the published protocol do not: what opens one finds no lifetime and no
    /// generation, and the store alone decides for how long it is there.
    pub fn keeps_meta(&self) -> bool {
        self.format.framing == Framing::Cachekit
    }

    /// Whether its entries are encrypted and authenticated.
    pub fn is_sealed(&self) -> bool {
        let seal = |step: &Step| matches!(step, Step::Seal { .. });
        self.format.steps.iter().any(seal)
    }

    /// The keys of a sealed format; `key_missing` without any.
    pub fn keyring(&self) -> Result<&Arc<Keyring>> {
        self.keyring.as_ref().ok_or_else(|| {
            let what = format_args!("the envelope format {}", self.format.name);
            Error::new(ErrorCode::KeyMissing).with("what", what)
        })
    }

    /// Whether bytes that did not open for that reason were put in the place of an entry: where entries are sealed, nobody else
    /// can have written them. An entry under a key that is not known may be a newer process's.
    pub fn is_tampering(&self, error: &Error) -> bool {
        self.is_sealed()
            && matches!(
                error.code(),
                ErrorCode::EnvelopeMalformed
                    | ErrorCode::EnvelopeForeign
                    | ErrorCode::EnvelopeTampered
            )
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
    /// a header, `key_missing` if the format seals and there are no keys.
    pub fn wrap(&self, name: Name<'_>, meta: &Meta, payload: Vec<u8>) -> Result<Bytes> {
        let size = payload.len() as u64;
        let limit = self.limit();
        if size > limit {
            return Err(Error::new(ErrorCode::ValueTooLarge)
                .with("size", size)
                .with("limit", limit));
        }
        match self.format.framing {
            Framing::Cachekit => {}
            Framing::Bytestorage => {
                return Ok(bytestorage::wrap(self.serializer, &payload)?.into());
            }
            Framing::Bare if self.is_sealed() => {
                let binding = self.binding(name)?;
                return Ok(seal::published::seal(self.keyring()?, binding, &payload)?.into());
            }
            Framing::Bare => return Ok(payload.into()),
        }
        let mut header = header::of(meta, self.serializer, size);
        let mut payload = payload;
        let mut sealing: Option<(_, [u8; seal::NONCE])> = None;
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
                Step::Seal { .. } => {
                    let keys = self.keyring()?.keys(Domain::Encryption, name.tenant);
                    sealing = Some((keys, seal::nonce()?));
                }
                Step::Serialize | Step::Compress { .. } | Step::Checksum { .. } => {}
            }
        }
        let (id, behind) = (self.format.id, self.behind());
        let (mut entry, start) = match &sealing {
            None => header::frame(id, &header, payload, behind)?,
            Some((keys, nonce)) => {
                let header = header::Sealed {
                    header,
                    key_id: Some(keys.current().id()),
                    nonce: Some(*nonce),
                };
                header::frame(id, &header, payload, behind)?
            }
        };
        for step in self.format.steps {
            match (*step, &sealing) {
                (Step::Checksum { algorithm }, _) => {
                    let digest = checksum::digest(algorithm, name.key, &entry);
                    entry.extend_from_slice(&digest);
                }
                (Step::Seal { .. }, Some((keys, nonce))) => {
                    let cipher = keys.current().cipher();
                    seal::close(cipher, name, nonce, &mut entry, start)?;
                }
                _ => {}
            }
        }
        entry.shrink_to_fit();
        Ok(entry.into())
    }

    /// How many bytes stand behind the payload.
    fn behind(&self) -> usize {
        let of = |step: &Step| match step {
            Step::Checksum { .. } => checksum::SIZE,
            Step::Seal { .. } => seal::TAG,
            Step::Serialize | Step::Compress { .. } => 0,
        };
        self.format.steps.iter().map(of).sum()
    }

    /// How many bytes [`Pipeline::open`] will go through, as far as `stored` says without being believed.
    pub fn effort(&self, stored: &[u8]) -> u64 {
        let declared = match self.format.framing {
            Framing::Cachekit => {
                let frame = header::unframe(self.format.id, stored);
                let header = frame.and_then(|frame| header::parse::<Header>(&stored[frame]));
                header.map_or(0, |header| header.uncompressed_size)
            }
            Framing::Bytestorage => bytestorage::declared(stored).unwrap_or(0),
            Framing::Bare => 0,
        };
        declared.min(self.max_value_bytes).max(stored.len() as u64)
    }

    /// What [`Pipeline::wrap`] was given, from the entry that was stored under `name`. The payload is a part of `stored`
    /// if it is not compressed.
    ///
    /// `envelope_malformed` if it is no entry, `envelope_foreign` if it is one of another format, serializer or
    /// compression, `envelope_checksum` or `envelope_tampered` if it was changed or stored under another name, `key_unknown`
    /// if it is sealed under a key that the keyring has not. Nothing is allocated by a length that was not checked.
    pub fn open(&self, name: Name<'_>, stored: Bytes) -> Result<(Meta, Bytes)> {
        match self.format.framing {
            Framing::Cachekit => {}
            Framing::Bytestorage => {
                let payload = bytestorage::open(self.serializer, self.max_value_bytes, &stored)?;
                return Ok((Meta::default(), payload.into()));
            }
            Framing::Bare => return Ok((Meta::default(), self.open_bare(name, stored)?)),
        }
        let frame = header::unframe(self.format.id, &stored)?;
        let start = frame.end;
        let mut end = stored.len();
        for step in self.format.steps.iter().rev() {
            if let Step::Checksum { algorithm } = *step {
                end = checksum::check(algorithm, name.key, &stored[..end], start)?;
            }
        }
        let (header, mut payload) = if self.is_sealed() {
            self.unseal(name, frame, stored)?
        } else {
            let header: Header = header::parse(&stored[frame])?;
            let mut payload = stored;
            payload.truncate(end);
            payload.advance(start);
            (header, payload)
        };
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

    /// The document that is the entry.
    fn open_bare(&self, name: Name<'_>, stored: Bytes) -> Result<Bytes> {
        let around = if self.is_sealed() {
            seal::published::AROUND as u64
        } else {
            0
        };
        let size = (stored.len() as u64).saturating_sub(around);
        if size > self.max_value_bytes {
            return Err(oversized(size, self.max_value_bytes));
        }
        if !self.is_sealed() {
            return Ok(stored);
        }
        let binding = self.binding(name)?;
        Ok(seal::published::open(self.keyring()?, binding, &stored)?.into())
    }

    /// What a seal of the published protocol covers besides the document.
    fn binding<'a>(&self, name: Name<'a>) -> Result<seal::published::Binding<'a>> {
        let key = std::str::from_utf8(name.key);
        let key = key.map_err(|_| malformed("the name that it is stored under is not text"))?;
        Ok(seal::published::Binding {
            tenant: name.tenant,
            key,
            format: published_name(self.serializer),
            compressed: false,
            original_type: None,
        })
    }

    /// Largest payload that it writes, in bytes.
    fn limit(&self) -> u64 {
        match self.format.framing {
            Framing::Bytestorage => self.max_value_bytes.min(bytestorage::MAX_BYTES),
            Framing::Cachekit | Framing::Bare => self.max_value_bytes,
        }
    }

    /// The header in `frame` and the payload behind it, once the tag was found to be right. What the header says is not to be
    /// believed before.
    fn unseal(
        &self,
        name: Name<'_>,
        frame: Range<usize>,
        stored: Bytes,
    ) -> Result<(Header, Bytes)> {
        let start = frame.end;
        let sealed: header::Sealed = header::parse(&stored[frame])?;
        let (Some(nonce), Some(id)) = (&sealed.nonce, sealed.key_id) else {
            return Err(malformed("its nonce or its key id has another length"));
        };
        let keys = self.keyring()?.keys(Domain::Encryption, name.tenant);
        let key = keys.named(id).ok_or_else(|| {
            let id = id.iter().map(|byte| format!("{byte:02x}"));
            Error::new(ErrorCode::KeyUnknown).with("id", id.collect::<String>())
        })?;
        let payload = seal::open(key.cipher(), name, nonce, stored, start)?;
        Ok((sealed.header, payload))
    }

    /// Checks what the header says before anybody acts on it.
    fn accept(&self, header: &Header, stored: u64) -> Result<()> {
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
            return Err(oversized(size, self.max_value_bytes));
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
            .field("keyring", &self.keyring)
            .finish()
    }
}

#[cold]
fn malformed(reason: impl fmt::Display) -> Error {
    Error::new(ErrorCode::EnvelopeMalformed).with("reason", reason)
}

#[cold]
fn oversized(size: u64, limit: u64) -> Error {
    malformed(format_args!(
        "its {size} bytes are more than the {limit} allowed"
    ))
}

/// What the published protocol calls a serializer.
fn published_name(serializer: Serializer) -> &'static str {
    match serializer {
        Serializer::Messagepack => "msgpack",
        Serializer::Json => "json",
        Serializer::Arrow => "arrow",
        Serializer::Pickle => "pickle",
        Serializer::Native => "native",
        Serializer::Custom | Serializer::Unspecified => "custom",
    }
}

#[cold]
fn foreign(what: impl fmt::Display) -> Error {
    Error::new(ErrorCode::EnvelopeForeign).with("what", what)
}

#[cfg(test)]
mod tests;
