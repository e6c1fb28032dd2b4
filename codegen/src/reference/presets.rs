//! The vectors of presets: what each decides, as every language must find it.

use serde_json::{Map, Value as Json, json};

use super::wycheproof::{Expect, Group, Row, file, members};
use crate::model::{Spec, Value};

const HEADER: &[&str] = &[
    "A cache that is made from `preset` and from nothing else, with no environment variable set, has `options`.",
    "Numbers are in the option's unit, enums are their values' names.",
];

/// `tests/vectors/preset.json`.
pub(super) fn vectors(spec: &Spec) -> Vec<u8> {
    let rows = spec.presets.iter().map(|preset| {
        let options: Map<_, _> = preset
            .values
            .iter()
            .map(|decided| (decided.option.clone(), json_of(&decided.value)))
            .collect();
        Row {
            comment: preset.summary.clone(),
            flags: Vec::new(),
            input: members([("preset", json!(preset.name))]),
            expect: Expect::Valid(members([("options", Json::Object(options))])),
        }
    });
    let group = Group {
        kind: "Preset",
        parameters: Map::new(),
        rows: rows.collect(),
    };
    file("cachekit presets", HEADER, &[], &[group])
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Uint(value) => json!(value),
        Value::Float(value) => json!(value),
        Value::Text(value) => json!(value),
        Value::Enum(value) => json!(value.short),
    }
}
