//! Rows of `bytestorage` whose fields have another form than a writer's: longer than they must be, or of another kind.

use super::bytestorage::short;
use super::maker::short_payload;
use super::published::{Fields, bin, text, uint};
use super::published_rows::{MSGPACK, Maker};
use super::wycheproof::Row;

const MALFORMED: &str = "envelope_malformed";

/// Which of [`Fields::parts`] a row replaces.
const HEAD: usize = 0;
const BLOCK: usize = 1;
const SUM: usize = 2;
const SIZE: usize = 3;
const SERIALIZER: usize = 4;

/// The short entry with one of its parts replaced.
fn with(part: usize, bytes: impl Into<Vec<u8>>) -> Vec<u8> {
    let mut parts = short().parts();
    parts[part] = bytes.into();
    parts.concat()
}

/// An array of as many integers, each in the form that `form` gives it.
fn integers(bytes: &[u8], form: impl Fn(u8) -> Vec<u8>) -> Vec<u8> {
    assert!(bytes.len() < 16, "its head would be longer");
    let mut out = vec![0x90 | bytes.len() as u8];
    out.extend(bytes.iter().flat_map(|byte| form(*byte)));
    out
}

fn shortest(byte: u8) -> Vec<u8> {
    uint(u64::from(byte))
}

/// `rest` behind a head that may lie about it.
fn headed(head: &[u8], rest: &[u8]) -> Vec<u8> {
    [head, rest].concat()
}

const LYING: &str = "LyingLength";
const FIELD: &str = "MalformedField";

impl Maker {
    pub(super) fn unusual_forms(&self) -> Vec<Row> {
        [
            self.integer_arrays(),
            self.long_heads(),
            self.long_numbers(),
        ]
        .concat()
    }

    pub(super) fn malformed_fields(&self) -> Vec<Row> {
        [
            self.malformed_arrays(),
            self.malformed_blocks_of_bytes(),
            self.malformed_blocks_of_integers(),
            self.malformed_checksums(),
            self.malformed_sizes(),
            self.malformed_serializers(),
        ]
        .concat()
    }

    /// The short entry with one part in other forms, which all mean the same.
    fn taken(&self, flag: &'static str, part: usize, forms: &[(&str, Vec<u8>)]) -> Vec<Row> {
        let row = |(comment, form): &(&str, Vec<u8>)| {
            self.opens(flag, *comment, &short_payload(), &with(part, &form[..]))
        };
        forms.iter().map(row).collect()
    }

    /// The short entry with one part replaced by what no reader takes.
    fn not_taken(&self, flag: &'static str, part: usize, forms: &[(&str, Vec<u8>)]) -> Vec<Row> {
        let row = |(comment, form): &(&str, Vec<u8>)| {
            self.refused(flag, *comment, MALFORMED, &with(part, &form[..]))
        };
        forms.iter().map(row).collect()
    }

    fn integer_arrays(&self) -> Vec<Row> {
        let block = short().block;
        let length = block.len() as u8;
        let listed = integers(&block, shortest);
        let wide = integers(&block, |byte| vec![0xcd, 0, byte]);
        let cases = [
            ("a block of integers", listed.clone()),
            ("of integers that are wider than they must be", wide),
            (
                "with two bytes of length",
                headed(&[0xdc, 0, length], &listed[1..]),
            ),
            (
                "with four bytes of length",
                headed(&[0xdd, 0, 0, 0, length], &listed[1..]),
            ),
        ];
        self.taken("IntegerArray", BLOCK, &cases)
    }

    fn long_heads(&self) -> Vec<Row> {
        let Fields {
            block, checksum, ..
        } = short();
        let length = block.len() as u8;
        let elements = &integers(&checksum, shortest)[1..];
        let name = MSGPACK.as_bytes();
        let mut rows = Vec::new();
        for (part, cases) in [
            (
                HEAD,
                vec![
                    ("two bytes of length before the array", vec![0xdc, 0, 4]),
                    (
                        "four bytes of length before the array",
                        vec![0xdd, 0, 0, 0, 4],
                    ),
                ],
            ),
            (
                BLOCK,
                vec![
                    (
                        "two bytes of length before the block",
                        headed(&[0xc5, 0, length], &block),
                    ),
                    (
                        "four bytes of length before the block",
                        headed(&[0xc6, 0, 0, 0, length], &block),
                    ),
                ],
            ),
            (
                SUM,
                vec![
                    (
                        "two bytes of length before the checksum",
                        headed(&[0xdc, 0, 8], elements),
                    ),
                    (
                        "four bytes of length before the checksum",
                        headed(&[0xdd, 0, 0, 0, 8], elements),
                    ),
                ],
            ),
            (
                SERIALIZER,
                vec![
                    (
                        "one byte of length before the serializer",
                        headed(&[0xd9, 7], name),
                    ),
                    (
                        "two bytes of length before the serializer",
                        headed(&[0xda, 0, 7], name),
                    ),
                    (
                        "four bytes of length before the serializer",
                        headed(&[0xdb, 0, 0, 0, 7], name),
                    ),
                ],
            ),
        ] {
            rows.extend(self.taken("UnusualForm", part, &cases));
        }
        rows
    }

    fn long_numbers(&self) -> Vec<Row> {
        let Fields { checksum, size, .. } = short();
        let size = size as u8;
        let elements = |form: fn(u8) -> Vec<u8>| integers(&checksum, form);
        let checksums = [
            ("a checksum of uint8", elements(|byte| vec![0xcc, byte])),
            (
                "a checksum of uint64",
                elements(|byte| vec![0xcf, 0, 0, 0, 0, 0, 0, 0, byte]),
            ),
            ("a checksum of int16", elements(|byte| vec![0xd1, 0, byte])),
        ];
        let sizes = [
            ("a size of uint8", vec![0xcc, size]),
            ("a size of uint16", vec![0xcd, 0, size]),
            ("a size of uint32", vec![0xce, 0, 0, 0, size]),
            ("a size of uint64", vec![0xcf, 0, 0, 0, 0, 0, 0, 0, size]),
            ("a size of int8", vec![0xd0, size]),
            ("a size of int64", vec![0xd3, 0, 0, 0, 0, 0, 0, 0, size]),
        ];
        let mut rows = self.taken("UnusualForm", SUM, &checksums);
        rows.extend(self.taken("UnusualForm", SIZE, &sizes));
        rows
    }

    fn malformed_arrays(&self) -> Vec<Row> {
        let heads = [
            ("an array that says it has three", vec![0x93]),
            ("an array that says it has five", vec![0x95]),
            ("a map", vec![0x82]),
            ("no array", vec![]),
        ];
        let mut rows = self.not_taken(FIELD, HEAD, &heads);
        let [_, fields @ ..] = short().parts();
        for (comment, bytes) in [
            ("an array of three", headed(&[0x93], &fields[..3].concat())),
            (
                "an array of five",
                [&[0x95], &fields.concat()[..], &[0xc0]].concat(),
            ),
            ("an array of none", vec![0x90]),
        ] {
            rows.push(self.refused(FIELD, comment, MALFORMED, &bytes));
        }
        rows
    }

    fn malformed_blocks_of_bytes(&self) -> Vec<Row> {
        let block = short().block;
        let length = block.len() as u8;
        let kinds = [
            ("no block", vec![]),
            ("a block that is nothing", vec![0xc0]),
            ("a block that is text", headed(&[0xa0 | length], &block)),
            (
                "a block that is an extension",
                headed(&[0xc7, length, 1], &block),
            ),
        ];
        let lengths = [
            (
                "a block of more bytes than there are",
                headed(&[0xc4, 200], &block),
            ),
            (
                "a block of four gigabytes",
                headed(&[0xc6, 255, 255, 255, 255], &block),
            ),
            (
                "a block of one byte more than it has",
                headed(&[0xc4, length + 1], &block),
            ),
            (
                "a block of one byte less than it has",
                headed(&[0xc4, length - 1], &block),
            ),
        ];
        let mut rows = self.not_taken(FIELD, BLOCK, &kinds);
        rows.extend(self.not_taken(LYING, BLOCK, &lengths));
        rows
    }

    fn malformed_blocks_of_integers(&self) -> Vec<Row> {
        let block = short().block;
        let endless = headed(&[0xdd, 255, 255, 255, 255], &block);
        let (last, but_last) = block.split_last().expect("a block has a token");
        let but_last = &integers(but_last, shortest)[1..];
        let head = 0x90 | block.len() as u8;
        let listed = |last: &[u8]| [&[head], but_last, last].concat();
        assert_eq!(listed(&shortest(*last)), integers(&block, shortest));
        let elements = [
            ("a block with an integer of 256", listed(&[0xcd, 1, 0])),
            ("a block with an integer below zero", listed(&[0xff])),
            (
                "a block with a float",
                listed(&[0xcb, 0x40, 0, 0, 0, 0, 0, 0, 0]),
            ),
            ("a block with nothing among integers", listed(&[0xc0])),
        ];
        let mut rows = self.not_taken(FIELD, BLOCK, &elements);
        let lengths = [("a block of four billion integers", endless)];
        rows.extend(self.not_taken(LYING, BLOCK, &lengths));
        rows
    }

    fn malformed_checksums(&self) -> Vec<Row> {
        let checksum = short().checksum;
        let seven = integers(&checksum[..7], shortest);
        let nine = integers(&[&checksum[..], &[0]].concat(), shortest);
        let endless = headed(&[0xdd, 255, 255, 255, 255], &checksum);
        let summed = |last: &[u8]| [&[0x98], &seven[1..], last].concat();
        let kinds = [
            ("no checksum", vec![]),
            ("a checksum of seven", seven.clone()),
            ("a checksum of nine", nine),
            ("a checksum that is bytes", bin(&checksum)),
            (
                "a checksum that is a number",
                uint(u64::from_be_bytes(checksum)),
            ),
            ("a checksum with 256", summed(&[0xcd, 1, 0])),
            ("a checksum with a number below zero", summed(&[0xd0, 0x80])),
            ("a checksum with nothing", summed(&[0xc0])),
        ];
        let mut rows = self.not_taken(FIELD, SUM, &kinds);
        let lengths = [("a checksum of four billion", endless)];
        rows.extend(self.not_taken(LYING, SUM, &lengths));
        rows
    }

    fn malformed_sizes(&self) -> Vec<Row> {
        let kinds = [
            ("no size", vec![]),
            ("a size below zero", vec![0xff]),
            ("a size that is nothing", vec![0xc0]),
            (
                "a size that is a float",
                vec![0xcb, 0x40, 0x18, 0, 0, 0, 0, 0, 0],
            ),
            ("a size that is text", text("6")),
        ];
        self.not_taken(FIELD, SIZE, &kinds)
    }

    fn malformed_serializers(&self) -> Vec<Row> {
        let name = MSGPACK.as_bytes();
        let kinds = [
            ("no serializer", vec![]),
            ("a serializer that is nothing", vec![0xc0]),
            ("a serializer that is a number", vec![2]),
            ("a serializer that is bytes", bin(name)),
            ("a serializer that is not UTF-8", vec![0xa2, 0xc3, 0x28]),
        ];
        let mut rows = self.not_taken(FIELD, SERIALIZER, &kinds);
        let endless = headed(&[0xdb, 255, 255, 255, 255], name);
        let lengths = [("a serializer that is longer than the rest", endless)];
        rows.extend(self.not_taken(LYING, SERIALIZER, &lengths));
        rows
    }
}
