//! A blank that a skeleton left is filled in.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::Span;

pub(super) struct Blank;

impl Rule for Blank {
    fn name(&self) -> &'static str {
        "blank"
    }

    fn about(&self) -> &'static str {
        "every `<blank>` that `codegen new` leaves in a file is filled in"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for (path, text) in context.sources.inputs() {
            for range in blanks(text) {
                let blank = &text[range.clone()];
                let message = format!("a blank is not filled in: {blank}");
                found.push(
                    Diagnostic::new(self.name(), &Span::new(path, range), message)
                        .label("still a blank")
                        .help("put what it asks for in its place, angle brackets included"),
                );
            }
        }
    }
}

/// Comments and texts that are one pair of angle brackets and nothing else.
fn blanks(text: &str) -> Vec<std::ops::Range<usize>> {
    let mut blanks = Vec::new();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let trimmed = line.trim();
        let comment = trimmed
            .strip_prefix("//")
            .or_else(|| trimmed.strip_prefix('#'));
        if let Some(comment) = comment.map(str::trim) {
            if comment.len() > 2 && comment.starts_with('<') && comment.ends_with('>') {
                let at = start + line.find('<').unwrap_or(0);
                blanks.push(at..at + comment.len());
            }
        } else {
            let mut at = 0;
            while let Some(open) = line[at..].find("\"<") {
                let from = at + open + 1;
                let Some(length) = line[from..].find('"') else {
                    break;
                };
                if line[from..from + length].ends_with('>') {
                    blanks.push(start + from..start + from + length);
                }
                at = from + length + 1;
            }
        }
        start += line.len();
    }
    blanks
}

#[cfg(test)]
mod tests {
    use super::blanks;

    #[test]
    fn finds_whole_comments_and_whole_texts() {
        let text = "# <why>\na: \"<what>\" b: \"x <y>\"\n// a <b> c\n  // <d>\n";
        let found: Vec<&str> = blanks(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, ["<why>", "<what>", "<d>"]);
    }
}
