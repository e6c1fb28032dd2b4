//! `presets.md`, where the presets stand side by side, and `options.md`, where each option stands alone.

use askama::Template;

use super::{cell, prose, size};
use crate::emit::Fault;
use crate::emit::text::{capitalized, generated, range};
use crate::model::{Decider, OptionKind, OptionSpec, Preset, Spec, Value};

#[derive(Template)]
#[template(path = "docs/presets.md.jinja", escape = "none")]
struct PresetPage {
    generated: String,
    presets: Vec<PresetRow>,
    /// One row for each option: its name and its value in each preset.
    options: Vec<(String, Vec<String>)>,
}

struct PresetRow {
    name: String,
    decorator: String,
    constant: String,
    summary: String,
    why: String,
    extends: String,
    /// Options of its own that it says something about, and what.
    notes: Vec<(String, String)>,
}

#[derive(Template)]
#[template(path = "docs/options.md.jinja", escape = "none")]
struct OptionPage {
    generated: String,
    presets: Vec<String>,
    options: Vec<OptionRow>,
}

struct OptionRow {
    name: String,
    keyword: &'static str,
    option_type: String,
    unit: String,
    range: String,
    default: String,
    env: String,
    doc: String,
    facts: Vec<String>,
    /// What each preset decides; nothing where the caller alone does.
    values: Vec<String>,
}

pub(super) fn presets(spec: &Spec) -> Result<String, Fault> {
    let default = spec.preset("default");
    let rows = spec.presets.iter().map(|preset| PresetRow {
        name: preset.name.clone(),
        decorator: decorator(preset),
        constant: preset.name.to_uppercase(),
        summary: cell(&preset.summary),
        why: prose(&preset.doc),
        extends: preset.extends.clone().unwrap_or_default(),
        notes: preset
            .values
            .iter()
            .filter(|decided| decided.from == preset.name && !decided.doc.is_empty())
            .map(|decided| (decided.option.clone(), prose(&decided.doc)))
            .collect(),
    });
    let decided = spec.options.iter().filter(|option| option.preset_decides());
    let options = decided.map(|option| {
        let usual = default.and_then(|default| shown(default, option));
        let values = spec
            .presets
            .iter()
            .map(|preset| match shown(preset, option) {
                Some(value) if usual.as_ref() == Some(&value) => value,
                Some(value) => format!("**{value}**"),
                None => String::new(),
            });
        (option.name.clone(), values.collect())
    });
    let page = PresetPage {
        generated: generated("spec/presets"),
        presets: rows.collect(),
        options: options.collect(),
    };
    Ok(page.render()?)
}

pub(super) fn options(spec: &Spec) -> Result<String, Fault> {
    let rows = spec.options.iter().map(|option| {
        let default = spec
            .preset("default")
            .and_then(|default| shown(default, option));
        let values = spec.presets.iter().filter(|_| option.preset_decides());
        OptionRow {
            name: option.name.clone(),
            keyword: if option.is_keyword() { "yes" } else { "no" },
            option_type: cell(&option_type(spec, option)),
            unit: option.unit.clone().unwrap_or_default(),
            range: range(option).unwrap_or_default(),
            default: default.unwrap_or_default(),
            env: option
                .env
                .as_ref()
                .map_or(String::new(), |env| format!("`{env}`")),
            doc: prose(&option.doc),
            facts: facts(option),
            values: values
                .map(|preset| shown(preset, option).unwrap_or_default())
                .collect(),
        }
    });
    let page = OptionPage {
        generated: generated("spec/schema/cachekit/spec/v1/preset.proto and spec/presets"),
        presets: spec
            .presets
            .iter()
            .map(|preset| preset.name.clone())
            .collect(),
        options: rows.collect(),
    };
    Ok(page.render()?)
}

fn decorator(preset: &Preset) -> String {
    if preset.name == "default" {
        "@cache".to_owned()
    } else {
        format!("@cache.{}", preset.name)
    }
}

/// What the preset decides, with its unit.
fn shown(preset: &Preset, option: &OptionSpec) -> Option<String> {
    let unit = option.unit.as_deref().unwrap_or_default();
    Some(match &preset.value(&option.name)?.value {
        Value::Bool(true) => "on".to_owned(),
        Value::Bool(false) => "off".to_owned(),
        Value::Uint(value) => size(*value, unit),
        value => format!("{} {unit}", value.display()).trim_end().to_owned(),
    })
}

fn option_type(spec: &Spec, option: &OptionSpec) -> String {
    let values = match &option.kind {
        OptionKind::Enum(name) | OptionKind::Other(name) => spec.enumeration(name),
        _ => None,
    };
    let values = values.map_or(String::new(), |found| {
        let values: Vec<_> = found
            .values
            .iter()
            .map(|value| format!("`\"{}\"`", value.short))
            .collect();
        values.join(", ")
    });
    if let Some(python_type) = &option.python_type {
        return match python_type.strip_prefix("Literal | ") {
            Some(other) => format!("{values}, `{other}`"),
            None => format!("`{python_type}`"),
        };
    }
    let kind = match &option.kind {
        OptionKind::Bool => "`bool`".to_owned(),
        OptionKind::Uint => "`int`".to_owned(),
        OptionKind::Float => "`float`".to_owned(),
        OptionKind::Text => "`str`".to_owned(),
        OptionKind::Enum(_) | OptionKind::Other(_) => values,
    };
    if option.none.is_some() {
        format!("{kind}, `None`")
    } else {
        kind
    }
}

fn facts(option: &OptionSpec) -> Vec<String> {
    let mut facts = Vec::new();
    match option.decided_by {
        Decider::Preset => {
            facts.push("Every preset decides it; a keyword overrides it.".to_owned());
        }
        Decider::PresetOnly => {
            facts.push("Every preset decides it; it is not a keyword of the decorator.".to_owned());
        }
        Decider::Caller => facts.push("Only the caller gives it.".to_owned()),
        Decider::Unspecified => {}
    }
    if let Some(range) = range(option) {
        let unit = option
            .unit
            .as_ref()
            .map_or(String::new(), |unit| format!(" {unit}"));
        facts.push(format!("{}{unit}.", capitalized(&range)));
    }
    facts.extend(option.none.as_ref().map(|none| format!("`None`: {none}.")));
    if let Some(env) = &option.env {
        let presets = match &option.env_presets[..] {
            [] => String::new(),
            presets => format!(" in {} alone", list(presets)),
        };
        let scale = option
            .env_scale
            .map_or(String::new(), |scale| format!(", times {scale}"));
        let unless = if option.is_keyword() {
            ", where no keyword does"
        } else {
            ""
        };
        facts.push(format!("`{env}`{scale} sets it{presets}{unless}."));
    }
    if option.python_only {
        facts.push("Only Python has it.".to_owned());
    }
    facts
}

fn list(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}
