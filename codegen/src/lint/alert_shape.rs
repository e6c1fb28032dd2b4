//! An alert's query means something: rates of counters, quantiles of histograms, ranges that Prometheus reads.

use std::ops::RangeInclusive;

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::load::Document;
use crate::model::{Alert, Measure, Metric, MetricKind, Selection, Span};

pub(super) struct AlertShape;

impl Rule for AlertShape {
    fn name(&self) -> &'static str {
        "alert_shape"
    }

    fn about(&self) -> &'static str {
        "an alert takes rates of counters and quantiles of histograms, over ranges such as `5m`"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for alert in &context.spec.alerts {
            let mut report = |field: &str, message: String, help: &str| {
                let message = format!("alert `{}` {message}", alert.name);
                let span = place(context, alert, field);
                found.push(Diagnostic::new(self.name(), &span, message).help(help));
            };
            for (field, range) in [("window", &alert.window), ("hold", &alert.hold)] {
                if !is_range(range) {
                    report(
                        field,
                        format!("has `{field}: \"{range}\"`, which Prometheus does not read"),
                        "a whole number and one of `s`, `m`, `h`, `d`: `5m`",
                    );
                }
            }
            for (field, text) in [("summary", &alert.summary), ("runbook", &alert.runbook)] {
                if text.contains("{{") {
                    report(
                        field,
                        format!("has a `{field}` that Prometheus would fill in"),
                        "write it without `{{`: what it shows must be known here",
                    );
                }
            }
            let bounds = bounds(context, alert);
            if !bounds.contains(&alert.threshold) {
                let (least, most) = (bounds.start(), bounds.end());
                let help = match alert.measure {
                    Measure::Rate(_) => "set `threshold` above 0, and finite".to_owned(),
                    Measure::Ratio { .. } => {
                        "set `threshold` between 0 and 1: it is a part of a whole".to_owned()
                    }
                    Measure::Quantile { .. } => {
                        format!(
                            "set `threshold` between two bounds of the histogram: from {least} to {most}"
                        )
                    }
                };
                let message = format!("has the threshold {}, which says nothing", alert.threshold);
                report("threshold", message, &help);
            }
            if let Measure::Ratio { part, whole } = &alert.measure
                && part.metric == whole.metric
                && context
                    .spec
                    .metric(&part.metric)
                    .is_some_and(|metric| takes_all(metric, part, whole))
            {
                let message =
                    "takes the part of a whole that is no larger: the ratio is always one"
                        .to_owned();
                report("ratio", message, "match in `part` what counts");
            }
            if let Measure::Quantile { q, .. } = alert.measure
                && !(q > 0.0 && q < 1.0)
            {
                report(
                    "q",
                    format!("takes the quantile {q}"),
                    "set `q` between 0 and 1, both excluded",
                );
            }
            self.check_kinds(context, alert, found);
        }
    }
}

impl AlertShape {
    fn check_kinds(&self, context: &Context<'_>, alert: &Alert, found: &mut Vec<Diagnostic>) {
        let (wanted, what, need) = match alert.measure {
            Measure::Quantile { .. } => (MetricKind::Histogram, "a quantile", "a histogram"),
            Measure::Rate(_) | Measure::Ratio { .. } => {
                (MetricKind::Counter, "a rate", "a counter")
            }
        };
        for Selection { metric, span, .. } in alert.measure.selections() {
            if let Some(metric) = context.spec.metric(metric)
                && metric.kind != wanted
            {
                let message = format!("alert `{}` takes {what} of `{}`", alert.name, metric.name);
                found.push(
                    Diagnostic::new(self.name(), span, message)
                        .label(format!("not {need}"))
                        .related(&metric.rule_span, "its kind is said here")
                        .help(format!("{what} needs {need}")),
                );
            }
        }
    }
}

/// Thresholds that some values are above and some below.
fn bounds(context: &Context<'_>, alert: &Alert) -> RangeInclusive<f64> {
    const LEAST: f64 = f64::MIN_POSITIVE;
    match &alert.measure {
        Measure::Rate(_) => LEAST..=f64::MAX,
        Measure::Ratio { .. } => LEAST..=(1.0 - f64::EPSILON),
        Measure::Quantile { of, .. } => {
            let buckets = context
                .spec
                .metric(&of.metric)
                .map(|metric| &*metric.buckets);
            // Of what has too few buckets, other rules speak.
            match buckets {
                Some([first, .., before_last, _]) => *first..=*before_last,
                _ => f64::MIN..=f64::MAX,
            }
        }
    }
}

/// Whether every series of the whole is one of the part.
fn takes_all(metric: &Metric, part: &Selection, whole: &Selection) -> bool {
    metric.labels.iter().all(|label| {
        let taken = |of: &Selection| -> Vec<String> {
            let found = of.matches.iter().find(|found| found.label == label.name);
            found.map_or_else(
                || label.values(),
                |found| {
                    found
                        .values
                        .iter()
                        .map(|(value, _)| value.clone())
                        .collect()
                },
            )
        };
        let of_part = taken(part);
        taken(whole).iter().all(|value| of_part.contains(value))
    })
}

/// Place of a field's value in the alert's file.
fn place(context: &Context<'_>, alert: &Alert, field: &str) -> Span {
    let document = context
        .loaded
        .documents
        .iter()
        .find(|it| it.path == alert.span.file);
    let view = document.map(Document::view);
    let view = if field == "q" {
        view.and_then(|view| view.message("quantile"))
    } else {
        view
    };
    view.map_or_else(|| alert.span.clone(), |view| view.value_span(field))
}

fn is_range(text: &str) -> bool {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    digits > 0 && !text.starts_with('0') && matches!(&text[digits..], "s" | "m" | "h" | "d")
}

#[cfg(test)]
mod tests {
    use super::is_range;

    #[test]
    fn ranges_are_a_number_and_a_unit() {
        for good in ["5m", "30s", "1h", "14d"] {
            assert!(is_range(good), "{good}");
        }
        for bad in ["", "m", "5", "05m", "5 m", "5min", "1.5h", "-5m"] {
            assert!(!is_range(bad), "{bad}");
        }
    }
}
