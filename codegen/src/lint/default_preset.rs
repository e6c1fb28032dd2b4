//! The bare decorator is a preset like any other, so it must be there.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;

pub(super) struct DefaultPreset;

impl Rule for DefaultPreset {
    fn name(&self) -> &'static str {
        "default_preset"
    }

    fn about(&self) -> &'static str {
        "there is a preset `default`"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        if context.spec.preset("default").is_none() {
            found.push(
                Diagnostic::nowhere(self.name(), "there is no preset `default`")
                    .help("add spec/presets/default.textproto: it is the bare `@cache`"),
            );
        }
    }
}
