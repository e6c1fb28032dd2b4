//! Wherever the parser accepts a textproto, the scanner finds the same fields with the same values.
//!
//! The real files are mutated some thousand times, from a fixed seed.

mod common;

use cachekit_codegen::load::scan::{self, Field, Item};
use cachekit_codegen::load::{self, Loaded};
use prost_reflect::{DynamicMessage, FieldDescriptor, ReflectMessage, Value};

/// What a mutation may put in.
const PIECES: &[&str] = &[
    ";",
    ",",
    ":",
    "{",
    "}",
    "<",
    ">",
    "[",
    "]",
    "-",
    ".",
    "/",
    "#",
    "# a: 1 {\n",
    "\n",
    "\n\n",
    " ",
    "\t",
    "\u{b}",
    "'",
    "\"",
    "\\",
    "\\\"",
    "'it\\'s'",
    "\"a\" 'b'",
    "\"#\"",
    "\"{\"",
    "\"é\"",
    "1",
    "0",
    "0x1F",
    "017",
    "09",
    "1.5f",
    "2f",
    ".5",
    "5.",
    "1e3",
    "2E-2f",
    "1e",
    "inf",
    "-inf",
    "nan",
    "true",
    "t",
    "ttl: 1",
    "name: 'x'",
    "l1: false",
    "options < ttl: .5 >",
    "options: { }",
    "steps: [{ serialize {} }, { serialize < > }]",
    "steps: []",
    "bases: ['a', \"b\" 'c',]",
    "bases: ['a', \"b\" 'c']",
    "retryable: 0, retryable: 1;",
    "[a.b]: 1",
    "id: 0x10",
    "match { values: [ \"a\" , 'b' ] }",
    "threshold: -0",
    "threshold: - 1.5e1",
    "kind: -1",
    "isolation: 1",
];

struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit.max(1) as u64) as usize
    }
}

fn boundary(text: &str, mut at: usize) -> usize {
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}

fn mutate(text: &str, random: &mut Random) -> String {
    let mut text = text.to_owned();
    for _ in 0..=random.below(3) {
        let at = boundary(&text, random.below(text.len() + 1));
        match random.below(5) {
            0 => {
                let end = boundary(&text, (at + 1 + random.below(6)).min(text.len()));
                text.replace_range(at..end.max(at), "");
            }
            1 => text.insert_str(at, PIECES[random.below(PIECES.len())]),
            2 => {
                // Between two fields, where most of the pieces are legal.
                let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                text.insert_str(line, &format!("{}\n", PIECES[random.below(PIECES.len())]));
            }
            3 => {
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                let mut lines: Vec<String> = lines.into_iter().map(str::to_owned).collect();
                if !lines.is_empty() {
                    let (from, to) = (random.below(lines.len()), random.below(lines.len()));
                    let line = lines.remove(from);
                    lines.insert(to, line);
                }
                text = lines.concat();
            }
            _ => {
                let end = boundary(&text, (at + 1).min(text.len()));
                text.replace_range(at..end, PIECES[random.below(PIECES.len())]);
            }
        }
    }
    text
}

fn loaded() -> Loaded {
    load::load(&common::real_spec()).expect("the spec loads")
}

#[test]
fn finds_what_the_parser_finds() {
    let loaded = loaded();
    let sources = common::real_spec();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let (mut accepted, mut refused) = (0, 0);
    for document in &loaded.documents {
        let text = sources.text(&document.path).expect("it was read");
        compare(text, &document.message);
        for _ in 0..2000 {
            let mutant = mutate(text, &mut random);
            match DynamicMessage::parse_text_format(document.message.descriptor(), &mutant) {
                Ok(message) => {
                    accepted += 1;
                    compare(&mutant, &message);
                }
                Err(_) => refused += 1,
            }
        }
    }
    assert!(
        accepted > 3000 && refused > 3000,
        "{accepted} accepted, {refused} refused"
    );
}

/// Numbers and strings where the two lexers are most likely to part.
#[test]
fn reads_the_same_tokens() {
    let loaded = loaded();
    let descriptor = loaded
        .pool
        .get_message_by_name("cachekit.spec.v1.Alert")
        .expect("it is declared");
    let mut accepted = 0;
    for value in PIECES.iter().chain(&[
        "00", "0f", "00f", "0.f", "1.e5", "1ef", "0x", "0xG", "1_", "1a", "1.5b", "2fb",
    ]) {
        for behind in [
            "",
            "name: 'x'",
            " name: 'x'",
            "; name: 'x'",
            "#c\nname: 'x'",
        ] {
            for field in ["threshold", "severity", "summary"] {
                let text = format!("{field}: {value}{behind}");
                if let Ok(message) = DynamicMessage::parse_text_format(descriptor.clone(), &text) {
                    accepted += 1;
                    compare(&text, &message);
                }
            }
        }
    }
    assert!(accepted > 100, "only {accepted} accepted");
}

fn compare(text: &str, message: &DynamicMessage) {
    let fields = scan::scan(text)
        .unwrap_or_else(|| panic!("the parser accepts and the scanner does not:\n{text}"));
    compare_message(text, message, &fields);
}

fn compare_message(text: &str, message: &DynamicMessage, fields: &[Field]) {
    let descriptor = message.descriptor();
    for field in fields {
        assert_eq!(&text[field.name_span.clone()], field.name, "in\n{text}");
        assert!(
            descriptor.get_field_by_name(&field.name).is_some(),
            "{} in\n{text}",
            field.name
        );
    }
    for field in descriptor.fields() {
        let items: Vec<&Item> = fields
            .iter()
            .filter(|found| found.name == field.name())
            .flat_map(|found| &found.values)
            .collect();
        if field.is_list() {
            let value = message.get_field(&field);
            let values = value.as_list().expect("it is a list");
            assert_eq!(
                values.len(),
                items.len(),
                "{} in\n{text}",
                field.full_name()
            );
            for (value, item) in values.iter().zip(items) {
                compare_value(text, &field, value, item);
            }
        } else if let Some(item) = items.last() {
            // A field without presence may be set again while it has its default.
            compare_value(text, &field, &message.get_field(&field), item);
        } else {
            assert!(
                !message.has_field(&field),
                "{} in\n{text}",
                field.full_name()
            );
        }
    }
}

fn compare_value(text: &str, field: &FieldDescriptor, value: &Value, item: &Item) {
    if let Value::Message(message) = value {
        let fields = item.fields.as_ref().expect("a message has fields");
        compare_message(text, message, fields);
        return;
    }
    assert!(item.fields.is_none(), "{} in\n{text}", field.full_name());
    let alone = format!("{}: {}", field.name(), &text[item.span.clone()]);
    let parsed = DynamicMessage::parse_text_format(field.parent_message().clone(), &alone)
        .unwrap_or_else(|error| panic!("`{alone}` alone: {error}\n{text}"));
    let parsed = parsed.get_field(field).into_owned();
    let parsed = match parsed {
        Value::List(mut values) => values.pop().expect("it was set"),
        single => single,
    };
    assert_eq!(
        format!("{parsed:?}"),
        format!("{value:?}"),
        "{} in\n{text}",
        field.full_name()
    );
}
