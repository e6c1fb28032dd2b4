//! The user's coroutine as the runtime's load, inside the caller's own task.
//!
//! What it yields is yielded to the loop unchanged, and what the loop sends or throws in reaches it unchanged, so to the
//! loop and to the coroutine nothing stands between them. The two meet in a channel, since between them lies a future of
//! the runtime, which carries neither.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pyo3::exceptions::{PyStopIteration, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ending;
use crate::function::{CachedFunction, KeptArgs};
use crate::guard::attached;
use crate::load::Raised;
use crate::shared::Guarded;
use crate::stored::Value;
use crate::tiers::Tiers;

/// What goes into a suspended coroutine.
pub(crate) enum Message {
    Send(Py<PyAny>),
    Throw(PyErr),
}

/// What came out of a coroutine.
pub(crate) enum Step {
    Yielded(Py<PyAny>),
    Returned(Py<PyAny>),
}

/// Between whoever drives the awaitable and the user's coroutine.
pub(crate) struct Channel(Guarded<Ends>);

#[derive(Default)]
struct Ends {
    coroutine: Option<Py<PyAny>>,
    into: Option<Message>,
    out: Option<Py<PyAny>>,
}

impl Channel {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Guarded::new(Ends::default())))
    }

    /// Leaves something for the coroutine.
    pub(crate) fn put(&self, message: Message) {
        drop(self.0.with(|ends| ends.into.replace(message)));
    }

    /// What the coroutine yielded since the last time.
    pub(crate) fn take_yielded(&self) -> Option<Py<PyAny>> {
        self.0.with(|ends| ends.out.take())
    }

    fn take_message(&self) -> Option<Message> {
        self.0.with(|ends| ends.into.take())
    }

    fn coroutine<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        let held = self
            .0
            .with(|ends| ends.coroutine.as_ref().map(|held| held.clone_ref(py)));
        held.map(|held| held.into_bound(py))
    }

    fn set_coroutine(&self, coroutine: Option<Py<PyAny>>) {
        drop(
            self.0
                .with(|ends| std::mem::replace(&mut ends.coroutine, coroutine)),
        );
    }

    /// Shows the collector what is held here.
    ///
    /// # Safety
    /// Only from `tp_traverse`.
    pub(crate) unsafe fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        // SAFETY: by the contract above.
        unsafe {
            self.0.while_stopped(|ends| {
                [&ends.coroutine, &ends.out]
                    .into_iter()
                    .flatten()
                    .for_each(|held| visit(held.as_ptr()));
            });
        }
    }
}

/// A call of an `async def` that was not answered from this process.
pub(crate) struct AsyncCall {
    pub(crate) function: Py<PyAny>,
    pub(crate) args: KeptArgs,
    pub(crate) channel: Arc<Channel>,
    pub(crate) fresh: bool,
}

impl AsyncCall {
    /// The decorated function's state.
    pub(crate) fn tiers(&self) -> &Tiers {
        // SAFETY: it is one, and this call holds it.
        unsafe { CachedFunction::from_ptr(self.function.as_ptr()) }.tiers()
    }
}

/// Runs the user's coroutine to its end. The channel alone holds it, where the collector sees it.
pub(crate) struct UserLoad {
    call: Arc<AsyncCall>,
    begun: bool,
}

impl UserLoad {
    pub(crate) fn new(call: &Arc<AsyncCall>) -> Self {
        Self {
            call: Arc::clone(call),
            begun: false,
        }
    }

    fn step(&mut self, py: Python<'_>) -> Poll<Result<Value, Raised>> {
        let tiers = self.call.tiers();
        let channel = &self.call.channel;
        let (coroutine, message) = if self.begun {
            match (channel.coroutine(py), channel.take_message()) {
                (Some(coroutine), Some(message)) => (coroutine, message),
                // Polled by somebody who has nothing for it.
                _ => return Poll::Pending,
            }
        } else {
            self.begun = true;
            tiers.begin_load(self.call.fresh);
            match begin(py, &self.call) {
                Ok(coroutine) => {
                    channel.set_coroutine(Some(coroutine.clone_ref(py)));
                    (coroutine.into_bound(py), Message::Send(py.None()))
                }
                Err(error) => return Poll::Ready(Err(failed(py, tiers, error))),
            }
        };
        match resume(&coroutine, message) {
            Ok(Step::Yielded(object)) => {
                drop(channel.0.with(|ends| ends.out.replace(object)));
                Poll::Pending
            }
            Ok(Step::Returned(object)) => {
                let made = tiers
                    .refuse_unfinished(object.into_bound(py))
                    .and_then(|object| tiers.made(object));
                Poll::Ready(made.map_err(|error| failed(py, tiers, error)))
            }
            Err(error) => Poll::Ready(Err(failed(py, tiers, error))),
        }
    }
}

fn failed(py: Python<'_>, tiers: &Tiers, error: PyErr) -> Raised {
    tiers.counters.load_errors.add_one();
    Raised::new(py, error)
}

impl Future for UserLoad {
    type Output = Result<Value, Raised>;

    fn poll(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Self::Output> {
        attached(|py| self.step(py))
    }
}

impl Drop for UserLoad {
    fn drop(&mut self) {
        // Released here, so that its own `finally` blocks run before whoever takes over begins.
        attached(|_| self.call.channel.set_coroutine(None));
    }
}

/// Calls the function, and takes from what it returns that which can be driven.
fn begin(py: Python<'_>, call: &AsyncCall) -> PyResult<Py<PyAny>> {
    let made = call.args.pass_to(call.tiers().wrapped.bind(py))?;
    // SAFETY: alive; these look at the type only.
    if unsafe {
        ffi::PyCoro_CheckExact(made.as_ptr()) != 0 || ffi::PyGen_CheckExact(made.as_ptr()) != 0
    } {
        return Ok(made.unbind());
    }
    match made.getattr_opt(crate::once::text!(py, "__await__"))? {
        Some(method) => Ok(method.call0()?.unbind()),
        None => Err(PyTypeError::new_err(format!(
            "{} is marked as a coroutine function and returned a {}, which cannot be awaited",
            call.tiers().qualified(),
            crate::failure::type_name(&made)
        ))),
    }
}

/// Goes on with a coroutine.
fn resume(coroutine: &Bound<'_, PyAny>, message: Message) -> PyResult<Step> {
    let py = coroutine.py();
    let result = match message {
        Message::Send(value) => return send(coroutine, value.bind(py)),
        Message::Throw(error) => match coroutine.getattr_opt(crate::once::text!(py, "throw"))? {
            Some(throw) => call(&throw, error.value(py).as_any()),
            None => return Err(error),
        },
    };
    stepped(py, result)
}

/// Calls a method of the user's coroutine.
fn call<'py>(
    method: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let arguments = [argument.as_ptr()];
    // SAFETY: one live argument; what comes back is a new reference, or null with an exception.
    unsafe {
        let none = std::ptr::null_mut();
        let result = ending::vectorcall(method.as_ptr(), arguments.as_ptr(), 1, none);
        Bound::from_owned_ptr_or_err(method.py(), result)
    }
}

/// What a method of a coroutine came to: its end is an exception.
fn stepped(py: Python<'_>, result: PyResult<Bound<'_, PyAny>>) -> PyResult<Step> {
    match result {
        Ok(yielded) => Ok(Step::Yielded(yielded.unbind())),
        Err(error) if error.is_instance_of::<PyStopIteration>(py) => Ok(Step::Returned(
            error
                .value(py)
                .getattr(crate::once::text!(py, "value"))?
                .unbind(),
        )),
        Err(error) => Err(error),
    }
}

#[cfg(Py_3_10)]
fn send(coroutine: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Step> {
    let py = coroutine.py();
    let mut result = std::ptr::null_mut();
    // SAFETY: both are alive; `result` takes a new reference unless there is an error.
    unsafe {
        match ending::send(coroutine.as_ptr(), value.as_ptr(), &raw mut result) {
            ffi::PySendResult::PYGEN_NEXT => {
                Ok(Step::Yielded(Bound::from_owned_ptr(py, result).unbind()))
            }
            ffi::PySendResult::PYGEN_RETURN => {
                Ok(Step::Returned(Bound::from_owned_ptr(py, result).unbind()))
            }
            ffi::PySendResult::PYGEN_ERROR => Err(PyErr::fetch(py)),
        }
    }
}

#[cfg(not(Py_3_10))]
fn send(coroutine: &Bound<'_, PyAny>, value: &Bound<'_, PyAny>) -> PyResult<Step> {
    let py = coroutine.py();
    match coroutine.getattr_opt(crate::once::text!(py, "send"))? {
        Some(send) => stepped(py, call(&send, value)),
        None => stepped(
            py,
            coroutine.call_method0(crate::once::text!(py, "__next__")),
        ),
    }
}
