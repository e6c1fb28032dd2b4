//! Entries that every cachekit SDK reads and writes: `interop/v1`, as `docs/design/0010-interop.md` specifies it.
//!
//! A key is named by a namespace and an operation, which no language derives from its code, and by arguments of a closed set of
//! types; a value is one `MessagePack` document. Both have one form, and what is not in the set is an error: a key that nobody else
//! makes would be a miss for ever, in silence.
//!
//! ```
//! use cachekit_runtime::interop;
//!
//! let users = interop::identity("users", "get_user")?;
//! let name = users.entry_name(&interop::hash(&42)?);
//! assert_eq!(
//!     String::from_utf8(name).unwrap(),
//!     "users:get_user:61598716255080080f6456eb065c2e51badfaa4320b0efe97469c29cffee8875"
//! );
//! # Ok::<(), cachekit_runtime::error::Error>(())
//! ```
//!
//! A [`Cache`](crate::cache::Cache) whose identity is made here, whose options have the envelope `interop` or `interop_sealed`, and
//! whose codec is [`Document`], shares its entries with services in other languages.

mod tree;

use std::any::type_name;
use std::fmt;
use std::marker::PhantomData;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::tree::Tree;
use crate::cache::{Codec, Lookup, MessagePack};
use crate::error::{Error, ErrorCode, Result};
use crate::generated::wire::Serializer;
use crate::key::{CacheKey, Identity, KeyHash, MAX_KEY_BYTES, Tenant};
use crate::native::{Reader, Writer};

/// Most bytes that a value takes.
pub const MAX_VALUE_BYTES: usize = 512 << 20;

/// Most bytes of a namespace or an operation.
const SEGMENT: usize = 64;

/// Namespaces that a cachekit service takes for its own.
const RESERVED: [&str; 2] = ["ns", "nsapi"];

/// Whose entries those of `operation` in `namespace` are: `{namespace}:{operation}:{hash}` names one.
///
/// `interop_segment` unless both fully match `[a-z0-9][a-z0-9._-]{0,63}` and have no two dots side by side, which services refuse.
pub fn identity(namespace: &str, operation: &str) -> Result<Identity> {
    segment("namespace", namespace)?;
    if RESERVED.contains(&namespace) {
        let reason = "a cachekit service keeps it to itself; choose another one";
        return Err(no_segment("namespace", namespace, reason));
    }
    segment("operation", operation)?;
    Ok(Identity::published(namespace, operation))
}

fn segment(what: &str, text: &str) -> Result<()> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let mut bytes = text.bytes();
    let matches = text.len() <= SEGMENT
        && bytes.next().is_some_and(is_plain)
        && bytes.all(|byte| is_plain(byte) || b"._-".contains(&byte))
        && !text.contains("..");
    if matches {
        return Ok(());
    }
    let reason = "it takes 1 to 64 of a-z, 0-9, '.', '_' and '-', begins with a letter or digit, and has no '..'";
    Err(no_segment(what, text, reason))
}

#[cold]
fn no_segment(what: &str, text: &str, reason: &str) -> Error {
    Error::new(ErrorCode::InteropSegment)
        .with("segment", what)
        .with("value", format_args!("{text:?}"))
        .with("reason", reason)
}

/// A number as an argument.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Number {
    /// One below zero.
    Int(i64),
    /// One that is not.
    Uint(u64),
    /// One that no integer of 64 bits is equal to.
    Float(f64),
}

impl Number {
    /// The number that an argument is for all languages, some of which have but one type of numbers: the integer that it equals,
    /// if there is one from -2^63 to 2^64 - 1. Nothing for NaN and infinities.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "what is cast was compared with the bounds before"
    )]
    pub fn of(value: f64) -> Option<Self> {
        const LOWEST: f64 = -9_223_372_036_854_775_808.0;
        const ABOVE: f64 = 18_446_744_073_709_551_616.0;
        if !value.is_finite() {
            return None;
        }
        Some(
            if value.fract() != 0.0 || !(LOWEST..ABOVE).contains(&value) {
                Self::Float(value)
            } else if value < 0.0 {
                Self::Int(value as i64)
            } else {
                Self::Uint(value as u64)
            },
        )
    }

    /// Writes it.
    pub fn write(self, writer: &mut Writer) -> Result<()> {
        match self {
            Self::Int(value) => writer.int(value),
            Self::Uint(value) => writer.uint(value),
            Self::Float(value) => writer.float(value),
        }
    }
}

/// The hash of a call's arguments, which are those of [`CacheKey`]: tuples and lists are one, a set is what it holds, sorted.
///
/// `interop_unsupported` if there is a number that others cannot hold, or a map with keys that are not text.
pub fn hash<K: CacheKey + ?Sized>(key: &K) -> Result<KeyHash> {
    let mut native = Writer::with_capacity(64, MAX_KEY_BYTES);
    key.encode_arguments(&mut native)?;
    let tree = Tree::read(&mut Reader::new(native.as_bytes()));
    let mut out = Writer::with_capacity(64, MAX_KEY_BYTES);
    tree?
        .write(true, &mut out)
        .map_err(|reason| unsupported(type_name::<K>(), "args", reason))?;
    Ok(KeyHash::of(out.as_bytes()))
}

/// The lookup of a call with these arguments in both tiers.
pub fn lookup<K: CacheKey>(key: K) -> Result<Lookup<K>> {
    Ok(Lookup {
        hash: hash(&key)?,
        local: key,
        tenant: Tenant::default(),
        remote: true,
    })
}

/// Values of whatever `serde` knows as canonical documents: named fields, maps sorted by their keys, every number in its shortest
/// form. Any well-formed document of `T` is read.
pub struct Document<T>(PhantomData<fn(T) -> T>);

impl<T> Document<T> {
    /// The codec of `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for Document<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Document<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Document")
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Codec<T> for Document<T> {
    fn serializer(&self) -> Serializer {
        Serializer::Messagepack
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>> {
        let refused = |reason| unsupported(type_name::<T>(), "the value", reason);
        let written = MessagePack::new().encode(value)?;
        let mut reader = Reader::portable(&written);
        let tree = Tree::read(&mut reader).map_err(|_| refused(tree::NO_TYPE))?;
        let mut out = Writer::with_capacity(written.len(), MAX_VALUE_BYTES);
        tree.write(false, &mut out).map_err(refused)?;
        Ok(out.into_vec())
    }

    fn decode(&self, bytes: &Bytes) -> Result<T> {
        MessagePack::new().decode(bytes)
    }
}

#[cold]
fn unsupported(type_name: &str, path: &str, reason: &'static str) -> Error {
    Error::new(ErrorCode::InteropUnsupported)
        .with("path", path)
        .with("type", type_name)
        .with("reason", reason)
}

#[cfg(test)]
mod tests;
