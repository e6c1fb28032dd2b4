//! Errors: programs compare codes.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;

pub(super) struct ErrorRemoved;

impl Rule for ErrorRemoved {
    fn name(&self) -> &'static str {
        "error_removed"
    }

    fn about(&self) -> &'static str {
        "an error code stays"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for code in context.lock.errors.keys() {
            if !context.spec.errors.iter().any(|error| error.code == *code) {
                found.push(
                    Diagnostic::nowhere(
                        self.name(),
                        format!("the error `{code}` was removed or renamed"),
                    )
                    .subject(code)
                    .help("bring it back; a code that is no longer raised may stay"),
                );
            }
        }
    }
}
