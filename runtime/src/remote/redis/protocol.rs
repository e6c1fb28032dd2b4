//! Reads replies, RESP2 and RESP3, from bytes that come in any pieces.
//!
//! Written here since no maintained crate gives all of it: the parser stops at any byte and goes on from there (never
//! again from the start of the reply), a large bulk is a slice of the buffer that it was received into, and every length
//! is checked before memory is taken for it. A reply of a server that lies costs an error, not the process.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};

/// Bulks from this size on share the receive buffer; smaller ones are copied, so that they do not keep it alive.
const SHARED: usize = 8 * 1024;

/// What is received at once, at least; also the step in which a buffer for an announced bulk grows, at most doubling.
const CHUNK: usize = 16 * 1024;

/// One reply, or a part of one.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Reply {
    /// Nothing there.
    Nil,
    /// A status.
    Text(Bytes),
    /// An error of the server.
    Error(Bytes),
    /// A number.
    Integer(i64),
    /// A truth value.
    Boolean(bool),
    /// A floating-point number.
    Double(f64),
    /// Bytes.
    Bulk(Bytes),
    /// Several in order; also a set.
    Array(Vec<Reply>),
    /// Keys and values in turn.
    Map(Vec<Reply>),
    /// Sent without having been asked for.
    Push(Vec<Reply>),
}

impl Reply {
    /// What it is, for an error about it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Nil => "nil",
            Self::Text(_) => "a status",
            Self::Error(_) => "an error",
            Self::Integer(_) => "an integer",
            Self::Boolean(_) => "a boolean",
            Self::Double(_) => "a double",
            Self::Bulk(_) => "a bulk",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Push(_) => "a push",
        }
    }
}

/// An error's text for people: bounded, printable, without the arguments that some servers repeat in it (keys, and
/// after a misunderstood handshake the password).
pub(super) fn error_text(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(512)]);
    let text = text
        .split(", with args beginning")
        .next()
        .unwrap_or_default();
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// What a server may send.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Bytes of one line: a header, a status, an error.
    pub(super) line: usize,
    /// Bytes of all bulks of one reply.
    pub(super) bytes: usize,
    /// Parts of one reply, at all depths.
    pub(super) parts: usize,
    /// Aggregates within each other.
    pub(super) depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            line: 16 * 1024,
            // Redis' own default for the largest value.
            bytes: 512 * 1024 * 1024,
            parts: 1024 * 1024,
            depth: 16,
        }
    }
}

/// Why bytes are not a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

type Parsed<T> = Result<T, Malformed>;

/// An aggregate whose items are still coming.
#[derive(Debug)]
struct Open {
    kind: u8,
    left: usize,
    items: Vec<Reply>,
}

/// The bytes received so far, and how far they are understood.
#[derive(Debug, Default)]
pub(super) struct Reader {
    buffer: BytesMut,
    limits: Limits,
    /// Bytes of the unfinished line at the front that have no line end in them.
    searched: usize,
    /// A bulk whose header was taken: its kind and its length.
    bulk: Option<(u8, usize)>,
    open: Vec<Open>,
    /// What the reply that is being read has announced.
    bytes: usize,
    parts: usize,
}

impl Reader {
    #[cfg(test)]
    pub(super) fn with_limits(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }

    /// Takes in received bytes.
    pub(super) fn feed(&mut self, data: &[u8]) {
        if data.len() > self.buffer.capacity() - self.buffer.len() {
            self.buffer.reserve(data.len().max(self.wanted()));
        }
        self.buffer.extend_from_slice(data);
    }

    /// Room to receive into, for [`Self::advance`].
    pub(super) fn room(&mut self) -> &mut [MaybeUninit<u8>] {
        let wanted = self.wanted();
        let free = self.buffer.capacity() - self.buffer.len();
        if free < CHUNK / 4 || free < wanted {
            self.buffer.reserve(wanted.max(CHUNK));
        }
        self.buffer.spare_capacity_mut()
    }

    /// What is missing of an announced bulk, but no more than has come: a false announcement must not cost memory.
    fn wanted(&self) -> usize {
        let missing = self.bulk.map_or(0, |(_, length)| {
            (length + 2).saturating_sub(self.buffer.len())
        });
        missing.min(self.buffer.len().max(16 * CHUNK))
    }

    /// Takes in `count` bytes that were written to [`Self::room`].
    ///
    /// # Safety
    /// The first `count` bytes of what `room` returned last must have been written.
    pub(super) unsafe fn advance(&mut self, count: usize) {
        // SAFETY: the caller's promise.
        unsafe { self.buffer.set_len(self.buffer.len() + count) };
    }

    /// Whether everything received belongs to replies that were taken.
    pub(super) fn is_idle(&self) -> bool {
        self.buffer.is_empty() && self.bulk.is_none() && self.open.is_empty()
    }

    /// The next whole reply; `None` until more bytes are fed.
    pub(super) fn next(&mut self) -> Parsed<Option<Reply>> {
        while let Some(mut reply) = self.part()? {
            // Close every aggregate that this part completes.
            loop {
                let Some(open) = self.open.last_mut() else {
                    (self.bytes, self.parts) = (0, 0);
                    return Ok(Some(reply));
                };
                open.items.push(reply);
                open.left -= 1;
                if open.left > 0 {
                    break;
                }
                let open = self.open.pop().expect("it was just looked at");
                match close(open) {
                    Some(whole) => reply = whole,
                    // An attribute describes the part that follows; nobody asks for them.
                    None => break,
                }
            }
        }
        Ok(None)
    }

    /// The next part that is complete in itself: a scalar, or an empty aggregate.
    fn part(&mut self) -> Parsed<Option<Reply>> {
        loop {
            if let Some((kind, length)) = self.bulk {
                return self.rest_of_bulk(kind, length);
            }
            let Some(line) = self.line()? else {
                return Ok(None);
            };
            let kind = self.buffer[0];
            let text = &self.buffer[1..line];
            let reply = match kind {
                b'+' | b'(' => Reply::Text(Bytes::copy_from_slice(text)),
                b'-' => Reply::Error(Bytes::copy_from_slice(text)),
                b':' => Reply::Integer(integer(text)?),
                b'#' => Reply::Boolean(boolean(text)?),
                b',' => Reply::Double(double(text)?),
                b'_' if text.is_empty() => Reply::Nil,
                b'$' | b'=' | b'!' => match length(text)? {
                    None => Reply::Nil,
                    Some(length) => {
                        self.bytes = self.bytes.saturating_add(length);
                        if self.bytes > self.limits.bytes {
                            return Err(Malformed("it is longer than is allowed"));
                        }
                        self.take_line(line);
                        self.bulk = Some((kind, length));
                        continue;
                    }
                },
                b'*' | b'~' | b'>' | b'%' | b'|' => match length(text)? {
                    None => Reply::Nil,
                    Some(count) => {
                        self.take_line(line);
                        match self.opened(kind, count)? {
                            Some(empty) => return Ok(Some(empty)),
                            None => continue,
                        }
                    }
                },
                _ => return Err(Malformed("it begins with a byte that begins no reply")),
            };
            self.take_line(line);
            return Ok(Some(reply));
        }
    }

    /// Opens an aggregate, or gives it back at once when nothing is in it.
    fn opened(&mut self, kind: u8, count: usize) -> Parsed<Option<Reply>> {
        let pairs = matches!(kind, b'%' | b'|');
        let left = if pairs {
            count.saturating_mul(2)
        } else {
            count
        };
        self.parts = self.parts.saturating_add(left);
        if self.parts > self.limits.parts {
            return Err(Malformed("it announces more parts than are allowed"));
        }
        if left > 0 && self.open.len() >= self.limits.depth {
            return Err(Malformed("it is nested deeper than is allowed"));
        }
        let open = Open {
            kind,
            left,
            items: Vec::with_capacity(left.min(64)),
        };
        if left == 0 {
            return Ok(close(open));
        }
        self.open.push(open);
        Ok(None)
    }

    fn rest_of_bulk(&mut self, kind: u8, length: usize) -> Parsed<Option<Reply>> {
        // Look at what ends it as soon as it is there: garbage is found before a long wait.
        if let Some(end) = self.buffer.get(length..)
            && !b"\r\n".starts_with(&end[..end.len().min(2)])
        {
            return Err(Malformed("a bulk does not end where it said"));
        }
        if self.buffer.len() < length + 2 {
            return Ok(None);
        }
        let value = if length < SHARED || length < self.buffer.capacity() / 4 {
            let value = Bytes::copy_from_slice(&self.buffer[..length]);
            self.buffer.advance(length + 2);
            value
        } else {
            let value = self.buffer.split_to(length).freeze();
            self.buffer.advance(2);
            if self.buffer.len() < SHARED {
                // What little follows must not keep the value's memory once the value is dropped.
                self.buffer = BytesMut::from(&self.buffer[..]);
            }
            value
        };
        self.bulk = None;
        Ok(Some(match kind {
            b'!' => Reply::Error(value),
            // A verbatim string begins with its format, three letters and a colon.
            b'=' if value.get(3) == Some(&b':') => Reply::Bulk(value.slice(4..)),
            b'=' => return Err(Malformed("a verbatim string has no format")),
            _ => Reply::Bulk(value),
        }))
    }

    /// Where the line at the front ends, without its line end.
    fn line(&mut self) -> Parsed<Option<usize>> {
        let from = self.searched;
        let found = self.buffer[from..]
            .iter()
            .position(|byte| *byte == b'\n')
            .map(|at| from + at);
        if found.unwrap_or(self.buffer.len()) > self.limits.line {
            return Err(Malformed("a line is longer than is allowed"));
        }
        match found {
            None => {
                self.searched = self.buffer.len();
                // Garbage without a line end must not wait for one.
                match self.buffer.first() {
                    Some(first) if !b"+-:$*_#,(!=%~>|".contains(first) => {
                        Err(Malformed("it begins with a byte that begins no reply"))
                    }
                    _ => Ok(None),
                }
            }
            Some(end) if end > 1 && self.buffer[end - 1] == b'\r' => Ok(Some(end - 1)),
            Some(_) => Err(Malformed("a line does not end in CR LF")),
        }
    }

    fn take_line(&mut self, line: usize) {
        self.buffer.advance(line + 2);
        self.searched = 0;
    }
}

/// A whole aggregate; `None` for an attribute.
fn close(open: Open) -> Option<Reply> {
    match open.kind {
        b'%' => Some(Reply::Map(open.items)),
        b'>' => Some(Reply::Push(open.items)),
        b'|' => None,
        _ => Some(Reply::Array(open.items)),
    }
}

fn integer(text: &[u8]) -> Parsed<i64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed("a number is not one"))
}

/// A length; `None` for -1, which is how RESP2 writes nil.
fn length(text: &[u8]) -> Parsed<Option<usize>> {
    match integer(text)? {
        -1 => Ok(None),
        length => usize::try_from(length)
            .map(Some)
            .map_err(|_| Malformed("a length is negative")),
    }
}

fn boolean(text: &[u8]) -> Parsed<bool> {
    match text {
        b"t" => Ok(true),
        b"f" => Ok(false),
        _ => Err(Malformed("a boolean is neither true nor false")),
    }
}

fn double(text: &[u8]) -> Parsed<f64> {
    std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok())
        .ok_or(Malformed("a number is not one"))
}

#[cfg(test)]
mod tests;
