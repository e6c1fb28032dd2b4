//! An error is raised as a class that exists, and a class derives from classes that do.

use super::{Context, Rule};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::model::PythonClass;

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
        "an error's Python class is declared, and all derive from one of ours, in an order that Python accepts"
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
        let is_builtin = |base: &String| BUILTIN.contains(&base.as_str());
        let mut roots = classes
            .iter()
            .filter(|class| class.bases.iter().all(is_builtin));
        match (roots.next(), roots.next()) {
            (Some(first), Some(second)) => found.push(
                Diagnostic::new(
                    self.name(),
                    &second.span,
                    format!("class `{}` derives from none of ours", second.name),
                )
                .related(&first.span, "what every error derives from")
                .help(format!("let it derive from `{}` too", first.name)),
            ),
            (None, _) if classes.is_empty() => found.push(
                Diagnostic::nowhere(self.name(), "no Python class is declared")
                    .help("add `python_classes` to spec/errors.textproto, one of them the base of all others"),
            ),
            _ => {}
        }
        for (index, class) in classes.iter().enumerate() {
            if BUILTIN.contains(&class.name.as_str()) {
                let message = format!("class `{}` is one of Python's own", class.name);
                found.push(
                    Diagnostic::new(self.name(), &class.span, message)
                        .help("call it something else"),
                );
            }
            for (at, base) in class.bases.iter().enumerate() {
                // Python looks at bases in order, and at a class before what it derives from.
                let later = class.bases[at + 1..].iter();
                let clash = later
                    .clone()
                    .find(|later| *later == base || derives(classes, later, base));
                if let Some(clash) = clash {
                    let (message, help) = if clash == base {
                        (
                            format!("class `{}` derives from `{base}` twice", class.name),
                            "name it once".to_owned(),
                        )
                    } else {
                        (
                            format!(
                                "class `{}` names the base `{base}` before `{clash}`, which derives from it",
                                class.name
                            ),
                            format!("leave `{base}` out"),
                        )
                    };
                    found.push(Diagnostic::new(self.name(), &class.span, message).help(help));
                }
            }
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

/// Whether the class `name` derives from `base`, at any distance.
fn derives(classes: &[PythonClass], name: &str, base: &str) -> bool {
    let builtin = BUILTIN.contains(&name) && (base == "Exception" && name != base);
    let Some(at) = classes.iter().position(|class| class.name == name) else {
        return builtin;
    };
    // What comes later in the model is part of a cycle, which is reported as that.
    let bases = &classes[at].bases;
    bases
        .iter()
        .any(|other| other == base || derives(&classes[..at], other, base))
}
