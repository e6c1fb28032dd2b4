//! Options: what a program or an environment says today is legal tomorrow.

use super::lock::Legal;
use super::{Context, Rule};
use crate::diagnostic::Diagnostic;

pub(super) struct OptionNarrowed;

impl Rule for OptionNarrowed {
    fn name(&self) -> &'static str {
        "option_narrowed"
    }

    fn about(&self) -> &'static str {
        "an option stays, with every keyword, value and environment variable that was legal"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        for (name, was) in &context.lock.options {
            let Some(option) = context.spec.option(name) else {
                found.push(
                    Diagnostic::nowhere(
                        self.name(),
                        format!("the option `{name}` was removed or renamed"),
                    )
                    .subject(name)
                    .help("bring it back; one that does nothing any more may stay"),
                );
                continue;
            };
            let now = Legal::of(option);
            for (message, label) in narrowed(was, &now) {
                found.push(
                    Diagnostic::new(
                        self.name(),
                        &option.span,
                        format!("option `{name}` {message}"),
                    )
                    .label(label)
                    .subject(name)
                    .help("bring it back"),
                );
            }
        }
    }
}

/// What is no longer legal, and what was.
fn narrowed(was: &Legal, now: &Legal) -> Vec<(&'static str, String)> {
    let mut changes = Vec::new();
    if was.keyword && !now.keyword {
        changes.push((
            "is no keyword any more",
            "was one in the last release".to_owned(),
        ));
    }
    if was.none && !now.none {
        changes.push((
            "cannot be `None` any more",
            "could be in the last release".to_owned(),
        ));
    }
    let ((least, most, above), (min, max, exclusive)) = (was.range, now.range);
    let at_least = min.is_none_or(|min| {
        least.is_some_and(|least| min < least || min <= least && (above || !exclusive))
    });
    let at_most = max.is_none_or(|max| most.is_some_and(|most| max >= most));
    if !(at_least && at_most) {
        let least = least.map_or("no least".to_owned(), |least| least.to_string());
        let most = most.map_or("no most".to_owned(), |most| most.to_string());
        changes.push((
            "has a narrower range",
            format!("had {least} to {most} in the last release"),
        ));
    }
    if let Some(env) = &was.env
        && now.env.as_ref() != Some(env)
    {
        changes.push((
            "is set by another environment variable, or none",
            format!("was set by `{env}`"),
        ));
    }
    changes
}
