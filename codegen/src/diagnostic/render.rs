//! A diagnostic as text, the way rustc writes it.
//!
//! Plain ASCII without colour: the same bytes in a terminal, a log and a test's expectation.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};

use super::{Diagnostic, Sources};
use crate::model::Span;

/// It, with the lines that it is about.
pub(super) fn render(diagnostic: &Diagnostic, sources: &Sources) -> String {
    let title = Level::ERROR
        .primary_title(&diagnostic.message)
        .id(diagnostic.rule);
    let mut group = title.elements(snippets(diagnostic, sources));
    if let Some(help) = &diagnostic.help {
        group = group.element(Level::HELP.message(help));
    }
    Renderer::plain()
        .decor_style(DecorStyle::Ascii)
        .render(&[group])
}

/// One snippet a file, the diagnostic's own first.
fn snippets<'a>(
    diagnostic: &'a Diagnostic,
    sources: &'a Sources,
) -> Vec<Snippet<'a, annotate_snippets::Annotation<'a>>> {
    let Some(primary) = &diagnostic.span else {
        return Vec::new();
    };
    let mut files = vec![&primary.file];
    for (span, _) in &diagnostic.related {
        if !files.contains(&&span.file) {
            files.push(&span.file);
        }
    }
    let mut snippets = Vec::new();
    for file in files {
        let Some(text) = sources.text(file) else {
            continue;
        };
        let mut snippet = Snippet::source(text.as_ref()).path(file.as_ref());
        if *file == primary.file {
            let annotation = AnnotationKind::Primary.span(visible(primary, text));
            snippet = snippet.annotation(if diagnostic.label.is_empty() {
                annotation
            } else {
                annotation.label(diagnostic.label.as_str())
            });
        }
        for (span, label) in diagnostic
            .related
            .iter()
            .filter(|(span, _)| span.file == *file)
        {
            let annotation = AnnotationKind::Context.span(visible(span, text));
            snippet = snippet.annotation(annotation.label(label.as_str()));
        }
        snippets.push(snippet);
    }
    snippets
}

/// The span within its text and its first line: a caret under a whole message says nothing.
fn visible(span: &Span, text: &str) -> std::ops::Range<usize> {
    let boundary = |mut at: usize| {
        at = at.min(text.len());
        while !text.is_char_boundary(at) {
            at -= 1;
        }
        at
    };
    let start = boundary(span.start);
    let end = boundary(span.end).max(start);
    let end = text[start..end].find('\n').map_or(end, |line| start + line);
    start..end
}
