//! The vectors of plain MessagePack: what a Rust program writes through `rmp-serde` and a Python one as `serializer="msgpack"`.

use serde_json::json;

use super::cases::int;
use super::key::typed;
use super::native::{Value, encode};
use super::wycheproof::{Expect, Group, Row, file, hex, members};

const HEADER: &[&str] = &[
    "`encoded` is the MessagePack of `value` in hex, every number in its shortest form.",
    "Values are written as in key.json. A dict has its keys in the order of their encoded bytes, which is that of a map and of the \
     fields of a struct; a record is such a dict.",
];

/// `tests/vectors/messagepack.json`.
pub(super) fn vectors() -> Vec<u8> {
    let values = values()
        .into_iter()
        .map(|(comment, value)| row(comment, &value));
    let groups = [
        Group {
            kind: "Value",
            parameters: members([]),
            rows: values.collect(),
        },
        Group {
            kind: "Record",
            parameters: members([]),
            rows: vec![row("fields of every kind", &record())],
        },
    ];
    file("cachekit MessagePack", HEADER, &[], &groups)
}

fn row(comment: &str, value: &Value) -> Row {
    Row {
        comment: comment.to_owned(),
        flags: Vec::new(),
        input: members([("value", typed(value))]),
        expect: Expect::Valid(members([("encoded", json!(hex(&encode(value))))])),
    }
}

fn values() -> Vec<(&'static str, Value)> {
    let mut values = vec![
        ("nothing", Value::None),
        ("true", Value::Bool(true)),
        ("false", Value::Bool(false)),
        ("a float", Value::Float(1.5)),
        ("a float that is whole", Value::Float(2.0)),
        ("zero below zero", Value::Float(-0.0)),
        ("infinity", Value::Float(f64::INFINITY)),
        ("no text", text("")),
        ("text of 31 bytes", text(&"x".repeat(31))),
        ("text of 32 bytes", text(&"x".repeat(32))),
        ("text of 256 bytes", text(&"x".repeat(256))),
        ("text of 65536 bytes", text(&"x".repeat(1 << 16))),
        ("text beyond ASCII", text("caf\u{e9} \u{20ac} \u{1d11e}")),
        ("no bytes", Value::Bytes(Vec::new())),
        ("bytes", Value::Bytes(vec![0, 0xff, 0xc1])),
        ("256 bytes", Value::Bytes(vec![7; 256])),
        ("an empty list", Value::List(Vec::new())),
        ("a list of 15", Value::List(vec![Value::None; 15])),
        ("a list of 16", Value::List(vec![Value::None; 16])),
        (
            "a list of lists",
            Value::List(vec![Value::List(vec![int("1")]), Value::List(Vec::new())]),
        ),
        ("an empty dict", Value::Dict(Vec::new())),
        ("a dict of 15", dict(15)),
        ("a dict of 16", dict(16)),
        (
            "a dict in a list in a dict",
            Value::Dict(vec![(text("a"), Value::List(vec![dict(1)]))]),
        ),
    ];
    values.extend(
        [
            "0",
            "127",
            "128",
            "255",
            "256",
            "65535",
            "65536",
            "4294967295",
            "4294967296",
            "9223372036854775807",
            "9223372036854775808",
            "18446744073709551615",
            "-1",
            "-32",
            "-33",
            "-128",
            "-129",
            "-32768",
            "-32769",
            "-2147483648",
            "-2147483649",
            "-9223372036854775808",
        ]
        .map(|digits| (digits, int(digits))),
    );
    values
}

/// What the drivers have a struct for.
fn record() -> Value {
    Value::Dict(vec![
        (text("id"), int("300")),
        (text("name"), text("Ada")),
        (text("note"), Value::None),
        (text("tags"), Value::List(vec![text("a"), text("b")])),
        (text("score"), Value::Float(0.25)),
        (text("active"), Value::Bool(true)),
        (
            text("address"),
            Value::Dict(vec![
                (text("zip"), text("0815")),
                (text("city"), text("Bern")),
            ]),
        ),
    ])
}

fn text(text: &str) -> Value {
    Value::Str(text.to_owned())
}

/// A dict of so many items.
fn dict(items: usize) -> Value {
    let item = |number: usize| (text(&format!("k{number:02}")), int(&number.to_string()));
    Value::Dict((0..items).map(item).collect())
}
