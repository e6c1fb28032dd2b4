//! How much a call costs above a bare socket: `cargo test --release -p cachekit-tests --test redis measure -- --ignored --nocapture`.
//!
//! A round trip on an idle machine measures how fast its cores wake up, so what counts is the ratio to a loop that only writes
//! and reads, taken in turns with it, of the time on the clock and of this thread's time on a processor.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use cachekit_runtime::remote::Remote;
use cachekit_tests::redis_server::RedisServer;

use crate::common::{blocking, set, wait, within};

const CALLS: u32 = 2000;
const ROUNDS: usize = 21;

/// A request and its reply of `size` bytes, with nothing else done.
fn bare(stream: &mut (impl Read + Write), request: &[u8], size: usize) {
    let mut buffer = [0; 4096];
    stream.write_all(request).unwrap();
    let mut got = 0;
    while got < size {
        got += stream.read(&mut buffer).unwrap();
    }
}

/// Time on the clock and on a processor, for one call of many.
fn timed(mut call: impl FnMut()) -> [Duration; 2] {
    let (begun, before) = (Instant::now(), processor_time());
    for _ in 0..CALLS {
        call();
    }
    [
        begun.elapsed() / CALLS,
        processor_time().saturating_sub(before) / CALLS,
    ]
}

fn processor_time() -> Duration {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: only writes to the place that it is given.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    Duration::new(
        time.tv_sec.try_into().unwrap(),
        time.tv_nsec.try_into().unwrap(),
    )
}

fn median(rounds: &[[[Duration; 2]; 2]], whose: usize, which: usize) -> Duration {
    let mut times: Vec<_> = rounds.iter().map(|round| round[whose][which]).collect();
    times.sort();
    times[times.len() / 2]
}

fn compare(name: &str, url: &str, mut stream: impl Read + Write) {
    let remote = blocking(url);
    let value = "v".repeat(1024);
    wait(set(&remote, "key", &value)).unwrap();
    let request = b"*2\r\n$4\r\nMGET\r\n$3\r\nkey\r\n";
    let reply = "*1\r\n$1024\r\n\r\n".len() + value.len();
    let rounds: Vec<_> = (0..ROUNDS)
        .map(|_| {
            let bare = timed(|| bare(&mut stream, request, reply));
            let ours = timed(|| {
                let read = wait(remote.get(&[b"key"], None, within(500))).unwrap();
                assert_eq!(read[0].as_ref().unwrap().len(), value.len());
            });
            [bare, ours]
        })
        .collect();
    for (which, what) in ["clock", "processor"].into_iter().enumerate() {
        let (bare, ours) = (median(&rounds, 0, which), median(&rounds, 1, which));
        let ratio = ours.as_secs_f64() / bare.as_secs_f64();
        println!("{name}, {what}: bare {bare:?}, ours {ours:?}, ratio {ratio:.2}");
    }
}

#[test]
#[ignore = "measures, and says nothing about right or wrong"]
fn a_read_of_a_kilobyte() {
    let server = RedisServer::start();
    compare(
        "unix",
        &server.unix_url(),
        UnixStream::connect(server.unix_path()).unwrap(),
    );
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_nodelay(true).unwrap();
    compare("tcp", &server.url(), stream);
}
