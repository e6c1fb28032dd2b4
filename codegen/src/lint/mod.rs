//! What a spec must keep to beyond parsing: one rule, one file.
//!
//! A rule sees the whole resolved spec and reports everything that it finds; none depends on another having run.

mod alert_selection;
mod alert_shape;
mod blank;
mod caller_option;
mod control_character;
mod counter_name;
mod default_out_of_range;
mod default_preset;
mod duplicate_format_id;
mod duplicate_name;
mod error_placeholder;
mod format_id;
mod histogram_buckets;
mod metric_rule;
mod missing_comment;
mod name_style;
mod option_rule;
mod package;
mod step_order;
mod unbounded_label;
mod undecided_option;
mod unknown_format;
mod unknown_python_class;

use crate::diagnostic::{Diagnostic, Sources};
use crate::load::Loaded;
use crate::model::Spec;

/// What a rule may look at.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The resolved spec.
    pub spec: &'a Spec,
    /// What was read: descriptors, comments, places.
    pub loaded: &'a Loaded,
    /// The text of every file.
    pub sources: &'a Sources,
}

/// A rule.
pub trait Rule: Sync {
    /// Its name, as diagnostics write it; its folder under `tests/rules` has the same.
    fn name(&self) -> &'static str;
    /// What it asks for, in one line.
    fn about(&self) -> &'static str;
    /// Reports what breaks it.
    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>);
}

/// Every rule but `blank`.
static RULES: &[&dyn Rule] = &[
    &alert_selection::AlertSelection,
    &alert_shape::AlertShape,
    &caller_option::CallerOption,
    &control_character::ControlCharacter,
    &counter_name::CounterName,
    &default_out_of_range::DefaultOutOfRange,
    &default_preset::DefaultPreset,
    &duplicate_format_id::DuplicateFormatId,
    &duplicate_name::DuplicateName,
    &error_placeholder::ErrorPlaceholder,
    &format_id::FormatId,
    &histogram_buckets::HistogramBuckets,
    &metric_rule::MetricRule,
    &missing_comment::MissingComment,
    &name_style::NameStyle,
    &option_rule::OptionRule,
    &package::Package,
    &step_order::StepOrder,
    &unbounded_label::UnboundedLabel,
    &undecided_option::UndecidedOption,
    &unknown_format::UnknownFormat,
    &unknown_python_class::UnknownPythonClass,
];

/// Every rule.
pub fn rules() -> Vec<&'static dyn Rule> {
    let mut rules = vec![&blank::Blank as &dyn Rule];
    rules.extend(RULES);
    rules
}

/// Runs every rule. Blanks come alone: what other rules say about an undecided text is noise.
pub fn check(context: &Context<'_>) -> Result<(), Vec<Diagnostic>> {
    let mut found = Vec::new();
    blank::Blank.check(context, &mut found);
    if found.is_empty() {
        for rule in RULES {
            rule.check(context, &mut found);
        }
    }
    if found.is_empty() { Ok(()) } else { Err(found) }
}
