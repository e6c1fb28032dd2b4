//! `metrics.md`: every metric with the values of its labels, and the alerts on them.

use askama::Template;

use super::{cell, prose};
use crate::emit::Fault;
use crate::emit::ops::expression;
use crate::emit::text::{generated, sentence};
use crate::model::{Label, LabelKind, MetricKind, Spec};

#[derive(Template)]
#[template(path = "docs/metrics.md.jinja", escape = "none")]
struct Page {
    generated: String,
    metrics: Vec<MetricRow>,
    alerts: Vec<AlertRow>,
}

struct MetricRow {
    name: String,
    kind: &'static str,
    labels: String,
    series: usize,
    summary: String,
    doc: String,
    buckets: String,
    values: Vec<(String, String, String)>,
}

struct AlertRow {
    name: String,
    severity: String,
    summary: String,
    doc: String,
    runbook: String,
    hold: String,
    expression: String,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let metrics = spec.metrics.iter().map(|metric| {
        let names: Vec<_> = metric
            .labels
            .iter()
            .map(|label| format!("`{}`", label.name))
            .collect();
        let buckets: Vec<_> = metric.buckets.iter().map(f64::to_string).collect();
        MetricRow {
            name: metric.name.clone(),
            kind: match metric.kind {
                MetricKind::Counter => "counter",
                MetricKind::Gauge => "gauge",
                MetricKind::Histogram => "histogram",
                MetricKind::Unspecified => "",
            },
            labels: names.join(", "),
            series: metric
                .labels
                .iter()
                .map(|label| label.values().len())
                .product(),
            summary: cell(&sentence(&metric.doc)),
            doc: prose(&metric.doc),
            buckets: buckets.join(", "),
            values: metric.labels.iter().flat_map(values).collect(),
        }
    });
    let alerts = spec.alerts.iter().map(|alert| AlertRow {
        name: alert.name.clone(),
        severity: alert.severity.short.clone(),
        summary: alert.summary.clone(),
        doc: prose(&alert.doc),
        runbook: alert.runbook.clone(),
        hold: alert.hold.clone(),
        expression: expression(alert),
    });
    let page = Page {
        generated: generated("spec/metrics and spec/alerts"),
        metrics: metrics.collect(),
        alerts: alerts.collect(),
    };
    Ok(page.render()?)
}

/// One row for each value of the label.
fn values(label: &Label) -> Vec<(String, String, String)> {
    let row = |value: &str, doc: &str| (label.name.clone(), value.to_owned(), cell(doc));
    match &label.kind {
        LabelKind::Enum(found) => found
            .values
            .iter()
            .map(|value| row(&value.short, &value.doc))
            .collect(),
        LabelKind::Bool => vec![row("true", &label.doc), row("false", "Otherwise.")],
        LabelKind::Unbounded(_) => Vec::new(),
    }
}
