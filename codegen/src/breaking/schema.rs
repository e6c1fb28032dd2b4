//! Fields and enum values: a number that other programs have stored means the same for ever.

use std::collections::BTreeMap;

use prost_reflect::MessageDescriptor;

use super::lock::{Reserved, field_type};
use super::{Context, Rule};
use crate::diagnostic::{Diagnostic, closest};

pub(super) struct FieldRemoved;
pub(super) struct FieldChanged;
pub(super) struct EnumValueRemoved;
pub(super) struct ReservationRemoved;
pub(super) struct EnumValueChanged;

/// Messages or enums of the lock that are not known any more: name, members, what to do.
fn gone<'a, Known: Iterator<Item = String>>(
    members: impl Iterator<Item = &'a (String, String)>,
    known: impl Fn() -> Known,
) -> impl Iterator<Item = (&'a str, String, String)> {
    let all: Vec<String> = known().collect();
    let mut missing: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (owner, member) in members.filter(|(owner, _)| !all.contains(owner)) {
        missing
            .entry(owner)
            .or_default()
            .push(format!("`{member}`"));
    }
    missing.into_iter().map(move |(owner, members)| {
        let help = match closest(owner, all.iter().map(String::as_str)) {
            Some(name) => format!("bring it back under its name, if it is `{name}` now"),
            None => "bring it back".to_owned(),
        };
        (owner, members.join(", "), help)
    })
}

impl Rule for FieldRemoved {
    fn name(&self) -> &'static str {
        "field_removed"
    }

    fn about(&self) -> &'static str {
        "a field that is taken out leaves its number and its name reserved"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let pool = &context.loaded.pool;
        let known = || pool.all_messages().map(|it| it.full_name().to_owned());
        found.extend(
            gone(context.lock.fields.keys(), known).map(|(name, fields, help)| {
                let text =
                    format!("the message `{name}` was removed or renamed, and with it {fields}");
                Diagnostic::nowhere(self.name(), text)
                    .subject(name)
                    .help(help)
            }),
        );
        for ((message_name, name), (number, _)) in &context.lock.fields {
            let subject = format!("{message_name}.{name}");
            let Some(message) = pool.get_message_by_name(message_name) else {
                continue;
            };
            if message.get_field_by_name(name).is_some() || is_reserved(&message, name, *number) {
                continue;
            }
            let file = message.parent_file();
            let span = context.loaded.places.name(&file, message.path());
            let text = format!(
                "field `{name}` of `{}` was removed without a reservation",
                message.name()
            );
            let mut diagnostic = Diagnostic::new(self.name(), &span, text)
                .label(format!("had `{name}` = {number} in the last release"))
                .subject(subject)
                .help(format!("add `reserved {number}; reserved \"{name}\";`"));
            if let Some(other) = message.get_field(*number) {
                let span = context.loaded.places.whole(&file, other.path());
                diagnostic =
                    diagnostic.related(&span, format!("the number {number} now means this"));
            }
            found.push(diagnostic);
        }
    }
}

fn is_reserved(message: &MessageDescriptor, name: &str, number: u32) -> bool {
    message.reserved_names().any(|reserved| reserved == name)
        && message
            .reserved_ranges()
            .any(|range| range.contains(&number))
}

impl Rule for FieldChanged {
    fn name(&self) -> &'static str {
        "field_changed"
    }

    fn about(&self) -> &'static str {
        "a field keeps its number and its type"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for ((message_name, name), (number, kind)) in &context.lock.fields {
            let message = context.loaded.pool.get_message_by_name(message_name);
            let Some(field) = message.and_then(|message| message.get_field_by_name(name)) else {
                continue;
            };
            let now = field_type(&field);
            if field.number() == *number && now == *kind {
                continue;
            }
            let file = field.parent_file();
            let text = format!(
                "field `{name}` of `{}` changed",
                field.parent_message().name()
            );
            found.push(
                Diagnostic::new(
                    self.name(),
                    &context.loaded.places.whole(&file, field.path()),
                    text,
                )
                .label(format!(
                    "was `{kind}` = {number}, is `{now}` = {}",
                    field.number()
                ))
                .subject(format!("{message_name}.{name}"))
                .help("bring it back, and add a new field beside it"),
            );
        }
    }
}

impl Rule for EnumValueRemoved {
    fn name(&self) -> &'static str {
        "enum_value_removed"
    }

    fn about(&self) -> &'static str {
        "an enum's value that is taken out leaves its number and its name reserved"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let pool = &context.loaded.pool;
        let known = || pool.all_enums().map(|it| it.full_name().to_owned());
        found.extend(
            gone(context.lock.values.keys(), known).map(|(name, values, help)| {
                let text =
                    format!("the enum `{name}` was removed or renamed, and with it {values}");
                Diagnostic::nowhere(self.name(), text)
                    .subject(name)
                    .help(help)
            }),
        );
        for ((enum_name, name), number) in &context.lock.values {
            let subject = format!("{enum_name}.{name}");
            let Some(current) = pool.get_enum_by_name(enum_name) else {
                continue;
            };
            let reserved = current.reserved_names().any(|reserved| reserved == name)
                && current
                    .reserved_ranges()
                    .any(|range| range.contains(number));
            if current.get_value_by_name(name).is_some() || reserved {
                continue;
            }
            let span = context
                .loaded
                .places
                .name(&current.parent_file(), current.path());
            let text = format!(
                "value `{name}` of `{}` was removed without a reservation",
                current.name()
            );
            found.push(
                Diagnostic::new(self.name(), &span, text)
                    .label(format!("had `{name}` = {number} in the last release"))
                    .subject(subject)
                    .help(format!("add `reserved {number}; reserved \"{name}\";`")),
            );
        }
    }
}

impl Rule for EnumValueChanged {
    fn name(&self) -> &'static str {
        "enum_value_changed"
    }

    fn about(&self) -> &'static str {
        "an enum's value keeps its number"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for ((enum_name, name), number) in &context.lock.values {
            let current = context.loaded.pool.get_enum_by_name(enum_name);
            let Some(value) = current.and_then(|current| current.get_value_by_name(name)) else {
                continue;
            };
            if value.number() == *number {
                continue;
            }
            let file = value.parent_enum().parent_file();
            let text = format!(
                "value `{name}` of `{}` changed its number",
                value.parent_enum().name()
            );
            found.push(
                Diagnostic::new(
                    self.name(),
                    &context.loaded.places.whole(&file, value.path()),
                    text,
                )
                .label(format!("was {number}, is {}", value.number()))
                .subject(format!("{enum_name}.{name}"))
                .help("bring the number back"),
            );
        }
    }
}

impl Rule for ReservationRemoved {
    fn name(&self) -> &'static str {
        "reservation_removed"
    }

    fn about(&self) -> &'static str {
        "what is reserved stays reserved: somebody may still have stored it"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let (pool, places) = (&context.loaded.pool, &context.loaded.places);
        for (full_name, was) in &context.lock.reserved {
            let message = pool.get_message_by_name(full_name).map(|message| {
                let span = places.name(&message.parent_file(), message.path());
                (Reserved::of_message(&message), span)
            });
            let current = message.or_else(|| {
                let found = pool.get_enum_by_name(full_name)?;
                let span = places.name(&found.parent_file(), found.path());
                Some((Reserved::of_enum(&found), span))
            });
            // Where it is gone as a whole, its fields or values are missed.
            let Some((now, span)) = current else {
                continue;
            };
            let ranges = was.ranges.iter().filter(|range| !now.covers(**range));
            let numbers = ranges.map(|(first, last)| match last - first {
                0 => first.to_string(),
                _ => format!("{first} to {last}"),
            });
            let names = was.names.difference(&now.names);
            let gone: Vec<String> = numbers
                .chain(names.map(|name| format!("\"{name}\"")))
                .collect();
            if gone.is_empty() {
                continue;
            }
            let short = full_name.rsplit('.').next().unwrap_or(full_name);
            let lines: Vec<String> = gone.iter().map(|it| format!("reserved {it};")).collect();
            found.push(
                Diagnostic::new(
                    self.name(),
                    &span,
                    format!("`{short}` no longer reserves {}", gone.join(", ")),
                )
                .label("did in the last release")
                .subject(full_name)
                .help(format!("add `{}`", lines.join(" "))),
            );
        }
    }
}
