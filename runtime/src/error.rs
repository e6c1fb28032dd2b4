//! The one error of this crate: a code from the spec, context as pairs, and what caused it.
//!
//! One struct and not an enum per module, so that every binding converts one thing and the spec holds every text.

use std::fmt;

pub use crate::generated::error::{ErrorCode, ErrorKind};

/// What a caller brings along as a cause.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `Result` with this crate's error.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error: its code says what happened, its context where.
pub struct Error(Box<Inner>);

struct Inner {
    code: ErrorCode,
    context: Vec<(&'static str, String)>,
    source: Option<BoxError>,
}

impl Error {
    /// An error without context.
    pub fn new(code: ErrorCode) -> Self {
        Self(Box::new(Inner {
            code,
            context: Vec::new(),
            source: None,
        }))
    }

    /// Adds context; `{name}` in the code's text stands for it.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl fmt::Display) -> Self {
        self.0.context.push((name, value.to_string()));
        self
    }

    /// Sets what caused it.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<BoxError>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// What happened.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// What it is about.
    pub fn kind(&self) -> ErrorKind {
        self.0.code.kind()
    }

    /// Whether the same operation may succeed when it is tried again.
    pub fn retryable(&self) -> bool {
        self.0.code.retryable()
    }

    /// The context, in the order it was given.
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0
            .context
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
    }

    /// Gives up the error for what caused it.
    pub fn into_source(self) -> Option<BoxError> {
        self.0.source
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.code.text();
        while let Some((before, after)) = rest.split_once('{') {
            f.write_str(before)?;
            let Some((name, tail)) = after.split_once('}') else {
                break;
            };
            let value = self
                .context()
                .find(|(known, _)| *known == name)
                .map_or("?", |(_, v)| v);
            f.write_str(value)?;
            rest = tail;
        }
        f.write_str(rest)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("context", &self.0.context)
            .field("source", &self.0.source)
            .finish()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_filled_from_the_context() {
        let error = Error::new(ErrorCode::BackendInvalid)
            .with("backend", "http://x")
            .with("reason", "its scheme is not known");
        assert_eq!(
            error.to_string(),
            "cannot use http://x as a backend: its scheme is not known"
        );
        assert_eq!(error.kind(), ErrorKind::Configuration);
    }

    #[test]
    fn missing_context_shows_as_a_question_mark() {
        assert!(
            Error::new(ErrorCode::Internal)
                .to_string()
                .contains("cachekit: ?;")
        );
    }
}
