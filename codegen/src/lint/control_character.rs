//! What the spec says can be seen.
//!
//! A line break ends a table's row, other control characters end a build, and the marks that turn the direction of
//! writing show a reader something else than a compiler reads.

use prost_reflect::Kind;

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::load::View;
use crate::model::Span;

pub(super) struct ControlCharacter;

impl Rule for ControlCharacter {
    fn name(&self) -> &'static str {
        "control_character"
    }

    fn about(&self) -> &'static str {
        "no text or comment holds a control character; a text is one line"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let mut report = |span: Span, c: char, help: &str| {
            let message = format!("a character that cannot be seen: U+{:04X}", u32::from(c));
            found.push(Diagnostic::new(self.name(), &span, message).help(help));
        };
        for (path, text) in context.sources.inputs() {
            let plain = text.replace("\r\n", " \n");
            for (at, c) in plain.char_indices() {
                if is_hidden(c) && !matches!(c, '\n' | '\t') {
                    report(Span::new(path, at..at + c.len_utf8()), c, "take it out");
                }
            }
        }
        for document in &context.loaded.documents {
            for (text, span) in texts(&document.view()) {
                if let Some(c) = text.chars().find(|c| is_hidden(*c)) {
                    report(
                        span,
                        c,
                        "a text is one line of visible characters: take the escape out",
                    );
                }
            }
        }
    }
}

fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// Every text of a message, and where it is.
fn texts(view: &View<'_>) -> Vec<(String, Span)> {
    let fields = view.descriptor();
    let texts = fields.fields().map(|field| match field.kind() {
        Kind::String if field.is_list() => view.texts(field.name()),
        Kind::String => vec![(view.text(field.name()), view.value_span(field.name()))],
        Kind::Message(_) => view.messages(field.name()).iter().flat_map(texts).collect(),
        _ => Vec::new(),
    });
    texts.flatten().collect()
}
