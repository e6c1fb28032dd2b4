//! A real Redis server for one test, with nothing persisted and nothing shared.
//!
//! It listens on a free port and on a Unix socket in a directory of its own; it ends with the value that stands for it, by its
//! process id and no other.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A running (or stopped) server.
#[derive(Debug)]
pub struct RedisServer {
    directory: TempDir,
    arguments: Vec<String>,
    port: u16,
    child: Option<Child>,
}

impl RedisServer {
    /// Starts one and waits until it answers.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts one with further arguments, such as `["--requirepass", "secret"]`.
    ///
    /// # Panics
    /// If there is no `redis-server`, or it does not start.
    #[must_use]
    pub fn start_with(arguments: &[&str]) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
        // Somebody else may take the free port before the server does.
        for _ in 0..10 {
            let port = free_port();
            if let Some(child) = spawn(directory.path(), port, &arguments) {
                return Self {
                    directory,
                    arguments,
                    port,
                    child: Some(child),
                };
            }
        }
        panic!("redis-server did not start with {arguments:?}");
    }

    /// Its URL through TCP.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its URL through its Unix socket.
    #[must_use]
    pub fn unix_url(&self) -> String {
        format!("unix://{}", self.unix_path().display())
    }

    /// Where it listens for TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }

    /// Its Unix socket.
    #[must_use]
    pub fn unix_path(&self) -> PathBuf {
        self.directory.path().join("redis.sock")
    }

    /// Sends one command over a connection of its own and returns the reply as it came, up to the end of its first line or
    /// of its bulk.
    ///
    /// # Panics
    /// If the server does not answer.
    #[must_use]
    pub fn command(&self, arguments: &[&str]) -> String {
        let mut stream = UnixStream::connect(self.unix_path()).expect("the server listens");
        let mut request = Vec::new();
        write!(request, "*{}\r\n", arguments.len()).expect("vectors grow");
        for argument in arguments {
            write!(request, "${}\r\n{argument}\r\n", argument.len()).expect("vectors grow");
        }
        stream.write_all(&request).expect("the server reads");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("the server answers");
        let length = line
            .strip_prefix('$')
            .and_then(|length| length.trim().parse().ok());
        let Some(length) = length else {
            return line.trim().to_owned();
        };
        let mut bulk = vec![0; length];
        reader
            .read_exact(&mut bulk)
            .expect("the server answers in full");
        String::from_utf8_lossy(&bulk).into_owned()
    }

    /// Stops its process without ending it: it neither reads nor answers, and its connections stay.
    pub fn pause(&self) {
        self.signal(libc::SIGSTOP);
    }

    /// Lets a paused one go on.
    pub fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// Kills it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts it again where it was, empty.
    ///
    /// # Panics
    /// If it does not start.
    pub fn restart(&mut self) {
        self.kill();
        let child = spawn(self.directory.path(), self.port, &self.arguments);
        self.child = Some(child.expect("redis-server starts again"));
    }

    fn signal(&self, signal: i32) {
        let child = self.child.as_ref().expect("it runs");
        let pid = libc::pid_t::try_from(child.id()).expect("a process id");
        // SAFETY: the process is our child and not yet waited for, so its id is its own.
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "the signal was sent");
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("it has an address").port()
}

/// A server that answers; `None` if it ended instead.
fn spawn(directory: &Path, port: u16, arguments: &[String]) -> Option<Child> {
    let mut child = Command::new("redis-server")
        .args([
            "--port",
            &port.to_string(),
            "--bind",
            "127.0.0.1",
            "--unixsocket",
            "redis.sock",
        ])
        .args([
            "--save",
            "",
            "--appendonly",
            "no",
            "--daemonize",
            "no",
            "--loglevel",
            "notice",
        ])
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("redis-server is installed");
    let mut log = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let ready = log
        .by_ref()
        .map_while(Result::ok)
        .any(|line| line.contains("accept connections at"));
    if !ready {
        // Its log ended, so it did.
        let _ = child.wait();
        return None;
    }
    // It would stop at a full pipe.
    std::thread::spawn(move || log.for_each(drop));
    Some(child)
}
