//! What is fuzzed at length by hand, for a short while: the corpus, and the same mutants of it in every run.

#[path = "../../runtime/fuzz/mutations.rs"]
mod mutations;
#[path = "../fuzz/targets.rs"]
mod targets;

use std::path::Path;

#[test]
fn whatever_is_typed_is_scanned_or_refused() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/textproto_scan");
    mutations::run(&corpus, 20_000, targets::textproto_scan);
}
