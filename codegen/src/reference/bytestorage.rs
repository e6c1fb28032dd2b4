//! Rows of `bytestorage`: what writers make, and envelopes whose fields are well-formed and do not belong together.

use super::lz4;
use super::maker::{noise, short_payload};
use super::published::{Fields, MAX_RATIO, Place, checksum};
use super::published_rows::{
    HERE, MAX_VALUE_BYTES, MSGPACK, Maker, OTHER_KEY, OTHERS, entry_of_ours, repetitive,
};
use super::wycheproof::Row;

const MALFORMED: &str = "envelope_malformed";
const CHECKSUM: &str = "envelope_checksum";
const FOREIGN: &str = "envelope_foreign";

/// What the rows change one thing of.
pub(super) fn short() -> Fields {
    Fields::of(MSGPACK, &short_payload())
}

impl Maker {
    pub(super) fn bytestorage(&self) -> Vec<Row> {
        let mut rows = self.compressed_writes();
        rows.extend(self.damaged(&short().write()));
        rows.extend(self.unusual_forms());
        rows.extend(self.malformed_fields());
        rows.extend(self.wrong_checksums());
        rows.extend(self.lying_sizes());
        rows.extend(self.malformed_blocks());
        rows.extend(self.order_of_checks());
        rows.extend(self.foreign_envelopes());
        rows
    }

    /// The rows of a reader whose serializer is not MessagePack.
    pub(super) fn of_another_serializer(&self) -> Vec<Row> {
        let payload = short_payload();
        let ours = Fields::of(self.reader.serializer, &payload).write();
        let theirs = short().write();
        vec![
            self.opens("Canonical", "a short value", &payload, &ours),
            self.refused("ForeignSerializer", "of msgpack", FOREIGN, &theirs),
        ]
    }

    fn compressed_writes(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (comment, payload) in [
            ("an empty payload", vec![]),
            ("one byte", vec![0xc0]),
            ("a short value", short_payload()),
            ("as many literals as a token counts", noise(14)),
            ("one literal more than a token counts", noise(15)),
            ("noise of a length that takes a byte", noise(255)),
            ("noise of a length that takes two", noise(256)),
            ("noise of two kilobytes", noise(2_000)),
        ] {
            let fields = Fields::of(MSGPACK, &payload);
            // Without a match there is one block only, whoever compresses.
            let literal = fields.block.ends_with(&payload);
            assert!(literal, "{comment}: a compressor has a choice");
            rows.push(self.opens("Canonical", comment, &payload, &fields.write()));
        }
        for (comment, payload) in [
            ("text that repeats", repetitive(300)),
            (
                "a run between noises",
                [noise(40), vec![7; 900], noise(50)].concat(),
            ),
            ("text of three kilobytes", repetitive(3_000)),
            (
                "zeros, as many as the reader allows",
                vec![0; MAX_VALUE_BYTES as usize],
            ),
        ] {
            let bytes = Fields::of(MSGPACK, &payload).write();
            rows.push(self.opens("Written", comment, &payload, &bytes));
        }
        let (payload, whole) = (short_payload(), short().write());
        let moved = Place {
            key: OTHER_KEY,
            ..HERE
        };
        let comment = "read under another key";
        rows.push(self.opens_at("MovedKey", comment, moved, &payload, &whole));
        let theirs = Place {
            tenant: "a",
            ..HERE
        };
        let comment = "read by another tenant";
        rows.push(self.opens_at("OtherTenant", comment, theirs, &payload, &whole));
        rows
    }

    fn wrong_checksums(&self) -> Vec<Row> {
        let fields = short();
        let mut backwards = fields.checksum;
        backwards.reverse();
        let mut one = fields.checksum;
        one[3] ^= 1;
        let mut rows = Vec::new();
        for (comment, checksum) in [
            ("one element is another", one),
            ("zeros", [0; 8]),
            ("lowest byte first", backwards),
            ("of the block", checksum(&fields.block)),
            ("of nothing", checksum(&[])),
        ] {
            let bytes = Fields {
                checksum,
                ..fields.clone()
            };
            rows.push(self.refused("WrongChecksum", comment, CHECKSUM, &bytes.write()));
        }
        rows
    }

    fn lying_sizes(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let repeated = Fields::of(MSGPACK, &repetitive(300));
        for (what, fields) in [("a short value", short()), ("300 bytes", repeated)] {
            for size in [0, 1, fields.size - 1, fields.size + 1, MAX_VALUE_BYTES] {
                let comment = format!("{what} that says it has {size} bytes");
                let bytes = Fields {
                    size,
                    ..fields.clone()
                };
                rows.push(self.refused("LyingLength", comment, MALFORMED, &bytes.write()));
            }
        }
        let ratio = Fields {
            size: 4_001,
            ..Fields::of(MSGPACK, b"abc")
        };
        assert_eq!(MAX_RATIO * ratio.block.len() as u128 + 1, 4_001);
        let comment = "one byte more than a thousand times the block";
        rows.push(self.refused("LyingLength", comment, MALFORMED, &ratio.write()));
        for size in [
            MAX_VALUE_BYTES + 1,
            (512 << 20) + 1,
            1 << 32,
            1 << 63,
            u64::MAX,
        ] {
            let comment = format!("a size of {size}");
            let bytes = Fields { size, ..short() };
            rows.push(self.refused("Oversized", comment, MALFORMED, &bytes.write()));
        }
        let large = Fields::of(MSGPACK, &vec![0; MAX_VALUE_BYTES as usize + 1]);
        let comment = "a value that is too large indeed";
        rows.push(self.refused("Oversized", comment, MALFORMED, &large.write()));
        rows
    }

    fn malformed_blocks(&self) -> Vec<Row> {
        let run = lz4::compress(&[b'a'; 30]);
        let mut rows = Vec::new();
        for (comment, payload, block) in [
            ("an empty block of nothing", &b""[..], &[][..]),
            ("an empty block of a byte", b"a", &[]),
            (
                "a block without its end",
                &[b'a'; 30],
                &run[..run.len() - 6],
            ),
            ("two blocks", b"abab", &[0x20, b'a', b'b', 0x20, b'a', b'b']),
            (
                "a copy from before the start",
                &[b'a'; 30],
                &[0x1f, b'a', 2, 0, 5, 0x50, 1, 2, 3, 4, 5],
            ),
            (
                "a copy from no distance",
                &[b'a'; 30],
                &[0x1f, b'a', 0, 0, 5, 0x50, 1, 2, 3, 4, 5],
            ),
            ("a copy without an offset", &[b'a'; 30], &[0x1f, b'a', 1]),
            (
                "literals behind the end",
                &[b'a'; 30],
                &[0xf0, 200, 1, 2, 3],
            ),
            ("a length without end", &[b'a'; 30], &[0xf0, 255, 255, 255]),
        ] {
            let fields = Fields {
                block: block.to_vec(),
                ..Fields::of(MSGPACK, payload)
            };
            rows.push(self.refused("MalformedBlock", comment, MALFORMED, &fields.write()));
        }
        rows
    }

    fn order_of_checks(&self) -> Vec<Row> {
        let short = short();
        let wrong = Fields {
            checksum: [0; 8],
            ..short.clone()
        };
        let json = "json".to_owned();
        let block = short.block.len() as u64;
        let tiny = Fields {
            checksum: [0; 8],
            ..Fields::of(MSGPACK, b"abc")
        };
        let of_size = |size, fields: &Fields| Fields {
            size,
            ..fields.clone()
        };
        let of_json = |fields: &Fields| Fields {
            serializer: json.clone(),
            ..fields.clone()
        };
        let mut rows = Vec::new();
        for (comment, code, fields) in [
            (
                "a size that is too small, a wrong checksum",
                MALFORMED,
                of_size(short.size - 1, &wrong),
            ),
            (
                "a size that is too large, a wrong checksum",
                CHECKSUM,
                of_size(short.size + 1, &wrong),
            ),
            (
                "a size that is larger than LZ4 can make of the block, a wrong checksum",
                CHECKSUM,
                of_size(255 * block + 65, &wrong),
            ),
            (
                "a thousand times the block, a wrong checksum",
                CHECKSUM,
                of_size(4_000, &tiny),
            ),
            (
                "more than a thousand times the block, a wrong checksum",
                MALFORMED,
                of_size(4_001, &tiny),
            ),
            (
                "as much as the reader allows, a wrong checksum",
                CHECKSUM,
                of_size(MAX_VALUE_BYTES, &wrong),
            ),
            (
                "more than the reader allows, a wrong checksum",
                MALFORMED,
                of_size(MAX_VALUE_BYTES + 1, &wrong),
            ),
            (
                "a wrong checksum, another serializer",
                CHECKSUM,
                of_json(&wrong),
            ),
            (
                "a size that is too large, another serializer",
                MALFORMED,
                of_json(&of_size(short.size + 1, &short)),
            ),
            (
                "a size that is too small, another serializer",
                MALFORMED,
                of_json(&of_size(short.size - 1, &short)),
            ),
        ] {
            rows.push(self.refused("OrderOfChecks", comment, code, &fields.write()));
        }
        let behind = [&of_json(&wrong).write()[..], &[0xc0]].concat();
        let comment = "a byte behind it, a wrong checksum, another serializer";
        rows.push(self.refused("OrderOfChecks", comment, MALFORMED, &behind));
        rows
    }

    fn foreign_envelopes(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let unknown = ["avro", "", "MSGPACK", "msgpack ", "messagepack"];
        for name in OTHERS.into_iter().chain(unknown) {
            let comment = format!("of the serializer \"{name}\"");
            let bytes = Fields::of(name, &short_payload()).write();
            rows.push(self.refused("ForeignSerializer", comment, FOREIGN, &bytes));
        }
        for (comment, bytes) in [
            ("a document alone", short_payload()),
            ("an entry of plain", entry_of_ours()),
        ] {
            rows.push(self.refused("ForeignFormat", comment, MALFORMED, &bytes));
        }
        rows
    }
}
