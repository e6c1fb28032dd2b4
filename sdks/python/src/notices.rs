//! What a user is told about calls that are cached less than they look: once a function, or as an error if they are to be
//! strict.

use std::ffi::CString;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use cachekit_runtime::cache;
use cachekit_runtime::error::{Error, ErrorCode, Result};
use pyo3::ffi;
use pyo3::prelude::*;

use crate::errors;
use crate::guard::attached;
use crate::lookup::OnlyHere;

/// The subjects, each told of once.
#[derive(Clone, Copy)]
enum Subject {
    Identity = 1,
    Argument = 2,
    Key = 4,
    Value = 8,
    Nowhere = 16,
}

/// The notices of one function.
pub(crate) struct Notices {
    function: String,
    strict: bool,
    /// What becomes of calls that the remote tier cannot serve.
    without_remote: &'static str,
    told: AtomicU8,
}

impl Notices {
    pub(crate) fn new(function: String, strict: bool, l1: bool) -> Arc<Self> {
        Arc::new(Self {
            function,
            strict,
            without_remote: if l1 {
                "cached in this process only"
            } else {
                "not cached"
            },
            told: AtomicU8::new(0),
        })
    }

    fn first(&self, subject: Subject) -> bool {
        self.told.fetch_or(subject as u8, Ordering::Relaxed) & subject as u8 == 0
    }

    /// A remote tier is there, and the function has no name that it could use it by.
    pub(crate) fn no_identity(&self, py: Python<'_>, reason: &str) -> PyResult<()> {
        if !self.first(Subject::Identity) {
            return Ok(());
        }
        let text = format!(
            "{} is {}: {reason}; give it a namespace to share its entries with other processes",
            self.function, self.without_remote
        );
        warn(py, &text)
    }

    /// There is neither tier.
    pub(crate) fn nowhere(&self, py: Python<'_>) -> PyResult<()> {
        if !self.first(Subject::Nowhere) {
            return Ok(());
        }
        let text = format!(
            "{} is not cached: it has l1=False, and there is no remote tier; configure a backend, or leave l1 on",
            self.function
        );
        warn(py, &text)
    }

    /// A remote tier is there, and a key means nothing to other processes.
    pub(crate) fn only_here(&self, py: Python<'_>, why: &OnlyHere) -> PyResult<()> {
        match why {
            OnlyHere::Receiver if self.first(Subject::Key) => {
                let text = format!(
                    "{} is {}: other processes do not know its instances; give the class a __cache_key__ method, or the \
                     decorator a key",
                    self.function, self.without_remote
                );
                warn(py, &text)
            }
            OnlyHere::Object { type_name } if self.strict => {
                let error = Error::new(ErrorCode::ArgumentUnsupported)
                    .with("path", "(one of them)")
                    .with("function", &self.function)
                    .with("type", type_name)
                    .with(
                        "reason",
                        "other processes do not know it; give its class a __cache_key__ method",
                    );
                Err(errors::raise(py, error))
            }
            OnlyHere::Object { type_name } if self.first(Subject::Key) => {
                let text = format!(
                    "a call of {} is {}: other processes do not know its argument of type {type_name}; give its class a \
                     __cache_key__ method, or the decorator a key",
                    self.function, self.without_remote
                );
                warn(py, &text)
            }
            _ => Ok(()),
        }
    }

    /// An argument cannot be part of a key, so the call is not cached at all.
    pub(crate) fn argument(&self, py: Python<'_>, error: Error) -> PyResult<()> {
        if self.strict {
            return Err(errors::raise(py, error));
        }
        if self.first(Subject::Argument) {
            warn(py, &format!("not cached: {error}"))
        } else {
            Ok(())
        }
    }

    /// Callers cannot be given a value that another call made, so it is stored nowhere.
    pub(crate) fn value(&self, py: Python<'_>, error: Error) -> PyResult<()> {
        self.result(py, "not cached", error)
    }

    fn result(&self, py: Python<'_>, what: &str, error: Error) -> PyResult<()> {
        if self.strict {
            return Err(errors::raise(py, error));
        }
        if self.first(Subject::Value) {
            warn(
                py,
                &format!("a result of {} is {what}: {error}", self.function),
            )
        } else {
            Ok(())
        }
    }
}

/// The notices as the runtime knows them.
pub(crate) struct Board(pub(crate) Arc<Notices>);

impl cache::Notice for Board {
    fn unstorable(&self, error: Error) -> Result<()> {
        if self.0.strict {
            return Err(error);
        }
        attached(|py| self.0.result(py, self.0.without_remote, error))
            .map_err(|raised| Error::new(ErrorCode::Interrupted).with_source(raised))
    }

    fn tampered(&self, error: &Error) {
        let text = format!("an entry of {} does not open: {error}", self.0.function);
        // What handlers of a log raise is not for the caller of the function.
        let _ = attached(|py| {
            py.import("logging")?
                .call_method1("getLogger", ("cachekit",))?
                .call_method1("warning", ("%s", text))
                .map(drop)
        });
    }
}

/// Warns the caller of the function: what runs here has no frame of its own.
fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    let category = py
        .import("cachekit._warnings")?
        .getattr("CacheKitWarning")?;
    let text = CString::new(text.replace('\0', "?"))?;
    // SAFETY: the category is alive and the text ends in a zero.
    let status = unsafe { ffi::PyErr_WarnEx(category.as_ptr(), text.as_ptr(), 1) };
    if status < 0 {
        Err(PyErr::fetch(py))
    } else {
        Ok(())
    }
}
