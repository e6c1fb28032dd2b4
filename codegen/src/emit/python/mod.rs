//! The generated part of the Python package: the decorator and its presets, options, exceptions, stub and spec hash.

mod options;
mod presets;

use askama::Template;

use super::text::{docstring, generated, quoted};
use super::{Fault, Output};
use crate::model::{OptionKind, OptionSpec, Spec, Value};

/// Where lines end, as the package's formatter has it.
const WIDTH: usize = 120;

#[derive(Template)]
#[template(path = "python/_spec.py.jinja", escape = "none")]
struct Hash<'a> {
    generated: String,
    spec_hash: &'a str,
}

#[derive(Template)]
#[template(path = "python/_native.pyi.jinja", escape = "none")]
struct Stub {
    generated: String,
}

#[derive(Template)]
#[template(path = "python/exceptions.py.jinja", escape = "none")]
struct Exceptions {
    generated: String,
    classes: Vec<Class>,
    /// The class that all others derive from.
    root: String,
    errors: Vec<Error>,
}

struct Class {
    name: String,
    bases: String,
    doc: String,
}

struct Error {
    code: String,
    class: String,
    retryable: &'static str,
    text: String,
}

pub(super) fn emit(spec: &Spec) -> Result<Vec<Output>, Fault> {
    let hash = Hash {
        generated: generated("spec"),
        spec_hash: &spec.spec_hash,
    };
    let stub = Stub {
        generated: generated("spec"),
    };
    let files = [
        ("_spec.py", hash.render()?),
        ("_native.pyi", stub.render()?),
        ("exceptions.py", exceptions(spec)?),
        ("options.py", options::emit(spec)?),
        ("presets.py", presets::emit(spec)?),
    ];
    let output = |(name, text): &(&str, String)| {
        Output::text(&format!("sdks/python/python/cachekit/{name}"), text)
    };
    Ok(files.iter().map(output).collect())
}

fn exceptions(spec: &Spec) -> Result<String, Fault> {
    let ours = |name: &String| spec.python_classes.iter().any(|class| class.name == *name);
    let root = spec
        .python_classes
        .iter()
        .find(|class| !class.bases.iter().any(ours));
    let view = Exceptions {
        generated: generated("spec/errors.textproto"),
        root: root
            .ok_or("no Python class is the root of the others")?
            .name
            .clone(),
        classes: spec
            .python_classes
            .iter()
            .map(|class| Class {
                name: class.name.clone(),
                bases: class.bases.join(", "),
                doc: docstring(&class.doc),
            })
            .collect(),
        errors: spec
            .errors
            .iter()
            .map(|error| Error {
                code: quoted(&error.code),
                class: error.python_class.clone(),
                retryable: if error.retryable { "True" } else { "False" },
                text: quoted(&error.text),
            })
            .collect(),
    };
    Ok(view.render()?)
}

/// The option's type in a signature.
fn python_type(spec: &Spec, option: &OptionSpec) -> String {
    if let Some(python_type) = &option.python_type {
        let literal = format!("Literal[{}]", choices(spec, option).join(", "));
        return python_type.replace("Literal", &literal);
    }
    let kind = match &option.kind {
        OptionKind::Bool => "bool".to_owned(),
        OptionKind::Uint => "int".to_owned(),
        OptionKind::Float => "float".to_owned(),
        OptionKind::Text => "str".to_owned(),
        OptionKind::Enum(_) | OptionKind::Other(_) => {
            format!("Literal[{}]", choices(spec, option).join(", "))
        }
    };
    if option.none.is_some() {
        format!("{kind} | None")
    } else {
        kind
    }
}

/// The values of an enum, quoted; nothing where the option is no enum.
fn choices(spec: &Spec, option: &OptionSpec) -> Vec<String> {
    match &option.kind {
        OptionKind::Enum(name) => spec
            .enumeration(name)
            .map(|found| {
                found
                    .values
                    .iter()
                    .map(|value| quoted(&value.short))
                    .collect()
            })
            .unwrap_or_default(),
        _ => Vec::new(),
    }
}

fn literal(value: &Value) -> String {
    match value {
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Uint(value) => value.to_string(),
        Value::Float(value) => format!("{value:?}"),
        Value::Text(value) => quoted(value),
        Value::Enum(value) => quoted(&value.short),
    }
}
