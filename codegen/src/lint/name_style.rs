//! A name is legal in every language, and its file is called after it.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::{Span, Spec};
use crate::resolve::{RUST_KEYWORDS as RUST, pascal, screaming, snake};

pub(super) struct NameStyle;

/// Words that cannot follow the dot of `cache.NAME` in Python, or be a keyword's name there.
const PYTHON: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

/// Words that generated code has for itself: what it decorates, the receiver of every method.
const OURS: &[&str] = &["function", "self"];

/// Labels that Prometheus sets, and parameters beside which a label stands in Rust.
const LABELS: &[&str] = &[
    "crate", "delta", "le", "n", "quantile", "self", "super", "value",
];

/// Types that the module of the metrics has besides theirs.
const TYPES: &[&str] = &[
    "Box",
    "Default",
    "Histogram",
    "HistogramOpts",
    "IntCounter",
    "IntGauge",
    "Metrics",
    "Opts",
    "Registry",
    "Self",
];

impl Rule for NameStyle {
    fn name(&self) -> &'static str {
        "name_style"
    }

    fn about(&self) -> &'static str {
        "names are lower case with underscores (alerts and classes in camel case), and a file is called after what it holds"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        check_declared(self, context.spec, found);
        check_measured(self, context.spec, found);
        check_files(self, context.spec, found);
    }
}

impl NameStyle {
    fn name_is(
        &self,
        (what, name, span): (&str, &str, &Span),
        better: &str,
        taken: bool,
    ) -> Option<Diagnostic> {
        if name == better && !taken {
            return None;
        }
        let help = if name == better {
            format!("generated code cannot use `{name}` here: choose another word")
        } else {
            format!("write `{better}`")
        };
        let message = format!("{what} cannot be called `{name}`");
        Some(Diagnostic::new(self.name(), span, message).help(help))
    }
}

fn is_in(name: &str, words: &[&[&str]]) -> bool {
    words.iter().any(|words| words.contains(&name))
}

/// What a textproto or an option's field names.
fn check_declared(rule: &NameStyle, spec: &Spec, found: &mut Vec<Diagnostic>) {
    let mut check = |what: &str, name: &str, span: &Span, words: &[&[&str]]| {
        found.extend(rule.name_is((what, name, span), &lower(name), is_in(name, words)));
    };
    for preset in &spec.presets {
        check("a preset", &preset.name, &preset.span, &[PYTHON, OURS]);
    }
    for format in &spec.formats {
        check("an envelope format", &format.name, &format.span, &[]);
    }
    for option in &spec.options {
        check(
            "an option",
            &option.name,
            &option.span,
            &[PYTHON, RUST, OURS],
        );
    }
    for error in &spec.errors {
        check("an error", &error.code, &error.span, &[OURS]);
    }
    let classes = spec
        .python_classes
        .iter()
        .map(|it| ("a Python class", &*it.name, &it.span));
    let alerts = spec
        .alerts
        .iter()
        .map(|it| ("an alert", &*it.name, &it.span));
    for (what, name, span) in classes.chain(alerts) {
        found.extend(rule.name_is((what, name, span), &camel(name), false));
    }
}

/// Metrics, their labels, and the values of every enum.
fn check_measured(rule: &NameStyle, spec: &Spec, found: &mut Vec<Diagnostic>) {
    for metric in &spec.metrics {
        let taken = is_in(&metric.message, &[TYPES]) || is_in(&metric.field, &[RUST]);
        let better = pascal(&lower(&metric.message));
        found.extend(rule.name_is(("a metric", &metric.message, &metric.span), &better, taken));
        for label in &metric.labels {
            let taken = is_in(&label.name, &[LABELS]);
            found.extend(rule.name_is(
                ("a label", &label.name, &label.span),
                &lower(&label.name),
                taken,
            ));
        }
    }
    for (of, value) in spec
        .enums
        .iter()
        .flat_map(|of| of.values.iter().map(move |value| (of, value)))
    {
        let prefix = format!("{}_", screaming(&of.name));
        let rest = value.name.strip_prefix(&prefix);
        let better = format!(
            "{prefix}{}",
            lower(rest.unwrap_or(&value.name)).to_uppercase()
        );
        // `Self` is a keyword of Rust, and a digit begins no name.
        let taken = rest
            .is_some_and(|rest| rest == "SELF" || rest.starts_with(|c: char| c.is_ascii_digit()));
        found.extend(rule.name_is(
            ("an enum's value", &value.name, &value.span),
            &better,
            taken,
        ));
    }
}

/// A file is called after what it holds.
fn check_files(rule: &NameStyle, spec: &Spec, found: &mut Vec<Diagnostic>) {
    let presets = spec.presets.iter().map(|it| ("preset", &it.name, &it.span));
    let formats = spec
        .formats
        .iter()
        .map(|it| ("envelope format", &it.name, &it.span));
    let files = presets
        .chain(formats)
        .map(|(what, name, span)| (what, name, name.clone(), span));
    let alerts = spec.alerts.iter().map(|it| {
        let stem = it.name.strip_prefix("Cachekit").unwrap_or(&it.name);
        ("alert", &it.name, snake(stem), &it.span)
    });
    for (what, name, wanted, span) in files.chain(alerts) {
        let file = span.file.rsplit('/').next().unwrap_or_default();
        if file.strip_suffix(".textproto") != Some(&wanted) {
            let message = format!("{what} `{name}` stands in {}", span.file);
            found.push(
                Diagnostic::new(rule.name(), span, message)
                    .help(format!("call the file {wanted}.textproto")),
            );
        }
    }
}

fn lower(name: &str) -> String {
    let mut lower: String = snake(name)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    while lower.starts_with(|c: char| !c.is_ascii_lowercase()) && lower.len() > 1 {
        lower.remove(0);
    }
    let parts: Vec<&str> = lower.split('_').filter(|part| !part.is_empty()).collect();
    parts.join("_")
}

fn camel(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return name.to_owned();
    }
    pascal(&lower(name))
}
