//! A format id names one format: a reader that finds it must know how to open what follows.

use super::{Context, Rule};
use crate::breaking::lock::Lock;
use crate::diagnostic::Diagnostic;

pub(super) struct DuplicateFormatId;

impl Rule for DuplicateFormatId {
    fn name(&self) -> &'static str {
        "duplicate_format_id"
    }

    fn about(&self) -> &'static str {
        "no two envelope formats have one id"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let formats = &context.spec.formats;
        let lock = Lock::read(context.sources).unwrap_or_default();
        for (index, format) in formats
            .iter()
            .enumerate()
            .filter(|(_, format)| format.id != 0)
        {
            let Some(mut first) = formats[..index].iter().find(|first| first.id == format.id)
            else {
                continue;
            };
            // The newcomer is the one that a release does not know.
            let mut format = format;
            if lock.formats.get(&format.id) == Some(&format.name) {
                std::mem::swap(&mut format, &mut first);
            }
            let message = format!(
                "envelope formats `{}` and `{}` both have the id {}",
                first.name, format.name, format.id
            );
            let next = lock.next_format_id(context.spec);
            found.push(
                Diagnostic::new(self.name(), &format.id_span, message)
                    .label("the same id")
                    .related(&first.id_span, "taken here")
                    .help(format!("the next free id is {next}")),
            );
        }
    }
}
