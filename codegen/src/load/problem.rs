//! The parsers' errors as diagnostics.
//!
//! `prost-reflect`'s text-format error knows its bytes but not its file, and its message names what is wrong but not
//! what is legal: the place comes from its labels, the suggestion from the pool.

use std::sync::Arc;

use prost_reflect::{DescriptorPool, DynamicMessage, Kind, text_format};

use super::proto::repo_path;
use super::{METRICS, SCHEMA, advice, scan};
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
    // What has no place is the end of the file, or the file as a whole.
    let end = sources.text(path).map_or(0, |text| text.trim_end().len());
    let whole = if rule == "syntax" { end..end } else { 0..0 };
    let span = place(error, path).unwrap_or_else(|| Span::new(path, whole));
    let Some(inner) = error.diagnostic_source() else {
        return explain(
            &error.to_string(),
            help(error),
            &span,
            (pool, sources),
            rule,
        );
    };
    // An error inside `option (x) = { .. }` counts its bytes in a copy of the tokens: the text is read once more, and
    // where that finds nothing, the name is looked for.
    if let Some((error, span)) = in_braces(&span, pool, sources) {
        let message = error.to_string();
        return explain(&message, help(&error), &span, (pool, sources), "syntax");
    }
    let message = inner.to_string();
    let span = quoted(&message)
        .first()
        .and_then(|name| sources.find_word(&span, name))
        .unwrap_or(span);
    explain(&message, help(inner), &span, (pool, sources), rule)
}

/// What is wrong between the braces of an option, and where.
fn in_braces(
    option: &Span,
    pool: &DescriptorPool,
    sources: &Sources,
) -> Option<(text_format::ParseError, Span)> {
    let text = sources.text(&option.file)?;
    let rest = text.get(option.start..)?;
    let open = rest.find('{')?;
    let name = rest[..open].split(['(', ')']).nth(1)?;
    let extension = pool.all_extensions().find(|it| it.name() == short(name))?;
    let Kind::Message(message) = extension.kind() else {
        return None;
    };
    let inside = scan::within_braces(&rest[open..])?;
    let start = option.start + open + 1;
    let error = DynamicMessage::parse_text_format(message, inside).err()?;
    let end = start + inside.len();
    let span = place(&error, &option.file).map_or(Span::new(&option.file, end..end), |span| {
        Span::new(&option.file, start + span.start..start + span.end)
    });
    Some((error, span))
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
            // The short name, as Python and the docs have it, is a slip too.
            let meant = known.iter().find(|name| {
                let end = format!("_{}", value.to_uppercase());
                name.ends_with(&end)
            });
            diagnostic.help(match meant {
                Some(name) => format!("did you mean `{name}`?"),
                None => did_you_mean(value, known.iter().map(String::as_str)),
            })
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
            let mut known: Vec<(String, String)> = pool
                .all_enums()
                .map(|found| (found.name().to_owned(), found.full_name().to_owned()))
                .collect();
            let messages = pool.all_messages();
            known.extend(
                messages.map(|found| (found.name().to_owned(), found.full_name().to_owned())),
            );
            known.sort();
            let close =
                crate::diagnostic::closest(short(name), known.iter().map(|(short, _)| &**short));
            match close {
                Some(close) if close == name => {
                    let full = known.iter().find(|(short, _)| short == close);
                    let full = full.map_or(close, |(_, full)| full);
                    diagnostic.help(format!(
                        "it is `{full}`: give the file its `package`, or write it out"
                    ))
                }
                Some(close) => diagnostic.help(format!("did you mean `{close}`?")),
                None => diagnostic.help(
                    help.unwrap_or_else(|| "declare it, or import the file that does".to_owned()),
                ),
            }
        }
        _ => {
            let (words, advice) = advice::of(message, &names, span, sources);
            let diagnostic = Diagnostic::new(rule, span, words.replace('\'', "`"));
            match help.or(advice) {
                Some(help) => diagnostic.help(help),
                None => diagnostic,
            }
        }
    }
}

/// What stands between single quotes.
fn quoted(message: &str) -> Vec<&str> {
    message.split('\'').skip(1).step_by(2).collect()
}

fn short(full_name: &str) -> &str {
    full_name.rsplit('.').next().unwrap_or(full_name)
}
