//! An independent encoder of keys and envelopes, and the test vectors that it writes.
//!
//! It is built from the description of the bytes and shares no code with the runtime, so that the runtime is never its
//! own oracle.

mod bytestorage;
mod cases;
mod documents;
mod envelope;
mod fields;
mod frames;
mod header;
mod key;
mod lz4;
mod maker;
mod messagepack;
mod native;
mod presets;
mod published;
mod published_rows;
mod rows;
mod seal;
mod sealed;
mod values;
mod wycheproof;
mod zstd;

use crate::emit::Output;
use crate::model::{Format, Spec, Step, StepKind};

use envelope::Layout;
use published::Shape;

/// Every file of vectors.
pub fn vectors(spec: &Spec) -> Vec<Output> {
    let layouts: Vec<_> = spec.formats.iter().filter_map(layout).collect();
    let published: Vec<_> = spec.formats.iter().filter_map(shape).collect();
    [
        ("envelope", rows::vectors(&layouts)),
        ("key", key::vectors()),
        ("messagepack", messagepack::vectors()),
        ("native", values::vectors()),
        ("preset", presets::vectors(spec)),
        ("published", published_rows::vectors(&published)),
    ]
    .into_iter()
    .map(|(name, bytes)| Output {
        path: format!("tests/vectors/{name}.json"),
        bytes,
    })
    .collect()
}

/// What the format comes to; nothing where it is not made of magic, header, payload and digest.
fn layout(format: &Format) -> Option<Layout> {
    if format.framing.short != "cachekit" {
        return None;
    }
    let mut layout = Layout {
        name: format.name.clone(),
        id: u8::try_from(format.id).ok()?,
        compress_from: None,
        compression: 0,
        checksum: false,
        sealed: false,
    };
    for step in &format.steps {
        match &step.kind {
            StepKind::Serialize => {}
            StepKind::Compress {
                min_bytes,
                algorithm,
            } => {
                layout.compress_from = Some(*min_bytes);
                layout.compression = algorithm.number;
            }
            StepKind::Checksum { .. } => layout.checksum = true,
            StepKind::Seal { .. } => layout.sealed = true,
        }
    }
    Some(layout)
}

/// The name and the shape of a format of the published protocol; nothing of another.
fn shape(format: &Format) -> Option<(String, Shape)> {
    let is_sealed = |step: &Step| matches!(step.kind, StepKind::Seal { .. });
    let sealed = format.steps.iter().any(is_sealed);
    let shape = match (format.framing.short.as_str(), sealed) {
        ("bytestorage", _) => Shape::Bytestorage,
        ("bare", false) => Shape::Document,
        ("bare", true) => Shape::SealedDocument,
        _ => return None,
    };
    Some((format.name.clone(), shape))
}
