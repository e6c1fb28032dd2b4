//! What happens around `fork`.
//!
//! The runtime's locks are held by `pthread_atfork`, and not by Python's hooks: other modules' hooks run between those
//! and the fork itself, and while they run Python code a thread may take the interpreter and wait with it for one of our
//! locks, for ever. Libc's handlers run last before the fork and first after it, with the interpreter held throughout.

use cachekit_runtime::shim;
use pyo3::prelude::*;

use crate::{ending, sweeper};

/// Has the runtime's locks held during every fork of this process.
#[cfg(unix)]
pub(crate) fn register() -> PyResult<()> {
    use std::sync::Once;

    /// Waits until no thread is inside one of the locks. Nobody inside needs the interpreter to come out.
    extern "C" fn before() {
        shim::before_fork();
    }
    /// Lets them in again, on both sides; what the child has to reset waits for [`after_fork_in_child`].
    extern "C" fn after() {
        shim::after_fork_in_parent();
    }

    static REGISTERED: Once = Once::new();
    let mut status = 0;
    REGISTERED.call_once(|| {
        // SAFETY: the handlers are functions of this extension, which is never unloaded, and do not unwind.
        status = unsafe { libc::pthread_atfork(Some(before), Some(after), Some(after)) };
    });
    if status == 0 {
        Ok(())
    } else {
        Err(std::io::Error::from_raw_os_error(status).into())
    }
}

/// There is no fork.
#[cfg(not(unix))]
#[allow(clippy::unnecessary_wraps, reason = "as above")]
pub(crate) fn register() -> PyResult<()> {
    Ok(())
}

/// Resets what belonged to threads that do not exist here. Called by Python's hook, since it lets go of Python objects.
#[pyfunction]
pub(crate) fn after_fork_in_child() {
    ending::after_fork_in_child();
    sweeper::after_fork_in_child();
    shim::after_fork_in_child();
}
