//! Checks a PromQL expression against the metrics of the spec.
//!
//! Prometheus' own tools accept a label that no series has, and such an alert never fires: so every name is looked up.

use promql_parser::label::{MatchOp, Matcher};
use promql_parser::parser::{Expr, VectorSelector, parse};
use promql_parser::util::{ExprVisitor, walk_expr};

use crate::model::{Metric, MetricKind, Spec};

/// The label that histograms have besides their own.
const BUCKET: &str = "le";

/// Says what is wrong with the expression, if something is.
pub(super) fn check(spec: &Spec, expression: &str) -> Result<(), String> {
    let parsed = parse(expression).map_err(|error| format!("{expression}: {error}"))?;
    let mut visitor = Visitor {
        spec,
        metrics: Vec::new(),
    };
    walk_expr(&mut visitor, &parsed).map_err(|error| format!("{expression}: {error}"))?;
    if visitor.metrics.is_empty() {
        return Err(format!("{expression}: no metric in it"));
    }
    Ok(())
}

struct Visitor<'a> {
    spec: &'a Spec,
    /// Metrics that were met.
    metrics: Vec<&'a Metric>,
}

impl ExprVisitor for Visitor<'_> {
    type Error = String;

    fn pre_visit(&mut self, expression: &Expr) -> Result<bool, String> {
        match expression {
            Expr::VectorSelector(selector) => self.selector(selector)?,
            Expr::MatrixSelector(selector) => self.selector(&selector.vs)?,
            Expr::Aggregate(aggregate) => {
                let mut below = Visitor {
                    spec: self.spec,
                    metrics: Vec::new(),
                };
                walk_expr(&mut below, &aggregate.expr)?;
                for label in aggregate
                    .modifier
                    .iter()
                    .flat_map(|found| &found.labels().labels)
                {
                    for metric in &below.metrics {
                        known(metric, label)?;
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }
}

impl Visitor<'_> {
    fn selector(&mut self, selector: &VectorSelector) -> Result<(), String> {
        let name = selector
            .name
            .as_deref()
            .ok_or("a selector without a metric")?;
        let metric = family(self.spec, name).ok_or_else(|| format!("no metric {name}"))?;
        let alternatives = selector.matchers.or_matchers.iter().flatten();
        for matcher in selector.matchers.matchers.iter().chain(alternatives) {
            check_matcher(metric, matcher)?;
        }
        self.metrics.push(metric);
        Ok(())
    }
}

/// The metric that has series of that name.
fn family<'a>(spec: &'a Spec, series: &str) -> Option<&'a Metric> {
    spec.metrics.iter().find(|metric| match metric.kind {
        MetricKind::Histogram => series
            .strip_prefix(&metric.name)
            .is_some_and(|suffix| ["_bucket", "_count", "_sum"].contains(&suffix)),
        _ => metric.name == series,
    })
}

fn known(metric: &Metric, label: &str) -> Result<(), String> {
    let bucket = label == BUCKET && metric.kind == MetricKind::Histogram;
    if bucket || metric.label(label).is_some() {
        return Ok(());
    }
    Err(format!("{} has no label {label}", metric.name))
}

fn check_matcher(metric: &Metric, matcher: &Matcher) -> Result<(), String> {
    known(metric, &matcher.name)?;
    let Some(label) = metric.label(&matcher.name) else {
        return Ok(());
    };
    let values = label.values();
    let named: Vec<_> = match matcher.op {
        MatchOp::Equal | MatchOp::NotEqual => vec![matcher.value.as_str()],
        MatchOp::Re(_) | MatchOp::NotRe(_) => matcher.value.split('|').collect(),
    };
    match named
        .iter()
        .find(|value| !values.iter().any(|known| known == *value))
    {
        Some(value) => Err(format!(
            "{} of {} is never {value}",
            matcher.name, metric.name
        )),
        None => Ok(()),
    }
}
