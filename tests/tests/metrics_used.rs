//! A metric of the spec that nobody calls is a mistake: a dashboard that stays empty.

use std::fs;
use std::path::Path;

/// The code under `folder` that is neither generated nor a test, as one text.
fn code(folder: &Path, all: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path
            .file_name()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        if path.is_dir() {
            if !matches!(name.as_str(), "generated" | "tests" | "target") {
                code(&path, all);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") && name != "tests.rs"
        {
            let text = fs::read_to_string(&path).expect("a text file");
            // Tests come last in a file.
            let text = text
                .split("#[cfg(test)]\nmod tests {")
                .next()
                .unwrap_or_default();
            all.extend(text.split_whitespace());
            all.push('\n');
        }
    }
}

/// The fields of the generated `Metrics`.
fn metrics(generated: &str) -> Vec<&str> {
    let (_, body) = generated
        .split_once("pub struct Metrics {")
        .expect("the struct");
    let (body, _) = body.split_once("\n}").expect("its end");
    let fields = body
        .lines()
        .filter_map(|line| line.trim().strip_prefix("pub "));
    fields
        .filter_map(|field| Some(field.split_once(':')?.0))
        .collect()
}

#[test]
fn every_metric_is_called_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let generated = fs::read_to_string(root.join("runtime/src/generated/metrics.rs"));
    let generated = generated.expect("the generated metrics");
    let names = metrics(&generated);
    assert!(names.len() >= 7, "{names:?}");
    let mut all = String::new();
    code(&root.join("runtime/src"), &mut all);
    code(&root.join("sdks"), &mut all);
    let called = |name: &&str| {
        let calls = ["inc", "inc_by", "observe", "set", "add"];
        calls
            .iter()
            .any(|call| all.contains(&format!(".{name}.{call}(")))
    };
    let (_, dead): (Vec<_>, Vec<_>) = names.into_iter().partition(called);
    assert!(
        dead.is_empty(),
        "in the spec and called by nobody: {dead:?}"
    );
}
