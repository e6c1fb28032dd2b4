//! The pipe without any loop: what a loop would tell it is told by hand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::*;
use crate::clock::ManualClock;
use crate::error::{Error, ErrorCode};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Connect(Link),
    Write(Link),
    Close(Link),
}
use Asked::{Close, Connect, Write};

#[derive(Default)]
struct Host(std::sync::Mutex<Vec<Asked>>);

impl PipeHost for Host {
    fn connect(&self, link: Link) {
        self.0.lock().unwrap().push(Connect(link));
    }
    fn want_write(&self, link: Link) {
        self.0.lock().unwrap().push(Write(link));
    }
    fn close(&self, link: Link) {
        self.0.lock().unwrap().push(Close(link));
    }
}

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Outcome = Poll<Result<Reply>>;

/// One call, polled by hand.
struct Caller {
    future: Pin<Box<dyn Future<Output = Result<Reply>> + Send>>,
    woken: Arc<Count>,
}

impl Caller {
    fn poll(&mut self) -> Outcome {
        let waker = Waker::from(Arc::clone(&self.woken));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    fn woken(&self) -> usize {
        self.woken.0.load(Ordering::SeqCst)
    }

    fn failed(&mut self) -> Error {
        match self.poll() {
            Poll::Ready(Err(error)) => error,
            other => panic!("{other:?}"),
        }
    }

    #[track_caller]
    fn got(&mut self, value: &'static str) {
        match self.poll() {
            Poll::Ready(Ok(reply)) => assert_eq!(reply, Reply::Bulk(value.into())),
            other => panic!("{other:?}"),
        }
    }
}

struct Rig {
    pipe: Pipe,
    host: Arc<Host>,
    clock: Arc<ManualClock>,
}

const TIMEOUT: Duration = Duration::from_millis(500);

impl Rig {
    fn new() -> Self {
        let (host, clock) = (Arc::new(Host::default()), Arc::new(ManualClock::new(0)));
        let endpoint = "redis://:hunter2@cache.example".parse().unwrap();
        let pipe = Pipe::with_clock(endpoint, host.clone(), clock.clone());
        Self { pipe, host, clock }
    }

    /// A rig whose first link is introduced.
    fn ready() -> Self {
        let rig = Self::new();
        let mut first = rig.get("warm");
        assert!(first.poll().is_pending());
        rig.introduce(1);
        rig.output(1);
        rig.pipe.feed(1, b"$1\r\nw\r\n");
        first.got("w");
        rig.asked();
        rig
    }

    fn introduce(&self, link: Link) {
        self.pipe.connected(link);
        assert!(self.output(link).starts_with("*7\r\n$5\r\nHELLO\r\n"));
        self.pipe.feed(link, b"%1\r\n+proto\r\n:3\r\n");
    }

    /// A call whose request is `name`, so that what is written can be read.
    fn call(&self, packed: Packed, timeout: Duration) -> Caller {
        let (inner, deadline) = (Arc::clone(&self.pipe.0), self.clock.now().after(timeout));
        let operation = "get";
        let future = async move {
            let inner = &*inner;
            Call {
                inner,
                operation,
                deadline,
                stage: Stage::New(packed),
            }
            .await
        };
        Caller {
            future: Box::pin(future),
            woken: Arc::default(),
        }
    }

    fn get(&self, name: &str) -> Caller {
        self.call(name.as_bytes().to_vec().into(), TIMEOUT)
    }

    fn output(&self, link: Link) -> String {
        let pieces: Vec<_> = std::iter::from_fn(|| self.pipe.take_output(link)).collect();
        String::from_utf8(pieces.concat()).unwrap()
    }

    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.host.0.lock().unwrap())
    }

    fn pass(&self, time: Duration) {
        self.clock.advance(time);
        self.pipe.expire(self.clock.now());
    }
}

#[test]
fn the_first_call_connects_and_waits_for_the_introduction() {
    let rig = Rig::new();
    let (mut a, mut b) = (rig.get("a;"), rig.get("b;"));
    assert_eq!(rig.asked(), [], "nothing happens before the first poll");
    assert!(a.poll().is_pending() && b.poll().is_pending());
    assert_eq!(rig.asked(), [Connect(1)]);
    assert_eq!(rig.pipe.take_output(1), None);
    rig.pipe.connected(1);
    assert_eq!(rig.asked(), [Write(1)]);
    assert!(rig.output(1).contains("HELLO"));
    rig.pipe.feed(1, b"%1\r\n+proto\r\n");
    assert_eq!(rig.asked(), [], "half an introduction");
    rig.pipe.feed(1, b":3\r\n");
    assert_eq!(rig.asked(), [Write(1)]);
    assert_eq!(rig.output(1), "a;b;");
    rig.pipe.feed(1, b"$1\r\nA\r\n$1\r\nB\r\n");
    a.got("A");
    b.got("B");
    assert_eq!(rig.asked(), []);
}

#[test]
fn requests_of_one_iteration_leave_together_and_replies_wake_their_own() {
    let rig = Rig::ready();
    let mut calls: Vec<_> = (0..100).map(|n| rig.get(&format!("{n};"))).collect();
    assert!(calls.iter_mut().all(|call| call.poll().is_pending()));
    assert_eq!(rig.asked(), [Write(1)], "said once");
    let whole = rig.pipe.take_output(1).unwrap();
    assert!(whole.starts_with(b"0;1;2;") && whole.ends_with(b"98;99;"));
    assert_eq!(rig.pipe.take_output(1), None);
    rig.pipe.feed(1, b"$1\r\n0\r\n$1\r\n1\r\n$1\r\n2");
    assert_eq!(calls.iter().map(Caller::woken).sum::<usize>(), 2);
    calls[1].got("1");
    calls[0].got("0");
    assert!(calls[2].poll().is_pending());
    rig.pipe.feed(1, b"\r\n");
    assert_eq!((calls[2].woken(), calls[3].woken()), (1, 0));
    calls[2].got("2");
}

#[test]
fn a_dropped_call_leaves_its_reply_to_nobody() {
    let rig = Rig::ready();
    let (mut a, mut b, mut c) = (rig.get("a;"), rig.get("b;"), rig.get("c;"));
    assert!(a.poll().is_pending() && b.poll().is_pending());
    let woken = Arc::clone(&a.woken);
    drop(a);
    assert_eq!(Arc::strong_count(&woken), 1, "its waker is dropped");
    assert_eq!(rig.output(1), "a;b;");
    rig.pipe.feed(1, b"$1\r\nA\r\n$1\r\nB\r\n");
    b.got("B");
    // Answered but not taken: its place is free again.
    assert!(c.poll().is_pending());
    rig.pipe.feed(1, b"$1\r\nC\r\n");
    drop(c);
    assert_eq!(rig.pipe.next_deadline(), None);
    assert_eq!(rig.asked(), [Write(1), Write(1)]);
}

#[test]
fn a_call_dropped_before_it_was_sent_is_not_sent() {
    let rig = Rig::new();
    let (mut a, mut b) = (rig.get("a;"), rig.get("b;"));
    assert!(a.poll().is_pending() && b.poll().is_pending());
    drop(a);
    rig.introduce(1);
    assert_eq!(rig.output(1), "b;");
    rig.pipe.feed(1, b"$1\r\nB\r\n");
    b.got("B");
}

#[test]
fn a_timed_out_request_takes_its_connection_along() {
    let rig = Rig::ready();
    let mut late = rig.get("late;");
    assert!(late.poll().is_pending());
    rig.clock.advance(Duration::from_millis(100));
    let mut other = rig.get("other;");
    assert!(other.poll().is_pending());
    rig.output(1);
    rig.asked();
    assert_eq!(
        rig.pipe.next_deadline(),
        Some(rig.clock.now().after(Duration::from_millis(400)))
    );
    rig.pass(Duration::from_millis(399));
    assert_eq!(rig.asked(), []);
    rig.pass(Duration::from_millis(1));
    assert_eq!(rig.asked(), [Close(1)]);
    let error = late.failed();
    assert_eq!(error.code(), ErrorCode::RemoteTimeout);
    assert!(error.to_string().contains("get within 500ms"), "{error}");
    assert_eq!(other.failed().code(), ErrorCode::RemoteUnavailable);
    assert_eq!(rig.pipe.next_deadline(), None);
    // Late news of the closed link concern nobody; the next call has a link of its own.
    rig.pipe.feed(1, b"$4\r\nlate\r\n");
    let mut next = rig.get("next;");
    assert!(next.poll().is_pending());
    assert_eq!(rig.asked(), [Connect(2)]);
    rig.pipe.feed(1, b"$4\r\nlate\r\n");
    rig.pipe.lost(1, "closed");
    assert_eq!(rig.pipe.take_output(1), None);
    rig.introduce(2);
    assert_eq!(rig.output(2), "next;");
    rig.pipe.feed(2, b"$1\r\nn\r\n");
    next.got("n");
}

#[test]
fn deadlines_out_of_order_are_kept() {
    let rig = Rig::ready();
    let mut long = rig.call(b"l".to_vec().into(), Duration::from_secs(10));
    let mut short = rig.call(b"s".to_vec().into(), Duration::from_secs(1));
    assert!(long.poll().is_pending() && short.poll().is_pending());
    rig.pipe.feed(1, b"$1\r\nL\r\n");
    long.got("L");
    rig.pass(Duration::from_secs(1));
    assert_eq!(short.failed().code(), ErrorCode::RemoteTimeout);
    // The other way round: the early one is answered, and its deadline passes over the late one.
    let rig = Rig::ready();
    let mut short = rig.call(b"s".to_vec().into(), Duration::from_secs(1));
    let mut long = rig.call(b"l".to_vec().into(), Duration::from_secs(10));
    assert!(short.poll().is_pending() && long.poll().is_pending());
    rig.pipe.feed(1, b"$1\r\nS\r\n");
    short.got("S");
    rig.pass(Duration::from_secs(1));
    assert!(long.poll().is_pending());
    assert_eq!(
        rig.pipe.next_deadline(),
        Some(rig.clock.now().after(Duration::from_secs(9)))
    );
}

#[test]
fn a_call_without_time_left_sends_nothing() {
    let rig = Rig::ready();
    let mut call = rig.call(b"x".to_vec().into(), Duration::ZERO);
    assert_eq!(call.failed().code(), ErrorCode::RemoteTimeout);
    assert_eq!(rig.asked(), []);
}

#[test]
fn a_connection_that_died_idle_costs_nothing() {
    let rig = Rig::ready();
    rig.pipe.lost(1, "reset");
    assert_eq!(rig.asked(), []);
    let mut call = rig.get("a;");
    assert!(call.poll().is_pending());
    assert_eq!(rig.asked(), [Connect(2)]);
}

#[test]
fn requests_that_a_dead_server_never_read_are_repeated_once() {
    let rig = Rig::ready();
    let (mut a, mut gone) = (rig.get("a;"), rig.get("gone;"));
    assert!(a.poll().is_pending() && gone.poll().is_pending());
    rig.output(1);
    drop(gone);
    rig.asked();
    rig.pipe.lost(1, "reset");
    assert_eq!((rig.asked(), a.woken()), (vec![Connect(2)], 0));
    assert!(rig.pipe.next_deadline().is_some());
    rig.introduce(2);
    assert_eq!(rig.output(2), "a;");
    rig.pipe.lost(2, "reset again");
    let error = a.failed();
    assert_eq!(error.code(), ErrorCode::RemoteUnavailable);
    assert!(error.to_string().contains("reset again"), "{error}");
}

#[test]
fn requests_whose_reply_had_begun_are_not_repeated() {
    let rig = Rig::ready();
    let mut a = rig.get("a;");
    assert!(a.poll().is_pending());
    rig.output(1);
    rig.pipe.feed(1, b"$10\r\nabc");
    rig.asked();
    rig.pipe.lost(1, "reset");
    assert_eq!(rig.asked(), []);
    assert_eq!(a.failed().code(), ErrorCode::RemoteUnavailable);
}

#[test]
fn every_call_after_a_failure_to_connect_tries_again() {
    let rig = Rig::new();
    for link in 1..4 {
        let mut a = rig.get("a;");
        assert!(a.poll().is_pending());
        assert_eq!(rig.asked(), [Connect(link)]);
        rig.pipe.lost(link, "refused");
        assert!(a.failed().to_string().contains("refused"));
    }
}

#[test]
fn a_connection_attempt_that_hangs_is_given_up() {
    let rig = Rig::new();
    let mut a = rig.get("a;");
    assert!(a.poll().is_pending());
    rig.pass(TIMEOUT);
    assert_eq!(rig.asked(), [Connect(1), Close(1)]);
    assert_eq!(a.failed().code(), ErrorCode::RemoteTimeout);
    rig.pipe.connected(1);
    assert_eq!(rig.asked(), [], "too late");
}

#[test]
fn a_wrong_password_fails_all_with_the_server_s_text() {
    let rig = Rig::new();
    let (mut a, mut b) = (rig.get("a;"), rig.get("b;"));
    assert!(a.poll().is_pending() && b.poll().is_pending());
    rig.pipe.connected(1);
    rig.pipe
        .feed(1, b"-WRONGPASS invalid username-password pair hunter2\r\n");
    for call in [&mut a, &mut b] {
        let error = call.failed();
        assert_eq!(error.code(), ErrorCode::RemoteRefused);
        assert!(error.to_string().contains("WRONGPASS invalid"), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
    assert_eq!(rig.asked(), [Connect(1), Write(1), Close(1)]);
}

#[test]
fn what_is_no_reply_closes_the_connection() {
    for garbage in [
        &b"HTTP/1.1 400\r\n"[..],
        b"$549755813888\r\n",
        b"$1\r\nA\r\n+unasked\r\n",
    ] {
        let rig = Rig::ready();
        let mut a = rig.get("a;");
        assert!(a.poll().is_pending());
        rig.asked();
        rig.pipe.feed(1, garbage);
        assert_eq!(rig.asked(), [Close(1)]);
        match a.poll() {
            Poll::Ready(Ok(Reply::Bulk(_))) if garbage.starts_with(b"$1\r") => {}
            Poll::Ready(Err(error)) => assert_eq!(error.code(), ErrorCode::RemoteProtocol),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn pushes_are_no_replies() {
    let rig = Rig::ready();
    let mut a = rig.get("a;");
    assert!(a.poll().is_pending());
    rig.pipe
        .feed(1, b">2\r\n+invalidate\r\n_\r\n$1\r\nA\r\n>1\r\n+x\r\n");
    a.got("A");
    assert_eq!(rig.asked(), [Write(1)]);
}

#[test]
fn a_large_value_is_written_from_where_it_is() {
    let rig = Rig::ready();
    let value = Bytes::from(vec![b'v'; 1 << 20]);
    let request = Request::Set {
        key: b"k",
        value: value.clone(),
        lifetime: None,
    };
    let mut small = rig.get("small;");
    let mut large = rig.call(request.pack(), TIMEOUT);
    assert!(small.poll().is_pending() && large.poll().is_pending());
    let pieces: Vec<_> = std::iter::from_fn(|| rig.pipe.take_output(1)).collect();
    assert_eq!(pieces.len(), 3);
    assert!(pieces[0].starts_with(b"small;*3\r\n$3\r\nSET"));
    assert_eq!(pieces[1].as_ptr(), value.as_ptr());
    assert_eq!(&pieces[2][..], b"\r\n");
}

#[test]
fn a_new_waker_takes_the_old_one_s_place() {
    let rig = Rig::ready();
    let mut a = rig.get("a;");
    assert!(a.poll().is_pending());
    let old = std::mem::take(&mut a.woken);
    assert!(a.poll().is_pending());
    assert_eq!(Arc::strong_count(&old), 1);
    rig.pipe.feed(1, b"$1\r\nA\r\n");
    assert_eq!((a.woken(), old.0.load(Ordering::SeqCst)), (1, 0));
}

#[test]
fn a_forked_child_starts_anew_and_wakes_nobody() {
    let rig = Rig::ready();
    let (mut a, mut gone) = (rig.get("a;"), rig.get("g;"));
    assert!(a.poll().is_pending() && gone.poll().is_pending());
    drop(gone);
    rig.asked();
    rig.pipe.0.reset_after_fork();
    assert_eq!(
        (a.woken(), Arc::strong_count(&a.woken)),
        (0, 2),
        "not even dropped"
    );
    assert_eq!(rig.pipe.take_output(1), None);
    assert_eq!(a.failed().code(), ErrorCode::RemoteUnavailable);
    let mut b = rig.get("b;");
    assert!(b.poll().is_pending());
    assert_eq!(Arc::strong_count(&a.woken), 1);
    assert_eq!(rig.asked(), [Connect(2)]);
}

#[test]
fn a_host_may_call_back_at_once() {
    struct Eager(std::sync::OnceLock<Pipe>);
    impl PipeHost for Eager {
        fn connect(&self, link: Link) {
            self.0.get().unwrap().connected(link);
        }
        fn want_write(&self, link: Link) {
            let pipe = self.0.get().unwrap();
            while let Some(output) = pipe.take_output(link) {
                let hello = output.starts_with(b"*4");
                pipe.feed(link, if hello { b"%0\r\n" } else { b"$1\r\nE\r\n" });
            }
        }
        fn close(&self, _: Link) {}
    }
    let host = Arc::new(Eager(std::sync::OnceLock::new()));
    let pipe = Pipe::new("redis://host".parse().unwrap(), host.clone());
    host.0.set(pipe.clone()).unwrap();
    let deadline = SystemClock.now().after(TIMEOUT);
    let future = async move { pipe.call(Request::Get(&[b"k"]), deadline).await };
    let mut call = Caller {
        future: Box::pin(future),
        woken: Arc::default(),
    };
    assert!(call.poll().is_pending());
    assert_eq!(call.woken(), 1);
    call.got("E");
}
