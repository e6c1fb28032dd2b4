//! Entries as stored bytes, written and opened from the description of the layout alone.
//!
//! The reader gives each derived test row its expected outcome, so its order of checks is the documented one: framing,
//! format, checksum over everything, header, sizes, and only then the payload.

use xxhash_rust::xxh3::xxh3_64;

use super::header::{Header, take_varint, varint};
use super::lz4;
use super::seal::{KEY_ID, Key, NONCE, TAG, associated};
use super::zstd;

/// How every entry begins.
pub(super) const MAGIC: [u8; 2] = [0xc4, 0x4b];
/// Longest header that a reader takes.
pub(super) const MAX_HEADER: usize = 4096;
/// `Compression` of the header: as it is.
pub(super) const UNCOMPRESSED: i32 = 0;
/// `Compression` of the header: one LZ4 block.
pub(super) const LZ4: i32 = 1;
/// `Compression` of the header: one Zstandard frame.
pub(super) const ZSTD: i32 = 2;

const DIGEST: usize = 8;

/// The nonce of every sealed row: vectors have nothing to hide.
const SEALED_WITH: [u8; NONCE] = *b"a nonce of 24 bytes here";

/// What a format's steps come to.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    pub(super) name: String,
    pub(super) id: u8,
    /// Smallest payload that its compression step tries; nothing without that step.
    pub(super) compress_from: Option<u64>,
    /// How, as the header says it.
    pub(super) compression: i32,
    pub(super) checksum: bool,
    pub(super) sealed: bool,
}

/// Under what an entry is stored, and sealed if its format is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) tenant: &'a str,
    pub(super) key: &'a [u8],
    pub(super) master: &'a [u8],
}

/// What a reader accepts.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    pub(super) layout: &'a Layout,
    pub(super) serializer: i32,
    pub(super) max_value_bytes: u64,
    /// The current one first.
    pub(super) masters: &'a [&'a [u8]],
}

/// Everything in front of the payload.
pub(super) fn prefix(id: u8, header: &[u8]) -> Vec<u8> {
    let mut out = MAGIC.to_vec();
    out.push(id);
    out.extend(varint(header.len() as u64));
    out.extend(header);
    out
}

/// Everything in front of the payload, the payload, and what the format makes of both: a digest of the name and of all the
/// bytes so far, or a payload that is sealed, its tag over the names and the bytes in front.
pub(super) fn close(layout: &Layout, at: Place<'_>, prefix: Vec<u8>, payload: &[u8]) -> Vec<u8> {
    let mut out = prefix;
    if layout.sealed {
        let aad = associated(at.tenant, at.key, &out);
        out.extend(Key::derive(at.master, at.tenant).seal(&SEALED_WITH, &aad, payload));
        return out;
    }
    out.extend(payload);
    if layout.checksum {
        let digest = digest(at.key, &out);
        out.extend(digest.to_be_bytes());
    }
    out
}

/// One entry whose payload is stored as `stored`, sealed or not.
pub(super) fn entry(layout: &Layout, at: Place<'_>, header: &Header, stored: &[u8]) -> Vec<u8> {
    let header = signed(layout, at, header.clone());
    close(layout, at, prefix(layout.id, &header.write()), stored)
}

/// The header with what a seal needs of it, unless that is there.
pub(super) fn signed(layout: &Layout, at: Place<'_>, mut header: Header) -> Header {
    if layout.sealed && header.key_id.is_empty() {
        header.key_id = Key::derive(at.master, at.tenant).id();
        header.nonce = SEALED_WITH.to_vec();
    }
    header
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
    tenant: &str,
    name: &[u8],
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
    let in_front = &stored[..stored.len() - rest.len()];
    let payload = if reader.layout.checksum {
        let (payload, sum) = rest.split_last_chunk::<DIGEST>().ok_or(MALFORMED)?;
        if digest(name, &stored[..stored.len() - DIGEST]).to_be_bytes() != *sum {
            return Err("envelope_checksum");
        }
        payload
    } else {
        rest
    };
    let header = Header::read(header).ok_or(MALFORMED)?;
    let opened;
    let payload = if reader.layout.sealed {
        if header.nonce.len() != NONCE || header.key_id.len() != KEY_ID {
            return Err(MALFORMED);
        }
        let mut keys = reader
            .masters
            .iter()
            .map(|master| Key::derive(master, tenant));
        let key = keys.find(|key| key.id() == header.key_id);
        let key = key.ok_or("key_unknown")?;
        if payload.len() < TAG {
            return Err(MALFORMED);
        }
        let aad = associated(tenant, name, in_front);
        opened = key.open(&header.nonce, &aad, payload);
        opened.as_deref().ok_or("envelope_tampered")?
    } else {
        payload
    };
    if header.serializer != reader.serializer {
        return Err(FOREIGN);
    }
    let packed = match header.compression {
        UNCOMPRESSED => false,
        found if found == reader.layout.compression => true,
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
    let value = if header.compression == LZ4 {
        if size > 255 * payload.len() as u64 + 64 {
            return Err(MALFORMED);
        }
        lz4::decompress(payload, size as usize)
    } else {
        zstd::decompress(payload, size as usize)
    };
    let value = value.ok_or(MALFORMED)?;
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
            compression: LZ4,
            checksum,
            sealed: false,
        }
    }

    fn at(key: &[u8]) -> Place<'_> {
        Place {
            tenant: "default",
            key,
            master: &[1; 32],
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
            entry(&layout(None, false), at(KEY), &header(2), b"hi"),
            [0xc4, 0x4b, 2, 4, 0x28, 1, 0x38, 2, b'h', b'i']
        );
    }

    #[test]
    fn a_checked_entry_ends_in_the_digest_of_key_and_bytes() {
        // XXH3-64 of 00000009 "ck:a:b:00" c44b020428013802 "hi", as the C library computes it.
        let mut bytes = vec![0xc4, 0x4b, 2, 4, 0x28, 1, 0x38, 2, b'h', b'i'];
        bytes.extend(0xb1e7_f6cb_5d57_f4fe_u64.to_be_bytes());
        assert_eq!(
            entry(&layout(None, true), at(KEY), &header(2), b"hi"),
            bytes
        );
    }

    #[test]
    fn the_reader_opens_what_was_written_and_nothing_else() {
        let layout = layout(Some(0), true);
        let reader = Reader {
            layout: &layout,
            serializer: 1,
            max_value_bytes: 100,
            masters: &[],
        };
        let value = [7; 64];
        let stored = lz4::compress(&value);
        let header = Header {
            compression: LZ4,
            ..header(64)
        };
        let bytes = entry(&layout, at(KEY), &header, &stored);
        assert_eq!(
            open(&reader, "default", KEY, &bytes),
            Ok((header, value.to_vec()))
        );
        assert_eq!(
            open(&reader, "default", b"other", &bytes),
            Err("envelope_checksum")
        );
        for end in 0..bytes.len() {
            assert!(
                open(&reader, "default", KEY, &bytes[..end]).is_err(),
                "cut at {end}"
            );
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 1;
            assert!(
                open(&reader, "default", KEY, &bytes).is_err(),
                "flipped at {at}"
            );
        }
    }
}
