//! Metrics: one message each, whose fields are the labels.

use std::borrow::Cow;

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor, Value};

use super::{Resolver, SPEC_PACKAGE, enums, snake};
use crate::load::{Loaded, METRICS};
use crate::model::{Label, LabelKind, Metric, MetricKind};

/// Every message under `spec/metrics`, by path of its file.
pub(super) fn all(resolver: &mut Resolver<'_>) -> Vec<Metric> {
    let loaded = resolver.loaded;
    let mut messages: Vec<MessageDescriptor> = loaded
        .pool
        .all_messages()
        .filter(|message| {
            let path = loaded.places.path(&message.parent_file());
            path.is_some_and(|path| path.starts_with(METRICS)) && !message.is_map_entry()
        })
        .collect();
    messages.sort_by_key(|message| {
        let file = message.parent_file();
        (file.name().to_owned(), message.path().to_vec())
    });
    messages
        .iter()
        .map(|message| metric(loaded, message))
        .collect()
}

/// Number of a message's options in its descriptor.
const OPTIONS: i32 = 7;

fn metric(loaded: &Loaded, message: &MessageDescriptor) -> Metric {
    let file = message.parent_file();
    let options = message.options();
    let extension = loaded
        .pool
        .get_extension_by_name(&format!("{SPEC_PACKAGE}.metric"));
    let rule = extension
        .as_ref()
        .and_then(|extension| options.get_extension(extension).as_message().cloned());
    let get = |name: &str| rule.as_ref()?.get_field_by_name(name).map(Cow::into_owned);
    let buckets = get("buckets").unwrap_or(Value::List(Vec::new()));
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(|field| field.path().to_vec());
    let number = extension.map_or(0, |extension| extension.number());
    let rule_path = [
        message.path(),
        &[OPTIONS, i32::try_from(number).unwrap_or(0)],
    ]
    .concat();
    let span = loaded.places.name(&file, message.path());
    let rule_span = loaded.places.whole(&file, &rule_path);
    Metric {
        message: message.name().to_owned(),
        field: snake(message.name()),
        name: get("name")
            .and_then(|name| Some(name.as_str()?.to_owned()))
            .unwrap_or_default(),
        doc: loaded.places.doc(&file, message.path()),
        kind: match get("kind").and_then(|kind| kind.as_enum_number()) {
            Some(1) => MetricKind::Counter,
            Some(2) => MetricKind::Gauge,
            Some(3) => MetricKind::Histogram,
            _ => MetricKind::Unspecified,
        },
        labels: fields.iter().map(|field| label(loaded, field)).collect(),
        buckets: buckets
            .as_list()
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_f64)
            .collect(),
        rule_span: if rule_span.end > rule_span.start {
            rule_span
        } else {
            span.clone()
        },
        span,
    }
}

fn label(loaded: &Loaded, field: &FieldDescriptor) -> Label {
    let file = field.parent_file();
    let kind = match field.kind() {
        Kind::Enum(found) if !field.is_list() => LabelKind::Enum(enums::of(loaded, &found)),
        Kind::Bool if !field.is_list() => LabelKind::Bool,
        _ if field.is_map() => LabelKind::Unbounded("map".to_owned()),
        _ if field.is_list() => {
            LabelKind::Unbounded(format!("repeated {}", super::wire::type_name(field)))
        }
        _ => LabelKind::Unbounded(super::wire::type_name(field)),
    };
    Label {
        name: field.name().to_owned(),
        number: field.number(),
        doc: loaded.places.doc(&file, field.path()),
        kind,
        span: loaded.places.whole(&file, field.path()),
    }
}
