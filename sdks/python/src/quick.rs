//! A miss of a plain function without a remote tier, as long as nobody else wants the same: lookup, call, insertion.
//!
//! The runtime does the same and more, at ten times the cost: see [`unjoined`](crate::unjoined) for what happens when
//! somebody comes along. Here the call stays on the raw API, since `PyO3` releases references elsewhere than where they
//! are dropped unless it has attached the thread itself.

use std::sync::atomic::{AtomicU64, Ordering};

use cachekit_runtime::clock::{Clock, Instant, SystemClock};
use cachekit_runtime::generated::config::{Isolation, Monitoring};
use cachekit_runtime::generated::metrics::LoadOutcome;
use cachekit_runtime::metrics;
use cachekit_runtime::shim;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ending;
use crate::function::{CallArgs, Place};
use crate::guard;
use crate::isolate::is_atom;
use crate::key::Key;
use crate::load::{self, Raised};
use crate::packed::Packed;
use crate::stored::{Share, Value};
use crate::tiers::{CONFIGURATION, Tiers};
use crate::unjoined::Note;

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
    let local = &*tiers.local;
    let Place {
        hash,
        receiver,
        parts,
    } = at;
    if !tiers.alone.now() || !local.may_keep(receiver) || load::stack_is_nearly_used_up() {
        return None;
    }
    // SAFETY: the parts are alive.
    let same = |key: &Packed| unsafe { key.is_plain(receiver, parts) };
    if !local.unjoined.is_free(hash, same) {
        return None;
    }
    // SAFETY: attached, and the parts are alive.
    let key = unsafe { Key::plain(Python::assume_attached(), receiver, parts) }.ok()?;
    let noted = local.unjoined.note(hash, Packed::new(key));
    tiers.counters.alone.add_one();
    local.foresee(hash);
    let begun = (tiers.options.monitoring == Monitoring::Full).then(|| SystemClock.now());
    // SAFETY: as the interpreter gave them.
    let result =
        unsafe { ending::vectorcall(tiers.wrapped.as_ptr(), args.args, args.given, args.kwnames) };
    let note = noted.end();
    if let Some(begun) = begun {
        observe(begun);
    }
    // SAFETY: attached; a new reference, or null with an exception.
    unsafe {
        if result.is_null() {
            failed(tiers, note);
            return Some(result);
        }
        let class = ffi::Py_TYPE(result);
        let shareable = match tiers.options.isolation {
            Isolation::Shared => (*class).tp_iternext.is_none() && (*class).tp_as_async.is_null(),
            Isolation::Sealed => false,
            _ => is_atom(class),
        };
        match note {
            Some(note) if shareable && note.lead.is_none() => {
                tiers.counters.alone_ok.add_one();
                keep(tiers, hash, note, result, same);
                Some(result)
            }
            note => Some(finish(tiers, hash, note, result, same)),
        }
    }
}

/// Stores what everybody may share.
///
/// # Safety
/// Attached, and the object is alive.
#[inline]
unsafe fn keep(
    tiers: &Tiers,
    hash: u64,
    note: Note,
    object: *mut ffi::PyObject,
    same: impl Fn(&Packed) -> bool,
) {
    let Note { key, stale, .. } = note;
    if stale {
        // SAFETY: attached.
        unsafe { key.release() };
        return;
    }
    // SAFETY: attached, and the object is alive.
    unsafe {
        let object = Bound::from_borrowed_ptr(Python::assume_attached(), object).unbind();
        let value = Value::stored(object, Share::Same);
        tiers
            .local
            .put(hash, key, value, tiers.lifetimes.of_number(hash), same);
    }
}

/// What a result needs that is not shared as it is, or that others wait for.
///
/// # Safety
/// Attached, and the object is a reference that is given away.
#[cold]
unsafe fn finish(
    tiers: &Tiers,
    hash: u64,
    note: Option<Note>,
    object: *mut ffi::PyObject,
    same: impl Fn(&Packed) -> bool,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: by the contract above.
        let object = unsafe { Bound::from_owned_ptr(py, object) };
        let made = tiers
            .refuse_unfinished(object)
            .and_then(|object| tiers.made(object));
        let value = match made {
            Ok(value) => value,
            Err(error) => {
                failed_with(tiers, note, Raised::new(py, error.clone_ref(py)));
                return Err(error);
            }
        };
        tiers.counters.alone_ok.add_one();
        if let Some(note) = note {
            let current = !note.stale && note.lead.as_ref().is_none_or(|lead| lead.is_current());
            let Note { key, lead, .. } = note;
            if current && value.share != Share::Never {
                // SAFETY: attached.
                unsafe {
                    tiers.local.put(
                        hash,
                        key,
                        value.clone(),
                        tiers.lifetimes.of_number(hash),
                        same,
                    );
                };
            } else {
                drop(key);
            }
            if let Some(lead) = lead {
                lead.finish(Ok(value.clone()));
            }
        }
        Ok(value.own())
    })
}

/// Counts a failure, and tells those who wait. The exception stays set.
#[cold]
fn failed(tiers: &Tiers, note: Option<Note>) {
    guard::slot((), |py| {
        let error = PyErr::fetch(py);
        failed_with(tiers, note, Raised::new(py, error.clone_ref(py)));
        Err(error)
    });
}

fn failed_with(tiers: &Tiers, note: Option<Note>, raised: Raised) {
    use cachekit_runtime::cache::LoadError;
    tiers.counters.load_errors.add_one();
    let hands_over = raised.hands_over();
    if tiers.options.monitoring != Monitoring::Off {
        metrics::global().loads.inc(if hands_over {
            LoadOutcome::Cancelled
        } else {
            LoadOutcome::Error
        });
    }
    // Dropped unfinished, the lead hands over.
    if let Some(lead) = note.and_then(|note| note.lead).filter(|_| !hands_over) {
        lead.finish(Err(raised.into()));
    }
}

#[inline(never)]
fn observe(begun: Instant) {
    let took = SystemClock.now().since(begun);
    shim::critical(|| metrics::global().load_duration.observe(took.as_secs_f64()));
}
