//! The native encoding: MessagePack, and types of our own behind its one unused byte.
//!
//! Bindings walk their own objects and call one method a token here, so that no tree of values stands between a host
//! object and its bytes. Written bytes are canonical: one value has one encoding, which is why keys are hashed from them.
//! `docs/design/0002-native-encoding.md` specifies every byte.
//!
//! ```
//! use cachekit_runtime::native::{Reader, Token, Writer};
//!
//! let mut writer = Writer::new(1 << 20);
//! writer.map(1)?;
//! writer.str("id")?;
//! writer.int(42)?;
//!
//! let mut reader = Reader::new(writer.as_bytes());
//! assert_eq!(reader.token()?, Token::Map(1));
//! assert_eq!(reader.token()?, Token::Str(b"id"));
//! assert_eq!(reader.token()?, Token::Int(42));
//! reader.finish()?;
//! # Ok::<(), cachekit_runtime::error::Error>(())
//! ```

mod reader;
mod writer;

pub use reader::{Reader, Token};
pub use writer::{Group, Writer};

/// Most containers that may be open around a value, when writing and when reading.
pub const MAX_DEPTH: u32 = 1024;

/// The byte that opens a type of our own; MessagePack never uses it.
pub const ESCAPE: u8 = 0xc1;

/// Type bytes, each following [`ESCAPE`].
pub mod types {
    /// Array of the items.
    pub const TUPLE: u8 = 0x01;
    /// Array of the items, sorted by their encoded bytes.
    pub const SET: u8 = 0x02;
    /// Array of the items, sorted by their encoded bytes.
    pub const FROZENSET: u8 = 0x03;
    /// Bin: two's complement, big-endian, minimal; only for integers that MessagePack cannot hold.
    pub const BIG_INT: u8 = 0x04;
    /// Str of the decimal number.
    pub const DECIMAL: u8 = 0x05;
    /// 16 raw bytes.
    pub const UUID: u8 = 0x06;
    /// Int: proleptic Gregorian ordinal, 0001-01-01 being 1.
    pub const DATE: u8 = 0x07;
    /// Int of microseconds since midnight, bool fold, time zone.
    pub const TIME: u8 = 0x08;
    /// Int of microseconds of the wall clock since 0001-01-01T00:00, bool fold, time zone.
    pub const DATETIME: u8 = 0x09;
    /// Int days, int seconds, int microseconds, normalised.
    pub const TIMEDELTA: u8 = 0x0a;
    /// Bin: UTF-8 extended to lone surrogates; only for text that holds one.
    pub const SURROGATES: u8 = 0x0b;

    /// Float of the real part, float of the imaginary one.
    pub const COMPLEX: u8 = 0x0c;
    /// Int start, int stop, int step, of any size.
    pub const RANGE: u8 = 0x0d;
    /// Str of the class, str of the path.
    pub const PATH: u8 = 0x0e;
    /// Bin.
    pub const BYTE_ARRAY: u8 = 0x0f;
    /// Str type code, int bytes an item, bin of the items, little-endian.
    pub const ARRAY: u8 = 0x10;
    /// Map.
    pub const ORDERED_DICT: u8 = 0x11;
    /// Nil or a class, map.
    pub const DEFAULT_DICT: u8 = 0x12;
    /// Map.
    pub const COUNTER: u8 = 0x13;
    /// Nil or int of the greatest length, array.
    pub const DEQUE: u8 = 0x14;
    /// Type of the items, array of the lengths, bin of the items in C order.
    pub const ND_ARRAY: u8 = 0x15;
    /// Type, bin.
    pub const ND_SCALAR: u8 = 0x16;
    /// Int numerator, int denominator, of any size.
    pub const FRACTION: u8 = 0x17;
    /// Str of the class, str of the address.
    pub const ADDRESS: u8 = 0x18;
    /// Content of a class, then str name of the member, or int where it is a combination of flags.
    pub const MEMBER: u8 = 0x19;
    /// Content of a class, map of the fields, nil or an array of what belongs to it besides.
    pub const RECORD: u8 = 0x1a;

    /// Whether it is a type that consists of a fixed number of values.
    pub const fn is_content(type_byte: u8) -> bool {
        COMPLEX <= type_byte && type_byte <= ADDRESS
    }

    /// Str module, str qualified name.
    pub const CLASS: u8 = 0x20;
    /// Keys only: content of a class, str name of the member.
    pub const ENUM_MEMBER: u8 = 0x21;
    /// Keys only: content of a class, array of the items.
    pub const NAMED_TUPLE: u8 = 0x22;
    /// Keys only: content of a class, then what its `__cache_key__` gave.
    pub const CACHE_KEY: u8 = 0x23;
    /// Keys that stay in the process: 8 bytes of the type's address and 8 of the object's identity or hash, big-endian.
    pub const OPAQUE: u8 = 0x24;
}

#[cfg(test)]
mod tests;
