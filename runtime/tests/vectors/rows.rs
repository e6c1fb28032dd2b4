//! The vectors' files, and what stands in their rows.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::Value;

/// Runs every row of a file's groups of one kind; a row says for itself which one it is when it fails.
pub(crate) fn each_row(file: &str, kind: &str, mut run: impl FnMut(&Value, &Value)) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/vectors")
        .join(file);
    let text = std::fs::read_to_string(&path).expect("`cargo run codegen` writes the vectors");
    let vectors: Value = serde_json::from_str(&text).expect("the vectors are JSON");
    let mut rows = 0;
    for group in list(&vectors["testGroups"]) {
        if group["type"] == kind {
            for row in list(&group["tests"]) {
                run(group, row);
                rows += 1;
            }
        }
    }
    assert!(rows > 0, "{file} has no rows of {kind}");
}

pub(crate) fn list(value: &Value) -> &[Value] {
    value
        .as_array()
        .unwrap_or_else(|| panic!("{value} is no list"))
}

pub(crate) fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("{value} is no text"))
}

pub(crate) fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("{value} is no number"))
}

pub(crate) fn signed(value: &Value) -> i64 {
    value
        .as_i64()
        .unwrap_or_else(|| panic!("{value} is no integer"))
}

pub(crate) fn flag(value: &Value) -> bool {
    value
        .as_bool()
        .unwrap_or_else(|| panic!("{value} is no truth value"))
}

pub(crate) fn bytes(value: &Value) -> Vec<u8> {
    let digits = text(value);
    let byte = |at| u8::from_str_radix(&digits[at..at + 2], 16).expect("hexadecimal digits");
    (0..digits.len()).step_by(2).map(byte).collect()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// The name and the content of a value that says of what kind it is.
pub(crate) fn tagged(value: &Value) -> (&str, &Value) {
    let members = value.as_object().and_then(|members| members.iter().next());
    let (kind, content) = members.expect("one member");
    (kind, content)
}
