//! A metric of the spec that nobody calls is a mistake: a dashboard that stays empty.

use cachekit_tests::tree::{code, files, read, root};

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
    let generated = read(&root().join("runtime/src/generated/metrics.rs"));
    let names = metrics(&generated);
    assert!(names.len() >= 7, "{names:?}");
    let all: String = ["runtime/src", "sdks/python/src"]
        .iter()
        .flat_map(|folder| files(folder, "rs"))
        .filter(|path| {
            let inside = path.strip_prefix(root()).expect("it was found there");
            !inside
                .iter()
                .any(|part| part == "generated" || part == "tests" || part == "tests.rs")
        })
        .map(|path| {
            let text = code(&read(&path));
            text.split_whitespace().collect::<String>()
        })
        .collect();
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
