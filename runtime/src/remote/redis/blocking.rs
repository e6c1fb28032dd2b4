//! The transport of threads: sockets used on the calling thread, from a pool.
//!
//! A call is complete within one poll of its future, so there is nothing to wake and no thread to hop to. A connection is used
//! again only if it has answered everything: one that timed out, was interrupted, or holds bytes that nobody asked for is
//! closed, so a reply can never reach another caller.

use std::sync::Arc;
use std::time::Duration;

use rustix::event::PollFlags;

use super::handshake::{Handshake, Next};
use super::protocol::{Reader, Reply};
use super::resolve::Resolver;
use super::socket::{Socket, Target};
use super::wait::Wait;
use super::{Address, Endpoint, Packed, Request, Transport, malformed, unavailable};
use crate::clock::{Clock, Instant, SystemClock};
use crate::error::{Error, ErrorCode, Result};
use crate::interrupt::Interrupt;
use crate::remote::Deadline;
use crate::shim::{self, ForkReset, Mutex};

/// Most idle connections that are kept.
const KEPT: usize = 64;

/// How long a connection is kept idle while others are used.
const IDLE: Duration = Duration::from_mins(1);

/// Connections of threads to one server. Cheap to clone; connects to nothing until it is called.
///
/// Deadlines are moments of [`SystemClock`]. Every wait asks the [`Interrupt`] at least every
/// [`SLICE`](crate::interrupt::SLICE).
#[derive(Clone)]
pub struct Blocking(Arc<Pool>);

impl Blocking {
    /// The server at `endpoint`.
    pub fn new(endpoint: Endpoint, interrupt: Arc<dyn Interrupt>) -> Self {
        let resolver = Arc::new(Resolver::new());
        let pool = Arc::new(Pool {
            endpoint,
            interrupt,
            resolver,
            shelf: Mutex::default(),
        });
        let as_reset: Arc<dyn ForkReset> = pool.clone();
        shim::reset_after_fork(Arc::downgrade(&as_reset));
        Self(pool)
    }
}

impl std::fmt::Debug for Blocking {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Blocking").field(&self.0.endpoint).finish()
    }
}

impl Transport for Blocking {
    fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    async fn call(&self, request: Request<'_>, deadline: Deadline) -> Result<Reply> {
        let pool = &self.0;
        let wait = Wait::new(
            &pool.endpoint,
            request.operation(),
            &*pool.interrupt,
            deadline,
        );
        // Nothing is sent for a caller whose time is over.
        wait.slice()?;
        pool.call(&request.pack(), &wait)
    }
}

struct Pool {
    endpoint: Endpoint,
    interrupt: Arc<dyn Interrupt>,
    resolver: Arc<Resolver>,
    shelf: Mutex<Shelf>,
}

#[derive(Default)]
struct Shelf {
    /// The one used last is at the end and used next, so that a quiet process keeps few alive.
    idle: Vec<Connection>,
    /// The descriptors of sockets in use, for a child that inherits them.
    #[cfg(unix)]
    out: Vec<rustix::fd::RawFd>,
}

struct Connection {
    socket: Socket,
    reader: Reader,
    since: Instant,
}

/// How an exchange failed.
enum Failure {
    /// The other end had closed before it began to reply.
    Closed(String),
    Error(Error),
}

impl Failure {
    fn into_error(self, endpoint: &Endpoint) -> Error {
        match self {
            Self::Closed(reason) => unavailable(endpoint, reason),
            Self::Error(error) => error,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Pool {
    fn call(&self, request: &Packed, wait: &Wait<'_>) -> Result<Reply> {
        if let Some(used) = self.take() {
            match exchange(used, request, wait) {
                Ok(reply) => return Ok(reply),
                Err(Failure::Error(error)) => return Err(error),
                // It died while it was idle, and probably so did the others. All our commands can be repeated.
                Err(Failure::Closed(_)) => self.shelf.with(|shelf| shelf.idle.clear()),
            }
        }
        let fresh = self.connect(wait)?;
        exchange(fresh, request, wait).map_err(|failure| failure.into_error(&self.endpoint))
    }

    /// A connection that was used before and is still there.
    fn take(&self) -> Option<Lease<'_>> {
        loop {
            let connection = self.shelf.with(|shelf| {
                let connection = shelf.idle.pop()?;
                shelf.lend(&connection.socket);
                Some(connection)
            })?;
            let lease = Lease {
                pool: self,
                connection: Some(connection),
            };
            if lease
                .connection
                .as_ref()
                .is_some_and(|known| known.socket.is_silent())
            {
                return Some(lease);
            }
        }
    }

    fn connect(&self, wait: &Wait<'_>) -> Result<Lease<'_>> {
        match self.endpoint.address() {
            #[cfg(unix)]
            Address::Unix(path) => self.connect_to(&Target::Unix(path), wait),
            #[cfg(not(unix))]
            Address::Unix(_) => Err(unavailable(
                &self.endpoint,
                "Unix sockets do not exist on this platform",
            )),
            Address::Tcp(host, port) => {
                let addresses = self.resolver.addresses(host, *port, wait)?;
                let mut worst = None;
                for (at, address) in addresses.iter().enumerate() {
                    let left = u32::try_from(addresses.len() - at).unwrap_or(1);
                    let wait = wait.until(wait.share(left));
                    match self.connect_to(&Target::Tcp(*address), &wait) {
                        Ok(lease) => return Ok(lease),
                        Err(error) => match error.code() {
                            // One address that is silent says more than another one that refuses.
                            ErrorCode::RemoteTimeout => worst = Some(error),
                            ErrorCode::RemoteUnavailable => worst = worst.or(Some(error)),
                            _ => return Err(error),
                        },
                    }
                }
                self.resolver.forget();
                Err(worst.unwrap_or_else(|| unavailable(&self.endpoint, "it has no address")))
            }
        }
    }

    fn connect_to(&self, target: &Target<'_>, wait: &Wait<'_>) -> Result<Lease<'_>> {
        let failed = |error: std::io::Error| unavailable(&self.endpoint, error);
        // Opened and noted in one section, so that no fork comes between.
        let socket = self.shelf.with(|shelf| {
            let socket = Socket::open(target)?;
            shelf.lend(&socket);
            Ok(socket)
        });
        let connection = Connection {
            socket: socket.map_err(failed)?,
            reader: Reader::default(),
            since: Instant::default(),
        };
        let mut lease = Lease {
            pool: self,
            connection: Some(connection),
        };
        let connection = lease.connection();
        connection.socket.connect(target, wait)?.map_err(failed)?;
        connection
            .introduce(wait)
            .map_err(|failure| failure.into_error(&self.endpoint))?;
        Ok(lease)
    }
}

/// One request and its reply; the connection is kept only if that was all.
fn exchange(mut lease: Lease<'_>, request: &Packed, wait: &Wait<'_>) -> Result<Reply, Failure> {
    let connection = lease.connection();
    connection.send(request, wait)?;
    let reply = connection.receive(wait)?;
    if connection.reader.is_idle() {
        lease.give_back();
    }
    Ok(reply)
}

impl Connection {
    fn introduce(&mut self, wait: &Wait<'_>) -> Result<(), Failure> {
        let (mut handshake, mut bytes) = Handshake::begin(wait.endpoint());
        loop {
            self.send(&bytes.into(), wait)?;
            match handshake.reply(&self.receive(wait)?)? {
                Next::Send(next) => bytes = next,
                Next::Ready => return Ok(()),
            }
        }
    }

    fn send(&mut self, request: &Packed, wait: &Wait<'_>) -> Result<(), Failure> {
        let mut pieces = request.pieces().peekable();
        while let Some(piece) = pieces.next() {
            let mut rest: &[u8] = piece;
            while !rest.is_empty() {
                match self.socket.send(rest, pieces.peek().is_some()) {
                    Ok(count) => rest = &rest[count..],
                    Err(error) => match error.kind() {
                        std::io::ErrorKind::WouldBlock => {
                            self.socket.ready(PollFlags::OUT, wait)?;
                        }
                        std::io::ErrorKind::Interrupted => wait.check()?,
                        // A server that refuses a request while it is being sent says why before it closes.
                        _ => return self.last_words(&error),
                    },
                }
            }
        }
        Ok(())
    }

    /// What was left to read when writing failed: a reply is for [`Self::receive`] to find.
    fn last_words(&mut self, error: &std::io::Error) -> Result<(), Failure> {
        match self.fill() {
            Ok(count) if count > 0 => Ok(()),
            _ => Err(Failure::Closed(error.to_string())),
        }
    }

    fn fill(&mut self) -> std::io::Result<usize> {
        let count = self.socket.receive(self.reader.room())?;
        // SAFETY: the kernel wrote as many bytes to the room.
        unsafe { self.reader.advance(count) };
        Ok(count)
    }

    fn receive(&mut self, wait: &Wait<'_>) -> Result<Reply, Failure> {
        loop {
            match self.reader.next() {
                Ok(Some(Reply::Push(_))) => continue,
                Ok(Some(reply)) => return Ok(reply),
                Ok(None) => {}
                Err(reason) => return Err(malformed(wait.endpoint(), reason.0).into()),
            }
            self.socket.ready(PollFlags::IN, wait)?;
            let closed = match self.fill() {
                Ok(0) => "it closed the connection".to_owned(),
                Ok(_) => continue,
                Err(error) => match error.kind() {
                    std::io::ErrorKind::WouldBlock => continue,
                    std::io::ErrorKind::Interrupted => {
                        wait.check()?;
                        continue;
                    }
                    _ => error.to_string(),
                },
            };
            return Err(if self.reader.is_idle() {
                Failure::Closed(closed)
            } else {
                unavailable(wait.endpoint(), format_args!("{closed} within a reply")).into()
            });
        }
    }
}

/// A connection in use: closed when dropped, unless it is given back.
struct Lease<'a> {
    pool: &'a Pool,
    connection: Option<Connection>,
}

impl Lease<'_> {
    fn connection(&mut self) -> &mut Connection {
        self.connection
            .as_mut()
            .expect("only give_back and drop take it")
    }

    fn give_back(mut self) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        connection.since = SystemClock.now();
        let now = connection.since;
        self.pool.shelf.with(|shelf| {
            shelf.returned(&connection.socket);
            if shelf
                .idle
                .first()
                .is_some_and(|oldest| now.since(oldest.since) > IDLE)
                || shelf.idle.len() >= KEPT
            {
                shelf.idle.remove(0);
            }
            shelf.idle.push(connection);
        });
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            // Closed within the section: its number must not be another file's while it is noted.
            self.pool.shelf.with(|shelf| {
                shelf.returned(&connection.socket);
                drop(connection);
            });
        }
    }
}

#[cfg(unix)]
impl Shelf {
    fn lend(&mut self, socket: &Socket) {
        self.out.push(socket.number());
    }

    fn returned(&mut self, socket: &Socket) {
        self.out.retain(|number| *number != socket.number());
    }
}

#[cfg(not(unix))]
#[allow(clippy::unused_self)]
impl Shelf {
    fn lend(&mut self, _: &Socket) {}
    fn returned(&mut self, _: &Socket) {}
}

impl ForkReset for Pool {
    fn reset_after_fork(&self) {
        self.shelf.with(|shelf| {
            shelf.idle.clear();
            #[cfg(unix)]
            for number in shelf.out.drain(..) {
                abandon(number);
            }
        });
        self.resolver.reset_after_fork();
    }
}

/// Closes an inherited socket that was in use while its process forked. Its owner may be a thread that is gone, or this very
/// thread, which forked in a signal handler and goes on with its call: so its number stays taken, by a socket that is
/// connected to nothing.
#[cfg(unix)]
fn abandon(number: rustix::fd::RawFd) {
    use rustix::fd::{FromRawFd, OwnedFd};
    let Ok(nowhere) = Socket::open(&Target::Unix(std::path::Path::new(""))) else {
        return;
    };
    // SAFETY: the number is that of a `Socket` that still owns it in this process, whose owner either does not run any
    // more or runs in this thread, and that does not look at it before this returns; the duplicate is never dropped.
    let mut inherited = std::mem::ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    // On failure the socket stays open in the child, unused.
    let _ = rustix::io::dup2(nowhere, &mut inherited);
}
