//! The transport of event loops, driven by a loop of a hundred lines over poll(2) and a non-blocking socket.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use bytes::{Buf, Bytes};
use cachekit_runtime::clock::{Clock, SystemClock};
use cachekit_runtime::error::ErrorCode;
use cachekit_runtime::remote::Remote;
use cachekit_runtime::remote::redis::{Link, Pipe, PipeHost, Redis};
use cachekit_tests::redis_server::RedisServer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::common::{assert_refused, every_command, every_refusal, get, get_by, set, soon, within};

enum Asked {
    Connect(Link),
    Write(Link),
    Close(Link),
}

#[derive(Default)]
struct Host(Mutex<VecDeque<Asked>>);

impl Host {
    fn ask(&self, what: Asked) {
        self.0.lock().unwrap().push_back(what);
    }
}

impl PipeHost for Host {
    fn connect(&self, link: Link) {
        self.ask(Asked::Connect(link));
    }
    fn want_write(&self, link: Link) {
        self.ask(Asked::Write(link));
    }
    fn close(&self, link: Link) {
        self.ask(Asked::Close(link));
    }
}

/// A task of the loop: woken ones are in the loop's ready queue.
struct Task {
    number: usize,
    ready: Arc<Mutex<VecDeque<usize>>>,
    woken: Arc<AtomicUsize>,
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        self.woken.fetch_add(1, Ordering::SeqCst);
        self.ready.lock().unwrap().push_back(self.number);
    }
}

struct Loop {
    pipe: Pipe,
    host: Arc<Host>,
    path: std::path::PathBuf,
    stream: Option<(Link, UnixStream)>,
    pending: VecDeque<Bytes>,
    /// Pieces of output by the iteration that they were taken in.
    pieces: Vec<usize>,
    woken: Arc<AtomicUsize>,
    links: usize,
}

impl Loop {
    fn new(server: &RedisServer) -> Self {
        Self::with_url(server, &server.unix_url())
    }

    fn with_url(server: &RedisServer, url: &str) -> Self {
        let host = Arc::new(Host::default());
        Self {
            pipe: Pipe::new(url.parse().unwrap(), host.clone()),
            host,
            path: server.unix_path(),
            stream: None,
            pending: VecDeque::new(),
            pieces: Vec::new(),
            woken: Arc::default(),
            links: 0,
        }
    }

    fn remote(&self) -> Redis<Pipe> {
        Redis::new(self.pipe.clone())
    }

    fn run<T>(&mut self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        self.run_all(vec![future.as_mut()]).pop().unwrap()
    }

    fn run_all<T>(
        &mut self,
        mut futures: Vec<Pin<&mut (impl Future<Output = T> + ?Sized)>>,
    ) -> Vec<T> {
        let ready = Arc::new(Mutex::new((0..futures.len()).collect::<VecDeque<_>>()));
        let wakers: Vec<Waker> = (0..futures.len())
            .map(|number| {
                let (ready, woken) = (Arc::clone(&ready), Arc::clone(&self.woken));
                Arc::new(Task {
                    number,
                    ready,
                    woken,
                })
                .into()
            })
            .collect();
        let mut outputs: Vec<Option<T>> = futures.iter().map(|_| None).collect();
        loop {
            let now: Vec<usize> = ready.lock().unwrap().drain(..).collect();
            for number in now {
                let mut cx = Context::from_waker(&wakers[number]);
                if outputs[number].is_none()
                    && let Poll::Ready(output) = futures[number].as_mut().poll(&mut cx)
                {
                    outputs[number] = Some(output);
                }
            }
            self.carry_out();
            if outputs.iter().all(Option::is_some) {
                return outputs.into_iter().flatten().collect();
            }
            if ready.lock().unwrap().is_empty() {
                self.sleep();
            }
            self.pipe.expire(SystemClock.now());
        }
    }

    fn carry_out(&mut self) {
        loop {
            let asked = self.host.0.lock().unwrap().pop_front();
            match asked {
                None => break,
                Some(Asked::Connect(link)) => {
                    self.links += 1;
                    self.pending.clear();
                    match UnixStream::connect(&self.path) {
                        Ok(stream) => {
                            stream.set_nonblocking(true).unwrap();
                            self.stream = Some((link, stream));
                            self.pipe.connected(link);
                        }
                        Err(error) => self.pipe.lost(link, &error.to_string()),
                    }
                }
                Some(Asked::Write(link)) => {
                    let before = self.pending.len();
                    self.pending
                        .extend(std::iter::from_fn(|| self.pipe.take_output(link)));
                    self.pieces.push(self.pending.len() - before);
                }
                Some(Asked::Close(link)) => {
                    if self.stream.take_if(|(open, _)| *open == link).is_some() {
                        self.pending.clear();
                        // As asyncio does, and later than the next connection may have begun.
                        self.pipe.lost(link, "closed by us");
                    }
                }
            }
        }
        self.write();
    }

    fn write(&mut self) {
        let Some((_, stream)) = &mut self.stream else {
            return;
        };
        while let Some(piece) = self.pending.front_mut() {
            match stream.write(piece) {
                Ok(count) if count == piece.len() => drop(self.pending.pop_front()),
                Ok(count) => piece.advance(count),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                // Reading will tell.
                Err(_) => return self.pending.clear(),
            }
        }
    }

    fn sleep(&mut self) {
        let until = self.pipe.next_deadline().expect("something is outstanding");
        let left = until.since(SystemClock.now()) + Duration::from_micros(100);
        let timeout = Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let Some((link, stream)) = &mut self.stream else {
            poll(&mut [], Some(&timeout)).unwrap();
            return;
        };
        let writing = if self.pending.is_empty() {
            PollFlags::empty()
        } else {
            PollFlags::OUT
        };
        poll(
            &mut [PollFd::new(&*stream, PollFlags::IN | writing)],
            Some(&timeout),
        )
        .unwrap();
        let mut buffer = vec![0; 256 * 1024];
        let lost = match stream.read(&mut buffer) {
            Ok(0) => Some("the server closed the connection".to_owned()),
            Ok(count) => {
                self.pipe.feed(*link, &buffer[..count]);
                None
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => None,
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = lost {
            let link = *link;
            self.stream = None;
            self.pipe.lost(link, &reason);
        }
    }
}

#[test]
fn commands() {
    let server = RedisServer::start();
    let mut event_loop = Loop::new(&server);
    let remote = event_loop.remote();
    event_loop.run(every_command(&remote, &server));
    event_loop.run(every_refusal(&remote, &server));
    assert_eq!(event_loop.links, 1);
}

#[test]
fn a_thousand_calls_at_once_leave_together_and_each_is_woken_once() {
    let server = RedisServer::start();
    let mut event_loop = Loop::new(&server);
    let remote = event_loop.remote();
    event_loop.run(set(&remote, "warm", "up")).unwrap();
    (event_loop.pieces, event_loop.woken) = (Vec::new(), Arc::default());
    let store = async |n: usize| set(&remote, &n.to_string(), &format!("value {n}")).await;
    let mut calls: Vec<_> = (0..1000).map(|n| Box::pin(store(n))).collect();
    for stored in event_loop.run_all(calls.iter_mut().map(Pin::as_mut).collect()) {
        stored.unwrap();
    }
    let load = async |n: usize| get(&remote, &n.to_string()).await;
    let mut calls: Vec<_> = (0..1000).map(|n| Box::pin(load(n))).collect();
    let values = event_loop.run_all(calls.iter_mut().map(Pin::as_mut).collect());
    for (n, value) in values.into_iter().enumerate() {
        assert_eq!(value.unwrap(), Some(format!("value {n}")));
    }
    assert_eq!(event_loop.pieces, [1, 1], "one piece for each thousand");
    assert_eq!(event_loop.woken.load(Ordering::SeqCst), 2000);
    assert_eq!(event_loop.links, 1);
}

#[test]
fn a_value_of_a_hundred_megabytes_goes_out_uncopied_and_comes_back() {
    let server = RedisServer::start();
    let mut event_loop = Loop::new(&server);
    let remote = event_loop.remote();
    let value = Bytes::from(vec![b'v'; 100_000_000]);
    event_loop
        .run(remote.set(b"large", value.clone(), None, within(60_000)))
        .unwrap();
    assert!(value.is_unique(), "nothing keeps it");
    let read = event_loop
        .run(remote.get(&[b"large"], None, within(60_000)))
        .unwrap();
    assert!(read == [Some(value)]);
}

#[test]
fn a_stopped_server_costs_the_timeout_and_no_reply_goes_astray() {
    let server = RedisServer::start();
    let mut event_loop = Loop::new(&server);
    let remote = event_loop.remote();
    event_loop.run(set(&remote, "a", "A")).unwrap();
    event_loop.run(set(&remote, "b", "B")).unwrap();
    server.pause();
    let begun = SystemClock.now();
    let error = event_loop
        .run(get_by(&remote, "a", within(200)))
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::RemoteTimeout);
    assert!(SystemClock.now().since(begun) < Duration::from_millis(400));
    server.resume();
    assert_eq!(
        event_loop.run(get(&remote, "b")).unwrap().as_deref(),
        Some("B")
    );
    assert_eq!(event_loop.links, 2);
}

#[test]
fn a_server_that_restarted_is_not_noticed() {
    let mut server = RedisServer::start();
    let mut event_loop = Loop::new(&server);
    let remote = event_loop.remote();
    event_loop.run(set(&remote, "k", "v")).unwrap();
    // The loop has had no chance to see the end of the connection when the next calls are made.
    server.restart();
    let mut calls: Vec<_> = (0..10).map(|_| Box::pin(get(&remote, "k"))).collect();
    for value in event_loop.run_all(calls.iter_mut().map(Pin::as_mut).collect()) {
        assert_eq!(value.unwrap(), None);
    }
    assert_eq!(event_loop.links, 2);
    server.kill();
    let error = event_loop.run(get(&remote, "k")).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RemoteUnavailable, "{error}");
}

#[test]
fn dropped_calls_leave_the_others_their_replies() {
    let server = RedisServer::start();
    let mut event_loop = Loop::new(&server);
    let remote = event_loop.remote();
    for n in 0..100 {
        event_loop
            .run(set(&remote, &n.to_string(), &n.to_string()))
            .unwrap();
    }
    let load = async |n: usize| get(&remote, &n.to_string()).await;
    let mut calls: Vec<_> = (0..100).map(|n| Box::pin(load(n))).collect();
    let mut cx = Context::from_waker(Waker::noop());
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut cx).is_pending());
    }
    let mut odd: Vec<_> = calls
        .into_iter()
        .enumerate()
        .filter_map(|(n, call)| (n % 2 == 1).then_some(call))
        .collect();
    let values = event_loop.run_all(odd.iter_mut().map(Pin::as_mut).collect());
    for (n, value) in values.into_iter().enumerate() {
        assert_eq!(value.unwrap(), Some((2 * n + 1).to_string()));
    }
}

#[test]
fn being_let_in() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret", "--databases", "4"]);
    let url = server.unix_url();
    let let_in = |event_loop: &mut Loop| {
        let remote = event_loop.remote();
        event_loop.run(async { remote.set(b"k", "v".into(), None, soon()).await })
    };
    let_in(&mut Loop::with_url(
        &server,
        &format!("{url}?pass=s3cret&db=3"),
    ))
    .unwrap();
    for (query, text) in [
        ("?pass=wr0ng", "WRONGPASS"),
        ("", "NOAUTH"),
        ("?pass=s3cret&db=4", "range"),
    ] {
        let refused = let_in(&mut Loop::with_url(&server, &format!("{url}{query}"))).unwrap_err();
        assert_refused(&refused, text);
    }
    let old =
        RedisServer::start_with(&["--rename-command", "HELLO", "", "--requirepass", "s3cret"]);
    let_in(&mut Loop::with_url(
        &old,
        &format!("{}?pass=s3cret&db=2", old.unix_url()),
    ))
    .unwrap();
}
