//! The vectors of envelopes: entries as a writer makes them, and what derives from each by one change.
//!
//! A derived row that the checksum would catch by accident tests nothing else, so a row about another rule carries the
//! digest of its own bytes.

use serde_json::json;

use super::envelope::{LZ4, Layout, MAX_HEADER, Place, Reader, ZSTD, entry, prefix};
use super::header::{Header, varint};
use super::lz4;
use super::maker::{
    GENERATION, HERE, MASTER, MAX_VALUE_BYTES, Maker, NATIVE, OTHER_KEY, PREVIOUS_MASTER, header,
    noise, short_payload,
};
use super::wycheproof::{Expect, Group, Row, file, hex, members};

const DESCRIPTION: &[&str] = &[
    "A reader of the group's format and serializer opens `stored`, which was found under `key`. It gives `payload` \
     and what `header` says, or the error of the code `error`.",
    "Bytes are hex, generations 64 bits of hex, sizes and times numbers.",
    "Rows with the flag Canonical are also what a writer makes of their key, header and payload.",
];

const NOTES: &[(&str, &str)] = &[
    ("Canonical", "A writer makes exactly these bytes."),
    (
        "Compressed",
        "The payload is one LZ4 block or one Zstandard frame, from another compressor than the usual one.",
    ),
    ("Flipped", "One bit was flipped."),
    (
        "ForeignCompression",
        "Compressed in a way that the format does not have.",
    ),
    ("ForeignFormat", "An entry of another format."),
    (
        "ForeignSerializer",
        "Written by another serializer than the reader's.",
    ),
    ("HeaderTooLarge", "Headers end at 4096 bytes."),
    (
        "LyingLength",
        "A length does not fit the bytes that are there.",
    ),
    (
        "MalformedBlock",
        "The compressed payload does not decompress.",
    ),
    ("MalformedHeader", "The header is not protobuf."),
    (
        "MovedKey",
        "The entry was written under another key; a checksum or a seal notices.",
    ),
    (
        "OverlongVarint",
        "The length of the header is longer than it must be.",
    ),
    (
        "Oversized",
        "The value would take more bytes than the reader allows.",
    ),
    ("TrailingBytes", "Bytes follow the entry."),
    (
        "OtherKey",
        "Sealed under a previous master key, or one that the reader has not.",
    ),
    (
        "OtherTenant",
        "Sealed for another tenant than the one that reads.",
    ),
    (
        "SealedHeader",
        "Of a nonce or a key id that seals do not have.",
    ),
    ("Tampered", "One bit of the payload or the tag was flipped."),
    ("Truncated", "The end is missing."),
    (
        "UnknownField",
        "A newer writer's field, which an older reader must pass over.",
    ),
    (
        "Written",
        "As a writer makes it, but for the nonce, which is random.",
    ),
    (
        "UnusualHeader",
        "Legal protobuf that our writer would write otherwise.",
    ),
];

/// `tests/vectors/envelope.json`.
pub(super) fn vectors(layouts: &[Layout]) -> Vec<u8> {
    let groups: Vec<_> = layouts
        .iter()
        .map(|layout| group(layout, layouts))
        .collect();
    file("cachekit envelope", DESCRIPTION, NOTES, &groups)
}

fn group(layout: &Layout, layouts: &[Layout]) -> Group {
    let maker = Maker {
        layout,
        reader: Reader {
            layout,
            serializer: NATIVE,
            max_value_bytes: MAX_VALUE_BYTES,
            masters: &[MASTER, PREVIOUS_MASTER],
        },
    };
    let mut rows = maker.written();
    rows.extend(maker.unusual());
    rows.extend(maker.malformed());
    rows.extend(maker.damaged());
    rows.extend(maker.lying());
    rows.extend(maker.foreign(layouts));
    match layout.compression {
        LZ4 => rows.extend(maker.compressed()),
        ZSTD => rows.extend(maker.frames()),
        _ => {}
    }
    let mut parameters = members([
        ("format", json!(layout.name)),
        ("formatId", json!(layout.id)),
        ("serializer", json!("native")),
        ("maxValueBytes", json!(MAX_VALUE_BYTES)),
    ]);
    if layout.sealed {
        rows.extend(maker.sealed());
        parameters.insert("masterKey".to_owned(), json!(hex(MASTER)));
        let previous = json!([hex(PREVIOUS_MASTER)]);
        parameters.insert("previousMasterKeys".to_owned(), previous);
    }
    Group {
        kind: "EnvelopeOpen",
        parameters,
        rows,
    }
}

/// A header of so many bytes: `fields`, and field 15.
fn padded(fields: &[u8], length: usize) -> Vec<u8> {
    let room = length - fields.len() - 3;
    [fields, &[0x7a], &varint(room as u64), &vec![0; room]].concat()
}

impl Maker<'_> {
    /// What is random in a sealed entry no writer makes twice.
    fn written_as(&self) -> &'static [&'static str] {
        if self.layout.sealed {
            &["Written"]
        } else {
            &["Canonical"]
        }
    }

    fn written(&self) -> Vec<Row> {
        let payload = short_payload();
        let noise = noise(2_000);
        let forever = Header {
            fresh_ms: 0,
            hard_ms: 0,
            ..self.header(&payload)
        };
        let sliding = Header {
            hard_ms: 0,
            ..self.header(&payload)
        };
        let bare = Header {
            serializer: NATIVE,
            uncompressed_size: payload.len() as u64,
            ..Header::default()
        };
        let many = Header {
            generations: vec![0, 1, u64::MAX],
            ..self.header(&payload)
        };
        let cases = [
            ("a short value", self.header(&payload), payload.clone()),
            ("a value that never expires", forever, payload.clone()),
            (
                "a life that begins anew with each use",
                sliding,
                payload.clone(),
            ),
            (
                "nothing but the serializer and the size",
                bare,
                payload.clone(),
            ),
            ("several generations", many, payload),
            ("one byte", self.header(&[0xc0]), vec![0xc0]),
            ("a payload that does not shrink", self.header(&noise), noise),
        ];
        cases
            .into_iter()
            .map(|(comment, header, payload)| {
                self.row(self.written_as(), comment, &self.entry(&header, &payload))
            })
            .collect()
    }

    fn unusual(&self) -> Vec<Row> {
        const UNKNOWN: &[&str] = &["UnknownField"];
        const UNUSUAL: &[&str] = &["UnusualHeader"];

        let payload = short_payload();
        let plain = self.header(&payload).write();
        let more = |extra: &[u8]| self.with_header(&[&plain[..], extra].concat(), &payload);
        let unpacked = {
            let header = Header {
                generations: vec![],
                ..self.header(&payload)
            };
            let generation = [&[0x51][..], &GENERATION.to_le_bytes()].concat();
            self.with_header(&[header.write(), generation].concat(), &payload)
        };
        let turned = {
            let first = Header {
                created_ms: 1_700_000_000_000,
                ..Header::default()
            };
            let rest = Header {
                created_ms: 0,
                ..self.header(&payload)
            };
            self.with_header(&[rest.write(), first.write()].concat(), &payload)
        };
        let padded = |length| self.with_header(&padded(&plain, length), &payload);
        let mut rows = vec![
            self.row(UNKNOWN, "a varint of field 11", &more(&[0x58, 0x01])),
            self.row(UNKNOWN, "bytes of field 15", &more(&[0x7a, 2, 0xff, 0xff])),
            self.row(
                UNKNOWN,
                "eight bytes of field 16",
                &more(&[0x81, 1, 1, 2, 3, 4, 5, 6, 7, 8]),
            ),
            self.row(
                UNKNOWN,
                "four bytes of field 15",
                &more(&[0x7d, 1, 2, 3, 4]),
            ),
            self.row(UNKNOWN, "a header of two bytes of length", &padded(300)),
            self.row(UNKNOWN, "the longest header", &padded(MAX_HEADER)),
            self.row(
                UNKNOWN,
                "a group of field 15, with a group in it",
                &more(&[0x7b, 0x0b, 0x10, 0x05, 0x0c, 0x7c]),
            ),
            self.row(UNUSUAL, "generations one by one", &unpacked),
            self.row(
                UNUSUAL,
                "a varint that is longer than it must be",
                &more(&[0x20, 0x87, 0x80, 0x00]),
            ),
            self.row(UNUSUAL, "fields in another order", &turned),
            self.row(
                UNUSUAL,
                "a field twice, of which the last counts",
                &more(&[0x20, 7]),
            ),
        ];
        if !self.layout.sealed {
            rows.push(self.row(
                UNUSUAL,
                "a key id and a nonce, which only a seal needs",
                &more(&[0x42, 2, 0xab, 0xcd, 0x4a, 3, 1, 2, 3]),
            ));
        }
        for row in &rows {
            assert!(matches!(row.expect, Expect::Valid(_)), "{}", row.comment);
        }
        rows
    }

    fn malformed(&self) -> Vec<Row> {
        let payload = short_payload();
        let plain = header(&payload).write();
        let more = |extra: &[u8]| self.with_header(&[&plain[..], extra].concat(), &payload);
        let mut rows = Vec::new();
        for (comment, extra) in [
            ("a field without its value", &[0x58][..]),
            ("a group without its end", &[0x7b, 0x10, 0x05]),
            ("a group that another one ends", &[0x7b, 0x10, 0x05, 0x74]),
            ("the end of no group", &[0x7c]),
            ("field number zero", &[0x00, 0x00]),
            ("a wire type that does not exist", &[0x5f, 0x00]),
            ("a known field of another wire type", &[0x0a, 0x00]),
            ("bytes that end behind the header", &[0x42, 0x7f]),
            (
                "a varint of more than 64 bits",
                &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            ),
            (
                "generations of seven bytes",
                &[0x52, 7, 0, 0, 0, 0, 0, 0, 0],
            ),
        ] {
            rows.push(self.refused(
                "MalformedHeader",
                comment,
                "envelope_malformed",
                &more(extra),
            ));
        }
        rows.push(self.refused(
            "HeaderTooLarge",
            "a header of 4097 bytes",
            "envelope_malformed",
            &self.with_header(&padded(&plain, MAX_HEADER + 1), &payload),
        ));
        rows
    }

    fn damaged(&self) -> Vec<Row> {
        let payload = short_payload();
        let header = self.header(&payload);
        let whole = self.entry(&header, &payload);
        let front = prefix(self.layout.id, &header.write()).len();
        let mut rows = Vec::new();
        for at in 0..front {
            for bit in [0, 7] {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                rows.push(self.row(&["Flipped"], format!("bit {bit} of byte {at}"), &bytes));
            }
        }
        for at in front..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            rows.push(self.row(&["Flipped"], format!("bit 0 of byte {at}"), &bytes));
        }
        for end in 0..whole.len() {
            let row = self.row(
                &["Truncated"],
                format!("the first {end} bytes"),
                &whole[..end],
            );
            assert!(matches!(row.expect, Expect::Invalid(_)), "{}", row.comment);
            rows.push(row);
        }
        let longer = [&whole[..], &[0]].concat();
        rows.push(self.row(&["TrailingBytes"], "one byte more", &longer));
        rows.push(self.row_at(
            &["MovedKey"],
            "read under another key",
            Place {
                key: OTHER_KEY,
                ..HERE
            },
            &whole,
        ));
        rows.push(self.row_at(
            &["MovedKey"],
            "read under no key",
            Place { key: b"", ..HERE },
            &whole,
        ));
        rows
    }

    fn lying(&self) -> Vec<Row> {
        const MALFORMED: &str = "envelope_malformed";

        let payload = short_payload();
        let lie = |uncompressed_size| Header {
            uncompressed_size,
            ..self.header(&payload)
        };
        let mut rows = Vec::new();
        for size in [
            0,
            payload.len() as u64 - 1,
            payload.len() as u64 + 1,
            MAX_VALUE_BYTES,
        ] {
            let comment = format!("{} bytes that say they are {size}", payload.len());
            let bytes = self.entry(&lie(size), &payload);
            rows.push(self.refused("LyingLength", comment, MALFORMED, &bytes));
        }
        for size in [MAX_VALUE_BYTES + 1, 1 << 40, u64::MAX] {
            let bytes = self.entry(&lie(size), &payload);
            let comment = format!("a size of {size}");
            rows.push(self.refused("Oversized", comment, MALFORMED, &bytes));
        }
        let big = vec![0; MAX_VALUE_BYTES as usize + 1];
        let bytes = self.entry(&self.header(&big), &big);
        rows.push(self.refused(
            "Oversized",
            "a value that is too large indeed",
            MALFORMED,
            &bytes,
        ));

        let fields = self.header(&payload).write();
        let front = |length: &[u8]| {
            let mut out = prefix(self.layout.id, &[]);
            out.pop();
            out.extend(length);
            out.extend(&fields);
            out
        };
        for (comment, length) in [
            ("a header that is longer than the entry", 4096),
            ("a header of 4097 bytes", 4097),
            ("a header of 2^63 bytes", 1 << 63),
        ] {
            let bytes = self.with_prefix(front(&varint(length)), &payload);
            rows.push(self.refused("LyingLength", comment, MALFORMED, &bytes));
        }
        let length = fields.len() as u8;
        for (comment, length) in [
            ("one byte too many", &[length | 0x80, 0][..]),
            ("two bytes too many", &[length | 0x80, 0x80, 0]),
            (
                "ten bytes",
                &[
                    length | 0x80,
                    0x80,
                    0x80,
                    0x80,
                    0x80,
                    0x80,
                    0x80,
                    0x80,
                    0x80,
                    0,
                ],
            ),
            ("no end in ten bytes", &[0x80; 10]),
        ] {
            let bytes = self.with_prefix(front(length), &payload);
            rows.push(self.refused("OverlongVarint", comment, MALFORMED, &bytes));
        }
        rows
    }

    fn foreign(&self, layouts: &[Layout]) -> Vec<Row> {
        const FOREIGN: &str = "envelope_foreign";

        let payload = short_payload();
        let mut rows = Vec::new();
        let mut ids: Vec<_> = layouts.iter().map(|layout| layout.id).collect();
        ids.extend([0, 0xff]);
        ids.retain(|id| *id != self.layout.id);
        for id in ids {
            let name = layouts.iter().find(|layout| layout.id == id);
            let name = name.map_or("no format", |layout| layout.name.as_str());
            let ours = self.with_prefix(prefix(id, &self.header(&payload).write()), &payload);
            let comment = format!("id {id}, {name}, with this format's bytes");
            rows.push(self.refused("ForeignFormat", comment, FOREIGN, &ours));
        }
        for layout in layouts.iter().filter(|layout| layout.id != self.layout.id) {
            let theirs = entry(layout, HERE, &header(&payload), &payload);
            let comment = format!("an entry of {}", layout.name);
            rows.push(self.refused("ForeignFormat", comment, FOREIGN, &theirs));
        }
        for (comment, serializer) in [
            ("no serializer", 0),
            ("MessagePack", 2),
            ("a serializer of the future", 99),
        ] {
            let bytes = self.entry(
                &Header {
                    serializer,
                    ..self.header(&payload)
                },
                &payload,
            );
            rows.push(self.refused("ForeignSerializer", comment, FOREIGN, &bytes));
        }
        let compressed = |compression| Header {
            compression,
            ..self.header(&payload)
        };
        let bytes = self.entry(&compressed(99), &payload);
        let comment = "a compression of the future";
        rows.push(self.refused("ForeignCompression", comment, FOREIGN, &bytes));
        if self.layout.compression != LZ4 {
            let bytes = self.entry(&compressed(LZ4), &lz4::compress(&payload));
            let comment = "LZ4 in a format that does not compress so";
            rows.push(self.refused("ForeignCompression", comment, FOREIGN, &bytes));
        }
        rows
    }

    fn compressed(&self) -> Vec<Row> {
        const COMPRESSED: &[&str] = &["Compressed"];
        const MALFORMED: &str = "envelope_malformed";

        let text = |length: usize| -> Vec<u8> {
            b"the quick brown fox jumps over the lazy dog; "
                .iter()
                .copied()
                .cycle()
                .take(length)
                .collect()
        };
        let of = |size: usize| Header {
            compression: LZ4,
            uncompressed_size: size as u64,
            ..self.header(&[])
        };
        let mut rows = Vec::new();
        // What a writer compresses only beyond the reader's limit, it compresses never.
        let largest = MAX_VALUE_BYTES as usize;
        let least = self.layout.compress_from.unwrap_or(0).min(MAX_VALUE_BYTES) as usize;
        for (comment, value) in [
            ("text that repeats", text((4 * least.max(64)).min(largest))),
            ("as small as a writer compresses", text(least.max(1))),
            ("smaller than a writer compresses", text(100)),
            ("zeros, as large as the reader allows", vec![0; largest]),
            ("noise, which a block makes longer", noise(200)),
        ] {
            let row = self.row(
                COMPRESSED,
                comment,
                &self.entry(&of(value.len()), &lz4::compress(&value)),
            );
            assert!(matches!(row.expect, Expect::Valid(_)), "{comment}");
            rows.push(row);
        }
        let value = text(2_048);
        let block = lz4::compress(&value);
        let run = lz4::compress(&[b'a'; 30]);
        for (flag, comment, size, block) in [
            (
                "LyingLength",
                "a block of one byte more than said",
                value.len() - 1,
                &block[..],
            ),
            (
                "LyingLength",
                "a block of one byte less than said",
                value.len() + 1,
                &block,
            ),
            ("LyingLength", "a block that says it is empty", 0, &block),
            (
                "LyingLength",
                "more than LZ4 can make of its bytes",
                255 * run.len() + 65,
                &run,
            ),
            (
                "Oversized",
                "more than the reader allows",
                MAX_VALUE_BYTES as usize + 1,
                &block,
            ),
            ("MalformedBlock", "no block", value.len(), &[]),
            (
                "MalformedBlock",
                "a block without its end",
                value.len(),
                &block[..block.len() - 6],
            ),
            (
                "MalformedBlock",
                "a copy from before the start",
                40,
                &[0x1f, b'a', 2, 0, 5, 0x50, 1, 2, 3, 4, 5],
            ),
            (
                "MalformedBlock",
                "a copy without an offset",
                40,
                &[0x1f, b'a', 1],
            ),
            (
                "MalformedBlock",
                "literals behind the end",
                40,
                &[0xf0, 200, 1, 2, 3],
            ),
            (
                "MalformedBlock",
                "a length without end",
                40,
                &[0xf0, 255, 255, 255],
            ),
        ] {
            let bytes = self.entry(&of(size), block);
            rows.push(self.refused(flag, comment, MALFORMED, &bytes));
        }
        rows
    }
}
