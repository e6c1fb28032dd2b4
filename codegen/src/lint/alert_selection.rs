//! An alert watches series that exist.
//!
//! promtool accepts a label that no metric has, and such an alert stays silent for ever.

use super::{Context, Rule};
use crate::diagnostic::{Diagnostic, did_you_mean};
use crate::model::{Alert, LabelMatch, Metric};

pub(super) struct AlertSelection;

impl Rule for AlertSelection {
    fn name(&self) -> &'static str {
        "alert_selection"
    }

    fn about(&self) -> &'static str {
        "an alert names only metrics, labels and label values that exist"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for alert in &context.spec.alerts {
            for selection in alert.measure.selections() {
                let Some(metric) = context.spec.metric(&selection.metric) else {
                    let known = context
                        .spec
                        .metrics
                        .iter()
                        .map(|metric| metric.name.as_str());
                    let message = format!(
                        "alert `{}` watches `{}`, which is not a metric",
                        alert.name, selection.metric
                    );
                    found.push(
                        Diagnostic::new(self.name(), &selection.span, message)
                            .label("no such metric")
                            .help(did_you_mean(&selection.metric, known)),
                    );
                    continue;
                };
                for (index, label_match) in selection.matches.iter().enumerate() {
                    let mut earlier = selection.matches[..index].iter();
                    if let Some(first) = earlier.find(|first| first.label == label_match.label) {
                        let message = format!(
                            "alert `{}` matches the label `{}` twice",
                            alert.name, first.label
                        );
                        found.push(
                            Diagnostic::new(self.name(), &label_match.label_span, message)
                                .label("a series would have to match both")
                                .related(&first.label_span, "first here")
                                .help("put the values that count into one match"),
                        );
                    }
                    self.check_match(alert, metric, label_match, found);
                }
            }
        }
    }
}

impl AlertSelection {
    fn check_match(
        &self,
        alert: &Alert,
        metric: &Metric,
        label_match: &LabelMatch,
        found: &mut Vec<Diagnostic>,
    ) {
        let Some(label) = metric.label(&label_match.label) else {
            let known = metric.labels.iter().map(|label| label.name.as_str());
            let message = format!(
                "alert `{}` matches the label `{}`, which `{}` does not have",
                alert.name, label_match.label, metric.name
            );
            found.push(
                Diagnostic::new(self.name(), &label_match.label_span, message)
                    .label("no such label")
                    .related(&metric.span, "its labels are the fields of this message")
                    .help(did_you_mean(&label_match.label, known)),
            );
            return;
        };
        if label_match.values.is_empty() {
            let message = format!(
                "alert `{}` matches the label `{}` with no value",
                alert.name, label.name
            );
            found.push(
                Diagnostic::new(self.name(), &label_match.label_span, message)
                    .help("name the values that count, or leave the match out"),
            );
        }
        let known = label.values();
        for (value, span) in &label_match.values {
            if known.contains(value) {
                continue;
            }
            let message = format!(
                "alert `{}` matches `{}` with `{value}`, a value that it never has",
                alert.name, label.name
            );
            found.push(
                Diagnostic::new(self.name(), span, message)
                    .label("no such value")
                    .help(did_you_mean(value, known.iter().map(String::as_str))),
            );
        }
    }
}
