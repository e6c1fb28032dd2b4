//! `cargo run codegen` and its modes, on a copy of the spec.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use cachekit_codegen::breaking::lock;
use tempfile::TempDir;

/// A folder that holds the spec and nothing else, without a lock.
fn workspace() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder can be made");
    copy(&common::root().join("spec"), &folder.path().join("spec"));
    let _ = fs::remove_file(folder.path().join(lock::PATH));
    folder
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder can be made");
    for entry in fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("it can be read");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).expect("it can be copied");
        }
    }
}

fn codegen(root: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_codegen"))
        .args(arguments)
        .arg("--root")
        .arg(root)
        .output()
        .expect("the generator runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("it is text")
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    text(&output.stdout)
}

#[track_caller]
fn fails(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", text(&output.stdout));
    text(&output.stderr)
}

fn replace(root: &Path, path: &str, from: &str, to: &str) {
    let path = root.join(path);
    let old = fs::read_to_string(&path).expect("it can be read");
    assert!(old.contains(from), "{from} is not in {}", path.display());
    fs::write(&path, old.replace(from, to)).expect("it can be written");
}

#[test]
fn two_runs_give_equal_bytes() {
    let (one, two) = (workspace(), workspace());
    let first = succeeds(&codegen(one.path(), &["codegen"]));
    assert_eq!(
        first,
        succeeds(&codegen(two.path(), &[])),
        "the word `codegen` is optional"
    );
    let again = succeeds(&codegen(one.path(), &["codegen"]));
    assert!(again.contains(" 0 written, 0 removed, "), "{again}");
    same(one.path(), two.path());
    succeeds(&codegen(one.path(), &["codegen", "check"]));
    assert_eq!(succeeds(&codegen(one.path(), &["codegen", "dry-run"])), "");
}

fn same(one: &Path, two: &Path) {
    for entry in fs::read_dir(one).expect("the folder is there") {
        let name = entry.expect("it can be read").file_name();
        let (one, two) = (one.join(&name), two.join(&name));
        if one.is_dir() {
            same(&one, &two);
        } else {
            assert_eq!(
                fs::read(&one).ok(),
                fs::read(&two).ok(),
                "{}",
                one.display()
            );
        }
    }
}

#[test]
fn a_mistake_ends_with_one_and_writes_nothing() {
    let root = workspace();
    replace(
        root.path(),
        "spec/presets/dev.textproto",
        "ttl: 300",
        "tll: 300",
    );
    let said = fails(&codegen(root.path(), &["codegen"]), 1);
    assert!(
        said.contains("error[unknown_field]: `Options` has no field `tll`"),
        "{said}"
    );
    assert!(said.contains("= help: did you mean `ttl`?"), "{said}");
    assert!(
        said.ends_with("codegen: 1 mistake in the spec; nothing was written\n"),
        "{said}"
    );
    assert_eq!(fs::read_dir(root.path()).expect("it is there").count(), 1);
}

#[test]
fn what_cannot_be_read_ends_with_two() {
    let empty = tempfile::tempdir().expect("a folder can be made");
    let said = fails(&codegen(empty.path(), &["codegen", "check"]), 2);
    assert!(
        said.starts_with("error: cannot read the spec under "),
        "{said}"
    );
    assert_eq!(
        codegen(empty.path(), &["codegen", "bogus"]).status.code(),
        Some(2)
    );
}

#[test]
fn without_git_the_rest_is_checked_all_the_same() {
    let root = workspace();
    succeeds(&codegen(root.path(), &[]));
    let check = |path: &OsStr| {
        Command::new(env!("CARGO_BIN_EXE_codegen"))
            .args(["check", "--root"])
            .arg(root.path())
            .env("PATH", path)
            .output()
            .expect("the generator runs")
    };
    let path = std::env::var_os("PATH").expect("there is a path");
    let outside = check(&path);
    succeeds(&outside);
    let said = text(&outside.stderr);
    assert!(said.contains("not a git repository"), "{said}");

    // A folder that has rustfmt and no git.
    let rustc = Command::new("rustc").args(["--print", "sysroot"]).output();
    let sysroot = text(&rustc.expect("there is a toolchain").stdout);
    let absent = check(Path::new(sysroot.trim()).join("bin").as_os_str());
    succeeds(&absent);
    let said = text(&absent.stderr);
    assert_eq!(
        said,
        "codegen check: git is not installed, so what git tracks was not looked at\n"
    );

    fs::write(root.path().join("docs/reference/errors.md"), "").expect("it can be written");
    let said = fails(&check(&path), 1);
    assert!(said.contains("stale: docs/reference/errors.md:1"), "{said}");
}

#[test]
fn a_skeleton_passes_once_its_blanks_are_filled_in() {
    let root = workspace();
    let path = root.path();
    for kind in ["preset", "metric", "envelope", "alert", "error"] {
        let said = succeeds(&codegen(path, &["codegen", "new", kind, "brand_new"]));
        let file = said
            .lines()
            .next()
            .and_then(|line| line.strip_prefix("codegen new: "))
            .expect("it names the file");
        let said = fails(&codegen(path, &["codegen"]), 1);
        assert!(
            said.contains("error[blank]: a blank is not filled in: <"),
            "{said}"
        );
        assert_eq!(
            said.matches("error[").count(),
            said.matches("error[blank]").count(),
            "{said}"
        );
        fill_in(&path.join(file));
        succeeds(&codegen(path, &["codegen"]));
        let said = fails(&codegen(path, &["codegen", "new", kind, "brand_new"]), 2);
        assert!(said.contains("already"), "{said}");
    }
    // What a skeleton suggests is nobody's documentation.
    let reference = fs::read_to_string(path.join("docs/reference/envelopes.md"));
    let reference = reference.expect("it was written");
    assert!(!reference.contains("steps {"), "{reference}");
    succeeds(&codegen(path, &["codegen", "new", "preset", "one"]));
    succeeds(&codegen(path, &["codegen", "new", "preset", "two"]));
    let said = fails(
        &codegen(path, &["codegen", "new", "preset", "Brand-New"]),
        2,
    );
    assert!(said.contains("as `brand_new`"), "{said}");
}

fn fill_in(path: &Path) {
    let mut text = fs::read_to_string(path).expect("it was written");
    for (blank, value) in [
        ("<full name of a counter>", "cachekit_loads_total"),
        ("<one of python_classes>", "InternalError"),
    ] {
        text = text.replace(blank, value);
    }
    while let Some(start) = text.find(['<']) {
        let end = start + text[start..].find('>').expect("a blank ends");
        text.replace_range(start..=end, "Something.");
    }
    fs::write(path, text).expect("it can be written");
}

#[test]
fn a_new_format_gets_an_id_that_was_never_used() {
    let root = workspace();
    let path = root.path();
    fs::create_dir_all(path.join("spec/lock")).expect("a folder can be made");
    fs::write(path.join(lock::PATH), "retired 41 gone\n").expect("it can be written");
    succeeds(&codegen(path, &["codegen", "new", "envelope", "fresh"]));
    let text =
        fs::read_to_string(path.join("spec/envelopes/fresh.textproto")).expect("it was written");
    assert!(text.contains("\nid: 42\n"), "{text}");
}

#[test]
fn a_release_turns_values_into_promises() {
    let root = workspace();
    let path = root.path();
    replace(
        path,
        "spec/schema/cachekit/spec/v1/preset.proto",
        "message Preset {",
        "message Preset {\n  reserved 99, 120 to 130;\n  reserved \"old\";",
    );
    let said = succeeds(&codegen(path, &["codegen", "release"]));
    assert_eq!(
        said,
        "codegen release: wrote spec/lock/release.txt; what it holds is now a promise\n"
    );
    assert_eq!(
        succeeds(&codegen(path, &["codegen", "release"])),
        "codegen release: spec/lock/release.txt is up to date\n"
    );
    succeeds(&codegen(path, &["codegen"]));
    let lock = fs::read_to_string(path.join(lock::PATH)).expect("it was written");
    for fact in [
        "field cachekit.wire.v1.EnvelopeHeader generations 10 repeated fixed64",
        "value cachekit.wire.v1.Serializer SERIALIZER_NATIVE 1",
        "default dev isolation copy",
        "reserved cachekit.spec.v1.Preset 99 120..130 old",
        "format 2 packed serialize compress:lz4 checksum:xxh3_64",
        "option max_entries keyword min=1 max=1000000000",
        "option ttl keyword none above=0 env=CACHEKIT_DEFAULT_TTL",
        "buckets cachekit_load_duration_seconds 0.0001 0.001 0.01 0.1 0.5 1 5 30",
        "class BackendTimeoutError BackendError CacheKitError Exception TimeoutError",
        "metric cachekit_loads_total counter",
        "label cachekit_lookups_total outcome error hit miss tampered",
        "error remote_timeout BackendTimeoutError",
    ] {
        assert!(
            lock.lines().any(|line| line == fact),
            "{fact} is not in\n{lock}"
        );
    }

    replace(
        path,
        "spec/presets/production.textproto",
        "  ttl: 600",
        "  ttl: 60",
    );
    let said = fails(&codegen(path, &["codegen", "release"]), 1);
    assert!(
        said.contains("error[default_changed]: the default of `ttl` changed in `production`"),
        "{said}"
    );
    replace(
        path,
        "spec/presets/production.textproto",
        "  ttl: 60",
        "  # cachekit:allow(default_changed): shown stale prices\n  ttl: 60",
    );
    succeeds(&codegen(path, &["codegen"]));
    succeeds(&codegen(path, &["codegen", "release"]));
    let said = fails(&codegen(path, &["codegen"]), 1);
    assert!(
        said.contains("error[waiver]: this waiver of `default_changed` lifts nothing"),
        "{said}"
    );
}

#[test]
fn a_removed_format_leaves_its_id_taken() {
    let root = workspace();
    let path = root.path();
    succeeds(&codegen(path, &["codegen", "new", "envelope", "brief"]));
    fill_in(&path.join("spec/envelopes/brief.textproto"));
    succeeds(&codegen(path, &["codegen", "release"]));
    let brief = path.join("spec/envelopes/brief.textproto");
    let text = fs::read_to_string(&brief).expect("it was written");
    let id = text
        .lines()
        .find_map(|line| line.strip_prefix("id: "))
        .expect("it has an id");
    fs::remove_file(brief).expect("it can be removed");
    replace(
        path,
        "spec/envelopes/plain.textproto",
        "# For values",
        "# cachekit:allow(format_removed brief): nobody wrote in it\n# For values",
    );
    succeeds(&codegen(path, &["codegen", "release"]));
    let lock = fs::read_to_string(path.join(lock::PATH)).expect("it was written");
    assert!(lock.contains(&format!("\nretired {id} brief\n")), "{lock}");
}
