//! Values of serde, as `MessagePack` that every program reads.

use std::collections::BTreeMap;

use cachekit_runtime::cache::{Codec, MessagePack};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::rows::{bytes, each_row, flag, hex, list, tagged, text};

/// Whatever MessagePack can say, for `serde`.
#[derive(Debug, PartialEq)]
pub(crate) enum Any {
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
    pub(crate) fn of(value: &Value) -> Self {
        let (kind, value) = tagged(value);
        match kind {
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
