//! The reference pages: tables that cannot fall behind what they describe.

mod envelopes;
mod metrics;
mod presets;

use askama::Template;

use super::text::{generated, line, literally};
use super::{Fault, Output};
use crate::model::Spec;

#[derive(Template)]
#[template(path = "docs/errors.md.jinja", escape = "none")]
struct ErrorPage {
    generated: String,
    kinds: Vec<(String, String)>,
    errors: Vec<ErrorRow>,
    classes: Vec<(String, String, String)>,
}

struct ErrorRow {
    code: String,
    kind: String,
    retryable: &'static str,
    class: String,
    text: String,
}

pub(super) fn emit(spec: &Spec) -> Result<Vec<Output>, Fault> {
    let pages = [
        ("presets", presets::presets(spec)?),
        ("options", presets::options(spec)?),
        ("metrics", metrics::emit(spec)?),
        ("errors", errors(spec)?),
        ("envelopes", envelopes::emit(spec)?),
    ];
    let output =
        |(name, text): &(&str, String)| Output::text(&format!("docs/reference/{name}.md"), text);
    Ok(pages.iter().map(output).collect())
}

fn errors(spec: &Spec) -> Result<String, Fault> {
    let kinds = spec.enumeration("cachekit.spec.v1.ErrorKind").map(|found| {
        let kinds = found
            .values
            .iter()
            .map(|kind| (kind.short.clone(), cell(&kind.doc)));
        kinds.collect()
    });
    let errors = spec.errors.iter().map(|error| ErrorRow {
        code: error.code.clone(),
        kind: error.kind.short.clone(),
        retryable: if error.retryable { "yes" } else { "no" },
        class: error.python_class.clone(),
        text: cell(&error.text),
    });
    let classes = spec.python_classes.iter().map(|class| {
        (
            class.name.clone(),
            class.bases.join("`, `"),
            cell(&class.doc),
        )
    });
    let page = ErrorPage {
        generated: generated("spec/errors.textproto"),
        kinds: kinds.unwrap_or_default(),
        errors: errors.collect(),
        classes: classes.collect(),
    };
    Ok(page.render()?)
}

/// Text as it is, on one line: a tag in it is no tag.
fn prose(text: &str) -> String {
    literally(&line(text), &['<'])
}

/// Text that can stand in a table.
fn cell(text: &str) -> String {
    prose(text).replace('|', "\\|")
}

/// Bytes or a plain number, as people read them: `256 MiB (268435456)`.
fn size(value: u64, unit: &str) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let round = UNITS
        .iter()
        .find(|(factor, _)| value >= *factor && value.is_multiple_of(*factor));
    match round {
        Some((factor, name)) if unit == "bytes" => format!("{} {name}", value / factor),
        _ => format!("{value} {unit}").trim_end().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_said_in_their_largest_whole_unit() {
        assert_eq!(size(268_435_456, "bytes"), "256 MiB");
        assert_eq!(size(1_000, "bytes"), "1000 bytes");
        assert_eq!(size(1_024, "entries"), "1024 entries");
        assert_eq!(size(7, ""), "7");
    }

    #[test]
    fn a_bar_does_not_end_a_cell() {
        assert_eq!(cell("a | b\nc <d>"), "a \\| b c \\<d>");
    }
}
