//! From text to descriptors and messages.
//!
//! Everything is compiled in process, without protoc, and every error comes back as a diagnostic with a place: the
//! parsers' own errors name neither the file nor what was meant.

mod document;
mod problem;
pub mod proto;
pub mod scan;

use std::sync::Arc;

use prost_reflect::{DescriptorPool, ReflectMessage};

pub use document::{Document, View};
pub use proto::Places;

use crate::RuleInfo;
use crate::diagnostic::{Diagnostic, Sources};
use crate::model::Span;

/// Folder of the schemas, which imports start from.
pub const SCHEMA: &str = "spec/schema";
/// Folder of the metrics, which imports start from too.
pub const METRICS: &str = "spec/metrics";

/// Messages that a textproto may hold: the kinds of things that values are set for.
const KINDS: &[&str] = &[
    "cachekit.spec.v1.Alert",
    "cachekit.spec.v1.EnvelopeFormat",
    "cachekit.spec.v1.ErrorList",
    "cachekit.spec.v1.Preset",
];

/// What a parser checks.
pub const RULES: &[RuleInfo] = &[
    RuleInfo {
        name: "syntax",
        about: "a file parses",
        waivable: false,
    },
    RuleInfo {
        name: "schema",
        about: "every type, import and option that a `.proto` names exists",
        waivable: false,
    },
    RuleInfo {
        name: "header",
        about: "a textproto names its schema in `# proto-file:` and `# proto-message:`",
        waivable: false,
    },
    RuleInfo {
        name: "unknown_field",
        about: "a field that is set exists",
        waivable: false,
    },
    RuleInfo {
        name: "unknown_value",
        about: "a value of an enum exists",
        waivable: false,
    },
];

/// Everything that was read.
#[derive(Debug)]
pub struct Loaded {
    /// Every schema and metric.
    pub pool: DescriptorPool,
    /// Comments and places in the schemas.
    pub places: Places,
    /// Every textproto, by path.
    pub documents: Vec<Document>,
}

impl Loaded {
    /// Documents of a message.
    pub fn documents_of<'a>(&'a self, message: &'a str) -> impl Iterator<Item = &'a Document> {
        self.documents
            .iter()
            .filter(move |document| document.message.descriptor().full_name() == message)
    }
}

/// Reads the schemas, then the values.
pub fn load(sources: &Sources) -> Result<Loaded, Vec<Diagnostic>> {
    let pool = proto::compile(sources)?;
    let places = Places::new(&pool, sources);
    let mut documents = Vec::new();
    let mut found: Vec<Diagnostic> = sources
        .inputs()
        .filter_map(|(path, _)| misplaced(path))
        .collect();
    for (path, text) in sources.inputs().filter(|(path, _)| is_textproto(path)) {
        match Document::parse(path, text, &pool, sources) {
            Ok(document) => documents.push(document),
            Err(problems) => found.extend(problems),
        }
    }
    if found.is_empty() {
        Ok(Loaded {
            pool,
            places,
            documents,
        })
    } else {
        Err(found)
    }
}

/// A `.proto` where nothing reads it.
fn misplaced(path: &Arc<str>) -> Option<Diagnostic> {
    let read = [SCHEMA, METRICS].iter().any(|folder| {
        path.strip_prefix(folder)
            .is_some_and(|rest| rest.starts_with('/'))
    });
    if read || is_textproto(path) {
        return None;
    }
    Some(
        Diagnostic::new(
            "schema",
            &Span::new(path, 0..0),
            format!("nothing reads {path}"),
        )
        .help(format!(
            "move it to {METRICS} if it is a metric, else below {SCHEMA}"
        )),
    )
}

fn is_textproto(path: &Arc<str>) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, extension)| extension == "textproto")
}
