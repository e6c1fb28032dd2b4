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
        let spec = context.spec;
        for preset in &spec.presets {
            // Where a preset that others extend is silent, saying so once is enough.
            let extends = preset.extends.as_ref();
            if extends.is_some_and(|name| spec.preset(name).is_some()) {
                continue;
            }
            let decided = spec.options.iter().filter(|option| option.preset_decides());
            let silent: Vec<_> = decided
                .filter(|option| preset.value(&option.name).is_none())
                .collect();
            let names: Vec<_> = silent
                .iter()
                .map(|option| format!("`{}`", option.name))
                .collect();
            let add = match &silent[..] {
                [] => continue,
                [one] => format!("add `{}: ..` to its options", one.name),
                _ => "add them to its options".to_owned(),
            };
            let message = format!(
                "preset `{}` does not decide {}",
                preset.name,
                names.join(", ")
            );
            let mut diagnostic = Diagnostic::new(self.name(), &preset.span, message);
            if let [option] = silent[..] {
                diagnostic = diagnostic.related(&option.span, "every preset decides this option");
            }
            found.push(if preset.name == "default" {
                diagnostic.help(add)
            } else {
                diagnostic.help(format!("{add}, or `extends: \"default\"`"))
            });
        }
    }
}
