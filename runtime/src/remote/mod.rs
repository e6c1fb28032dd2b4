//! The remote tier as the read path sees it: bytes by key, with a deadline on every operation.
//!
//! Reads take several keys because an entry and the generation that it was written under come in one round trip.

pub mod memory;
pub mod redis;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Instant;
use crate::error::Result;

/// The moment by which an operation must have ended, on the clock of the driver that polls it.
pub type Deadline = Instant;

/// A store of bytes that other processes share.
///
/// Every operation ends by its deadline, with [`ErrorCode::RemoteTimeout`](crate::error::ErrorCode) if it must. A
/// connection whose operation timed out or was dropped half-way is never used again with a reply outstanding.
pub trait Remote: Send + Sync {
    /// The values of `keys`, in their order, in one round trip. With `renew`, the first of them, if it is there, lives for that
    /// long from now on.
    fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>>> + Send;

    /// Stores `value` under `key`, for `lifetime` if there is one.
    fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<()>> + Send;

    /// Removes `keys`; says how many there were.
    fn remove(
        &self,
        keys: &[&[u8]],
        deadline: Deadline,
    ) -> impl Future<Output = Result<u64>> + Send;
}

impl<R: Remote + ?Sized> Remote for Arc<R> {
    fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Vec<Option<Bytes>>>> + Send {
        (**self).get(keys, renew, deadline)
    }

    fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<()>> + Send {
        (**self).set(key, value, lifetime, deadline)
    }

    fn remove(
        &self,
        keys: &[&[u8]],
        deadline: Deadline,
    ) -> impl Future<Output = Result<u64>> + Send {
        (**self).remove(keys, deadline)
    }
}

/// The type of a remote tier that is not there: it has no values.
#[derive(Clone, Copy, Debug)]
pub enum NoRemote {}

impl Remote for NoRemote {
    async fn get(
        &self,
        _keys: &[&[u8]],
        _renew: Option<Duration>,
        _deadline: Deadline,
    ) -> Result<Vec<Option<Bytes>>> {
        match *self {}
    }

    async fn set(
        &self,
        _key: &[u8],
        _value: Bytes,
        _lifetime: Option<Duration>,
        _deadline: Deadline,
    ) -> Result<()> {
        match *self {}
    }

    async fn remove(&self, _keys: &[&[u8]], _deadline: Deadline) -> Result<u64> {
        match *self {}
    }
}
