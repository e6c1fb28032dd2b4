//! Options: the fields of `Options` with their annotations.

use prost_reflect::{DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};

use super::{Resolver, SPEC_PACKAGE};
use crate::diagnostic::Diagnostic;
use crate::load::Loaded;
use crate::model::{Decider, OptionKind, OptionSpec};

fn message(loaded: &Loaded) -> Option<MessageDescriptor> {
    loaded
        .pool
        .get_message_by_name(&format!("{SPEC_PACKAGE}.Options"))
}

/// The comment of the message that holds them.
pub(super) fn doc(loaded: &Loaded) -> String {
    message(loaded)
        .map(|message| loaded.places.doc(&message.parent_file(), message.path()))
        .unwrap_or_default()
}

/// Every option, as declared.
pub(super) fn all(resolver: &mut Resolver<'_>) -> Vec<OptionSpec> {
    let Some(message) = message(resolver.loaded) else {
        let text = format!("the schemas declare no message `{SPEC_PACKAGE}.Options`");
        resolver
            .found
            .push(Diagnostic::nowhere("missing_value", text));
        return Vec::new();
    };
    let mut fields: Vec<FieldDescriptor> = message.fields().collect();
    fields.sort_by_key(|field| field.path().to_vec());
    fields
        .iter()
        .map(|field| option(resolver.loaded, field))
        .collect()
}

fn option(loaded: &Loaded, field: &FieldDescriptor) -> OptionSpec {
    let file = field.parent_file();
    let rule = rule(loaded, field);
    let text = |name: &str| {
        Some(rule.get_field_by_name(name)?.as_str()?.to_owned()).filter(|text| !text.is_empty())
    };
    let number = |name: &str| {
        rule.has_field_by_name(name)
            .then(|| rule.get_field_by_name(name)?.as_f64())
            .flatten()
    };
    let flag = |name: &str| {
        rule.get_field_by_name(name)
            .and_then(|value| value.as_bool())
            == Some(true)
    };
    let texts = |name: &str| {
        let values = rule
            .get_field_by_name(name)
            .map(std::borrow::Cow::into_owned);
        let values = values.as_ref().and_then(Value::as_list).unwrap_or_default();
        values
            .iter()
            .filter_map(|value| Some(value.as_str()?.to_owned()))
            .collect()
    };
    let decided_by = rule
        .get_field_by_name("decided_by")
        .and_then(|value| value.as_enum_number());
    OptionSpec {
        name: field.name().to_owned(),
        number: field.number(),
        doc: loaded.places.doc(&file, field.path()),
        kind: kind(field),
        decided_by: match decided_by {
            Some(1) => Decider::Preset,
            Some(2) => Decider::PresetOnly,
            Some(3) => Decider::Caller,
            _ => Decider::Unspecified,
        },
        unit: text("unit"),
        min: number("min"),
        max: number("max"),
        exclusive_min: flag("exclusive_min"),
        python_type: text("python_type"),
        env: text("env"),
        env_presets: texts("env_presets"),
        env_scale: number("env_scale"),
        none: text("none"),
        python_only: flag("python_only"),
        span: loaded.places.name(&file, field.path()),
    }
}

/// The annotation, empty where there is none.
fn rule(loaded: &Loaded, field: &FieldDescriptor) -> DynamicMessage {
    let extension = loaded
        .pool
        .get_extension_by_name(&format!("{SPEC_PACKAGE}.option"));
    let options = field.options();
    extension
        .and_then(|extension| options.get_extension(&extension).as_message().cloned())
        .unwrap_or(options)
}

fn kind(field: &FieldDescriptor) -> OptionKind {
    if field.is_list() || field.is_map() {
        return OptionKind::Other(super::wire::type_name(field));
    }
    match field.kind() {
        Kind::Bool => OptionKind::Bool,
        Kind::Uint64 | Kind::Uint32 => OptionKind::Uint,
        Kind::Double => OptionKind::Float,
        Kind::String => OptionKind::Text,
        Kind::Enum(found) => OptionKind::Enum(found.full_name().to_owned()),
        _ => OptionKind::Other(super::wire::type_name(field)),
    }
}
