//! From the resolved spec to the bytes of every file that follows from it.
//!
//! Pure: an emitter reads the model and nothing else, so that two runs cannot differ.

mod docs;
mod ops;
mod python;
mod rust;
mod text;

use std::error::Error;

use crate::model::Spec;
use crate::reference;

/// A file that the generator writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Path from the repository's root, with `/`.
    pub path: String,
    /// What it holds. Rust is formatted later, by `output`.
    pub bytes: Vec<u8>,
}

impl Output {
    /// A file of text, which ends in one line break.
    fn text(path: &str, text: &str) -> Self {
        Self {
            path: path.to_owned(),
            bytes: format!("{}\n", text.trim_end()).into_bytes(),
        }
    }
}

/// Any error of an emitter: a defect of the generator, or a spec that the rules let through and no output can say.
type Fault = Box<dyn Error + Send + Sync>;

/// Every file that follows from the spec.
pub fn emit(spec: &Spec) -> Result<Vec<Output>, Box<dyn Error + Send + Sync>> {
    let mut outputs = rust::emit(spec)?;
    outputs.extend(python::emit(spec)?);
    outputs.extend(docs::emit(spec)?);
    outputs.extend(ops::emit(spec)?);
    outputs.extend(reference::vectors(spec));
    Ok(outputs)
}
