//! Presets: a name that a user wrote into a program means the same after an update.

use std::collections::BTreeMap;

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::Span;

pub(super) struct DefaultChanged;
pub(super) struct PresetRemoved;

/// Where a value stands now, its option, and the value; what it was is by preset.
type Change<'a> = (Span, &'a str, String);

impl Rule for DefaultChanged {
    fn name(&self) -> &'static str {
        "default_changed"
    }

    fn about(&self) -> &'static str {
        "a preset keeps its values"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        // A value that other presets inherit is one change.
        let mut changes: BTreeMap<Change<'_>, Vec<(&str, &str)>> = BTreeMap::new();
        for ((preset_name, option), was) in &context.lock.defaults {
            let Some(preset) = context.spec.preset(preset_name) else {
                continue;
            };
            let (span, now) = match preset.value(option) {
                Some(decided) => (&decided.span, decided.value.display()),
                None if context.spec.option(option).is_some() => {
                    (&preset.span, "undecided".to_owned())
                }
                None => continue,
            };
            if now != *was {
                changes
                    .entry((span.clone(), option, now))
                    .or_default()
                    .push((preset_name, was));
            }
        }
        for ((span, option, now), presets) in changes {
            let names: Vec<String> = presets
                .iter()
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            let mut values: Vec<&str> = presets.iter().map(|(_, was)| *was).collect();
            values.dedup();
            let message = format!("the default of `{option}` changed in {}", names.join(", "));
            found.push(
                Diagnostic::new(self.name(), &span, message)
                    .label(format!("was {}, is {now}", values.join(" and ")))
                    .subject(format!("{}.{option}", presets[0].0))
                    .help("bring the value back"),
            );
        }
    }
}

impl Rule for PresetRemoved {
    fn name(&self) -> &'static str {
        "preset_removed"
    }

    fn about(&self) -> &'static str {
        "a preset stays"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let mut names: Vec<&String> = context.lock.defaults.keys().map(|(name, _)| name).collect();
        names.dedup();
        for name in names {
            if context.spec.preset(name).is_none() {
                found.push(
                    Diagnostic::nowhere(self.name(), format!("the preset `{name}` was removed"))
                        .subject(name)
                        .help(format!("bring spec/presets/{name}.textproto back")),
                );
            }
        }
    }
}
