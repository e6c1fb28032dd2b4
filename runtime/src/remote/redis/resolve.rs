//! Host names to addresses, within a deadline.
//!
//! `getaddrinfo` cannot be given a deadline nor be interrupted, and takes half a minute when the name servers are silent. So it
//! runs in a helper thread, which is abandoned when the caller must go: the thread ends by itself and leaves its answer for
//! the next caller. There is at most one per server, however many threads wait, and none for a literal address or
//! `localhost`. Answers are kept for a short while, so that a new connection seldom needs a thread, and given up when no
//! address among them connects, so that a server that moved is found at once.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use super::unavailable;
use super::wait::Wait;
use crate::clock::{Clock, Instant, SystemClock};
use crate::error::Result;
use crate::shim::{ForkReset, Mutex};

/// How long an answer is used.
const KEPT: Duration = Duration::from_secs(30);

type Addresses = Arc<[SocketAddr]>;
type Answer = Result<Addresses, String>;
type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The addresses of one server.
pub(super) struct Resolver {
    lookup: Box<Lookup>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: Option<(Addresses, Instant)>,
    /// Whether a helper thread is out.
    asking: bool,
    waiting: Vec<mpsc::SyncSender<Answer>>,
}

impl Resolver {
    pub(super) fn new() -> Self {
        Self::with_lookup(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
    }

    fn with_lookup(
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            lookup: Box::new(lookup),
            state: Mutex::default(),
        }
    }

    /// The addresses of `host`, never none.
    pub(super) fn addresses(
        self: &Arc<Self>,
        host: &str,
        port: u16,
        wait: &Wait<'_>,
    ) -> Result<Addresses> {
        if let Some(addresses) = without_lookup(host, port) {
            return Ok(addresses);
        }
        let now = SystemClock.now();
        // One slot: the helper must never wait for a caller that has gone.
        let (sender, receiver) = mpsc::sync_channel(1);
        let (known, ask) = self.state.with(|state| match &state.known {
            Some((addresses, until)) if now < *until => (Some(Arc::clone(addresses)), false),
            _ => {
                state.waiting.push(sender);
                (None, !std::mem::replace(&mut state.asking, true))
            }
        });
        if let Some(addresses) = known {
            return Ok(addresses);
        }
        if ask {
            self.ask(host.to_owned(), port);
        }
        loop {
            match receiver.recv_timeout(wait.slice()?) {
                Ok(answer) => {
                    return answer.map_err(|reason| unavailable(wait.endpoint(), reason));
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(unavailable(wait.endpoint(), "the name lookup was given up"));
                }
            }
        }
    }

    /// No address that was given connects any more.
    pub(super) fn forget(&self) {
        self.state.with(|state| state.known = None);
    }

    fn ask(self: &Arc<Self>, host: String, port: u16) {
        let this = Arc::clone(self);
        let spawned = std::thread::Builder::new()
            .name("cachekit-lookup".to_owned())
            .spawn(move || {
                let answer = match (this.lookup)(&host, port) {
                    Ok(addresses) if addresses.is_empty() => Err(format!("{host} has no address")),
                    Ok(addresses) => Ok(addresses.into()),
                    Err(error) => Err(format!("the address of {host} was not found: {error}")),
                };
                this.answered(&answer);
            });
        if let Err(error) = spawned {
            self.answered(&Err(format!("no thread for a name lookup: {error}")));
        }
    }

    fn answered(&self, answer: &Answer) {
        let until = SystemClock.now().after(KEPT);
        let waiting = self.state.with(|state| {
            state.asking = false;
            state.known = answer
                .as_ref()
                .ok()
                .map(|addresses| (Arc::clone(addresses), until));
            std::mem::take(&mut state.waiting)
        });
        for caller in waiting {
            // A caller that went away has dropped its end.
            let _ = caller.try_send(answer.clone());
        }
    }
}

impl ForkReset for Resolver {
    fn reset_after_fork(&self) {
        // The helper thread, if there was one, stayed in the parent.
        self.state.with(|state| {
            state.asking = false;
            state.waiting.clear();
        });
    }
}

fn without_lookup(host: &str, port: u16) -> Option<Addresses> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Some([SocketAddr::new(address, port)].into());
    }
    host.eq_ignore_ascii_case("localhost").then(|| {
        let both = [
            IpAddr::from(Ipv4Addr::LOCALHOST),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ];
        both.map(|address| SocketAddr::new(address, port)).into()
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::error::ErrorCode;
    use crate::interrupt::{Interrupt, Uninterrupted};
    use crate::remote::redis::Endpoint;

    fn endpoint() -> Endpoint {
        "redis://cache.example".parse().unwrap()
    }

    fn within<T>(
        millis: u64,
        interrupt: &dyn Interrupt,
        section: impl FnOnce(&Wait<'_>) -> T,
    ) -> T {
        let deadline = SystemClock.now().after(Duration::from_millis(millis));
        section(&Wait::new(&endpoint(), "get", interrupt, deadline))
    }

    #[test]
    fn literal_addresses_and_localhost_ask_nobody() {
        let resolver = Arc::new(Resolver::with_lookup(|_, _| panic!("asked")));
        for (host, first) in [
            ("127.0.0.2", "127.0.0.2:9"),
            ("::1", "[::1]:9"),
            ("LocalHost", "127.0.0.1:9"),
        ] {
            let found = within(0, &Uninterrupted, |wait| resolver.addresses(host, 9, wait));
            assert_eq!(found.unwrap()[0].to_string(), first);
        }
    }

    #[test]
    fn a_silent_name_server_costs_the_deadline_and_one_thread() {
        let (answer, question) = mpsc::channel::<()>();
        let question = std::sync::Mutex::new(question);
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        let resolver = Arc::new(Resolver::with_lookup(move |_, port| {
            counted.fetch_add(1, Ordering::SeqCst);
            question.lock().unwrap().recv().unwrap();
            Ok(vec![SocketAddr::new(
                Ipv4Addr::new(10, 0, 0, 1).into(),
                port,
            )])
        }));
        for _ in 0..3 {
            let failed = within(20, &Uninterrupted, |wait| {
                resolver.addresses("cache.example", 1, wait)
            });
            assert_eq!(failed.unwrap_err().code(), ErrorCode::RemoteTimeout);
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        // The abandoned thread answers whoever waits then; later callers need no thread.
        answer.send(()).unwrap();
        for _ in 0..3 {
            let found = within(5000, &Uninterrupted, |wait| {
                resolver.addresses("cache.example", 1, wait)
            });
            assert_eq!(found.unwrap()[0].to_string(), "10.0.0.1:1");
        }
        assert_eq!(asked.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn waiting_for_a_name_can_be_interrupted() {
        struct Now;
        impl Interrupt for Now {
            fn check(&self) -> Result<(), crate::error::BoxError> {
                Err("now".into())
            }
        }
        let (_answer, question) = mpsc::channel::<()>();
        let question = std::sync::Mutex::new(question);
        let resolver = Arc::new(Resolver::with_lookup(move |_, _| {
            let _ = question.lock().unwrap().recv();
            Ok(vec![])
        }));
        let failed = within(10_000, &Now, |wait| {
            resolver.addresses("cache.example", 1, wait)
        });
        assert_eq!(failed.unwrap_err().code(), ErrorCode::Interrupted);
    }

    #[test]
    fn an_unknown_name_is_said_and_not_remembered() {
        let resolver = Arc::new(Resolver::with_lookup(|_, _| {
            Err(io::Error::other("no such name"))
        }));
        for _ in 0..2 {
            let failed = within(5000, &Uninterrupted, |wait| {
                resolver.addresses("cache.example", 1, wait)
            });
            let failed = failed.unwrap_err();
            assert_eq!(failed.code(), ErrorCode::RemoteUnavailable);
            assert!(failed.to_string().contains("no such name"));
        }
    }
}
