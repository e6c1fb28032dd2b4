//! The published vectors of `interop/v1`, by arguments and values of Rust.

use bytes::Bytes;
use cachekit_runtime::cache::Codec;
use cachekit_runtime::error::Result;
use cachekit_runtime::interop::{self, Document};
use cachekit_runtime::key::CacheKey;
use cachekit_runtime::native::{Writer, types};
use serde_json::Value;

use crate::messagepack::Any;
use crate::rows::{bytes, hex, list, tagged, text};

fn vectors(group: &str) -> Vec<Value> {
    let file = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/published/interop.json"
    );
    let vectors = std::fs::read_to_string(file).expect("it is in the repository");
    let vectors: Value = serde_json::from_str(&vectors).expect("the vectors are JSON");
    let rows = list(&vectors[group]).to_vec();
    assert!(!rows.is_empty());
    rows
}

/// Arguments of the vectors, as keys of Rust.
struct Args<'a>(&'a [Value]);

impl CacheKey for Args<'_> {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        writer.ext(types::TUPLE)?;
        array(self.0, writer)
    }

    fn encode_arguments(&self, writer: &mut Writer) -> Result<()> {
        self.encode(writer)
    }
}

fn array(items: &[Value], writer: &mut Writer) -> Result<()> {
    writer.array(items.len())?;
    items.iter().try_for_each(|item| argument(item, writer))
}

fn argument(value: &Value, writer: &mut Writer) -> Result<()> {
    match value {
        Value::Null => writer.nil(),
        Value::Bool(flag) => writer.bool(*flag),
        Value::Number(number) => number.as_i64().expect("an integer").encode(writer),
        Value::String(text) => writer.str(text),
        Value::Array(items) => array(items, writer),
        Value::Object(members) if !members.keys().any(|name| name.starts_with('$')) => {
            writer.map(members.len())?;
            members.iter().try_for_each(|(name, value)| {
                writer.str(name)?;
                argument(value, writer)
            })
        }
        Value::Object(_) => match tagged(value) {
            ("$set", items) => {
                writer.ext(types::SET)?;
                array(list(items), writer)
            }
            ("$bytes", digits) => writer.bin(&bytes(digits)),
            ("$int", digits) => text(digits).parse::<i128>().expect("digits").encode(writer),
            ("$float", digits) => text(digits).parse::<f64>().expect("a float").encode(writer),
            // Rust has no type of its own for these two: what others make of theirs.
            ("$uuid", digits) => writer.str(&text(digits).to_lowercase()),
            ("$datetime", moment) => {
                assert_eq!(
                    text(moment),
                    "2024-01-01T00:00:00+00:00",
                    "its seconds are written below"
                );
                writer.float(1_704_067_200.0)
            }
            (kind, _) => panic!("there is no {kind}"),
        },
    }
}

#[test]
fn keys_are_those_of_the_vectors() {
    for row in vectors("key_vectors") {
        let identity = interop::identity(text(&row["namespace"]), text(&row["operation"]));
        let hash = interop::hash(&Args(list(&row["args"]))).expect("it is an argument");
        let name = identity.expect("it is one").entry_name(&hash);
        assert_eq!(
            String::from_utf8_lossy(&name),
            text(&row["expected_key"]),
            "{row}"
        );
    }
}

#[test]
fn values_are_those_of_the_vectors() {
    for row in vectors("value_vectors") {
        let codec = Document::<serde_json::Value>::new();
        let document = bytes(&row["canonical_msgpack_hex"]);
        assert_eq!(
            hex(&codec.encode(&row["value"]).expect("plain data")),
            hex(&document)
        );
        assert_eq!(
            codec.decode(&Bytes::from(document)).expect("valid"),
            row["value"]
        );
    }
}

#[test]
fn what_has_one_form_already_keeps_it() {
    crate::rows::each_row("messagepack.json", "Value", |_, row| {
        let (value, encoded) = (Any::of(&row["value"]), bytes(&row["encoded"]));
        match Document::<Any>::new().encode(&value) {
            Ok(document) => assert_eq!(hex(&document), hex(&encoded), "{row}"),
            Err(error) => assert!(error.to_string().contains("NaN"), "{row}: {error}"),
        }
    });
}

#[test]
fn what_the_vectors_refuse_is_refused() {
    for row in vectors("error_vectors") {
        // There is no type with a time and no zone.
        if row["args"][0]["$datetime"].is_string() {
            continue;
        }
        let part = |name: &str| row[name].as_str().unwrap_or("t").to_owned();
        let identity = interop::identity(&part("namespace"), &part("operation"));
        let hash = interop::hash(&Args(list(&row["args"])));
        assert!(identity.is_err() || hash.is_err(), "{row}");
    }
}
