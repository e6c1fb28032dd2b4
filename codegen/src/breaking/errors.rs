//! Errors: programs compare codes and catch classes.

use super::lock::bases;
use super::{Context, Rule};
use crate::diagnostic::Diagnostic;

pub(super) struct ErrorRemoved;
pub(super) struct ErrorChanged;
pub(super) struct ClassChanged;

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

impl Rule for ErrorChanged {
    fn name(&self) -> &'static str {
        "error_changed"
    }

    fn about(&self) -> &'static str {
        "an error is raised as a class that whoever caught it still catches"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for error in &context.spec.errors {
            let Some(was) = context.lock.errors.get(&error.code) else {
                continue;
            };
            let now = &error.python_class;
            if now != was && !bases(context.spec, now).contains(was) {
                let message = format!("the error `{}` changed its class", error.code);
                found.push(
                    Diagnostic::new(self.name(), &error.python_class_span, message)
                        .label(format!("was `{was}`, from which `{now}` does not derive"))
                        .subject(&error.code)
                        .help("bring the class back, or derive the new one from it"),
                );
            }
        }
    }
}

impl Rule for ClassChanged {
    fn name(&self) -> &'static str {
        "class_changed"
    }

    fn about(&self) -> &'static str {
        "a Python class stays, and derives from all that it derived from"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for (name, was) in &context.lock.classes {
            let classes = &context.spec.python_classes;
            let Some(class) = classes.iter().find(|class| class.name == *name) else {
                found.push(
                    Diagnostic::nowhere(
                        self.name(),
                        format!("the Python class `{name}` was removed or renamed"),
                    )
                    .subject(name)
                    .help("bring it back; one that is no longer raised may stay"),
                );
                continue;
            };
            let now = bases(context.spec, name);
            let gone: Vec<String> = was
                .difference(&now)
                .map(|base| format!("`{base}`"))
                .collect();
            if !gone.is_empty() {
                let message = format!("the Python class `{name}` lost a base");
                found.push(
                    Diagnostic::new(self.name(), &class.span, message)
                        .label(format!(
                            "derived from {} in the last release",
                            gone.join(", ")
                        ))
                        .subject(name)
                        .help("bring it back: somebody may catch it by that name"),
                );
            }
        }
    }
}
