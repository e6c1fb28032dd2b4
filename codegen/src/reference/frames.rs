//! Entries whose payload is a Zstandard frame.

use super::envelope::ZSTD;
use super::header::Header;
use super::maker::{MAX_VALUE_BYTES, Maker, noise};
use super::wycheproof::{Expect, Row};
use super::zstd;

impl Maker<'_> {
    pub(super) fn frames(&self) -> Vec<Row> {
        const MALFORMED: &str = "envelope_malformed";

        let of = |size: usize| Header {
            compression: ZSTD,
            uncompressed_size: size as u64,
            ..self.header(&[])
        };
        let mut rows = Vec::new();
        let largest = MAX_VALUE_BYTES as usize;
        for (comment, value) in [
            ("one byte, again and again", vec![b'a'; 600]),
            ("zeros, as large as the reader allows", vec![0; largest]),
            ("noise, which a frame makes longer", noise(200)),
            (
                "a run between noises",
                [noise(40), vec![7; 900], noise(50)].concat(),
            ),
        ] {
            let bytes = self.entry(&of(value.len()), &zstd::compress(&value));
            let row = self.row(&["Compressed"], comment, &bytes);
            assert!(matches!(row.expect, Expect::Valid(_)), "{comment}");
            rows.push(row);
        }
        let value = [noise(100), vec![3; 800]].concat();
        let frame = zstd::compress(&value);
        let two = [&frame[..], &frame].concat();
        let behind = [&frame[..], &[0]].concat();
        let mut unsized_frame = frame.clone();
        // Another descriptor: no content size, and a window in its place.
        unsized_frame.splice(4..9, [0, 0x58]);
        let mut lying = frame.clone();
        lying[5] ^= 1;
        for (flag, comment, size, frame) in [
            (
                "LyingLength",
                "a frame of one byte more than said",
                value.len() - 1,
                &frame[..],
            ),
            (
                "LyingLength",
                "a frame of one byte less than said",
                value.len() + 1,
                &frame,
            ),
            (
                "LyingLength",
                "a frame that lies about its content",
                value.len(),
                &lying,
            ),
            (
                "LyingLength",
                "a frame that does not say its size",
                value.len(),
                &unsized_frame,
            ),
            (
                "Oversized",
                "more than the reader allows",
                largest + 1,
                &frame,
            ),
            ("MalformedBlock", "no frame", value.len(), &[]),
            (
                "MalformedBlock",
                "a frame without its end",
                value.len(),
                &frame[..frame.len() - 1],
            ),
            ("MalformedBlock", "two frames", value.len(), &two),
            (
                "MalformedBlock",
                "a byte behind the frame",
                value.len(),
                &behind,
            ),
            ("MalformedBlock", "another magic", value.len(), &frame[1..]),
        ] {
            let bytes = self.entry(&of(size), frame);
            rows.push(self.refused(flag, comment, MALFORMED, &bytes));
        }
        rows
    }
}
