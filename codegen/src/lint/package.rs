//! A `.proto` has the package of its folder: generated code is found by it.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::load::{METRICS, SCHEMA};

pub(super) struct Package;

/// Number of the field that holds a file's package in its descriptor.
const PACKAGE: i32 = 2;

impl Rule for Package {
    fn name(&self) -> &'static str {
        "package"
    }

    fn about(&self) -> &'static str {
        "the package of a `.proto` is its folder, and `cachekit.metrics.v1` for a metric"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let places = &context.loaded.places;
        for file in context.loaded.pool.files() {
            let Some(path) = places.path(&file) else {
                continue;
            };
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let wanted = match folder.strip_prefix(SCHEMA) {
                Some(below) => below.trim_start_matches('/').replace('/', "."),
                None if folder == METRICS => "cachekit.metrics.v1".to_owned(),
                None => continue,
            };
            let package = file.package_name();
            if package == wanted || file.messages().len() + file.enums().len() == 0 {
                continue;
            }
            let message = if package.is_empty() {
                format!("{path} has no package")
            } else {
                format!("{path} has the package `{package}`")
            };
            found.push(
                Diagnostic::new(self.name(), &places.whole(&file, &[PACKAGE]), message)
                    .help(format!("write `package {wanted};`")),
            );
        }
    }
}
