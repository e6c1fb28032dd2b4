//! Redis as a remote tier: three commands, over whichever transport the driver can use.
//!
//! The commands and the meaning of their replies are written once; a [`Transport`] carries one packed command there and
//! one reply back. [`Blocking`] does so on the calling thread, [`Pipe`] without any I/O of its own for an event loop that
//! somebody else runs, and `Tokio` through the `redis` crate's connection.

mod blocking;
mod commands;
mod handshake;
mod link;
mod output;
mod pipe;
mod protocol;
mod resolve;
mod socket;
#[cfg(feature = "tokio")]
mod tokio;
mod url;
mod wait;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

pub use self::blocking::Blocking;
pub use self::commands::{Packed, Request};
pub use self::pipe::{Link, Pipe, PipeHost};
pub use self::protocol::Reply;
#[cfg(feature = "tokio")]
pub use self::tokio::Tokio;
pub use self::url::{Address, Endpoint};
use super::{Deadline, Remote};
use crate::error::{Error, ErrorCode, Result};

/// Carries requests to one server and replies back.
pub trait Transport: Send + Sync {
    /// The server, for errors and logs.
    fn endpoint(&self) -> &Endpoint;

    /// Sends `request` and waits for its reply, until `deadline` at the latest. An error reply is a reply.
    fn call(
        &self,
        request: Request<'_>,
        deadline: Deadline,
    ) -> impl Future<Output = Result<Reply>> + Send;
}

/// A Redis server as a remote tier.
#[derive(Clone, Debug)]
pub struct Redis<T> {
    transport: T,
}

impl<T: Transport> Redis<T> {
    /// The server at the other end of `transport`. Connects to nothing yet.
    pub fn new(transport: T) -> Self {
        Self { transport }
    }

    /// What carries the requests.
    pub fn transport(&self) -> &T {
        &self.transport
    }

    fn refused(&self, operation: &'static str, text: &Bytes) -> Error {
        Error::new(ErrorCode::RemoteRefused)
            .with("remote", self.transport.endpoint())
            .with("operation", operation)
            .with("reason", protocol::error_text(text))
    }

    fn unexpected(&self, operation: &'static str, reply: &Reply) -> Error {
        Error::new(ErrorCode::RemoteProtocol)
            .with("remote", self.transport.endpoint())
            .with(
                "reason",
                format_args!("the reply to {operation} is {}", reply.kind()),
            )
    }
}

impl<T: Transport> Remote for Redis<T> {
    async fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        deadline: Deadline,
    ) -> Result<Vec<Option<Bytes>>> {
        const OPERATION: &str = "get";
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let request = match renew {
            Some(lifetime) => Request::Renew { keys, lifetime },
            None => Request::Get(keys),
        };
        match self.transport.call(request, deadline).await? {
            Reply::Array(items) if items.len() == keys.len() => items
                .into_iter()
                .map(|item| match item {
                    Reply::Bulk(value) => Ok(Some(value)),
                    Reply::Nil => Ok(None),
                    Reply::Error(text) => Err(self.refused(OPERATION, &text)),
                    other => Err(self.unexpected(OPERATION, &other)),
                })
                .collect(),
            Reply::Error(text) => Err(self.refused(OPERATION, &text)),
            other => Err(self.unexpected(OPERATION, &other)),
        }
    }

    async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        deadline: Deadline,
    ) -> Result<()> {
        const OPERATION: &str = "set";
        match self
            .transport
            .call(
                Request::Set {
                    key,
                    value,
                    lifetime,
                },
                deadline,
            )
            .await?
        {
            Reply::Text(_) => Ok(()),
            Reply::Error(text) => Err(self.refused(OPERATION, &text)),
            other => Err(self.unexpected(OPERATION, &other)),
        }
    }

    async fn remove(&self, keys: &[&[u8]], deadline: Deadline) -> Result<u64> {
        const OPERATION: &str = "remove";
        if keys.is_empty() {
            return Ok(0);
        }
        match self.transport.call(Request::Remove(keys), deadline).await? {
            Reply::Integer(count) => Ok(u64::try_from(count).unwrap_or_default()),
            Reply::Error(text) => Err(self.refused(OPERATION, &text)),
            other => Err(self.unexpected(OPERATION, &other)),
        }
    }
}

/// No connection, or the connection ended.
fn unavailable(endpoint: &Endpoint, reason: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::RemoteUnavailable)
        .with("remote", endpoint)
        .with("reason", reason)
}

/// The deadline passed.
fn timed_out(endpoint: &Endpoint, operation: &'static str, timeout: Duration) -> Error {
    Error::new(ErrorCode::RemoteTimeout)
        .with("remote", endpoint)
        .with("operation", operation)
        .with("timeout", format_args!("{timeout:?}"))
}

/// The other end does not speak the protocol.
fn malformed(endpoint: &Endpoint, reason: impl std::fmt::Display) -> Error {
    Error::new(ErrorCode::RemoteProtocol)
        .with("remote", endpoint)
        .with("reason", reason)
}
