//! The transport of threads against a real server.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use cachekit_runtime::clock::{Clock, SystemClock};
use cachekit_runtime::driver::blocking::run;
use cachekit_runtime::error::{BoxError, ErrorCode};
use cachekit_runtime::interrupt::{Interrupt, SLICE, Uninterrupted};
use cachekit_runtime::remote::redis::{Blocking, Redis};
use cachekit_tests::redis_server::RedisServer;

use crate::common::{blocking, every_command, every_refusal, get, get_by, set, wait, within};

/// How many connections the server has, beside the one that asks.
fn connections(server: &RedisServer) -> usize {
    let list = server.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    list.lines()
        .filter(|line| !line.contains("cmd=client"))
        .count()
}

fn ids(server: &RedisServer) -> Vec<String> {
    let list = server.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    let ours = list.lines().filter(|line| line.contains("name=cachekit"));
    ours.filter_map(|line| line.split(' ').next().map(str::to_owned))
        .collect()
}

#[test]
fn commands_over_tcp_and_unix() {
    let server = RedisServer::start();
    let by_name = server.url().replace("127.0.0.1", "localhost");
    for url in [server.url(), by_name, server.unix_url()] {
        assert_eq!(server.command(&["FLUSHALL"]), "+OK");
        let remote = blocking(&url);
        wait(every_command(&remote, &server));
        wait(every_refusal(&remote, &server));
        assert_eq!(connections(&server), 1, "one connection served it all");
    }
}

#[test]
fn nothing_connects_before_the_first_call() {
    let server = RedisServer::start();
    let remote = blocking(&server.url());
    assert_eq!(connections(&server), 0);
    wait(set(&remote, "k", "v")).unwrap();
    assert_eq!(connections(&server), 1);
    drop(remote);
    wait(set(&blocking(&server.url()), "k", "v")).unwrap();
    assert_eq!(connections(&server), 0, "dropped with its pool");
}

#[test]
fn the_connection_used_last_is_used_next() {
    let server = RedisServer::start();
    let remote = blocking(&server.url());
    let together = Barrier::new(4);
    std::thread::scope(|scope| {
        for n in 0..4 {
            let (remote, together) = (&remote, &together);
            scope.spawn(move || {
                together.wait();
                for round in 0..200 {
                    let key = format!("{n}-{round}");
                    wait(set(remote, &key, &key)).unwrap();
                    assert_eq!(wait(get(remote, &key)).unwrap(), Some(key));
                }
            });
        }
    });
    let pooled = ids(&server);
    assert!((1..=4).contains(&pooled.len()), "{pooled:?}");
    wait(get(&remote, "k")).unwrap();
    let busiest = |server: &RedisServer| {
        let list = server.command(&["CLIENT", "LIST", "TYPE", "normal"]);
        list.lines()
            .filter(|line| line.contains("cmd=mget") && line.contains("idle=0"))
            .count()
    };
    assert!(busiest(&server) >= 1);
    assert_eq!(ids(&server), pooled, "no new connection was made");
}

#[test]
fn a_server_that_restarted_between_calls_is_not_noticed() {
    let mut server = RedisServer::start();
    for url in [server.url(), server.unix_url()] {
        let remote = blocking(&url);
        let both = Barrier::new(2);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    both.wait();
                    wait(set(&remote, "k", "old")).unwrap();
                });
            }
        });
        server.restart();
        assert_eq!(wait(get(&remote, "k")).unwrap(), None);
        wait(set(&remote, "k", "new")).unwrap();
        assert_eq!(wait(get(&remote, "k")).unwrap().as_deref(), Some("new"));
        assert_eq!(ids(&server).len(), 1);
    }
}

#[test]
fn a_connection_that_the_server_closed_is_not_noticed() {
    let server = RedisServer::start();
    let remote = blocking(&server.url());
    wait(set(&remote, "k", "v")).unwrap();
    assert_eq!(
        server.command(&["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"]),
        ":1"
    );
    assert_eq!(wait(get(&remote, "k")).unwrap().as_deref(), Some("v"));
}

#[test]
fn no_server_is_said_at_once() {
    let mut server = RedisServer::start();
    let tcp = blocking(&server.url());
    let unix = blocking(&server.unix_url());
    server.kill();
    for (remote, text) in [(&tcp, "Connection refused"), (&unix, "Connection refused")] {
        let error = wait(get(remote, "k")).unwrap_err();
        assert_eq!(error.code(), ErrorCode::RemoteUnavailable);
        assert!(error.to_string().contains(text), "{error}");
        assert!(error.retryable());
    }
    let nowhere = blocking("unix:///nonexistent/redis.sock");
    assert_eq!(
        wait(get(&nowhere, "k")).unwrap_err().code(),
        ErrorCode::RemoteUnavailable
    );
    let nobody = blocking("redis://name.invalid");
    assert_eq!(
        wait(get(&nobody, "k")).unwrap_err().code(),
        ErrorCode::RemoteUnavailable
    );
}

#[test]
fn a_stopped_server_costs_the_timeout_and_no_reply_goes_astray() {
    let server = RedisServer::start();
    for url in [server.url(), server.unix_url()] {
        let remote = blocking(&url);
        wait(set(&remote, "a", "A")).unwrap();
        wait(set(&remote, "b", "B")).unwrap();
        let before = ids(&server);
        server.pause();
        // The first has a connection and waits for its reply, the second waits for its introduction.
        for _ in 0..2 {
            let begun = SystemClock.now();
            let error = wait(get_by(&remote, "a", within(200))).unwrap_err();
            let took = SystemClock.now().since(begun);
            assert_eq!(error.code(), ErrorCode::RemoteTimeout, "{error}");
            assert!(error.to_string().contains("get within"), "{error}");
            assert!(took >= Duration::from_millis(199), "{took:?}");
            assert!(took < Duration::from_millis(400), "{took:?}");
        }
        server.resume();
        assert_eq!(wait(get(&remote, "b")).unwrap().as_deref(), Some("B"));
        assert!(
            ids(&server).iter().all(|id| !before.contains(id)),
            "the old connection is closed"
        );
        assert_eq!(ids(&server).len(), 1);
    }
}

#[test]
fn a_write_that_the_server_does_not_read_ends_in_time() {
    let server = RedisServer::start();
    let remote = blocking(&server.unix_url());
    wait(set(&remote, "k", "v")).unwrap();
    server.pause();
    let large = vec![0; 50_000_000].into();
    let stored = cachekit_runtime::remote::Remote::set(&remote, b"large", large, None, within(200));
    assert_eq!(wait(stored).unwrap_err().code(), ErrorCode::RemoteTimeout);
    server.resume();
    assert_eq!(wait(get(&remote, "k")).unwrap().as_deref(), Some("v"));
    assert_eq!(
        wait(get(&remote, "large")).unwrap(),
        None,
        "half a command is no command"
    );
}

#[test]
fn a_call_whose_time_is_over_sends_nothing() {
    let server = RedisServer::start();
    let remote = blocking(&server.url());
    let error = wait(get_by(&remote, "k", SystemClock.now())).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RemoteTimeout);
    assert_eq!(connections(&server), 0);
}

/// Interrupts from the second question on, so that a wait is under way.
struct Second(AtomicBool);

impl Interrupt for Second {
    fn check(&self) -> Result<(), BoxError> {
        if self.0.swap(true, Ordering::SeqCst) {
            Err("Ctrl-C".into())
        } else {
            Ok(())
        }
    }
}

#[test]
fn a_wait_can_be_interrupted() {
    let server = RedisServer::start();
    let interrupt = Arc::new(Second(AtomicBool::new(false)));
    let transport = Blocking::new(server.url().parse().unwrap(), interrupt);
    let remote = Redis::new(transport);
    run(set(&remote, "k", "v"), &Uninterrupted)
        .unwrap()
        .unwrap();
    server.pause();
    let begun = SystemClock.now();
    let error = run(get(&remote, "k"), &Uninterrupted).unwrap().unwrap_err();
    let took = SystemClock.now().since(begun);
    assert_eq!(error.code(), ErrorCode::Interrupted);
    assert_eq!(error.into_source().unwrap().to_string(), "Ctrl-C");
    assert!(took >= SLICE, "asked only while waiting");
    assert!(took < 4 * SLICE, "{took:?}");
    server.resume();
    remote_is_sound(&server);
}

fn remote_is_sound(server: &RedisServer) {
    assert_eq!(
        wait(get(&blocking(&server.url()), "k")).unwrap().as_deref(),
        Some("v")
    );
}

#[test]
fn a_signal_asks_at_once() {
    extern "C" fn nothing(_: libc::c_int) {}
    struct Flag(AtomicBool);
    impl Interrupt for Flag {
        fn check(&self) -> Result<(), BoxError> {
            if self.0.load(Ordering::SeqCst) {
                Err("signal".into())
            } else {
                Ok(())
            }
        }
    }
    // SAFETY: a handler that does nothing, installed without SA_RESTART, as Python installs its own.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as extern "C" fn(libc::c_int) as usize;
        libc::sigaction(libc::SIGUSR1, &raw const action, std::ptr::null_mut());
    }
    let server = RedisServer::start();
    let flag = Arc::new(Flag(AtomicBool::new(false)));
    let transport = Blocking::new(server.url().parse().unwrap(), Arc::clone(&flag) as Arc<_>);
    let remote = Redis::new(transport);
    wait(set(&remote, "k", "v")).unwrap();
    server.pause();
    // SAFETY: only asks which thread this is.
    let thread = unsafe { libc::pthread_self() };
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            flag.0.store(true, Ordering::SeqCst);
            while !over.load(Ordering::SeqCst) {
                // SAFETY: the thread lives until this scope has ended.
                unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
                std::thread::yield_now();
            }
        });
        let error = wait(get(&remote, "k")).unwrap_err();
        over.store(true, Ordering::SeqCst);
        assert_eq!(error.code(), ErrorCode::Interrupted);
    });
}

#[test]
fn a_value_that_the_server_refuses_is_refused_in_its_words() {
    let server = RedisServer::start_with(&["--proto-max-bulk-len", "1mb"]);
    let remote = blocking(&server.unix_url());
    wait(set(&remote, "k", "v")).unwrap();
    let large = vec![0; 20_000_000].into();
    let stored = cachekit_runtime::remote::Remote::set(&remote, b"k", large, None, within(5000));
    let error = wait(stored).unwrap_err();
    assert_eq!(error.code(), ErrorCode::RemoteRefused, "{error}");
    assert!(error.to_string().contains("invalid bulk length"), "{error}");
    assert_eq!(wait(get(&remote, "k")).unwrap().as_deref(), Some("v"));
}
