//! Reads the spec, checks it, and writes everything that follows from it.
//!
//! The stages are modules, and each knows only those before it:
//! load -> model -> resolve -> lint -> breaking -> emit -> output. What a stage finds wrong is a
//! `Diagnostic`; nothing panics on a spec file, however wrong it is.

pub mod breaking;
pub mod diagnostic;
pub mod emit;
pub mod lint;
pub mod load;
pub mod model;
pub mod output;
pub mod reference;
pub mod resolve;
pub mod skeleton;

use diagnostic::{Diagnostic, Sources};
use model::Spec;

/// A rule that some stage checks.
#[derive(Clone, Copy, Debug)]
pub struct RuleInfo {
    /// Its name, as diagnostics and waivers write it.
    pub name: &'static str,
    /// What it asks for, in one line.
    pub about: &'static str,
    /// Whether a comment with a reason may lift it.
    pub waivable: bool,
}

/// Every rule of every stage, by name.
pub fn rules() -> Vec<RuleInfo> {
    let mut rules: Vec<RuleInfo> = [load::RULES, resolve::RULES, breaking::waiver::RULES]
        .concat()
        .into_iter()
        .chain(lint::rules().iter().map(|rule| RuleInfo {
            name: rule.name(),
            about: rule.about(),
            waivable: false,
        }))
        .chain(breaking::rules().iter().map(|rule| RuleInfo {
            name: rule.name(),
            about: rule.about(),
            waivable: true,
        }))
        .collect();
    rules.sort_by_key(|rule| rule.name);
    rules
}

/// The spec in `sources`, resolved, or everything that is wrong with it.
///
/// The stages run in order and the first that finds something ends it: what a later stage would say about a spec
/// that does not even parse is noise.
pub fn compile(sources: &Sources) -> Result<Spec, Vec<Diagnostic>> {
    let loaded = load::load(sources)?;
    let spec = resolve::resolve(&loaded, sources)?;
    lint::check(&lint::Context {
        spec: &spec,
        loaded: &loaded,
        sources,
    })?;
    breaking::check(&spec, &loaded, sources)?;
    Ok(spec)
}

/// The spec in `sources` without asking whether it keeps the rules.
pub fn resolve(sources: &Sources) -> Result<Spec, Vec<Diagnostic>> {
    let loaded = load::load(sources)?;
    resolve::resolve(&loaded, sources)
}
