//! A preset leaves alone what only a caller can know.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::Decider;

pub(super) struct CallerOption;

impl Rule for CallerOption {
    fn name(&self) -> &'static str {
        "caller_option"
    }

    fn about(&self) -> &'static str {
        "a preset sets no option that only the caller gives"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for preset in &context.spec.presets {
            for decided in preset
                .values
                .iter()
                .filter(|decided| decided.from == preset.name)
            {
                let Some(option) = context.spec.option(&decided.option) else {
                    continue;
                };
                if option.decided_by == Decider::Caller {
                    let message = format!(
                        "preset `{}` sets `{}`, which only the caller gives",
                        preset.name, option.name
                    );
                    found.push(
                        Diagnostic::new(self.name(), &decided.span, message)
                            .label("not a preset's to decide")
                            .related(&option.span, "decided by the caller")
                            .help("take it out, or change `decided_by` in the schema"),
                    );
                }
            }
        }
    }
}
