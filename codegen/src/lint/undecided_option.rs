//! Every preset decides every option that is a preset's to decide.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;

pub(super) struct UndecidedOption;

impl Rule for UndecidedOption {
    fn name(&self) -> &'static str {
        "undecided_option"
    }

    fn about(&self) -> &'static str {
        "every preset decides every option that presets decide, itself or by `extends`"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for option in context
            .spec
            .options
            .iter()
            .filter(|option| option.preset_decides())
        {
            // Where a preset that others extend is silent, saying so once is enough.
            let silent = context.spec.presets.iter().filter(|preset| {
                preset.value(&option.name).is_none()
                    && preset
                        .extends
                        .as_ref()
                        .is_none_or(|name| context.spec.preset(name).is_none())
            });
            for preset in silent {
                let message = format!("preset `{}` does not decide `{}`", preset.name, option.name);
                let mut diagnostic = Diagnostic::new(self.name(), &preset.span, message)
                    .related(&option.span, "every preset decides this option");
                diagnostic = if preset.name == "default" {
                    diagnostic.help(format!("add `{}: ..` to its options", option.name))
                } else {
                    diagnostic.help(format!(
                        "add `{}: ..` to its options, or `extends: \"default\"`",
                        option.name
                    ))
                };
                found.push(diagnostic);
            }
        }
    }
}
