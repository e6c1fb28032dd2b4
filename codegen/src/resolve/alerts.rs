//! Alerts.

use super::{Resolver, SPEC_PACKAGE, called};
use crate::load::View;
use crate::model::{Alert, LabelMatch, Measure, Selection};

/// Every alert, by path of its file.
pub(super) fn all(resolver: &mut Resolver<'_>) -> Vec<Alert> {
    let loaded = resolver.loaded;
    let name = format!("{SPEC_PACKAGE}.Alert");
    loaded
        .documents_of(&name)
        .filter_map(|document| read(resolver, &document.view()))
        .collect()
}

fn read(resolver: &mut Resolver<'_>, view: &View<'_>) -> Option<Alert> {
    let name = resolver.text(view, "the alert", "name");
    let what = called("alert", &name);
    let measure = measure(resolver, view, &what);
    if !view.has("threshold") {
        let help = "say with what the value is compared".to_owned();
        resolver.missing(view, &what, "threshold", help);
    }
    Some(Alert {
        doc: view.comment_of("name").to_owned(),
        summary: resolver.text(view, &what, "summary"),
        runbook: resolver.text(view, &what, "runbook"),
        severity: resolver.enumeration(view, &what, "severity"),
        window: resolver.text(view, &what, "window"),
        hold: resolver.text(view, &what, "hold"),
        comparison: resolver.enumeration(view, &what, "comparison"),
        threshold: view.scalar("threshold").as_f64().unwrap_or(0.0),
        span: view.value_span("name"),
        measure: measure?,
        name,
    })
}

fn measure(resolver: &mut Resolver<'_>, view: &View<'_>, what: &str) -> Option<Measure> {
    if let Some(rate) = view.message("rate") {
        return Some(Measure::Rate(selection(resolver, &rate, what)));
    }
    if let Some(ratio) = view.message("ratio") {
        let side = |resolver: &mut Resolver<'_>, name: &str| {
            let Some(side) = ratio.message(name) else {
                let help = format!("add `{name} {{ metric: .. }}`");
                resolver.missing(&ratio, &format!("the ratio of {what}"), name, help);
                return None;
            };
            Some(selection(resolver, &side, what))
        };
        let part = side(resolver, "part");
        let whole = side(resolver, "whole");
        return Some(Measure::Ratio {
            part: part?,
            whole: whole?,
        });
    }
    if let Some(quantile) = view.message("quantile") {
        let Some(of) = quantile.message("of") else {
            let help = "add `of { metric: .. }`".to_owned();
            resolver.missing(&quantile, &format!("the quantile of {what}"), "of", help);
            return None;
        };
        return Some(Measure::Quantile {
            of: selection(resolver, &of, what),
            q: quantile.scalar("q").as_f64().unwrap_or(0.0),
        });
    }
    let help = "one of `rate {..}`, `ratio {..}`, `quantile {..}`".to_owned();
    resolver.missing(view, what, "value", help);
    None
}

fn selection(resolver: &mut Resolver<'_>, view: &View<'_>, what: &str) -> Selection {
    Selection {
        metric: resolver.text(view, &format!("a selection of {what}"), "metric"),
        matches: view
            .messages("match")
            .iter()
            .map(|found| LabelMatch {
                label: resolver.text(found, &format!("a match of {what}"), "label"),
                label_span: found.value_span("label"),
                values: found.texts("values"),
            })
            .collect(),
        span: view.value_span("metric"),
    }
}
