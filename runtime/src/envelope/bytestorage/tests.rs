use serde_json::Value;

use super::*;

/// The protocol's own vectors.
const PUBLISHED: &str = include_str!("../../../../tests/published/wire-format.json");

fn hex(digits: &Value) -> Vec<u8> {
    let digits = digits.as_str().unwrap();
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap();
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn read(stored: &[u8]) -> Result<Vec<u8>> {
    open(Serializer::Messagepack, MAX_BYTES, stored)
}

/// An envelope of these fields, whatever they say.
fn envelope(packed: &[u8], checksum: [u8; 8], size: u64) -> Vec<u8> {
    let mut out = Writer::new(usize::MAX);
    out.array(4).unwrap();
    out.bin(packed).unwrap();
    out.array(8).unwrap();
    for byte in checksum {
        out.uint(u64::from(byte)).unwrap();
    }
    out.uint(size).unwrap();
    out.str("msgpack").unwrap();
    out.into_vec()
}

fn refusal(stored: &[u8]) -> (ErrorCode, String) {
    let error = read(stored).unwrap_err();
    (error.code(), error.to_string())
}

fn sum(payload: &[u8]) -> [u8; 8] {
    xxh3_64(payload).to_be_bytes()
}

#[test]
fn what_the_protocol_published_is_read_and_its_canonical_form_written() {
    let published: Value = serde_json::from_str(PUBLISHED).unwrap();
    let mut canonical = 0;
    for row in published["vectors"].as_array().unwrap() {
        let (stored, input) = (hex(&row["envelope_hex"]), hex(&row["input_hex"]));
        assert_eq!(read(&stored).unwrap(), input, "{}", row["name"]);
        if row["envelope_encoding"] == "bin" {
            canonical += 1;
            let written = wrap(Serializer::Messagepack, &input).unwrap();
            assert_eq!(written, stored, "{}", row["name"]);
        }
    }
    assert!(canonical > 0, "no canonical row");
}

#[test]
fn what_is_cut_or_followed_by_anything_is_refused() {
    let stored = wrap(Serializer::Messagepack, b"hello, cachekit!").unwrap();
    for end in 0..stored.len() {
        assert_eq!(refusal(&stored[..end]).0, ErrorCode::EnvelopeMalformed);
    }
    let longer = [&stored[..], &[0]].concat();
    assert_eq!(refusal(&longer).0, ErrorCode::EnvelopeMalformed);
}

#[test]
fn every_flipped_bit_is_noticed_or_changes_nothing() {
    let input = b"hello, cachekit!".repeat(3);
    let stored = wrap(Serializer::Messagepack, &input).unwrap();
    for bit in 0..stored.len() * 8 {
        let mut stored = stored.clone();
        stored[bit / 8] ^= 1 << (bit % 8);
        if let Ok(payload) = read(&stored) {
            assert_eq!(payload, input, "bit {bit}");
        }
    }
}

#[test]
fn refusals_come_in_the_order_of_the_protocol() {
    let input = [7; 40];
    let packed = compress(&input);
    let wrong = [0; 8];
    let over = vec![0; MAX_BYTES as usize + 1];
    assert!(refusal(&over).1.contains("536870913"), "it is not parsed");
    let both = envelope(&packed, wrong, MAX_BYTES + 1);
    assert!(refusal(&both).1.contains("536870913"));
    for (packed, size) in [(&b""[..], 1), (&[0xff], 1001), (&[0xff; 3], 3001)] {
        let text = refusal(&envelope(packed, wrong, size)).1;
        assert!(text.contains("cannot become"), "{text}");
    }
    for (packed, size) in [(&b""[..], 0), (&[0xff], 1000), (&[0xff; 3], 3000)] {
        let text = refusal(&envelope(packed, wrong, size)).1;
        assert!(text.contains("does not decompress"), "{text}");
    }
    // Too little room is no decompression; too much is a length, but its checksum comes first.
    let text = refusal(&envelope(&packed, wrong, 39)).1;
    assert!(text.contains("does not decompress"), "{text}");
    let code = refusal(&envelope(&packed, wrong, 41)).0;
    assert_eq!(code, ErrorCode::EnvelopeChecksum);
    let text = refusal(&envelope(&packed, sum(&input), 41)).1;
    assert!(text.contains("declares 41 bytes and has 40"), "{text}");
    let size = packed.len() as u64 * 1000;
    let text = refusal(&envelope(&packed, sum(&input), size)).1;
    assert!(text.contains("and has 40"), "{text}");
}

#[test]
fn fields_of_other_kinds_are_refused() {
    let whole = wrap(Serializer::Messagepack, b"x").unwrap();
    assert_eq!(&whole[..5], [0x94, 0xc4, 2, 0x10, b'x']);
    let rest = &whole[5..];
    let packed: [&[u8]; 6] = [
        &[0xa2, 0x10, b'x'],
        &[0x92, 0x10, 0xcd, 1, 0],
        &[0x92, 0x10, 0xff],
        &[0x92, 0x10, 0xc0],
        &[0xdd, 0xff, 0xff, 0xff, 0xff],
        &[0xc6, 0xff, 0xff, 0xff, 0xff],
    ];
    for packed in packed {
        let stored = [&[0x94], packed, rest].concat();
        let code = refusal(&stored).0;
        assert_eq!(code, ErrorCode::EnvelopeMalformed, "{packed:02x?}");
    }
    let five = [&[0x95], &whole[1..], &[0xc0]].concat();
    assert_eq!(refusal(&five).0, ErrorCode::EnvelopeMalformed);
    let integers = [&[0x94, 0x92, 0x10, 0xcc, b'x'], rest].concat();
    assert_eq!(read(&integers).unwrap(), b"x");
}

#[test]
fn another_serializers_entry_is_foreign() {
    let stored = wrap(Serializer::Json, b"{}").unwrap();
    assert_eq!(refusal(&stored).0, ErrorCode::EnvelopeForeign);
}

#[test]
fn more_than_the_reader_allows_is_refused_before_it_is_decompressed() {
    let stored = wrap(Serializer::Messagepack, &[7; 4096]).unwrap();
    assert!(open(Serializer::Messagepack, 4096, &stored).is_ok());
    let error = open(Serializer::Messagepack, 4095, &stored).unwrap_err();
    assert_eq!(error.code(), ErrorCode::EnvelopeMalformed);
}
