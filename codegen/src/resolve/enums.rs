//! Enums with the short names that every language and the exposition use.
//!
//! The prefix is protobuf's: values of one enum share a scope with those of every other in the file.

use prost_reflect::EnumDescriptor;

use crate::load::Loaded;
use crate::model::{Enum, EnumValue};

/// Every enum of ours.
pub(super) fn all(loaded: &Loaded) -> Vec<Enum> {
    loaded
        .pool
        .all_enums()
        .filter(|found| loaded.places.path(&found.parent_file()).is_some())
        .map(|found| of(loaded, &found))
        .collect()
}

/// One enum.
pub(super) fn of(loaded: &Loaded, descriptor: &EnumDescriptor) -> Enum {
    let file = descriptor.parent_file();
    let prefix = format!("{}_", screaming(descriptor.name()));
    let values = descriptor
        .values()
        .filter(|value| !value.name().ends_with("_UNSPECIFIED"))
        .map(|value| {
            let short = value
                .name()
                .strip_prefix(&prefix)
                .unwrap_or(value.name())
                .to_lowercase();
            EnumValue {
                name: value.name().to_owned(),
                number: value.number(),
                pascal: pascal(&short),
                short,
                doc: loaded.places.doc(&file, value.path()),
                span: loaded.places.name(&file, value.path()),
            }
        })
        .collect();
    Enum {
        name: descriptor.name().to_owned(),
        full_name: descriptor.full_name().to_owned(),
        doc: loaded.places.doc(&file, descriptor.path()),
        values,
        span: loaded.places.name(&file, descriptor.path()),
    }
}

/// Words that cannot be a field's name in Rust.
pub const RUST_KEYWORDS: &[&str] = &[
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type", "typeof",
    "unsafe", "unsized", "use", "virtual", "where", "while", "yield",
];

/// `remote_operations` to `RemoteOperations`; an underscore stays between digits, `xxh3_64` to `Xxh3_64`.
pub fn pascal(name: &str) -> String {
    let mut pascal = String::with_capacity(name.len());
    for part in name.split('_').filter(|part| !part.is_empty()) {
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
        if digit(pascal.chars().last()) && digit(part.chars().next()) {
            pascal.push('_');
        }
        let mut chars = part.chars();
        pascal.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        pascal.push_str(chars.as_str());
    }
    pascal
}

/// `RemoteOperations` to `remote_operations`.
pub fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut previous = None;
    for c in name.chars() {
        if c.is_ascii_uppercase()
            && previous.is_some_and(|p: char| p.is_ascii_lowercase() || p.is_ascii_digit())
        {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
        previous = Some(c);
    }
    snake
}

/// `RemoteOperations` to `REMOTE_OPERATIONS`.
pub fn screaming(name: &str) -> String {
    snake(name).to_ascii_uppercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_change_case() {
        assert_eq!(pascal("aes_256_gcm"), "Aes256Gcm");
        assert_eq!(pascal("xxh3_64"), "Xxh3_64");
        assert_eq!(pascal("l1"), "L1");
        assert_eq!(snake("L1Bytes"), "l1_bytes");
        assert_eq!(snake("RemoteOperations"), "remote_operations");
        assert_eq!(screaming("LookupOutcome"), "LOOKUP_OUTCOME");
    }
}
