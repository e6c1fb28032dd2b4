//! A miss of a plain function without a remote tier, as long as nobody else wants the same: lookup, call, insertion.
//!
//! Through a flight it would cost ten times as much. Who may go this way, and what happens when somebody comes along, is the
//! runtime's to say: see [`Unjoined`](cachekit_runtime::cache::Unjoined). Here the call stays on the raw API, since `PyO3`
//! releases references elsewhere than where they are dropped unless it has attached the thread itself.

use std::ptr::null_mut;
use std::sync::atomic::{AtomicU64, Ordering};

use cachekit_runtime::clock::{Clock, Instant, SystemClock};
use cachekit_runtime::generated::config::{Isolation, Monitoring};
use cachekit_runtime::metrics;
use cachekit_runtime::shim;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ending;
use crate::function::{CallArgs, Place};
use crate::guard;
use crate::isolate::is_atom;
use crate::load::Raised;
use crate::packed::Held;
use crate::stored::{Share, Value};
use crate::thread::{self, Thread};
use crate::tiers::{CONFIGURATION, Tiers};
use crate::unjoined::{Ended, Lead, Noted};
use crate::weight::weigh;

/// When a miss of a function may go this way.
pub(crate) enum Alone {
    Never,
    Always,
    /// Under this configuration.
    Under(AtomicU64),
}

impl Alone {
    const NONE_YET: u64 = u64::MAX;

    pub(crate) fn new(never_remote: bool, possible: bool) -> Self {
        match (possible, never_remote) {
            (false, _) => Self::Never,
            (true, true) => Self::Always,
            (true, false) => Self::Under(AtomicU64::new(Self::NONE_YET)),
        }
    }

    pub(crate) fn configured(&self, epoch: u64, alone: bool) {
        if let Self::Under(known) = self {
            let epoch = if alone { epoch } else { Self::NONE_YET };
            known.store(epoch, Ordering::Release);
        }
    }

    #[inline]
    fn now(&self) -> bool {
        match self {
            Self::Never => false,
            Self::Always => true,
            Self::Under(epoch) => {
                epoch.load(Ordering::Acquire) == CONFIGURATION.load(Ordering::Acquire)
            }
        }
    }
}

/// The result of a call that missed, or null with an exception; nothing if it has to go another way.
///
/// # Safety
/// Attached, within the call that the arguments belong to.
#[inline(never)]
pub(crate) unsafe fn load(
    tiers: &Tiers,
    args: CallArgs,
    at: Place<'_>,
) -> Option<*mut ffi::PyObject> {
    // SAFETY: by the contract above.
    thread::here(|here| unsafe { load_on(here, tiers, args, at) })
}

/// # Safety
/// As for [`load`].
#[inline(always)]
unsafe fn load_on(
    here: &Thread,
    tiers: &Tiers,
    args: CallArgs,
    at: Place<'_>,
) -> Option<*mut ffi::PyObject> {
    let local = &*tiers.local;
    if !tiers.alone.now() || !local.may_keep(at.receiver) || here.stack_is_nearly_used_up() {
        return None;
    }
    // SAFETY: attached, and the arguments are alive.
    let noted = unsafe { local.begin(at, here.number()) }?;
    tiers.counters.alone.add_one();
    local.foresee(at.hash);
    let begun = (tiers.options.monitoring == Monitoring::Full).then(|| SystemClock.now());
    let CallArgs {
        args,
        given,
        kwnames,
    } = args;
    // SAFETY: as the interpreter gave them.
    let result =
        unsafe { ending::vectorcall_on(here, tiers.wrapped.as_ptr(), args, given, kwnames) };
    if let Some(begun) = begun {
        observe(begun);
    }
    // SAFETY: attached; a new reference, or null with an exception.
    unsafe {
        if result.is_null() {
            failed(tiers, noted);
            return Some(result);
        }
        let class = ffi::Py_TYPE(result);
        let shareable = match tiers.options.isolation {
            Isolation::Shared => (*class).tp_iternext.is_none() && (*class).tp_as_async.is_null(),
            Isolation::Sealed => false,
            _ => is_atom(class),
        };
        let mut made = None;
        let stored = if shareable {
            let object = Bound::from_borrowed_ptr(Python::assume_attached(), result);
            let weight = weigh(object.as_borrowed());
            Some((Held::new(object.unbind(), Share::Same), weight))
        } else if let Some(Made { value, stored }) = make(tiers, result) {
            made = Some(value);
            stored
        } else {
            failed(tiers, noted);
            return Some(null_mut());
        };
        tiers.counters.alone_ok.add_one();
        let lead = match stored {
            Some((value, weight)) => {
                let lifetime = tiers.lifetimes.of_number(at.hash);
                local.keep(noted, at, value, weight, lifetime)
            }
            None => noted.refuse(None),
        };
        if shareable && lead.is_none() {
            return Some(result);
        }
        Some(hand_over(lead, made, result))
    }
}

/// What a result comes to that is not shared as it is.
struct Made {
    value: Value,
    /// As the table holds it, and what it weighs; nothing if it is not kept.
    stored: Option<(Held, u64)>,
}

/// Makes what is stored of a result; nothing, with an exception, if it cannot be a result. Until that is done, which may be
/// the user's code, the load is not over.
///
/// # Safety
/// Attached, and the object is a reference that is given away.
#[cold]
unsafe fn make(tiers: &Tiers, object: *mut ffi::PyObject) -> Option<Made> {
    guard::slot(None, |py| {
        // SAFETY: by the contract above.
        let object = unsafe { Bound::from_owned_ptr(py, object) };
        let value = tiers.made(tiers.refuse_unfinished(object)?)?;
        let stored = (value.share != Share::Never).then(|| {
            let weight = value.weight(py);
            (Held::new(value.object.clone_ref(py), value.share), weight)
        });
        Ok(Some(Made { value, stored }))
    })
}

/// Tells those who wait, if anybody does. Gives what the caller gets: what was made, or `object`, which everybody may share.
///
/// # Safety
/// Attached, and the object is alive, unless something else was made of it.
#[cold]
unsafe fn hand_over(
    lead: Option<Box<Lead>>,
    made: Option<Value>,
    object: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        let value = made.unwrap_or_else(|| {
            // SAFETY: by the contract above.
            let object = unsafe { Bound::from_owned_ptr(py, object) };
            Value::stored(object.unbind(), Share::Same)
        });
        if let Some(lead) = lead {
            lead.finish(Ok(value.clone()));
        }
        Ok(value.own())
    })
}

/// Counts a failure, and tells those who wait. The exception stays set.
#[cold]
fn failed(tiers: &Tiers, noted: Noted<'_>) {
    guard::slot((), |py| {
        let error = PyErr::fetch(py);
        tiers.counters.load_errors.add_one();
        let outcome = Ended::fail(noted.end(), Raised::new(py, error.clone_ref(py)));
        if tiers.options.monitoring != Monitoring::Off {
            metrics::global().loads.inc(outcome);
        }
        Err(error)
    });
}

#[inline(never)]
fn observe(begun: Instant) {
    let took = SystemClock.now().since(begun);
    shim::critical(|| metrics::global().load_duration.observe(took.as_secs_f64()));
}
