//! Entries of the published protocol's formats, written and opened from its description alone.
//!
//! The reader gives each derived test row its expected outcome, so its checks come in the documented order.

use xxhash_rust::xxh3::xxh3_64;

use super::lz4;
use super::seal::{GCM_NONCE, Key, TAG};

/// Largest envelope, block and payload of `bytestorage`.
const MAX_BYTES: u64 = 512 << 20;
/// How many bytes of payload one byte of a block may stand for.
pub(super) const MAX_RATIO: u128 = 1000;

const MALFORMED: &str = "envelope_malformed";

/// Shape of an entry's bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Shape {
    /// MessagePack array of block, checksum, size and serializer.
    Bytestorage,
    /// The payload alone.
    Document,
    /// The payload, sealed.
    SealedDocument,
}

/// Under what an entry is stored.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place<'a> {
    pub(super) tenant: &'a str,
    pub(super) key: &'a [u8],
}

/// What a reader accepts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    pub(super) shape: Shape,
    pub(super) serializer: &'a str,
    pub(super) max_value_bytes: u64,
    /// The current one first.
    pub(super) masters: &'a [&'a [u8]],
}

/// The payload, or the code of the error.
pub(super) fn open(
    reader: &Reader<'_>,
    at: Place<'_>,
    stored: &[u8],
) -> Result<Vec<u8>, &'static str> {
    match reader.shape {
        Shape::Bytestorage => open_bytestorage(reader, stored),
        Shape::Document => within(reader, stored.len()).map(|()| stored.to_vec()),
        Shape::SealedDocument => {
            within(reader, stored.len().saturating_sub(GCM_NONCE + TAG))?;
            if stored.len() < GCM_NONCE + TAG {
                return Err(MALFORMED);
            }
            let key = std::str::from_utf8(at.key).map_err(|_| MALFORMED)?;
            let aad = associated(&[at.tenant, key, reader.serializer, "False"]);
            let mut masters = reader.masters.iter();
            let opened = masters
                .find_map(|master| Key::derive(master, at.tenant).open_published(&aad, stored));
            opened.ok_or("envelope_tampered")
        }
    }
}

fn within(reader: &Reader<'_>, size: usize) -> Result<(), &'static str> {
    if size as u64 > reader.max_value_bytes {
        return Err(MALFORMED);
    }
    Ok(())
}

fn open_bytestorage(reader: &Reader<'_>, stored: &[u8]) -> Result<Vec<u8>, &'static str> {
    if stored.len() as u64 > MAX_BYTES {
        return Err(MALFORMED);
    }
    let fields = Fields::read(stored).ok_or(MALFORMED)?;
    let block = fields.block.len() as u64;
    if block > MAX_BYTES || fields.size > MAX_BYTES || fields.size > reader.max_value_bytes {
        return Err(MALFORMED);
    }
    if u128::from(fields.size) > MAX_RATIO * u128::from(block) {
        return Err(MALFORMED);
    }
    let payload = lz4::decompress_within(&fields.block, fields.size as usize).ok_or(MALFORMED)?;
    if checksum(&payload) != fields.checksum {
        return Err("envelope_checksum");
    }
    if payload.len() as u64 != fields.size {
        return Err(MALFORMED);
    }
    if fields.serializer != reader.serializer {
        return Err("envelope_foreign");
    }
    Ok(payload)
}

/// The checksum of a payload.
pub(super) fn checksum(payload: &[u8]) -> [u8; 8] {
    xxh3_64(payload).to_be_bytes()
}

/// What a tag covers besides the payload: version 3, and these parts with their lengths.
pub(super) fn associated(parts: &[&str]) -> Vec<u8> {
    let mut aad = vec![3];
    for part in parts {
        aad.extend((part.len() as u32).to_be_bytes());
        aad.extend(part.bytes());
    }
    aad
}

/// What a `bytestorage` envelope says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Fields {
    pub(super) block: Vec<u8>,
    pub(super) checksum: [u8; 8],
    pub(super) size: u64,
    pub(super) serializer: String,
}

impl Fields {
    /// Of a payload, with a block of the reference's own compressor.
    pub(super) fn of(serializer: &str, payload: &[u8]) -> Self {
        Self {
            block: lz4::compress(payload),
            checksum: checksum(payload),
            size: payload.len() as u64,
            serializer: serializer.to_owned(),
        }
    }

    /// Its bytes, each number and length in its shortest form.
    pub(super) fn write(&self) -> Vec<u8> {
        self.parts().concat()
    }

    /// The array's head and the four fields, for rows that replace one.
    pub(super) fn parts(&self) -> [Vec<u8>; 5] {
        let mut checksum = vec![0x98];
        for byte in self.checksum {
            checksum.extend(uint(u64::from(byte)));
        }
        [
            vec![0x94],
            bin(&self.block),
            checksum,
            uint(self.size),
            text(&self.serializer),
        ]
    }

    /// Reads what [`Fields::write`] or any other writer of MessagePack wrote.
    fn read(stored: &[u8]) -> Option<Self> {
        let mut rest = stored;
        if take_array(&mut rest)? != 4 {
            return None;
        }
        let mut bytes = rest;
        let block = if let Some(block) = take_bin(&mut bytes) {
            rest = bytes;
            block.to_vec()
        } else {
            let length = take_array(&mut rest)?;
            (0..length)
                .map(|_| take_byte(&mut rest))
                .collect::<Option<_>>()?
        };
        if take_array(&mut rest)? != 8 {
            return None;
        }
        let mut checksum = [0; 8];
        for slot in &mut checksum {
            *slot = take_byte(&mut rest)?;
        }
        let size = u64::try_from(take_int(&mut rest)?).ok()?;
        let serializer = std::str::from_utf8(take_text(&mut rest)?).ok()?;
        rest.is_empty().then(|| Self {
            block,
            checksum,
            size,
            serializer: serializer.to_owned(),
        })
    }
}

/// An unsigned integer in its shortest form.
pub(super) fn uint(value: u64) -> Vec<u8> {
    let bytes = value.to_be_bytes();
    let (marker, width) = match value {
        0..=0x7f => return vec![bytes[7]],
        0x80..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        _ => (0xcf, 8),
    };
    [&[marker], &bytes[8 - width..]].concat()
}

/// Bytes, their length in its shortest form.
pub(super) fn bin(bytes: &[u8]) -> Vec<u8> {
    let length = (bytes.len() as u32).to_be_bytes();
    let (marker, width) = match bytes.len() {
        0..=0xff => (0xc4, 1),
        0x100..=0xffff => (0xc5, 2),
        _ => (0xc6, 4),
    };
    [&[marker], &length[4 - width..], bytes].concat()
}

/// A short text, its length in its shortest form.
pub(super) fn text(text: &str) -> Vec<u8> {
    assert!(text.len() < 32, "no serializer has so long a name");
    [&[0xa0 | text.len() as u8], text.as_bytes()].concat()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(taken)
}

/// An unsigned number of so many bytes.
fn take_number(rest: &mut &[u8], width: usize) -> Option<u64> {
    let bytes = take(rest, width)?;
    Some(
        bytes
            .iter()
            .fold(0, |number, byte| number << 8 | u64::from(*byte)),
    )
}

fn take_marker(rest: &mut &[u8]) -> Option<u8> {
    take(rest, 1).map(|bytes| bytes[0])
}

/// An integer in any of its forms.
fn take_int(rest: &mut &[u8]) -> Option<i128> {
    let marker = take_marker(rest)?;
    match marker {
        0x00..=0x7f => Some(i128::from(marker)),
        0xe0..=0xff => Some(i128::from(marker.cast_signed())),
        0xcc..=0xcf => take_number(rest, 1 << (marker - 0xcc)).map(i128::from),
        0xd0..=0xd3 => {
            let width = 1 << (marker - 0xd0);
            let unused = 64 - 8 * width as u32;
            let number = take_number(rest, width)?;
            Some(i128::from((number << unused).cast_signed() >> unused))
        }
        _ => None,
    }
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    u8::try_from(take_int(rest)?).ok()
}

/// The length of an array in any of its forms.
fn take_array(rest: &mut &[u8]) -> Option<u64> {
    match take_marker(rest)? {
        marker @ 0x90..=0x9f => Some(u64::from(marker & 0x0f)),
        0xdc => take_number(rest, 2),
        0xdd => take_number(rest, 4),
        _ => None,
    }
}

fn take_bin<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = match take_marker(rest)? {
        marker @ 0xc4..=0xc6 => take_number(rest, 1 << (marker - 0xc4))?,
        _ => return None,
    };
    take(rest, length as usize)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = match take_marker(rest)? {
        marker @ 0xa0..=0xbf => u64::from(marker & 0x1f),
        marker @ 0xd9..=0xdb => take_number(rest, 1 << (marker - 0xd9))?,
        _ => return None,
    };
    take(rest, length as usize)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn published(file: &str) -> Value {
        let path = format!("{}/../tests/published/{file}", env!("CARGO_MANIFEST_DIR"));
        let text = std::fs::read_to_string(path).expect("it is in the repository");
        serde_json::from_str(&text).expect("the vectors are JSON")
    }

    fn bytes(digits: &Value) -> Vec<u8> {
        let digits = digits.as_str().expect("hexadecimal digits");
        let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
        (0..digits.len()).step_by(2).map(byte).collect()
    }

    fn reader<'a>(shape: Shape, masters: &'a [&'a [u8]]) -> Reader<'a> {
        Reader {
            shape,
            serializer: "msgpack",
            max_value_bytes: 1 << 20,
            masters,
        }
    }

    const HERE: Place<'_> = Place {
        tenant: "default",
        key: b"a:b:00",
    };

    #[test]
    fn published_envelopes_open() {
        let rows = published("wire-format.json");
        for row in rows["vectors"].as_array().expect("there are vectors") {
            let stored = bytes(&row["envelope_hex"]);
            let opened = open(&reader(Shape::Bytestorage, &[]), HERE, &stored);
            assert_eq!(opened, Ok(bytes(&row["input_hex"])), "{}", row["name"]);
            let fields = Fields::read(&stored).expect("it opened");
            if row["envelope_encoding"] == "bin" {
                assert_eq!(fields.write(), stored, "{}", row["name"]);
            }
        }
    }

    #[test]
    fn published_seals_are_made_and_opened() {
        let rows = published("encryption.json");
        let master = bytes(&rows["master_key_hex"]);
        let tenant = rows["tenant_id"].as_str().expect("a tenant");
        for row in rows["vectors"].as_array().expect("there are vectors") {
            let key = row["cache_key"].as_str().expect("a key");
            let aad = associated(&[tenant, key, "msgpack", "False"]);
            assert_eq!(aad, bytes(&row["aad_hex"]));
            let (stored, plain) = (bytes(&row["ciphertext_hex"]), bytes(&row["plaintext_hex"]));
            let nonce = stored.first_chunk().expect("a nonce");
            let sealed = Key::derive(&master, tenant).seal_published(nonce, &aad, &plain);
            assert_eq!(sealed, stored);
            let masters: &[&[u8]] = &[b"another", &master];
            let place = Place {
                tenant,
                key: key.as_bytes(),
            };
            let opened = open(&reader(Shape::SealedDocument, masters), place, &stored);
            assert_eq!(opened, Ok(plain));
        }
    }

    #[test]
    fn integers_are_read_in_every_form() {
        for (mut bytes, value) in [
            (&[0x7f][..], 127),
            (&[0xff], -1),
            (&[0xcc, 0x80], 128),
            (&[0xcd, 0, 1], 1),
            (&[0xce, 0, 0, 0, 2], 2),
            (
                &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
                u64::MAX.into(),
            ),
            (&[0xd0, 0x80], -128),
            (&[0xd1, 0, 200], 200),
            (&[0xd2, 255, 255, 255, 254], -2),
            (&[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0], i64::MIN.into()),
        ] {
            assert_eq!(take_int(&mut bytes), Some(value));
            assert!(bytes.is_empty());
        }
        assert_eq!(uint(0x100), [0xcd, 1, 0]);
        assert_eq!(uint(1 << 32), [0xcf, 0, 0, 0, 1, 0, 0, 0, 0]);
    }
}
