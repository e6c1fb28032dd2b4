use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::*;

fn name<K: CacheKey + ?Sized>(key: &K) -> String {
    hash(key).unwrap().to_hex()
}

fn code<T: fmt::Debug>(result: Result<T>) -> ErrorCode {
    result.unwrap_err().code()
}

#[test]
fn arguments_that_are_one_to_other_languages_are_one() {
    assert_eq!(name(&2.0), name(&2));
    assert_eq!(name(&-0.0), name(&0));
    assert_eq!(name(&9_223_372_036_854_775_808.0), name(&(1_u64 << 63)));
    assert_ne!(name(&1.5), name(&1));
    assert_eq!(name(&((1, 2),)), name(&[1, 2]), "a tuple is a list");
    assert_eq!(
        name(&BTreeSet::from([10, -1, 3])),
        name(&[3, 10, -1]),
        "a set is an array, sorted by encoded bytes"
    );
    let map = BTreeMap::from([("b", 1), ("aa", 2)]);
    let mut sorted = Writer::new(64);
    sorted.raw(b"\x91\x82\xa2aa\x02\xa1b\x01").unwrap();
    assert_eq!(
        hash(&map).unwrap(),
        KeyHash::of(sorted.as_bytes()),
        "by code points, not by length"
    );
}

#[test]
fn what_others_cannot_make_is_no_argument() {
    for refused in [
        hash(&f64::NAN),
        hash(&f64::INFINITY),
        hash(&(i128::from(i64::MIN) - 1)),
        hash(&(u128::from(u64::MAX) + 1)),
        hash(&BTreeMap::from([(1, 2)])),
    ] {
        assert_eq!(code(refused), ErrorCode::InteropUnsupported);
    }
    assert!(hash(&u64::MAX).is_ok());
    assert!(hash(&i64::MIN).is_ok());
}

#[test]
fn segments_match_in_full() {
    let long = "a".repeat(65);
    for wrong in ["", "A", "-a", ".a", "a:b", "a b", "a\n", "ä", "a..b", &long] {
        assert_eq!(
            code(identity(wrong, "op")),
            ErrorCode::InteropSegment,
            "{wrong}"
        );
        assert_eq!(
            code(identity("t", wrong)),
            ErrorCode::InteropSegment,
            "{wrong}"
        );
    }
    for reserved in RESERVED {
        assert_eq!(code(identity(reserved, "op")), ErrorCode::InteropSegment);
        assert!(identity("t", reserved).is_ok());
    }
    let identity = identity(&long[1..], "0._-").unwrap();
    assert!(
        identity
            .entry_name(&KeyHash([0; 32]))
            .starts_with(&long.as_bytes()[1..])
    );
    assert_eq!(identity.generation_name(), None);
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct User {
    name: String,
    age: u32,
    score: f32,
    tags: Vec<String>,
}

#[test]
fn a_value_has_one_document() {
    let user = User {
        name: "alice".into(),
        age: 30,
        score: 2.0,
        tags: vec!["x".into()],
    };
    let codec = Document::new();
    let bytes = codec.encode(&user).unwrap();
    assert_eq!(
        bytes, b"\x84\xa3age\x1e\xa4name\xa5alice\xa5score\xcb\x40\0\0\0\0\0\0\0\xa4tags\x91\xa1x",
        "sorted, floats of 64 bits"
    );
    assert_eq!(codec.decode(&bytes.into()).unwrap(), user);
    let foreign =
        b"\x84\xa4tags\xdc\0\x01\xd9\x01x\xa5score\xca\x40\0\0\0\xa4name\xa5alice\xa3age\xcd\0\x1e";
    assert_eq!(codec.decode(&Bytes::from_static(foreign)).unwrap(), user);
    let mut trailing = foreign.to_vec();
    trailing.push(0);
    assert_eq!(
        code(codec.decode(&trailing.into())),
        ErrorCode::ValueCorrupt
    );
}

#[test]
fn what_others_cannot_read_is_no_value() {
    assert_eq!(
        code(Document::new().encode(&f64::NAN)),
        ErrorCode::InteropUnsupported
    );
    assert_eq!(
        code(Document::new().encode(&BTreeMap::from([(1, 2)]))),
        ErrorCode::InteropUnsupported
    );
}
