use super::*;
use crate::error::{ErrorCode, Result};
use crate::random::Random;

fn written(write: impl FnOnce(&mut Writer) -> Result<()>) -> Vec<u8> {
    let mut writer = Writer::new(usize::MAX);
    write(&mut writer).unwrap();
    writer.into_vec()
}

fn read(bytes: &[u8]) -> Token<'_> {
    let mut reader = Reader::new(bytes);
    let token = reader.token().unwrap();
    reader.finish().unwrap();
    token
}

fn refused(bytes: &[u8]) -> String {
    let mut reader = Reader::new(bytes);
    let error = loop {
        match reader.token() {
            Ok(_) => assert!(!reader.remaining().is_empty(), "{bytes:x?} is accepted"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.code(), ErrorCode::ValueCorrupt);
    error.to_string()
}

#[test]
fn integers_take_their_shortest_form() {
    let cases: &[(i64, &[u8])] = &[
        (0, &[0x00]),
        (127, &[0x7f]),
        (128, &[0xcc, 0x80]),
        (255, &[0xcc, 0xff]),
        (256, &[0xcd, 1, 0]),
        (65_535, &[0xcd, 0xff, 0xff]),
        (65_536, &[0xce, 0, 1, 0, 0]),
        (4_294_967_295, &[0xce, 0xff, 0xff, 0xff, 0xff]),
        (4_294_967_296, &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
        (
            i64::MAX,
            &[0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        (-1, &[0xff]),
        (-32, &[0xe0]),
        (-33, &[0xd0, 0xdf]),
        (-128, &[0xd0, 0x80]),
        (-129, &[0xd1, 0xff, 0x7f]),
        (-32_768, &[0xd1, 0x80, 0]),
        (-32_769, &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
        (-2_147_483_648, &[0xd2, 0x80, 0, 0, 0]),
        (
            -2_147_483_649,
            &[0xd3, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff],
        ),
        (i64::MIN, &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (value, bytes) in cases {
        assert_eq!(written(|w| w.int(*value)), *bytes, "{value}");
        assert_eq!(read(bytes), Token::Int(*value));
        if let Ok(unsigned) = u64::try_from(*value) {
            assert_eq!(written(|w| w.uint(unsigned)), *bytes, "{value}");
        }
    }
    let over = i64::MAX as u64 + 1;
    assert_eq!(read(&written(|w| w.uint(over))), Token::Uint(over));
    assert_eq!(read(&written(|w| w.uint(u64::MAX))), Token::Uint(u64::MAX));
}

#[test]
fn big_integers_are_cut_to_their_shortest_form() {
    let content = |bytes: &[u8]| {
        let out = written(|w| w.big_int(bytes));
        let mut reader = Reader::new(&out);
        assert_eq!(reader.token().unwrap(), Token::Ext(types::BIG_INT));
        let content = reader.bin().unwrap().to_vec();
        reader.finish().unwrap();
        content
    };
    // 2^64 has a zero bit for its sign; -2^63 - 1 starts with a byte of ones and a zero bit.
    assert_eq!(
        content(&[0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        [1, 0, 0, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(
        content(&[0, 0, 0x80, 0, 0, 0, 0, 0, 0]),
        [0, 0x80, 0, 0, 0, 0, 0, 0]
    );
    assert_eq!(content(&[0xff, 0xff, 0x7f, 1]), [0xff, 0x7f, 1]);
    assert_eq!(content(&[0xff, 0xff, 0x80, 1]), [0x80, 1]);
}

#[test]
fn lengths_take_their_shortest_form() {
    let text = |n: usize| written(|w| w.str(&"x".repeat(n)));
    assert_eq!(text(31)[..1], [0xbf]);
    assert_eq!(text(32)[..2], [0xd9, 32]);
    assert_eq!(text(256)[..3], [0xda, 1, 0]);
    assert_eq!(text(65_536)[..5], [0xdb, 0, 1, 0, 0]);
    let bytes = |n: usize| written(|w| w.bin(&vec![1; n]));
    assert_eq!(bytes(0), [0xc4, 0]);
    assert_eq!(bytes(256)[..3], [0xc5, 1, 0]);
    assert_eq!(bytes(65_536)[..5], [0xc6, 0, 1, 0, 0]);
    for (items, array, map) in [
        (15, &[0x9f][..], &[0x8f][..]),
        (16, &[0xdc, 0, 16], &[0xde, 0, 16]),
        (65_535, &[0xdc, 255, 255], &[0xde, 255, 255]),
        (65_536, &[0xdd, 0, 1, 0, 0], &[0xdf, 0, 1, 0, 0]),
    ] {
        assert_eq!(written(|w| w.array(items)), array);
        assert_eq!(written(|w| w.map(items)), map);
    }
    for n in [0, 31, 32, 255, 256, 65_535, 65_536] {
        assert_eq!(read(&text(n)), Token::Str("x".repeat(n).as_bytes()));
        assert_eq!(read(&bytes(n)), Token::Bin(&vec![1; n]));
    }
    for n in [0, 15, 16, 65_535, 65_536] {
        let array = [written(|w| w.array(n)), vec![0xc0; n]].concat();
        assert_eq!(Reader::new(&array).token().unwrap(), Token::Array(n));
        let map = [written(|w| w.map(n)), vec![0xc0; 2 * n]].concat();
        assert_eq!(Reader::new(&map).token().unwrap(), Token::Map(n));
    }
}

#[test]
fn scalars_survive() {
    assert_eq!(read(&written(Writer::nil)), Token::Nil);
    assert_eq!(read(&written(|w| w.bool(true))), Token::Bool(true));
    assert_eq!(read(&written(|w| w.bool(false))), Token::Bool(false));
    for bits in [
        0,
        1 << 63,
        1,
        0x7ff0_0000_0000_0000,
        0x7ff8_0000_0000_0001,
        0xfff8_dead_beef_0000,
    ] {
        let bytes = written(|w| w.float(f64::from_bits(bits)));
        assert!(matches!(read(&bytes), Token::Float(value) if value.to_bits() == bits));
    }
    assert_eq!(
        read(&[0xca, 0x3f, 0x80, 0, 0]),
        Token::Float(1.0),
        "a float of 32 bits is read"
    );
}

#[test]
fn forms_that_are_not_the_shortest_are_read() {
    assert_eq!(read(&[0xcc, 5]), Token::Int(5));
    assert_eq!(read(&[0xcf, 0, 0, 0, 0, 0, 0, 0, 5]), Token::Int(5));
    assert_eq!(
        read(&[0xd3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        Token::Int(-1)
    );
    assert_eq!(read(&[0xd9, 1, b'a']), Token::Str(b"a"));
    assert_eq!(read(&[0xdd, 0, 0, 0, 0]), Token::Array(0));
}

#[test]
fn what_is_cut_short_is_refused() {
    let whole = written(|w| {
        w.map(2)?;
        w.str("name of some length, more than thirty-two bytes")?;
        w.array(3)?;
        w.int(-70_000)?;
        w.float(0.5)?;
        w.uint(u64::MAX)?;
        w.bin(&[1; 300])?;
        w.ext(types::BIG_INT)?;
        w.bin(&[1; 9])
    });
    for end in 0..whole.len() {
        let mut reader = Reader::new(&whole[..end]);
        let mut items = 0_usize;
        let error = loop {
            match reader.token() {
                Ok(_) => items += 1,
                Err(error) => break error,
            }
        };
        assert_eq!(
            error.code(),
            ErrorCode::ValueCorrupt,
            "cut at {end} after {items}"
        );
    }
}

#[test]
fn lengths_that_the_bytes_cannot_keep_are_refused_at_once() {
    assert!(refused(&[0xdd, 0xff, 0xff, 0xff, 0xff]).contains("ends too early"));
    assert!(refused(&[0xdf, 0x80, 0, 0, 0, 1, 1]).contains("ends too early"));
    assert!(refused(&[0xc6, 0xff, 0xff, 0xff, 0xff, 1]).contains("ends too early"));
    assert!(
        refused(&[0x82, 1, 1, 1]).contains("ends too early"),
        "a map of two in three bytes"
    );
    assert!(refused(&[0x93, 1, 1]).contains("ends too early"));
}

#[test]
fn open_containers_cannot_promise_more_than_the_bytes_between_them() {
    // Each array promises all that is left, as the one around it did.
    let mut bytes = Vec::new();
    let total = 3000;
    while bytes.len() < total {
        let left = (total - bytes.len()).saturating_sub(3) as u16;
        bytes.push(0xdc);
        bytes.extend(left.to_be_bytes());
    }
    let mut reader = Reader::new(&bytes);
    assert!(matches!(reader.token(), Ok(Token::Array(_))));
    assert!(reader.token().is_err());
}

#[test]
fn types_of_our_own_leave_the_accounts_balanced() {
    let bytes = written(|w| {
        w.array(3)?;
        w.ext(types::UUID)?;
        w.raw(&[7; 16])?;
        w.ext(types::DATETIME)?;
        w.int(1)?;
        w.bool(false)?;
        w.nil()?;
        w.array(0)
    });
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.array().unwrap(), 3);
    assert_eq!(reader.token().unwrap(), Token::Ext(types::UUID));
    assert_eq!(reader.raw::<16>().unwrap(), &[7; 16]);
    assert_eq!(reader.peek().unwrap(), Token::Ext(types::DATETIME));
    assert_eq!(reader.token().unwrap(), Token::Ext(types::DATETIME));
    assert_eq!(reader.int().unwrap(), 1);
    assert!(!reader.bool().unwrap());
    assert_eq!(reader.token().unwrap(), Token::Nil);
    assert_eq!(reader.array().unwrap(), 0);
    reader.finish().unwrap();
}

#[test]
fn raw_content_counts_as_an_item() {
    let bytes = written(|w| {
        w.array(2)?;
        w.ext(types::UUID)?;
        w.raw(&[7; 16])?;
        w.array(0)
    });
    let mut reader = Reader::new(&bytes);
    assert_eq!(reader.array().unwrap(), 2);
    assert_eq!(reader.token().unwrap(), Token::Ext(types::UUID));
    reader.raw::<16>().unwrap();
    assert_eq!(
        reader.array().unwrap(),
        0,
        "the last byte is all that is promised"
    );
    reader.finish().unwrap();
}

#[test]
fn content_of_another_kind_is_refused_with_its_place() {
    let bytes = [0xc0; 6];
    let mut reader = Reader::new(&bytes);
    for error in [
        reader.int().map(drop).unwrap_err(),
        reader.bool().map(drop).unwrap_err(),
        reader.str().map(drop).unwrap_err(),
        reader.bin().map(drop).unwrap_err(),
        reader.array().map(drop).unwrap_err(),
    ] {
        assert_eq!(error.code(), ErrorCode::ValueCorrupt);
    }
    assert!(reader.raw::<2>().is_err());
    let error = reader.int().unwrap_err().to_string();
    assert!(error.contains("lacks an integer (byte 6 of 6)"), "{error}");
}

#[test]
fn bytes_behind_the_value_and_extensions_of_others_are_refused() {
    let mut reader = Reader::new(&[1, 2]);
    reader.token().unwrap();
    assert!(
        reader
            .finish()
            .unwrap_err()
            .to_string()
            .contains("bytes follow it")
    );
    for extension in [&[0xd4, 1, 0][..], &[0xc7, 1, 1, 0]] {
        assert!(refused(extension).contains("extension"));
    }
}

#[test]
fn the_limit_counts_every_byte() {
    let cases: &[fn(&mut Writer) -> Result<()>] = &[
        Writer::nil,
        |w| w.int(1),
        |w| w.int(-70_000),
        |w| w.uint(u64::MAX),
        |w| w.float(1.0),
        |w| w.str("abc"),
        |w| w.str(&"x".repeat(300)),
        |w| w.bin(&[1; 40]),
        |w| w.array(3),
        |w| w.map(70_000),
        |w| w.ext(types::SET),
        |w| w.raw(&[1, 2]),
        |w| w.big_int(&[1; 20]),
    ];
    for write in cases {
        let size = written(write).len();
        write(&mut Writer::new(size)).unwrap();
        let mut writer = Writer::new(size - 1);
        let error = write(&mut writer).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ValueTooLarge);
        assert!(writer.len() < size);
    }
    let error = Writer::new(10)
        .str(&"x".repeat(1000))
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("at least 1000 bytes, more than the 10 allowed"),
        "{error}"
    );
}

#[test]
fn a_container_too_deep_is_refused_both_ways() {
    let mut writer = Writer::new(usize::MAX);
    let mut reader = Reader::new(&[]);
    for _ in 0..MAX_DEPTH {
        writer.enter().unwrap();
        reader.enter().unwrap();
    }
    assert_eq!(
        writer.enter().unwrap_err().code(),
        ErrorCode::ValueUnsupported
    );
    assert_eq!(reader.enter().unwrap_err().code(), ErrorCode::ValueCorrupt);
    writer.leave();
    reader.leave();
    writer.enter().unwrap();
    reader.enter().unwrap();
    writer.clear();
    for _ in 0..MAX_DEPTH {
        writer.enter().unwrap();
    }
    writer.take();
    writer.enter().unwrap();
}

#[test]
fn a_cleared_writer_is_as_new() {
    let mut writer = Writer::with_capacity(10, 100);
    let group = writer.group();
    writer.int(5).unwrap();
    writer.part(&group);
    assert_eq!(writer.take(), [5]);
    assert!(writer.is_empty());
    writer.int(6).unwrap();
    writer.clear();
    assert!(writer.is_empty());
    let group = writer.group();
    for value in [2, 1] {
        writer.int(value).unwrap();
        writer.part(&group);
    }
    writer.sort(group);
    assert_eq!(writer.as_bytes(), [1, 2]);
}

/// A random set of integers, texts and further sets, and its encoding by a slower way.
fn random_set(random: &mut Random, writer: &mut Writer, depth: u32) -> Vec<u8> {
    let length = random.below(6);
    let mut parts = Vec::new();
    writer.ext(types::SET).unwrap();
    writer.array(length as usize).unwrap();
    let group = writer.group();
    for _ in 0..length {
        let part = match random.below(if depth == 0 { 2 } else { 3 }) {
            0 => {
                let value = random.next().cast_signed() >> random.below(64);
                writer.int(value).unwrap();
                written(|w| w.int(value))
            }
            1 => {
                let text = "ab".repeat(random.below(4) as usize);
                writer.str(&text).unwrap();
                written(|w| w.str(&text))
            }
            _ => random_set(random, writer, depth - 1),
        };
        writer.part(&group);
        parts.push(part);
    }
    writer.sort(group);
    parts.sort();
    let head = written(|w| w.ext(types::SET).and_then(|()| w.array(length as usize)));
    [head, parts.concat()].concat()
}

#[test]
fn parts_are_sorted_by_their_bytes_at_every_depth() {
    let mut random = Random::new(7);
    for _ in 0..2000 {
        let mut writer = Writer::new(usize::MAX);
        writer.str("before").unwrap();
        let expected = random_set(&mut random, &mut writer, 3);
        assert_eq!(writer.as_bytes()[7..], expected);
    }
}

#[test]
fn the_items_of_a_map_are_sorted_by_their_keys() {
    let items = [("b", 0), ("aa", 9), ("a", 5), ("", 3)];
    let bytes = written(|w| {
        w.map(items.len())?;
        let group = w.group();
        for (key, value) in items {
            w.str(key)?;
            w.int(value)?;
            w.part(&group);
        }
        w.sort(group);
        Ok(())
    });
    assert_eq!(
        bytes,
        [
            0x84, 0xa0, 3, 0xa1, b'a', 5, 0xa1, b'b', 0, 0xa2, b'a', b'a', 9
        ]
    );
}

#[test]
fn arbitrary_bytes_never_panic_and_never_promise_more_items_than_bytes() {
    let mut random = Random::new(11);
    for _ in 0..20_000 {
        let length = random.below(60) as usize;
        let mut bytes: Vec<u8> = (0..length).map(|_| random.next() as u8).collect();
        for byte in &mut bytes {
            if random.below(2) == 0 {
                *byte = [0x91, 0x82, 0xdc, 0xdd, 0, ESCAPE, 0xc4, 0xd9][random.below(8) as usize];
            }
        }
        let mut reader = Reader::new(&bytes);
        let mut promised = 0;
        loop {
            match reader.token() {
                Ok(Token::Array(items)) => promised += items,
                Ok(Token::Map(items)) => promised += 2 * items,
                Ok(Token::Ext(types::UUID)) => drop(reader.raw::<16>()),
                Ok(_) => {}
                Err(_) => break,
            }
        }
        assert!(promised <= bytes.len(), "{promised} items in {bytes:x?}");
    }
}

#[test]
fn a_portable_reader_takes_no_types_of_our_own() {
    let bytes = written(|out| {
        out.array(2)?;
        out.int(1)?;
        out.ext(types::TUPLE)?;
        out.array(0)
    });
    let mut reader = Reader::portable(&bytes);
    assert_eq!(reader.token().unwrap(), Token::Array(2));
    assert_eq!(reader.token().unwrap(), Token::Int(1));
    let error = reader.token().unwrap_err();
    assert_eq!(error.code(), ErrorCode::ValueCorrupt);
    assert!(error.to_string().contains("it is not MessagePack"));
}
