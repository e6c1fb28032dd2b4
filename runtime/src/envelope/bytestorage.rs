//! The envelope that other cachekit SDKs write: a MessagePack array of compressed bytes, checksum, size and serializer.
//!
//! It has no header, so it says of an entry only what it contains. Its checks come in the order that the protocol fixes, so that all
//! SDKs refuse the same entries for the same reason. `docs/design/0003-envelope.md` specifies every byte.

use std::borrow::Cow;

use lz4_flex::block::{compress, decompress};
use xxhash_rust::xxh3::xxh3_64;

use super::{foreign, malformed, oversized, published_name};
use crate::error::{Error, ErrorCode, Result};
use crate::generated::wire::Serializer;
use crate::native::{Reader, Token, Writer};

/// Largest envelope, largest compressed payload and largest payload, in bytes.
pub(super) const MAX_BYTES: u64 = 512 << 20;

/// How many bytes a compressed one may stand for.
const MAX_RATIO: u128 = 1000;

/// The fields of an envelope, not yet weighed.
struct Fields<'a> {
    packed: Cow<'a, [u8]>,
    checksum: [u8; 8],
    size: u64,
    format: &'a str,
}

/// The envelope of `payload`.
pub(super) fn wrap(serializer: Serializer, payload: &[u8]) -> Result<Vec<u8>> {
    let packed = compress(payload);
    let mut out = Writer::with_capacity(packed.len() + 48, usize::MAX);
    out.array(4)?;
    out.bin(&packed)?;
    out.array(8)?;
    for byte in xxh3_64(payload).to_be_bytes() {
        out.uint(u64::from(byte))?;
    }
    out.uint(payload.len() as u64)?;
    out.str(published_name(serializer))?;
    Ok(out.into_vec())
}

/// The payload of an envelope, of at most `max_bytes`.
pub(super) fn open(serializer: Serializer, max_bytes: u64, stored: &[u8]) -> Result<Vec<u8>> {
    if stored.len() as u64 > MAX_BYTES {
        return Err(oversized(stored.len() as u64, MAX_BYTES));
    }
    // What is compressed is a part of the envelope, so it is no larger.
    let fields = parse(stored)?;
    let packed = fields.packed.len() as u64;
    let most = max_bytes.min(MAX_BYTES);
    if fields.size > most {
        return Err(oversized(fields.size, most));
    }
    if u128::from(fields.size) > MAX_RATIO * u128::from(packed) {
        let size = fields.size;
        return Err(malformed(format_args!(
            "{packed} bytes cannot become {size}"
        )));
    }
    // No more than LZ4 can make of them: what is declared beyond that is a length that does not match.
    let room = fields.size.min(packed * 255 + 64);
    let room = usize::try_from(room).map_err(|_| oversized(fields.size, most))?;
    let payload = decompress(&fields.packed, room)
        .map_err(|error| malformed("it does not decompress").with_source(error))?;
    if xxh3_64(&payload).to_be_bytes() != fields.checksum {
        return Err(Error::new(ErrorCode::EnvelopeChecksum));
    }
    if payload.len() as u64 != fields.size {
        let (size, actual) = (fields.size, payload.len());
        return Err(malformed(format_args!(
            "it declares {size} bytes and has {actual}"
        )));
    }
    if fields.format != published_name(serializer) {
        return Err(foreign(format_args!("serializer {}", fields.format)));
    }
    Ok(payload)
}

/// How large the payload says it is.
pub(super) fn declared(stored: &[u8]) -> Option<u64> {
    parse(stored).ok().map(|fields| fields.size)
}

fn parse(stored: &[u8]) -> Result<Fields<'_>> {
    fields(stored).map_err(|error| malformed("it is not an array of four").with_source(error))
}

fn fields(stored: &[u8]) -> Result<Fields<'_>> {
    let mut reader = Reader::portable(stored);
    if reader.array()? != 4 {
        return Err(reader.corrupt("it has another number of fields"));
    }
    let packed = match reader.token()? {
        Token::Bin(bytes) => Cow::Borrowed(bytes),
        // Before version 1.1 of the protocol, each byte was an integer.
        Token::Array(length) => {
            let mut bytes = Vec::with_capacity(length);
            for _ in 0..length {
                bytes.push(byte(&mut reader)?);
            }
            Cow::Owned(bytes)
        }
        _ => return Err(reader.corrupt("it lacks bytes")),
    };
    let mut checksum = [0; 8];
    if reader.array()? != checksum.len() {
        return Err(reader.corrupt("its checksum has another length"));
    }
    for slot in &mut checksum {
        *slot = byte(&mut reader)?;
    }
    let size = match reader.token()? {
        Token::Int(size) => u64::try_from(size).ok(),
        Token::Uint(size) => Some(size),
        _ => None,
    };
    let size = size.ok_or_else(|| reader.corrupt("it lacks a size"))?;
    let format = std::str::from_utf8(reader.str()?);
    let format = format.map_err(|_| reader.corrupt("it lacks a format"))?;
    reader.finish()?;
    Ok(Fields {
        packed,
        checksum,
        size,
        format,
    })
}

fn byte(reader: &mut Reader<'_>) -> Result<u8> {
    let byte = reader.int()?;
    u8::try_from(byte).map_err(|_| reader.corrupt("it lacks a byte"))
}

#[cfg(test)]
mod tests;
