//! The formats of the published protocol: entries of an independent encoder, and what derives from them.

use cachekit_runtime::envelope::{Meta, Name, Pipeline};
use cachekit_runtime::generated::envelope::{FORMATS, Framing};
use cachekit_runtime::generated::presets;
use cachekit_runtime::generated::wire::Serializer;
use serde_json::Value;

use crate::keyring;
use crate::rows::{bytes, each_row, hex, list, number, text};

/// A serializer by the name that the protocol has for it.
fn serializer(name: &str) -> Serializer {
    match name {
        "msgpack" => Serializer::Messagepack,
        "json" => Serializer::Json,
        "arrow" => Serializer::Arrow,
        "pickle" => Serializer::Pickle,
        "native" => Serializer::Native,
        "custom" => Serializer::Custom,
        _ => panic!("no serializer {name}"),
    }
}

fn pipeline(group: &Value) -> Pipeline {
    let name = text(&group["format"]);
    let format = FORMATS.iter().find(|format| format.name == name);
    let mut options = presets::DEFAULT;
    options.envelope = format.unwrap_or_else(|| panic!("no format {name}")).name;
    options.max_value_bytes = number(&group["maxValueBytes"]);
    let pipeline = Pipeline::new(&options, serializer(text(&group["serializer"])));
    let pipeline = pipeline.expect("the format is known");
    if pipeline.is_sealed() {
        pipeline.with_keyring(keyring(group))
    } else {
        pipeline
    }
}

#[test]
fn published_entries_open_or_are_refused_as_the_vectors_say() {
    let mut formats = Vec::new();
    each_row("published.json", "PublishedOpen", |group, row| {
        let pipeline = pipeline(group);
        let format = pipeline.format().name;
        if !formats.contains(&format) {
            formats.push(format);
        }
        let case = format!("{format} {}: {}", row["tcId"], row["comment"]);
        let (key, stored) = (bytes(&row["key"]), bytes(&row["stored"]));
        let name = Name {
            tenant: text(&row["tenant"]),
            key: &key,
        };
        let opened = pipeline.open(name, stored.clone().into());
        if row["result"] == "invalid" {
            let error = opened.err().unwrap_or_else(|| panic!("{case} opens"));
            let code = error.code().as_str();
            assert_eq!(code, text(&row["error"]), "{case}: {error}");
            return;
        }
        let (meta, payload) = opened.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(meta, Meta::default(), "{case}");
        assert_eq!(hex(&payload), text(&row["payload"]), "{case}");
        let flagged = |flag| list(&row["flags"]).iter().any(|found| found == flag);
        if !flagged("Canonical") && !flagged("Written") {
            return;
        }
        let written = pipeline.wrap(name, &meta, payload.to_vec());
        let written = written.unwrap_or_else(|error| panic!("{case}: {error}"));
        if flagged("Canonical") {
            assert_eq!(hex(&written), hex(&stored), "{case}");
        }
        let again = pipeline.open(name, written);
        let again = again.unwrap_or_else(|error| panic!("{case}: {error}"));
        assert_eq!(again, (meta, payload), "{case}");
    });
    let theirs = FORMATS
        .iter()
        .filter(|format| format.framing != Framing::Cachekit);
    assert_eq!(
        formats.len(),
        theirs.count(),
        "vectors for {formats:?} only"
    );
}
