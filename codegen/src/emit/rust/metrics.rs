//! `metrics.rs`: every metric with its series resolved once, in arrays that its labels index.

use askama::Template;

use super::{Variant, docs, float};
use crate::emit::Fault;
use crate::emit::text::{generated, quoted, sentence};
use crate::model::{Label, LabelKind, Metric, MetricKind, Spec};
use crate::resolve::RUST_KEYWORDS;

#[derive(Template)]
#[template(path = "rust/metrics.rs.jinja", escape = "none")]
struct Module {
    generated: String,
    imports: Vec<&'static str>,
    kinds: Kinds,
    bools: bool,
    labels: Vec<LabelEnum>,
    metrics: Vec<View>,
}

/// Which kinds some metric is of.
struct Kinds {
    counter: bool,
    gauge: bool,
    histogram: bool,
}

struct LabelEnum {
    docs: String,
    name: String,
    /// Each variant, and its value in the exposition.
    variants: Vec<(Variant, String)>,
}

struct View {
    docs: String,
    message: String,
    field: String,
    name: String,
    kind: &'static str,
    /// Type of all its series.
    series: String,
    /// Expression that makes them.
    new: String,
    /// `, tier: Tier, outcome: LookupOutcome`
    arguments: String,
    /// `[tier as usize][outcome as usize]`
    index: String,
    /// What to iterate over for each series; nothing where there is one.
    each: Option<String>,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let has = |kind| spec.metrics.iter().any(|metric| metric.kind == kind);
    let kinds = Kinds {
        counter: has(MetricKind::Counter),
        gauge: has(MetricKind::Gauge),
        histogram: has(MetricKind::Histogram),
    };
    let imports = [
        (kinds.histogram, "Histogram"),
        (kinds.histogram, "HistogramOpts"),
        (kinds.counter, "IntCounter"),
        (kinds.gauge, "IntGauge"),
        (kinds.counter || kinds.gauge, "Opts"),
        (true, "Registry"),
    ];
    let all = || spec.metrics.iter().flat_map(|metric| &metric.labels);
    let mut labels: Vec<LabelEnum> = Vec::new();
    for label in all() {
        if let LabelKind::Enum(found) = &label.kind
            && !labels.iter().any(|label| label.name == found.name)
        {
            labels.push(LabelEnum {
                docs: docs(&found.doc),
                name: found.name.clone(),
                variants: found
                    .values
                    .iter()
                    .map(|value| (Variant::of(value), quoted(&value.short)))
                    .collect(),
            });
        }
    }
    let view = Module {
        generated: generated("spec/metrics"),
        imports: imports
            .into_iter()
            .filter(|(used, _)| *used)
            .map(|(_, name)| name)
            .collect(),
        kinds,
        bools: all().any(|label| label.kind == LabelKind::Bool),
        labels,
        metrics: spec.metrics.iter().map(view).collect::<Result<_, _>>()?,
    };
    Ok(view.render()?)
}

fn view(metric: &Metric) -> Result<View, Fault> {
    let (kind, rust_type) = match metric.kind {
        MetricKind::Counter => ("counter", "IntCounter"),
        MetricKind::Gauge => ("gauge", "IntGauge"),
        MetricKind::Histogram => ("histogram", "Histogram"),
        MetricKind::Unspecified => return Err(format!("{} has no kind", metric.name).into()),
    };
    let pairs: Vec<_> = metric
        .labels
        .iter()
        .map(|label| format!("({}, {})", quoted(&label.name), local(label)))
        .collect();
    let buckets: Vec<_> = metric.buckets.iter().copied().map(float).collect();
    let buckets = match metric.kind {
        MetricKind::Histogram => format!("&[{}], ", buckets.join(", ")),
        _ => String::new(),
    };
    let one = format!(
        "{kind}({}, {}, {buckets}&[{}])",
        quoted(&metric.name),
        quoted(&sentence(&metric.doc)),
        pairs.join(", ")
    );
    let mut series = rust_type.to_owned();
    let mut new = one;
    for label in metric.labels.iter().rev() {
        series = format!("[{series}; {}]", label.values().len());
        let all = match &label.kind {
            LabelKind::Enum(found) => format!("{}::ALL", found.name),
            LabelKind::Bool | LabelKind::Unbounded(_) => "BOOLS".to_owned(),
        };
        new = format!("{all}.map(|(_, {})| {new})", local(label));
    }
    let arguments = metric.labels.iter().map(|label| match &label.kind {
        LabelKind::Enum(found) => format!(", {}: {}", local(label), found.name),
        LabelKind::Bool | LabelKind::Unbounded(_) => format!(", {}: bool", local(label)),
    });
    let index = metric.labels.iter().map(|label| match &label.kind {
        LabelKind::Enum(_) => format!("[{} as usize]", local(label)),
        LabelKind::Bool | LabelKind::Unbounded(_) => format!("[usize::from({})]", local(label)),
    });
    let each = match metric.labels.len() {
        0 => None,
        1 => Some(format!("&self.{}.series", metric.field)),
        more => Some(format!(
            "self.{}.series.iter(){}",
            metric.field,
            ".flatten()".repeat(more - 1)
        )),
    };
    Ok(View {
        docs: docs(&metric.doc),
        message: metric.message.clone(),
        field: metric.field.clone(),
        name: quoted(&metric.name),
        kind,
        series,
        new,
        arguments: arguments.collect(),
        index: index.collect(),
        each,
    })
}

/// The label as a variable, which may not be a keyword: `r#type`. What cannot be written so is no label's name.
fn local(label: &Label) -> String {
    if RUST_KEYWORDS.contains(&label.name.as_str()) {
        format!("r#{}", label.name)
    } else {
        label.name.clone()
    }
}
