//! The transport of async Rust: the `redis` crate's multiplexed connection, made when it is needed and again after it failed.
//!
//! Only what the crate does best is left to it: many tasks on one stream. The stream is connected and introduced here, under
//! the one deadline and with our own introduction, so that a refusal is told in the server's words, as everywhere else.

use std::sync::Arc;
use std::time::Duration;

use ::tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use ::tokio::task::AbortHandle;
use bytes::Bytes;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Cmd, ErrorKind, RedisConnectionInfo, RedisError, Value};

use super::handshake::{Handshake, Next};
use super::protocol::{Reader, error_text};
use super::{Address, Endpoint, Reply, Request, Transport, malformed, timed_out, unavailable};
use crate::clock::{Clock, SystemClock};
use crate::error::{Error, Result};
use crate::remote::Deadline;
use crate::shim::{self, ForkReset, Mutex};

/// One connection of a tokio runtime to one server, shared by its tasks. Cheap to clone; connects to nothing until it is
/// called. Deadlines are moments of [`SystemClock`].
///
/// It must be called within a tokio runtime with I/O and time.
#[derive(Clone)]
pub struct Tokio(Arc<Inner>);

struct Inner {
    endpoint: Endpoint,
    current: Mutex<Option<Numbered>>,
    /// Held by the task that connects, so that many calls make one connection.
    connecting: ::tokio::sync::Mutex<u64>,
}

#[derive(Clone)]
struct Numbered {
    number: u64,
    connection: MultiplexedConnection,
    /// Ends the task that reads and writes, and with it the stream, when nobody uses it any more.
    _task: Arc<Task>,
}

struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Tokio {
    /// The server at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        let connecting = ::tokio::sync::Mutex::new(0);
        let inner = Arc::new(Inner {
            endpoint,
            current: Mutex::default(),
            connecting,
        });
        let as_reset: Arc<dyn ForkReset> = inner.clone();
        shim::reset_after_fork(Arc::downgrade(&as_reset));
        Self(inner)
    }
}

impl std::fmt::Debug for Tokio {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Tokio").field(&self.0.endpoint).finish()
    }
}

impl Transport for Tokio {
    fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    async fn call(&self, request: Request<'_>, deadline: Deadline) -> Result<Reply> {
        let left = deadline.since(SystemClock.now());
        let late = || timed_out(&self.0.endpoint, request.operation(), left);
        if left == Duration::ZERO {
            return Err(late());
        }
        let mut used = None;
        let exchange = self.0.exchange(request.command(), &mut used);
        let outcome = ::tokio::time::timeout(left, exchange).await;
        outcome.unwrap_or_else(|_| {
            // Nobody may wait behind a reply that does not come.
            self.0.discard(used);
            Err(late())
        })
    }
}

impl Inner {
    /// Sends `command`; leaves in `used` the number of the connection that it is on.
    async fn exchange(&self, command: Cmd, used: &mut Option<u64>) -> Result<Reply> {
        let known = self.current.with(|current| current.clone());
        if let Some(mut known) = known {
            *used = Some(known.number);
            match known.connection.send_packed_command(&command).await {
                // It died, perhaps while it was idle. All our commands can be repeated.
                Err(error) if is_lost(&error) => self.discard(Some(known.number)),
                outcome => return self.reply(outcome),
            }
        }
        *used = None;
        let mut fresh = self.connection().await?;
        *used = Some(fresh.number);
        let outcome = fresh.connection.send_packed_command(&command).await;
        if outcome.as_ref().is_err_and(is_lost) {
            self.discard(Some(fresh.number));
        }
        self.reply(outcome)
    }

    async fn connection(&self) -> Result<Numbered> {
        let mut last = self.connecting.lock().await;
        if let Some(known) = self.current.with(|current| current.clone()) {
            return Ok(known);
        }
        *last += 1;
        let fresh = match self.endpoint.address() {
            Address::Tcp(host, port) => {
                let stream = ::tokio::net::TcpStream::connect((&**host, *port)).await;
                let stream = stream.map_err(|error| unavailable(&self.endpoint, error))?;
                // What is sent must leave at once, whatever is still unanswered.
                stream
                    .set_nodelay(true)
                    .map_err(|error| unavailable(&self.endpoint, error))?;
                self.open(stream, *last).await?
            }
            #[cfg(unix)]
            Address::Unix(path) => {
                let stream = ::tokio::net::UnixStream::connect(path).await;
                self.open(
                    stream.map_err(|error| unavailable(&self.endpoint, error))?,
                    *last,
                )
                .await?
            }
            #[cfg(not(unix))]
            Address::Unix(_) => {
                let reason = "Unix sockets do not exist on this platform";
                return Err(unavailable(&self.endpoint, reason));
            }
        };
        let replaced = self.current.with(|current| current.replace(fresh.clone()));
        drop(replaced);
        Ok(fresh)
    }

    async fn open<S>(&self, mut stream: S, number: u64) -> Result<Numbered>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        self.introduce(&mut stream).await?;
        // All is said: no credentials, no database, no library name, no timeouts of its own.
        let settings = RedisConnectionInfo::default().set_skip_set_lib_name();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(None)
            .set_response_timeout(None);
        let (connection, driver) =
            MultiplexedConnection::new_with_config(&settings, stream, config)
                .await
                .map_err(|error| self.failed(&error))?;
        let task = Task(::tokio::spawn(driver).abort_handle());
        Ok(Numbered {
            number,
            connection,
            _task: Arc::new(task),
        })
    }

    async fn introduce(&self, stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> Result<()> {
        let failed = |error: std::io::Error| unavailable(&self.endpoint, error);
        let (mut handshake, mut bytes) = Handshake::begin(&self.endpoint);
        let mut reader = Reader::default();
        let mut buffer = [0; 1024];
        loop {
            stream.write_all(&bytes).await.map_err(failed)?;
            let reply = loop {
                match reader.next() {
                    Ok(Some(Reply::Push(_))) => {}
                    Ok(Some(reply)) => break reply,
                    Ok(None) => match stream.read(&mut buffer).await.map_err(failed)? {
                        0 => return Err(unavailable(&self.endpoint, "it closed the connection")),
                        count => reader.feed(&buffer[..count]),
                    },
                    Err(reason) => return Err(malformed(&self.endpoint, reason.0)),
                }
            };
            match handshake.reply(&reply)? {
                Next::Send(next) => bytes = next,
                Next::Ready if reader.is_idle() => return Ok(()),
                Next::Ready => return Err(malformed(&self.endpoint, "nobody asked for it")),
            }
        }
    }

    /// Has the next call connect anew, unless one already did.
    fn discard(&self, number: Option<u64>) {
        let gone = self
            .current
            .with(|current| current.take_if(|known| Some(known.number) == number));
        drop(gone);
    }

    fn reply(&self, outcome: Result<Value, RedisError>) -> Result<Reply> {
        match outcome {
            Ok(value) => Ok(reply(value)),
            Err(error) if matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) => {
                Ok(Reply::Error(server_text(&error).into()))
            }
            Err(error) => Err(self.failed(&error)),
        }
    }

    fn failed(&self, error: &RedisError) -> Error {
        match error.kind() {
            // What the crate says of it shows bytes of a value.
            ErrorKind::Parse | ErrorKind::UnexpectedReturnType => {
                malformed(&self.endpoint, "it does not parse")
            }
            _ => {
                let text = error_text(error.to_string().as_bytes());
                unavailable(&self.endpoint, self.endpoint.redact(&text))
            }
        }
    }
}

impl ForkReset for Inner {
    fn reset_after_fork(&self) {
        // Dropping it would talk to the parent's runtime, whose threads and epoll set are not the child's.
        std::mem::forget(self.current.with(Option::take));
    }
}

/// Whether the connection is of no more use.
fn is_lost(error: &RedisError) -> bool {
    error.is_io_error() || error.is_unrecoverable_error()
}

/// A server's error as the server wrote it, as far as the crate kept it.
fn server_text(error: &RedisError) -> String {
    match (error.code(), error.detail()) {
        (Some(code), Some(detail)) => format!("{code} {detail}"),
        (Some(code), None) => code.to_owned(),
        (None, _) => error.to_string(),
    }
}

fn reply(value: Value) -> Reply {
    let all = |values: Vec<Value>| values.into_iter().map(reply).collect();
    let pairs = |pairs: Vec<(Value, Value)>| {
        pairs
            .into_iter()
            .flat_map(|(key, value)| [reply(key), reply(value)])
            .collect()
    };
    match value {
        Value::Int(number) => Reply::Integer(number),
        Value::BulkString(bytes) => Reply::Bulk(bytes.into()),
        Value::Array(values) | Value::Set(values) => Reply::Array(all(values)),
        Value::SimpleString(text) => Reply::Text(text.into()),
        Value::Okay => Reply::Text(Bytes::from_static(b"OK")),
        Value::Map(values) => Reply::Map(pairs(values)),
        Value::Attribute { data, .. } => reply(*data),
        Value::Double(number) => Reply::Double(number),
        Value::Boolean(truth) => Reply::Boolean(truth),
        Value::VerbatimString { text, .. } => Reply::Bulk(text.into()),
        Value::BigNumber(digits) => Reply::Text(digits.into()),
        Value::Push { data, .. } => Reply::Push(all(data)),
        Value::ServerError(error) => Reply::Error(match error.details() {
            Some(details) => format!("{} {details}", error.code()).into(),
            None => error.code().to_owned().into(),
        }),
        _ => Reply::Nil,
    }
}
