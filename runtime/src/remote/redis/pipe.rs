//! The transport of event loops: takes bytes and gives bytes, and does no I/O.
//!
//! The loop's own transport carries them, so no thread is hopped to. All requests of one iteration of the loop leave together,
//! and a reply wakes the future that waits for it and no other. Replies come in the order of the requests, so a request
//! that is not answered in time takes the connection with it: there is no other way to tell its late reply from the next.
//!
//! [`link`](super::link) holds what one connection means and is tested without any loop; this file is its lock, its futures and its
//! effects, which all happen after the lock is released.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::link::{Effects, Polled, Ticket, Traffic};
use super::{Endpoint, Packed, Reply, Request, Transport};
use crate::clock::{Clock, Instant, SystemClock};
use crate::error::Result;
use crate::remote::Deadline;
use crate::shim::{self, ForkReset, Mutex};

/// One connection of a [`Pipe`], counted from 1. What is said about an earlier one is ignored, since a loop tells late that
/// a transport has closed.
pub type Link = u64;

/// What a pipe asks of its event loop. Called outside every lock; each may call the pipe at once.
pub trait PipeHost: Send + Sync {
    /// Start to connect; answer with [`Pipe::connected`] or [`Pipe::lost`].
    fn connect(&self, link: Link);

    /// There is output: call [`Pipe::take_output`] until it gives none, once this iteration of the loop has run its tasks. Not
    /// said again before that.
    fn want_write(&self, link: Link);

    /// Close at once and drop what is not written, or stop connecting.
    fn close(&self, link: Link);
}

/// One connection of an event loop to one server, made when it is first needed. Cheap to clone.
///
/// After each [`PipeHost::connect`] and [`PipeHost::want_write`] the host makes sure that [`Pipe::expire`] is called at
/// [`Pipe::next_deadline`] or soon after; one timer is enough, since deadlines seldom come out of order.
#[derive(Clone)]
pub struct Pipe(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    host: Arc<dyn PipeHost>,
    clock: Arc<dyn Clock>,
    traffic: Mutex<Traffic>,
}

impl Pipe {
    /// A pipe to `endpoint` on the loop of `host`. Deadlines are moments of [`SystemClock`].
    pub fn new(endpoint: Endpoint, host: Arc<dyn PipeHost>) -> Self {
        Self::with_clock(endpoint, host, Arc::new(SystemClock))
    }

    /// The same on another clock.
    pub fn with_clock(endpoint: Endpoint, host: Arc<dyn PipeHost>, clock: Arc<dyn Clock>) -> Self {
        let traffic = Mutex::new(Traffic::new(endpoint.clone()));
        let inner = Arc::new(Inner {
            endpoint,
            host,
            clock,
            traffic,
        });
        let as_reset: Arc<dyn ForkReset> = inner.clone();
        shim::reset_after_fork(Arc::downgrade(&as_reset));
        Self(inner)
    }

    /// The connection is made.
    pub fn connected(&self, link: Link) {
        self.0
            .apply(|traffic, effects| traffic.connected(link, effects));
    }

    /// The server sent `data`.
    pub fn feed(&self, link: Link, data: &[u8]) {
        self.0
            .apply(|traffic, effects| traffic.feed(link, data, effects));
    }

    /// The connection ended, or could not be made, because of `reason`.
    pub fn lost(&self, link: Link, reason: &str) {
        self.0
            .apply(|traffic, effects| traffic.lost(link, reason, effects));
    }

    /// What is to be written next; `None` when that was all. Everything small comes in one piece, large values in pieces of
    /// their own, uncopied.
    pub fn take_output(&self, link: Link) -> Option<Bytes> {
        self.0.traffic.with(|traffic| traffic.take_output(link))
    }

    /// When to call [`Self::expire`]; `None` while nothing is outstanding.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.0.traffic.with(|traffic| traffic.next_deadline())
    }

    /// Gives up on requests whose deadline is not after `now`.
    pub fn expire(&self, now: Instant) {
        self.0
            .apply(|traffic, effects| traffic.expire(now, effects));
    }
}

impl std::fmt::Debug for Pipe {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Pipe").field(&self.0.endpoint).finish()
    }
}

impl Transport for Pipe {
    fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    async fn call(&self, request: Request<'_>, deadline: Deadline) -> Result<Reply> {
        let operation = request.operation();
        let stage = Stage::New(request.pack());
        Call {
            inner: &self.0,
            operation,
            deadline,
            stage,
        }
        .await
    }
}

impl Inner {
    /// Changes the state under the lock, then does what follows from it.
    fn apply<T>(&self, change: impl FnOnce(&mut Traffic, &mut Effects) -> T) -> T {
        let mut effects = Effects::default();
        let result = self.traffic.with(|traffic| change(traffic, &mut effects));
        if let Some(link) = effects.close {
            self.host.close(link);
        }
        if let Some(link) = effects.connect {
            self.host.connect(link);
        }
        if let Some(link) = effects.write {
            self.host.want_write(link);
        }
        for waker in effects.wake {
            waker.wake();
        }
        result
    }
}

impl ForkReset for Inner {
    fn reset_after_fork(&self) {
        // The loop's half closes its transport itself; nobody is woken, since tasks of the parent do not run here.
        self.traffic.with(Traffic::abandon);
    }
}

/// One request on its way.
struct Call<'a> {
    inner: &'a Inner,
    operation: &'static str,
    deadline: Deadline,
    stage: Stage,
}

enum Stage {
    New(Packed),
    Waiting(Ticket),
    Over,
}

impl Future for Call<'_> {
    type Output = Result<Reply>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        match std::mem::replace(&mut this.stage, Stage::Over) {
            Stage::New(packed) => {
                let now = this.inner.clock.now();
                // Cloned here: a waker is foreign code, which must not run under the lock.
                let waker = cx.waker().clone();
                let ticket = this.inner.apply(|traffic, effects| {
                    traffic.begin(packed, this.operation, now, this.deadline, waker, effects)
                })?;
                this.stage = Stage::Waiting(ticket);
                Poll::Pending
            }
            Stage::Waiting(ticket) => {
                let mut spare = None;
                loop {
                    let polled = this
                        .inner
                        .traffic
                        .with(|traffic| traffic.poll(ticket, cx.waker(), &mut spare));
                    match polled {
                        Polled::Done(result) => return Poll::Ready(result),
                        Polled::Pending => {
                            this.stage = Stage::Waiting(ticket);
                            return Poll::Pending;
                        }
                        Polled::NeedsWaker => spare = Some(cx.waker().clone()),
                    }
                }
            }
            Stage::Over => panic!("a call was polled after it ended"),
        }
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        if let Stage::Waiting(ticket) = self.stage {
            drop(self.inner.traffic.with(|traffic| traffic.forget(ticket)));
        }
    }
}

#[cfg(test)]
mod tests;
