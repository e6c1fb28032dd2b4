//! An option's annotation says who decides it and fits its type.

use super::{Context, Rule};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::model::{Decider, OptionKind, OptionSpec};

pub(super) struct OptionRule;

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
    if let (Some(min), Some(max)) = (option.min, option.max)
        && min > max
    {
        report(
            &format!("has the range {min} to {max}, which is empty"),
            "swap `min` and `max`",
        );
    }
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
    problems
}
