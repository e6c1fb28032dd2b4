//! Names of stored entries, and the vectors of keys.

use blake2::{Blake2b256, Digest};
use serde_json::{Value as Json, json};

use super::cases::{self, Case, int};
use super::native::{Class, Date, Time, Value, Zone, encode};
use super::wycheproof::{Expect, Group, Row, file, hex, members};

const HEADER: &[&str] = &[
    "KeyHash: `args` are the bound arguments, as one tuple; `encoded` is its canonical encoding in hex, `hash` the \
     BLAKE2b-256 of that.",
    "A value is an object with one member, whose name is its type: none, bool, int (decimal digits), float (the eight \
     bytes of the double, hex), str, surrogates (a string's code points), bytes (hex), list, tuple, dict (pairs), set, frozenset, decimal, uuid (hex), \
     date, time, datetime, timedelta, class, enum, namedtuple, object (what __cache_key__ returned), \
     nested (that many lists around an empty one).",
    "A tz is null, or an object with either `offset` in microseconds and `name`, or `zone`.",
    "EntryName: the names under which an entry and its function's generation are stored.",
];

const NOTES: &[(&str, &str)] = &[
    ("BigInteger", "An integer that MessagePack cannot say."),
    (
        "Boundary",
        "The last value of one form or the first of the next.",
    ),
    (
        "Container",
        "Items are encoded one by one; list and tuple differ, and so do set and frozenset.",
    ),
    ("Depth", "Nesting deeper than 1024 is refused."),
    (
        "Distinct",
        "Equal in Python to another row's value, and yet another key.",
    ),
    (
        "Escaped",
        "Bytes that would be read as separators are percent-encoded.",
    ),
    ("OnlyKey", "A type that is legal in keys alone."),
    ("Scalar", "A type of one value."),
    (
        "Sorted",
        "Items go by their encoded bytes, not in the order given.",
    ),
    ("Surrogate", "A string that Python has and UTF-8 has not."),
    ("Time", "Dates and times, with fold and zone."),
];

/// `tests/vectors/key.json`.
pub(super) fn vectors() -> Vec<u8> {
    let groups = [
        Group {
            kind: "KeyHash",
            parameters: members([("hash", json!("BLAKE2b-256"))]),
            rows: cases::all().into_iter().map(row).collect(),
        },
        Group {
            kind: "EntryName",
            parameters: members([]),
            rows: names(),
        },
    ];
    file("cachekit key", HEADER, NOTES, &groups)
}

fn row(case: Case) -> Row {
    let Case {
        flags,
        comment,
        args,
    } = case;
    let input = members([("args", Json::Array(args.iter().map(typed).collect()))]);
    let deep = args
        .iter()
        .any(|value| matches!(value, Value::Nested(depth) if *depth > 1024));
    let expect = if deep {
        Expect::Invalid("argument_unsupported")
    } else {
        let encoded = encode(&Value::Tuple(args));
        let hash = hex(&Blake2b256::digest(&encoded));
        Expect::Valid(members([
            ("encoded", json!(hex(&encoded))),
            ("hash", json!(hash)),
        ]))
    };
    Row {
        comment: comment.to_owned(),
        flags: flags.to_vec(),
        input,
        expect,
    }
}

/// The value with its type, since JSON alone cannot say it.
pub(super) fn typed(value: &Value) -> Json {
    let list = |items: &[Value]| Json::Array(items.iter().map(typed).collect());
    match value {
        Value::None => json!({ "none": null }),
        Value::Bool(value) => json!({ "bool": value }),
        Value::Int(digits) => json!({ "int": digits }),
        Value::Float(value) => json!({ "float": hex(&value.to_be_bytes()) }),
        Value::Str(text) => json!({ "str": text }),
        Value::Surrogates(points) => json!({ "surrogates": points }),
        Value::Bytes(bytes) => json!({ "bytes": hex(bytes) }),
        Value::List(items) => json!({ "list": list(items) }),
        Value::Tuple(items) => json!({ "tuple": list(items) }),
        Value::Dict(items) => {
            let pairs: Vec<_> = items
                .iter()
                .map(|(k, v)| json!([typed(k), typed(v)]))
                .collect();
            json!({ "dict": pairs })
        }
        Value::Set(items) => json!({ "set": list(items) }),
        Value::FrozenSet(items) => json!({ "frozenset": list(items) }),
        Value::Decimal(text) => json!({ "decimal": text }),
        Value::Uuid(bytes) => json!({ "uuid": hex(bytes) }),
        Value::Date(date) => json!({ "date": date_json(*date) }),
        Value::Time(time, fold, zone) => json!({
            "time": { "time": time_json(*time), "fold": fold, "tz": zone_json(zone) }
        }),
        Value::DateTime(date, time, fold, zone) => json!({
            "datetime": {
                "date": date_json(*date), "time": time_json(*time), "fold": fold,
                "tz": zone_json(zone),
            }
        }),
        Value::TimeDelta {
            days,
            seconds,
            microseconds,
        } => json!({
            "timedelta": { "days": days, "seconds": seconds, "microseconds": microseconds }
        }),
        Value::Class(class) => json!({ "class": class_json(class) }),
        Value::EnumMember(class, name) => {
            json!({ "enum": { "class": class_json(class), "name": name } })
        }
        Value::NamedTuple(class, items) => {
            json!({ "namedtuple": { "class": class_json(class), "items": list(items) } })
        }
        Value::Object(class, key) => {
            json!({ "object": { "class": class_json(class), "key": typed(key) } })
        }
        Value::Content(name, parts) => json!({ *name: list(parts) }),
        Value::Member(class, name) => {
            json!({ "member": { "class": class_json(class), "name": typed(name) } })
        }
        Value::Record(class, fields, rest) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| json!([name, typed(value)]))
                .collect();
            json!({ "record": { "class": class_json(class), "fields": fields, "rest": typed(rest) } })
        }
        Value::Nested(depth) => json!({ "nested": depth }),
    }
}

fn date_json(date: Date) -> Json {
    json!([date.year, date.month, date.day])
}

fn time_json(time: Time) -> Json {
    json!([time.hour, time.minute, time.second, time.microsecond])
}

fn zone_json(zone: &Zone) -> Json {
    match zone {
        Zone::Naive => Json::Null,
        Zone::Fixed(offset, name) => json!({ "offset": offset, "name": name }),
        Zone::Named(key) => json!({ "zone": key }),
    }
}

fn class_json(class: &Class) -> Json {
    json!({ "module": class.module, "qualname": class.qualname })
}

/// `text` with every byte that could be taken for a separator as `%XX`.
fn escape(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._<>/-".contains(&byte);
    text.bytes()
        .map(|byte| {
            if plain(byte) {
                char::from(byte).to_string()
            } else {
                format!("%{byte:02X}")
            }
        })
        .collect()
}

fn names() -> Vec<Row> {
    const ESCAPED: &[&str] = &["Escaped"];

    let function = "shop.prices.price_of";
    vec![
        name(&[], "a function", ("default", function, None)),
        name(&[], "with a version", ("default", function, Some("2"))),
        name(
            &[],
            "an application of its own",
            ("web-1.eu", "users", None),
        ),
        name(
            &[],
            "an inner function",
            ("default", "shop.<locals>.inner", None),
        ),
        name(
            ESCAPED,
            "separators in every part",
            ("a:b", "c@d:e", Some("1:2@3")),
        ),
        name(
            ESCAPED,
            "percent, space and slash",
            ("100%", "my ns_/x", Some("v 1")),
        ),
        name(ESCAPED, "beyond ASCII", ("caf\u{e9}", "\u{4e16}", None)),
    ]
}

/// The row of an application, a name in it and a version.
fn name(
    flags: &[&'static str],
    comment: &str,
    (application, name, version): (&str, &str, Option<&str>),
) -> Row {
    let hash = hex(&Blake2b256::digest(encode(&Value::Tuple(vec![int("42")]))));
    let suffix = version.map_or(String::new(), |version| format!("@{}", escape(version)));
    let prefix = format!("ck:{}:{}{suffix}", escape(application), escape(name));
    Row {
        comment: comment.to_owned(),
        flags: flags.to_vec(),
        input: members([
            ("application", json!(application)),
            ("name", json!(name)),
            ("version", json!(version)),
            ("hash", json!(hash)),
        ]),
        expect: Expect::Valid(members([
            ("entry", json!(format!("{prefix}:{hash}"))),
            ("generation", json!(format!("{prefix}:gen"))),
        ])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_blake2b_with_32_bytes() {
        // hashlib.blake2b(bytes.fromhex("c101912a"), digest_size=32)
        let encoded = encode(&Value::Tuple(vec![int("42")]));
        assert_eq!(encoded, [0xc1, 0x01, 0x91, 0x2a]);
        assert_eq!(
            hex(&Blake2b256::digest(encoded)),
            "47487b092786326544e780003803641bc61adf47332721f4f9a0bb52bc4cdcae"
        );
    }

    #[test]
    fn only_separators_are_escaped() {
        assert_eq!(escape("a.b-C9<x>"), "a.b-C9<x>");
        assert_eq!(escape("a_b:c@d%e \u{e9}"), "a_b%3Ac%40d%25e%20%C3%A9");
    }

    #[test]
    fn no_two_keys_share_a_hash() {
        let cases = cases::all().into_iter();
        let mut encoded: Vec<_> = cases.map(|case| encode(&Value::Tuple(case.args))).collect();
        let all = encoded.len();
        encoded.sort();
        encoded.dedup();
        assert_eq!(encoded.len(), all);
    }
}
