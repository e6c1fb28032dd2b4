//! Runs the vectors of values that are of no built-in type: their tokens are read, and written again from what the vectors say.

use cachekit_runtime::error::Result;
use cachekit_runtime::native::{Reader, Token, Writer, types};
use serde_json::Value;

use crate::rows::{bytes, each_row, flag, list, number, tagged, text};

fn type_byte(kind: &str) -> u8 {
    match kind {
        "complex" => types::COMPLEX,
        "range" => types::RANGE,
        "path" => types::PATH,
        "bytearray" => types::BYTE_ARRAY,
        "array" => types::ARRAY,
        "ordereddict" => types::ORDERED_DICT,
        "defaultdict" => types::DEFAULT_DICT,
        "counter" => types::COUNTER,
        "deque" => types::DEQUE,
        "ndarray" => types::ND_ARRAY,
        "ndscalar" => types::ND_SCALAR,
        "fraction" => types::FRACTION,
        "address" => types::ADDRESS,
        other => panic!("there is no type {other}"),
    }
}

fn class(out: &mut Writer, class: &Value) -> Result<()> {
    out.str(text(&class["module"]))?;
    out.str(text(&class["qualname"]))
}

fn write(out: &mut Writer, value: &Value) -> Result<()> {
    let (kind, value) = tagged(value);
    match kind {
        "none" => out.nil(),
        "bool" => out.bool(flag(value)),
        "int" => match text(value).parse::<i128>().expect("a number") {
            number if i64::try_from(number).is_ok() => out.int(number as i64),
            number => out.big_int(&number.to_be_bytes()),
        },
        "float" => {
            let bits = bytes(value).try_into().expect("eight bytes");
            out.float(f64::from_be_bytes(bits))
        }
        "str" => out.str(text(value)),
        "bytes" => out.bin(&bytes(value)),
        "surrogates" => {
            out.ext(types::SURROGATES)?;
            // As many code points of the vectors as are letters or half a pair.
            let points = list(value).iter().map(number);
            let units = points.flat_map(|point| match point {
                0..0x80 => vec![point as u8],
                _ => vec![
                    0xe0 | (point >> 12) as u8,
                    0x80 | (point >> 6 & 0x3f) as u8,
                    0x80 | (point & 0x3f) as u8,
                ],
            });
            out.bin(&units.collect::<Vec<u8>>())
        }
        "list" | "tuple" => {
            if kind == "tuple" {
                out.ext(types::TUPLE)?;
            }
            out.array(list(value).len())?;
            list(value).iter().try_for_each(|item| write(out, item))
        }
        "dict" => {
            out.map(list(value).len())?;
            list(value).iter().try_for_each(|pair| {
                write(out, &pair[0])?;
                write(out, &pair[1])
            })
        }
        "class" => {
            out.ext(types::CLASS)?;
            class(out, value)
        }
        "member" => {
            out.ext(types::MEMBER)?;
            class(out, &value["class"])?;
            write(out, &value["name"])
        }
        "record" => {
            out.ext(types::RECORD)?;
            class(out, &value["class"])?;
            out.map(list(&value["fields"]).len())?;
            for field in list(&value["fields"]) {
                out.str(text(&field[0]))?;
                write(out, &field[1])?;
            }
            write(out, &value["rest"])
        }
        content => {
            out.ext(type_byte(content))?;
            list(value).iter().try_for_each(|part| write(out, part))
        }
    }
}

#[test]
fn values_have_the_bytes_of_the_vectors() {
    each_row("native.json", "Value", |_, row| {
        let mut out = Writer::new(1 << 20);
        write(&mut out, &row["value"]).expect("small");
        assert_eq!(out.as_bytes(), bytes(&row["encoded"]), "{row}");
    });
}

#[test]
fn the_bytes_of_the_vectors_are_read_token_by_token() {
    each_row("native.json", "Value", |_, row| {
        let encoded = bytes(&row["encoded"]);
        let mut reader = Reader::new(&encoded);
        let mut out = Writer::new(1 << 20);
        while !reader.remaining().is_empty() {
            let written = match reader.token().expect("well-formed") {
                Token::Nil => out.nil(),
                Token::Bool(value) => out.bool(value),
                Token::Int(value) => out.int(value),
                Token::Uint(value) => out.uint(value),
                Token::Float(value) => out.float(value),
                Token::Str(value) => out.str(std::str::from_utf8(value).expect("UTF-8")),
                Token::Bin(value) => out.bin(value),
                Token::Array(items) => out.array(items),
                Token::Map(items) => out.map(items),
                Token::Ext(type_byte) => out.ext(type_byte),
            };
            written.expect("small");
        }
        reader.finish().expect("at its end");
        assert_eq!(out.as_bytes(), encoded, "{row}");
    });
}
