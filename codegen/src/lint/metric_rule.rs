//! A message under `spec/metrics` says which metric it is.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::{LabelKind, MetricKind};

pub(super) struct MetricRule;

impl Rule for MetricRule {
    fn name(&self) -> &'static str {
        "metric_rule"
    }

    fn about(&self) -> &'static str {
        "every message under spec/metrics has a metric's kind and name and labels with values, in the file of that name"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for metric in &context.spec.metrics {
            let missing = match (metric.kind, metric.name.as_str()) {
                (MetricKind::Unspecified, "") => "neither a kind nor a name",
                (MetricKind::Unspecified, _) => "no kind",
                (_, "") => "no name",
                _ => "",
            };
            if !missing.is_empty() {
                let message = format!("metric `{}` has {missing}", metric.message);
                found.push(
                    Diagnostic::new(self.name(), &metric.rule_span, message).help(
                        "add `option (cachekit.spec.v1.metric) = { kind: METRIC_KIND_.. name: \"cachekit_..\" };`",
                    ),
                );
            }
            for label in &metric.labels {
                if let LabelKind::Enum(values) = &label.kind
                    && values.values.is_empty()
                {
                    let message = format!(
                        "label `{}` of `{}` can have no value",
                        label.name, metric.name
                    );
                    found.push(
                        Diagnostic::new(self.name(), &label.span, message)
                            .related(&values.span, "this enum has none")
                            .help("add the values to the enum"),
                    );
                }
            }
            let expected = format!("spec/metrics/{}.proto", metric.field);
            if *metric.span.file != *expected {
                let message = format!("metric `{}` stands in {}", metric.message, metric.span.file);
                found.push(
                    Diagnostic::new(self.name(), &metric.span, message)
                        .label("one metric, one file")
                        .help(format!("move it to {expected}")),
                );
            }
        }
    }
}
