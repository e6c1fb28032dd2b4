//! Waivers: `cachekit:allow(RULE): reason` in a comment lifts a breaking change, on purpose and in writing.
//!
//! Above the place that a diagnostic shows it is enough to name the rule. For what is gone there is no such place:
//! `cachekit:allow(RULE SUBJECT): reason` works anywhere in the spec. One that lifts nothing must go, so that it
//! does not lift the next mistake.

use std::sync::Arc;

use super::lock;
use crate::RuleInfo;
use crate::diagnostic::{Diagnostic, Sources, did_you_mean};
use crate::model::Span;

/// What reading the lock and the waivers checks.
pub const RULES: &[RuleInfo] = &[
    RuleInfo {
        name: RULE,
        about: "a waiver names a rule that can be waived, has a reason, and lifts something",
        waivable: false,
    },
    RuleInfo {
        name: lock::RULE,
        about: "the lock of the last release can be read",
        waivable: false,
    },
];

const RULE: &str = "waiver";
const MARK: &str = "cachekit:allow";

/// A waiver as written.
struct Waiver {
    rule: String,
    subject: Option<String>,
    span: Span,
    /// The line that it stands above, from 1.
    line: usize,
    used: bool,
}

/// Takes out what is waived; adds what is wrong with the waivers.
pub(super) fn apply(found: Vec<Diagnostic>, sources: &Sources) -> Vec<Diagnostic> {
    let mut left = Vec::new();
    let mut waivers = Vec::new();
    for (path, text) in sources.inputs() {
        read(path, text, &mut waivers, &mut left);
    }
    for diagnostic in found {
        let here = |waiver: &Waiver| match &waiver.subject {
            Some(subject) => diagnostic.subject.as_ref() == Some(subject),
            None => diagnostic.span.as_ref().is_some_and(|span| {
                span.file == waiver.span.file && sources.line(&span.file, span.start) == waiver.line
            }),
        };
        let mut lifted = false;
        for waiver in waivers
            .iter_mut()
            .filter(|waiver| waiver.rule == diagnostic.rule)
        {
            if here(waiver) {
                waiver.used = true;
                lifted = true;
            }
        }
        if !lifted {
            left.push(with_hint(diagnostic));
        }
    }
    for waiver in waivers.iter().filter(|waiver| !waiver.used) {
        left.push(
            Diagnostic::new(
                RULE,
                &waiver.span,
                format!("this waiver of `{}` lifts nothing", waiver.rule),
            )
            .label("no longer needed")
            .help("delete it: after a release, what it lifted is the new promise"),
        );
    }
    left
}

/// Adds to the help how the rule is waived.
fn with_hint(mut diagnostic: Diagnostic) -> Diagnostic {
    let help = diagnostic.help.take().unwrap_or_default();
    let marker = match &diagnostic.span {
        Some(span) if span.file.ends_with(".proto") => "//",
        _ => "#",
    };
    let rule = diagnostic.rule;
    let how = match (&diagnostic.span, &diagnostic.subject) {
        (None, Some(subject)) => {
            format!("`{marker} {MARK}({rule} {subject}): reason` in any file of the spec")
        }
        _ => format!("`{marker} {MARK}({rule}): reason` in the line above"),
    };
    diagnostic.help(format!("{help}; if it must be so, write {how}"))
}

/// Waivers of a file that are well formed; diagnostics for the others.
fn read(path: &Arc<str>, text: &str, waivers: &mut Vec<Waiver>, found: &mut Vec<Diagnostic>) {
    let is_comment =
        |line: &str| line.trim_start().starts_with("//") || line.trim_start().starts_with('#');
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let mut start = 0;
    for (index, line) in lines.iter().enumerate() {
        let at = start;
        start += line.len();
        let trimmed = line.trim();
        let Some(comment) = trimmed
            .strip_prefix("//")
            .or_else(|| trimmed.strip_prefix('#'))
        else {
            continue;
        };
        let Some(rest) = comment.trim_start().strip_prefix(MARK) else {
            continue;
        };
        let from = at + line.find(trimmed).unwrap_or(0);
        let span = Span::new(path, from..from + trimmed.len());
        match parse(rest) {
            Ok((rule, subject)) => waivers.push(Waiver {
                rule: rule.to_owned(),
                subject: subject.map(str::to_owned),
                span,
                line: 2
                    + index
                    + lines[index + 1..]
                        .iter()
                        .take_while(|line| is_comment(line))
                        .count(),
                used: false,
            }),
            Err((message, help)) => found.push(Diagnostic::new(RULE, &span, message).help(help)),
        }
    }
}

/// Rule and subject of what stands behind the mark.
fn parse(rest: &str) -> Result<(&str, Option<&str>), (String, String)> {
    let form = || format!("write `{MARK}(RULE): reason`");
    let inside = rest.strip_prefix('(').and_then(|rest| rest.split_once(')'));
    let Some((inside, reason)) = inside else {
        return Err(("this waiver names no rule".to_owned(), form()));
    };
    let (rule, subject) = match inside.trim().split_once(' ') {
        Some((rule, subject)) => (rule, Some(subject.trim())),
        None => (inside.trim(), None),
    };
    let rules = crate::rules();
    let known = rules
        .iter()
        .filter(|rule| rule.waivable)
        .map(|rule| rule.name);
    match rules.iter().find(|known| known.name == rule) {
        None => {
            let message = format!("this waiver names the rule `{rule}`, which does not exist");
            return Err((message, did_you_mean(rule, known)));
        }
        Some(rule) if !rule.waivable => {
            let message = format!("the rule `{}` cannot be waived", rule.name);
            return Err((
                message,
                "keep to it: only breaking changes can be waived".to_owned(),
            ));
        }
        Some(_) => {}
    }
    let reason = reason.strip_prefix(':').map_or("", str::trim);
    if reason.is_empty() {
        return Err((format!("this waiver of `{rule}` gives no reason"), form()));
    }
    Ok((rule, subject))
}
