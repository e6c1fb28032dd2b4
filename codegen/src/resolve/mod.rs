//! From messages to the model: names become the things they name, and a preset's gaps are filled from what it extends.
//!
//! Only what the model cannot do without is refused here; everything else is a lint, which sees the whole spec.

mod alerts;
mod enums;
mod errors;
mod formats;
mod metrics;
mod options;
mod presets;
mod wire;

use prost_reflect::Kind;

pub use enums::{RUST_KEYWORDS, pascal, screaming, snake};

use crate::RuleInfo;
use crate::diagnostic::{Diagnostic, Sources, one_of};
use crate::load::{Loaded, View};
use crate::model::{Enum, EnumValue, Spec};

/// What resolving checks.
pub const RULES: &[RuleInfo] = &[
    RuleInfo {
        name: "missing_value",
        about: "what must be said is said",
        waivable: false,
    },
    RuleInfo {
        name: "extends_cycle",
        about: "no preset extends itself, by any way",
        waivable: false,
    },
    RuleInfo {
        name: "unknown_preset",
        about: "a preset that another extends exists",
        waivable: false,
    },
];

/// Package of the spec's own language.
pub(crate) const SPEC_PACKAGE: &str = "cachekit.spec.v1";

/// The model of what was read.
pub fn resolve(loaded: &Loaded, sources: &Sources) -> Result<Spec, Vec<Diagnostic>> {
    let mut resolver = Resolver {
        loaded,
        enums: enums::all(loaded),
        found: Vec::new(),
    };
    let options = options::all(&mut resolver);
    let presets = presets::all(&mut resolver, &options);
    let formats = formats::all(&mut resolver);
    let metrics = metrics::all(&mut resolver);
    let alerts = alerts::all(&mut resolver);
    let (errors, python_classes) = errors::all(&mut resolver);
    let (wire_messages, wire) = wire::all(loaded);
    if resolver.found.is_empty() {
        Ok(Spec {
            options_doc: options::doc(loaded),
            options,
            enums: resolver.enums,
            presets,
            formats,
            metrics,
            alerts,
            errors,
            python_classes,
            wire_messages,
            wire,
            spec_hash: sources.hash(),
        })
    } else {
        Err(resolver.found)
    }
}

/// What the parts of this stage share.
struct Resolver<'a> {
    loaded: &'a Loaded,
    enums: Vec<Enum>,
    found: Vec<Diagnostic>,
}

impl Resolver<'_> {
    /// A text that must be there.
    fn text(&mut self, view: &View<'_>, what: &str, field: &str) -> String {
        let text = view.text(field);
        if text.trim().is_empty() {
            self.missing(view, what, field, format!("set `{field}`"));
        }
        text
    }

    fn missing(&mut self, view: &View<'_>, what: &str, field: &str, help: String) {
        // A file as a whole is best shown by its name.
        let is_file = view.span.start == view.span.end;
        let shown = if is_file && !view.has(field) {
            "name"
        } else {
            field
        };
        let span = view.value_span(shown);
        self.found.push(
            Diagnostic::new("missing_value", &span, format!("{what} has no `{field}`"))
                .label("not decided")
                .help(help),
        );
    }

    /// The value of an enum that must be there.
    fn enumeration(&mut self, view: &View<'_>, what: &str, field: &str) -> EnumValue {
        let number = view.scalar(field).as_enum_number().unwrap_or(0);
        let descriptor = view.descriptor().get_field_by_name(field);
        let kind = descriptor.map(|descriptor| descriptor.kind());
        let full_name = match &kind {
            Some(Kind::Enum(descriptor)) => descriptor.full_name(),
            _ => "",
        };
        let Some(found) = self.enums.iter().find(|found| found.full_name == full_name) else {
            self.missing(view, what, field, format!("declare the enum of `{field}`"));
            return unknown(view);
        };
        if let Some(value) = found.values.iter().find(|value| value.number == number) {
            return value.clone();
        }
        let names: Vec<&str> = found
            .values
            .iter()
            .map(|value| value.name.as_str())
            .collect();
        let help = one_of(&names);
        if number == 0 {
            self.missing(view, what, field, help);
        } else {
            let message = format!("`{}` has no value {number}", found.name);
            self.found.push(
                Diagnostic::new("unknown_value", &view.value_span(field), message)
                    .label("no such value")
                    .help(help),
            );
        }
        unknown(view)
    }
}

/// How a message calls a thing that may have no name.
fn called(what: &str, name: &str) -> String {
    if name.is_empty() {
        format!("the {what}")
    } else {
        format!("{what} `{name}`")
    }
}

/// What stands for a value whose absence has been reported.
fn unknown(view: &View<'_>) -> EnumValue {
    EnumValue {
        name: String::new(),
        number: 0,
        short: String::new(),
        pascal: String::new(),
        doc: String::new(),
        span: view.span.clone(),
    }
}
