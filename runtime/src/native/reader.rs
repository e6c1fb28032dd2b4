//! Reads tokens from bytes that anybody may have written.
//!
//! A declared length is never trusted: what the open containers still promise is weighed against the bytes that are left,
//! so whoever allocates by the lengths it is told allocates, over the whole reading, for at most one item per byte.

use super::{ESCAPE, MAX_DEPTH};
use crate::error::{Error, ErrorCode, Result};

/// One token, borrowing from the bytes that are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Token<'a> {
    /// Nothing.
    Nil,
    /// A truth value.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// An integer over `i64::MAX`.
    Uint(u64),
    /// A float.
    Float(f64),
    /// Text, not yet checked to be UTF-8: the host's own constructor of strings does that.
    Str(&'a [u8]),
    /// Bytes.
    Bin(&'a [u8]),
    /// That many items follow; no more than there are bytes.
    Array(usize),
    /// That many times a key and a value follow; no more than there are bytes.
    Map(usize),
    /// A type of our own ([`types`](super::types)); its content follows.
    Ext(u8),
}

/// A cursor over one encoded value.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    total: usize,
    /// Items that open containers still promise; each takes at least one byte.
    owed: usize,
    depth: u32,
    /// Whether types of our own are refused.
    portable: bool,
}

impl<'a> Reader<'a> {
    /// A cursor at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            total: bytes.len(),
            owed: 0,
            depth: 0,
            portable: false,
        }
    }

    /// A cursor that takes nothing but what other programs read too: it refuses types of our own.
    pub const fn portable(bytes: &'a [u8]) -> Self {
        Self {
            portable: true,
            ..Self::new(bytes)
        }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.total - self.rest.len()
    }

    /// What is left.
    pub const fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    /// Opens a container. `value_corrupt` past [`MAX_DEPTH`].
    #[inline]
    pub fn enter(&mut self) -> Result<()> {
        if self.depth >= MAX_DEPTH {
            return Err(self.corrupt("it nests too many containers"));
        }
        self.depth += 1;
        Ok(())
    }

    /// Closes the container that [`Reader::enter`] opened.
    #[inline]
    pub fn leave(&mut self) {
        debug_assert!(self.depth > 0, "leave without enter");
        self.depth = self.depth.saturating_sub(1);
    }

    /// The next token, which stays to be read.
    pub fn peek(&self) -> Result<Token<'a>> {
        self.clone().token()
    }

    /// The next token. `value_corrupt` if there is none, or none that is well-formed.
    #[inline(always)]
    pub fn token(&mut self) -> Result<Token<'a>> {
        let Some((&first, rest)) = self.rest.split_first() else {
            return Err(self.ends());
        };
        self.rest = rest;
        match first {
            ESCAPE if self.portable => return Err(self.corrupt("it is not MessagePack")),
            ESCAPE => return self.byte().map(Token::Ext),
            _ => self.owed = self.owed.saturating_sub(1),
        }
        match first {
            0x00..=0x7f => Ok(Token::Int(i64::from(first))),
            0xe0..=0xff => Ok(Token::Int(i64::from(first.cast_signed()))),
            0xa0..=0xbf => self.bytes(usize::from(first & 0x1f)).map(Token::Str),
            0x80..=0x8f => self.map_of(usize::from(first & 0x0f)),
            0x90..=0x9f => self.array_of(usize::from(first & 0x0f)),
            0xc0 => Ok(Token::Nil),
            0xc2 => Ok(Token::Bool(false)),
            0xc3 => Ok(Token::Bool(true)),
            0xcb => Ok(Token::Float(f64::from_bits(u64::from_be_bytes(
                self.fixed()?,
            )))),
            _ => self.long(first),
        }
    }

    /// The forms that are less frequent, or long enough for a call not to matter.
    fn long(&mut self, first: u8) -> Result<Token<'a>> {
        Ok(match first {
            0xc4 => Token::Bin(self.sized::<1>()?),
            0xc5 => Token::Bin(self.sized::<2>()?),
            0xc6 => Token::Bin(self.sized::<4>()?),
            0xca => Token::Float(f64::from(f32::from_bits(u32::from_be_bytes(self.fixed()?)))),
            0xcc => Token::Int(i64::from(self.byte()?)),
            0xcd => Token::Int(i64::from(u16::from_be_bytes(self.fixed()?))),
            0xce => Token::Int(i64::from(u32::from_be_bytes(self.fixed()?))),
            0xcf => {
                let value = u64::from_be_bytes(self.fixed()?);
                i64::try_from(value).map_or(Token::Uint(value), Token::Int)
            }
            0xd0 => Token::Int(i64::from(self.byte()?.cast_signed())),
            0xd1 => Token::Int(i64::from(i16::from_be_bytes(self.fixed()?))),
            0xd2 => Token::Int(i64::from(i32::from_be_bytes(self.fixed()?))),
            0xd3 => Token::Int(i64::from_be_bytes(self.fixed()?)),
            0xd9 => Token::Str(self.sized::<1>()?),
            0xda => Token::Str(self.sized::<2>()?),
            0xdb => Token::Str(self.sized::<4>()?),
            0xdc => {
                let items = self.length::<2>()?;
                return self.array_of(items);
            }
            0xdd => {
                let items = self.length::<4>()?;
                return self.array_of(items);
            }
            0xde => {
                let items = self.length::<2>()?;
                return self.map_of(items);
            }
            0xdf => {
                let items = self.length::<4>()?;
                return self.map_of(items);
            }
            _ => return Err(self.corrupt("it has a MessagePack extension, which is not used")),
        })
    }

    /// An integer that fits, as content of a type of our own.
    pub fn int(&mut self) -> Result<i64> {
        match self.token()? {
            Token::Int(value) => Ok(value),
            _ => Err(self.corrupt("it lacks an integer")),
        }
    }

    /// A truth value, as content of a type of our own.
    pub fn bool(&mut self) -> Result<bool> {
        match self.token()? {
            Token::Bool(value) => Ok(value),
            _ => Err(self.corrupt("it lacks a truth value")),
        }
    }

    /// Text, as content of a type of our own; not yet checked to be UTF-8.
    pub fn str(&mut self) -> Result<&'a [u8]> {
        match self.token()? {
            Token::Str(value) => Ok(value),
            _ => Err(self.corrupt("it lacks text")),
        }
    }

    /// Bytes, as content of a type of our own.
    pub fn bin(&mut self) -> Result<&'a [u8]> {
        match self.token()? {
            Token::Bin(value) => Ok(value),
            _ => Err(self.corrupt("it lacks bytes")),
        }
    }

    /// The number of items that follow, as content of a type of our own.
    pub fn array(&mut self) -> Result<usize> {
        match self.token()? {
            Token::Array(items) => Ok(items),
            _ => Err(self.corrupt("it lacks an array")),
        }
    }

    /// `N` bytes without a head, as content of a type of our own.
    pub fn raw<const N: usize>(&mut self) -> Result<&'a [u8; N]> {
        self.owed = self.owed.saturating_sub(1);
        let Some((raw, rest)) = self.rest.split_first_chunk() else {
            return Err(self.ends());
        };
        self.rest = rest;
        Ok(raw)
    }

    /// Ends the reading. `value_corrupt` if bytes are left.
    pub fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            Ok(())
        } else {
            Err(self.corrupt("bytes follow it"))
        }
    }

    /// A `value_corrupt` error that says where in the bytes the reader stands; for types that only a binding can check.
    #[cold]
    pub fn corrupt(&self, reason: &str) -> Error {
        Error::new(ErrorCode::ValueCorrupt).with(
            "reason",
            format_args!("{reason} (byte {} of {})", self.position(), self.total),
        )
    }

    #[cold]
    fn ends(&self) -> Error {
        self.corrupt("it ends too early")
    }

    #[inline]
    fn byte(&mut self) -> Result<u8> {
        self.fixed().map(|[byte]| byte)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((fixed, rest)) = self.rest.split_first_chunk() else {
            return Err(self.ends());
        };
        self.rest = rest;
        Ok(*fixed)
    }

    #[inline]
    fn length<const N: usize>(&mut self) -> Result<usize> {
        let bytes = self.fixed::<N>()?;
        Ok(bytes
            .iter()
            .fold(0, |length, byte| length << 8 | usize::from(*byte)))
    }

    #[inline]
    fn sized<const N: usize>(&mut self) -> Result<&'a [u8]> {
        let length = self.length::<N>()?;
        self.bytes(length)
    }

    #[inline]
    fn bytes(&mut self, length: usize) -> Result<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(length) else {
            return Err(self.ends());
        };
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn array_of(&mut self, items: usize) -> Result<Token<'a>> {
        self.owe(items)?;
        Ok(Token::Array(items))
    }

    #[inline]
    fn map_of(&mut self, items: usize) -> Result<Token<'a>> {
        self.owe(items.saturating_mul(2))?;
        Ok(Token::Map(items))
    }

    #[inline]
    fn owe(&mut self, items: usize) -> Result<()> {
        self.owed = self.owed.saturating_add(items);
        if self.owed > self.rest.len() {
            Err(self.ends())
        } else {
            Ok(())
        }
    }
}
