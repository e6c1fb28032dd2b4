//! Forking for real, in a process of its own: the child never touches the parent's connections.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cachekit_runtime::error::BoxError;
use cachekit_runtime::interrupt::Interrupt;
use cachekit_runtime::remote::redis::{Blocking, Redis};
use cachekit_runtime::shim;
use cachekit_tests::redis_server::RedisServer;

use crate::common::{blocking, get, set, wait};

const URL: &str = "CACHEKIT_TEST_FORK_URL";

/// Runs the test `name` of this file in a process of its own, with the server's address.
fn in_a_process(name: &str, server: &RedisServer) {
    let output = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            name,
            "--ignored",
            "--test-threads=1",
            "--nocapture",
        ])
        .env(URL, server.unix_url())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert!(text.contains("1 passed"), "{text}");
}

/// Forks as Python does, runs `child` in the child and returns whether it went well.
fn fork(child: impl FnOnce() -> bool) -> bool {
    shim::before_fork();
    // SAFETY: the hooks around it make our locks free in the child, which ends without unwinding or exit handlers.
    match unsafe { libc::fork() } {
        0 => {
            shim::after_fork_in_child();
            let well = std::panic::catch_unwind(std::panic::AssertUnwindSafe(child));
            // SAFETY: ends the child at once.
            unsafe { libc::_exit(i32::from(!well.unwrap_or(false))) }
        }
        pid => {
            shim::after_fork_in_parent();
            let mut status = 0;
            // SAFETY: the process is our child.
            assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
            libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0
        }
    }
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn a_forked_child_makes_connections_of_its_own() {
    let server = RedisServer::start();
    in_a_process("fork::parent_and_child_go_on", &server);
    in_a_process(
        "fork::a_call_in_flight_goes_on_in_both_each_on_its_own",
        &server,
    );
    in_a_process("fork::threads_that_call_while_others_fork", &server);
}

#[test]
#[ignore = "run by a_forked_child_makes_connections_of_its_own"]
fn parent_and_child_go_on() {
    let url = std::env::var(URL).unwrap();
    let remote = blocking(&url);
    wait(set(&remote, "k", "v")).unwrap();
    let open = open_files();
    for _ in 0..3 {
        assert!(fork(|| {
            let inherited = open_files();
            let read = wait(get(&remote, "k")).unwrap();
            wait(set(&remote, "child", "was here")).unwrap();
            // The inherited connection is closed, the child's own is open.
            read.as_deref() == Some("v") && inherited == open - 1 && open_files() == open
        }));
        // The parent's connection still works, and is the same.
        assert_eq!(
            wait(get(&remote, "child")).unwrap().as_deref(),
            Some("was here")
        );
        assert_eq!(open_files(), open);
    }
}

/// Forks when it is first asked, as a signal handler of the language might.
struct Forks {
    armed: AtomicBool,
    child: AtomicBool,
}

impl Interrupt for Forks {
    fn check(&self) -> Result<(), BoxError> {
        if self.armed.swap(false, Ordering::SeqCst) {
            shim::before_fork();
            // SAFETY: as in `fork`; the child goes on with the call that it is in.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                shim::after_fork_in_child();
                self.child.store(true, Ordering::SeqCst);
            } else {
                shim::after_fork_in_parent();
            }
        }
        Ok(())
    }
}

#[test]
#[ignore = "run by a_forked_child_makes_connections_of_its_own"]
fn a_call_in_flight_goes_on_in_both_each_on_its_own() {
    let url = std::env::var(URL).unwrap();
    let forks = Arc::new(Forks {
        armed: AtomicBool::new(false),
        child: AtomicBool::new(false),
    });
    let remote = Redis::new(Blocking::new(
        url.parse().unwrap(),
        Arc::clone(&forks) as Arc<_>,
    ));
    wait(set(&remote, "k", "v")).unwrap();
    // A server that answers nobody for a while, so that the call waits and the question is asked.
    let other = blocking(&url);
    assert_eq!(wait(get(&other, "k")).unwrap().as_deref(), Some("v"));
    pause_clients(&url, 300);
    forks.armed.store(true, Ordering::SeqCst);
    let result = wait(get(&remote, "k"));
    if forks.child.load(Ordering::SeqCst) {
        // One reply is on its way to the parent; the child has to ask again, on a connection of its own.
        let well = result.is_ok_and(|value| value.as_deref() == Some("v"));
        // SAFETY: ends the child at once.
        unsafe { libc::_exit(i32::from(!well)) }
    }
    assert_eq!(
        result.unwrap().as_deref(),
        Some("v"),
        "the parent's reply is the parent's"
    );
    let mut status = 0;
    // SAFETY: waits for our only child.
    unsafe { libc::waitpid(-1, &raw mut status, 0) };
    assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0);
    assert_eq!(wait(get(&remote, "k")).unwrap().as_deref(), Some("v"));
}

fn pause_clients(url: &str, millis: u32) {
    use std::io::{Read, Write};
    let path = url.trim_start_matches("unix://");
    let mut stream = std::os::unix::net::UnixStream::connect(path).unwrap();
    stream
        .write_all(format!("CLIENT PAUSE {millis} ALL\r\n").as_bytes())
        .unwrap();
    let mut ok = [0; 5];
    stream.read_exact(&mut ok).unwrap();
    assert_eq!(&ok, b"+OK\r\n");
}

#[test]
#[ignore = "run by a_forked_child_makes_connections_of_its_own"]
fn threads_that_call_while_others_fork() {
    let url = std::env::var(URL).unwrap();
    let remote = blocking(&url);
    wait(set(&remote, "k", "v")).unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|n| {
                let (remote, over) = (&remote, &over);
                scope.spawn(move || {
                    let key = n.to_string();
                    while !over.load(Ordering::SeqCst) {
                        wait(set(remote, &key, &key)).unwrap();
                        assert_eq!(wait(get(remote, &key)).unwrap().as_deref(), Some(&*key));
                    }
                })
            })
            .collect();
        let mut well = true;
        for _ in 0..30 {
            well &= fork(|| wait(get(&remote, "k")).unwrap().as_deref() == Some("v"));
        }
        over.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.join().unwrap();
        }
        assert!(well);
    });
}
