//! Misses and operations of `async def` functions, as awaitables.
//!
//! The same runtime, polled by the caller's task. Without a loop that cachekit knows nobody could wake a waiter or carry
//! bytes, so then the function runs with the tier of this process alone.

use std::sync::Arc;

use cachekit_runtime::cache::Cache;
use cachekit_runtime::driver::event_loop::LoopDriver;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::awaitable::{self, Begin, Outcome};
use crate::codec::Values;
use crate::coroutine::{AsyncCall, Channel, UserLoad};
use crate::event_loop;
use crate::function::{CachedFunction, CallArgs, Operation};
use crate::guard::attached;
use crate::load::{Answer, Raised, answer};
use crate::local::Shelf;
use crate::lookup::Located;
use crate::operations::{done, peeked, removed};
use crate::remote::FunctionRemote;
use crate::stored::Value;
use crate::tiers::{Core, Entry, Tiers};

/// The cache of a function as the tasks of one loop use it.
type LoopCache = Cache<Shelf, Values, Raised, FunctionRemote, LoopDriver>;

/// An awaitable for a call that was not answered from this process.
pub(crate) fn call(
    function: &Bound<'_, PyAny>,
    args: CallArgs,
    located: Located,
    fresh: bool,
) -> PyResult<Py<PyAny>> {
    let call = Arc::new(AsyncCall {
        function: function.clone().unbind(),
        args: args.keep(function.py())?,
        channel: Channel::new(),
        fresh,
    });
    let this = Arc::clone(&call);
    // An awaitable may lie about for long. The collector sees its arguments, but not those in such a key.
    let located = (!located.key.key.is_local_form()).then_some(located);
    let begin: Begin = Box::new(move |py, host| {
        let located = match located {
            Some(located) => located,
            None => locate_again(py, &this)?,
        };
        let Some(host) = host else {
            return alone(py, this, located);
        };
        let tiers = this.tiers();
        let core = tiers.core(py)?;
        let cache = cache_on(tiers, &core, host)?;
        let lookup = tiers.lookup(py, &core, &located)?;
        Ok(Box::pin(async move {
            let load = {
                let call = Arc::clone(&this);
                move || UserLoad::new(&call)
            };
            let outcome = if fresh {
                cache.refresh(lookup, load).await
            } else {
                cache.get_or_load(lookup, load).await
            };
            drop(located);
            let given = attached(|py| match answer(py, outcome)? {
                Answer::Value(value, from) => {
                    this.tiers().count(from);
                    this.tiers().hand_out(py, value)
                }
                Answer::Unshared => Ok(None),
            })?;
            match given {
                Some(object) => Ok(object),
                None => by_itself(&this).await,
            }
        }))
    });
    awaitable::of(function, Some(call), fresh.then_some("refresh"), begin)
}

fn locate_again(py: Python<'_>, call: &AsyncCall) -> PyResult<Located> {
    match call
        .args
        .lend(py, |args| call.tiers().entry(py, args, false, true))?
    {
        Entry::Missing(located) => Ok(*located),
        _ => Err(PyRuntimeError::new_err(
            "the arguments have changed since the call",
        )),
    }
}

/// Runs the user's coroutine for this caller only.
async fn by_itself(call: &Arc<AsyncCall>) -> PyResult<Py<PyAny>> {
    let value = UserLoad::new(call).await.map_err(|raised| raised.error)?;
    attached(|_| Ok(value.own()))
}

/// A call where no loop runs: the coroutine, and the tier of this process.
fn alone(py: Python<'_>, call: Arc<AsyncCall>, located: Located) -> PyResult<Outcome> {
    let tiers = call.tiers();
    let core = tiers.core(py)?;
    let lookup = tiers.lookup(py, &core, &located)?;
    let load = UserLoad::new(&call);
    let loaded = core.cache.load_alone(lookup, load, call.fresh);
    Ok(Box::pin(async move {
        let value = loaded.await.map_err(|raised| raised.error)?;
        attached(|_| {
            drop((located, call));
            Ok(value.own())
        })
    }))
}

/// An awaitable for an operation on the entry of a call.
pub(crate) fn operation(
    function: &Bound<'_, PyAny>,
    operation: Operation,
    located: Located,
    value: Option<Value>,
) -> PyResult<Py<PyAny>> {
    let name = match operation {
        Operation::Put => "put",
        Operation::Peek => "peek",
        _ => "invalidate",
    };
    let held = function.clone().unbind();
    let begin: Begin = Box::new(move |py, host| {
        let tiers = tiers_of(&held);
        let core = tiers.core(py)?;
        let Some(host) = host else {
            return tiers
                .run_operation(py, operation, &located, value)
                .map(|object| ended(object, located));
        };
        let cache = cache_on(tiers, &core, host)?;
        let lookup = tiers.lookup(py, &core, &located)?;
        let future: Outcome = Box::pin(async move {
            let result = match (operation, value) {
                (Operation::Put, Some(value)) => {
                    let outcome = cache.set(lookup, value).await;
                    attached(|py| done(py, outcome))
                }
                (Operation::Peek, _) => {
                    let outcome = cache.get(lookup).await;
                    attached(|py| peeked(py, tiers_of(&held), outcome))
                }
                _ => {
                    let outcome = cache.remove(lookup).await;
                    attached(|py| removed(py, outcome))
                }
            };
            attached(|_| drop((located, held)));
            result
        });
        Ok(future)
    });
    awaitable::of(function, None, Some(name), begin)
}

fn ended(object: Py<PyAny>, located: Located) -> Outcome {
    Box::pin(async move {
        attached(|_| drop(located));
        Ok(object)
    })
}

/// What `cache_clear()` returns, this process being cleared already: with a loop, a task that clears the remote tier,
/// whether or not anybody waits for it.
pub(crate) fn clear(function: &Bound<'_, PyAny>, core: &Core) -> PyResult<Py<PyAny>> {
    let py = function.py();
    let Some(host) = event_loop::host(py)?.filter(|_| core.cache.has_remote()) else {
        return crate::ready::ready(py, py.None());
    };
    let cache = cache_on(tiers_of(function.as_unbound()), core, &host)?;
    let begin: Begin = Box::new(move |_, _| {
        let future: Outcome = Box::pin(async move {
            let outcome = cache.clear().await;
            attached(|py| done(py, outcome))
        });
        Ok(future)
    });
    let clearing = awaitable::of(function, None, Some("cache_clear"), begin)?;
    Ok(host.call_method1("spawn", (clearing,))?.unbind())
}

fn tiers_of(function: &Py<PyAny>) -> &Tiers {
    // SAFETY: the callers hold a decorated function.
    unsafe { CachedFunction::from_ptr(function.as_ptr()) }.tiers()
}

/// The function's cache, reached through this loop.
fn cache_on(tiers: &Tiers, core: &Core, host: &Bound<'_, PyAny>) -> PyResult<LoopCache> {
    let remote = match &core.backend {
        Some(backend) => {
            let server = event_loop::server(host, backend.bind(host.py()))?;
            Some(Arc::new(FunctionRemote {
                server,
                counters: Arc::clone(&tiers.counters),
            }))
        }
        None => None,
    };
    Ok(core.cache.on(remote, event_loop::driver(host)?))
}
