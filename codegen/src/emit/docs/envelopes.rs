//! `envelopes.md`: stored bytes, offset by offset.

use askama::Template;

use super::{cell, prose};
use crate::emit::Fault;
use crate::emit::text::generated;
use crate::model::{Format, Spec, StepKind};

#[derive(Template)]
#[template(path = "docs/envelopes.md.jinja", escape = "none")]
struct Page {
    generated: String,
    formats: Vec<FormatRow>,
    messages: Vec<MessageRow>,
    enums: Vec<EnumRow>,
}

struct FormatRow {
    name: String,
    id: String,
    summary: String,
    doc: String,
    presets: String,
    steps: Vec<String>,
    /// Offset, size and meaning; none for framings that are not ours.
    bytes: Vec<(&'static str, &'static str, String)>,
    framing: String,
}

struct EnumRow {
    name: String,
    doc: String,
    /// Number, name and meaning of each value.
    values: Vec<(i32, String, String)>,
}

struct MessageRow {
    name: String,
    doc: String,
    fields: Vec<(u32, String, String, String)>,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let wire = spec
        .enums
        .iter()
        .filter(|found| found.full_name.starts_with("cachekit.wire."));
    let messages = spec.wire_messages.iter().map(|message| MessageRow {
        name: message.name.clone(),
        doc: prose(&message.doc),
        fields: message
            .fields
            .iter()
            .map(|field| {
                let repeated = if field.repeated { "repeated " } else { "" };
                let field_type = format!("{repeated}{}", field.type_name);
                (
                    field.number,
                    field.name.clone(),
                    field_type,
                    cell(&field.doc),
                )
            })
            .collect(),
    });
    let page = Page {
        generated: generated("spec/envelopes and spec/schema/cachekit/wire/v1"),
        formats: spec
            .formats
            .iter()
            .map(|format| row(spec, format))
            .collect(),
        messages: messages.collect(),
        enums: wire
            .map(|found| {
                let values = found.values.iter();
                let values =
                    values.map(|value| (value.number, value.short.clone(), cell(&value.doc)));
                EnumRow {
                    name: found.name.clone(),
                    doc: prose(&found.doc),
                    values: values.collect(),
                }
            })
            .collect(),
    };
    Ok(page.render()?)
}

fn row(spec: &Spec, format: &Format) -> FormatRow {
    let presets: Vec<_> = spec
        .presets
        .iter()
        .filter(|preset| {
            preset
                .value("envelope")
                .is_some_and(|decided| decided.value.display() == format.name)
        })
        .map(|preset| format!("`{}`", preset.name))
        .collect();
    FormatRow {
        name: format.name.clone(),
        id: if format.id == 0 {
            String::new()
        } else {
            format!("{} (`{:02x}`)", format.id, format.id)
        },
        summary: cell(&format.summary),
        doc: prose(&format.doc),
        presets: presets.join(", "),
        steps: format
            .steps
            .iter()
            .map(|step| {
                format!("{} {}", describe(format, &step.kind), prose(&step.doc))
                    .trim_end()
                    .to_owned()
            })
            .collect(),
        bytes: if format.framing.short == "cachekit" {
            layout(format)
        } else {
            Vec::new()
        },
        framing: prose(&format.framing.doc),
    }
}

fn describe(format: &Format, step: &StepKind) -> String {
    let ours = format.framing.short == "cachekit";
    match step {
        StepKind::Serialize => "The value becomes bytes.".to_owned(),
        StepKind::Compress { .. } if !ours => {
            "Compressed: an LZ4 block without a size prefix.".to_owned()
        }
        StepKind::Compress {
            algorithm,
            min_bytes,
        } => format!(
            "From {min_bytes} bytes on, and where it shrinks: {}",
            prose(&algorithm.doc)
        ),
        StepKind::Checksum { algorithm } if !ours => {
            format!(
                "A digest of the bytes before compression: {}",
                prose(&algorithm.doc)
            )
        }
        StepKind::Checksum { algorithm } => {
            format!("A digest is appended: {}", prose(&algorithm.doc))
        }
        StepKind::Seal { cipher } => format!("Sealed: {}", prose(&cipher.doc)),
    }
}

fn layout(format: &Format) -> Vec<(&'static str, &'static str, String)> {
    let mut rows = vec![
        ("0", "2", "magic: `c4 4b`".to_owned()),
        ("2", "1", format!("format id: `{:02x}`", format.id)),
        (
            "3",
            "*v* = 1 or 2",
            "length *h* of the header, a varint in its shortest form; at most 4096".to_owned(),
        ),
        ("3 + *v*", "*h*", "header: `EnvelopeHeader`".to_owned()),
        ("3 + *v* + *h*", "*p*", "payload".to_owned()),
    ];
    for step in &format.steps {
        match &step.kind {
            StepKind::Serialize | StepKind::Compress { .. } => {}
            StepKind::Checksum { algorithm } => rows.push((
                "3 + *v* + *h* + *p*",
                "8",
                format!(
                    "digest (`{}`) of: length of the key (4 bytes, big-endian), key, every byte before the digest",
                    algorithm.short
                ),
            )),
            StepKind::Seal { cipher } => {
                rows.pop();
                rows.push(("3 + *v* + *h*", "*p*", "payload, encrypted".to_owned()));
                rows.push((
                    "3 + *v* + *h* + *p*",
                    "16",
                    format!(
                        "tag (`{}`) over the payload and: length of the tenant (4 bytes, big-endian), tenant, length of the key \
                         (4 bytes, big-endian), key, every byte before the payload",
                        cipher.short
                    ),
                ));
            }
        }
    }
    rows
}
