//! `alerts_test.yml`: for each alert, series that make it fire and series that must not, from the alert's own structure.
//!
//! A rule file that loads may still never fire. `promtool test rules` runs these against the rules as emitted.

use std::iter::once;

use askama::Template;

use super::alerts::{description, is_above, summary};
use crate::emit::Fault;
use crate::emit::text::{generated, quoted};
use crate::model::{Alert, Measure, Metric, Selection, Spec};

/// Events in one interval, of which a ratio's part is a fraction.
const EVENTS: f64 = 1_000.0;

#[derive(Template)]
#[template(path = "ops/alerts_test.yml.jinja", escape = "none")]
struct Tests {
    generated: String,
    evaluation_interval: u64,
    cases: Vec<Case>,
}

struct Case {
    name: String,
    interval: u64,
    series: Vec<(String, String)>,
    at: u64,
    alert: String,
    fires: bool,
    severity: String,
    summary: String,
    description: String,
}

/// Names and growth per interval of every series of a case.
type Growth = Vec<(String, f64)>;

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let mut cases = Vec::new();
    for alert in &spec.alerts {
        cases.extend(of(spec, alert).map_err(|why| format!("{}: {why}", alert.name))?);
    }
    let evaluation_interval = cases.iter().map(|case| case.interval).min().unwrap_or(60);
    Ok(Tests {
        generated: generated("spec/alerts"),
        evaluation_interval,
        cases,
    }
    .render()?)
}

fn of(spec: &Spec, alert: &Alert) -> Result<Vec<Case>, Fault> {
    let window = seconds(&alert.window)?;
    let hold = seconds(&alert.hold)?;
    let interval = (window / 5).clamp(1, 60);
    let end = window + hold + 5 * interval;
    let case = |what: &str, growth: Growth, at: u64, fires: bool| Case {
        name: quoted(&format!("{} {what}", alert.name)),
        interval,
        series: growth
            .into_iter()
            .map(|(series, growth)| {
                (
                    quoted(&series),
                    quoted(&format!("0+{growth}x{}", end / interval + 1)),
                )
            })
            .collect(),
        at,
        alert: alert.name.clone(),
        fires,
        severity: alert.severity.short.clone(),
        summary: quoted(&summary(alert)),
        description: quoted(&description(alert)),
    };
    let step = f64::from(u32::try_from(interval)?);
    let bad = growth(spec, alert, step, true)?;
    let mut cases = vec![
        case("fires", bad.clone(), end, true),
        case(
            "is silent on the good side",
            growth(spec, alert, step, false)?,
            end,
            false,
        ),
    ];
    // The condition holds from the second sample on; one interval before its time, nobody is woken.
    if hold > 0 {
        cases.push(case("waits until it has held", bad.clone(), hold, false));
    }
    let fires_at_rest = matches!(alert.measure, Measure::Rate(_)) && !is_above(alert);
    if !fires_at_rest {
        let rest = bad.into_iter().map(|(series, _)| (series, 0.0)).collect();
        cases.push(case("is silent while nothing happens", rest, end, false));
    }
    Ok(cases)
}

/// Series on the bad or the good side of the threshold.
fn growth(spec: &Spec, alert: &Alert, interval: f64, bad: bool) -> Result<Growth, Fault> {
    let high = bad == is_above(alert);
    let threshold = alert.threshold;
    match &alert.measure {
        Measure::Rate(of) => {
            let metric = metric(spec, of)?;
            let rate = threshold * if high { 2.0 } else { 0.5 };
            let series = matching(metric, of).next().ok_or("nothing matches")?;
            Ok(vec![(name(metric, "", &series), rate * interval)])
        }
        Measure::Ratio { part, whole } => {
            let (of_part, of_whole) = (metric(spec, part)?, metric(spec, whole)?);
            let fraction = if high {
                f64::midpoint(1.0, threshold)
            } else {
                threshold / 2.0
            };
            let one = matching(of_part, part)
                .next()
                .ok_or("nothing matches the part")?;
            let one = name(of_part, "", &one);
            let in_part: Vec<_> = matching(of_part, part)
                .map(|labels| name(of_part, "", &labels))
                .collect();
            let other = matching(of_whole, whole)
                .map(|labels| name(of_whole, "", &labels))
                .find(|other| !in_part.contains(other))
                .ok_or("the part is the whole: the ratio is always one")?;
            let count = (EVENTS * fraction).round();
            Ok(vec![(one, count), (other, EVENTS - count)])
        }
        Measure::Quantile { of, .. } => {
            let metric = metric(spec, of)?;
            let labels = matching(metric, of).next().ok_or("nothing matches")?;
            let bound = |at: usize| metric.buckets.get(at).copied().unwrap_or(f64::INFINITY);
            // Every observation falls into one bucket, wholly on one side of the threshold.
            let buckets = 0..metric.buckets.len();
            let hit = if high {
                buckets
                    .clone()
                    .find(|at| *at > 0 && bound(at - 1) >= threshold)
            } else {
                buckets.clone().rev().find(|at| bound(*at) <= threshold)
            };
            let hit = hit.ok_or("no bucket lies wholly on that side of the threshold")?;
            let bounds = buckets
                .map(|at| bound(at).to_string())
                .chain(once("+Inf".to_owned()));
            let series = bounds.enumerate().map(|(at, bound)| {
                let labels: Vec<_> = labels
                    .iter()
                    .cloned()
                    .chain(once(("le".to_owned(), bound)))
                    .collect();
                (
                    name(metric, "_bucket", &labels),
                    if at >= hit { EVENTS } else { 0.0 },
                )
            });
            Ok(series.collect())
        }
    }
}

fn metric<'a>(spec: &'a Spec, of: &Selection) -> Result<&'a Metric, Fault> {
    spec.metric(&of.metric)
        .ok_or_else(|| format!("no metric {}", of.metric).into())
}

/// Labels of every series that the selection takes.
fn matching(metric: &Metric, of: &Selection) -> impl Iterator<Item = Vec<(String, String)>> {
    let mut all = vec![Vec::new()];
    for label in &metric.labels {
        let wanted = of.matches.iter().find(|found| found.label == label.name);
        let takes = |value: &String| {
            wanted.is_none_or(|wanted| wanted.values.iter().any(|(taken, _)| taken == value))
        };
        let values: Vec<_> = label.values().into_iter().filter(takes).collect();
        all = all
            .into_iter()
            .flat_map(|labels: Vec<(String, String)>| {
                values
                    .iter()
                    .map(|value| {
                        labels
                            .iter()
                            .cloned()
                            .chain(once((label.name.clone(), value.clone())))
                            .collect()
                    })
                    .collect::<Vec<Vec<_>>>()
            })
            .collect();
    }
    all.into_iter()
}

fn name(metric: &Metric, suffix: &str, labels: &[(String, String)]) -> String {
    let labels: Vec<_> = labels
        .iter()
        .map(|(label, value)| format!("{label}={}", quoted(value)))
        .collect();
    format!("{}{suffix}{{{}}}", metric.name, labels.join(","))
}

/// A duration in Prometheus' notation, such as `1h30m`, in seconds.
fn seconds(text: &str) -> Result<u64, Fault> {
    let fault = || format!("{text} is no duration such as 5m or 1h30m");
    let mut total = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(fault)?;
        let (count, tail) = rest.split_at(digits);
        let unit = tail.chars().next().ok_or_else(fault)?;
        let factor = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(fault().into()),
        };
        total += count.parse::<u64>().map_err(|_| fault())? * factor;
        rest = &tail[1..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_prometheus_reads_them() {
        assert_eq!(seconds("90s").ok(), Some(90));
        assert_eq!(seconds("1h30m").ok(), Some(5_400));
        assert!(seconds("5").is_err());
        assert!(seconds("m").is_err());
        assert!(seconds("5y").is_err());
    }
}
