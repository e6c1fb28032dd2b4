//! `presets.py`: the decorator, with a method for each preset and typed keywords for each option.

use askama::Template;

use super::{WIDTH, choices, literal, python_type};
use crate::emit::Fault;
use crate::emit::text::{capitalized, docstring, generated, line, quoted, range, wrap};
use crate::model::{OptionSpec, Preset, Spec, Value};

#[derive(Template)]
#[template(path = "python/presets.py.jinja", escape = "none")]
struct Module {
    generated: String,
    /// From `typing`, for the signatures.
    typing: Vec<&'static str>,
    /// What the signatures import from elsewhere in the standard library.
    standard: Vec<&'static str>,
    /// From the extension.
    native: Vec<&'static str>,
    limits: bool,
    serializer: bool,
    presets: Vec<Method>,
}

struct Method {
    /// `__call__` for the preset without a name.
    function: String,
    name: String,
    summary: String,
    keywords: Vec<Keyword>,
}

struct Keyword {
    name: String,
    python_type: String,
    default: String,
    docs: String,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let presets: Vec<_> = spec
        .presets
        .iter()
        .map(|preset| method(spec, preset))
        .collect();
    let uses = |word: &str| {
        presets
            .iter()
            .flat_map(|preset| &preset.keywords)
            .any(|keyword| keyword.python_type.contains(word))
    };
    let view = Module {
        generated: generated("spec/presets"),
        typing: [
            (true, "Any"),
            (true, "Generic"),
            (uses("Literal"), "Literal"),
            (true, "Protocol"),
            (true, "TypeVar"),
            (true, "overload"),
        ]
        .into_iter()
        .filter_map(|(used, name)| used.then_some(name))
        .collect(),
        standard: [
            (uses("ContextVar"), "from contextvars import ContextVar"),
            (uses("timedelta"), "from datetime import timedelta"),
        ]
        .into_iter()
        .filter_map(|(used, import)| used.then_some(import))
        .collect(),
        native: [
            (true, "AsyncCachedFunction"),
            (uses("Backend"), "Backend"),
            (true, "CachedFunction"),
        ]
        .into_iter()
        .filter_map(|(used, name)| used.then_some(name))
        .collect(),
        limits: uses("L1Limits"),
        serializer: uses("Serializer"),
        presets,
    };
    Ok(view.render()?)
}

fn method(spec: &Spec, preset: &Preset) -> Method {
    Method {
        function: if preset.name == "default" {
            "__call__".to_owned()
        } else {
            preset.name.clone()
        },
        name: quoted(&preset.name),
        summary: docstring(&line(&preset.summary)),
        keywords: spec
            .options
            .iter()
            .filter(|option| option.is_keyword())
            .map(|option| {
                let default = preset.value(&option.name).map(|decided| &decided.value);
                Keyword {
                    name: option.name.clone(),
                    python_type: python_type(spec, option),
                    default: default.map_or("...".to_owned(), literal),
                    docs: docs(spec, option, default),
                }
            })
            .collect(),
    }
}

/// Meaning, range and default of an option, as a paragraph of a docstring.
fn docs(spec: &Spec, option: &OptionSpec, default: Option<&Value>) -> String {
    let unit = option
        .unit
        .as_ref()
        .map_or(String::new(), |unit| format!(" {unit}"));
    let mut facts = vec![format!("{}: {}", option.name, line(&option.doc))];
    facts.extend(option.none.as_ref().map(|none| format!("`None`: {none}.")));
    let choices = choices(spec, option);
    if !choices.is_empty() {
        let choices: Vec<_> = choices.iter().map(|choice| format!("`{choice}`")).collect();
        facts.push(format!("One of {}.", choices.join(", ")));
    }
    facts.extend(range(option).map(|range| format!("{}{unit}.", capitalized(&range))));
    if let Some(default) = default {
        let default = if option.unit.is_some() {
            format!("{}{unit}", default.display())
        } else {
            format!("`{}`", literal(default))
        };
        facts.push(format!("Default: {default}."));
    }
    hanging(&docstring(&facts.join(" "))).join("\n")
}

/// Lines of a docstring's entry: twelve columns of indent, and four more from the second line on.
fn hanging(text: &str) -> Vec<String> {
    let first = wrap(text, WIDTH - 12, 0).swap_remove(0);
    let rest = text[first.len()..].trim_start();
    let mut lines = vec![format!("{:12}{first}", "")];
    if !rest.is_empty() {
        lines.extend(
            wrap(rest, WIDTH - 16, 0)
                .iter()
                .map(|line| format!("{:16}{line}", "")),
        );
    }
    lines
}
