//! Who may know whom in the runtime: the table of the design, read against every `use` line and every path.
//!
//! A test and not a crate for each module, because the modules change together and are released together.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use cachekit_tests::tree::{code, files, read, root};

/// What every module may use.
const COMMON: &[&str] = &["error", "clock", "shim", "generated"];

/// What else each may use. The arrows of the design are `cache -> {l1, flight, layer, envelope, key}`, `layer -> remote`,
/// `envelope -> keyring`, `remote -> generated::wire`, and `driver -> cache` by polling alone, which takes no `use`. Beyond them:
/// `driver` as something that is used means the traits of its `mod.rs`, which the one logic is written against;
/// the simulation is a driver that brings a remote tier along; an envelope of the published protocol is MessagePack, which `native` reads; `interrupt` is how blocked threads are asked to stop.
const ALLOWED: &[(&str, &[&str])] = &[
    (
        "cache",
        &[
            "l1", "flight", "layer", "envelope", "key", "keyring", "remote", "driver", "metrics",
        ],
    ),
    ("flight", &["key", "driver"]),
    ("layer", &["remote"]),
    ("remote", &["interrupt"]),
    ("envelope", &["key", "keyring", "native"]),
    ("driver", &["interrupt", "remote"]),
    ("key", &["native"]),
    ("interop", &["cache", "key", "native"]),
    ("keyring", &["key"]),
    ("native", &[]),
    ("l1", &[]),
    ("metrics", &[]),
    ("interrupt", &[]),
    ("error", &[]),
    ("clock", &[]),
    ("shim", &[]),
    ("generated", &[]),
];

/// The modules that follow `crate::` in `code`.
fn used(code: &str) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        let group = part.strip_prefix('{');
        let end = if group.is_some() {
            part.find("};")
        } else {
            None
        };
        let inside = group.map_or(part, |group| {
            &group[..end.map_or(group.len(), |end| end - 1)]
        });
        let mut depth = 0;
        let mut fresh = true;
        for (at, letter) in inside.char_indices() {
            if fresh && depth == 0 && letter.is_ascii_lowercase() {
                let rest = &inside[at..];
                let stop = rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
                names.insert(rest[..stop.unwrap_or(rest.len())].to_owned());
                fresh = false;
            }
            match letter {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => fresh = true,
                _ => {}
            }
            if group.is_none() {
                break;
            }
        }
    }
    names
}

#[test]
fn the_parser_sees_groups_and_paths() {
    let seen =
        used("use crate::{clock::{Clock, Instant}, error::Error};\nlet x = crate::l1::mix(1);");
    assert_eq!(seen, ["clock", "error", "l1"].map(str::to_owned).into());
    assert!(used(&code("// crate::cache is not used\n")).is_empty());
    assert!(
        used(&code(
            "#[cfg(test)]\nmod tests {\n use crate::cache::Cache;\n}"
        ))
        .is_empty()
    );
}

#[test]
fn every_use_is_in_the_table() {
    let allowed: BTreeMap<_, _> = ALLOWED.iter().copied().collect();
    let source = root().join("runtime/src");
    let mut wrong = Vec::new();
    let mut seen = BTreeSet::new();
    for path in files("runtime/src", "rs") {
        let inside = path.strip_prefix(&source).expect("it was found there");
        let is_test = inside.components().any(|part| {
            let name = part.as_os_str().to_string_lossy();
            matches!(name.as_ref(), "tests" | "tests.rs" | "random.rs")
        });
        let module = inside.iter().next().expect("a name").to_string_lossy();
        let module = module.trim_end_matches(".rs");
        if is_test || module == "lib" {
            continue;
        }
        let Some(own) = allowed.get(module) else {
            wrong.push(format!("{module} is not in the table"));
            continue;
        };
        seen.insert(module.to_owned());
        // So many `super` lead to the root of the crate.
        let depth = inside.iter().filter(|part| *part != "mod.rs").count();
        let text = code(&read(&path)).replace(&"super::".repeat(depth), "crate::");
        for name in used(&text) {
            let common = COMMON.contains(&name.as_str()) && module != "generated";
            if name != module && !common && !own.contains(&name.as_str()) {
                wrong.push(format!("{} uses {name}", inside.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "not in the table of the design:\n{}",
        wrong.join("\n")
    );
    let unknown: Vec<_> = allowed
        .keys()
        .filter(|module| !seen.contains(**module))
        .collect();
    assert!(
        unknown.is_empty(),
        "in the table and not in the tree: {unknown:?}"
    );
}

/// Nothing sees the concrete drivers but whoever polls, which is outside of the runtime.
#[test]
fn the_logic_knows_the_traits_of_drivers_and_no_driver() {
    let modules = ["cache", "flight", "layer", "remote"];
    let mut logic: Vec<_> = modules
        .iter()
        .flat_map(|module| files(&format!("runtime/src/{module}"), "rs"))
        .collect();
    logic.push(root().join("runtime/src/flight.rs"));
    for path in logic {
        if path
            .iter()
            .any(|part| part == "tests" || part == "tests.rs")
        {
            continue;
        }
        let code = code(&read(&path));
        for driver in ["blocking", "tokio", "simulation", "event_loop"] {
            let direct = code.contains(&format!("driver::{driver}"));
            assert!(!direct, "{} knows driver::{driver}", path.display());
        }
    }
}

#[test]
fn nothing_depends_on_codegen_nor_codegen_on_a_sibling() {
    let manifest = |path: &str| read(&root().join(path));
    for path in [
        "runtime/Cargo.toml",
        "sdks/python/Cargo.toml",
        "tests/Cargo.toml",
    ] {
        assert!(
            !manifest(path).contains("cachekit-codegen"),
            "{path} depends on codegen"
        );
    }
    let codegen = manifest("codegen/Cargo.toml");
    for sibling in ["cachekit-runtime", "cachekit-python", "cachekit-tests"] {
        assert!(!codegen.contains(sibling), "codegen depends on {sibling}");
    }
    for folder in ["codegen", "runtime", "sdks/python", "tests"] {
        let script = fs::read_to_string(root().join(folder).join("build.rs")).unwrap_or_default();
        assert!(
            !script.contains("codegen"),
            "the build script of {folder} runs codegen"
        );
    }
}
