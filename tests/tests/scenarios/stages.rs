//! Where scenarios run: each driver with its way to a server, real but for the simulation.

mod event_loop;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cachekit_runtime::driver::simulation::{Process, Server, Simulation, Wire};
use cachekit_runtime::driver::{Driver, blocking, tokio as tokio_driver};
use cachekit_runtime::error::BoxError;
use cachekit_runtime::interrupt::{Interrupt, Uninterrupted};
use cachekit_runtime::remote::Remote;
use cachekit_runtime::remote::redis::{self, Redis};
use cachekit_tests::redis_server::RedisServer;
use tokio::runtime::Runtime;

pub(crate) use self::event_loop::EventLoop;
use crate::file::Health;

pub(crate) type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

pub(crate) trait Stage {
    type Remote: Remote + 'static;
    type Driver: Driver + Clone + 'static;

    /// The way of a new process to the server, and its driver.
    fn process(&mut self) -> (Arc<Self::Remote>, Self::Driver);
    /// Begins to run a call in the process of `driver`; what comes back makes it go away.
    fn start(&mut self, driver: &Self::Driver, call: Running) -> Box<dyn FnOnce()>;
    /// Lets things happen until `done`.
    fn until(&mut self, done: &dyn Fn() -> bool);
    /// Stops the server, or starts it.
    fn server(&mut self, health: Health);
}

/// A real server in one of three states.
struct RealServer {
    server: RedisServer,
    health: Health,
}

impl RealServer {
    fn start() -> Self {
        Self {
            server: RedisServer::start(),
            health: Health::Up,
        }
    }

    fn become_(&mut self, health: Health) {
        match (self.health, health) {
            (Health::Up, Health::Silent) => self.server.pause(),
            (Health::Up, Health::Dead) => self.server.kill(),
            (Health::Silent, Health::Up) => self.server.resume(),
            (Health::Dead, Health::Up) => self.server.restart(),
            (from, to) => panic!("from {from:?} to {to:?}"),
        }
        self.health = health;
    }

    fn endpoint(&self) -> redis::Endpoint {
        self.server.url().parse().expect("a valid URL")
    }
}

/// Gives other threads the processor until `done`.
fn yield_until(done: &dyn Fn() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(
            begun.elapsed() < Duration::from_mins(1),
            "it does not happen"
        );
        std::thread::yield_now();
    }
}

/// A thread for each caller.
pub(crate) struct Blocking {
    server: RealServer,
}

impl Blocking {
    pub(crate) fn new() -> Self {
        Self {
            server: RealServer::start(),
        }
    }
}

struct Flag(AtomicBool);

impl Interrupt for Flag {
    fn check(&self) -> Result<(), BoxError> {
        if self.0.load(Ordering::Relaxed) {
            Err("the caller goes away".into())
        } else {
            Ok(())
        }
    }
}

impl Stage for Blocking {
    type Remote = Redis<redis::Blocking>;
    type Driver = blocking::Blocking;

    fn process(&mut self) -> (Arc<Self::Remote>, Self::Driver) {
        let transport = redis::Blocking::new(self.server.endpoint(), Arc::new(Uninterrupted));
        (Arc::new(Redis::new(transport)), blocking::Blocking)
    }

    fn start(&mut self, _driver: &Self::Driver, call: Running) -> Box<dyn FnOnce()> {
        let flag = Arc::new(Flag(AtomicBool::new(false)));
        let interrupt = Arc::clone(&flag);
        std::thread::spawn(move || {
            // Interrupted, it was dropped, and says so itself.
            let _ = blocking::run(call, &*interrupt);
        });
        Box::new(move || flag.0.store(true, Ordering::Relaxed))
    }

    fn until(&mut self, done: &dyn Fn() -> bool) {
        yield_until(done);
    }

    fn server(&mut self, health: Health) {
        self.server.become_(health);
    }
}

/// A task for each caller, on two threads.
pub(crate) struct Tokio {
    server: RealServer,
    runtime: Runtime,
}

impl Tokio {
    pub(crate) fn new() -> Self {
        let mut builder = tokio::runtime::Builder::new_multi_thread();
        let runtime = builder
            .worker_threads(2)
            .enable_all()
            .build()
            .expect("a runtime");
        Self {
            server: RealServer::start(),
            runtime,
        }
    }
}

impl Stage for Tokio {
    type Remote = Redis<redis::Tokio>;
    type Driver = tokio_driver::Tokio;

    fn process(&mut self) -> (Arc<Self::Remote>, Self::Driver) {
        let transport = redis::Tokio::new(self.server.endpoint());
        let driver = tokio_driver::Tokio::new(self.runtime.handle().clone());
        (Arc::new(Redis::new(transport)), driver)
    }

    fn start(&mut self, _driver: &Self::Driver, call: Running) -> Box<dyn FnOnce()> {
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

/// A world of its own.
pub(crate) struct Simulated {
    simulation: Simulation,
    server: Server,
}

impl Simulated {
    pub(crate) fn new(seed: u64) -> Self {
        let simulation = Simulation::new(seed);
        Self {
            server: Server::new(&simulation),
            simulation,
        }
    }
}

impl Stage for Simulated {
    type Remote = Wire;
    type Driver = Process;

    fn process(&mut self) -> (Arc<Wire>, Process) {
        let process = self.simulation.process();
        (Arc::new(self.server.reached_from(&process)), process)
    }

    fn start(&mut self, driver: &Process, call: Running) -> Box<dyn FnOnce()> {
        let task = driver.start(call);
        self.simulation.run();
        Box::new(move || task.cancel())
    }

    fn until(&mut self, done: &dyn Fn() -> bool) {
        self.simulation.run();
        assert!(done(), "it does not happen");
    }

    fn server(&mut self, health: Health) {
        match health {
            Health::Up => self.server.revive(),
            Health::Silent => self.server.silence(),
            Health::Dead => self.server.kill(),
        }
    }
}
