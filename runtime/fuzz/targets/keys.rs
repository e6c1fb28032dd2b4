//! Keys: the encoding of arguments, and the names that are made of them.

use cachekit_runtime::error::Result;
use cachekit_runtime::key::{Identity, KeyHash};
use cachekit_runtime::native::{Writer, types};

use super::values::rewritten;

/// Most containers in containers; deeper ones are `native_decode`'s.
const DEPTH: u32 = 6;

/// Takes the bytes for two calls, and holds their keys to what keys promise: one encoding for whatever order a set or a dict
/// came in, which is read back, and of which none begins another; names from which the parts can be had again.
pub(crate) fn key_encoding(data: &[u8]) {
    let (left, right) = data.split_at(data.len() / 2);
    let [left_key, right_key] = [left, right].map(encoded);
    assert_eq!(
        left_key == right_key,
        KeyHash::of(&left_key) == KeyHash::of(&right_key)
    );
    if left_key != right_key {
        assert!(!left_key.starts_with(&right_key) && !right_key.starts_with(&left_key));
    }
    names(data, &KeyHash::of(&left_key));
}

fn encoded(data: &[u8]) -> Vec<u8> {
    let value = Value::take(&mut &*data, DEPTH);
    let [forwards, backwards] = [false, true].map(|backwards| {
        let mut writer = Writer::new(usize::MAX);
        value
            .write(&mut writer, backwards)
            .expect("there is no limit");
        writer.into_vec()
    });
    assert_eq!(forwards, backwards);
    assert_eq!(rewritten(&forwards).as_ref(), Some(&forwards));
    forwards
}

fn names(data: &[u8], hash: &KeyHash) {
    let text = String::from_utf8_lossy(data);
    let mut parts = text.splitn(3, ' ');
    let application = parts.next().unwrap_or_default();
    let name = parts.next().unwrap_or_default();
    let version = parts.next();
    let identity = Identity::new(application, name, version);
    let entry = String::from_utf8(identity.entry_name(hash)).expect("names are text");
    let stem = entry
        .strip_suffix(&hash.to_hex())
        .expect("the hash ends it");
    assert_eq!(
        [stem.as_bytes(), b"gen"].concat(),
        identity
            .generation_name()
            .expect("entries have generations")
    );
    let fields: Vec<_> = stem.split(':').collect();
    let [prefix, app, function, end] = fields[..] else {
        panic!("{stem} has {} fields", fields.len());
    };
    assert_eq!((prefix, end, function), ("ck", "", identity.text()));
    let (function, at) = match function.split_once('@') {
        Some((function, at)) => (function, Some(plain(at))),
        None => (function, None),
    };
    assert_eq!(
        (plain(app), plain(function)),
        (application.into(), name.into())
    );
    assert_eq!(at.as_deref(), version);
}

/// Percent-encoded text as it was.
fn plain(escaped: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = escaped.as_bytes();
    while let Some((&byte, tail)) = rest.split_first() {
        rest = tail;
        if byte == b'%' {
            let digits = std::str::from_utf8(&rest[..2]).expect("digits are ASCII");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits follow"));
            rest = &rest[2..];
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).expect("it was text")
}

enum Value {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    Bytes(Vec<u8>),
    Items(Option<u8>, Vec<Value>),
    Map(Vec<(Value, Value)>),
}

impl Value {
    fn take(data: &mut &[u8], depth: u32) -> Self {
        let kind = byte(data);
        match kind % if depth == 0 { 6 } else { 11 } {
            0 => Self::Nil,
            1 => Self::Bool(byte(data) & 1 == 0),
            2 => Self::Int(i64::from_be_bytes(word(data)) >> (kind & 0x38)),
            3 => Self::Float(f64::from_be_bytes(word(data))),
            4 => Self::Text(String::from_utf8_lossy(some(data)).into_owned()),
            5 => Self::Bytes(some(data).to_vec()),
            6 => Self::Items(None, Self::several(data, depth)),
            7 => Self::Items(Some(types::TUPLE), Self::several(data, depth)),
            8 => Self::Items(Some(types::SET), Self::several(data, depth)),
            9 => Self::Items(Some(types::FROZENSET), Self::several(data, depth)),
            _ => {
                let keys = Self::several(data, depth);
                let pair = |key| (key, Self::take(data, depth - 1));
                Self::Map(keys.into_iter().map(pair).collect())
            }
        }
    }

    fn several(data: &mut &[u8], depth: u32) -> Vec<Self> {
        let count = usize::from(byte(data) % 18).min(data.len());
        (0..count).map(|_| Self::take(data, depth - 1)).collect()
    }

    fn write(&self, out: &mut Writer, backwards: bool) -> Result<()> {
        match self {
            Self::Nil => out.nil(),
            Self::Bool(value) => out.bool(*value),
            Self::Int(value) => out.int(*value),
            Self::Float(value) => out.float(*value),
            Self::Text(text) => out.str(text),
            Self::Bytes(bytes) => out.bin(bytes),
            Self::Items(kind, items) => {
                if let Some(kind) = kind {
                    out.ext(*kind)?;
                }
                out.array(items.len())?;
                if matches!(*kind, Some(types::SET | types::FROZENSET)) {
                    return sorted(out, items, backwards, |out, item| {
                        item.write(out, backwards)
                    });
                }
                items.iter().try_for_each(|item| item.write(out, backwards))
            }
            Self::Map(items) => {
                out.map(items.len())?;
                sorted(out, items, backwards, |out, (key, value)| {
                    key.write(out, backwards)?;
                    value.write(out, backwards)
                })
            }
        }
    }
}

fn sorted<T>(
    out: &mut Writer,
    items: &[T],
    backwards: bool,
    mut write: impl FnMut(&mut Writer, &T) -> Result<()>,
) -> Result<()> {
    let group = out.group();
    for at in 0..items.len() {
        let at = if backwards { items.len() - 1 - at } else { at };
        write(out, &items[at])?;
        out.part(&group);
    }
    out.sort(group);
    Ok(())
}

/// The next byte; zero behind the end.
fn byte(data: &mut &[u8]) -> u8 {
    let (first, rest) = data.split_first().unwrap_or((&0, &[]));
    *data = rest;
    *first
}

fn word(data: &mut &[u8]) -> [u8; 8] {
    std::array::from_fn(|_| byte(data))
}

/// As many bytes as the next one says, or what is left of them.
fn some<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::from(byte(data)).min(data.len());
    let (bytes, rest) = data.split_at(length);
    *data = rest;
    bytes
}
