//! One non-blocking stream socket, and the waits on it.
//!
//! `std`'s streams can neither be interrupted while they connect nor be given an absolute deadline; poll(2) can, and one
//! timed poll serves connecting, writing and reading alike.

use std::io;
use std::mem::MaybeUninit;
use std::net::SocketAddr;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType};

use super::wait::Wait;
use crate::error::Result;

/// Where to connect.
pub(super) enum Target<'a> {
    Tcp(SocketAddr),
    #[cfg(unix)]
    Unix(&'a std::path::Path),
    #[cfg(not(unix))]
    #[allow(dead_code, reason = "keeps the lifetime where there is no path")]
    Unix(std::convert::Infallible, std::marker::PhantomData<&'a ()>),
}

/// A socket, closed with close(2) and nothing else when dropped.
#[derive(Debug)]
pub(super) struct Socket(OwnedFd);

/// What a finished attempt to connect came to.
pub(super) type Connected = io::Result<()>;

impl Socket {
    /// An unconnected socket of the right kind, closed on exec.
    pub(super) fn open(target: &Target<'_>) -> io::Result<Self> {
        let family = match target {
            Target::Tcp(SocketAddr::V4(_)) => AddressFamily::INET,
            Target::Tcp(SocketAddr::V6(_)) => AddressFamily::INET6,
            #[cfg(unix)]
            Target::Unix(_) => AddressFamily::UNIX,
            #[cfg(not(unix))]
            Target::Unix(never, _) => match *never {},
        };
        let socket = stream_socket(family)?;
        if matches!(target, Target::Tcp(_)) {
            rustix::net::sockopt::set_tcp_nodelay(&socket, true)?;
        }
        Ok(Self(socket))
    }

    /// Its descriptor's number.
    #[cfg(unix)]
    pub(super) fn number(&self) -> rustix::fd::RawFd {
        use rustix::fd::AsRawFd;
        self.0.as_raw_fd()
    }

    /// Connects; the inner result is the network's, the outer one the caller's patience.
    pub(super) fn connect(&self, target: &Target<'_>, wait: &Wait<'_>) -> Result<Connected> {
        loop {
            let begun = match target {
                Target::Tcp(address) => rustix::net::connect(&self.0, address),
                #[cfg(unix)]
                Target::Unix(path) => rustix::net::SocketAddrUnix::new(*path)
                    .and_then(|address| rustix::net::connect(&self.0, &address)),
                #[cfg(not(unix))]
                Target::Unix(never, _) => match *never {},
            };
            match begun {
                Ok(()) | Err(Errno::ISCONN) => return Ok(Ok(())),
                Err(Errno::INTR) => wait.check()?,
                // A Unix socket whose queue is full says so and cannot be polled for room.
                Err(Errno::AGAIN) if !matches!(target, Target::Tcp(_)) => pause(wait)?,
                Err(Errno::INPROGRESS | Errno::ALREADY | Errno::AGAIN) => break,
                Err(error) => return Ok(Err(error.into())),
            }
        }
        self.ready(PollFlags::OUT, wait)?;
        Ok(match rustix::net::sockopt::socket_error(&self.0) {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) | Err(error) => Err(error.into()),
        })
    }

    /// Writes what there is room for; `more` follows at once.
    pub(super) fn send(&self, bytes: &[u8], more: bool) -> io::Result<usize> {
        Ok(rustix::net::send(&self.0, bytes, send_flags(more))?)
    }

    /// Reads what has come; 0 when the other end has closed.
    pub(super) fn receive(&self, room: &mut [MaybeUninit<u8>]) -> io::Result<usize> {
        let (_, count) = rustix::net::recv(&self.0, room, RecvFlags::empty())?;
        Ok(count)
    }

    /// Whether the other end has neither sent nor closed: all that an idle connection may be.
    pub(super) fn is_silent(&self) -> bool {
        let mut byte = [0_u8; 1];
        matches!(
            rustix::net::recv(&self.0, &mut byte[..], RecvFlags::PEEK),
            Err(Errno::AGAIN)
        )
    }

    /// Waits until there is something to do.
    pub(super) fn ready(&self, what: PollFlags, wait: &Wait<'_>) -> Result<()> {
        loop {
            let timeout = timespec(wait.slice()?);
            match poll(&mut [PollFd::new(&self.0, what)], Some(&timeout)) {
                Ok(0) => {}
                Err(Errno::INTR) => wait.check()?,
                // Whatever else is wrong, the next read or write says better.
                Ok(_) | Err(_) => return Ok(()),
            }
        }
    }
}

impl rustix::fd::AsFd for Socket {
    fn as_fd(&self) -> rustix::fd::BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Waits a moment with nothing to wait for.
fn pause(wait: &Wait<'_>) -> Result<()> {
    const MOMENT: std::time::Duration = std::time::Duration::from_millis(5);
    std::thread::sleep(wait.slice()?.min(MOMENT));
    Ok(())
}

fn timespec(duration: std::time::Duration) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: i32::try_from(duration.subsec_nanos())
            .unwrap_or_default()
            .into(),
    }
}

#[cfg(target_os = "linux")]
fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    use rustix::net::SocketFlags;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(
        family,
        SocketType::STREAM,
        flags,
        None,
    )?)
}

#[cfg(not(target_os = "linux"))]
fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    let socket = rustix::net::socket(family, SocketType::STREAM, None)?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    #[cfg(unix)]
    rustix::io::ioctl_fioclex(&socket)?;
    #[cfg(target_vendor = "apple")]
    rustix::net::sockopt::set_socket_nosigpipe(&socket, true)?;
    Ok(socket)
}

/// A write to a closed socket must be an error and never a signal: not every host process ignores SIGPIPE.
#[cfg(target_os = "linux")]
fn send_flags(more: bool) -> SendFlags {
    if more {
        SendFlags::NOSIGNAL | SendFlags::MORE
    } else {
        SendFlags::NOSIGNAL
    }
}

#[cfg(not(target_os = "linux"))]
fn send_flags(_more: bool) -> SendFlags {
    SendFlags::empty()
}
