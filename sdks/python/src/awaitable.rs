//! What an `async def` returns on a miss: a coroutine to whoever looks, which polls the runtime's future.
//!
//! It is driven by its loop as any coroutine, in the caller's task. While the runtime waits, for a reply or for another
//! caller's load, it yields a future of the loop, which the runtime's waker ends. It starts nothing before it is awaited, and
//! going away in any manner drops the runtime's future, which passes a load on to the next in line.

use std::ffi::{CString, c_int, c_void};
use std::future::Future;
use std::mem::offset_of;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cachekit_runtime::driver::Task;
use pyo3::exceptions::{
    PyGeneratorExit, PyRuntimeError, PyRuntimeWarning, PyStopIteration, PyTypeError, PyValueError,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::coroutine::{AsyncCall, Channel, Message, Step};
use crate::event_loop::LoopWaker;
use crate::function::CallArgs;
use crate::guard;
use crate::heap::{self, attribute, method, simple_method, slot};
use crate::load::check_stack;
use crate::once::Once;
use crate::ready::{coroutine_class, stop, thrown};
use crate::shared::Guarded;
use crate::steps;

/// What the runtime comes to in the end.
pub(crate) type Outcome = Pin<Box<dyn Future<Output = PyResult<Py<PyAny>>> + Send>>;

/// Makes the future when the awaitable is first awaited; the host is that of the loop that runs, if one does.
pub(crate) type Begin =
    Box<dyn FnOnce(Python<'_>, Option<&Bound<'_, PyAny>>) -> PyResult<Outcome> + Send>;

#[repr(C)]
struct Awaitable {
    base: ffi::PyObject,
    inner: Option<Box<Inner>>,
}

struct Inner {
    /// The decorated function, for its names; none for a background task.
    function: Option<Py<PyAny>>,
    /// The call that its channel belongs to, if it is one.
    call: Option<Arc<AsyncCall>>,
    /// What of the function it is, unless it is a call.
    operation: Option<&'static str>,
    state: Guarded<State>,
}

enum State {
    New(Begin),
    Suspended(Box<Running>),
    /// A step is being made.
    Busy,
    Over,
}

struct Running {
    future: Outcome,
    waker: Arc<LoopWaker>,
    host: Option<Py<PyAny>>,
    /// Whether the user's coroutine yielded last; else it waits for us.
    in_coroutine: bool,
}

static TYPE: Once<Py<PyAny>> = Once::new();

/// Makes the type and adds it to the module.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let methods = vec![
        simple_method(c"send", send, ffi::METH_O, c"Goes on with a value."),
        method(c"throw", throw, c"Goes on with an exception."),
        simple_method(c"close", close, ffi::METH_NOARGS, c"Ends it."),
        steps::method(),
        ffi::PyMethodDef::zeroed(),
    ];
    let attributes = vec![
        coroutine_class(),
        named(c"__name__"),
        named(c"__qualname__"),
        ffi::PyGetSetDef::default(),
    ];
    let slots = vec![
        slot(ffi::Py_tp_new, heap::no_new as *mut c_void),
        slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        slot(ffi::Py_tp_finalize, finalize as *mut c_void),
        slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        slot(ffi::Py_tp_clear, clear as *mut c_void),
        slot(ffi::Py_tp_iternext, iternext as *mut c_void),
        slot(ffi::Py_am_await, itself as *mut c_void),
        #[cfg(Py_3_10)]
        slot(ffi::Py_am_send, am_send as *mut c_void),
        slot(ffi::Py_tp_methods, heap::forever(methods)),
        slot(ffi::Py_tp_getset, heap::forever(attributes)),
    ];
    let kind = TYPE.get_or_try_init(py, || {
        // SAFETY: the slots are written for this struct.
        let kind = unsafe { heap::make::<Awaitable>(py, c"cachekit._native.Awaitable", 0, slots) };
        kind.map(Bound::unbind)
    })?;
    module.add("Awaitable", kind)
}

fn named(name: &'static std::ffi::CStr) -> ffi::PyGetSetDef {
    ffi::PyGetSetDef {
        closure: name.as_ptr() as *mut c_void,
        ..attribute(name, name_of, None)
    }
}

fn new(
    py: Python<'_>,
    function: Option<Py<PyAny>>,
    call: Option<Arc<AsyncCall>>,
    operation: Option<&'static str>,
    state: State,
) -> PyResult<Py<PyAny>> {
    let kind = TYPE.get(py).expect("made with the module").as_ptr();
    let inner = Box::new(Inner {
        function,
        call,
        operation,
        state: Guarded::new(state),
    });
    // SAFETY: the struct is the type's own.
    unsafe { heap::allocate(py, kind.cast(), offset_of!(Awaitable, inner), Some(inner)) }
}

/// An awaitable of `function` that begins with `begin`.
pub(crate) fn of(
    function: &Bound<'_, PyAny>,
    call: Option<Arc<AsyncCall>>,
    operation: Option<&'static str>,
    begin: Begin,
) -> PyResult<Py<PyAny>> {
    new(
        function.py(),
        Some(function.clone().unbind()),
        call,
        operation,
        State::New(begin),
    )
}

/// An awaitable that runs a task of the runtime on the loop of `host`.
pub(crate) fn background(host: &Bound<'_, PyAny>, task: Task) -> PyResult<Py<PyAny>> {
    let future: Outcome = Box::pin(async move {
        task.await;
        guard::attached(|py| Ok(py.None()))
    });
    let running = Running {
        future,
        waker: LoopWaker::new(),
        host: Some(host.clone().unbind()),
        in_coroutine: false,
    };
    let state = State::Suspended(Box::new(running));
    new(host.py(), None, None, None, state)
}

impl Inner {
    fn channel(&self) -> Option<&Channel> {
        self.call.as_ref().map(|call| &*call.channel)
    }

    /// Goes on. Called by the loop, or by whoever awaits from outside of one.
    fn step(&self, py: Python<'_>, message: Message) -> PyResult<Step> {
        if let Err(error) = check_stack() {
            self.give_up();
            return Err(error);
        }
        let state = self
            .state
            .with(|state| std::mem::replace(state, State::Busy));
        let mut running = match state {
            State::New(begin) => match message {
                Message::Send(value) if value.is_none(py) => self.begin(py, begin)?,
                Message::Send(_) => {
                    self.set(State::New(begin));
                    return Err(PyTypeError::new_err(
                        "can't send non-None value to a just-started coroutine",
                    ));
                }
                Message::Throw(error) => {
                    self.set(State::Over);
                    return Err(error);
                }
            },
            State::Suspended(mut running) => match message {
                message if running.in_coroutine => {
                    if let Some(channel) = self.channel() {
                        channel.put(message);
                    }
                    running.in_coroutine = false;
                    running
                }
                Message::Send(_) => running,
                Message::Throw(error) => {
                    running.waker.forget();
                    drop(running);
                    self.set(State::Over);
                    return Err(error);
                }
            },
            State::Busy => return Err(PyValueError::new_err("coroutine already executing")),
            State::Over => {
                self.set(State::Over);
                return Err(PyRuntimeError::new_err(
                    "cannot reuse already awaited coroutine",
                ));
            }
        };
        match self.poll(py, &mut running) {
            Ok(Step::Yielded(object)) => {
                self.set(State::Suspended(running));
                Ok(Step::Yielded(object))
            }
            ended => {
                drop(running);
                self.set(State::Over);
                ended
            }
        }
    }

    /// Ends it if it has not begun: whoever awaits it was told.
    fn give_up(&self) {
        drop(self.state.with(|state| match state {
            State::New(_) => Some(std::mem::replace(state, State::Over)),
            _ => None,
        }));
    }

    fn set(&self, state: State) {
        drop(self.state.with(|place| std::mem::replace(place, state)));
    }

    fn begin(&self, py: Python<'_>, begin: Begin) -> PyResult<Box<Running>> {
        let made = crate::event_loop::host(py).and_then(|host| {
            let future = begin(py, host.as_ref())?;
            let host = host.map(Bound::unbind);
            Ok(Running {
                future,
                waker: LoopWaker::new(),
                host,
                in_coroutine: false,
            })
        });
        match made {
            Ok(running) => Ok(Box::new(running)),
            Err(error) => {
                self.set(State::Over);
                Err(error)
            }
        }
    }

    fn poll(&self, py: Python<'_>, running: &mut Running) -> PyResult<Step> {
        let waker = Waker::from(Arc::clone(&running.waker));
        loop {
            if let Poll::Ready(outcome) = running
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&waker))
            {
                return outcome.map(Step::Returned);
            }
            if let Some(yielded) = self.channel().and_then(Channel::take_yielded) {
                running.in_coroutine = true;
                return Ok(Step::Yielded(yielded));
            }
            if running.waker.take() {
                continue;
            }
            let Some(host) = &running.host else {
                return Err(PyRuntimeError::new_err(
                    "cachekit waits for another thread's call, which needs a running asyncio loop",
                ));
            };
            let future = host
                .bind(py)
                .call_method0(crate::once::text!(py, "future"))?;
            future.setattr(crate::once::text!(py, "_asyncio_future_blocking"), true)?;
            let yielded = future.unbind();
            if !running
                .waker
                .wait(host.clone_ref(py), yielded.clone_ref(py))
            {
                return Ok(Step::Yielded(yielded));
            }
        }
    }

    /// Ends it from outside.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        let in_coroutine = self.state.with(|state| match state {
            State::Suspended(running) => Some(running.in_coroutine),
            State::Busy => None,
            State::New(_) | State::Over => Some(false),
        });
        match in_coroutine {
            None => Err(PyValueError::new_err("coroutine already executing")),
            Some(false) => {
                self.set(State::Over);
                Ok(())
            }
            Some(true) => match self.step(py, Message::Throw(PyGeneratorExit::new_err(()))) {
                Ok(Step::Yielded(_)) => {
                    Err(PyRuntimeError::new_err("coroutine ignored GeneratorExit"))
                }
                Ok(Step::Returned(_)) => Ok(()),
                Err(error)
                    if error.is_instance_of::<PyGeneratorExit>(py)
                        || error.is_instance_of::<PyStopIteration>(py) =>
                {
                    Ok(())
                }
                Err(error) => Err(error),
            },
        }
    }
}

/// # Safety
/// `object` is an `Awaitable` and outlives the result.
unsafe fn inner<'a>(object: *mut ffi::PyObject) -> PyResult<&'a Inner> {
    // SAFETY: by the contract above.
    let inner = unsafe { &(*object.cast::<Awaitable>()).inner };
    inner
        .as_deref()
        .ok_or_else(|| PyRuntimeError::new_err("the awaitable was taken apart"))
}

/// One step, as methods and iteration give it: the end is an exception.
unsafe fn stepped(
    object: *mut ffi::PyObject,
    message: impl FnOnce(Python<'_>) -> PyResult<Message>,
) -> *mut ffi::PyObject {
    guard::slot(std::ptr::null_mut(), |py| {
        // SAFETY: a slot of this type.
        match unsafe { inner(object) }?.step(py, message(py)?)? {
            Step::Yielded(object) => Ok(object.into_ptr()),
            Step::Returned(value) => {
                // SAFETY: attached, and the value is held.
                unsafe { stop(value.as_ptr()) };
                Ok(std::ptr::null_mut())
            }
        }
    })
}

unsafe extern "C" fn itself(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a slot of this type.
    unsafe { ffi::Py_INCREF(object) };
    object
}

unsafe extern "C" fn iternext(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a slot of this type.
    unsafe { stepped(object, |py| Ok(Message::Send(py.None()))) }
}

unsafe extern "C" fn send(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: a method of this type, with one argument.
    unsafe {
        stepped(object, |py| {
            Ok(Message::Send(Bound::from_borrowed_ptr(py, value).unbind()))
        })
    }
}

unsafe extern "C" fn throw(
    object: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    given: ffi::Py_ssize_t,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let args = CallArgs {
        args,
        given: given.cast_unsigned(),
        kwnames,
    };
    // SAFETY: a method of this type.
    unsafe { stepped(object, |py| Ok(Message::Throw(thrown(py, args)?))) }
}

unsafe extern "C" fn close(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a method of this type.
        unsafe { inner(object) }?.close(py)?;
        Ok(py.None())
    })
}

#[cfg(Py_3_10)]
unsafe extern "C" fn am_send(
    object: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    guard::slot(ffi::PySendResult::PYGEN_ERROR, |py| {
        // SAFETY: a slot of this type; `result` takes a new reference.
        unsafe {
            let value = Bound::from_borrowed_ptr(py, value).unbind();
            let (step, sent) = match inner(object)?.step(py, Message::Send(value))? {
                Step::Yielded(object) => (object, ffi::PySendResult::PYGEN_NEXT),
                Step::Returned(object) => (object, ffi::PySendResult::PYGEN_RETURN),
            };
            *result = step.into_ptr();
            Ok(sent)
        }
    })
}

unsafe extern "C" fn name_of(object: *mut ffi::PyObject, name: *mut c_void) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: a getter of this type, whose closure is the attribute's name.
        let (inner, name) = unsafe {
            (
                inner(object)?,
                std::ffi::CStr::from_ptr(name.cast_const().cast()),
            )
        };
        match &inner.function {
            Some(function) => Ok(function
                .bind(py)
                .getattr(&*name.to_string_lossy())?
                .unbind()),
            None => Ok(PyString::new(py, "cachekit").into_any().unbind()),
        }
    })
}

/// Says that it was never awaited, as the interpreter says of a coroutine: whoever forgot that waits for nothing.
unsafe extern "C" fn finalize(object: *mut ffi::PyObject) {
    guard::slot((), |py| {
        // SAFETY: a slot of this type.
        let Some(inner) = (unsafe { &(*object.cast::<Awaitable>()).inner }) else {
            return Ok(());
        };
        let never = inner.state.with(|state| matches!(state, State::New(_)));
        let Some(function) = inner.function.as_ref().filter(|_| never) else {
            return Ok(());
        };
        // Whoever drops it may be in the middle of raising something.
        let raising = PyErr::take(py);
        if let Err(error) = warn_never_awaited(function.bind(py), inner.operation) {
            error.write_unraisable(py, Some(function.bind(py)));
        }
        if let Some(raising) = raising {
            raising.restore(py);
        }
        Ok(())
    });
}

fn warn_never_awaited(
    function: &Bound<'_, PyAny>,
    operation: Option<&'static str>,
) -> PyResult<()> {
    let name = function.getattr("__qualname__")?;
    let text = match operation {
        Some(operation) => format!("coroutine '{name}.{operation}' was never awaited"),
        None => format!("coroutine '{name}' was never awaited"),
    };
    let category = function.py().get_type::<PyRuntimeWarning>();
    PyErr::warn(function.py(), &category, &CString::new(text)?, 1)
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: called once, by the interpreter, for an object of this type that nobody refers to.
    unsafe {
        if ffi::PyObject_CallFinalizerFromDealloc(object) < 0 {
            return;
        }
        ffi::PyObject_GC_UnTrack(object.cast());
        let inner = (*object.cast::<Awaitable>()).inner.take();
        guard::slot((), |py| {
            // Whoever drops it may be in the middle of raising something.
            let raising = PyErr::take(py);
            drop(inner);
            if let Some(raising) = raising {
                raising.restore(py);
            }
            Ok(())
        });
        heap::free(object);
    }
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: the collector calls this for a living object of this type.
    unsafe {
        heap::traverse(object, visit, arg, |see| {
            let Some(inner) = &(*object.cast::<Awaitable>()).inner else {
                return;
            };
            if let Some(function) = &inner.function {
                see(function.as_ptr());
            }
            if let Some(call) = &inner.call {
                see(call.function.as_ptr());
                call.args.each_object(&mut *see);
                call.channel.each_object(see);
            }
        })
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    guard::slot(0, |_| {
        // SAFETY: the collector calls this for a living object of this type.
        if let Ok(inner) = unsafe { inner(object) } {
            inner.set(State::Over);
        }
        Ok(0)
    })
}
