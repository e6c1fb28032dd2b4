//! A label has values that are known here, so that the number of series is too.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::LabelKind;

pub(super) struct UnboundedLabel;

impl Rule for UnboundedLabel {
    fn name(&self) -> &'static str {
        "unbounded_label"
    }

    fn about(&self) -> &'static str {
        "a metric's label is an enum or a bool"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for metric in &context.spec.metrics {
            for label in &metric.labels {
                if let LabelKind::Unbounded(kind) = &label.kind {
                    let message =
                        format!("label `{}` of `{}` is unbounded", label.name, metric.name);
                    found.push(
                        Diagnostic::new(self.name(), &label.span, message)
                            .label(format!(
                                "`{kind}` has no end of values, and each makes a series"
                            ))
                            .help("make it an enum in spec/metrics/labels.proto, or a bool"),
                    );
                }
            }
        }
    }
}
