//! `alerts.yml`: the structured alerts as PromQL.

use askama::Template;

use super::promql;
use crate::emit::Fault;
use crate::emit::text::{generated, line, quoted};
use crate::model::{Alert, LabelMatch, Measure, Selection, Spec};

#[derive(Template)]
#[template(path = "ops/alerts.yml.jinja", escape = "none")]
struct Rules {
    generated: String,
    alerts: Vec<Rule>,
}

struct Rule {
    name: String,
    expression: String,
    hold: String,
    severity: String,
    summary: String,
    description: String,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let mut alerts = Vec::new();
    for alert in &spec.alerts {
        let expression = expression(alert);
        let selected = alert.measure.selections();
        if let Some(unknown) = selected.iter().find(|of| spec.metric(&of.metric).is_none()) {
            return Err(format!("{}: no metric {}", alert.name, unknown.metric).into());
        }
        promql::check(spec, &expression).map_err(|why| format!("{}: {why}", alert.name))?;
        alerts.push(Rule {
            name: alert.name.clone(),
            expression,
            hold: alert.hold.clone(),
            severity: alert.severity.short.clone(),
            summary: quoted(&summary(alert)),
            description: quoted(&description(alert)),
        });
    }
    Ok(Rules {
        generated: generated("spec/alerts"),
        alerts,
    }
    .render()?)
}

pub(super) fn summary(alert: &Alert) -> String {
    line(&alert.summary)
}

pub(super) fn description(alert: &Alert) -> String {
    line(&alert.runbook)
}

/// The alert's condition.
pub(in crate::emit) fn expression(alert: &Alert) -> String {
    let window = &alert.window;
    let rate = |of: &Selection| format!("sum(rate({}[{window}]))", series(of));
    let value = match &alert.measure {
        Measure::Rate(of) => rate(of),
        // The comparison leaves no sample while nothing happens, and what has no sample does not fire.
        Measure::Ratio { part, whole } => format!("{} / ({} > 0)", rate(part), rate(whole)),
        Measure::Quantile { of, q } => {
            let buckets = Selection {
                metric: format!("{}_bucket", of.metric),
                ..of.clone()
            };
            format!(
                "histogram_quantile({q}, sum by (le) (rate({}[{window}])))",
                series(&buckets)
            )
        }
    };
    let comparison = if is_above(alert) { ">" } else { "<" };
    format!("{value} {comparison} {}", alert.threshold)
}

/// Whether it fires above its threshold, and not below.
pub(super) fn is_above(alert: &Alert) -> bool {
    alert.comparison.short == "above"
}

fn series(of: &Selection) -> String {
    let matchers: Vec<_> = of.matches.iter().map(matcher).collect();
    if matchers.is_empty() {
        return of.metric.clone();
    }
    format!("{}{{{}}}", of.metric, matchers.join(","))
}

fn matcher(of: &LabelMatch) -> String {
    let values: Vec<_> = of.values.iter().map(|(value, _)| value.as_str()).collect();
    let operator = if values.len() == 1 { "=" } else { "=~" };
    format!("{}{operator}{}", of.label, quoted(&values.join("|")))
}
