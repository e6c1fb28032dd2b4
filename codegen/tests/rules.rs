//! Every rule has a folder under `tests/rules` with a spec that breaks it and the exact message.
//!
//! A folder holds what differs from the real spec, and `expected.txt`. What differs is a file below `spec/` that is
//! added, a line in `removed.txt` (a path, or a folder and `*`), or an edit in `edits.txt`: `@ path`, then lines that
//! go (`- `) and lines that come in the place of the last of them (`+ `). So a case breaks only when what it is about
//! changes. A rule with several messages has one subfolder each. After a change of the messages, run with
//! `CODEGEN_BLESS=1` and read the diff.

mod common;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use cachekit_codegen::compile;
use cachekit_codegen::diagnostic::{Diagnostic, Sources, render_all};

struct Case {
    rule: String,
    folder: PathBuf,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for rule in folders(&common::root().join("codegen/tests/rules")) {
        let name = rule
            .file_name()
            .expect("it is a folder")
            .to_string_lossy()
            .into_owned();
        let is_case = |folder: &Path| {
            ["spec", "removed.txt", "edits.txt"]
                .iter()
                .any(|name| folder.join(name).exists())
        };
        let nested: Vec<PathBuf> = folders(&rule)
            .into_iter()
            .filter(|folder| !folder.ends_with("spec"))
            .collect();
        for folder in std::iter::once(rule)
            .chain(nested)
            .filter(|folder| is_case(folder))
        {
            cases.push(Case {
                rule: name.clone(),
                folder,
            });
        }
    }
    cases
}

fn folders(parent: &Path) -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = fs::read_dir(parent)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    folders
}

fn sources(case: &Case) -> Sources {
    let mut sources = common::real_spec();
    if case.folder.join("spec").exists() {
        sources.overlay(&Sources::read(&case.folder).expect("the overlay can be read"));
    }
    let read = |name| fs::read_to_string(case.folder.join(name)).unwrap_or_default();
    for pattern in read("removed.txt").lines() {
        let gone: Vec<String> = match pattern.strip_suffix('*') {
            Some(folder) => {
                let all = sources.inputs().map(|(path, _)| path.to_string());
                all.filter(|path| path.starts_with(folder)).collect()
            }
            None => vec![pattern.to_owned()],
        };
        for path in gone {
            assert!(
                sources.text(&path).is_some(),
                "{path} is not there to be removed"
            );
            sources.remove(&path);
        }
    }
    edit(&mut sources, &read("edits.txt"));
    sources
}

fn edit(sources: &mut Sources, edits: &str) {
    let mut path = "";
    let mut at = 0;
    for line in edits.lines() {
        let (mark, rest) = line.split_at(2.min(line.len()));
        if mark == "@ " {
            path = rest;
            continue;
        }
        let text = sources
            .text(path)
            .unwrap_or_else(|| panic!("there is no {path} to edit"));
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        match mark {
            "- " => {
                at = lines
                    .iter()
                    .position(|old| old == rest)
                    .unwrap_or_else(|| panic!("{path} has no line `{rest}`"));
                lines.remove(at);
            }
            "+ " => {
                lines.insert(at, rest.to_owned());
                at += 1;
            }
            _ => panic!("not an edit: {line}"),
        }
        sources.insert(path, &(lines.join("\n") + "\n"));
    }
}

fn diagnose(case: &Case) -> (Sources, Vec<Diagnostic>) {
    let sources = sources(case);
    let found = compile(&sources).err().unwrap_or_default();
    (sources, found)
}

#[test]
fn every_rule_says_exactly_what_it_should() {
    let bless = std::env::var_os("CODEGEN_BLESS").is_some();
    let mut wrong = Vec::new();
    for case in cases() {
        let (sources, found) = diagnose(&case);
        assert!(
            !found.is_empty(),
            "{} breaks nothing",
            case.folder.display()
        );
        let others: BTreeSet<&str> = found
            .iter()
            .map(|it| it.rule)
            .filter(|it| *it != case.rule)
            .collect();
        assert!(
            others.is_empty(),
            "{} also breaks {others:?}:\n{}",
            case.folder.display(),
            render_all(&found, &sources)
        );
        let text = render_all(&found, &sources);
        let path = case.folder.join("expected.txt");
        if bless {
            fs::write(&path, &text).expect("the expectation can be written");
        }
        let expected = fs::read_to_string(&path).unwrap_or_default();
        if expected != text {
            wrong.push(format!(
                "{}\n--- expected\n{expected}--- found\n{text}",
                case.folder.display()
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_rule_has_a_folder_and_every_folder_a_rule() {
    let rules: Vec<&str> = cachekit_codegen::rules()
        .iter()
        .map(|rule| rule.name)
        .collect();
    let names: BTreeSet<&str> = rules.iter().copied().collect();
    assert_eq!(names.len(), rules.len(), "two rules share a name");
    let cases = cases();
    let tested: BTreeSet<&str> = cases.iter().map(|case| case.rule.as_str()).collect();
    assert_eq!(tested, names);
    let folders = folders(&common::root().join("codegen/tests/rules"));
    assert_eq!(folders.len(), names.len(), "a folder holds no case");
}

#[test]
fn the_real_spec_breaks_no_rule() {
    let sources = Sources::read(&common::root()).expect("the spec can be read");
    if let Err(found) = compile(&sources) {
        panic!("{}", render_all(&found, &sources));
    }
}

/// Every breaking change can be waived: by name of what it is about, and above the place that it shows.
#[test]
fn breaking_changes_can_be_waived_with_a_reason() {
    let waivable: Vec<&str> = cachekit_codegen::rules()
        .iter()
        .filter(|rule| rule.waivable)
        .map(|rule| rule.name)
        .collect();
    let mut waived = BTreeSet::new();
    for case in cases()
        .iter()
        .filter(|case| waivable.contains(&case.rule.as_str()))
    {
        let (sources, found) = diagnose(case);
        let mut by_name = sources.clone();
        let mut by_place = sources.clone();
        let errors = sources
            .text("spec/errors.textproto")
            .expect("it is part of the spec");
        let mut end = errors.to_string();
        for diagnostic in &found {
            let subject = diagnostic
                .subject
                .as_ref()
                .expect("a breaking change says what it is about");
            writeln!(
                end,
                "# cachekit:allow({} {subject}): tested",
                diagnostic.rule
            )
            .expect("writing to a String does not fail");
        }
        by_name.insert("spec/errors.textproto", &end);
        assert_clean(&by_name, case);
        // From the bottom up, so that the places above stay where they are.
        let places: BTreeSet<(&str, usize)> = found
            .iter()
            .filter_map(|diagnostic| diagnostic.span.as_ref())
            .map(|span| (span.file.as_ref(), sources.line(&span.file, span.start)))
            .collect();
        for (file, line) in places.into_iter().rev() {
            insert_above(&mut by_place, file, line, &case.rule);
        }
        if found.iter().all(|diagnostic| diagnostic.span.is_some()) {
            assert_clean(&by_place, case);
        }
        waived.insert(case.rule.clone());
    }
    assert_eq!(waived.len(), waivable.len());
}

fn assert_clean(sources: &Sources, case: &Case) {
    if let Err(found) = compile(sources) {
        panic!(
            "{} is waived and still says\n{}",
            case.folder.display(),
            render_all(&found, sources)
        );
    }
}

fn insert_above(sources: &mut Sources, file: &str, line: usize, rule: &str) {
    let marker = if file.rsplit_once('.').is_some_and(|(_, it)| it == "proto") {
        "//"
    } else {
        "#"
    };
    let text = sources.text(file).expect("the place is in a file");
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.insert(line - 1, format!("{marker} cachekit:allow({rule}): tested"));
    sources.insert(file, &(lines.join("\n") + "\n"));
}

#[test]
fn a_waiver_is_no_documentation() {
    let mut sources = common::real_spec();
    let path = "spec/presets/dev.textproto";
    let text = sources.text(path).expect("it is part of the spec").replace(
        "  ttl: 300",
        "  # Short.\n  # cachekit:allow(default_changed): nobody keeps a cache for long while developing\n  ttl: 300",
    );
    sources.insert(path, &text);
    sources.insert(
        cachekit_codegen::breaking::lock::PATH,
        "default dev ttl 60\n",
    );
    let spec = compile(&sources)
        .map_err(|found| render_all(&found, &sources))
        .expect("it is waived");
    let decided = spec
        .preset("dev")
        .and_then(|preset| preset.value("ttl"))
        .expect("it is decided");
    assert_eq!(decided.doc, "Short.");
}

/// A parser that goes one call deeper with each comment or brace would abort on this.
#[test]
fn a_file_may_be_as_long_as_it_likes() {
    let mut sources = common::real_spec();
    let path = "spec/presets/dev.textproto";
    let text = sources.text(path).expect("it is part of the spec");
    let text = format!("{text}{}", "# '\n".repeat(200_000));
    sources.insert(path, &text);
    if let Err(found) = compile(&sources) {
        panic!("{}", render_all(&found, &sources));
    }
    sources.insert(
        path,
        &text.replace("options {", &"options {".repeat(100_000)),
    );
    let found = compile(&sources).expect_err("no brace is closed");
    assert_eq!(found.len(), 1);
}

#[test]
fn the_readme_shows_messages_as_they_are() {
    let readme = fs::read_to_string(common::root().join("spec/README.md")).expect("it can be read");
    let messages: Vec<String> = cases()
        .iter()
        .map(|case| fs::read_to_string(case.folder.join("expected.txt")).expect("it can be read"))
        .collect();
    let mut shown = 0;
    for block in readme.split("```text\n").skip(1) {
        let block = block.split("```").next().unwrap_or_default();
        assert!(
            messages.iter().any(|message| message.contains(block)),
            "no rule says\n{block}"
        );
        shown += 1;
    }
    assert!(shown >= 3, "the README shows {shown} messages");
}
