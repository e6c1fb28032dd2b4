//! `envelope.rs`: every format as a list of steps, and only those steps and algorithms that some format uses.

use askama::Template;

use super::{Enumeration, docs, integer};
use crate::emit::Fault;
use crate::emit::text::{generated, quoted};
use crate::model::{Enum, EnumValue, Spec, StepKind};

const PACKAGE: &str = "cachekit.spec.v1";

#[derive(Template)]
#[template(path = "rust/envelope.rs.jinja", escape = "none")]
struct Module {
    generated: String,
    enums: Vec<Enumeration>,
    /// Steps, each with the fields of its variant.
    steps: Vec<(&'static str, &'static str, Vec<StepField>)>,
    formats: Vec<Format>,
}

struct StepField {
    docs: &'static str,
    name: &'static str,
    rust_type: &'static str,
}

struct Format {
    docs: String,
    constant: String,
    name: String,
    id: u32,
    framing: String,
    steps: Vec<String>,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let kinds = || {
        spec.formats
            .iter()
            .flat_map(|format| &format.steps)
            .map(|step| &step.kind)
    };
    let used = |name: &str, of: &dyn Fn(&EnumValue) -> bool| -> Option<Enumeration> {
        let source: &Enum = spec.enumeration(&format!("{PACKAGE}.{name}"))?;
        Some(Enumeration::of(source, of)).filter(|found| !found.variants.is_empty())
    };
    let enums = [
        used("Compression", &|value| {
            kinds().any(
                |kind| matches!(kind, StepKind::Compress { algorithm, .. } if algorithm == value),
            )
        }),
        used("Checksum", &|value| {
            kinds()
                .any(|kind| matches!(kind, StepKind::Checksum { algorithm } if algorithm == value))
        }),
        used("Cipher", &|value| {
            kinds().any(|kind| matches!(kind, StepKind::Seal { cipher } if cipher == value))
        }),
        used("Framing", &|value| {
            spec.formats.iter().any(|format| format.framing == *value)
        }),
    ];
    let steps = [
        ("serialize", "Serialize", "/// Value to bytes.", vec![]),
        (
            "compress",
            "Compress",
            "/// Fewer bytes.",
            vec![
                StepField {
                    docs: "/// The algorithm.",
                    name: "algorithm",
                    rust_type: "Compression",
                },
                StepField {
                    docs: "/// Payloads smaller than this are not tried.",
                    name: "min_bytes",
                    rust_type: "u64",
                },
            ],
        ),
        (
            "checksum",
            "Checksum",
            "/// Digest behind the payload.",
            vec![StepField {
                docs: "/// The algorithm.",
                name: "algorithm",
                rust_type: "Checksum",
            }],
        ),
        (
            "seal",
            "Seal",
            "/// Encryption.",
            vec![StepField {
                docs: "/// The algorithm.",
                name: "cipher",
                rust_type: "Cipher",
            }],
        ),
    ];
    let steps = steps
        .into_iter()
        .filter(|(name, ..)| kinds().any(|kind| kind.name() == *name))
        .map(|(_, variant, docs, fields)| (variant, docs, fields))
        .collect();
    let formats = spec.formats.iter().map(|format| Format {
        docs: docs(&format.summary),
        constant: format.name.to_uppercase(),
        name: quoted(&format.name),
        id: format.id,
        framing: format.framing.pascal.clone(),
        steps: format
            .steps
            .iter()
            .map(|step| literal(&step.kind))
            .collect(),
    });
    let view = Module {
        generated: generated("spec/envelopes"),
        enums: enums.into_iter().flatten().collect(),
        steps,
        formats: formats.collect(),
    };
    Ok(view.render()?)
}

fn literal(step: &StepKind) -> String {
    match step {
        StepKind::Serialize => "Step::Serialize".to_owned(),
        StepKind::Compress {
            algorithm,
            min_bytes,
        } => format!(
            "Step::Compress {{ algorithm: Compression::{}, min_bytes: {} }}",
            algorithm.pascal,
            integer(*min_bytes)
        ),
        StepKind::Checksum { algorithm } => {
            format!(
                "Step::Checksum {{ algorithm: Checksum::{} }}",
                algorithm.pascal
            )
        }
        StepKind::Seal { cipher } => format!("Step::Seal {{ cipher: Cipher::{} }}", cipher.pascal),
    }
}
