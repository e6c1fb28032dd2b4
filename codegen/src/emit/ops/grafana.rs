//! `grafana.json`: a dashboard with one panel for each metric.

use serde_json::{Value, json};

use super::promql;
use crate::emit::Fault;
use crate::emit::text::{capitalized, generated, line, sentence};
use crate::model::{Metric, MetricKind, Spec};

/// Range that Grafana fits to its resolution, and what stands for it where the expression is checked.
const RANGE: &str = "$__rate_interval";
const QUANTILES: [(&str, &str); 3] = [("0.5", "p50"), ("0.95", "p95"), ("0.99", "p99")];
const PANELS_IN_A_ROW: usize = 2;
const WIDTH: usize = 24 / PANELS_IN_A_ROW;
const HEIGHT: usize = 8;

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let mut panels = Vec::new();
    for (at, metric) in spec.metrics.iter().enumerate() {
        let targets = targets(metric);
        for (expression, _) in &targets {
            promql::check(spec, &expression.replace(RANGE, "5m"))?;
        }
        panels.push(panel(at, metric, &targets));
    }
    let dashboard = json!({
        "title": "cachekit",
        "uid": "cachekit",
        "description": generated("spec/metrics"),
        "tags": ["cachekit"],
        "schemaVersion": 39,
        "editable": true,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": { "from": "now-1h", "to": "now" },
        "templating": { "list": [{
            "name": "datasource",
            "label": "Data source",
            "type": "datasource",
            "query": "prometheus",
        }] },
        "panels": panels,
    });
    Ok(serde_json::to_string_pretty(&dashboard)?)
}

/// Each query of a metric, and how its series are called.
fn targets(metric: &Metric) -> Vec<(String, String)> {
    let name = &metric.name;
    let labels: Vec<_> = metric
        .labels
        .iter()
        .map(|label| label.name.as_str())
        .collect();
    let legend: Vec<_> = labels
        .iter()
        .map(|label| format!("{{{{{label}}}}}"))
        .collect();
    let legend = legend.join(" ");
    let by = |labels: &[&str]| match labels {
        [] => String::new(),
        labels => format!(" by ({})", labels.join(", ")),
    };
    let called = |otherwise: &str| {
        if legend.is_empty() {
            otherwise.to_owned()
        } else {
            legend.clone()
        }
    };
    match metric.kind {
        MetricKind::Counter => {
            vec![(
                format!("sum{} (rate({name}[{RANGE}]))", by(&labels)),
                called("rate"),
            )]
        }
        MetricKind::Gauge | MetricKind::Unspecified => {
            vec![(format!("sum{} ({name})", by(&labels)), called("all"))]
        }
        MetricKind::Histogram => {
            let labels = [&["le"][..], &labels].concat();
            let query = |q: &str| {
                let rates = format!("sum{} (rate({name}_bucket[{RANGE}]))", by(&labels));
                format!("histogram_quantile({q}, {rates})")
            };
            QUANTILES
                .iter()
                .map(|(q, called)| (query(q), format!("{called} {legend}").trim_end().to_owned()))
                .collect()
        }
    }
}

/// Grafana's name of the unit that the metric's own name ends in.
fn unit(metric: &Metric) -> &'static str {
    match metric.kind {
        MetricKind::Counter => "ops",
        _ if metric.name.ends_with("_seconds") => "s",
        _ if metric.name.ends_with("_bytes") => "bytes",
        _ => "short",
    }
}

fn panel(at: usize, metric: &Metric, targets: &[(String, String)]) -> Value {
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    let targets: Vec<_> = targets
        .iter()
        .zip('A'..='Z')
        .map(|((expression, legend), letter)| {
            json!({
                "refId": letter.to_string(),
                "datasource": source,
                "expr": expression,
                "legendFormat": legend,
            })
        })
        .collect();
    let title = sentence(&metric.doc);
    json!({
        "id": at + 1,
        "type": "timeseries",
        "title": capitalized(title.trim_end_matches('.')),
        "description": format!("{}: {}", metric.name, line(&metric.doc)),
        "datasource": source,
        "gridPos": {
            "x": at % PANELS_IN_A_ROW * WIDTH,
            "y": at / PANELS_IN_A_ROW * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": { "defaults": { "unit": unit(metric), "min": 0 }, "overrides": [] },
        "options": {
            "legend": { "displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"] },
            "tooltip": { "mode": "multi", "sort": "desc" },
        },
        "targets": targets,
    })
}
