//! `options.py`: what the decorator checks options against.

use askama::Template;

use super::{WIDTH, choices, literal, python_type};
use crate::emit::Fault;
use crate::emit::text::{docstring, generated, line, quoted};
use crate::model::{OptionSpec, Spec};

/// The options that the mapping `l1` may hold.
const LIMITS: [&str; 2] = ["max_entries", "max_bytes"];

#[derive(Template)]
#[template(path = "python/options.py.jinja", escape = "none")]
struct Module {
    generated: String,
    /// Name and meaning of each limit.
    limits: Vec<(String, String)>,
    /// Name and construction of each option.
    options: Vec<(String, String)>,
    presets: Vec<Preset>,
}

struct Preset {
    name: String,
    values: Vec<(String, String)>,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let limits = LIMITS.iter().filter_map(|name| spec.option(name));
    let view = Module {
        generated: generated("spec/schema/cachekit/spec/v1/preset.proto and spec/presets"),
        limits: limits
            .map(|option| (option.name.clone(), docstring(&line(&option.doc))))
            .collect(),
        options: spec
            .options
            .iter()
            .map(|option| (quoted(&option.name), construction(spec, option)))
            .collect(),
        presets: spec
            .presets
            .iter()
            .map(|preset| Preset {
                name: quoted(&preset.name),
                values: preset
                    .values
                    .iter()
                    .map(|decided| (quoted(&decided.option), literal(&decided.value)))
                    .collect(),
            })
            .collect(),
    };
    Ok(view.render()?)
}

/// `Option(...)`, on one line if that fits.
fn construction(spec: &Spec, option: &OptionSpec) -> String {
    let types: Vec<_> = python_type(spec, option)
        .split('|')
        .map(|part| quoted(part.trim().split('[').next().unwrap_or_default()))
        .collect();
    let mut arguments = vec![quoted(&option.name), tuple(&types)];
    let mut keyword = |name: &str, value: Option<String>| {
        arguments.extend(value.map(|value| format!("{name}={value}")));
    };
    let yes = |holds: bool, text: &str| holds.then(|| text.to_owned());
    keyword("keyword", yes(!option.is_keyword(), "False"));
    keyword("unit", option.unit.as_deref().map(quoted));
    keyword("minimum", option.min.map(|min| min.to_string()));
    keyword("maximum", option.max.map(|max| max.to_string()));
    keyword("exclusive_minimum", yes(option.exclusive_min, "True"));
    let choices = choices(spec, option);
    keyword("choices", (!choices.is_empty()).then(|| tuple(&choices)));
    keyword("none", option.none.as_deref().map(quoted));
    keyword("env", option.env.as_deref().map(quoted));
    let presets: Vec<_> = option
        .env_presets
        .iter()
        .map(|preset| quoted(preset))
        .collect();
    keyword(
        "env_presets",
        (!presets.is_empty()).then(|| tuple(&presets)),
    );
    keyword("env_scale", option.env_scale.map(|scale| scale.to_string()));

    let one_line = format!("Option({})", arguments.join(", "));
    // Behind four spaces, the quoted name and `: `, before a comma.
    if one_line.len() + option.name.len() + 9 <= WIDTH {
        return one_line;
    }
    format!("Option(\n        {},\n    )", arguments.join(",\n        "))
}

fn tuple(items: &[String]) -> String {
    match items {
        [one] => format!("({one},)"),
        _ => format!("({})", items.join(", ")),
    }
}
