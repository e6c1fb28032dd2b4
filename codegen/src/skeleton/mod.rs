//! `codegen new`: a first version of a spec file, correct but for what only its author knows.
//!
//! What is unknown stands in angle brackets, and the rule `blank` asks for it; everything else passes every rule.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::breaking::lock::Lock;
use crate::diagnostic::Sources;
use crate::model::{OptionKind, Spec};
use crate::resolve::{pascal, snake};

/// What can be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    /// A preset: spec/presets/NAME.textproto.
    Preset,
    /// A metric: spec/metrics/NAME.proto.
    Metric,
    /// An envelope format with the next free id: spec/envelopes/NAME.textproto.
    Envelope,
    /// An alert: spec/alerts/NAME.textproto.
    Alert,
    /// An error: one more entry in spec/errors.textproto.
    Error,
}

/// Where the errors are.
const ERRORS: &str = "spec/errors.textproto";

/// A file to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skeleton {
    /// Path from the repository's root.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// The file of a new `kind` called `name`; an error in words where there is one already or the name is not legal.
pub fn make(kind: Kind, name: &str, spec: &Spec, sources: &Sources) -> Result<Skeleton, String> {
    let better = snake(name).replace('-', "_");
    if better != name
        || !name.starts_with(|c: char| c.is_ascii_lowercase())
        || !name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    {
        return Err(format!(
            "`{name}` is not a name: write it in lower case with underscores, as `{better}`"
        ));
    }
    let (path, text) = match kind {
        Kind::Preset => (format!("spec/presets/{name}.textproto"), preset(name, spec)),
        Kind::Metric => (format!("spec/metrics/{name}.proto"), metric(name)),
        Kind::Envelope => {
            let lock = Lock::read(sources).map_err(|problem| problem.message)?;
            (
                format!("spec/envelopes/{name}.textproto"),
                envelope(name, lock.next_format_id(spec)),
            )
        }
        Kind::Alert => (format!("spec/alerts/{name}.textproto"), alert(name)),
        Kind::Error => {
            if spec.errors.iter().any(|error| error.code == name) {
                return Err(format!("there is an error `{name}` already, in {ERRORS}"));
            }
            let old = sources
                .text(ERRORS)
                .ok_or_else(|| format!("there is no {ERRORS}"))?;
            let text = format!("{}\n{}", old.trim_end(), error(name));
            return Ok(Skeleton {
                path: ERRORS.to_owned(),
                text,
            });
        }
    };
    if sources.text(&path).is_some() {
        return Err(format!("there is {path} already"));
    }
    Ok(Skeleton { path, text })
}

/// Puts it where it belongs.
pub fn write(root: &Path, skeleton: &Skeleton) -> std::io::Result<()> {
    let path = root.join(&skeleton.path);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    fs::write(path, &skeleton.text)
}

fn header(schema: &str, message: &str) -> String {
    format!(
        "# proto-file: schema/cachekit/spec/v1/{schema}.proto\n# proto-message: cachekit.spec.v1.{message}\n\n"
    )
}

fn preset(name: &str, spec: &Spec) -> String {
    let mut text = header("preset", "Preset");
    let _ = write!(
        text,
        "# <why it is as it is>\nname: \"{name}\"\nsummary: \"<when to choose it, in one line>\"\n\
         extends: \"default\"\n\n# What `options` leaves out stays as `default` has it:\n"
    );
    for option in spec.options.iter().filter(|option| option.preset_decides()) {
        let Some(decided) = spec
            .preset("default")
            .and_then(|preset| preset.value(&option.name))
        else {
            continue;
        };
        let value = match (&option.kind, &decided.value) {
            (OptionKind::Text, value) => format!("\"{}\"", value.display()),
            (_, crate::model::Value::Enum(value)) => value.name.clone(),
            (_, value) => value.display(),
        };
        let _ = writeln!(text, "#   {}: {value}", option.name);
    }
    // The empty line keeps it from being the comment of what follows.
    text.push_str("\noptions {\n}\n");
    text
}

fn metric(name: &str) -> String {
    let message = pascal(name);
    format!(
        "syntax = \"proto3\";\n\npackage cachekit.metrics.v1;\n\nimport \"cachekit/spec/v1/metric.proto\";\n\n\
         // <what it counts>\nmessage {message} {{\n\
         \x20 option (cachekit.spec.v1.metric) = {{ kind: METRIC_KIND_COUNTER name: \"cachekit_{name}_total\" }};\n\
         \x20 // A label is a field whose type is an enum of labels.proto or a bool: import \"labels.proto\" and add\n\
         \x20 //   Tier tier = 1;\n\
         \x20 // with a comment of its own. A gauge's name has no `_total`; a histogram has buckets: [0.001, 0.01, 0.1, 1].\n\n\
         }}\n"
    )
}

fn envelope(name: &str, id: u32) -> String {
    format!(
        "{}# <why it is as it is>\nname: \"{name}\"\nid: {id}\nsummary: \"<what it is for, in one line>\"\n\
         framing: FRAMING_CACHEKIT\nsteps {{ serialize {{}} }}\n\
         # steps {{ compress {{ algorithm: COMPRESSION_LZ4 min_bytes: 1024 }} }}\n\n\
         steps {{ checksum {{ algorithm: CHECKSUM_XXH3_64 }} }}\n",
        header("envelope", "EnvelopeFormat")
    )
}

fn alert(name: &str) -> String {
    format!(
        "{}# <why somebody must know>\nname: \"Cachekit{}\"\nsummary: \"<what is wrong, in one line>\"\n\
         runbook: \"<what to do about it>\"\nseverity: SEVERITY_WARNING\nwindow: \"5m\"\nhold: \"10m\"\n\
         # Or `ratio {{ part {{ .. }} whole {{ .. }} }}`, or `quantile {{ of {{ .. }} q: 0.99 }}` of a histogram.\n\
         rate {{\n  metric: \"<full name of a counter>\"\n  # match {{ label: \"outcome\" values: \"error\" }}\n}}\n\
         comparison: COMPARISON_ABOVE\nthreshold: 1\n",
        header("alert", "Alert"),
        pascal(name)
    )
}

fn error(name: &str) -> String {
    format!(
        "errors {{ code: \"{name}\" kind: ERROR_KIND_INTERNAL text: \"<what happened and what to do next, with {{context}}>\" \
         python_class: \"<one of python_classes>\" }}\n"
    )
}
