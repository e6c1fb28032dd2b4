//! Metrics: dashboards and alerts of users name them, their labels and the labels' values.

use super::lock::kind_name;
use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::LabelKind;

pub(super) struct MetricRemoved;
pub(super) struct MetricChanged;
pub(super) struct BucketRemoved;
pub(super) struct LabelRemoved;
pub(super) struct LabelValueRemoved;

impl Rule for MetricRemoved {
    fn name(&self) -> &'static str {
        "metric_removed"
    }

    fn about(&self) -> &'static str {
        "a metric stays"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for name in context.lock.metrics.keys() {
            if context.spec.metric(name).is_none() {
                found.push(
                    Diagnostic::nowhere(
                        self.name(),
                        format!("the metric `{name}` was removed or renamed"),
                    )
                    .subject(name)
                    .help("bring it back under its name"),
                );
            }
        }
    }
}

impl Rule for MetricChanged {
    fn name(&self) -> &'static str {
        "metric_changed"
    }

    fn about(&self) -> &'static str {
        "a metric keeps its kind"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for (name, was) in &context.lock.metrics {
            let Some(metric) = context.spec.metric(name) else {
                continue;
            };
            let now = kind_name(metric.kind);
            if now != was {
                found.push(
                    Diagnostic::new(
                        self.name(),
                        &metric.rule_span,
                        format!("the metric `{name}` changed its kind"),
                    )
                    .label(format!("was a {was}, is a {now}"))
                    .subject(name)
                    .help("bring the kind back, and add a new metric beside it"),
                );
            }
        }
    }
}

impl Rule for LabelRemoved {
    fn name(&self) -> &'static str {
        "label_removed"
    }

    fn about(&self) -> &'static str {
        "a metric keeps its labels"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for (metric_name, label) in context.lock.labels.keys() {
            let Some(metric) = context.spec.metric(metric_name) else {
                continue;
            };
            if metric.label(label).is_none() {
                let message = format!("the label `{label}` of `{metric_name}` was removed");
                found.push(
                    Diagnostic::new(self.name(), &metric.span, message)
                        .label(format!("had the label `{label}` in the last release"))
                        .subject(format!("{metric_name}.{label}"))
                        .help("bring it back"),
                );
            }
        }
    }
}

impl Rule for LabelValueRemoved {
    fn name(&self) -> &'static str {
        "label_value_removed"
    }

    fn about(&self) -> &'static str {
        "a label keeps its values"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for ((metric_name, label_name), values) in &context.lock.labels {
            let label = context
                .spec
                .metric(metric_name)
                .and_then(|metric| metric.label(label_name));
            let Some(label) = label else {
                continue;
            };
            let now = label.values();
            let span = match &label.kind {
                LabelKind::Enum(found) => &found.span,
                LabelKind::Bool | LabelKind::Unbounded(_) => &label.span,
            };
            for value in values.iter().filter(|value| !now.contains(value)) {
                let message = format!(
                    "the value `{value}` of the label `{label_name}` of `{metric_name}` was removed"
                );
                found.push(
                    Diagnostic::new(self.name(), span, message)
                        .label(format!("had `{value}` in the last release"))
                        .subject(format!("{metric_name}.{label_name}.{value}"))
                        .help("bring it back"),
                );
            }
        }
    }
}

impl Rule for BucketRemoved {
    fn name(&self) -> &'static str {
        "bucket_removed"
    }

    fn about(&self) -> &'static str {
        "a histogram keeps the bounds of its buckets"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for (name, bounds) in &context.lock.buckets {
            let metric = context.spec.metric(name);
            let Some(metric) = metric.filter(|metric| !metric.buckets.is_empty()) else {
                continue;
            };
            let now: Vec<String> = metric.buckets.iter().map(f64::to_string).collect();
            let gone: Vec<&str> = bounds
                .iter()
                .filter(|bound| !now.contains(bound))
                .map(String::as_str)
                .collect();
            if !gone.is_empty() {
                found.push(
                    Diagnostic::new(
                        self.name(),
                        &metric.rule_span,
                        format!("the histogram `{name}` lost bounds of its buckets"),
                    )
                    .label(format!("had {} in the last release", gone.join(", ")))
                    .subject(name)
                    .help("bring them back; more may be added"),
                );
            }
        }
    }
}
