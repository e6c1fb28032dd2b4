//! The vectors of values that are of no built-in type: those of libraries, and objects of classes.

use serde_json::json;

use super::cases::int;
use super::key::typed;
use super::native::{Class, Value, encode};
use super::wycheproof::{Expect, Group, Row, file, hex, members};

const HEADER: &[&str] = &[
    "`encoded` is the native encoding of `value` in hex.",
    "Values are written as in key.json; a type that consists of other values is its name and those. A dict has its keys in the order of \
     their encoded bytes.",
    "A reader knows these classes of the module shop.models: the Enum Colour with RED; the Flag Rights with READ = 1 and WRITE = 2; the \
     named tuple Pair(left, right); the record User(name, colour).",
    "What is invalid is refused by a reader that makes objects; its tokens are well-formed.",
];

/// `tests/vectors/native.json`.
pub(super) fn vectors() -> Vec<u8> {
    let row = |comment: &str, value: &Value, valid: bool| Row {
        comment: comment.to_owned(),
        flags: Vec::new(),
        input: members([
            ("value", typed(value)),
            ("encoded", json!(hex(&encode(value)))),
        ]),
        expect: if valid {
            Expect::Valid(members([]))
        } else {
            Expect::Invalid("value_corrupt")
        },
    };
    let rows = valid()
        .iter()
        .map(|(comment, value)| row(comment, value, true))
        .chain(
            invalid()
                .iter()
                .map(|(comment, value)| row(comment, value, false)),
        )
        .collect();
    let group = Group {
        kind: "Value",
        parameters: members([]),
        rows,
    };
    file("cachekit native", HEADER, &[], &[group])
}

fn valid() -> Vec<(&'static str, Value)> {
    vec![
        (
            "complex",
            content("complex", [Value::Float(-0.0), Value::Float(1.5)]),
        ),
        ("range", content("range", [int("1"), int("9"), int("-2")])),
        (
            "a range beyond 64 bits",
            content("range", [int("0"), int("36893488147419103232"), int("1")]),
        ),
        (
            "path",
            content("path", [text("PurePosixPath"), text("/a/b")]),
        ),
        (
            "a path that is no UTF-8",
            content(
                "path",
                [text("PurePosixPath"), Value::Surrogates(vec![0x61, 0xdc80])],
            ),
        ),
        (
            "bytearray",
            content("bytearray", [Value::Bytes(vec![0, 0xc1])]),
        ),
        (
            "array",
            content(
                "array",
                [text("h"), int("2"), Value::Bytes(vec![0xff, 0xff, 1, 0])],
            ),
        ),
        ("ordered dict", content("ordereddict", [dict()])),
        (
            "a dict without a default",
            content("defaultdict", [Value::None, dict()]),
        ),
        (
            "a dict with a default",
            content(
                "defaultdict",
                [Value::Class(class("builtins", "list")), dict()],
            ),
        ),
        ("counter", content("counter", [dict()])),
        ("deque", content("deque", [Value::None, items()])),
        ("a bounded deque", content("deque", [int("3"), items()])),
        (
            "array of numpy",
            content(
                "ndarray",
                [
                    text("<i2"),
                    Value::List(vec![int("1"), int("2")]),
                    Value::Bytes(vec![1, 0, 2, 0]),
                ],
            ),
        ),
        (
            "a structured scalar of numpy",
            content("ndscalar", [structure(), Value::Bytes(vec![7, 0, 1, 2])]),
        ),
        ("fraction", content("fraction", [int("-3"), int("7")])),
        (
            "address",
            content("address", [text("IPv4Network"), text("10.0.0.0/8")]),
        ),
        ("member", red()),
        (
            "a combination of flags",
            Value::Member(model("Rights"), Box::new(int("3"))),
        ),
        ("class", Value::Class(model("User"))),
        (
            "named tuple",
            record(
                "Pair",
                vec![("left", red()), ("right", Value::List(vec![]))],
            ),
        ),
        ("record", user(text("Ada"))),
        ("a record in a record", user(user(text("Ada")))),
    ]
}

fn invalid() -> Vec<(&'static str, Value)> {
    vec![
        (
            "a class that nobody named",
            record("Lock", vec![("name", text("x"))]),
        ),
        (
            "a class of the standard library",
            Value::Class(class("subprocess", "Popen")),
        ),
        (
            "a record without one of its fields",
            record("User", vec![("name", text("Ada"))]),
        ),
        (
            "a record with a field more",
            record(
                "User",
                vec![("name", text("x")), ("colour", red()), ("age", int("3"))],
            ),
        ),
        (
            "fields in another order",
            record("User", vec![("colour", red()), ("name", text("Ada"))]),
        ),
        (
            "a record with a rest that its class has not",
            Value::Record(
                model("User"),
                vec![("name", text("Ada")), ("colour", red())],
                Box::new(Value::List(vec![Value::None])),
            ),
        ),
        (
            "a record of an Enum",
            record("Colour", vec![("name", text("Ada"))]),
        ),
        (
            "a member of a record",
            Value::Member(model("User"), Box::new(text("RED"))),
        ),
        (
            "a member that is gone",
            Value::Member(model("Colour"), Box::new(text("BLUE"))),
        ),
        (
            "a complex of integers",
            content("complex", [int("1"), int("2")]),
        ),
        (
            "a range of no step",
            content("range", [int("1"), int("2"), int("0")]),
        ),
        (
            "a path of another module",
            content("path", [text("os"), text("/")]),
        ),
        (
            "a deque that is too long",
            content("deque", [int("1"), items()]),
        ),
        (
            "an array of objects",
            content(
                "ndarray",
                [
                    text("|O"),
                    Value::List(vec![int("1")]),
                    Value::Bytes(vec![0; 8]),
                ],
            ),
        ),
        (
            "an array with other lengths",
            content(
                "ndarray",
                [
                    text("<i2"),
                    Value::List(vec![int("3")]),
                    Value::Bytes(vec![0; 4]),
                ],
            ),
        ),
        (
            "a fraction of nothing",
            content("fraction", [int("1"), int("0")]),
        ),
        (
            "a fraction that is not in lowest terms",
            content("fraction", [int("2"), int("4")]),
        ),
    ]
}

fn content<const N: usize>(name: &'static str, parts: [Value; N]) -> Value {
    Value::Content(name, parts.into())
}

fn record(name: &str, fields: Vec<(&'static str, Value)>) -> Value {
    Value::Record(model(name), fields, Box::new(Value::None))
}

fn user(name: Value) -> Value {
    record("User", vec![("name", name), ("colour", red())])
}

fn red() -> Value {
    Value::Member(model("Colour"), Box::new(text("RED")))
}

fn model(name: &str) -> Class {
    class("shop.models", name)
}

fn class(module: &str, qualname: &str) -> Class {
    Class {
        module: module.to_owned(),
        qualname: qualname.to_owned(),
    }
}

fn dict() -> Value {
    Value::Dict(vec![(text("a"), int("2")), (text("b"), int("-1"))])
}

fn items() -> Value {
    Value::List(vec![int("1"), Value::Tuple(vec![int("2")])])
}

/// Two fields, one of which is an array of two bytes, behind a gap.
fn structure() -> Value {
    let bytes = Value::List(vec![text("|u1"), Value::List(vec![int("2")])]);
    Value::List(vec![
        Value::List(vec![text("a"), text("b")]),
        Value::List(vec![text("|u1"), bytes]),
        Value::List(vec![int("0"), int("2")]),
        int("4"),
        Value::Bool(false),
    ])
}

fn text(text: &str) -> Value {
    Value::Str(text.to_owned())
}
