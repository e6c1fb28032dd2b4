//! Presets, with what they inherit.

use prost_reflect::Value as Raw;

use super::{Resolver, SPEC_PACKAGE, called};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::load::View;
use crate::model::{Decided, OptionKind, OptionSpec, Preset, Span, Value};

/// A preset before inheritance.
struct Own {
    preset: Preset,
    extends_span: Span,
}

/// Every preset: `default` first, then by name.
pub(super) fn all(resolver: &mut Resolver<'_>, options: &[OptionSpec]) -> Vec<Preset> {
    let loaded = resolver.loaded;
    let name = format!("{SPEC_PACKAGE}.Preset");
    let mut own: Vec<Own> = loaded
        .documents_of(&name)
        .map(|document| read(resolver, &document.view(), options))
        .collect();
    own.sort_by_key(|own| (own.preset.name != "default", own.preset.name.clone()));
    (0..own.len())
        .map(|index| inherit(resolver, &own, index, options))
        .collect()
}

fn read(resolver: &mut Resolver<'_>, view: &View<'_>, options: &[OptionSpec]) -> Own {
    let name = resolver.text(view, "the preset", "name");
    let mut values = Vec::new();
    if let Some(set) = view.message("options") {
        for option in options.iter().filter(|option| set.has(&option.name)) {
            if let Some(value) = value(resolver, &set, &name, option) {
                values.push(Decided {
                    option: option.name.clone(),
                    value,
                    from: name.clone(),
                    doc: set.comment_of(&option.name).to_owned(),
                    span: set.value_span(&option.name),
                });
            }
        }
    }
    Own {
        extends_span: view.value_span("extends"),
        preset: Preset {
            doc: view.comment_of("name").to_owned(),
            summary: resolver.text(view, &called("preset", &name), "summary"),
            extends: Some(view.text("extends")).filter(|extends| !extends.is_empty()),
            values,
            span: view.value_span("name"),
            name,
        },
    }
}

fn value(
    resolver: &mut Resolver<'_>,
    set: &View<'_>,
    preset: &str,
    option: &OptionSpec,
) -> Option<Value> {
    if let OptionKind::Enum(_) = option.kind {
        let value = resolver.enumeration(set, &called("preset", preset), &option.name);
        return Some(Value::Enum(value));
    }
    match set.scalar(&option.name) {
        Raw::Bool(value) => Some(Value::Bool(value)),
        Raw::U32(value) => Some(Value::Uint(value.into())),
        Raw::U64(value) => Some(Value::Uint(value)),
        Raw::F64(value) => Some(Value::Float(value)),
        Raw::String(value) => Some(Value::Text(value)),
        _ => None,
    }
}

fn inherit(
    resolver: &mut Resolver<'_>,
    own: &[Own],
    index: usize,
    options: &[OptionSpec],
) -> Preset {
    let mut preset = own[index].preset.clone();
    let mut chain = vec![index];
    let mut current = index;
    while let Some(name) = &own[current].preset.extends {
        let Some(next) = own.iter().position(|other| other.preset.name == *name) else {
            // Said once, at the preset that says `extends`.
            if current == index {
                let known = own.iter().map(|other| other.preset.name.as_str());
                let known = known.filter(|other| *other != preset.name);
                resolver.found.push(
                    Diagnostic::new(
                        "unknown_preset",
                        &own[current].extends_span,
                        format!(
                            "preset `{}` extends `{name}`, which does not exist",
                            preset.name
                        ),
                    )
                    .label("no such preset")
                    .help(did_you_mean(name, known)),
                );
            }
            break;
        };
        if chain.contains(&next) {
            // Said once for the cycle, at the first of its presets.
            if next == index && chain.iter().min() == Some(&index) {
                resolver.found.push(cycle(own, &chain));
            }
            break;
        }
        for decided in &own[next].preset.values {
            if preset.value(&decided.option).is_none() {
                preset.values.push(decided.clone());
            }
        }
        chain.push(next);
        current = next;
    }
    let order = |name: &str| options.iter().position(|option| option.name == name);
    preset.values.sort_by_key(|decided| order(&decided.option));
    preset
}

fn cycle(own: &[Own], chain: &[usize]) -> Diagnostic {
    let first = &own[chain[0]];
    let mut names: Vec<&str> = chain
        .iter()
        .map(|at| own[*at].preset.name.as_str())
        .collect();
    names.push(&first.preset.name);
    let mut diagnostic = Diagnostic::new(
        "extends_cycle",
        &first.extends_span,
        format!(
            "preset `{}` extends itself: {}",
            first.preset.name,
            names.join(" -> ")
        ),
    )
    .label("the cycle begins here")
    .help("let one of them stand on its own, or extend `default`");
    for at in &chain[1..] {
        diagnostic = diagnostic.related(&own[*at].extends_span, "and goes on here");
    }
    diagnostic
}
