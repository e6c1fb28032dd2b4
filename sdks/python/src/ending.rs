//! The end of the interpreter, while threads that nobody waits for are in calls.
//!
//! Before 3.14 such a thread is unwound as soon as it asks for the interpreter, without having it. What frames of ours
//! would then release is not theirs to touch, and frames that nobody expects to be unwound abort the process. So a thread
//! stops for good where the user's code ends under it, and the rest of our code is left in time: the last thing that
//! happens before the end is that calls go straight through, whoever is inside comes out, and for a while nobody enters.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicIsize, Ordering};
use std::time::{Duration, Instant};

use pyo3::ffi;
use pyo3::prelude::*;

use crate::thread::{self, Thread};
use crate::{disabled, sweeper};

/// Threads that run code of ours which may call Python. A library that switches stacks in the middle of it puts the count
/// wrong, which costs [`PATIENCE`] at most.
static INSIDE: AtomicIsize = AtomicIsize::new(0);
/// Longest time that the end waits for them; they need microseconds.
const PATIENCE: Duration = Duration::from_millis(200);
/// When the end began, and how long threads stay out from then on. Not for ever: an exit handler may wait for one.
static ENDED: OnceLock<Instant> = OnceLock::new();
const GRACE: Duration = Duration::from_secs(1);

/// Keeps a thread out while the interpreter ends. It usually does before the thread is back.
#[inline]
fn give_way(here: &Thread) {
    if let Some(ended) = ENDED.get()
        && !here.ends.get()
    {
        stay_out(*ended);
    }
}

#[cold]
fn stay_out(ended: Instant) {
    let left = GRACE.saturating_sub(ended.elapsed());
    if left.is_zero() {
        return;
    }
    // SAFETY: the thread gives up what it has and takes it back.
    unsafe {
        if ffi::PyGILState_Check() == 1 {
            let thread = ffi::PyEval_SaveThread();
            std::thread::sleep(left);
            ffi::PyEval_RestoreThread(thread);
        } else {
            std::thread::sleep(left);
        }
    }
}

/// Code of ours, while it lives.
pub(crate) struct Inside(());

impl Inside {
    pub(crate) fn enter() -> Self {
        thread::here(|here| {
            let depth = here.depth.get();
            if depth == 0 {
                give_way(here);
            }
            here.depth.set(depth + 1);
            if depth == 0 {
                INSIDE.fetch_add(1, Ordering::Relaxed);
            }
        });
        Self(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        let depth = thread::here(|here| {
            let depth = here.depth.get().saturating_sub(1);
            here.depth.set(depth);
            depth
        });
        if depth == 0 {
            INSIDE.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Somebody else's code, called by ours on that thread, while it lives.
struct Outside<'a> {
    here: &'a Thread,
    depth: usize,
}

impl<'a> Outside<'a> {
    #[inline]
    fn leave(here: &'a Thread) -> Self {
        let depth = here.depth.replace(0);
        if depth > 0 {
            INSIDE.fetch_sub(1, Ordering::Relaxed);
        }
        Self { here, depth }
    }
}

impl Drop for Outside<'_> {
    #[inline]
    fn drop(&mut self) {
        give_way(self.here);
        self.here.depth.set(self.depth);
        if self.depth > 0 {
            INSIDE.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Runs `work` without the interpreter.
pub(crate) fn detached<R: Send>(py: Python<'_>, work: impl FnOnce() -> R + Send) -> R {
    thread::here(|here| {
        let _outside = Outside::leave(here);
        py.detach(work)
    })
}

/// Stops this thread for good. The process ends without it.
pub(crate) fn park() -> ! {
    loop {
        std::thread::park();
    }
}

/// Dropped only if the interpreter unwinds the thread.
struct Unwound;

impl Drop for Unwound {
    fn drop(&mut self) {
        park();
    }
}

/// The interpreter's functions that run the user's code, as what may be unwound.
mod unwinding {
    #[cfg(not(Py_3_11))]
    pub(super) use inline::PyObject_Vectorcall;
    use pyo3::ffi::PyObject;

    unsafe extern "C-unwind" {
        pub(super) fn Py_DecRef(object: *mut PyObject);

        #[cfg(Py_3_11)]
        pub(super) fn PyObject_Vectorcall(
            callable: *mut PyObject,
            args: *const *mut PyObject,
            nargsf: usize,
            kwnames: *mut PyObject,
        ) -> *mut PyObject;

        #[cfg(Py_3_10)]
        pub(super) fn PyIter_Send(
            iter: *mut PyObject,
            value: *mut PyObject,
            result: *mut *mut PyObject,
        ) -> pyo3::ffi::PySendResult;
    }

    /// What older headers have inline.
    #[cfg(not(Py_3_11))]
    mod inline {
        use std::ffi::c_char;
        use std::ptr::null;

        use pyo3::ffi::{self, PyObject, PyThreadState};

        unsafe extern "C-unwind" {
            fn _PyObject_MakeTpCall(
                thread: *mut PyThreadState,
                callable: *mut PyObject,
                args: *const *mut PyObject,
                given: ffi::Py_ssize_t,
                kwnames: *mut PyObject,
            ) -> *mut PyObject;
            fn _Py_CheckFunctionResult(
                thread: *mut PyThreadState,
                callable: *mut PyObject,
                result: *mut PyObject,
                place: *const c_char,
            ) -> *mut PyObject;
        }

        type Function = unsafe extern "C-unwind" fn(
            *mut PyObject,
            *const *mut PyObject,
            usize,
            *mut PyObject,
        ) -> *mut PyObject;

        #[allow(non_snake_case, reason = "as it is called elsewhere")]
        pub(in super::super) unsafe fn PyObject_Vectorcall(
            callable: *mut PyObject,
            args: *const *mut PyObject,
            nargsf: usize,
            kwnames: *mut PyObject,
        ) -> *mut PyObject {
            // SAFETY: the caller's; a function may be called as one that may be unwound.
            unsafe {
                let thread = ffi::PyThreadState_Get();
                let Some(function) = ffi::PyVectorcall_Function(callable) else {
                    let given = ffi::PyVectorcall_NARGS(nargsf);
                    return _PyObject_MakeTpCall(thread, callable, args, given, kwnames);
                };
                let function = std::mem::transmute::<ffi::vectorcallfunc, Function>(function);
                let result = function(callable, args, nargsf, kwnames);
                _Py_CheckFunctionResult(thread, callable, result, null())
            }
        }
    }
}

/// `PyObject_Vectorcall` for the user's code.
///
/// # Safety
/// As for that.
pub(crate) unsafe fn vectorcall(
    callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's.
    thread::here(|here| unsafe { vectorcall_on(here, callable, args, nargsf, kwnames) })
}

/// [`vectorcall`] by who knows the thread already.
///
/// # Safety
/// As for that, on that thread.
#[inline]
pub(crate) unsafe fn vectorcall_on(
    here: &Thread,
    callable: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    nargsf: usize,
    kwnames: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    let _outside = Outside::leave(here);
    let unwound = Unwound;
    // SAFETY: the caller's.
    let result = unsafe { unwinding::PyObject_Vectorcall(callable, args, nargsf, kwnames) };
    std::mem::forget(unwound);
    result
}

/// Releases an object, whose destructor may be the user's code.
///
/// # Safety
/// Attached, and the reference is given up.
pub(crate) unsafe fn release(object: *mut ffi::PyObject) {
    thread::here(|here| {
        let _outside = Outside::leave(here);
        let unwound = Unwound;
        // SAFETY: the caller's.
        unsafe { unwinding::Py_DecRef(object) };
        std::mem::forget(unwound);
    });
}

/// `PyIter_Send` for the user's coroutine.
///
/// # Safety
/// As for that.
#[cfg(Py_3_10)]
pub(crate) unsafe fn send(
    coroutine: *mut ffi::PyObject,
    value: *mut ffi::PyObject,
    result: *mut *mut ffi::PyObject,
) -> ffi::PySendResult {
    thread::here(|here| {
        let _outside = Outside::leave(here);
        let unwound = Unwound;
        // SAFETY: the caller's.
        let sent = unsafe { unwinding::PyIter_Send(coroutine, value, result) };
        std::mem::forget(unwound);
        sent
    })
}

/// Whether the end has begun.
pub(crate) fn has_begun() -> bool {
    ENDED.get().is_some()
}

/// Called at exit, after whatever was registered later than this package was imported.
#[pyfunction]
fn end(py: Python<'_>) {
    disabled::disabled_process(1);
    thread::here(|here| here.ends.set(true));
    let _ = ENDED.set(Instant::now());
    sweeper::stop_sweeper(py);
    let until = Instant::now() + PATIENCE;
    let mine = isize::from(thread::here(|here| here.depth.get()) > 0);
    // This thread has the interpreter when it looks, so none that it does not see can be inside.
    while INSIDE.load(Ordering::Relaxed) > mine && Instant::now() < until {
        py.detach(|| std::thread::sleep(Duration::from_micros(50)));
    }
}

/// In a forked child only this thread is left.
pub(crate) fn after_fork_in_child() {
    INSIDE.store(
        isize::from(thread::here(|here| here.depth.get()) > 0),
        Ordering::Relaxed,
    );
}

/// Has the interpreter call [`end`].
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let end = wrap_pyfunction!(end, module)?;
    module
        .py()
        .import("atexit")?
        .call_method1("register", (end,))?;
    Ok(())
}
