//! The remote tier of one function, as the runtime asks for it.
//!
//! The interpreter is let go exactly while a thread may wait for a socket, and nowhere else: taking it back is what costs
//! when other threads compute.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cachekit_runtime::error::{BoxError, ErrorKind, Result};
use cachekit_runtime::interrupt::Interrupt;
use cachekit_runtime::remote::memory::Memory;
use cachekit_runtime::remote::redis::{Blocking, Pipe, Redis};
use cachekit_runtime::remote::{Deadline, Remote};

use crate::counters::Counters;
use crate::ending;
use crate::guard::attached;

/// A server, by the way that it is spoken to.
#[derive(Clone)]
pub(crate) enum Server {
    /// Sockets of the calling thread.
    Blocking(Arc<Redis<Blocking>>),
    /// The transport of an event loop.
    Pipe(Arc<Redis<Pipe>>),
    /// This process.
    Memory(Arc<Memory>),
}

/// A server, and who counts its failures.
pub(crate) struct FunctionRemote {
    pub(crate) server: Server,
    pub(crate) counters: Arc<Counters>,
}

impl FunctionRemote {
    fn note<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result
            && error.kind() != ErrorKind::Interrupted
        {
            attached(|_| self.counters.remote_errors.add_one());
        }
        result
    }
}

impl Remote for FunctionRemote {
    async fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        deadline: Deadline,
    ) -> Result<Vec<Option<Bytes>>> {
        let result = match &self.server {
            Server::Blocking(redis) => Detached(Box::pin(redis.get(keys, renew, deadline))).await,
            Server::Pipe(redis) => redis.get(keys, renew, deadline).await,
            Server::Memory(memory) => memory.get(keys, renew, deadline).await,
        };
        self.note(result)
    }

    async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        deadline: Deadline,
    ) -> Result<()> {
        let result = match &self.server {
            Server::Blocking(redis) => {
                Detached(Box::pin(redis.set(key, value, lifetime, deadline))).await
            }
            Server::Pipe(redis) => redis.set(key, value, lifetime, deadline).await,
            Server::Memory(memory) => memory.set(key, value, lifetime, deadline).await,
        };
        self.note(result)
    }

    async fn remove(&self, keys: &[&[u8]], deadline: Deadline) -> Result<u64> {
        let result = match &self.server {
            Server::Blocking(redis) => Detached(Box::pin(redis.remove(keys, deadline))).await,
            Server::Pipe(redis) => redis.remove(keys, deadline).await,
            Server::Memory(memory) => memory.remove(keys, deadline).await,
        };
        self.note(result)
    }
}

/// A future that is polled without the interpreter.
struct Detached<F>(Pin<Box<F>>);

impl<F: Future + Send> Future for Detached<F>
where
    F::Output: Send,
{
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let future = self.0.as_mut();
        // A context does not go from thread to thread; its waker does.
        let waker = cx.waker();
        attached(|py| ending::detached(py, move || future.poll(&mut Context::from_waker(waker))))
    }
}

/// Signal handlers, asked for while a thread waits.
#[derive(Debug)]
pub(crate) struct Signals;

impl Interrupt for Signals {
    fn check(&self) -> std::result::Result<(), BoxError> {
        attached(|py| py.check_signals().map_err(Into::into))
    }
}
