//! What the last release promised still holds: one rule, one family of promises.
//!
//! The promises are the facts of the lock. A rule compares them with the spec; a waiver in the spec lifts what is
//! broken on purpose, and says why.

mod defaults;
mod errors;
mod formats;
pub mod lock;
mod metrics;
mod options;
mod schema;
pub mod waiver;

use crate::diagnostic::{Diagnostic, Sources};
use crate::load::Loaded;
use crate::model::Spec;
use lock::Lock;

/// What a rule may look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The resolved spec.
    pub spec: &'a Spec,
    /// What was read: descriptors, comments, places.
    pub loaded: &'a Loaded,
    /// The last release.
    pub lock: &'a Lock,
}

/// A rule.
pub trait Rule: Sync {
    /// Its name, as diagnostics and waivers write it; its folder under `tests/rules` has the same.
    fn name(&self) -> &'static str;
    /// What it asks for, in one line.
    fn about(&self) -> &'static str;
    /// Reports what breaks it.
    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>);
}

static RULES: &[&dyn Rule] = &[
    &defaults::DefaultChanged,
    &defaults::PresetRemoved,
    &errors::ClassChanged,
    &errors::ErrorChanged,
    &errors::ErrorRemoved,
    &formats::FormatChanged,
    &formats::FormatIdReused,
    &formats::FormatRemoved,
    &metrics::BucketRemoved,
    &metrics::LabelRemoved,
    &metrics::LabelValueRemoved,
    &metrics::MetricChanged,
    &metrics::MetricRemoved,
    &options::OptionNarrowed,
    &schema::EnumValueChanged,
    &schema::EnumValueRemoved,
    &schema::FieldChanged,
    &schema::FieldRemoved,
    &schema::ReservationRemoved,
];

/// Every rule.
pub fn rules() -> &'static [&'static dyn Rule] {
    RULES
}

/// Runs every rule against the lock and takes out what is waived.
pub fn check(spec: &Spec, loaded: &Loaded, sources: &Sources) -> Result<(), Vec<Diagnostic>> {
    let lock = Lock::read(sources).map_err(|problem| vec![*problem])?;
    let context = Context {
        spec,
        loaded,
        lock: &lock,
    };
    let mut found = Vec::new();
    for rule in RULES {
        rule.check(&context, &mut found);
    }
    let found = waiver::apply(found, sources);
    if found.is_empty() { Ok(()) } else { Err(found) }
}
