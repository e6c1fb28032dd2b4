//! What a cache is put together from: the interfaces that a language binding or a Rust user fills in.
//!
//! They are few and small because everything behind them is policy, and policy is the runtime's.

use std::convert::Infallible;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::clock::Clock;
use crate::error::{BoxError, Error, ErrorCode, Result};
use crate::generated::metrics::Metrics;
use crate::generated::wire::Serializer;
use crate::key::{CacheKey, KeyHash, Tenant};
use crate::l1::L1;
use crate::shim::Mutex;

/// The tier in this process.
///
/// A trait, and not [`L1`] itself, because only a binding can compare and drop its language's objects.
pub trait Local: Send + Sync + 'static {
    /// What an entry is found by.
    type Key: Send + Sync;
    /// What it holds.
    type Value: Clone + Send + Sync + 'static;

    /// The value of `key`, if there is one that has not expired.
    fn get(&self, key: &Self::Key) -> Option<Self::Value>;
    /// Puts a value in for `lifetime`, or for good.
    fn insert(&self, key: &Self::Key, value: Self::Value, lifetime: Option<Duration>);
    /// Removes `key`; says whether it was there.
    fn remove(&self, key: &Self::Key) -> bool;
    /// Removes everything.
    fn clear(&self);

    /// Whether what it holds is sealed, keys included. A cache of sealed entries has no other.
    fn is_sealed(&self) -> bool {
        false
    }

    /// What the tier holds now, for the gauges; nothing if somebody else reports it.
    fn usage(&self) -> Usage {
        Usage::default()
    }
}

/// What a tier holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Entries.
    pub entries: u64,
    /// Bytes, estimated, that their values take.
    pub bytes: u64,
}

/// What the gauges were told of one tier: they hold the sum of all, so each owner adds what changed with it.
#[derive(Debug, Default)]
pub struct Reported(Mutex<Usage>);

impl Reported {
    /// Has the gauges say that the tier holds what it does `now`; nothing, once it goes away.
    pub fn report(&self, metrics: &Metrics, now: Usage) {
        let before = self.0.with(|reported| std::mem::replace(reported, now));
        let change = |now: u64, before: u64| now.cast_signed().wrapping_sub(before.cast_signed());
        metrics.l1_entries.add(change(now.entries, before.entries));
        metrics.l1_bytes.add(change(now.bytes, before.bytes));
    }
}

impl<K, V, C> Local for L1<K, V, C>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    C: Clock + 'static,
{
    type Key = K;
    type Value = V;

    fn get(&self, key: &K) -> Option<V> {
        Self::get(self, key)
    }

    fn insert(&self, key: &K, value: V, lifetime: Option<Duration>) {
        Self::insert(self, key.clone(), value, lifetime);
    }

    fn remove(&self, key: &K) -> bool {
        Self::remove(self, key)
    }

    fn clear(&self) {
        Self::clear(self);
    }

    fn usage(&self) -> Usage {
        Usage {
            entries: self.len() as u64,
            bytes: self.bytes(),
        }
    }
}

/// Values to bytes and back.
pub trait Codec<V>: Send + Sync + 'static {
    /// What the bytes are, as an entry's header says it.
    fn serializer(&self) -> Serializer;
    /// The bytes of `value`; `value_unsupported` if it has none.
    fn encode(&self, value: &V) -> Result<Vec<u8>>;
    /// The value of `bytes`, which it may keep a part of; `value_corrupt` if they are none.
    fn decode(&self, bytes: &Bytes) -> Result<V>;

    /// Runs work on bytes alone that takes long enough for others to go on meanwhile: a language whose threads take turns
    /// gives up its turn around it.
    fn aside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        work()
    }
}

/// From how many bytes on it is worth somebody else's while to step aside: compressing so many takes about 100 us.
const ASIDE_BYTES: u64 = 128 << 10;

/// Compresses, decompresses and sums so many bytes; many of them [aside](Codec::aside).
pub fn aside<V, T: Send>(codec: &impl Codec<V>, bytes: u64, work: impl FnOnce() -> T + Send) -> T {
    if bytes < ASIDE_BYTES {
        work()
    } else {
        codec.aside(work)
    }
}

/// [`MessagePack`](https://msgpack.org) with named fields, for whatever `serde` knows.
pub struct MessagePack<T>(PhantomData<fn(T) -> T>);

impl<T> MessagePack<T> {
    /// The codec of `T`.
    pub const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Default for MessagePack<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for MessagePack<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MessagePack")
    }
}

impl<T: Serialize + DeserializeOwned + 'static> Codec<T> for MessagePack<T> {
    fn serializer(&self) -> Serializer {
        Serializer::Messagepack
    }

    fn encode(&self, value: &T) -> Result<Vec<u8>> {
        rmp_serde::to_vec_named(value).map_err(|reason| {
            Error::new(ErrorCode::ValueUnsupported)
                .with("path", "the value")
                .with("type", std::any::type_name::<T>())
                .with("reason", reason)
        })
    }

    fn decode(&self, bytes: &Bytes) -> Result<T> {
        let corrupt =
            |reason: &dyn fmt::Display| Error::new(ErrorCode::ValueCorrupt).with("reason", reason);
        let mut rest = &bytes[..];
        let mut reader = rmp_serde::Deserializer::new(&mut rest);
        let value = serde::Deserialize::deserialize(&mut reader).map_err(|e| corrupt(&e))?;
        if rest.is_empty() {
            Ok(value)
        } else {
            Err(corrupt(&"there is more behind it"))
        }
    }
}

/// How the function that a cache stands in front of fails.
pub trait LoadError: Send + Sync + 'static {
    /// Whether it ended the caller rather than the load (cancelled, say), so that a waiter should load instead of failing
    /// with it.
    fn hands_over(&self) -> bool {
        false
    }
}

impl LoadError for Infallible {}
impl LoadError for String {}
impl LoadError for BoxError {}
impl LoadError for std::io::Error {}
impl LoadError for Error {
    fn hands_over(&self) -> bool {
        self.code() == ErrorCode::Interrupted
    }
}

/// Hears of values that cannot be stored in the remote tier, which is no reason for a call to fail unless it says so, and of entries
/// that others changed.
pub trait Notice: Send + Sync + 'static {
    /// `error` is why: `value_unsupported` or `value_too_large`. An error that comes back fails the call.
    fn unstorable(&self, error: Error) -> Result<()>;

    /// Bytes that nobody here sealed stood in the place of an entry.
    fn tampered(&self, _error: &Error) {}
}

/// Takes no notice.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unnoticed;

impl Notice for Unnoticed {
    fn unstorable(&self, _error: Error) -> Result<()> {
        Ok(())
    }
}

/// One key, as each tier needs it.
#[derive(Clone, Debug)]
pub struct Lookup<K> {
    /// The key in this process: owned, or borrowed, or in an `Arc`.
    pub local: K,
    /// The hash of its canonical encoding, and of the tenant's name.
    pub hash: KeyHash,
    /// Whose it is.
    pub tenant: Tenant,
    /// Whether the key means the same in other processes. If not, the remote tier never hears of it.
    pub remote: bool,
}

impl<K: CacheKey> Lookup<K> {
    /// The lookup of `key` in both tiers.
    pub fn of(key: K) -> Result<Self> {
        let hash = KeyHash::of_key(&key)?;
        Ok(Self {
            local: key,
            hash,
            tenant: Tenant::default(),
            remote: true,
        })
    }
}

impl<K: CacheKey> Lookup<(Tenant, K)> {
    /// The lookup of a tenant's `key` in both tiers.
    pub fn of_tenant(tenant: Tenant, key: K) -> Result<Self> {
        let hash = KeyHash::of_key_in(&tenant, &key)?;
        Ok(Self {
            local: (tenant.clone(), key),
            hash,
            tenant,
            remote: true,
        })
    }
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The tier in this process.
    L1,
    /// The remote tier.
    L2,
    /// This caller loaded it.
    Load,
    /// Another caller, which was loading it.
    Flight,
    /// This caller loaded it within a load of the same key, and it was not stored.
    Nested,
}

/// A value, and where it came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served<V> {
    /// The value.
    pub value: V,
    /// Where it came from.
    pub from: Source,
}

/// Why a caller gets no value. Never a failure of the remote tier.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure<E> {
    /// The load failed.
    Raised {
        /// How.
        error: Arc<E>,
        /// Whether this caller made that load; if not, the error belongs to another one too.
        leader: bool,
    },
    /// A [`Notice`] wants no value that cannot be stored, or somebody put other bytes in the place of an entry.
    Refused(Error),
    /// The caller was interrupted during a remote operation.
    Interrupted(Error),
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Raised { error, .. } => error.fmt(f),
            Self::Refused(error) | Self::Interrupted(error) => error.fmt(f),
        }
    }
}

impl<E: fmt::Display + fmt::Debug> std::error::Error for Failure<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messagepack_refuses_what_comes_after_a_value() {
        let codec = MessagePack::<(u32, String)>::new();
        let mut bytes = codec
            .encode(&(7, "seven".to_owned()))
            .expect("it is plain data");
        assert_eq!(
            codec
                .decode(&Bytes::copy_from_slice(&bytes))
                .expect("just encoded"),
            (7, "seven".to_owned())
        );
        bytes.push(0xc0);
        let bytes = Bytes::from(bytes);
        let error = codec.decode(&bytes).expect_err("there is a nil behind it");
        assert_eq!(error.code(), ErrorCode::ValueCorrupt);
        assert!(codec.decode(&bytes.slice(..2)).is_err());
    }

    #[test]
    fn gauges_hold_the_sum_of_what_their_owners_hold_now() {
        let metrics = Metrics::new();
        let gauges = || (metrics.l1_entries.value(), metrics.l1_bytes.value());
        let usage = |entries, bytes| Usage { entries, bytes };
        let (one, other) = (Reported::default(), Reported::default());
        one.report(&metrics, usage(3, 100));
        other.report(&metrics, usage(2, 1000));
        assert_eq!(gauges(), (5, 1100));
        one.report(&metrics, usage(1, 150));
        one.report(&metrics, usage(1, 150));
        assert_eq!(gauges(), (3, 1150));
        one.report(&metrics, Usage::default());
        assert_eq!(gauges(), (2, 1000));
    }
}
