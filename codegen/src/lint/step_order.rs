//! A format's steps come in the one order that can be undone safely.
//!
//! Compression after sealing gains nothing; a checksum of what is sealed is a second tag, and one of plaintext under a
//! seal tells an attacker what the plaintext was.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::StepKind;

pub(super) struct StepOrder;

impl Rule for StepOrder {
    fn name(&self) -> &'static str {
        "step_order"
    }

    fn about(&self) -> &'static str {
        "a format serializes, then may compress, then may checksum or seal, each once"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for format in &context.spec.formats {
            let mut previous = None;
            for step in &format.steps {
                let message = match previous {
                    None if step.kind != StepKind::Serialize => {
                        format!("begins with `{}`", step.kind.name())
                    }
                    Some(previous) if place(previous) >= place(&step.kind) => {
                        format!("has `{}` after `{}`", step.kind.name(), previous.name())
                    }
                    _ => {
                        previous = Some(&step.kind);
                        continue;
                    }
                };
                previous = Some(&step.kind);
                let message = format!("envelope format `{}` {message}", format.name);
                found.push(
                    Diagnostic::new(self.name(), &step.span, message)
                        .label("out of order")
                        .help("serialize, then compress, then checksum or seal; each at most once"),
                );
            }
        }
    }
}

/// Checksum and seal share a place: a format has one of them.
fn place(kind: &StepKind) -> u8 {
    match kind {
        StepKind::Serialize => 0,
        StepKind::Compress { .. } => 1,
        StepKind::Checksum { .. } | StepKind::Seal { .. } => 2,
    }
}
