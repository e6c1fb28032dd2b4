//! What is fuzzed at length by hand, for a short while: the corpus, and the same mutants of it in every run.

#[path = "../fuzz/mutations.rs"]
mod mutations;
#[path = "../fuzz/targets/mod.rs"]
mod targets;

use std::path::Path;

const MUTANTS: usize = 20_000;

fn run(name: &str, target: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    mutations::run(&corpus.join(name), MUTANTS, target);
}

#[test]
fn entries_open_or_are_refused() {
    run("envelope_open", targets::envelope_open);
}

#[test]
fn values_are_read_as_they_are_written() {
    run("native_decode", targets::native_decode);
}

#[test]
fn keys_are_one_for_equal_arguments_and_none_begins_another() {
    run("key_encoding", targets::key_encoding);
}
