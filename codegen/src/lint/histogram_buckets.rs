//! A histogram has buckets that rise, and nothing else has any.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::MetricKind;

pub(super) struct HistogramBuckets;

impl Rule for HistogramBuckets {
    fn name(&self) -> &'static str {
        "histogram_buckets"
    }

    fn about(&self) -> &'static str {
        "a histogram has finite, rising buckets; no other metric has any"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for metric in &context.spec.metrics {
            let buckets = &metric.buckets;
            let (message, help) = if metric.kind != MetricKind::Histogram {
                if buckets.is_empty() {
                    continue;
                }
                (
                    "has buckets and is no histogram",
                    "leave `buckets` out, or make it a histogram",
                )
            } else if buckets.is_empty() {
                (
                    "has no buckets",
                    "give the upper bounds: `buckets: [0.001, 0.01, 0.1, 1]`",
                )
            } else if buckets.iter().any(|bucket| !bucket.is_finite()) {
                (
                    "has a bucket that is not finite",
                    "leave `inf` out: Prometheus adds it",
                )
            } else if buckets.windows(2).any(|pair| pair[0] >= pair[1]) {
                (
                    "has buckets that do not rise",
                    "sort them and take out repeats",
                )
            } else {
                continue;
            };
            let message = format!("metric `{}` {message}", metric.name);
            let span = context
                .sources
                .find_word(&metric.rule_span, "buckets")
                .unwrap_or_else(|| metric.rule_span.clone());
            found.push(Diagnostic::new(self.name(), &span, message).help(help));
        }
    }
}
