//! A preset writes entries in a format that exists.

use super::{Context, Rule};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::model::Value;

pub(super) struct UnknownFormat;

impl Rule for UnknownFormat {
    fn name(&self) -> &'static str {
        "unknown_format"
    }

    fn about(&self) -> &'static str {
        "the envelope that a preset names is a format under spec/envelopes"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for preset in &context.spec.presets {
            for decided in preset
                .values
                .iter()
                .filter(|decided| decided.option == "envelope" && decided.from == preset.name)
            {
                let Value::Text(name) = &decided.value else {
                    continue;
                };
                if context.spec.format(name).is_some() {
                    continue;
                }
                let known = context
                    .spec
                    .formats
                    .iter()
                    .map(|format| format.name.as_str());
                let message = format!(
                    "preset `{}` names the envelope format `{name}`",
                    preset.name
                );
                found.push(
                    Diagnostic::new(self.name(), &decided.span, message)
                        .label("no such format")
                        .help(did_you_mean(name, known)),
                );
            }
        }
    }
}
