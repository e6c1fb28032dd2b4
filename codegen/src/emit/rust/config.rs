//! `config.rs`: every option as a field, with its range.

use askama::Template;

use super::{Enumeration, docs, duration, float, integer, whole};
use crate::emit::Fault;
use crate::emit::text::{capitalized, generated, quoted, range};
use crate::model::{Decider, OptionKind, OptionSpec, Spec};

#[derive(Template)]
#[template(path = "rust/config.rs.jinja", escape = "none")]
struct Module {
    generated: String,
    durations: bool,
    borrows: bool,
    enums: Vec<Enumeration>,
    docs: String,
    fields: Vec<Field>,
    checks: Vec<Check>,
}

struct Field {
    docs: String,
    name: String,
    rust_type: String,
}

struct Check {
    name: String,
    optional: bool,
    shown: String,
    legal: String,
    reason: String,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let options: Vec<_> = spec
        .options
        .iter()
        .filter(|option| !option.python_only)
        .collect();
    let enums = spec
        .enums
        .iter()
        .filter(|found| {
            options
                .iter()
                .any(|option| option.kind == OptionKind::Enum(found.full_name.clone()))
        })
        .map(|found| Enumeration::of(found, |_| true))
        .collect();
    let fields: Vec<_> = options
        .iter()
        .map(|option| Field {
            docs: docs(&description(spec, option)),
            name: option.name.clone(),
            rust_type: rust_type(spec, option),
        })
        .collect();
    let config = Module {
        generated: generated("spec/schema/cachekit/spec/v1/preset.proto"),
        durations: fields
            .iter()
            .any(|field| field.rust_type.contains("Duration")),
        borrows: fields.iter().any(|field| field.rust_type.contains("Cow")),
        enums,
        docs: docs(&spec.options_doc),
        fields,
        checks: options.iter().filter_map(|option| check(option)).collect(),
    };
    Ok(config.render()?)
}

/// Whether its type in Rust is an `Option`.
pub(super) fn is_optional(option: &OptionSpec) -> bool {
    option.none.is_some() || !option.preset_decides()
}

fn rust_type(spec: &Spec, option: &OptionSpec) -> String {
    let inner = match &option.kind {
        OptionKind::Bool => "bool".to_owned(),
        OptionKind::Uint => "u64".to_owned(),
        OptionKind::Float if option.is_duration() => "Duration".to_owned(),
        OptionKind::Float => "f64".to_owned(),
        OptionKind::Text => match option.decided_by {
            Decider::PresetOnly => "&'static str".to_owned(),
            Decider::Preset => "Cow<'static, str>".to_owned(),
            Decider::Caller | Decider::Unspecified => "String".to_owned(),
        },
        OptionKind::Enum(name) | OptionKind::Other(name) => spec
            .enumeration(name)
            .map_or(name, |found| &found.name)
            .clone(),
    };
    if is_optional(option) {
        format!("Option<{inner}>")
    } else {
        inner
    }
}

fn description(spec: &Spec, option: &OptionSpec) -> String {
    let mut text = vec![option.doc.clone()];
    text.extend(option.none.as_ref().map(|none| format!("`None`: {none}.")));
    let mut facts = Vec::new();
    facts.extend(option.unit.as_ref().map(|unit| format!("Unit: {unit}.")));
    facts.extend(range(option).map(|range| format!("{}.", capitalized(&range))));
    let default = spec
        .preset("default")
        .and_then(|preset| preset.value(&option.name));
    facts.extend(default.map(|default| format!("Default: {}.", default.value.display())));
    format!("{}\n\n{}", text.join(" "), facts.join(" "))
}

fn check(option: &OptionSpec) -> Option<Check> {
    let reason = range(option)?;
    let optional = is_optional(option);
    let place = if optional {
        option.name.clone()
    } else {
        format!("self.{}", option.name)
    };
    let bound = |bound: f64| {
        if option.is_duration() {
            duration(bound)
        } else if option.kind == OptionKind::Uint {
            integer(whole(bound))
        } else {
            float(bound)
        }
    };
    let legal = match (option.min.map(bound), option.max.map(bound)) {
        (Some(min), Some(max)) if option.exclusive_min => {
            format!("{place} > {min} && {place} <= {max}")
        }
        (Some(min), Some(max)) => format!("({min}..={max}).contains(&{place})"),
        (Some(min), None) if option.exclusive_min => format!("{place} > {min}"),
        // An unsigned number is never less, and the compiler says so.
        (Some(_), None) if option.kind == OptionKind::Uint && option.min == Some(0.0) => {
            return None;
        }
        (Some(min), None) => format!("{place} >= {min}"),
        (None, Some(max)) => format!("{place} <= {max}"),
        (None, None) => return None,
    };
    let shown = if option.is_duration() {
        format!("{place}.as_secs_f64()")
    } else {
        place
    };
    let unit = option
        .unit
        .as_ref()
        .map_or(String::new(), |unit| format!(" {unit}"));
    Some(Check {
        name: option.name.clone(),
        optional,
        shown,
        legal,
        reason: quoted(&format!("must be {reason}{unit}")),
    })
}
