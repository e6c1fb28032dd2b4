//! What stands in front of the payload: magic, format, header length, header.
//!
//! The length is bounded and has one form only, so that no two byte strings are the same entry and no reader skips far.

mod sealed;

use std::ops::Range;
use std::time::Duration;

use bytes::BufMut;
use prost::Message;

pub(super) use self::sealed::Sealed;
use super::{Meta, foreign, malformed};
use crate::error::Result;
pub(super) use crate::generated::wire::EnvelopeHeader as Header;
use crate::generated::wire::Serializer;

/// How every entry begins.
const MAGIC: [u8; 2] = [0xc4, 0x4b];

/// Longest header, in bytes.
const MAX_HEADER: usize = 4096;

/// The header that says what `meta` does. A lifetime is both the fresh and the hard one, unless it begins anew with each use:
/// then there is no hard one. Of less than a millisecond it is one, since zero would mean forever.
pub(super) fn of(meta: &Meta, serializer: Serializer, size: u64) -> Header {
    let lifetime = meta.lifetime.map_or(0, |lifetime| {
        u64::try_from(lifetime.as_nanos().div_ceil(1_000_000))
            .unwrap_or(u64::MAX)
            .max(1)
    });
    Header {
        created_ms: meta.created_ms,
        fresh_ms: lifetime,
        hard_ms: if meta.sliding { 0 } else { lifetime },
        cost_us: u64::try_from(meta.cost.as_micros()).unwrap_or(u64::MAX),
        serializer: serializer as i32,
        uncompressed_size: size,
        generations: meta.generations.clone(),
        ..Header::default()
    }
}

/// What a header says. Nothing is served past its fresh lifetime here, so the shorter one counts.
pub(super) fn meta(header: Header) -> Meta {
    let lifetimes = [header.fresh_ms, header.hard_ms]
        .into_iter()
        .filter(|ms| *ms != 0);
    Meta {
        created_ms: header.created_ms,
        lifetime: lifetimes.min().map(Duration::from_millis),
        sliding: header.fresh_ms != 0 && header.hard_ms == 0,
        cost: Duration::from_micros(header.cost_us),
        generations: header.generations,
    }
}

/// How many bytes [`frame`] makes of them.
pub(super) fn framed(header: &Header, payload: &[u8]) -> usize {
    let length = header.encoded_len();
    let prefix = MAGIC.len() + 1 + prost::encoding::encoded_len_varint(length as u64);
    prefix + length + payload.len()
}

/// Up to this size, in bytes, memory for an entry is found faster than the payload is moved within its own.
const SMALL: usize = 64 << 10;

/// Magic, `format`, `header` and `payload`, with room for exactly `behind` bytes more; and where the payload begins. A large one is
/// moved within its own memory: the system would have to find as much again, which takes longer than the copy.
pub(super) fn frame(
    format: u8,
    header: &impl Message,
    payload: Vec<u8>,
    behind: usize,
) -> Result<(Vec<u8>, usize)> {
    let length = header.encoded_len();
    if length > MAX_HEADER {
        return Err(malformed(format_args!(
            "its header would take {length} bytes"
        )));
    }
    let start = MAGIC.len() + 1 + prost::encoding::encoded_len_varint(length as u64) + length;
    let size = payload.len();
    if size <= SMALL {
        let mut entry = Vec::with_capacity(start + size + behind);
        write(format, header, length, &mut entry);
        entry.extend_from_slice(&payload);
        return Ok((entry, start));
    }
    let mut entry = payload;
    entry.reserve_exact(start + behind);
    entry.resize(size + start, 0);
    entry.copy_within(..size, start);
    write(format, header, length, &mut &mut entry[..start]);
    Ok((entry, start))
}

fn write(format: u8, header: &impl Message, length: usize, out: &mut impl BufMut) {
    out.put_slice(&MAGIC);
    out.put_u8(format);
    prost::encoding::encode_varint(length as u64, out);
    header.encode_raw(out);
}

/// Where the header of an entry of `format` stands; the payload follows it.
pub(super) fn unframe(format: u8, stored: &[u8]) -> Result<Range<usize>> {
    let Some(([first, second, id], rest)) = stored.split_first_chunk() else {
        return Err(malformed("it ends too early"));
    };
    if [*first, *second] != MAGIC {
        return Err(malformed("it does not begin as one"));
    }
    if *id != format {
        return Err(foreign(format_args!("format {id}")));
    }
    let (length, taken) = match *rest {
        [low @ 0..0x80, ..] => (usize::from(low), 1),
        // A second byte of zero would say nothing: an overlong form.
        [low, high @ 1..0x80, ..] => (usize::from(low & 0x7f) | usize::from(high) << 7, 2),
        [_, _, ..] => return Err(malformed("its header length is overlong or too large")),
        _ => return Err(malformed("it ends too early")),
    };
    if length > MAX_HEADER {
        return Err(malformed(format_args!("its header takes {length} bytes")));
    }
    let start = stored.len() - rest.len() + taken;
    let end = start + length;
    if end > stored.len() {
        return Err(malformed("it ends too early"));
    }
    Ok(start..end)
}

/// The header in its bytes. Fields that are not known are passed over: an older reader reads what a newer writer wrote.
pub(super) fn parse<H: Message + Default>(bytes: &[u8]) -> Result<H> {
    H::decode(bytes).map_err(|error| malformed("its header does not decode").with_source(error))
}
