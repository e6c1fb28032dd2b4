//! Runs the vectors of an independent encoder: entries and keys must have the same bytes in every language.

mod arguments;
mod interop;
mod messagepack;
mod published;
mod rows;
mod values;

use std::sync::Arc;
use std::time::Duration;

use cachekit_runtime::envelope::{Meta, Name, Pipeline};
use cachekit_runtime::generated::config::Options;
use cachekit_runtime::generated::envelope::{FORMATS, Framing};
use cachekit_runtime::generated::presets::{self, Preset};
use cachekit_runtime::generated::wire;
use cachekit_runtime::key::{Identity, KeyHash};
use cachekit_runtime::keyring::{Keyring, MasterKey};
use serde_json::{Map, Value};

use crate::rows::{bytes, each_row, hex, list, number, text};

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
            identity.generation_name().unwrap(),
            text(&row["generation"]).as_bytes(),
            "{case}"
        );
    });
}
