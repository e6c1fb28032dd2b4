//! A stand-in for another language's event loop: one thread that polls the tasks and carries the bytes.

use std::sync::{Arc, Mutex};

use cachekit_runtime::clock::{Clock, SystemClock};
use cachekit_runtime::driver::event_loop::{LoopDriver, LoopHost};
use cachekit_runtime::driver::{Caller, Task, fresh_number};
use cachekit_runtime::remote::redis::{Link, Pipe, PipeHost, Redis};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Notify;

use super::{RealServer, Running, Stage, yield_until};
use crate::file::Health;

pub(crate) struct EventLoop {
    server: RealServer,
    runtime: Runtime,
    thread: u64,
}

impl EventLoop {
    pub(crate) fn new() -> Self {
        // One worker, so that everything of the loop happens on one thread.
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            server: RealServer::start(),
            runtime,
            thread: fresh_number(),
        }
    }
}

struct Host {
    handle: Handle,
    thread: u64,
}

impl LoopHost for Host {
    fn caller(&self) -> Caller {
        let task = tokio::task::try_id().map_or(0, |id| id.to_string().parse().expect("a number"));
        Caller {
            thread: self.thread,
            task,
        }
    }

    fn spawn(&self, task: Task) {
        drop(self.handle.spawn(task));
    }
}

/// Carries the bytes of one pipe.
struct Carrier {
    handle: Handle,
    address: std::net::SocketAddr,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    pipe: Option<Pipe>,
    link: Link,
    write: Arc<Notify>,
    close: Arc<Notify>,
}

impl PipeHost for Carrier {
    fn connect(&self, link: Link) {
        let (write, close) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let pipe = {
            let mut state = self.state.lock().expect("nobody panicked");
            (state.link, state.write, state.close) = (link, Arc::clone(&write), Arc::clone(&close));
            state.pipe.clone().expect("it is set before the first call")
        };
        let address = self.address;
        self.handle.spawn(async move {
            tokio::select! {
                () = close.notified() => {}
                reason = carry(&pipe, link, address, &write) => pipe.lost(link, &reason),
            }
        });
        self.watch();
    }

    fn want_write(&self, link: Link) {
        let state = self.state.lock().expect("nobody panicked");
        if state.link == link {
            state.write.notify_one();
        }
        drop(state);
        self.watch();
    }

    fn close(&self, link: Link) {
        let state = self.state.lock().expect("nobody panicked");
        if state.link == link {
            state.close.notify_one();
        }
    }
}

impl Carrier {
    /// Sees to it that requests expire.
    fn watch(&self) {
        let pipe = self.state.lock().expect("nobody panicked").pipe.clone();
        let Some(pipe) = pipe else { return };
        self.handle.spawn(async move {
            while let Some(deadline) = pipe.next_deadline() {
                tokio::time::sleep(deadline.since(SystemClock.now())).await;
                pipe.expire(SystemClock.now());
            }
        });
    }
}

/// One connection until it ends, and why it did.
async fn carry(pipe: &Pipe, link: Link, address: std::net::SocketAddr, write: &Notify) -> String {
    let mut stream = match TcpStream::connect(address).await {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    pipe.connected(link);
    let mut buffer = vec![0; 4096];
    loop {
        tokio::select! {
            () = write.notified() => {
                while let Some(output) = pipe.take_output(link) {
                    if let Err(error) = stream.write_all(&output).await {
                        return error.to_string();
                    }
                }
            }
            read = stream.read(&mut buffer) => match read {
                Ok(0) => return "closed".to_owned(),
                Ok(length) => pipe.feed(link, &buffer[..length]),
                Err(error) => return error.to_string(),
            },
        }
    }
}

impl Stage for EventLoop {
    type Remote = Redis<Pipe>;
    type Driver = LoopDriver;

    fn process(&mut self) -> (Arc<Self::Remote>, Self::Driver) {
        let handle = self.runtime.handle().clone();
        let carrier = Arc::new(Carrier {
            handle: handle.clone(),
            address: self.server.server.address(),
            state: Mutex::default(),
        });
        let pipe = Pipe::new(
            self.server.endpoint(),
            Arc::clone(&carrier) as Arc<dyn PipeHost>,
        );
        carrier.state.lock().expect("nobody panicked").pipe = Some(pipe.clone());
        let driver = LoopDriver::new(Arc::new(Host {
            handle,
            thread: self.thread,
        }));
        (Arc::new(Redis::new(pipe)), driver)
    }

    fn start(&mut self, _driver: &LoopDriver, call: Running) -> Box<dyn FnOnce()> {
        let task = self.runtime.spawn(call);
        Box::new(move || task.abort())
    }

    fn until(&mut self, done: &dyn Fn() -> bool) {
        yield_until(done);
    }

    fn server(&mut self, health: Health) {
        self.server.become_(health);
    }
}
