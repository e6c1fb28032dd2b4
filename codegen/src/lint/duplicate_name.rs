//! A name stands for one thing.

use std::collections::HashMap;

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::Span;
use crate::resolve::pascal;

pub(super) struct DuplicateName;

impl Rule for DuplicateName {
    fn name(&self) -> &'static str {
        "duplicate_name"
    }

    fn about(&self) -> &'static str {
        "no two presets, formats, metrics, alerts, errors or Python classes share a name"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let spec = context.spec;
        let mut check = |what: &str, names: Vec<(&str, &Span)>| {
            // Rust knows them in camel case, in which `a_1` and `a1` are one.
            let mut first: HashMap<String, (&str, &Span)> = HashMap::new();
            for (name, span) in names {
                if let Some((known, earlier)) = first.get(&pascal(name)) {
                    let message = if *known == name {
                        format!("{what} `{name}` is there twice")
                    } else {
                        format!("{what} `{name}` cannot be told from `{known}` in Rust")
                    };
                    found.push(
                        Diagnostic::new(self.name(), span, message)
                            .label("again")
                            .related(earlier, "first here")
                            .help("rename one of them, or take it out"),
                    );
                } else {
                    first.insert(pascal(name), (name, span));
                }
            }
        };
        let presets = spec.presets.iter();
        check(
            "preset",
            presets
                .map(|preset| (&*preset.name, &preset.span))
                .collect(),
        );
        let formats = spec.formats.iter();
        check(
            "envelope format",
            formats
                .map(|format| (&*format.name, &format.span))
                .collect(),
        );
        let metrics = spec.metrics.iter().filter(|metric| !metric.name.is_empty());
        check(
            "metric",
            metrics
                .map(|metric| (&*metric.name, &metric.rule_span))
                .collect(),
        );
        let alerts = spec.alerts.iter();
        check(
            "alert",
            alerts.map(|alert| (&*alert.name, &alert.span)).collect(),
        );
        let errors = spec.errors.iter();
        check(
            "error",
            errors.map(|error| (&*error.code, &error.span)).collect(),
        );
        let classes = spec.python_classes.iter();
        check(
            "Python class",
            classes.map(|class| (&*class.name, &class.span)).collect(),
        );
    }
}
