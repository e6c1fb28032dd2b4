//! An error is raised as a class that exists, and a class derives from classes that do.

use super::{Context, Rule};
use crate::diagnostic::{Diagnostic, did_you_mean};

pub(super) struct UnknownPythonClass;

/// Exceptions of Python's own that ours may derive from.
const BUILTIN: &[&str] = &[
    "Exception",
    "ValueError",
    "TypeError",
    "RuntimeError",
    "TimeoutError",
    "ConnectionError",
    "KeyError",
    "LookupError",
    "OSError",
    "PermissionError",
];

impl Rule for UnknownPythonClass {
    fn name(&self) -> &'static str {
        "unknown_python_class"
    }

    fn about(&self) -> &'static str {
        "an error's Python class is declared, and derives from ours or from one of Python's"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let classes = &context.spec.python_classes;
        let ours = || classes.iter().map(|class| class.name.as_str());
        for error in &context.spec.errors {
            if !ours().any(|name| name == error.python_class) {
                let message = format!(
                    "error `{}` is raised as `{}`, which is not declared",
                    error.code, error.python_class
                );
                found.push(
                    Diagnostic::new(self.name(), &error.python_class_span, message)
                        .label("no such class")
                        .help(did_you_mean(&error.python_class, ours())),
                );
            }
        }
        for (index, class) in classes.iter().enumerate() {
            for base in &class.bases {
                // Bases come first in the model, so that one which does not is part of a cycle.
                let before = classes[..index].iter().any(|other| other.name == *base);
                if before || BUILTIN.contains(&base.as_str()) {
                    continue;
                }
                let (message, help) = if ours().any(|name| name == base) {
                    let message =
                        format!("class `{}` derives from itself, by `{base}`", class.name);
                    (
                        message,
                        "let one of them derive from `CacheKitError`".to_owned(),
                    )
                } else {
                    let message = format!(
                        "class `{}` derives from `{base}`, which is not declared",
                        class.name
                    );
                    (
                        message,
                        did_you_mean(base, ours().chain(BUILTIN.iter().copied())),
                    )
                };
                found.push(Diagnostic::new(self.name(), &class.span, message).help(help));
            }
        }
    }
}
