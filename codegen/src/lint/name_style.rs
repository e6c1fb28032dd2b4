//! A name is legal in every language, and its file is called after it.

use super::{Context, Rule};
use crate::diagnostic::Diagnostic;
use crate::model::Span;
use crate::resolve::{pascal, snake};

pub(super) struct NameStyle;

/// Words that cannot follow the dot of `cache.NAME` in Python, or name a constant's field in Rust.
const KEYWORDS: &[&str] = &[
    "and", "as", "assert", "async", "await", "break", "class", "continue", "def", "del", "elif",
    "else", "except", "finally", "for", "from", "global", "if", "import", "in", "is", "lambda",
    "nonlocal", "not", "or", "pass", "raise", "return", "try", "while", "with", "yield",
];

impl Rule for NameStyle {
    fn name(&self) -> &'static str {
        "name_style"
    }

    fn about(&self) -> &'static str {
        "names are lower case with underscores (alerts and classes in camel case), and a file is called after what it holds"
    }

    fn check(&self, context: &Context<'_>, found: &mut Vec<Diagnostic>) {
        let spec = context.spec;
        let mut check = |what: &str, name: &str, span: &Span, better: String| {
            if name == better && !KEYWORDS.contains(&name) {
                return;
            }
            let message = format!("{what} cannot be called `{name}`");
            let help = if name == better {
                format!("`{name}` is a keyword of Python: choose another word")
            } else {
                format!("write `{better}`")
            };
            found.push(Diagnostic::new(self.name(), span, message).help(help));
        };
        for preset in &spec.presets {
            check("a preset", &preset.name, &preset.span, lower(&preset.name));
        }
        for format in &spec.formats {
            check(
                "an envelope format",
                &format.name,
                &format.span,
                lower(&format.name),
            );
        }
        for option in &spec.options {
            check("an option", &option.name, &option.span, lower(&option.name));
        }
        for error in &spec.errors {
            check("an error", &error.code, &error.span, lower(&error.code));
        }
        for class in &spec.python_classes {
            check(
                "a Python class",
                &class.name,
                &class.span,
                camel(&class.name),
            );
        }
        for alert in &spec.alerts {
            check("an alert", &alert.name, &alert.span, camel(&alert.name));
        }
        let presets = spec.presets.iter().map(|it| ("preset", &it.name, &it.span));
        let formats = spec
            .formats
            .iter()
            .map(|it| ("envelope format", &it.name, &it.span));
        for (what, name, span) in presets.chain(formats) {
            let stem = span
                .file
                .rsplit('/')
                .next()
                .and_then(|file| file.strip_suffix(".textproto"));
            if stem != Some(name) {
                let message = format!("{what} `{name}` stands in {}", span.file);
                found.push(
                    Diagnostic::new(self.name(), span, message)
                        .help(format!("call the file {name}.textproto")),
                );
            }
        }
    }
}

fn lower(name: &str) -> String {
    let mut lower: String = snake(name)
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '_' })
        .collect();
    while lower.starts_with(|c: char| !c.is_ascii_lowercase()) && lower.len() > 1 {
        lower.remove(0);
    }
    lower
}

fn camel(name: &str) -> String {
    if name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.chars().all(|c| c.is_ascii_alphanumeric())
    {
        return name.to_owned();
    }
    pascal(&lower(name))
}
