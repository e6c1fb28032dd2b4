//! Python objects that are made once, and kept.
//!
//! Not by `PyO3`'s cells, which let go of the interpreter inside: a fork at that moment leaves the child with a cell that is
//! being made by a thread that does not exist there. Here an object is made first and kept then, in one step that does not
//! let go; when two threads make one, the second is dropped.

use std::sync::OnceLock;

use pyo3::prelude::*;
use pyo3::types::PyString;

/// A place for what is made once.
pub(crate) struct Once<T>(OnceLock<T>);

impl<T> Once<T> {
    pub(crate) const fn new() -> Self {
        Self(OnceLock::new())
    }

    /// What is there.
    #[inline]
    pub(crate) fn get(&self, _: Python<'_>) -> Option<&T> {
        self.0.get()
    }

    /// What is there, made if need be.
    pub(crate) fn get_or_try_init(
        &self,
        _: Python<'_>,
        make: impl FnOnce() -> PyResult<T>,
    ) -> PyResult<&T> {
        if let Some(known) = self.0.get() {
            return Ok(known);
        }
        // Runs whatever it likes; somebody else may be done before.
        let object = make()?;
        drop(self.0.set(object));
        Ok(self.0.get().expect("it was set, here or by somebody else"))
    }
}

/// An interned string.
pub(crate) struct Text {
    text: &'static str,
    made: Once<Py<PyString>>,
}

impl Text {
    pub(crate) const fn new(text: &'static str) -> Self {
        Self {
            text,
            made: Once::new(),
        }
    }

    /// The string.
    pub(crate) fn get<'py>(&self, py: Python<'py>) -> &Bound<'py, PyString> {
        let made = self
            .made
            .get_or_try_init(py, || Ok(PyString::intern(py, self.text).unbind()));
        made.expect("making it cannot fail").bind(py)
    }
}

/// The interned string of a literal, as `pyo3::intern!` gives it, but kept in a [`Text`].
macro_rules! text {
    ($py:expr, $text:literal) => {{
        static TEXT: $crate::once::Text = $crate::once::Text::new($text);
        TEXT.get($py)
    }};
}
pub(crate) use text;
