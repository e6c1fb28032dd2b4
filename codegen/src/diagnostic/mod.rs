//! What is wrong with the spec, where, and what to do about it.
//!
//! A diagnostic carries places, not text: it is rendered in the end, by one renderer, so that every stage's
//! messages look alike.

mod render;
mod source;
mod suggest;

pub use source::Sources;
pub use suggest::{closest, did_you_mean, one_of};

use crate::model::Span;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Rule that is broken.
    pub rule: &'static str,
    /// What is wrong, in one line.
    pub message: String,
    /// Where; none for what has no place in a file.
    pub span: Option<Span>,
    /// What stands at the caret.
    pub label: String,
    /// Other places that belong to it.
    pub related: Vec<(Span, String)>,
    /// What to do next.
    pub help: Option<String>,
    /// What it is about, where a waiver must name it; see `breaking::waiver`.
    pub subject: Option<String>,
}

impl Diagnostic {
    /// A finding at a place.
    pub fn new(rule: &'static str, span: &Span, message: impl Into<String>) -> Self {
        Self {
            span: Some(span.clone()),
            ..Self::nowhere(rule, message)
        }
    }

    /// A finding that has no place in a file.
    pub fn nowhere(rule: &'static str, message: impl Into<String>) -> Self {
        Self {
            rule,
            message: message.into(),
            span: None,
            label: String::new(),
            related: Vec::new(),
            help: None,
            subject: None,
        }
    }

    /// Says something at the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Shows another place.
    #[must_use]
    pub fn related(mut self, span: &Span, label: impl Into<String>) -> Self {
        self.related.push((span.clone(), label.into()));
        self
    }

    /// Says what to do next.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Names what it is about.
    #[must_use]
    pub fn subject(mut self, subject: impl Into<String>) -> Self {
        self.subject = Some(subject.into());
        self
    }

    /// It, as the terminal shows it.
    pub fn render(&self, sources: &Sources) -> String {
        render::render(self, sources)
    }
}

/// All of them as the terminal shows them: by file and line, each once.
pub fn render_all(diagnostics: &[Diagnostic], sources: &Sources) -> String {
    let mut sorted: Vec<&Diagnostic> = diagnostics.iter().collect();
    sorted.sort_by(|a, b| (&a.span, a.rule, &a.message).cmp(&(&b.span, b.rule, &b.message)));
    sorted.dedup();
    let mut text = String::new();
    for diagnostic in sorted {
        text.push_str(&diagnostic.render(sources));
        text.push_str("\n\n");
    }
    text
}
