//! Test vectors in the shape of Wycheproof's files: groups of rows that share their parameters, each row with what must
//! come of it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Map, Value};

/// What a row's outcome must be.
#[derive(Clone, Debug)]
pub(super) enum Expect {
    /// It works, and these members of the row say what comes out.
    Valid(Map<String, Value>),
    /// It is refused with the error of this code.
    Invalid(&'static str),
}

/// One row before it is numbered.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) comment: String,
    pub(super) flags: Vec<&'static str>,
    /// What goes in.
    pub(super) input: Map<String, Value>,
    pub(super) expect: Expect,
}

/// Rows that share their parameters.
#[derive(Clone, Debug)]
pub(super) struct Group {
    pub(super) kind: &'static str,
    pub(super) parameters: Map<String, Value>,
    pub(super) rows: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct File<'a> {
    #[serde(rename = "@generated")]
    generated: &'static str,
    algorithm: &'a str,
    number_of_tests: usize,
    header: &'a [&'a str],
    notes: BTreeMap<&'a str, Note<'a>>,
    test_groups: Vec<GroupOut<'a>>,
}

#[derive(Serialize)]
struct Note<'a> {
    description: &'a str,
}

#[derive(Serialize)]
struct GroupOut<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(flatten)]
    parameters: &'a Map<String, Value>,
    tests: Vec<RowOut<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct RowOut<'a> {
    tc_id: usize,
    comment: &'a str,
    flags: &'a [&'static str],
    #[serde(flatten)]
    input: &'a Map<String, Value>,
    #[serde(flatten)]
    output: Option<&'a Map<String, Value>>,
    result: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

/// The file's text. `notes` explains every flag; one that is used without a note, or the reverse, is a defect.
pub(super) fn file(
    algorithm: &str,
    header: &[&str],
    notes: &[(&'static str, &'static str)],
    groups: &[Group],
) -> Vec<u8> {
    let used = || {
        groups
            .iter()
            .flat_map(|group| &group.rows)
            .flat_map(|row| &row.flags)
    };
    for flag in used() {
        assert!(
            notes.iter().any(|(noted, _)| noted == flag),
            "{flag} has no note"
        );
    }
    let notes = notes
        .iter()
        .filter(|(flag, _)| used().any(|used| used == flag));
    let mut ids = 1..;
    let test_groups: Vec<_> = groups
        .iter()
        .map(|group| GroupOut {
            kind: group.kind,
            parameters: &group.parameters,
            tests: group
                .rows
                .iter()
                .map(|row| {
                    let (output, error) = match &row.expect {
                        Expect::Valid(output) => (Some(output), None),
                        Expect::Invalid(code) => (None, Some(*code)),
                    };
                    RowOut {
                        tc_id: ids.next().expect("there is always another number"),
                        comment: &row.comment,
                        flags: &row.flags,
                        input: &row.input,
                        output,
                        result: if error.is_some() { "invalid" } else { "valid" },
                        error,
                    }
                })
                .collect(),
        })
        .collect();
    let file = File {
        generated: "by `cargo run codegen` from spec. Do not edit.",
        algorithm,
        number_of_tests: test_groups.iter().map(|group| group.tests.len()).sum(),
        header,
        notes: notes
            .map(|(flag, description)| (*flag, Note { description }))
            .collect(),
        test_groups,
    };
    let mut bytes = serde_json::to_vec_pretty(&file).expect("plain data becomes JSON");
    bytes.push(b'\n');
    bytes
}

/// Members of a JSON object, in the order of their names.
pub(super) fn members<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Bytes in lower-case hex.
pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;

    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}
