//! The event loop of asynchronous callers, as the runtime needs it: who is calling, wake-ups, background tasks, bytes.
//!
//! The loop's half is `cachekit._asyncio`, which is imported only when a loop runs. Nothing here keeps a loop alive: what
//! belongs to one is kept by its host, and points back weakly.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Wake;

use cachekit_runtime::clock::{Clock, SystemClock};
use cachekit_runtime::driver::event_loop::{LoopDriver, LoopHost};
use cachekit_runtime::driver::{Caller, Task, current_thread};
use cachekit_runtime::remote::redis::{self, Address, Endpoint, PipeHost, Redis};
use cachekit_runtime::shim::Mutex;
use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyWeakrefMethods, PyWeakrefReference};

use crate::awaitable;
use crate::backend::{Backend, Place};
use crate::guard::{attached, try_attached};
use crate::lazy::ASYNCIO;
use crate::remote::Server;
use crate::shared::Guarded;

/// The host of the loop that runs in this thread, if one does.
pub(crate) fn host(py: Python<'_>) -> PyResult<Option<Bound<'_, PyAny>>> {
    let modules = py
        .import("sys")?
        .getattr("modules")?
        .cast_into::<PyDict>()?;
    // Nobody runs a loop of a module that nobody has imported.
    if !modules.contains("asyncio")? {
        return Ok(None);
    }
    let host = ASYNCIO.get(py)?.call_method0("host")?;
    Ok((!host.is_none()).then_some(host))
}

/// The driver of a loop.
pub(crate) fn driver(host: &Bound<'_, PyAny>) -> PyResult<LoopDriver> {
    let py = host.py();
    let kept = host.getattr("backends")?.cast_into::<PyDict>()?;
    if let Some(known) = kept.get_item(py.None())? {
        return Ok(known.cast::<LoopState>()?.get().driver.clone());
    }
    let link = LoopLink {
        host: PyWeakrefReference::new(host)?.unbind(),
    };
    let driver = LoopDriver::new(Arc::new(link));
    kept.set_item(
        py.None(),
        LoopState {
            driver: driver.clone(),
        },
    )?;
    Ok(driver)
}

/// How this loop speaks to a backend.
pub(crate) fn server(host: &Bound<'_, PyAny>, backend: &Bound<'_, Backend>) -> PyResult<Server> {
    let endpoint = match backend.get().place() {
        Place::Memory => return Ok(backend.get().server()),
        Place::Redis(endpoint) => endpoint,
    };
    let kept = host.getattr("backends")?.cast_into::<PyDict>()?;
    if let Some(known) = kept.get_item(backend)? {
        return Ok(Server::Pipe(Arc::clone(&known.cast::<Pipe>()?.get().redis)));
    }
    let pipe = Pipe::open(host, endpoint)?;
    kept.set_item(backend, &pipe)?;
    Ok(Server::Pipe(Arc::clone(&pipe.get().redis)))
}

/// What a loop keeps of ours.
#[pyclass(frozen, module = "cachekit._native")]
struct LoopState {
    driver: LoopDriver,
}

/// A loop, as the runtime's driver asks for it.
struct LoopLink {
    host: Py<PyWeakrefReference>,
}

impl LoopHost for LoopLink {
    fn caller(&self) -> Caller {
        let task = attached(|py| {
            let task = ASYNCIO
                .get(py)
                .and_then(|module| module.call_method0("current_task"));
            task.map_or(0, |task| {
                if task.is_none() {
                    0
                } else {
                    task.as_ptr() as u64
                }
            })
        });
        Caller {
            thread: current_thread(),
            task,
        }
    }

    fn spawn(&self, task: Task) {
        attached(|py| {
            // A loop that is gone runs nothing; dropping the task is what it is told to do then.
            let Some(host) = self.host.bind(py).upgrade() else {
                return;
            };
            let spawned = awaitable::background(&host, task)
                .and_then(|task| host.call_method1("spawn", (task,)));
            if let Err(error) = spawned {
                error.write_unraisable(py, Some(&host));
            }
        });
    }
}

/// Wakes a task of a loop that waits in an awaitable of ours.
pub(crate) struct LoopWaker {
    thread: u64,
    state: Mutex<WakeState>,
}

#[derive(Default)]
struct WakeState {
    woken: bool,
    /// The host, and the future that its task waits for.
    waiting: Option<(Py<PyAny>, Py<PyAny>)>,
}

impl LoopWaker {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            thread: current_thread(),
            state: Mutex::new(WakeState::default()),
        })
    }

    /// Whether it was woken since the last time.
    pub(crate) fn take(&self) -> bool {
        self.state.with(|state| std::mem::take(&mut state.woken))
    }

    /// Has `future` ended by the next wake-up; says whether that came already.
    pub(crate) fn wait(&self, host: Py<PyAny>, future: Py<PyAny>) -> bool {
        let (woken, before) = self.state.with(|state| {
            let woken = std::mem::take(&mut state.woken);
            let before = if woken {
                Some((host, future))
            } else {
                state.waiting.replace((host, future))
            };
            (woken, before)
        });
        drop(before);
        woken
    }

    /// Nobody waits any more.
    pub(crate) fn forget(&self) {
        drop(self.state.with(|state| state.waiting.take()));
    }
}

impl Wake for LoopWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waiting = self.state.with(|state| {
            state.woken = true;
            state.waiting.take()
        });
        let Some((host, future)) = waiting else {
            return;
        };
        let method = if current_thread() == self.thread {
            "wake"
        } else {
            "wake_threadsafe"
        };
        // When the interpreter ends, nobody waits.
        try_attached(|py| {
            if let Err(error) = host.bind(py).call_method1(method, (future,)) {
                error.write_unraisable(py, Some(host.bind(py)));
            }
        });
    }
}

/// One connection of a loop to a server: the runtime's pipe, as the loop's protocol feeds it.
#[pyclass(frozen, weakref, module = "cachekit._native")]
struct Pipe {
    redis: Arc<Redis<redis::Pipe>>,
    link: Arc<PipeLink>,
    connection: Guarded<Option<Py<PyAny>>>,
}

/// The way from the runtime's pipe to the loop's connection.
struct PipeLink {
    /// The link that the connection is about now.
    current: AtomicU64,
    connection: Guarded<Option<Py<PyWeakrefReference>>>,
}

impl Pipe {
    fn open<'py>(host: &Bound<'py, PyAny>, endpoint: &Endpoint) -> PyResult<Bound<'py, Self>> {
        let py = host.py();
        let link = Arc::new(PipeLink {
            current: AtomicU64::new(0),
            connection: Guarded::new(None),
        });
        let transport = redis::Pipe::new(endpoint.clone(), Arc::clone(&link) as Arc<dyn PipeHost>);
        let redis = Arc::new(Redis::new(transport));
        let pipe = Bound::new(
            py,
            Self {
                redis,
                link: Arc::clone(&link),
                connection: Guarded::new(None),
            },
        )?;
        let address = match endpoint.address() {
            Address::Tcp(name, port) => ("tcp", name, *port).into_pyobject(py)?.into_any(),
            Address::Unix(path) => ("unix", path.to_string_lossy())
                .into_pyobject(py)?
                .into_any(),
            other => {
                return Err(pyo3::exceptions::PyNotImplementedError::new_err(
                    other.to_string(),
                ));
            }
        };
        let connection = host.call_method1("connection", (&pipe, address))?;
        let weak = PyWeakrefReference::new(&connection)?.unbind();
        drop(link.connection.with(|place| place.replace(weak)));
        drop(
            pipe.get()
                .connection
                .with(|place| place.replace(connection.unbind())),
        );
        Ok(pipe)
    }

    fn transport(&self) -> &redis::Pipe {
        self.redis.transport()
    }

    fn current(&self) -> u64 {
        self.link.current.load(Ordering::Relaxed)
    }
}

#[pymethods]
impl Pipe {
    fn connected(&self) {
        self.transport().connected(self.current());
    }

    fn feed(&self, data: &Bound<'_, PyBytes>) {
        self.transport().feed(self.current(), data.as_bytes());
    }

    fn lost(&self, reason: &str) {
        self.transport().lost(self.current(), reason);
    }

    fn take_output<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        let link = self.current();
        let first = self.transport().take_output(link)?;
        let Some(second) = self.transport().take_output(link) else {
            return Some(PyBytes::new(py, &first));
        };
        let mut all = [first, second].concat();
        while let Some(more) = self.transport().take_output(link) {
            all.extend_from_slice(&more);
        }
        Some(PyBytes::new(py, &all))
    }

    /// Seconds until `expire` is to be called.
    fn next_deadline(&self) -> Option<f64> {
        let deadline = self.transport().next_deadline()?;
        Some(deadline.since(SystemClock.now()).as_secs_f64())
    }

    fn expire(&self) {
        self.transport().expire(SystemClock.now());
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // SAFETY: the collector is running.
        unsafe {
            self.connection
                .while_stopped(|connection| visit.call(connection))
        }
    }

    fn __clear__(&self) {
        drop(self.connection.with(Option::take));
    }
}

impl PipeLink {
    fn tell(&self, method: &str) {
        attached(|py| {
            let connection = self
                .connection
                .with(|place| place.as_ref().map(|weak| weak.clone_ref(py)));
            let Some(connection) = connection.and_then(|weak| weak.bind(py).upgrade()) else {
                return;
            };
            if let Err(error) = connection.call_method0(method) {
                error.write_unraisable(py, Some(&connection));
            }
        });
    }
}

impl PipeHost for PipeLink {
    fn connect(&self, link: redis::Link) {
        self.current.store(link, Ordering::Relaxed);
        self.tell("connect");
    }

    fn want_write(&self, _link: redis::Link) {
        self.tell("want_write");
    }

    fn close(&self, _link: redis::Link) {
        self.tell("close");
    }
}

/// Adds the types to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // With the module: made later, it could be half made in a forked child.
    module.py().get_type::<LoopState>();
    module.add_class::<Pipe>()
}
