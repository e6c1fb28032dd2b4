//! An option's annotation says who decides it and fits its type.

use super::{Context, Rule};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::model::{Decider, OptionKind, OptionSpec};

pub(super) struct OptionRule;

/// Units that every output can say.
const UNITS: &[&str] = &["s", "bytes", "entries"];

/// What `presets.py` imports, or Python has.
const TYPES: &[&str] = &[
    "Backend",
    "Callable",
    "ContextVar",
    "EncryptionWrapper",
    "L1Limits",
    "Literal",
    "None",
    "Serializer",
    "bool",
    "bytes",
    "float",
    "int",
    "list",
    "str",
    "timedelta",
    "tuple",
    "type",
];

impl Rule for OptionRule {
    fn name(&self) -> &'static str {
        "option_rule"
    }

    fn about(&self) -> &'static str {
        "every option says who decides it, and its range, unit and environment fit its type"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for option in &context.spec.options {
            for (message, help) in problems(option) {
                let message = format!("option `{}` {message}", option.name);
                found.push(Diagnostic::new(self.name(), &option.span, message).help(help));
            }
            if let Some(env) = &option.env {
                let mut others = context
                    .spec
                    .options
                    .iter()
                    .take_while(|other| other.name != option.name);
                if let Some(other) = others.find(|other| other.env.as_ref() == Some(env)) {
                    let message = format!(
                        "options `{}` and `{}` both read `{env}`",
                        other.name, option.name
                    );
                    found.push(
                        Diagnostic::new(self.name(), &option.span, message)
                            .related(&other.span, "the other is here")
                            .help("give one of them a variable of its own"),
                    );
                }
            }
            for name in &option.env_presets {
                // That `default` is there is a rule of its own.
                if name != "default" && context.spec.preset(name).is_none() {
                    let known = context
                        .spec
                        .presets
                        .iter()
                        .map(|preset| preset.name.as_str());
                    let message = format!(
                        "option `{}` takes its environment variable for the preset `{name}`, which does not exist",
                        option.name
                    );
                    found.push(
                        Diagnostic::new(self.name(), &option.span, message)
                            .help(did_you_mean(name, known)),
                    );
                }
            }
        }
    }
}

/// What is wrong with the range, if something is.
fn range(option: &OptionSpec) -> Option<(String, String)> {
    let problem = |message: &str, help: &str| Some((message.to_owned(), help.to_owned()));
    let bounds = || option.min.into_iter().chain(option.max);
    if bounds().any(|bound| !bound.is_finite()) {
        return problem(
            "has a range that is not finite",
            "leave out what has no bound",
        );
    }
    let whole = option.kind == OptionKind::Uint;
    if whole && bounds().any(|bound| bound < 0.0 || bound.fract() != 0.0) {
        return problem(
            "is a whole number and its range is not",
            "use whole numbers from 0 on",
        );
    }
    if option.is_duration() && bounds().any(|bound| bound < 0.0) {
        return problem(
            "is a duration and may be negative",
            "begin its range at 0 or later",
        );
    }
    let (min, max) = (option.min?, option.max?);
    let message = format!("has the range {min} to {max}, which is empty");
    if min > max {
        return problem(&message, "swap `min` and `max`");
    }
    if option.exclusive_min && min >= max {
        return problem(&message, "leave `exclusive_min` out");
    }
    None
}

fn problems(option: &OptionSpec) -> Vec<(String, String)> {
    let mut problems = Vec::new();
    let mut report =
        |message: &str, help: &str| problems.push((message.to_owned(), help.to_owned()));
    let number = matches!(option.kind, OptionKind::Uint | OptionKind::Float);
    if let OptionKind::Other(name) = &option.kind {
        report(
            &format!("has the type `{name}`"),
            "an option is a bool, uint64, double, string or enum",
        );
    }
    if option.decided_by == Decider::Unspecified {
        report(
            "does not say who decides it",
            "add `[(option) = { decided_by: DECIDER_PRESET }]`, or DECIDER_PRESET_ONLY, or DECIDER_CALLER",
        );
    }
    if !number && (option.min.is_some() || option.max.is_some() || option.unit.is_some()) {
        report(
            "has a range or a unit and is no number",
            "leave `min`, `max` and `unit` out",
        );
    }
    if let Some(unit) = &option.unit
        && !UNITS.contains(&unit.as_str())
    {
        report(
            &format!("has the unit `{unit}`"),
            &did_you_mean(unit, UNITS.iter().copied()),
        );
    }
    problems.extend(range(option));
    let mut report =
        |message: &str, help: &str| problems.push((message.to_owned(), help.to_owned()));
    if option.exclusive_min && option.min.is_none() {
        report(
            "excludes a minimum that it does not have",
            "set `min`, or leave `exclusive_min` out",
        );
    }
    if option.env.is_none() && (!option.env_presets.is_empty() || option.env_scale.is_some()) {
        report(
            "describes an environment variable that it does not name",
            "set `env`",
        );
    }
    let env_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_uppercase())
            && name
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
    };
    if option.env.as_deref().is_some_and(|name| !env_name(name)) {
        report(
            "names an environment variable that no shell can set",
            "upper case with underscores",
        );
    }
    if option
        .env_scale
        .is_some_and(|scale| !(scale.is_finite() && scale > 0.0))
    {
        report(
            "multiplies its environment variable by what is no factor",
            "set `env_scale` above 0",
        );
    }
    if let Some(python_type) = &option.python_type {
        let known = python_type.matches('[').count() == python_type.matches(']').count();
        let name = |part: &str| part.trim().split('[').next().unwrap_or_default().to_owned();
        let unknown = python_type
            .split('|')
            .map(name)
            .find(|name| !TYPES.contains(&name.as_str()));
        if let Some(unknown) = unknown {
            report(
                &format!("has the Python type `{unknown}`, which the package does not import"),
                &did_you_mean(&unknown, TYPES.iter().copied()),
            );
        } else if !known {
            report(
                &format!("has the Python type `{python_type}`"),
                "close every bracket",
            );
        }
        let none = python_type.split('|').any(|part| part.trim() == "None");
        if none != option.none.is_some() {
            report(
                "does not say in both its Python type and `none` whether `None` is legal",
                "say in `none` what `None` means and put `| None` behind the type, or neither",
            );
        }
    }
    problems
}
