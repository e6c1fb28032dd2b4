//! Runs the vectors of an independent encoder: entries and keys must have the same bytes in every language.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit_runtime::cache::{Codec, MessagePack};
use cachekit_runtime::envelope::{Meta, Name, Pipeline};
use cachekit_runtime::error::{Error, ErrorCode, Result};
use cachekit_runtime::generated::config::Options;
use cachekit_runtime::generated::envelope::{FORMATS, Framing};
use cachekit_runtime::generated::presets::{self, Preset};
use cachekit_runtime::generated::wire;
use cachekit_runtime::key::{CacheKey, Identity, KeyHash};
use cachekit_runtime::keyring::{Keyring, MasterKey};
use cachekit_runtime::native::{Writer, types};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

/// Runs every row of a file's groups of one kind; a row says for itself which one it is when it fails.
fn each_row(file: &str, kind: &str, mut run: impl FnMut(&Value, &Value)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(file);
    let text = std::fs::read_to_string(&path).expect("`cargo run codegen` writes the vectors");
    let vectors: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    let mut rows = 0;
    for group in list(&vectors["testGroups"]) {
        if group["type"] == kind {
            for row in list(&group["tests"]) {
                run(group, row);
                rows += 1;
            }
        }
    }
    assert!(rows > 0, "{file} has no rows of {kind}");
}

fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"))
}

fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

fn signed(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("{value} is no integer"))
}

fn flag(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| panic!("{value} is no truth value"))
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = text(value);
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

fn lifetime(header: &Value) -> Option<Duration> {
    let lifetimes = [number(&header["fresh_ms"]), number(&header["hard_ms"])];
    lifetimes
        .into_iter()
        .filter(|ms| *ms != 0)
        .min()
        .map(Duration::from_millis)
}

#[test]
fn entries_open_or_are_refused_as_the_vectors_say() {
    let mut formats = Vec::new();
    each_row("envelope.json", "EnvelopeOpen", |group, row| {
        let name = text(&group["format"]);
        let format = FORMATS.iter().find(|format| format.name == name);
        let format = format.unwrap_or_else(|| panic!("no format {name}"));
        assert_eq!(u64::from(format.id), number(&group["formatId"]));
        if !formats.contains(&name.to_owned()) {
            formats.push(name.to_owned());
        }
        assert_eq!(group["serializer"], "native");
        let mut options = presets::DEFAULT;
        options.envelope = format.name;
        options.max_value_bytes = number(&group["maxValueBytes"]);
        let mut pipeline =
            Pipeline::new(&options, wire::Serializer::Native).expect("the format is known");
        if pipeline.is_sealed() {
            pipeline = pipeline.with_keyring(keyring(group));
        }

        let case = format!("{name} {}: {}", row["tcId"], row["comment"]);
        let key = bytes(&row["key"]);
        let stored = bytes(&row["stored"]);
        let tenant = row["tenant"].as_str().unwrap_or("default");
        let name = Name { tenant, key: &key };
        let opened = pipeline.open(name, stored.clone().into());
        if row["result"] == "invalid" {
            let error = opened.err().unwrap_or_else(|| panic!("{case} opens"));
            assert_eq!(
                error.code().as_str(),
                text(&row["error"]),
                "{case}: {error}"
            );
            return;
        }
        let (meta, payload) = opened.unwrap_or_else(|error| panic!("{case}: {error}"));
        let header = &row["header"];
        let generations = list(&header["generations"]).iter();
        let expected = Meta {
            created_ms: number(&header["created_ms"]),
            lifetime: lifetime(header),
            sliding: number(&header["fresh_ms"]) != 0 && number(&header["hard_ms"]) == 0,
            cost: Duration::from_micros(number(&header["cost_us"])),
            generations: generations
                .map(|hex| u64::from_str_radix(text(hex), 16).expect("hexadecimal digits"))
                .collect(),
        };
        assert_eq!(meta, expected, "{case}");
        assert_eq!(hex(&payload), text(&row["payload"]), "{case}");
        let flagged = |flag| list(&row["flags"]).iter().any(|found| found == flag);
        if flagged("Canonical") || flagged("Written") {
            let written = pipeline.wrap(name, &meta, payload.to_vec());
            let written = written.unwrap_or_else(|error| panic!("{case}: {error}"));
            if flagged("Canonical") {
                assert_eq!(hex(&written), hex(&stored), "{case}");
            } else {
                assert_eq!(written.len(), stored.len(), "{case}");
                let again = pipeline.open(name, written);
                let again = again.unwrap_or_else(|error| panic!("{case}: {error}"));
                assert_eq!(again, (meta, payload), "{case}");
            }
        }
    });
    let ours = FORMATS
        .iter()
        .filter(|format| format.framing == Framing::Cachekit);
    assert_eq!(formats.len(), ours.count(), "vectors for {formats:?} only");
}

fn keyring(group: &Value) -> Arc<Keyring> {
    let master = |digits| MasterKey::from_hex(text(digits)).expect("a master key");
    let previous = list(&group["previousMasterKeys"]).iter().map(master);
    let keyring = Keyring::new(master(&group["masterKey"]), previous.collect());
    Arc::new(keyring.expect("few keys"))
}

/// The fields as the derived `Debug` shows them: a new option needs nothing here.
fn shown(options: &Options) -> Map<String, Value> {
    let text = format!("{options:?}");
    let fields = text
        .strip_prefix("Options { ")
        .and_then(|text| text.strip_suffix(" }"))
        .expect("it is a struct");
    let field = |field: &str| {
        let (name, value) = field.split_once(": ").expect("a name and a value");
        let some = value
            .strip_prefix("Some(")
            .and_then(|value| value.strip_suffix(')'));
        (name.to_owned(), json(some.unwrap_or(value)))
    };
    fields.split(", ").map(field).collect()
}

/// A duration in seconds, a number, a truth value or a text; an enum's value in lower case.
fn json(shown: &str) -> Value {
    let units = [("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9), ("s", 1.0)];
    let seconds = units.into_iter().find_map(|(unit, scale)| {
        let number: f64 = shown.strip_suffix(unit)?.parse().ok()?;
        Some(Value::from(number * scale))
    });
    seconds
        .or_else(|| serde_json::from_str(shown).ok())
        .unwrap_or_else(|| shown.to_lowercase().into())
}

#[test]
fn presets_decide_what_the_vectors_say() {
    let mut names = Vec::new();
    each_row("preset.json", "Preset", |_, row| {
        let name = text(&row["preset"]);
        names.push(name.to_owned());
        let preset = Preset::ALL.iter().find(|preset| preset.name() == name);
        let preset = preset.unwrap_or_else(|| panic!("no preset {name}"));
        let found = shown(&preset.options());
        for (option, value) in row["options"].as_object().expect("a row has options") {
            assert_eq!(found.get(option), Some(value), "{name}: {option}");
        }
    });
    let all: Vec<_> = Preset::ALL.iter().map(|preset| preset.name()).collect();
    assert_eq!(names, all);
}

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

#[test]
fn names_are_those_of_the_vectors() {
    each_row("key.json", "EntryName", |_, row| {
        let case = format!("{}: {}", row["tcId"], row["comment"]);
        let version = row["version"].as_str();
        let identity = Identity::new(text(&row["application"]), text(&row["name"]), version);
        let hash = bytes(&row["hash"]).try_into().expect("32 bytes");
        assert_eq!(
            identity.entry_name(&KeyHash(hash)),
            text(&row["entry"]).as_bytes(),
            "{case}"
        );
        assert_eq!(
            identity.generation_name(),
            text(&row["generation"]).as_bytes(),
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
    let members = value
        .as_object()
        .unwrap_or_else(|| panic!("{value} has no type"));
    let (kind, value) = members.iter().next().expect("one member");
    match kind.as_str() {
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

/// Whatever MessagePack can say, for `serde`.
#[derive(Debug, PartialEq)]
enum Any {
    None,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Str(String),
    Bytes(Vec<u8>),
    List(Vec<Self>),
    Dict(BTreeMap<String, Self>),
}

impl Any {
    fn of(value: &Value) -> Self {
        let (kind, value) = value
            .as_object()
            .and_then(|members| members.iter().next())
            .expect("one member");
        match kind.as_str() {
            "none" => Self::None,
            "bool" => Self::Bool(flag(value)),
            "int" => text(value).parse().map_or_else(
                |_| Self::Uint(text(value).parse().expect("64 bits")),
                Self::Int,
            ),
            "float" => Self::Float(f64::from_be_bytes(
                bytes(value).try_into().expect("eight bytes"),
            )),
            "str" => Self::Str(text(value).to_owned()),
            "bytes" => Self::Bytes(bytes(value)),
            "list" => Self::List(list(value).iter().map(Self::of).collect()),
            "dict" => {
                let item = |pair: &Value| (text(&pair[0]["str"]).to_owned(), Self::of(&pair[1]));
                Self::Dict(list(value).iter().map(item).collect())
            }
            other => panic!("MessagePack has no {other}"),
        }
    }
}

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::None => to.serialize_none(),
            Self::Bool(value) => to.serialize_bool(*value),
            Self::Int(value) => to.serialize_i64(*value),
            Self::Uint(value) => to.serialize_u64(*value),
            Self::Float(value) => to.serialize_f64(*value),
            Self::Str(value) => to.serialize_str(value),
            Self::Bytes(value) => to.serialize_bytes(value),
            Self::List(items) => items.serialize(to),
            Self::Dict(items) => items.serialize(to),
        }
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Any;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a value of MessagePack")
            }
            fn visit_unit<E>(self) -> std::result::Result<Any, E> {
                Ok(Any::None)
            }
            fn visit_bool<E>(self, value: bool) -> std::result::Result<Any, E> {
                Ok(Any::Bool(value))
            }
            fn visit_i64<E>(self, value: i64) -> std::result::Result<Any, E> {
                Ok(Any::Int(value))
            }
            fn visit_u64<E>(self, value: u64) -> std::result::Result<Any, E> {
                Ok(i64::try_from(value).map_or(Any::Uint(value), Any::Int))
            }
            fn visit_f64<E>(self, value: f64) -> std::result::Result<Any, E> {
                Ok(Any::Float(value))
            }
            fn visit_str<E>(self, value: &str) -> std::result::Result<Any, E> {
                Ok(Any::Str(value.to_owned()))
            }
            fn visit_bytes<E>(self, value: &[u8]) -> std::result::Result<Any, E> {
                Ok(Any::Bytes(value.to_vec()))
            }
            fn visit_seq<A: SeqAccess<'de>>(
                self,
                mut from: A,
            ) -> std::result::Result<Any, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = from.next_element()? {
                    items.push(item);
                }
                Ok(Any::List(items))
            }
            fn visit_map<A: MapAccess<'de>>(
                self,
                mut from: A,
            ) -> std::result::Result<Any, A::Error> {
                let mut items = BTreeMap::new();
                while let Some((key, value)) = from.next_entry()? {
                    items.insert(key, value);
                }
                Ok(Any::Dict(items))
            }
        }

        from.deserialize_any(Read)
    }
}

/// The record of the vectors, as a program would have it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Person {
    id: u32,
    name: String,
    note: Option<String>,
    tags: Vec<String>,
    score: f64,
    active: bool,
    address: Address,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Address {
    zip: String,
    city: String,
}

#[test]
fn values_of_serde_have_the_bytes_of_the_vectors() {
    each_row("messagepack.json", "Value", |_, row| {
        let codec = MessagePack::<Any>::new();
        let (value, encoded) = (Any::of(&row["value"]), bytes(&row["encoded"]));
        assert_eq!(
            hex(&codec.encode(&value).expect("plain data")),
            hex(&encoded),
            "{row}"
        );
        assert_eq!(
            codec.decode(&encoded.into()).expect("valid"),
            value,
            "{row}"
        );
    });
}

#[test]
fn a_struct_has_the_bytes_of_a_dict_of_its_fields() {
    each_row("messagepack.json", "Record", |_, row| {
        let codec = MessagePack::<Person>::new();
        let ada = Person {
            id: 300,
            name: "Ada".to_owned(),
            note: None,
            tags: vec!["a".to_owned(), "b".to_owned()],
            score: 0.25,
            active: true,
            address: Address {
                zip: "0815".to_owned(),
                city: "Bern".to_owned(),
            },
        };
        let encoded = bytes(&row["encoded"]);
        assert_eq!(hex(&codec.encode(&ada).expect("plain data")), hex(&encoded));
        assert_eq!(codec.decode(&encoded.into()).expect("valid"), ada);
    });
}
