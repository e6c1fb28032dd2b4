//! What documents name is there: files, folders, steps of the test command.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use cachekit_tests::tree::{files, read, root};

/// Files that a recipe makes, by example.
const MADE: &[&str] = &[
    "presets/batch.textproto",
    "metrics/evictions.proto",
    "spec/presets/extra.textproto",
    "spec/metrics/examples.proto",
];

fn documents() -> Vec<PathBuf> {
    let single = [
        "README.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "spec/README.md",
    ];
    let mut found = files("docs", "md");
    found.extend(single.map(|name| root().join(name)));
    found
}

/// The targets of the links in `text` that stay in the repository.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| {
        let target = rest.split([')', '#']).next()?;
        (!target.is_empty() && !target.contains("://")).then_some(target)
    })
}

/// The words of `text` that are paths: in backticks whatever has a slash, elsewhere what begins with a folder of the root.
fn paths<'a>(text: &'a str, folders: &BTreeSet<String>) -> Vec<&'a str> {
    let is_part = |letter: char| letter.is_ascii_alphanumeric() || "._-/".contains(letter);
    let mut found = Vec::new();
    for line in text.lines() {
        for (place, span) in line.split('`').enumerate() {
            for word in span.split([' ', '(', ')', '[', ']', '"', '|', ',', ';']) {
                let word = word.trim_end_matches(['.', ':']);
                let folder = word.split('/').next().unwrap_or_default();
                let meant = folders.contains(folder) || place % 2 == 1;
                if !folder.is_empty() && word.contains('/') && meant && word.chars().all(is_part) {
                    found.push(word);
                }
            }
        }
    }
    found
}

#[test]
fn every_path_in_a_document_exists() {
    let folders: BTreeSet<_> = fs::read_dir(root())
        .expect("the root")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for document in documents() {
        let text = read(&document);
        let beside = document.parent().expect("a file is in a folder");
        let mut check = |name: &str, exists: bool| {
            seen += 1;
            if !exists {
                wrong.push(format!("{}: {name}", document.display()));
            }
        };
        for link in links(&text) {
            check(link, beside.join(link).exists());
        }
        for path in paths(&text, &folders) {
            let exists = root().join(path).exists() || beside.join(path).exists();
            check(path, exists || MADE.contains(&path));
        }
    }
    assert!(
        wrong.is_empty(),
        "named and not there:\n{}",
        wrong.join("\n")
    );
    assert!(seen > 50, "only {seen} found");
}

#[test]
fn every_method_in_a_document_exists() {
    let code: Vec<_> = ["runtime/src", "sdks/python/src"]
        .iter()
        .flat_map(|folder| files(folder, "rs"))
        .map(|path| read(&path))
        .collect();
    let is_name = |text: &str| {
        let mut letters = text.chars();
        letters.next().is_some_and(char::is_alphabetic)
            && letters.all(|letter| letter.is_alphanumeric() || letter == '_')
    };
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for document in documents() {
        for span in read(&document).split('`').skip(1).step_by(2) {
            let Some((owner, method)) = span.split_once("::") else {
                continue;
            };
            if !owner.starts_with(char::is_uppercase) || !is_name(owner) || !is_name(method) {
                continue;
            }
            seen += 1;
            let known = |text: &String| {
                text.contains(owner)
                    && ["(", "<"]
                        .iter()
                        .any(|open| text.contains(&format!("fn {method}{open}")))
            };
            if !code.iter().any(known) {
                wrong.push(format!("{}: {span}", document.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "named and not there:\n{}",
        wrong.join("\n")
    );
    assert!(seen > 10, "only {seen} found");
}

#[test]
fn the_steps_that_contributors_are_told_are_those_of_the_command() {
    let script = read(&root().join("tests/run.sh"));
    let (_, steps) = script.split_once("all_steps=(").expect("its steps");
    let steps: Vec<_> = steps
        .split(')')
        .next()
        .expect("an end")
        .split(' ')
        .collect();
    let guide = read(&root().join("CONTRIBUTING.md"));
    let (_, told) = guide
        .split_once("runs single steps:")
        .expect("a sentence on them");
    let told = told.split_once("\n\n").expect("it ends").0;
    let told: Vec<_> = told.split('`').skip(1).step_by(2).collect();
    assert_eq!(told, steps);
}
