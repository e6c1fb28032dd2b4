//! The vectors of the published protocol's formats: entries as a writer makes them, and what derives from each by one change.

use serde_json::{Map, Value as Json, json};

use super::maker::short_payload;
use super::published::{Place, Reader, Shape, open};
use super::wycheproof::{Expect, Group, Row, file, hex, members};

const DESCRIPTION: &[&str] = &[
    "A reader of the group's format and serializer opens `stored`, which was found under `key` of `tenant`. It gives `payload`, or \
     the error of the code `error`.",
    "Bytes are hex, sizes numbers. What the payload means is not looked at: a document is valid here that no decoder would take.",
    "Rows with the flag Canonical are also what a writer makes of their payload; those with the flag Written are so but for bytes \
     that a writer may choose, so what it makes opens again.",
];

const NOTES: &[(&str, &str)] = &[
    ("Canonical", "A writer makes exactly these bytes."),
    (
        "Flipped",
        "One bit was flipped. A document alone has nothing that would notice, and is another document.",
    ),
    (
        "ForeignFormat",
        "An entry of another format. A reader of documents takes any bytes for one.",
    ),
    (
        "ForeignSerializer",
        "Written by another serializer than the reader's, or by one that nobody knows.",
    ),
    (
        "IntegerArray",
        "The block is an array of integers, as writers made it before version 1.1.",
    ),
    (
        "LyingLength",
        "A length or a size does not fit the bytes that are there.",
    ),
    (
        "MalformedBlock",
        "The compressed payload does not decompress.",
    ),
    (
        "MalformedField",
        "A field is missing, one too many, or of another kind.",
    ),
    (
        "MovedKey",
        "The entry was written under another key. Only a seal notices.",
    ),
    (
        "OrderOfChecks",
        "Several things are wrong, and the check that comes first decides.",
    ),
    (
        "OtherBinding",
        "The seal covers other associated data than the reader's.",
    ),
    (
        "OtherKey",
        "Sealed under a previous master key, or one that the reader has not.",
    ),
    (
        "OtherTenant",
        "Of another tenant than the one that reads. Only a seal notices.",
    ),
    (
        "Oversized",
        "The payload takes more bytes than the reader allows.",
    ),
    (
        "TrailingBytes",
        "Bytes follow the entry. To a reader of documents they belong to it.",
    ),
    (
        "Truncated",
        "The end is missing. To a reader of documents the rest is one.",
    ),
    (
        "UnusualForm",
        "A number or a length is longer than it must be, which readers take.",
    ),
    (
        "Written",
        "As a writer makes it, but for a random nonce or what a compressor found.",
    ),
    ("WrongChecksum", "The checksum is not that of the payload."),
];

const KEY: &[u8] = b"users:get_user:\
    47487b092786326544e780003803641bc61adf47332721f4f9a0bb52bc4cdcae";
pub(super) const OTHER_KEY: &[u8] = b"users:get_user:\
    e866a65bb88fa390057f7f7d927a42f7ade7c3303553db982e0d8236ec6bed50";
/// Where the rows' entries are stored, unless they say otherwise.
pub(super) const HERE: Place<'_> = Place {
    tenant: "default",
    key: KEY,
};
/// The current master key, and those that it replaced.
pub(super) const MASTERS: [&[u8]; 3] = [
    b"a master key of thirty-two bytes",
    b"the master key that it replaced.",
    b"the one that was before them all",
];
pub(super) const MAX_VALUE_BYTES: u64 = 4_096;
/// The serializer of most groups; interop/v1 knows no other.
pub(super) const MSGPACK: &str = "msgpack";
/// The other serializers that an envelope may name.
pub(super) const OTHERS: [&str; 5] = ["json", "arrow", "pickle", "native", "custom"];

/// `tests/vectors/published.json`. `formats` are names and what their entries look like.
pub(super) fn vectors(formats: &[(String, Shape)]) -> Vec<u8> {
    let mut groups = Vec::new();
    for (name, shape) in formats {
        let maker = Maker::new(*shape, MSGPACK);
        groups.push(maker.group(name, maker.rows()));
        if *shape == Shape::Bytestorage {
            for serializer in OTHERS {
                let maker = Maker::new(*shape, serializer);
                groups.push(maker.group(name, maker.of_another_serializer()));
            }
        }
    }
    file("cachekit published envelopes", DESCRIPTION, NOTES, &groups)
}

/// Makes the rows of one reader.
pub(super) struct Maker {
    pub(super) reader: Reader<'static>,
}

impl Maker {
    fn new(shape: Shape, serializer: &'static str) -> Self {
        Self {
            reader: Reader {
                shape,
                serializer,
                max_value_bytes: MAX_VALUE_BYTES,
                masters: &MASTERS,
            },
        }
    }

    fn rows(&self) -> Vec<Row> {
        match self.reader.shape {
            Shape::Bytestorage => self.bytestorage(),
            Shape::Document => self.documents(),
            Shape::SealedDocument => self.sealed_documents(),
        }
    }

    fn group(&self, format: &str, rows: Vec<Row>) -> Group {
        let mut parameters = members([
            ("format", json!(format)),
            ("serializer", json!(self.reader.serializer)),
            ("maxValueBytes", json!(MAX_VALUE_BYTES)),
        ]);
        if self.reader.shape == Shape::SealedDocument {
            let [current, previous @ ..] = MASTERS;
            parameters.insert("masterKey".to_owned(), json!(hex(current)));
            let previous = json!(previous.map(hex));
            parameters.insert("previousMasterKeys".to_owned(), previous);
        }
        Group {
            kind: "PublishedOpen",
            parameters,
            rows,
        }
    }

    /// A row whose outcome is what the reference reader makes of it.
    fn row(
        &self,
        flag: &'static str,
        comment: impl Into<String>,
        at: Place<'_>,
        stored: &[u8],
    ) -> Row {
        let expect = match open(&self.reader, at, stored) {
            Ok(payload) => Expect::Valid(Map::from_iter([(
                "payload".to_owned(),
                Json::String(hex(&payload)),
            )])),
            Err(code) => Expect::Invalid(code),
        };
        Row {
            comment: comment.into(),
            flags: vec![flag],
            input: members([
                ("key", json!(hex(at.key))),
                ("stored", json!(hex(stored))),
                ("tenant", json!(at.tenant)),
            ]),
            expect,
        }
    }

    /// A row that must give `payload`.
    pub(super) fn opens(
        &self,
        flag: &'static str,
        comment: impl Into<String>,
        payload: &[u8],
        stored: &[u8],
    ) -> Row {
        self.opens_at(flag, comment, HERE, payload, stored)
    }

    pub(super) fn opens_at(
        &self,
        flag: &'static str,
        comment: impl Into<String>,
        at: Place<'_>,
        payload: &[u8],
        stored: &[u8],
    ) -> Row {
        let row = self.row(flag, comment, at, stored);
        let as_meant =
            matches!(&row.expect, Expect::Valid(found) if found["payload"] == hex(payload));
        assert!(as_meant, "{}: {:?}", row.comment, row.expect);
        row
    }

    /// A row that must end with `code`.
    pub(super) fn refused(
        &self,
        flag: &'static str,
        comment: impl Into<String>,
        code: &'static str,
        stored: &[u8],
    ) -> Row {
        self.refused_at(flag, comment, HERE, code, stored)
    }

    pub(super) fn refused_at(
        &self,
        flag: &'static str,
        comment: impl Into<String>,
        at: Place<'_>,
        code: &'static str,
        stored: &[u8],
    ) -> Row {
        let row = self.row(flag, comment, at, stored);
        let as_meant = matches!(row.expect, Expect::Invalid(found) if found == code);
        assert!(as_meant, "{}: {:?}", row.comment, row.expect);
        row
    }

    /// A short entry with each byte changed, cut at each length, and followed by bytes.
    pub(super) fn damaged(&self, whole: &[u8]) -> Vec<Row> {
        let mut rows = Vec::new();
        for at in 0..whole.len() {
            for bit in [0, 7] {
                let mut bytes = whole.to_vec();
                bytes[at] ^= 1 << bit;
                rows.push(self.row("Flipped", format!("bit {bit} of byte {at}"), HERE, &bytes));
            }
        }
        for end in 0..whole.len() {
            let comment = format!("the first {end} bytes");
            rows.push(self.row("Truncated", comment, HERE, &whole[..end]));
        }
        for (comment, behind) in [
            ("a zero behind it", &[0][..]),
            ("nothing in MessagePack behind it", &[0xc0]),
            ("the same behind it", whole),
        ] {
            let bytes = [whole, behind].concat();
            rows.push(self.row("TrailingBytes", comment, HERE, &bytes));
        }
        rows
    }
}

/// Text in which much repeats.
pub(super) fn repetitive(length: usize) -> Vec<u8> {
    let sentence = b"the quick brown fox jumps over the lazy dog; ";
    sentence.iter().copied().cycle().take(length).collect()
}

/// The start of an entry of the format `plain`, and a payload.
pub(super) fn entry_of_ours() -> Vec<u8> {
    let mut bytes = super::envelope::prefix(1, &[]);
    bytes.extend(short_payload());
    bytes.extend([0; 8]);
    bytes
}
