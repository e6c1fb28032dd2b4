//! The runtime's generated modules.

mod config;
mod envelope;
mod error;
mod metrics;
mod presets;
mod wire;

use askama::Template;

use super::text::{generated, literally, paragraphs, wrap};
use super::{Fault, Output};
use crate::model::{Enum, EnumValue, Spec};

/// Where lines of documentation end, behind their mark.
const DOC_WIDTH: usize = 112;

#[derive(Template)]
#[template(path = "rust/mod.rs.jinja", escape = "none")]
struct Root<'a> {
    generated: String,
    spec_hash: &'a str,
}

pub(super) fn emit(spec: &Spec) -> Result<Vec<Output>, Fault> {
    let root = Root {
        generated: generated("spec"),
        spec_hash: &spec.spec_hash,
    };
    let modules = [
        ("mod", root.render()?),
        ("config", config::emit(spec)?),
        ("presets", presets::emit(spec)?),
        ("envelope", envelope::emit(spec)?),
        ("metrics", metrics::emit(spec)?),
        ("error", error::emit(spec)?),
        ("wire", wire::emit(spec)?),
    ];
    let output = |(name, text): &(&str, String)| {
        Output::text(&format!("runtime/src/generated/{name}.rs"), text)
    };
    Ok(modules.iter().map(output).collect())
}

/// A comment as documentation.
fn docs(doc: &str) -> String {
    let paragraphs: Vec<String> = paragraphs(doc)
        .iter()
        .map(|paragraph| literally(paragraph, &['<', '[', ']']))
        .map(|paragraph| format!("/// {}", wrap(&paragraph, DOC_WIDTH, 0).join("\n/// ")))
        .collect();
    paragraphs.join("\n///\n")
}

/// One variant of an enum.
struct Variant {
    docs: String,
    name: String,
}

impl Variant {
    fn of(value: &EnumValue) -> Self {
        Self {
            docs: docs(&value.doc),
            name: value.pascal.clone(),
        }
    }
}

/// An enum of the spec.
struct Enumeration {
    docs: String,
    name: String,
    variants: Vec<Variant>,
}

impl Enumeration {
    /// The enum with those of its variants that `used` names.
    fn of(source: &Enum, used: impl Fn(&EnumValue) -> bool) -> Self {
        Self {
            docs: docs(&source.doc),
            name: source.name.clone(),
            variants: source
                .values
                .iter()
                .filter(|value| used(value))
                .map(Variant::of)
                .collect(),
        }
    }
}

/// An integer with its thousands apart.
fn integer(value: u64) -> String {
    let digits = value.to_string();
    if digits.len() < 5 {
        return digits;
    }
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('_');
        }
        out.push(digit);
    }
    out
}

/// A number with a fraction, as a literal.
fn float(value: f64) -> String {
    let text = value.to_string();
    if text.contains('.') {
        text
    } else {
        format!("{text}.0")
    }
}

/// Seconds as a `Duration`, in the largest unit that says them exactly.
fn duration(seconds: f64) -> String {
    const UNITS: [(&str, u64); 5] = [
        ("from_hours", 3_600_000_000_000),
        ("from_mins", 60_000_000_000),
        ("from_secs", 1_000_000_000),
        ("from_millis", 1_000_000),
        ("from_nanos", 1),
    ];
    let nanos = whole(seconds * 1e9);
    let unit = UNITS.iter().find(|(_, unit)| nanos.is_multiple_of(*unit));
    match unit {
        Some((name, unit)) if nanos > 0 => format!("Duration::{name}({})", integer(nanos / unit)),
        _ => "Duration::ZERO".to_owned(),
    }
}

/// The nearest unsigned integer.
#[expect(clippy::cast_sign_loss, reason = "the spec's numbers are not negative")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_read_well() {
        assert_eq!(integer(9_999), "9999");
        assert_eq!(integer(268_435_456), "268_435_456");
        assert_eq!(float(0.000_05), "0.00005");
        assert_eq!(float(30.0), "30.0");
        assert_eq!(duration(0.5), "Duration::from_millis(500)");
        assert_eq!(duration(3600.0), "Duration::from_hours(1)");
        assert_eq!(duration(90.0), "Duration::from_secs(90)");
        assert_eq!(duration(1e-6), "Duration::from_nanos(1000)");
    }
}
