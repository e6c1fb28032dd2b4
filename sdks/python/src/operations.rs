//! What can be done with the entry of a call besides calling: the operations of `cache_info()`'s neighbours.

use std::sync::Arc;

use cachekit_runtime::cache::Served;
use cachekit_runtime::driver::blocking::Blocking;
use cachekit_runtime::error::Error;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyString};

use crate::arguments::Receiver;
use crate::function::{CallArgs, Operation};
use crate::lazy::INSPECT;
use crate::load::run;
use crate::lookup::Located;
use crate::ready::ready;
use crate::remote::FunctionRemote;
use crate::stored::Value;
use crate::tiers::{Core, Entry, Tiers};
use crate::{async_calls, errors};

impl Tiers {
    /// Runs an operation that takes the arguments of a call.
    pub(crate) fn operate(
        &self,
        function: &Bound<'_, PyAny>,
        operation: Operation,
        args: CallArgs,
    ) -> PyResult<Py<PyAny>> {
        let py = function.py();
        let (value, args) = if operation == Operation::Put {
            let value = args
                .first(py)
                .ok_or_else(|| PyTypeError::new_err("put() takes the value first"))?;
            (Some(value), args.rest())
        } else {
            (None, args)
        };
        self.check_class(py, args)?;
        if operation == Operation::Bypass {
            return self.pass(py, args);
        }
        let Entry::Missing(located) = self.entry(py, args, false, true)? else {
            return Err(self.misfit(function, args));
        };
        let located = *located;
        if operation == Operation::Key {
            let core = self.core(py)?;
            let name = core.cache.entry_name(&located.hash);
            return Ok(PyString::new(py, &String::from_utf8_lossy(&name))
                .into_any()
                .unbind());
        }
        let value = value.map(|value| self.made(value)).transpose()?;
        if self.is_async {
            return match operation {
                Operation::Refresh => async_calls::call(function, args, located, true),
                _ => async_calls::operation(function, operation, located, value),
            };
        }
        match operation {
            Operation::Refresh => self.load(function, args, located, true),
            Operation::AsyncInvalidate => {
                let removed = self.run_operation(py, Operation::Invalidate, &located, value)?;
                ready(py, removed)
            }
            _ => self.run_operation(py, operation, &located, value),
        }
    }

    /// An operation on this thread; where no loop runs to carry bytes, on the tier of this process alone.
    pub(crate) fn run_operation(
        &self,
        py: Python<'_>,
        operation: Operation,
        located: &Located,
        value: Option<Value>,
    ) -> PyResult<Py<PyAny>> {
        let core = self.core(py)?;
        let hash = located.key.hash;
        let _in_flight = match operation {
            Operation::Peek => self.local.enter(hash),
            _ => self.local.overtake(hash),
        };
        let mut lookup = self.lookup(py, &core, located)?;
        lookup.remote &= !self.is_async;
        match (operation, value) {
            (Operation::Put, Some(value)) => {
                done(py, run(py, Box::pin(core.cache.set(lookup, value)))?)
            }
            (Operation::Peek, _) => peeked(py, self, run(py, Box::pin(core.cache.get(lookup)))?),
            _ => removed(py, run(py, Box::pin(core.cache.remove(lookup)))?),
        }
    }

    /// Below `@classmethod`, some interpreters hide the class from us.
    fn check_class(&self, py: Python<'_>, args: CallArgs) -> PyResult<()> {
        let is_class = |first: Bound<'_, PyAny>| first.is_instance_of::<pyo3::types::PyType>();
        if self.receiver() == Receiver::Class && !args.first(py).is_some_and(is_class) {
            return Err(PyTypeError::new_err(
                "the class is missing: put @cache above @classmethod, or give the class as the first argument",
            ));
        }
        Ok(())
    }

    /// The error for arguments that do not fit, in the words of `inspect`.
    fn misfit(&self, function: &Bound<'_, PyAny>, args: CallArgs) -> PyErr {
        let py = function.py();
        let told = INSPECT
            .get(py)
            .and_then(|inspect| inspect.call_method1("signature", (self.wrapped.bind(py),)))
            .and_then(|signature| signature.getattr("bind"))
            // SAFETY: within the call that the arguments belong to.
            .and_then(|bind| unsafe { args.pass_to(&bind) });
        match told {
            Err(error) => error,
            Ok(_) => PyTypeError::new_err(format!("the arguments do not fit {}", self.qualified())),
        }
    }

    /// `cache_info()`.
    pub(crate) fn info(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let counters = &self.counters;
        let l1_hits = counters.l1_hits.value() + counters.late_hits.value();
        let (l2_hits, shared) = (counters.l2_hits.value(), counters.shared.value());
        let (entries, bytes, _) = self.local.figures();
        let figures = [
            l1_hits + l2_hits + shared,
            counters.alone.value() + counters.misses.value(),
            if self.options.l1 {
                self.options.max_entries
            } else {
                0
            },
            entries,
            l1_hits,
            l2_hits,
            shared,
            counters.alone.value() + counters.loads.value(),
            counters.load_errors.value(),
            counters.remote_errors.value(),
            counters.evictions(),
            bytes,
        ];
        let figures = pyo3::types::PyTuple::new(py, figures)?;
        Ok(crate::info_class(py)?.call1(figures)?.unbind())
    }

    /// `cache_clear()`.
    pub(crate) fn clear(&self, function: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let py = function.py();
        let core = self.core(py)?;
        clear_here(py, &core)?;
        self.counters.restart();
        if self.is_async {
            return async_calls::clear(function, &core);
        }
        done(py, run(py, Box::pin(core.cache.clear()))?)
    }

    /// Drops what is in this process, and starts the counters anew.
    pub(crate) fn clear_local(&self, py: Python<'_>) -> PyResult<()> {
        match self.built_core() {
            Some(core) => clear_here(py, &core)?,
            None => self.local.clear(),
        }
        self.forget_core();
        self.counters.restart();
        Ok(())
    }
}

/// Drops the entries of this process; loads that are running are not kept either.
fn clear_here(py: Python<'_>, core: &Core) -> PyResult<()> {
    core.cache.local().local.overtake_all();
    let here = core.cache.on(None::<Arc<FunctionRemote>>, Blocking);
    run(py, Box::pin(here.clear()))?.map_err(|error| errors::raise(py, error))
}

/// What `cache_clear()` and `put()` return.
pub(crate) fn done(py: Python<'_>, outcome: Result<(), Error>) -> PyResult<Py<PyAny>> {
    outcome
        .map(|()| py.None())
        .map_err(|error| errors::raise(py, error))
}

/// What `invalidate()` returns.
pub(crate) fn removed(py: Python<'_>, outcome: Result<bool, Error>) -> PyResult<Py<PyAny>> {
    let removed = outcome.map_err(|error| errors::raise(py, error))?;
    Ok(PyBool::new(py, removed).to_owned().into_any().unbind())
}

/// What `peek()` returns.
pub(crate) fn peeked(
    py: Python<'_>,
    tiers: &Tiers,
    outcome: Result<Option<Served<Value>>, Error>,
) -> PyResult<Py<PyAny>> {
    match outcome.map_err(|error| errors::raise(py, error))? {
        Some(served) => Ok(tiers
            .hand_out(py, served.value)?
            .unwrap_or_else(|| py.None())),
        None => Ok(py.None()),
    }
}
