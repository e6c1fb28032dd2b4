//! `presets.rs`: every preset as a constant, and by name.

use askama::Template;

use super::config::is_optional;
use super::{docs, duration, float, integer};
use crate::emit::Fault;
use crate::emit::text::{generated, quoted};
use crate::model::{Decider, OptionKind, OptionSpec, Spec, Value};
use crate::resolve::pascal;

#[derive(Template)]
#[template(path = "rust/presets.rs.jinja", escape = "none")]
struct Module {
    generated: String,
    durations: bool,
    borrows: bool,
    imports: Vec<String>,
    presets: Vec<Preset>,
}

struct Preset {
    docs: String,
    constant: String,
    variant: String,
    name: String,
    summary: String,
    fields: Vec<(String, String)>,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let options: Vec<_> = spec
        .options
        .iter()
        .filter(|option| !option.python_only)
        .collect();
    let mut imports: Vec<_> = options
        .iter()
        .filter_map(|option| match &option.kind {
            OptionKind::Enum(name) if option.preset_decides() => spec.enumeration(name),
            _ => None,
        })
        .map(|found| found.name.clone())
        .chain(["Options".to_owned()])
        .collect();
    imports.sort();
    imports.dedup();
    let presets: Vec<_> = spec
        .presets
        .iter()
        .map(|preset| Preset {
            docs: docs(&preset.summary),
            constant: preset.name.to_uppercase(),
            variant: pascal(&preset.name),
            name: quoted(&preset.name),
            summary: quoted(&preset.summary),
            fields: options
                .iter()
                .map(|option| {
                    let decided = preset.value(&option.name).map(|decided| &decided.value);
                    (option.name.clone(), value(spec, option, decided))
                })
                .collect(),
        })
        .collect();
    let used = |word: &str| {
        presets
            .iter()
            .flat_map(|preset| &preset.fields)
            .any(|(_, value)| value.contains(word))
    };
    let view = Module {
        generated: generated("spec/presets"),
        durations: used("Duration::"),
        borrows: used("Cow::"),
        imports,
        presets,
    };
    Ok(view.render()?)
}

fn value(spec: &Spec, option: &OptionSpec, value: Option<&Value>) -> String {
    let Some(value) = value else {
        return "None".to_owned();
    };
    let inner = match value {
        Value::Bool(value) => value.to_string(),
        Value::Uint(value) => integer(*value),
        Value::Float(value) if option.is_duration() => duration(*value),
        Value::Float(value) => float(*value),
        Value::Text(value) if option.decided_by == Decider::Preset => {
            format!("Cow::Borrowed({})", quoted(value))
        }
        Value::Text(value) => quoted(value),
        Value::Enum(value) => {
            let name = match &option.kind {
                OptionKind::Enum(name) => spec.enumeration(name).map_or("", |found| &found.name),
                _ => "",
            };
            format!("{name}::{}", value.pascal)
        }
    };
    if is_optional(option) {
        format!("Some({inner})")
    } else {
        inner
    }
}
