//! What to do about a mistake that the parsers describe in terms of tokens.

use crate::diagnostic::{Sources, closest};
use crate::model::Span;

/// The message, in our own words where we know better ones, and what to do next; `names` are what it quotes.
pub(super) fn of(
    message: &str,
    names: &[&str],
    span: &Span,
    sources: &Sources,
) -> (String, Option<String>) {
    let found = names.last().copied().unwrap_or_default();
    let unquoted = found.trim_matches(['"', '\'']);
    let is_text = found.starts_with('"');
    let advice = |help: &str| (message.to_owned(), Some(help.to_owned()));
    let expected = |what: &str| message.starts_with(&format!("expected {what}"));
    if message == "invalid string character" {
        return if matches!(sources.slice(&after(span)), "" | "\n" | "\r") {
            let words = "this text does not end in its line";
            (words.to_owned(), Some("close it with `\"`".to_owned()))
        } else {
            advice("write it as an escape, such as `\\t`")
        };
    }
    if let Some(name) = message.strip_suffix(" is already set") {
        return (
            format!("{name} is set twice"),
            Some("take one of the two out".to_owned()),
        );
    }
    if message.starts_with("a value is already set for oneof") {
        return advice("only one of them can be set: take one out");
    }
    if expected("0 or 1") {
        return (
            format!("expected `true` or `false`, but found '{found}'"),
            None,
        );
    }
    if expected("a string") {
        return advice(&format!("put it between quotes: `\"{found}\"`"));
    }
    if is_text && (expected("an enum value") || expected("a number") || expected("an integer")) {
        return advice(&format!("write `{unquoted}` without quotes"));
    }
    if expected("an integer") {
        return advice("write a whole number");
    }
    if message.ends_with("reached end of input") || message.ends_with("reached end of file") {
        return match unclosed(sources.slice(&before(span))) {
            Some(line) => advice(&format!("close the `{{` of line {line}")),
            None => advice("finish what the file ends in"),
        };
    }
    if found == "}" && message.starts_with("expected a field name, but found") {
        return advice("take it out: nothing is open here");
    }
    if expected("':' or a message value") {
        return advice("write `:` between a field and its value");
    }
    if expected("';'") {
        return advice("end what stands before it with `;`");
    }
    if expected("',' or ']'") {
        return advice("write `,` between the values of a list, and `]` behind the last");
    }
    if message.starts_with("field number") && message.ends_with("already used") {
        return advice("take a number that no field has or had");
    }
    if message.contains("conflicts with reserved") {
        return advice(
            "what is reserved was in use once: take a number and a name that never were",
        );
    }
    (message.to_owned(), slip(message, names))
}

/// A help line where what was found is nearly one of the words that were expected.
fn slip(message: &str, names: &[&str]) -> Option<String> {
    let (found, expected) = names.split_last()?;
    let words = expected
        .iter()
        .copied()
        .filter(|name| name.starts_with(char::is_alphabetic));
    if !message.contains("but found") {
        return None;
    }
    Some(format!("did you mean `{}`?", closest(found, words)?))
}

/// The byte behind the span's start.
fn after(span: &Span) -> Span {
    Span::new(&span.file, span.start..span.start + 1)
}

/// Everything before the span.
fn before(span: &Span) -> Span {
    Span::new(&span.file, 0..span.start)
}

/// Line, from 1, of the innermost brace that nothing closes.
fn unclosed(text: &str) -> Option<usize> {
    let mut open = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let mut quote = None;
        let mut escaped = false;
        for (at, c) in line.char_indices() {
            match (quote, c) {
                (Some(_), _) if escaped => escaped = false,
                (Some(_), '\\') => escaped = true,
                (Some(mark), _) if c == mark => quote = None,
                (None, '"' | '\'') => quote = Some(c),
                (None, '#') => break,
                (None, '/') if line[at..].starts_with("//") => break,
                (None, '{') => open.push(index + 1),
                (None, '}') => {
                    open.pop();
                }
                _ => {}
            }
        }
    }
    open.pop()
}

#[cfg(test)]
mod tests {
    use super::unclosed;

    #[test]
    fn finds_the_brace_that_stays_open() {
        assert_eq!(
            unclosed("a {\n b { c: \"}\" }\n # }\n d: 1 // }\n"),
            Some(1)
        );
        assert_eq!(unclosed("a {\n b {\n"), Some(2));
        assert_eq!(unclosed("a {}\n"), None);
    }
}
