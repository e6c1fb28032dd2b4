//! A format's id fits where its framing puts it.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;

pub(super) struct FormatId;

impl Rule for FormatId {
    fn name(&self) -> &'static str {
        "format_id"
    }

    fn about(&self) -> &'static str {
        "a format that is framed by us has an id from 1 to 255, any other has none"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for format in &context.spec.formats {
            let ours = format.framing.short == "cachekit";
            let wrong = if ours {
                !(1..=255).contains(&format.id)
            } else {
                format.id != 0
            };
            if !wrong {
                continue;
            }
            let message = format!("envelope format `{}` has the id {}", format.name, format.id);
            found.push(
                Diagnostic::new(self.name(), &format.id_span, message).help(if ours {
                    "the id is one byte and zero names no format: choose one from 1 to 255"
                } else {
                    "its framing carries no id: leave `id` out"
                }),
            );
        }
    }
}
