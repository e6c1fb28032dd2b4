//! The user's function as the runtime's load, on the caller's own thread.
//!
//! The thread stays attached to the interpreter from the lookup to the result, so the function's exceptions, context
//! variables and traceback are those of a plain call. Only a wait for another thread lets go of it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use cachekit_runtime::cache::{Failure, LoadError, Served, Source};
use cachekit_runtime::driver::{Caller, blocking};
use pyo3::exceptions::{PyException, PyRecursionError};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ending;
use crate::errors;
use crate::function::CallArgs;
use crate::guard::attached;
use crate::kept::Storage;
use crate::lazy::RAISED;
use crate::lookup::Located;
use crate::remote::Signals;
use crate::stored::{Share, Value};
use crate::thread::{self, Thread};
use crate::tiers::Tiers;
use crate::types::is_built_in_iterator;

/// What the user's function raised.
pub(crate) struct Raised {
    pub(crate) error: PyErr,
    hands_over: bool,
}

impl Raised {
    pub(crate) fn new(py: Python<'_>, error: PyErr) -> Self {
        // A cancelled task and a caller who was interrupted say nothing about the load.
        let hands_over = !error.is_instance_of::<PyException>(py);
        Self { error, hands_over }
    }
}

impl LoadError for Raised {
    fn hands_over(&self) -> bool {
        self.hands_over
    }
}

/// Polls `future` to its end on this thread.
pub(crate) fn run<F>(py: Python<'_>, mut future: F) -> PyResult<F::Output>
where
    F: Future + Unpin + Send,
    F::Output: Send,
{
    // Without another thread to wait for, this is all.
    if let Poll::Ready(output) = Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop()))
    {
        return Ok(output);
    }
    ending::detached(py, || blocking::run(Attached(future), &Signals))
        .map_err(|error| errors::raise(py, error))
}

/// A future that is polled attached to the interpreter, and dropped so.
struct Attached<F>(F);

impl<F: Future + Unpin> Future for Attached<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        attached(|_| Pin::new(&mut self.0).poll(cx))
    }
}

/// What a caller makes of the runtime's answer.
pub(crate) enum Answer {
    /// The value, and where it came from.
    Value(Value, Source),
    /// Another call's value, which that call alone may have.
    Unshared,
}

/// The runtime's answer, its failures raised.
pub(crate) fn answer(
    py: Python<'_>,
    outcome: Result<Served<Value>, Failure<Raised>>,
) -> PyResult<Answer> {
    match outcome {
        Ok(served) if served.value.share == Share::Never && served.from == Source::Flight => {
            Ok(Answer::Unshared)
        }
        Ok(served) => Ok(Answer::Value(served.value, served.from)),
        Err(Failure::Raised {
            error,
            leader: true,
        }) => Err(error.error.clone_ref(py)),
        Err(Failure::Raised {
            error,
            leader: false,
        }) => Err(equal(py, &error)),
        Err(Failure::Refused(error) | Failure::Interrupted(error)) => Err(errors::raise(py, error)),
        Err(_) => Err(PyException::new_err(
            "a failure of a kind that this binding does not know",
        )),
    }
}

/// An exception like the leader's for one who waited: raised to many, one object would gather all their tracebacks.
fn equal(py: Python<'_>, raised: &Arc<Raised>) -> PyErr {
    let original = raised.error.value(py);
    let made = RAISED
        .get(py)
        .and_then(|module| module.call_method1("like", (original,)))
        .ok()
        .filter(|made| !made.is(original));
    let Some(made) = made else {
        return raised.error.clone_ref(py);
    };
    let error = PyErr::from_value(made);
    error.set_cause(py, Some(raised.error.clone_ref(py)));
    error
}

/// An error before the stack ends: a function that calls itself through its cache uses more of it than a plain one.
pub(crate) fn check_stack() -> PyResult<()> {
    if thread::here(Thread::stack_is_nearly_used_up) {
        return Err(PyRecursionError::new_err(
            "maximum recursion depth exceeded in a cached function",
        ));
    }
    Ok(())
}

/// Counts a level of Python's own recursion limit while it lives.
pub(crate) struct Level(());

impl Level {
    pub(crate) fn enter(py: Python<'_>) -> PyResult<Self> {
        // SAFETY: the thread is attached; the matching call is in `drop`.
        let status = unsafe { ffi::Py_EnterRecursiveCall(c" in a cached function".as_ptr()) };
        if status == 0 {
            Ok(Self(()))
        } else {
            Err(PyErr::fetch(py))
        }
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        // SAFETY: made by a successful `Py_EnterRecursiveCall` on this thread.
        unsafe { ffi::Py_LeaveRecursiveCall() };
    }
}

impl Tiers {
    /// A miss of a plain function: through the runtime, on this thread.
    pub(crate) fn load(
        &self,
        function: &Bound<'_, PyAny>,
        args: CallArgs,
        located: Located,
        fresh: bool,
    ) -> PyResult<Py<PyAny>> {
        let py = function.py();
        check_stack()?;
        let _level = Level::enter(py)?;
        let core = self.core(py)?;
        let _in_flight = if fresh {
            self.local.overtake(located.key.hash)
        } else {
            self.local.join(&located.key, |thread| {
                core.cache.lead(located.hash, Caller { thread, task: 0 })
            })
        };
        let lookup = self.lookup(py, &core, &located)?;
        let mine = OnThisThread((self, args, fresh));
        let load = move || async move {
            let mine = mine;
            let OnThisThread((tiers, args, fresh)) = mine;
            attached(|py| tiers.run_function(py, args, fresh))
        };
        let outcome = if fresh {
            run(py, core.cache.refresh(lookup, load))?
        } else {
            run(py, core.cache.get_or_load(lookup, load))?
        };
        drop(located);
        match answer(py, outcome)? {
            Answer::Value(value, from) => {
                self.count(from);
                match self.hand_out(py, value)? {
                    Some(object) => Ok(object),
                    None => self.pass(py, args),
                }
            }
            Answer::Unshared => self.pass(py, args),
        }
    }

    /// Counts where a value came from, unless it was counted when it was made.
    pub(crate) fn count(&self, from: Source) {
        match from {
            Source::L1 => self.counters.late_hits.add_one(),
            Source::L2 => self.counters.l2_hits.add_one(),
            Source::Flight => self.counters.shared.add_one(),
            _ => {}
        }
    }

    /// Counts a load that begins.
    pub(crate) fn begin_load(&self, fresh: bool) {
        self.counters.loads.add_one();
        if !fresh {
            self.counters.misses.add_one();
        }
    }

    fn run_function(&self, py: Python<'_>, args: CallArgs, fresh: bool) -> Result<Value, Raised> {
        self.begin_load(fresh);
        // SAFETY: polled within the call that the arguments belong to.
        let result = unsafe { args.pass_to(self.wrapped.bind(py)) };
        let value = result
            .and_then(|object| self.refuse_unfinished(object))
            .and_then(|object| self.made(object));
        value.map_err(|error| {
            self.counters.load_errors.add_one();
            Raised::new(py, error)
        })
    }

    /// What the function returned, as it is stored.
    pub(crate) fn made(&self, object: Bound<'_, PyAny>) -> PyResult<Value> {
        let py = object.py();
        match Storage::of(&object, &self.rules)? {
            Storage::Never(reason) => {
                if self.options.l1 {
                    self.notices.value(py, reason)?;
                }
                Ok(Value::stored(object.unbind(), Share::Never))
            }
            how => Ok(Value::as_stored(object, how)),
        }
    }

    /// Results that can be consumed once cannot be cached.
    pub(crate) fn refuse_unfinished<'py>(
        &self,
        object: Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: alive; these look at the type only.
        let (coroutine, generator, async_generator) = unsafe {
            let object = object.as_ptr();
            (
                ffi::PyCoro_CheckExact(object) != 0,
                ffi::PyGen_CheckExact(object) != 0,
                ffi::PyAsyncGen_CheckExact(object) != 0,
            )
        };
        let reason = if coroutine {
            object.call_method0("close")?;
            "it returned a coroutine, which can be awaited once; decorate an async def that awaits it"
        } else if generator {
            object.call_method0("close")?;
            "it returned a generator, which can be consumed once; return a list of what it yields"
        } else if async_generator {
            "it returned an async generator, which can be consumed once; return a list of what it yields"
        } else if is_built_in_iterator(&object) {
            "it returned an iterator, which can be consumed once; return a list of what it yields"
        } else {
            return Ok(object);
        };
        Err(errors::not_cacheable(object.py(), self.qualified(), reason))
    }
}

/// Moves what belongs to this thread through the runtime, which polls on the thread that called it.
struct OnThisThread<T>(T);

// SAFETY: a plain call's future is made, polled and dropped by one thread, within the call.
unsafe impl<T> Send for OnThisThread<T> {}
