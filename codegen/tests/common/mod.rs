//! What the tests share: the real spec.
#![allow(dead_code, reason = "each test crate uses a part")]

use std::path::{Path, PathBuf};

use cachekit_codegen::diagnostic::Sources;

/// Root of the repository.
pub(crate) fn root() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package
        .parent()
        .expect("the package is in the workspace")
        .to_owned()
}

/// The spec as it is, without its lock.
pub(crate) fn real_spec() -> Sources {
    let mut sources = Sources::read(&root()).expect("the spec can be read");
    sources.remove(cachekit_codegen::breaking::lock::PATH);
    sources
}
