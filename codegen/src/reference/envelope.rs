//! Entries as stored bytes, written and opened from the description of the layout alone.
//!
//! The reader gives each derived test row its expected outcome, so its order of checks is the documented one: framing,
//! format, checksum over everything, header, sizes, and only then the payload.

use xxhash_rust::xxh3::xxh3_64;

use super::header::{Header, take_varint, varint};
use super::lz4;

/// How every entry begins.
pub(super) const MAGIC: [u8; 2] = [0xc4, 0x4b];
/// Longest header that a reader takes.
pub(super) const MAX_HEADER: usize = 4096;
/// `Compression` of the header: as it is.
pub(super) const UNCOMPRESSED: i32 = 0;
/// `Compression` of the header: one LZ4 block.
pub(super) const LZ4: i32 = 1;

const DIGEST: usize = 8;

/// What a format's steps come to.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) name: String,
    pub(super) id: u8,
    /// Smallest payload that its compression step tries; nothing without that step.
    pub(super) compress_from: Option<u64>,
    pub(super) checksum: bool,
}

/// What a reader accepts.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    pub(super) layout: &'a Layout,
    pub(super) serializer: i32,
    pub(super) max_value_bytes: u64,
}

/// Everything in front of the payload.
pub(super) fn prefix(id: u8, header: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(id);
    out.extend(varint(header.len() as u64));
    out.extend(header);
    out
}

/// `before` and whatever a format appends to it: the digest of the key and of all the bytes so far.
pub(super) fn close(checksum: bool, key: &[u8], mut before: Vec<u8>) -> Vec<u8> {
    if checksum {
        let digest = digest(key, &before);
        before.extend(digest.to_be_bytes());
    }
    before
}

/// One entry whose payload is stored as `stored`.
pub(super) fn entry(layout: &Layout, key: &[u8], header: &Header, stored: &[u8]) -> Vec<u8> {
    let mut out = prefix(layout.id, &header.write());
    out.extend(stored);
    close(layout.checksum, key, out)
}

fn digest(key: &[u8], body: &[u8]) -> u64 {
    let mut covered = (key.len() as u32).to_be_bytes().to_vec();
    covered.extend(key);
    covered.extend(body);
    xxh3_64(&covered)
}

/// The header and the payload, or the code of the error.
pub(super) fn open(
    reader: &Reader<'_>,
    key: &[u8],
    stored: &[u8],
) -> Result<(Header, Vec<u8>), &'static str> {
    const MALFORMED: &str = "envelope_malformed";
    const FOREIGN: &str = "envelope_foreign";

    let rest = stored.strip_prefix(&MAGIC).ok_or(MALFORMED)?;
    let (&id, mut rest) = rest.split_first().ok_or(MALFORMED)?;
    if id != reader.layout.id {
        return Err(FOREIGN);
    }
    let before = rest.len();
    let length = take_varint(&mut rest).ok_or(MALFORMED)?;
    let overlong = before - rest.len() != varint(length).len();
    let length = usize::try_from(length)
        .ok()
        .filter(|length| *length <= MAX_HEADER);
    let length = length.filter(|_| !overlong).ok_or(MALFORMED)?;
    let (header, rest) = rest.split_at_checked(length).ok_or(MALFORMED)?;
    let payload = if reader.layout.checksum {
        let (payload, sum) = rest.split_last_chunk::<DIGEST>().ok_or(MALFORMED)?;
        if digest(key, &stored[..stored.len() - DIGEST]).to_be_bytes() != *sum {
            return Err("envelope_checksum");
        }
        payload
    } else {
        rest
    };
    let header = Header::read(header).ok_or(MALFORMED)?;
    if header.serializer != reader.serializer {
        return Err(FOREIGN);
    }
    let packed = match header.compression {
        UNCOMPRESSED => false,
        LZ4 if reader.layout.compress_from.is_some() => true,
        _ => return Err(FOREIGN),
    };
    let size = header.uncompressed_size;
    if size > reader.max_value_bytes {
        return Err(MALFORMED);
    }
    if !packed {
        let whole = size == payload.len() as u64;
        return if whole {
            Ok((header, payload.to_vec()))
        } else {
            Err(MALFORMED)
        };
    }
    if size > 255 * payload.len() as u64 + 64 {
        return Err(MALFORMED);
    }
    let value = lz4::decompress(payload, size as usize).ok_or(MALFORMED)?;
    Ok((header, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"ck:a:b:00";

    fn layout(compress_from: Option<u64>, checksum: bool) -> Layout {
        Layout {
            name: "x".to_owned(),
            id: 2,
            compress_from,
            checksum,
        }
    }

    fn header(size: u64) -> Header {
        Header {
            serializer: 1,
            uncompressed_size: size,
            ..Header::default()
        }
    }

    #[test]
    fn an_unchecked_entry_is_the_prefix_and_the_payload() {
        assert_eq!(
            entry(&layout(None, false), KEY, &header(2), b"hi"),
            [0xc4, 0x4b, 2, 4, 0x28, 1, 0x38, 2, b'h', b'i']
        );
    }

    #[test]
    fn a_checked_entry_ends_in_the_digest_of_key_and_bytes() {
        // XXH3-64 of 00000009 "ck:a:b:00" c44b020428013802 "hi", as the C library computes it.
        let mut bytes = vec![0xc4, 0x4b, 2, 4, 0x28, 1, 0x38, 2, b'h', b'i'];
        bytes.extend(0xb1e7_f6cb_5d57_f4fe_u64.to_be_bytes());
        assert_eq!(entry(&layout(None, true), KEY, &header(2), b"hi"), bytes);
    }

    #[test]
    fn the_reader_opens_what_was_written_and_nothing_else() {
        let layout = layout(Some(0), true);
        let reader = Reader {
            layout: &layout,
            serializer: 1,
            max_value_bytes: 100,
        };
        let value = [7; 64];
        let stored = lz4::compress(&value);
        let header = Header {
            compression: LZ4,
            ..header(64)
        };
        let bytes = entry(&layout, KEY, &header, &stored);
        assert_eq!(open(&reader, KEY, &bytes), Ok((header, value.to_vec())));
        assert_eq!(open(&reader, b"other", &bytes), Err("envelope_checksum"));
        for end in 0..bytes.len() {
            assert!(open(&reader, KEY, &bytes[..end]).is_err(), "cut at {end}");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(open(&reader, KEY, &bytes).is_err(), "flipped at {at}");
        }
    }
}
