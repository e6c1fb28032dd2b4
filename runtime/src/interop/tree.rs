//! A value between two encodings: what is written in one order is read in another.

use super::Number;
use crate::error::{Error, Result};
use crate::key::MAX_KEY_BYTES;
use crate::native::{MAX_DEPTH, Reader, Token, Writer, types};

/// What is not in the set.
pub(super) const NO_TYPE: &str = "interop/v1 has null, booleans, integers of 64 bits, finite floats, text, bytes, arrays and maps";

/// A value, borrowing from the bytes that it was read from.
pub(super) enum Tree<'a> {
    /// A token that stands for itself.
    Leaf(Token<'a>),
    Array(Vec<Self>),
    Set(Vec<Self>),
    Map(Vec<(Self, Self)>),
    /// What the set of types does not have.
    Other,
}

/// Why a value is not written.
pub(super) type Written = std::result::Result<(), &'static str>;

impl<'a> Tree<'a> {
    /// Reads one value. `value_corrupt` if the bytes are none.
    pub(super) fn read(reader: &mut Reader<'a>) -> Result<Self> {
        Ok(match reader.token()? {
            Token::Array(length) => Self::Array(items(reader, length)?),
            Token::Map(length) => {
                reader.enter()?;
                let mut pairs = Vec::with_capacity(length);
                for _ in 0..length {
                    pairs.push((Self::read(reader)?, Self::read(reader)?));
                }
                reader.leave();
                Self::Map(pairs)
            }
            Token::Ext(types::TUPLE) => {
                let length = reader.array()?;
                Self::Array(items(reader, length)?)
            }
            Token::Ext(types::SET) => {
                let length = reader.array()?;
                Self::Set(items(reader, length)?)
            }
            Token::Ext(types::BIG_INT) => {
                reader.bin()?;
                Self::Other
            }
            Token::Ext(_) => return Err(reader.corrupt("keys have no such type")),
            leaf => Self::Leaf(leaf),
        })
    }

    /// Writes it in its one form: as an argument, or as a value.
    pub(super) fn write(&self, in_key: bool, out: &mut Writer) -> Written {
        match self {
            Self::Leaf(leaf) => token(*leaf, in_key, out),
            Self::Array(items) => {
                out.array(items.len()).map_err(too_large)?;
                items.iter().try_for_each(|item| item.write(in_key, out))
            }
            Self::Set(items) => {
                let mut encoded = Vec::with_capacity(items.len());
                for item in items {
                    let mut part = Writer::new(MAX_KEY_BYTES);
                    item.write(in_key, &mut part)?;
                    encoded.push(part.into_vec());
                }
                encoded.sort_unstable();
                encoded.dedup();
                out.array(encoded.len()).map_err(too_large)?;
                encoded
                    .iter()
                    .try_for_each(|part| out.raw(part))
                    .map_err(too_large)
            }
            Self::Map(pairs) => map(pairs, in_key, out),
            Self::Other => Err(NO_TYPE),
        }
    }
}

fn items<'a>(reader: &mut Reader<'a>, length: usize) -> Result<Vec<Tree<'a>>> {
    reader.enter()?;
    let mut items = Vec::with_capacity(length);
    for _ in 0..length {
        items.push(Tree::read(reader)?);
    }
    reader.leave();
    Ok(items)
}

/// The items in the order of their keys' UTF-8, which is that of their code points.
fn map(pairs: &[(Tree<'_>, Tree<'_>)], in_key: bool, out: &mut Writer) -> Written {
    let mut sorted = Vec::with_capacity(pairs.len());
    for (key, value) in pairs {
        let Tree::Leaf(Token::Str(key)) = key else {
            return Err("keys of maps must be text");
        };
        sorted.push((*key, value));
    }
    sorted.sort_by_key(|(key, _)| *key);
    if sorted.windows(2).any(|pair| pair[0].0 == pair[1].0) {
        return Err("two keys of a map are one text");
    }
    out.map(sorted.len()).map_err(too_large)?;
    for (key, value) in sorted {
        token(Token::Str(key), in_key, out)?;
        value.write(in_key, out)?;
    }
    Ok(())
}

fn token(leaf: Token<'_>, in_key: bool, out: &mut Writer) -> Written {
    let written = match leaf {
        Token::Nil => out.nil(),
        Token::Bool(value) => out.bool(value),
        Token::Int(value) => out.int(value),
        Token::Uint(value) => out.uint(value),
        Token::Float(value) => match Number::of(value) {
            Some(number) if in_key => number.write(out),
            Some(_) => out.float(value),
            None => return Err("NaN and infinities are not part of interop/v1"),
        },
        Token::Str(text) => match std::str::from_utf8(text) {
            Ok(text) => out.str(text),
            Err(_) => return Err("its text is not UTF-8"),
        },
        Token::Bin(bytes) => out.bin(bytes),
        Token::Array(_) | Token::Map(_) | Token::Ext(_) => return Err(NO_TYPE),
    };
    written.map_err(too_large)
}

fn too_large(_: Error) -> &'static str {
    "its encoding is too large"
}

const _: () = assert!(MAX_DEPTH <= 1024, "trees are walked by recursion");
