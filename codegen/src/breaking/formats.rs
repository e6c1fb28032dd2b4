//! Envelope formats: an id that stands in stored bytes means one format for ever.

use super::lock::steps;
use super::{Context, Rule};
use crate::diagnostic::Diagnostic;

pub(super) struct FormatIdReused;
pub(super) struct FormatRemoved;
pub(super) struct FormatChanged;

impl Rule for FormatIdReused {
    fn name(&self) -> &'static str {
        "format_id_reused"
    }

    fn about(&self) -> &'static str {
        "the id of a format that is or was in use names no other"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for format in &context.spec.formats {
            let lock = context.lock;
            let was = lock
                .formats
                .get(&format.id)
                .or_else(|| lock.retired.get(&format.id));
            if let Some(was) = was
                && *was != format.name
            {
                let message = format!(
                    "envelope format `{}` reuses the id {} of `{was}`",
                    format.name, format.id
                );
                found.push(
                    Diagnostic::new(self.name(), &format.id_span, message)
                        .label(format!(
                            "entries with this id may still be stored, as `{was}`"
                        ))
                        .subject(&format.name)
                        .help(format!(
                            "the next free id is {}",
                            lock.next_format_id(context.spec)
                        )),
                );
            }
        }
    }
}

impl Rule for FormatRemoved {
    fn name(&self) -> &'static str {
        "format_removed"
    }

    fn about(&self) -> &'static str {
        "a format stays: entries in it may still be stored"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for (id, name) in &context.lock.formats {
            // One whose id another took is reported as that.
            if !context
                .spec
                .formats
                .iter()
                .any(|format| format.id == *id || format.name == *name)
            {
                found.push(
                    Diagnostic::nowhere(
                        self.name(),
                        format!("the envelope format `{name}` was removed"),
                    )
                    .subject(name)
                    .help(format!("bring spec/envelopes/{name}.textproto back")),
                );
            } else if let Some(format) = context.spec.format(name)
                && format.id != *id
            {
                let message = format!("envelope format `{name}` changed its id");
                found.push(
                    Diagnostic::new(self.name(), &format.id_span, message)
                        .label(format!("was {id}, is {}", format.id))
                        .subject(name)
                        .help("bring the id back"),
                );
            }
        }
    }
}

impl Rule for FormatChanged {
    fn name(&self) -> &'static str {
        "format_changed"
    }

    fn about(&self) -> &'static str {
        "a format keeps its steps: entries that were written in them are read with them"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for format in &context.spec.formats {
            let now = steps(format);
            let same_name = context.lock.formats.get(&format.id) == Some(&format.name);
            if let Some(was) = context.lock.steps.get(&format.id)
                && same_name
                && *was != now
            {
                let message = format!("envelope format `{}` changed its steps", format.name);
                found.push(
                    Diagnostic::new(self.name(), &format.span, message)
                        .label(format!("was `{was}`, is `{now}`"))
                        .subject(&format.name)
                        .help("bring the steps back, and add a new format beside it"),
                );
            }
        }
    }
}
