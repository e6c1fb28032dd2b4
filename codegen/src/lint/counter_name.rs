//! A metric's name says what Prometheus users read from it: the project, and whether it only grows.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::{Metric, MetricKind};

pub(super) struct CounterName;

impl Rule for CounterName {
    fn name(&self) -> &'static str {
        "counter_name"
    }

    fn about(&self) -> &'static str {
        "a counter's name ends in `_total` and no other's does; every name is `cachekit_`, lower case, and no series of a histogram"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for metric in context
            .spec
            .metrics
            .iter()
            .filter(|metric| !metric.name.is_empty())
        {
            if let Some((message, better)) = wrong(metric) {
                let span = context
                    .sources
                    .find_word(&metric.rule_span, &metric.name)
                    .unwrap_or_else(|| metric.rule_span.clone());
                found.push(
                    Diagnostic::new(self.name(), &span, message)
                        .label("name of the metric")
                        .help(format!("call it `{better}`")),
                );
            }
        }
    }
}

fn wrong(metric: &Metric) -> Option<(String, String)> {
    let name = &metric.name;
    let clean: String = name
        .to_lowercase()
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    if clean != *name {
        return Some((
            format!("`{name}` is not lower case with underscores"),
            clean,
        ));
    }
    let rest = name.strip_prefix("cachekit_");
    if rest.is_none_or(str::is_empty) {
        return Some((
            format!("`{name}` does not begin with `cachekit_`"),
            format!("cachekit_{name}"),
        ));
    }
    let series = ["_bucket", "_count", "_sum"];
    if let Some(stem) = series.iter().find_map(|suffix| name.strip_suffix(suffix)) {
        return Some((
            format!("`{name}` ends as a series of a histogram does"),
            stem.to_owned(),
        ));
    }
    match (
        metric.kind == MetricKind::Counter,
        name.strip_suffix("_total"),
    ) {
        (true, None) => Some((
            format!("the counter `{name}` does not end in `_total`"),
            format!("{name}_total"),
        )),
        (false, Some(stem)) => Some((
            format!("`{name}` ends in `_total` and is not a counter"),
            stem.to_owned(),
        )),
        _ => None,
    }
}
