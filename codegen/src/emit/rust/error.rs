//! `error.rs`: the error list and what programs ask of an error.

use askama::Template;

use super::{Enumeration, docs};
use crate::emit::Fault;
use crate::emit::text::{generated, quoted};
use crate::model::{ErrorSpec, Spec};
use crate::resolve::pascal;

#[derive(Template)]
#[template(path = "rust/error.rs.jinja", escape = "none")]
struct Module {
    generated: String,
    kind: Enumeration,
    codes: Vec<Code>,
    /// A pattern of codes, and the kind that they share.
    kinds: Vec<(String, String)>,
    /// A pattern of the codes that may be tried again.
    retryable: String,
    /// A pattern of codes, and the Python class that they share.
    classes: Vec<(String, String)>,
}

struct Code {
    docs: String,
    variant: String,
    literal: String,
    text: String,
}

pub(super) fn emit(spec: &Spec) -> Result<String, Fault> {
    let kind = spec
        .enumeration("cachekit.spec.v1.ErrorKind")
        .ok_or("the schemas have no enum cachekit.spec.v1.ErrorKind")?;
    let codes = spec.errors.iter().map(|error| Code {
        docs: docs(&format!("{}\n\n{}", error.text, error.doc)),
        variant: pascal(&error.code),
        literal: quoted(&error.code),
        text: quoted(&error.text),
    });
    let view = Module {
        generated: generated("spec/errors.textproto"),
        kind: Enumeration::of(kind, |_| true),
        codes: codes.collect(),
        kinds: shared(&spec.errors, |error| error.kind.pascal.clone()),
        retryable: pattern(spec.errors.iter().filter(|error| error.retryable)),
        classes: shared(&spec.errors, |error| quoted(&error.python_class)),
    };
    Ok(view.render()?)
}

fn pattern<'a>(errors: impl Iterator<Item = &'a ErrorSpec>) -> String {
    let variants: Vec<_> = errors
        .map(|error| format!("Self::{}", pascal(&error.code)))
        .collect();
    variants.join(" | ")
}

/// One arm for each value that `of` gives, in the order of its first use.
fn shared(errors: &[ErrorSpec], of: impl Fn(&ErrorSpec) -> String) -> Vec<(String, String)> {
    let mut values: Vec<String> = Vec::new();
    for value in errors.iter().map(&of) {
        if !values.contains(&value) {
            values.push(value);
        }
    }
    let arm = |value: String| {
        (
            pattern(errors.iter().filter(|error| of(error) == value)),
            value,
        )
    };
    values.into_iter().map(arm).collect()
}
