//! Writes tokens, each in its one shortest form.
//!
//! Every method checks the limit before it writes, since what is written comes from a caller whose objects may be of any
//! size. After an error the buffer holds a part of a value: [`Writer::clear`] makes it usable again.

use super::{ESCAPE, MAX_DEPTH, types};
use crate::error::{Error, ErrorCode, Result};

/// A growing buffer of tokens, with a limit on its bytes and on how deep containers nest.
#[derive(Debug, Default)]
pub struct Writer {
    out: Vec<u8>,
    limit: usize,
    depth: u32,
    /// Ends of the parts of every open group, innermost last.
    ends: Vec<usize>,
    ranges: Vec<(usize, usize)>,
    scratch: Vec<u8>,
}

/// An open group of parts that will be sorted; see [`Writer::group`].
#[derive(Debug)]
#[must_use = "the parts are sorted by `Writer::sort`"]
pub struct Group {
    start: usize,
    first: usize,
}

impl Writer {
    /// An empty writer that refuses to grow over `limit` bytes.
    pub const fn new(limit: usize) -> Self {
        Self {
            out: Vec::new(),
            limit,
            depth: 0,
            ends: Vec::new(),
            ranges: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// An empty writer with room for `capacity` bytes before it allocates again.
    pub fn with_capacity(capacity: usize, limit: usize) -> Self {
        Self {
            out: Vec::with_capacity(capacity.min(limit)),
            ..Self::new(limit)
        }
    }

    /// What was written.
    pub fn as_bytes(&self) -> &[u8] {
        &self.out
    }

    /// Bytes written.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.out.is_empty()
    }

    /// What was written, as a vector of its own.
    pub fn into_vec(self) -> Vec<u8> {
        self.out
    }

    /// Takes what was written and leaves the writer empty.
    pub fn take(&mut self) -> Vec<u8> {
        let taken = std::mem::take(&mut self.out);
        self.clear();
        taken
    }

    /// Forgets what was written and keeps the memory.
    pub fn clear(&mut self) {
        self.out.clear();
        self.ends.clear();
        self.depth = 0;
    }

    /// Opens a container. `value_unsupported` past [`MAX_DEPTH`]: without the guard a list that contains itself would
    /// overflow the stack.
    #[inline]
    pub fn enter(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return Err(too_deep());
        }
        self.depth += 1;
        Ok(())
    }

    /// Closes the container that [`Writer::enter`] opened.
    #[inline]
    pub fn leave(&mut self) {
        debug_assert!(self.depth > 0, "leave without enter");
        self.depth = self.depth.saturating_sub(1);
    }

    /// Nothing: `None` in Python and Rust.
    #[inline]
    pub fn nil(&mut self) -> Result<()> {
        self.put([0xc0])
    }

    /// A truth value, which is not an integer.
    #[inline]
    pub fn bool(&mut self, value: bool) -> Result<()> {
        self.put([0xc2 | u8::from(value)])
    }

    /// An integer.
    #[inline]
    #[expect(
        clippy::cast_sign_loss,
        reason = "the two's complement byte is what is stored"
    )]
    pub fn int(&mut self, value: i64) -> Result<()> {
        if value >= -32 {
            return if value < 0 {
                self.put([value as u8])
            } else {
                self.uint(value as u64)
            };
        }
        if value >= i64::from(i8::MIN) {
            self.put([0xd0, value as u8])
        } else if value >= i64::from(i16::MIN) {
            self.put_tagged(0xd1, (value as i16).to_be_bytes())
        } else if value >= i64::from(i32::MIN) {
            self.put_tagged(0xd2, (value as i32).to_be_bytes())
        } else {
            self.put_tagged(0xd3, value.to_be_bytes())
        }
    }

    /// An integer that is not negative.
    #[inline]
    pub fn uint(&mut self, value: u64) -> Result<()> {
        if value < 0x80 {
            self.put([value as u8])
        } else if let Ok(value) = u8::try_from(value) {
            self.put([0xcc, value])
        } else if let Ok(value) = u16::try_from(value) {
            self.put_tagged(0xcd, value.to_be_bytes())
        } else if let Ok(value) = u32::try_from(value) {
            self.put_tagged(0xce, value.to_be_bytes())
        } else {
            self.put_tagged(0xcf, value.to_be_bytes())
        }
    }

    /// An integer outside [-2^63, 2^64), as its two's complement, big-endian. Redundant leading bytes are cut; the caller
    /// sees to it that the number does not fit [`Writer::int`] or [`Writer::uint`].
    pub fn big_int(&mut self, mut big_endian: &[u8]) -> Result<()> {
        while let [first, rest @ ..] = big_endian {
            let sign = match rest.first() {
                Some(next) if next & 0x80 == 0 => 0x00,
                Some(_) => 0xff,
                None => break,
            };
            if *first != sign {
                break;
            }
            big_endian = rest;
        }
        self.ext(types::BIG_INT)?;
        self.bin(big_endian)
    }

    /// A float, always in 64 bits: every bit of it is kept, so `0.0` and `-0.0` differ.
    #[inline]
    pub fn float(&mut self, value: f64) -> Result<()> {
        self.put_tagged(0xcb, value.to_bits().to_be_bytes())
    }

    /// Text.
    #[inline]
    pub fn str(&mut self, value: &str) -> Result<()> {
        let length = value.len();
        self.room(length)?;
        if length < 32 {
            self.put([0xa0 | length as u8])?;
        } else if let Ok(short) = u8::try_from(length) {
            self.put([0xd9, short])?;
        } else {
            self.put_length(0xda, length)?;
        }
        self.raw(value.as_bytes())
    }

    /// Bytes.
    #[inline]
    pub fn bin(&mut self, value: &[u8]) -> Result<()> {
        let length = value.len();
        self.room(length)?;
        if let Ok(short) = u8::try_from(length) {
            self.put([0xc4, short])?;
        } else {
            self.put_length(0xc5, length)?;
        }
        self.raw(value)
    }

    /// The head of a list; `length` items follow.
    #[inline]
    pub fn array(&mut self, length: usize) -> Result<()> {
        if length < 16 {
            self.put([0x90 | length as u8])
        } else {
            self.put_length(0xdc, length)
        }
    }

    /// The head of a map; `length` times a key and a value follow.
    #[inline]
    pub fn map(&mut self, length: usize) -> Result<()> {
        if length < 16 {
            self.put([0x80 | length as u8])
        } else {
            self.put_length(0xde, length)
        }
    }

    /// The head of a type of our own (see [`types`]); its content follows.
    #[inline]
    pub fn ext(&mut self, type_byte: u8) -> Result<()> {
        self.put([ESCAPE, type_byte])
    }

    /// Bytes as they are: content of a type of our own, or a value that was encoded before.
    #[inline]
    pub fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.room(bytes.len())?;
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// Opens a group of parts to be sorted: the items of a map, or the elements of a set. Write a part, call
    /// [`Writer::part`], and so on, then [`Writer::sort`]. Groups nest. The head of the map or set is written before.
    pub fn group(&mut self) -> Group {
        Group {
            start: self.out.len(),
            first: self.ends.len(),
        }
    }

    /// Ends a part of the innermost open group.
    #[inline]
    pub fn part(&mut self, group: &Group) {
        debug_assert!(
            group.first <= self.ends.len(),
            "a part of a group that is not the innermost"
        );
        self.ends.push(self.out.len());
    }

    /// Sorts the parts by their bytes. Since no encoding is the beginning of another one, that sorts the items of a map by
    /// their keys' bytes, and by their values' where keys are equal.
    #[expect(clippy::needless_pass_by_value, reason = "a group is sorted once")]
    pub fn sort(&mut self, group: Group) {
        let Self {
            out,
            ends,
            ranges,
            scratch,
            ..
        } = self;
        ranges.clear();
        let mut start = group.start;
        for end in ends.drain(group.first..) {
            ranges.push((start, end));
            start = end;
        }
        if ranges.is_sorted_by_key(|&(start, end)| &out[start..end]) {
            return;
        }
        ranges.sort_unstable_by(|a, b| out[a.0..a.1].cmp(&out[b.0..b.1]));
        scratch.clear();
        for &(start, end) in ranges.iter() {
            scratch.extend_from_slice(&out[start..end]);
        }
        out[group.start..start].copy_from_slice(scratch);
    }

    /// Where each part of the group that was sorted last had been, start and end, in the order in which they are now.
    pub fn order(&self) -> &[(usize, usize)] {
        &self.ranges
    }

    #[inline]
    fn put<const N: usize>(&mut self, bytes: [u8; N]) -> Result<()> {
        self.room(N)?;
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    #[inline]
    fn put_tagged<const N: usize>(&mut self, tag: u8, content: [u8; N]) -> Result<()> {
        self.room(1 + N)?;
        self.out.push(tag);
        self.out.extend_from_slice(&content);
        Ok(())
    }

    /// A length in two or four bytes; the tag for four is the one after `tag`.
    fn put_length(&mut self, tag: u8, length: usize) -> Result<()> {
        if let Ok(short) = u16::try_from(length) {
            self.put_tagged(tag, short.to_be_bytes())
        } else if let Ok(long) = u32::try_from(length) {
            self.put_tagged(tag + 1, long.to_be_bytes())
        } else {
            Err(self.too_large(length))
        }
    }

    #[inline]
    fn room(&self, more: usize) -> Result<()> {
        if more > self.limit - self.out.len() {
            Err(self.too_large(more))
        } else {
            Ok(())
        }
    }

    #[cold]
    fn too_large(&self, more: usize) -> Error {
        Error::new(ErrorCode::ValueTooLarge)
            .with(
                "size",
                format_args!("at least {}", self.out.len().saturating_add(more)),
            )
            .with("limit", self.limit)
    }
}

#[cold]
fn too_deep() -> Error {
    Error::new(ErrorCode::ValueUnsupported).with(
        "reason",
        format_args!("it nests more than {MAX_DEPTH} containers"),
    )
}
