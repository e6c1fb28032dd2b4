//! Arguments of calls: their encoding, and its hash.

use bytes::Bytes;
use cachekit_runtime::error::{Error, ErrorCode, Result};
use cachekit_runtime::key::{CacheKey, KeyHash};
use cachekit_runtime::native::{Writer, types};
use serde_json::Value;

use crate::rows::{bytes, each_row, flag, hex, list, number, signed, tagged, text};

#[test]
fn arguments_have_the_encoding_and_the_hash_of_the_vectors() {
    each_row("key.json", "KeyHash", |_, row| {
        let case = format!("{}: {}", row["tcId"], row["comment"]);
        let mut writer = Writer::new(1 << 20);
        let written = encode_tuple(&mut writer, list(&row["args"]));
        if row["result"] == "invalid" {
            // What a binding reports as an argument is a value to the writer, which knows no arguments.
            let error = written.err().unwrap_or_else(|| panic!("{case} is a key"));
            assert_eq!(error.code(), ErrorCode::ValueUnsupported, "{case}");
            assert_eq!(row["error"], "argument_unsupported", "{case}");
            return;
        }
        written.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(hex(writer.as_bytes()), text(&row["encoded"]), "{case}");
        assert_eq!(
            KeyHash::of(writer.as_bytes()).to_hex(),
            text(&row["hash"]),
            "{case}"
        );
    });
}

fn encode_tuple(writer: &mut Writer, items: &[Value]) -> Result<()> {
    writer.ext(types::TUPLE)?;
    encode_items(writer, items)
}

fn encode_items(writer: &mut Writer, items: &[Value]) -> Result<()> {
    writer.enter()?;
    writer.array(items.len())?;
    items.iter().try_for_each(|item| encode(writer, item))?;
    writer.leave();
    Ok(())
}

fn encode_sorted(writer: &mut Writer, parts: &[Value]) -> Result<()> {
    writer.enter()?;
    let group = writer.group();
    for part in parts {
        // A pair of a map is a list here; an element of a set is an object.
        match part.as_array() {
            Some(pair) => pair.iter().try_for_each(|half| encode(writer, half))?,
            None => encode(writer, part)?,
        }
        writer.part(&group);
    }
    writer.sort(group);
    writer.leave();
    Ok(())
}

/// Writes one value of the vectors: an object whose only member names its type.
fn encode(writer: &mut Writer, value: &Value) -> Result<()> {
    let (kind, value) = tagged(value);
    match kind {
        "none" => writer.nil(),
        "bool" => flag(value).encode(writer),
        "int" => encode_int(writer, text(value)),
        "float" => {
            let bits = bytes(value).try_into().expect("eight bytes");
            f64::from_be_bytes(bits).encode(writer)
        }
        "str" => text(value).encode(writer),
        "surrogates" => {
            writer.ext(types::SURROGATES)?;
            let points = list(value).iter().map(number);
            writer.bin(&points.flat_map(extended_utf8).collect::<Vec<_>>())
        }
        "bytes" => Bytes::from(bytes(value)).encode(writer),
        "list" => encode_items(writer, list(value)),
        "tuple" => encode_tuple(writer, list(value)),
        "dict" => {
            writer.map(list(value).len())?;
            encode_sorted(writer, list(value))
        }
        "set" | "frozenset" => {
            writer.ext(if kind == "set" {
                types::SET
            } else {
                types::FROZENSET
            })?;
            writer.array(list(value).len())?;
            encode_sorted(writer, list(value))
        }
        "decimal" => {
            writer.ext(types::DECIMAL)?;
            writer.str(text(value))
        }
        "uuid" => {
            writer.ext(types::UUID)?;
            writer.raw(&bytes(value))
        }
        "date" => {
            writer.ext(types::DATE)?;
            writer.int(ordinal(value))
        }
        "time" => {
            writer.ext(types::TIME)?;
            writer.int(microseconds(&value["time"]))?;
            writer.bool(flag(&value["fold"]))?;
            encode_zone(writer, &value["tz"])
        }
        "datetime" => {
            writer.ext(types::DATETIME)?;
            let days = ordinal(&value["date"]) - 1;
            writer.int(days * 86_400_000_000 + microseconds(&value["time"]))?;
            writer.bool(flag(&value["fold"]))?;
            encode_zone(writer, &value["tz"])
        }
        "timedelta" => {
            writer.ext(types::TIMEDELTA)?;
            ["days", "seconds", "microseconds"]
                .iter()
                .try_for_each(|part| writer.int(signed(&value[*part])))
        }
        "class" => {
            writer.ext(types::CLASS)?;
            encode_class(writer, value)
        }
        "enum" => {
            writer.ext(types::ENUM_MEMBER)?;
            encode_class(writer, &value["class"])?;
            writer.str(text(&value["name"]))
        }
        "namedtuple" => {
            writer.ext(types::NAMED_TUPLE)?;
            encode_class(writer, &value["class"])?;
            encode_items(writer, list(&value["items"]))
        }
        "object" => {
            writer.ext(types::CACHE_KEY)?;
            encode_class(writer, &value["class"])?;
            encode(writer, &value["key"])
        }
        "nested" => encode_nested(writer, number(value)),
        other => panic!("no type {other}"),
    }
}

/// UTF-8 as if surrogates were characters.
fn extended_utf8(point: u64) -> Vec<u8> {
    let text = u32::try_from(point).ok().and_then(char::from_u32);
    text.map_or_else(
        || {
            [
                0xe0 | point >> 12,
                0x80 | point >> 6 & 63,
                0x80 | point & 63,
            ]
            .map(|b| b as u8)
            .to_vec()
        },
        |text| text.to_string().into_bytes(),
    )
}

/// As many lists, each in the next, around an empty one.
fn encode_nested(writer: &mut Writer, around: u64) -> Result<()> {
    writer.enter()?;
    if around == 0 {
        writer.array(0)?;
    } else {
        writer.array(1)?;
        encode_nested(writer, around - 1)?;
    }
    writer.leave();
    Ok::<(), Error>(())
}

fn encode_class(writer: &mut Writer, class: &Value) -> Result<()> {
    writer.str(text(&class["module"]))?;
    writer.str(text(&class["qualname"]))
}

fn encode_zone(writer: &mut Writer, zone: &Value) -> Result<()> {
    if zone.is_null() {
        return writer.nil();
    }
    if let Some(key) = zone["zone"].as_str() {
        return writer.str(key);
    }
    writer.array(2)?;
    writer.int(signed(&zone["offset"]))?;
    zone["name"]
        .as_str()
        .map_or(Ok(()), |name| writer.str(name))?;
    if zone["name"].is_null() {
        writer.nil()
    } else {
        Ok(())
    }
}

/// Days since the day before 0001-01-01 in the proleptic Gregorian calendar, counted one by one.
fn ordinal(date: &Value) -> i64 {
    let [year, month, day] = [0, 1, 2].map(|part| signed(&date[part]));
    let leap = |year: i64| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let years: i64 = (1..year).map(|year| 365 + i64::from(leap(year))).sum();
    let months = [
        31,
        28 + i64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let months: i64 = (1..month).zip(months).map(|(_, days)| days).sum();
    years + months + day
}

fn microseconds(time: &Value) -> i64 {
    let [hour, minute, second, microsecond] = [0, 1, 2, 3].map(|part| signed(&time[part]));
    ((hour * 60 + minute) * 60 + second) * 1_000_000 + microsecond
}

fn encode_int(writer: &mut Writer, digits: &str) -> Result<()> {
    if let Ok(value) = digits.parse::<i128>() {
        return value.encode(writer);
    }
    let (negative, digits) = digits
        .strip_prefix('-')
        .map_or((false, digits), |rest| (true, rest));
    // The magnitude, little-endian, with a byte to spare for the sign.
    let mut bytes = vec![0_u8; digits.len() / 2 + 2];
    for digit in digits.bytes() {
        let mut carry = u32::from(digit - b'0');
        for byte in &mut bytes {
            let next = u32::from(*byte) * 10 + carry;
            *byte = next as u8;
            carry = next >> 8;
        }
    }
    if negative {
        let mut carry = true;
        for byte in &mut bytes {
            (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
        }
    }
    bytes.reverse();
    writer.big_int(&bytes)
}
