//! An error's text is filled with context by name, so its braces must close around names.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;

pub(super) struct ErrorPlaceholder;

impl Rule for ErrorPlaceholder {
    fn name(&self) -> &'static str {
        "error_placeholder"
    }

    fn about(&self) -> &'static str {
        "every brace in an error's text belongs to a `{name}` in lower case"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for error in &context.spec.errors {
            if let Err(wrong) = placeholders(&error.text) {
                let span = context
                    .sources
                    .slice(&error.text_span)
                    .find(wrong)
                    .map_or_else(
                        || error.text_span.clone(),
                        |at| {
                            let mut span = error.text_span.clone();
                            span.start += at;
                            span.end = span.start + wrong.len();
                            span
                        },
                    );
                let message = format!("error `{}` has a malformed placeholder", error.code);
                found.push(
                    Diagnostic::new(self.name(), &span, message)
                        .label("not a `{name}`")
                        .help("write `{name}`: a letter, then letters, digits and underscores, in lower case"),
                );
            }
        }
    }
}

/// Names of the placeholders in a text, else the part that is none.
fn placeholders(text: &str) -> Result<Vec<&str>, &str> {
    let mut names = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let part = &rest[at..];
        let end = part.find('}').ok_or(part)?;
        let name = part[..end].strip_prefix('{').ok_or(&part[..=end])?;
        let legal = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if !legal {
            return Err(&part[..=end]);
        }
        names.push(name);
        rest = &part[end + 1..];
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::placeholders;

    #[test]
    fn braces_close_around_names() {
        assert_eq!(placeholders("{a}={b_1}: c"), Ok(vec!["a", "b_1"]));
        assert_eq!(placeholders("none"), Ok(vec![]));
        assert_eq!(placeholders("a {b"), Err("{b"));
        assert_eq!(placeholders("a } b"), Err("}"));
        assert_eq!(placeholders("{A}"), Err("{A}"));
        assert_eq!(placeholders("{}"), Err("{}"));
        assert_eq!(placeholders("{{a}}"), Err("{{a}"));
    }
}
