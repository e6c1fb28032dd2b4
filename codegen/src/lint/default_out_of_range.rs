//! A preset's values are legal by the options' own ranges.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::{OptionSpec, Value};

pub(super) struct DefaultOutOfRange;

impl Rule for DefaultOutOfRange {
    fn name(&self) -> &'static str {
        "default_out_of_range"
    }

    fn about(&self) -> &'static str {
        "a preset's value is within its option's range"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for preset in &context.spec.presets {
            for decided in preset
                .values
                .iter()
                .filter(|decided| decided.from == preset.name)
            {
                let Some(option) = context.spec.option(&decided.option) else {
                    continue;
                };
                #[allow(clippy::cast_precision_loss, reason = "ranges are far below 2^53")]
                let number = match decided.value {
                    Value::Uint(value) => value as f64,
                    Value::Float(value) => value,
                    _ => continue,
                };
                if within(option, number) {
                    continue;
                }
                let help = if option.is_duration() && number >= 0.0 && !is_time(number) {
                    "must be at least a nanosecond, and below five centuries".to_owned()
                } else {
                    format!("must be {}", range(option))
                };
                let number = if number.abs() < 1e16 {
                    number.to_string()
                } else {
                    format!("{number:e}")
                };
                let message = format!(
                    "preset `{}` sets `{}` to {number}",
                    preset.name, option.name
                );
                found.push(
                    Diagnostic::new(self.name(), &decided.span, message)
                        .label("out of range")
                        .related(&option.span, "the range is said here")
                        .help(format!("`{}` {help}", option.name)),
                );
            }
        }
    }
}

fn within(option: &OptionSpec, number: f64) -> bool {
    number.is_finite()
        && (!option.is_duration() || is_time(number))
        && option.min.is_none_or(|min| {
            if option.exclusive_min {
                number > min
            } else {
                number >= min
            }
        })
        && option.max.is_none_or(|max| number <= max)
}

/// Whether a `Duration` can say it: zero, or whole nanoseconds that a counter of them holds.
fn is_time(seconds: f64) -> bool {
    #[allow(
        clippy::cast_precision_loss,
        reason = "the bound is far above what anybody means"
    )]
    let longest = u64::MAX as f64;
    let nanos = (seconds * 1e9).round();
    seconds == 0.0 || (1.0..longest).contains(&nanos)
}

/// The range in words: "more than 0", "between 1 and 10 entries".
fn range(option: &OptionSpec) -> String {
    let text = match (option.min, option.max, option.exclusive_min) {
        (Some(min), None, true) => format!("more than {min}"),
        (Some(min), None, false) => format!("at least {min}"),
        (None, Some(max), _) => format!("at most {max}"),
        (Some(min), Some(max), true) => format!("more than {min} and at most {max}"),
        (Some(min), Some(max), false) => format!("between {min} and {max}"),
        (None, None, _) if option.is_duration() => "at least 0".to_owned(),
        (None, None, _) => "finite".to_owned(),
    };
    match &option.unit {
        Some(unit) => format!("{text} {unit}"),
        None => text,
    }
}
