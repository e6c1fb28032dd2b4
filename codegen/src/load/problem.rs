//! The parsers' errors as diagnostics.
//!
//! `prost-reflect`'s text-format error knows its bytes but not its file, and its message names what is wrong but not
//! what is legal: the place comes from its labels, the suggestion from the pool.

use std::sync::Arc;

use prost_reflect::{DescriptorPool, text_format};

use super::proto::repo_path;
use super::{METRICS, SCHEMA};
use crate::diagnostic::{Diagnostic, Sources, did_you_mean};
use crate::model::Span;

/// What is wrong with a textproto.
pub(super) fn of_text(
    error: &text_format::ParseError,
    path: &Arc<str>,
    pool: &DescriptorPool,
    sources: &Sources,
) -> Diagnostic {
    let length = sources.text(path).map_or(0, |text| text.trim_end().len());
    let span = place(error, path).unwrap_or_else(|| Span::new(path, length..length));
    explain(
        &error.to_string(),
        help(error),
        &span,
        (pool, sources),
        "syntax",
    )
}

/// What is wrong with a `.proto`; `path` is the file that was asked for, the error may be in one that it imports.
pub(super) fn of_proto(
    error: &protox::Error,
    path: &Arc<str>,
    pool: &DescriptorPool,
    sources: &Sources,
) -> Vec<Diagnostic> {
    let path = error
        .file()
        .and_then(|name| repo_path(name, sources))
        .unwrap_or_else(|| Arc::clone(path));
    let rule = if error.is_parse() { "syntax" } else { "schema" };
    let first: &dyn miette::Diagnostic = error;
    let mut found = vec![of_label(first, &path, pool, sources, rule)];
    for other in first.related().into_iter().flatten() {
        found.push(of_label(other, &path, pool, sources, rule));
    }
    found
}

fn of_label(
    error: &dyn miette::Diagnostic,
    path: &Arc<str>,
    pool: &DescriptorPool,
    sources: &Sources,
    rule: &'static str,
) -> Diagnostic {
    let span = place(error, path).unwrap_or_else(|| Span::new(path, 0..0));
    let Some(inner) = error.diagnostic_source() else {
        return explain(
            &error.to_string(),
            help(error),
            &span,
            (pool, sources),
            rule,
        );
    };
    // An error inside `option (x) = { .. }` counts its bytes in a copy of the tokens; the name is looked for instead.
    let message = inner.to_string();
    let span = quoted(&message)
        .first()
        .and_then(|name| sources.find_word(&span, name))
        .unwrap_or(span);
    explain(&message, help(inner), &span, (pool, sources), rule)
}

/// Place of the last label: the first may show an earlier declaration.
fn place(error: &dyn miette::Diagnostic, path: &Arc<str>) -> Option<Span> {
    let label = error.labels()?.last()?;
    Some(Span::new(
        path,
        label.offset()..label.offset() + label.len(),
    ))
}

fn help(error: &dyn miette::Diagnostic) -> Option<String> {
    error.help().map(|help| help.to_string())
}

/// The message in our own words where we know better ones.
fn explain(
    message: &str,
    help: Option<String>,
    span: &Span,
    (pool, sources): (&DescriptorPool, &Sources),
    rule: &'static str,
) -> Diagnostic {
    let names = quoted(message);
    match names[..] {
        [field, message_name] if message.contains("not found for message") => {
            let short = short(message_name);
            let diagnostic = Diagnostic::new(
                "unknown_field",
                span,
                format!("`{short}` has no field `{field}`"),
            )
            .label("no such field");
            let Some(descriptor) = pool.get_message_by_name(message_name) else {
                return diagnostic;
            };
            let known: Vec<String> = descriptor.fields().map(|f| f.name().to_owned()).collect();
            diagnostic.help(did_you_mean(field, known.iter().map(String::as_str)))
        }
        [value, enum_name] if message.contains("was not found for enum") => {
            let short = short(enum_name);
            let diagnostic = Diagnostic::new(
                "unknown_value",
                span,
                format!("`{short}` has no value `{value}`"),
            )
            .label("no such value");
            let Some(descriptor) = pool.get_enum_by_name(enum_name) else {
                return diagnostic;
            };
            let known: Vec<String> = descriptor
                .values()
                .map(|v| v.name().to_owned())
                .filter(|name| !name.ends_with("_UNSPECIFIED"))
                .collect();
            diagnostic.help(did_you_mean(value, known.iter().map(String::as_str)))
        }
        [name] if message.starts_with("import ") => {
            let known = [SCHEMA, METRICS].into_iter().flat_map(|folder| {
                sources
                    .inputs_in(folder, "proto")
                    .map(move |(path, _)| &path[folder.len() + 1..])
            });
            Diagnostic::new(rule, span, format!("there is no `{name}` to import"))
                .help(did_you_mean(name, known))
        }
        [name] if message.ends_with("is not defined") => {
            let diagnostic =
                Diagnostic::new(rule, span, format!("there is no `{name}`")).label("not defined");
            let mut known: Vec<String> = pool.all_enums().map(|e| e.name().to_owned()).collect();
            known.extend(pool.all_messages().map(|m| m.name().to_owned()));
            known.sort();
            match crate::diagnostic::closest(short(name), known.iter().map(String::as_str)) {
                Some(close) => diagnostic.help(format!("did you mean `{close}`?")),
                None => diagnostic.help(
                    help.unwrap_or_else(|| "declare it, or import the file that does".to_owned()),
                ),
            }
        }
        _ => {
            let diagnostic = Diagnostic::new(rule, span, message.replace('\'', "`"));
            match help.or_else(|| slip(message, &names)) {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            }
        }
    }
}

/// A help line where what was found is nearly one of what was expected.
fn slip(message: &str, names: &[&str]) -> Option<String> {
    let (found, expected) = names.split_last()?;
    if !message.contains("but found") {
        return None;
    }
    let close = crate::diagnostic::closest(found, expected.iter().copied())?;
    Some(format!("did you mean `{close}`?"))
}

/// What stands between single quotes.
fn quoted(message: &str) -> Vec<&str> {
    message.split('\'').skip(1).step_by(2).collect()
}

fn short(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap_or(full_name)
}
