//! Makes one row: an entry, or what derives from it, with what a reader must make of that.

use serde_json::{Map, Value as Json, json};

use super::envelope::{Layout, Place, Reader, UNCOMPRESSED, close, entry, open, prefix, signed};
use super::header::Header;
use super::wycheproof::{Expect, Row, hex, members};

/// `Serializer` of the header: the native encoding.
pub(super) const NATIVE: i32 = 1;
pub(super) const KEY: &[u8] = b"ck:default:shop.prices.price_of:\
    47487b092786326544e780003803641bc61adf47332721f4f9a0bb52bc4cdcae";
pub(super) const OTHER_KEY: &[u8] = b"ck:default:shop.prices.price_of:\
    e866a65bb88fa390057f7f7d927a42f7ade7c3303553db982e0d8236ec6bed50";
/// Where the rows' entries are stored, unless they say otherwise.
pub(super) const HERE: Place<'_> = Place {
    tenant: "default",
    key: KEY,
    master: MASTER,
};
pub(super) const MASTER: &[u8] = b"a master key of thirty-two bytes";
pub(super) const PREVIOUS_MASTER: &[u8] = b"the master key that it replaced.";
pub(super) const MAX_VALUE_BYTES: u64 = 8_192;
pub(super) const GENERATION: u64 = 0x0123_4567_89ab_cdef;

/// Native encoding of a short text: what the payload is does not matter to an envelope.
pub(super) fn short_payload() -> Vec<u8> {
    b"\xa5value".to_vec()
}

pub(super) fn header(payload: &[u8]) -> Header {
    Header {
        created_ms: 1_700_000_000_000,
        fresh_ms: 3_600_000,
        hard_ms: 3_600_000,
        cost_us: 1_500,
        serializer: NATIVE,
        compression: UNCOMPRESSED,
        uncompressed_size: payload.len() as u64,
        generations: vec![GENERATION],
        ..Header::default()
    }
}

/// Bytes in which nothing repeats often enough for LZ4.
pub(super) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    (0..length)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .collect()
}

pub(super) struct Maker<'a> {
    pub(super) layout: &'a Layout,
    pub(super) reader: Reader<'a>,
}

impl Maker<'_> {
    /// A row whose outcome is what the reference reader makes of it.
    pub(super) fn row(
        &self,
        flags: &[&'static str],
        comment: impl Into<String>,
        stored: &[u8],
    ) -> Row {
        self.row_at(flags, comment, HERE, stored)
    }

    pub(super) fn row_at(
        &self,
        flags: &[&'static str],
        comment: impl Into<String>,
        at: Place<'_>,
        stored: &[u8],
    ) -> Row {
        let expect = match open(&self.reader, at.tenant, at.key, stored) {
            Ok((header, payload)) => Expect::Valid(members([
                ("header", Json::Object(header_json(&header))),
                ("payload", json!(hex(&payload))),
            ])),
            Err(code) => Expect::Invalid(code),
        };
        let mut input = members([("key", json!(hex(at.key))), ("stored", json!(hex(stored)))]);
        if self.layout.sealed {
            input.insert("tenant".to_owned(), json!(at.tenant));
        }
        Row {
            comment: comment.into(),
            flags: flags.to_vec(),
            input,
            expect,
        }
    }

    /// A row that must end with `code`, whoever derives it.
    pub(super) fn refused(
        &self,
        flag: &'static str,
        comment: impl Into<String>,
        code: &'static str,
        stored: &[u8],
    ) -> Row {
        let row = self.row(&[flag], comment, stored);
        let as_meant = matches!(row.expect, Expect::Invalid(found) if found == code);
        assert!(as_meant, "{}: {:?}", row.comment, row.expect);
        row
    }

    pub(super) fn entry(&self, header: &Header, stored: &[u8]) -> Vec<u8> {
        entry(self.layout, HERE, header, stored)
    }

    /// The header of a payload, as it stands in this format.
    pub(super) fn header(&self, payload: &[u8]) -> Header {
        signed(self.layout, HERE, header(payload))
    }

    /// An entry from the header's own bytes, with the digest or the tag that belongs to them.
    pub(super) fn with_header(&self, header: &[u8], stored: &[u8]) -> Vec<u8> {
        self.with_prefix(prefix(self.layout.id, header), stored)
    }

    /// An entry from everything in front of the payload.
    pub(super) fn with_prefix(&self, before: Vec<u8>, stored: &[u8]) -> Vec<u8> {
        close(self.layout, HERE, before, stored)
    }
}

fn header_json(header: &Header) -> Map<String, Json> {
    let generations: Vec<_> = header
        .generations
        .iter()
        .map(|generation| hex(&generation.to_be_bytes()))
        .collect();
    members([
        ("created_ms", json!(header.created_ms)),
        ("fresh_ms", json!(header.fresh_ms)),
        ("hard_ms", json!(header.hard_ms)),
        ("cost_us", json!(header.cost_us)),
        ("serializer", json!(header.serializer)),
        ("compression", json!(header.compression)),
        ("uncompressed_size", json!(header.uncompressed_size)),
        ("key_id", json!(hex(&header.key_id))),
        ("nonce", json!(hex(&header.nonce))),
        ("generations", json!(generations)),
    ])
}
