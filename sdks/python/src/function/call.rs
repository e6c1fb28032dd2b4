//! The call of a decorated function.
//!
//! A hit on plain positional arguments ends here, without a Python object made and without `PyO3`. Everything else is told
//! what it must know about the call and takes its time.

use std::ptr::null_mut;

use pyo3::ffi;
use pyo3::prelude::*;

use super::CachedFunction;
use crate::arguments::tuple_from;
use crate::ending;
use crate::guard;
use crate::part::Glance;
use crate::scalar::equal_short_text;
use crate::stored::{Share, Value};
use crate::tiers::Tiers;
use crate::{clock, disabled, key, quick};

/// A call's arguments as the interpreter hands them over. They live as long as the call.
#[derive(Clone, Copy)]
pub(crate) struct CallArgs {
    pub(crate) args: *const *mut ffi::PyObject,
    pub(crate) given: usize,
    pub(crate) kwnames: *mut ffi::PyObject,
}

impl CallArgs {
    fn named(&self) -> usize {
        if self.kwnames.is_null() {
            return 0;
        }
        // SAFETY: a tuple, by the vectorcall protocol.
        unsafe { ffi::PyTuple_GET_SIZE(self.kwnames) }.cast_unsigned()
    }

    /// Calls something else with them.
    ///
    /// # Safety
    /// Within the call that they belong to, or while something else keeps them.
    pub(crate) unsafe fn pass_to<'py>(
        &self,
        callable: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the arguments are as the interpreter gave them.
        unsafe {
            let result = ending::vectorcall(callable.as_ptr(), self.args, self.given, self.kwnames);
            Bound::from_owned_ptr_or_err(callable.py(), result)
        }
    }

    /// References of their own, for a call that ends later.
    pub(crate) fn keep(&self, py: Python<'_>) -> PyResult<KeptArgs> {
        let len = self.given + self.named();
        // SAFETY: so many are there.
        let values = unsafe { tuple_from(py, self.args, len) }?;
        // SAFETY: a tuple or null.
        let names = unsafe { Bound::from_borrowed_ptr_or_opt(py, self.kwnames) }.map(Bound::unbind);
        Ok(KeptArgs {
            values,
            names,
            given: self.given,
        })
    }

    /// The first positional argument.
    pub(crate) fn first<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        // SAFETY: there is one.
        (self.given > 0).then(|| unsafe { Bound::from_borrowed_ptr(py, *self.args) })
    }

    /// All but the first positional argument.
    pub(crate) fn rest(&self) -> Self {
        // SAFETY: only called where there is a first one.
        let args = unsafe { self.args.add(1) };
        Self {
            args,
            given: self.given - 1,
            kwnames: self.kwnames,
        }
    }
}

/// Arguments that are kept for later.
pub(crate) struct KeptArgs {
    values: Py<PyAny>,
    names: Option<Py<PyAny>>,
    given: usize,
}

impl KeptArgs {
    /// Calls `callable` with them.
    pub(crate) fn pass_to<'py>(&self, callable: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: they are kept during the call.
        self.lend(callable.py(), |args| unsafe { args.pass_to(callable) })
    }

    /// Gives them out as they came.
    pub(crate) fn lend<R>(&self, py: Python<'_>, use_them: impl FnOnce(CallArgs) -> R) -> R {
        let values = self.values.as_ptr();
        // SAFETY: the tuple lives as long as this, and the index is below its length.
        let items: Vec<_> = unsafe {
            (0..ffi::PyTuple_GET_SIZE(values))
                .map(|at| ffi::PyTuple_GET_ITEM(values, at))
                .collect()
        };
        let kwnames = self
            .names
            .as_ref()
            .map_or(null_mut(), |names| names.bind(py).as_ptr());
        use_them(CallArgs {
            args: items.as_ptr(),
            given: self.given,
            kwnames,
        })
    }

    /// Shows the collector what is held here.
    pub(crate) fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        visit(self.values.as_ptr());
        if let Some(names) = &self.names {
            visit(names.as_ptr());
        }
    }
}

/// `function(...)` for functions of one argument, and methods of one besides their receiver: the commonest calls.
///
/// A hit by the very object that the value was stored under ends here. What is asked of others stands at the end or, as the
/// time, at the beginning, so that there is little to be saved and restored on the way.
pub(super) unsafe extern "C" fn vectorcall_one<const RECEIVER: bool, const AWAITED: bool>(
    function: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let given = 1 + usize::from(RECEIVER);
    // SAFETY: a slot of this type, whose arguments live as long as the call. What is called without a guard cannot panic.
    unsafe {
        if !kwnames.is_null()
            || ffi::PyVectorcall_NARGS(nargsf).cast_unsigned() != given
            || disabled::by_anybody()
        {
            return vectorcall(function, args, nargsf, kwnames);
        }
        let tiers = CachedFunction::from_ptr(function).tiers();
        let now = tiers.is_timed.then(clock::now);
        let receiver = if RECEIVER { *args as usize } else { 0 };
        let part = *args.add(given - 1);
        let hash = key::of_common(receiver, part);
        let (Some(hash), true) = (hash, !RECEIVER || tiers.receivers.go_by_identity(*args)) else {
            return vectorcall(function, args, given, null_mut());
        };
        let same = |known| known == part;
        match tiers
            .local
            .find_object(hash, now, shared_as(AWAITED), receiver, same)
        {
            Ok(object) => {
                tiers.counters.l1_hits.add_one();
                object
            }
            Err(glance) => after_glance::<RECEIVER, AWAITED>(function, args, hash, glance),
        }
    }
}

/// How callers get what is stored for all of them.
pub(crate) const fn shared_as(awaited: bool) -> Share {
    if awaited { Share::Ready } else { Share::Same }
}

/// The rest of [`vectorcall_one`] where that found something else, or nothing.
///
/// # Safety
/// As for that.
#[inline(never)]
unsafe fn after_glance<const RECEIVER: bool, const AWAITED: bool>(
    function: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    hash: u64,
    mut glance: Glance,
) -> *mut ffi::PyObject {
    let given = 1 + usize::from(RECEIVER);
    // SAFETY: by the contract above, there are so many arguments.
    unsafe {
        let tiers = CachedFunction::from_ptr(function).tiers();
        let receiver = if RECEIVER { *args as usize } else { 0 };
        if let Glance::Unclear(then) = glance {
            let now = tiers.is_timed.then_some(then);
            let part = *args.add(given - 1);
            let same = |known| equal_short_text(known, part);
            match tiers
                .local
                .find_object(hash, now, shared_as(AWAITED), receiver, same)
            {
                Ok(object) => {
                    tiers.counters.l1_hits.add_one();
                    return object;
                }
                Err(found) => glance = found,
            }
        }
        let parts = std::slice::from_raw_parts(args.add(given - 1), 1);
        guard::raw(null_mut(), || {
            let call = CallArgs {
                args,
                given,
                kwnames: null_mut(),
            };
            let at = Place {
                hash,
                receiver,
                parts,
            };
            let found = match glance {
                Glance::Found(taken) => Some(taken.parts()),
                Glance::Absent => None,
                Glance::Unclear(then) => {
                    let now = if tiers.is_timed { then } else { clock::now() };
                    tiers.local.find_plain(hash, now, receiver, parts)
                }
            };
            go_on(function, tiers, call, at, found)
        })
    }
}

/// What a call with plain arguments is found by.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) hash: u64,
    /// Zero if there is none.
    pub(crate) receiver: usize,
    pub(crate) parts: &'a [*mut ffi::PyObject],
}

/// A call after the look for its entry.
///
/// # Safety
/// Attached, within the call that the arguments belong to. The place is theirs.
unsafe fn go_on(
    function: *mut ffi::PyObject,
    tiers: &Tiers,
    call: CallArgs,
    at: Place<'_>,
    found: Option<(*mut ffi::PyObject, Share)>,
) -> *mut ffi::PyObject {
    // SAFETY: by the contract above.
    unsafe {
        let Some((object, share)) = found else {
            return quick::load(tiers, call, at).unwrap_or_else(|| slow(function, call));
        };
        tiers.counters.l1_hits.add_one();
        if share == Share::Ready || (share == Share::Same && !tiers.is_async) {
            return object;
        }
        hand_out(tiers, object, share, call)
    }
}

/// `function(...)`.
pub(super) unsafe extern "C" fn vectorcall(
    function: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    guard::raw(null_mut(), || {
        // SAFETY: a slot of this type, whose arguments live as long as the call.
        unsafe {
            let tiers = CachedFunction::from_ptr(function).tiers();
            if disabled::here() {
                return ending::vectorcall(tiers.wrapped.as_ptr(), args, nargsf, kwnames);
            }
            let given = ffi::PyVectorcall_NARGS(nargsf).cast_unsigned();
            let call = CallArgs {
                args,
                given,
                kwnames,
            };
            let mut slots = [null_mut(); _];
            let arguments = if kwnames.is_null() && given == tiers.plain {
                // Without arguments there may be no array.
                if given == 0 {
                    &[]
                } else {
                    std::slice::from_raw_parts(args, given)
                }
            } else if tiers.binds_in_place
                && let Some(arguments) = tiers.plan.arrange(args, given, kwnames, &mut slots)
            {
                arguments
            } else {
                return slow(function, call);
            };
            let (receiver, parts) = match arguments {
                [receiver, parts @ ..] if tiers.has_receiver => {
                    if !tiers.receivers.go_by_identity(*receiver) {
                        return slow(function, call);
                    }
                    (*receiver as usize, parts)
                }
                parts => (0, parts),
            };
            let Some(hash) = key::of_plain(receiver, parts) else {
                return slow(function, call);
            };
            let found = tiers.local.find_plain(hash, clock::now(), receiver, parts);
            if let Some((object, share)) = found
                && share == tiers.shared_as
            {
                tiers.counters.l1_hits.add_one();
                return object;
            }
            let at = Place {
                hash,
                receiver,
                parts,
            };
            go_on(function, tiers, call, at, found)
        }
    })
}

/// What a caller gets of a hit that is not the stored object itself.
///
/// # Safety
/// Attached, and the object is a reference that is given away.
unsafe fn hand_out(
    tiers: &Tiers,
    object: *mut ffi::PyObject,
    share: Share,
    args: CallArgs,
) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: by the contract above.
        let value = unsafe { Value::found(py, object, share) };
        match tiers.hand_out(py, value)? {
            Some(object) => tiers.answer(py, object),
            None => tiers.pass(py, args),
        }
    })
}

/// # Safety
/// As for [`vectorcall`].
#[cold]
unsafe fn slow(function: *mut ffi::PyObject, args: CallArgs) -> *mut ffi::PyObject {
    guard::object(|py| {
        // SAFETY: alive, and of this type.
        let function = unsafe { Bound::from_borrowed_ptr(py, function) };
        // SAFETY: as above.
        unsafe {
            CachedFunction::from_ptr(function.as_ptr())
                .tiers()
                .call(&function, args)
        }
    })
}
