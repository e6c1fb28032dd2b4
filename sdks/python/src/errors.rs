//! The runtime's errors as Python exceptions.
//!
//! The classes are Python, written by the generator, and looked up at the first error: an import pays for none of them.

use cachekit_runtime::error::{Error, ErrorCode};
use pyo3::prelude::*;
use pyo3::types::PyDict;

/// The exception that stands for `error`. One that a signal handler raised comes out unchanged.
pub(crate) fn raise(py: Python<'_>, error: Error) -> PyErr {
    let code = error.code();
    let text = error.to_string();
    let context: Vec<(&'static str, String)> = error
        .context()
        .map(|(name, value)| (name, value.to_owned()))
        .collect();
    let cause = match error
        .into_source()
        .map(<dyn std::error::Error + Send + Sync>::downcast::<PyErr>)
    {
        Some(Ok(raised)) if code == ErrorCode::Interrupted => return *raised,
        Some(Ok(raised)) => Some(*raised),
        _ => None,
    };
    let exception = build(py, code, &text, &context).unwrap_or_else(|error| error);
    if let Some(cause) = cause {
        exception.set_cause(py, Some(cause));
    }
    exception
}

fn build(
    py: Python<'_>,
    code: ErrorCode,
    text: &str,
    context: &[(&'static str, String)],
) -> PyResult<PyErr> {
    let class = py
        .import("cachekit.exceptions")?
        .getattr(code.python_class())?;
    let details = PyDict::new(py);
    for (name, value) in context {
        details.set_item(name, value)?;
    }
    let keywords = PyDict::new(py);
    keywords.set_item("code", code.as_str())?;
    keywords.set_item("retryable", code.retryable())?;
    keywords.set_item("context", details)?;
    Ok(PyErr::from_value(class.call((text,), Some(&keywords))?))
}

/// The exception for a function, or for how it was used, that cannot be cached.
pub(crate) fn not_cacheable(py: Python<'_>, function: &str, reason: &str) -> PyErr {
    raise(
        py,
        Error::new(ErrorCode::FunctionUnsupported)
            .with("function", function)
            .with("reason", reason),
    )
}
