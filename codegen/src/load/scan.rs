//! The comments and the places of a textproto's fields, which the parser drops.
//!
//! It reads the same tokens as `prost-reflect`'s parser and knows no schema: wherever that parser accepts a file, this
//! one finds the same fields (a test mutates the real files to hold both to it); where the parser refuses, nobody asks.

use std::ops::Range;

/// A field as it is written: `name: value`, `name { .. }` or `name: [value, ..]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; in brackets for an extension.
    pub name: String,
    /// Its place, from the name to the end of the value.
    pub span: Range<usize>,
    /// Place of the name.
    pub name_span: Range<usize>,
    /// Comment lines directly above, without their `#`.
    pub comment: String,
    /// Its values; several in a list, none in an empty one.
    pub values: Vec<Item>,
}

/// One value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place, braces included.
    pub span: Range<usize>,
    /// Fields of a message; none for a scalar.
    pub fields: Option<Vec<Field>>,
}

/// Every field of a file, or nothing where the tokens make no sense.
pub fn scan(text: &str) -> Option<Vec<Field>> {
    let mut scanner = Scanner {
        text,
        at: 0,
        depth: 0,
        comment: Comment::default(),
    };
    let fields = scanner.fields(None)?;
    Some(fields)
}

/// The text with spaces in the place of its comments: the parser skips each of them one call deeper than the last.
pub fn without_comments(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let bytes = text.as_bytes();
    let (mut done, mut at) = (0, 0);
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b'"' | b'\'' => quoted(&bytes[at..]).unwrap_or(1),
            b'#' => {
                let length = run(&bytes[at..], |byte| byte != b'\n');
                plain.push_str(&text[done..at]);
                plain.extend(std::iter::repeat_n(' ', length));
                done = at + length;
                length
            }
            _ => 1,
        };
    }
    plain.push_str(&text[done..]);
    plain
}

/// What stands between the brace that the text begins with and the one that closes it.
pub fn within_braces(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let (mut at, mut depth) = (0, 0);
    loop {
        at += match *bytes.get(at)? {
            b'"' | b'\'' => quoted(&bytes[at..]).unwrap_or(1),
            b'{' => {
                depth += 1;
                1
            }
            b'}' if depth == 1 => return text.get(1..at),
            b'}' => {
                depth -= 1;
                1
            }
            b'/' if bytes.get(at + 1) == Some(&b'/') => return None,
            _ => 1,
        };
    }
}

/// The innermost field around a place, with the separator behind it.
pub fn field_around(text: &str, at: usize) -> Option<Range<usize>> {
    let mut fields = scan(text)?;
    let mut found: Option<Range<usize>> = None;
    while let Some(field) = fields.into_iter().find(|field| field.span.contains(&at)) {
        found = Some(field.span);
        let inner = field
            .values
            .into_iter()
            .find(|value| value.span.contains(&at));
        fields = inner.and_then(|value| value.fields).unwrap_or_default();
    }
    let mut range = found?;
    let rest = text[range.end..].trim_start();
    if rest.starts_with([',', ';']) {
        range.end = text.len() - rest.len() + 1;
    }
    Some(range)
}

/// Value of a header comment such as `# proto-file: x`, and its place.
pub fn header<'a>(text: &'a str, key: &str) -> Option<(&'a str, Range<usize>)> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let trimmed = line.trim();
        if trimmed.is_empty() {
            continue;
        }
        let comment = trimmed.strip_prefix('#')?;
        if let Some(value) = comment.trim_start().strip_prefix(key) {
            let value = value.strip_prefix(':')?.trim();
            let offset = start + line.find(value)?;
            return Some((value, offset..offset + value.len()));
        }
    }
    None
}

/// Comment lines that may belong to the field behind them.
#[derive(Default)]
struct Comment {
    lines: Vec<String>,
    /// Whether the line of the last token is over: a comment behind a value is not about the next field.
    own_line: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Ident,
    Number,
    Text,
    Symbol(u8),
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    /// Messages that are open here.
    depth: usize,
    comment: Comment,
}

/// Messages within messages that are read; no schema of ours comes near.
const DEPTH: usize = 64;

impl Scanner<'_> {
    /// Fields up to `end`, or up to the end of the file.
    fn fields(&mut self, end: Option<u8>) -> Option<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            self.skip();
            if self.at == self.text.len() {
                return end.is_none().then_some(fields);
            }
            if let Some(end) = end
                && self.peek_byte() == Some(end)
            {
                self.at += 1;
                return Some(fields);
            }
            fields.push(self.field()?);
        }
    }

    fn field(&mut self) -> Option<Field> {
        let comment = self.take_comment();
        let (name, name_span) = self.name()?;
        self.skip();
        if self.peek_byte() == Some(b':') {
            self.at += 1;
            self.skip();
        } else if !matches!(self.peek_byte(), Some(b'{' | b'<')) {
            return None;
        }
        let values = if self.peek_byte() == Some(b'[') {
            self.at += 1;
            self.list()?
        } else {
            vec![self.value()?]
        };
        let span = name_span.start..self.at;
        self.comment = Comment::default();
        self.skip();
        if matches!(self.peek_byte(), Some(b',' | b';')) {
            self.at += 1;
        }
        Some(Field {
            name,
            span,
            name_span,
            comment,
            values,
        })
    }

    fn name(&mut self) -> Option<(String, Range<usize>)> {
        let start = self.at;
        if self.peek_byte() != Some(b'[') {
            let (token, span) = self.token()?;
            return (token == Token::Ident).then(|| (self.text[span.clone()].to_owned(), span));
        }
        self.at += 1;
        let mut name = String::from("[");
        loop {
            self.skip();
            match self.token()? {
                (Token::Ident, span) => name.push_str(&self.text[span]),
                (Token::Symbol(b']'), _) => {
                    name.push(']');
                    return Some((name, start..self.at));
                }
                (Token::Symbol(symbol @ (b'.' | b'/')), _) => name.push(symbol as char),
                _ => return None,
            }
        }
    }

    fn list(&mut self) -> Option<Vec<Item>> {
        let mut items = Vec::new();
        self.skip();
        if self.peek_byte() == Some(b']') {
            self.at += 1;
            return Some(items);
        }
        loop {
            self.skip();
            items.push(self.value()?);
            self.skip();
            match self.token()? {
                (Token::Symbol(b','), _) => {}
                (Token::Symbol(b']'), _) => return Some(items),
                _ => return None,
            }
        }
    }

    fn value(&mut self) -> Option<Item> {
        let start = self.at;
        let (token, mut span) = self.token()?;
        match token {
            Token::Symbol(open @ (b'{' | b'<')) => {
                self.comment = Comment::default();
                self.depth += 1;
                if self.depth > DEPTH {
                    return None;
                }
                let fields = self.fields(Some(if open == b'{' { b'}' } else { b'>' }))?;
                self.depth -= 1;
                Some(Item {
                    span: start..self.at,
                    fields: Some(fields),
                })
            }
            Token::Symbol(b'-') => {
                self.skip();
                let (token, span) = self.token()?;
                matches!(token, Token::Number | Token::Ident).then_some(Item {
                    span: start..span.end,
                    fields: None,
                })
            }
            Token::Number | Token::Ident => Some(Item { span, fields: None }),
            Token::Text => {
                // Strings that follow each other are one.
                loop {
                    self.skip();
                    if !matches!(self.peek_byte(), Some(b'"' | b'\'')) {
                        break;
                    }
                    span.end = self.token()?.1.end;
                }
                self.rewind_comment(span.end);
                Some(Item { span, fields: None })
            }
            Token::Symbol(_) => None,
        }
    }

    /// Goes back to just behind a string: what was skipped while looking for another may be the next field's comment.
    fn rewind_comment(&mut self, end: usize) {
        self.at = end;
        self.comment = Comment::default();
    }

    /// Skips white space and comments, and keeps the comments that stand on lines of their own.
    fn skip(&mut self) {
        let bytes = self.text.as_bytes();
        let mut empty_line = false;
        while let Some(&byte) = bytes.get(self.at) {
            match byte {
                b'\n' => {
                    if empty_line {
                        self.comment.lines.clear();
                    }
                    empty_line = true;
                    self.comment.own_line = true;
                    self.at += 1;
                }
                b' ' | b'\t' | b'\r' | 0x0b | 0x0c => self.at += 1,
                b'#' => {
                    let rest = &self.text[self.at + 1..];
                    let line = rest.split('\n').next().unwrap_or(rest);
                    if self.comment.own_line || self.at == 0 {
                        self.comment.lines.push(line.trim_end().to_owned());
                    }
                    self.at += 1 + line.len();
                    empty_line = false;
                }
                _ => return,
            }
        }
    }

    fn take_comment(&mut self) -> String {
        comment_text(
            std::mem::take(&mut self.comment)
                .lines
                .iter()
                .map(String::as_str),
        )
    }

    fn peek_byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn token(&mut self) -> Option<(Token, Range<usize>)> {
        let rest = &self.text.as_bytes()[self.at..];
        let (token, length) = match *rest.first()? {
            b'A'..=b'Z' | b'a'..=b'z' | b'_' => (
                Token::Ident,
                run(rest, |byte| byte.is_ascii_alphanumeric() || byte == b'_'),
            ),
            b'0'..=b'9' => (Token::Number, number(rest)?),
            b'.' if rest.get(1).is_some_and(u8::is_ascii_digit) => (Token::Number, number(rest)?),
            b'"' | b'\'' => (Token::Text, quoted(rest)?),
            symbol @ (b'.' | b'-' | b'{' | b'}' | b'[' | b']' | b'<' | b'>' | b',' | b':'
            | b';' | b'/') => (Token::Symbol(symbol), 1),
            _ => return None,
        };
        let span = self.at..self.at + length;
        self.at = span.end;
        self.comment = Comment::default();
        Some((token, span))
    }
}

/// Comment lines as text: without the space behind the marker, and without waivers.
pub fn comment_text<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines
        .map(|line| line.strip_prefix(' ').unwrap_or(line).trim_end())
        .filter(|line| !line.trim_start().starts_with("cachekit:allow"))
        .collect::<Vec<_>>()
        .join("\n")
        .trim()
        .to_owned()
}

fn run(bytes: &[u8], wanted: impl Fn(u8) -> bool) -> usize {
    bytes.iter().take_while(|byte| wanted(**byte)).count()
}

/// Length of the number in front: the longest of what the format calls an integer or a float.
fn number(bytes: &[u8]) -> Option<usize> {
    let digits = |from: usize| run(&bytes[from..], |byte| byte.is_ascii_digit());
    let suffix = |end: usize| end + usize::from(matches!(bytes.get(end), Some(b'f' | b'F')));
    let exponent = |end: usize| {
        if !matches!(bytes.get(end), Some(b'e' | b'E')) {
            return end;
        }
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        match digits((end + 1 + sign).min(bytes.len())) {
            0 => end,
            length => end + 1 + sign + length,
        }
    };
    let whole = digits(0);
    if bytes.get(whole) == Some(&b'.') {
        let fraction = digits(whole + 1);
        return (whole + fraction > 0).then(|| suffix(exponent(whole + 1 + fraction)));
    }
    if exponent(whole) > whole {
        return Some(suffix(exponent(whole)));
    }
    let integer = match bytes {
        [b'0', b'x' | b'X', rest @ ..] => match run(rest, |byte| byte.is_ascii_hexdigit()) {
            0 => 1,
            length => 2 + length,
        },
        [b'0', rest @ ..] => 1 + run(rest, |byte| (b'0'..=b'7').contains(&byte)),
        _ => whole,
    };
    let float = (bytes[0] != b'0' || whole == 1) && suffix(whole) > whole;
    if float {
        return Some(suffix(whole).max(integer));
    }
    // The parser wants a space between an integer and a name.
    let glued = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    (!bytes.get(integer).is_some_and(glued)).then_some(integer)
}

/// Length of the string in front, quotes included.
fn quoted(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match *bytes.get(at)? {
            b'\\' => at += 2,
            0 | b'\n' => return None,
            byte => {
                at += 1;
                if byte == bytes[0] {
                    return Some(at);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_belong_to_the_field_below() {
        let fields = scan(
            "# head\n\n# one\n# two\na: 'x' # behind\n# three\nb { # open\n  # four\n  c: 1\n}\n\n# five\n\nd: [1, 2]\n",
        )
        .expect("it scans");
        let comments: Vec<&str> = fields.iter().map(|field| field.comment.as_str()).collect();
        assert_eq!(comments, ["one\ntwo", "three", ""]);
        let inner = fields[1].values[0].fields.as_ref().expect("a message");
        assert_eq!(inner[0].comment, "four");
        assert_eq!(fields[2].values.len(), 2);
    }

    #[test]
    fn headers_have_places() {
        let text = "# proto-file: a/b.proto\n# proto-message: x.Y\n\nname: 1\n# proto-late: z\n";
        assert_eq!(header(text, "proto-file"), Some(("a/b.proto", 14..23)));
        assert_eq!(
            header(text, "proto-message").map(|(value, _)| value),
            Some("x.Y")
        );
        assert_eq!(header(text, "proto-late"), None);
    }

    #[test]
    fn waivers_are_not_documentation() {
        let fields =
            scan("# why\n# cachekit:allow(default_changed): because\na: 1").expect("it scans");
        assert_eq!(fields[0].comment, "why");
    }
}
