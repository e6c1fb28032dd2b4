//! What only a server that misbehaves can show: a listener that says what a test tells it to.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::time::Duration;

use cachekit_runtime::clock::{Clock, SystemClock};
use cachekit_runtime::error::{Error, ErrorCode, Result};
use cachekit_runtime::remote::Remote;

use crate::common::{assert_refused, blocking, get, get_by, tokio, wait, within};

const HELLO: &[u8] = b"%1\r\n+proto\r\n:3\r\n";
const VALUE: &[u8] = b"*1\r\n$1\r\nv\r\n";

/// A connection of the listener.
struct Peer(TcpStream);

impl Peer {
    /// Waits for one request; false once the other end has closed.
    fn hear(&mut self) -> bool {
        let mut buffer = [0; 4096];
        self.0.read(&mut buffer).is_ok_and(|count| count > 0)
    }

    fn say(&mut self, bytes: &[u8]) {
        // The client may have hung up already, which is what some tests are about.
        let _ = self.0.write_all(bytes);
    }

    /// Answers the introduction.
    fn greet(&mut self) -> bool {
        let heard = self.hear();
        self.say(HELLO);
        heard
    }

    /// Waits until the client has closed.
    fn until_closed(&mut self) {
        while self.hear() {}
    }
}

/// A listener whose `n`th connection, counted from 0, is served by `serve`.
fn listen(serve: impl Fn(usize, &mut Peer) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for (n, stream) in listener.incoming().enumerate() {
            let serve = Arc::clone(&serve);
            let stream = stream.unwrap();
            stream.set_nodelay(true).unwrap();
            std::thread::spawn(move || serve(n, &mut Peer(stream)));
        }
    });
    format!("redis://{address}")
}

/// A listener that greets, and answers the first request with `bytes`; then `more` decides.
fn answer(bytes: &'static [u8], more: fn(&mut Peer)) -> String {
    listen(move |_, peer| {
        peer.greet();
        peer.hear();
        peer.say(bytes);
        more(peer);
    })
}

fn stay(peer: &mut Peer) {
    peer.until_closed();
}

fn leave(_: &mut Peer) {}

/// How a call fails, with threads and with tasks alike.
fn failure(url: &str, millis: u64) -> Error {
    let error = of_threads(url, millis);
    let other = of_tasks(url, millis);
    assert_eq!(error.code(), other.code(), "{error} and {other}");
    error
}

fn of_threads(url: &str, millis: u64) -> Error {
    in_time(millis, || wait(get_by(&blocking(url), "k", within(millis))))
}

fn of_tasks(url: &str, millis: u64) -> Error {
    in_time(millis, || {
        in_tokio(async { get_by(&tokio(url), "k", within(millis)).await })
    })
}

fn in_time(millis: u64, call: impl FnOnce() -> Result<Option<String>>) -> Error {
    let begun = SystemClock.now();
    let error = call().unwrap_err();
    let took = SystemClock.now().since(begun);
    assert!(took < Duration::from_millis(millis + 200), "{took:?}");
    error
}

fn in_tokio<T>(future: impl Future<Output = T>) -> T {
    let mut builder = ::tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap().block_on(future)
}

#[test]
fn half_a_reply_and_then_silence() {
    for half in [&b"*"[..], b"*1\r\n", b"*1\r\n$5\r\nab"] {
        assert_eq!(
            failure(&answer(half, stay), 150).code(),
            ErrorCode::RemoteTimeout
        );
    }
    // No greeting, or half of one.
    for half in [&b""[..], b"%7\r\n+server\r\n"] {
        let url = listen(move |_, peer| {
            peer.hear();
            peer.say(half);
            peer.until_closed();
        });
        assert_eq!(failure(&url, 150).code(), ErrorCode::RemoteTimeout);
    }
}

#[test]
fn a_server_that_dribbles_does_not_stretch_the_deadline() {
    let url = listen(|_, peer| {
        peer.greet();
        peer.hear();
        peer.say(b"*1\r\n$1000000\r\n");
        while peer.0.write_all(b"x").is_ok() {
            std::thread::yield_now();
        }
    });
    assert_eq!(failure(&url, 200).code(), ErrorCode::RemoteTimeout);
}

#[test]
fn garbage_and_lies_are_no_replies() {
    let endless: &'static [u8] = vec![b'+'; 100_000].leak();
    for bytes in [
        &b"HTTP/1.1 400 Bad Request\r\n\r\n"[..],
        b"*1\r\n$549755813888\r\n",
        b"*549755813888\r\n",
        b"$-5\r\n",
        endless,
    ] {
        let error = of_threads(&answer(bytes, stay), 5000);
        assert_eq!(error.code(), ErrorCode::RemoteProtocol, "{error}");
        // The parser that tasks use has no limits, and waits for what was announced.
        let error = of_tasks(&answer(bytes, stay), 200);
        let code = error.code();
        assert!(
            matches!(code, ErrorCode::RemoteProtocol | ErrorCode::RemoteTimeout),
            "{error}"
        );
    }
    for greeting in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"+OK\r\n",
        b"220 mail.example ESMTP\r\n",
    ] {
        let url = listen(move |_, peer| {
            peer.say(greeting);
            peer.until_closed();
        });
        assert_eq!(failure(&url, 5000).code(), ErrorCode::RemoteProtocol);
    }
}

#[test]
fn replies_of_the_wrong_kind() {
    for bytes in [
        &b"+OK\r\n"[..],
        b":1\r\n",
        b"_\r\n",
        b"*0\r\n",
        b"*2\r\n$1\r\na\r\n$1\r\nb\r\n",
        b"*1\r\n:1\r\n",
        b"%1\r\n+a\r\n+b\r\n",
    ] {
        let error = failure(&answer(bytes, stay), 5000);
        assert_eq!(error.code(), ErrorCode::RemoteProtocol, "{error}");
    }
}

#[test]
fn errors_come_back_with_their_text() {
    for text in [
        "-LOADING Redis is loading the dataset in memory",
        "-MOVED 3999 127.0.0.1:6381",
        "-WRONGTYPE Operation against a key holding the wrong kind of value",
        "-BUSY Redis is busy running a script",
    ] {
        let reply: &'static [u8] = format!("{text}\r\n").into_bytes().leak();
        assert_refused(&failure(&answer(reply, stay), 5000), &text[1..]);
        let within: &'static [u8] = format!("*1\r\n{text}\r\n").into_bytes().leak();
        assert_refused(&failure(&answer(within, stay), 5000), &text[1..]);
    }
}

#[test]
fn a_server_that_closes_within_a_reply_is_not_asked_again() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let url = listen(move |_, peer| {
        count.fetch_add(1, Ordering::SeqCst);
        peer.greet();
        peer.hear();
        peer.say(b"*1\r\n$5\r\nab");
    });
    let error = of_threads(&url, 5000);
    assert_eq!(error.code(), ErrorCode::RemoteUnavailable);
    assert_eq!(seen.swap(0, Ordering::SeqCst), 1);
    // To the parser that tasks use, half a reply is none; what it says of it would show some of the value.
    let error = of_tasks(&url, 5000);
    assert_eq!(error.code(), ErrorCode::RemoteProtocol);
    assert!(!error.to_string().contains(&b'a'.to_string()), "{error}");
    assert_eq!(seen.load(Ordering::SeqCst), 1);
}

#[test]
fn a_used_connection_that_dies_with_a_request_is_replaced_once() {
    // The first connection serves one request and hangs up on the second; what follows depends on the test.
    let serve = |others: fn(&mut Peer)| {
        listen(move |n, peer| {
            peer.greet();
            peer.hear();
            if n == 0 {
                peer.say(VALUE);
                peer.hear();
            } else {
                others(peer);
            }
        })
    };
    let remote = blocking(&serve(|peer| peer.say(VALUE)));
    for _ in 0..2 {
        assert_eq!(wait(get(&remote, "k")).unwrap().as_deref(), Some("v"));
    }
    let remote = blocking(&serve(leave));
    assert_eq!(wait(get(&remote, "k")).unwrap().as_deref(), Some("v"));
    assert_eq!(
        wait(get(&remote, "k")).unwrap_err().code(),
        ErrorCode::RemoteUnavailable
    );
}

#[test]
fn what_nobody_asked_for_is_no_reply_to_the_next() {
    // A reply too many, with the first one or later.
    for together in [true, false] {
        let (told, tell) = mpsc::channel::<()>();
        let (said, heard) = mpsc::channel::<()>();
        let channels = std::sync::Mutex::new((tell, said));
        let url = listen(move |n, peer| {
            peer.greet();
            peer.hear();
            if n > 0 {
                peer.say(b"*1\r\n$3\r\nnew\r\n");
            } else if together {
                peer.say(&[VALUE, b"*1\r\n$5\r\nstray\r\n"].concat());
            } else {
                peer.say(VALUE);
                let channels = channels.lock().unwrap();
                channels.0.recv().unwrap();
                peer.say(b"*1\r\n$5\r\nstray\r\n");
                channels.1.send(()).unwrap();
            }
            peer.until_closed();
        });
        let remote = blocking(&url);
        assert_eq!(wait(get(&remote, "k")).unwrap().as_deref(), Some("v"));
        if !together {
            told.send(()).unwrap();
            heard.recv().unwrap();
        }
        let second = wait(get(&remote, "k")).unwrap();
        assert_eq!(second.as_deref(), Some("new"), "together: {together}");
    }
}

#[test]
fn pushes_between_replies_are_passed_over() {
    let url = answer(
        b">2\r\n+invalidate\r\n*1\r\n$1\r\nk\r\n*1\r\n$1\r\nv\r\n",
        stay,
    );
    assert_eq!(
        wait(get(&blocking(&url), "k")).unwrap().as_deref(),
        Some("v")
    );
}

#[test]
fn a_queue_that_nobody_accepts_from_costs_the_timeout() {
    // TCP: a queue of one, filled until further attempts hang.
    let listener = rustix::net::socket(
        rustix::net::AddressFamily::INET,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    rustix::net::bind(&listener, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let address: SocketAddr = rustix::net::getsockname(&listener)
        .unwrap()
        .try_into()
        .unwrap();
    let moment = Duration::from_millis(50);
    let filling: Vec<_> = std::iter::from_fn(|| TcpStream::connect_timeout(&address, moment).ok())
        .take(64)
        .collect();
    assert!(filling.len() < 64, "the queue never filled");
    assert_eq!(
        failure(&format!("redis://{address}"), 200).code(),
        ErrorCode::RemoteTimeout
    );

    // A Unix socket, whose full queue is reported otherwise.
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("full.sock");
    let listener = rustix::net::socket(
        rustix::net::AddressFamily::UNIX,
        rustix::net::SocketType::STREAM,
        None,
    )
    .unwrap();
    let name = rustix::net::SocketAddrUnix::new(&path).unwrap();
    rustix::net::bind(&listener, &name).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let _filling: Vec<_> = (0..64)
        .map(|_| {
            let socket = rustix::net::socket(
                rustix::net::AddressFamily::UNIX,
                rustix::net::SocketType::STREAM,
                None,
            )
            .unwrap();
            rustix::io::ioctl_fionbio(&socket, true).unwrap();
            let _ = rustix::net::connect(&socket, &name);
            socket
        })
        .collect();
    let url = format!("unix://{}", path.display());
    assert_eq!(of_threads(&url, 200).code(), ErrorCode::RemoteTimeout);
    assert_eq!(of_tasks(&url, 200).code(), ErrorCode::RemoteUnavailable);
}

#[test]
fn a_removal_that_is_answered_with_nonsense() {
    let remote = blocking(&answer(b"+OK\r\n", stay));
    let error = wait(remote.remove(&[b"k"], within(5000))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RemoteProtocol);
    let remote = blocking(&answer(b"$1\r\nx\r\n", stay));
    let error = wait(remote.set(b"k", "v".into(), None, within(5000))).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RemoteProtocol);
}

/// The value that a server has for a key is the key, said some time after the request.
fn echo(say: impl Fn(&mut Peer, &str) + Send + Sync + 'static) -> String {
    listen(move |_, peer| {
        peer.greet();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = peer.0.read(&mut buffer) {
            // Of each request only the key begins with a k.
            let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
            for key in text.split("\r\n").filter(|part| part.starts_with('k')) {
                say(peer, key);
            }
        }
    })
}

#[test]
fn a_late_reply_is_never_taken_for_the_next_one() {
    // Every reply to `kold` comes once the request after it has been sent, or not at all.
    let (told, tell) = mpsc::channel::<()>();
    let tell = std::sync::Mutex::new(tell);
    let url = echo(move |peer, key| {
        if key == "kold" {
            tell.lock().unwrap().recv().unwrap();
        }
        peer.say(format!("*1\r\n${}\r\n{key}\r\n", key.len()).as_bytes());
    });
    let remote = blocking(&url);
    let late = wait(get_by(&remote, "kold", within(100))).unwrap_err();
    assert_eq!(late.code(), ErrorCode::RemoteTimeout);
    told.send(()).unwrap();
    assert_eq!(wait(get(&remote, "knew")).unwrap().as_deref(), Some("knew"));

    in_tokio(async {
        let remote = tokio(&url);
        assert_eq!(get(&remote, "kany").await.unwrap().as_deref(), Some("kany"));
        let late = get_by(&remote, "kold", within(100)).await.unwrap_err();
        assert_eq!(late.code(), ErrorCode::RemoteTimeout);
        told.send(()).unwrap();
        assert_eq!(get(&remote, "knew").await.unwrap().as_deref(), Some("knew"));
        // A task that gives up leaves the reply to nobody, on a connection that goes on.
        let mut given_up = Box::pin(get(&remote, "kold"));
        ::tokio::select! {
            biased;
            _ = &mut given_up => panic!("it is not answered"),
            other = ::tokio::task::yield_now() => other,
        }
        drop(given_up);
        told.send(()).unwrap();
        assert_eq!(get(&remote, "knew").await.unwrap().as_deref(), Some("knew"));
    });
}

#[test]
fn an_error_amid_many_requests_reaches_its_own_caller() {
    let url = echo(|peer, key| {
        if key == "kbad" {
            peer.say(b"-ERR not this one\r\n");
        } else {
            peer.say(format!("*1\r\n${}\r\n{key}\r\n", key.len()).as_bytes());
        }
    });
    in_tokio(async {
        let remote = tokio(&url);
        let keys = ["k1", "kbad", "k2", "kbad", "k3"];
        let mut calls = ::tokio::task::JoinSet::new();
        for key in keys {
            let remote = remote.clone();
            calls.spawn(async move { (key, get(&remote, key).await) });
        }
        while let Some(call) = calls.join_next().await {
            match call.unwrap() {
                ("kbad", outcome) => assert_refused(&outcome.unwrap_err(), "not this one"),
                (key, outcome) => assert_eq!(outcome.unwrap().as_deref(), Some(key)),
            }
        }
    });
}
