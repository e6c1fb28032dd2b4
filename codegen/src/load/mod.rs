//! From text to descriptors and messages.
//!
//! Everything is compiled in process, without protoc, and every error comes back as a diagnostic with a place: the
//! parsers' own errors name neither the file nor what was meant.

mod advice;
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

/// Messages that a textproto may hold, the kinds of things that values are set for, and the folder of each.
const KINDS: &[(&str, &str)] = &[
    ("cachekit.spec.v1.Alert", "spec/alerts"),
    ("cachekit.spec.v1.EnvelopeFormat", "spec/envelopes"),
    ("cachekit.spec.v1.ErrorList", "spec"),
    ("cachekit.spec.v1.Preset", "spec/presets"),
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
        name: "place",
        about: "a file stands in the folder of what it holds, and something reads it",
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
    let mut found = unreadable(sources);
    if !found.is_empty() {
        return Err(found);
    }
    found.extend(sources.inputs().filter_map(|(path, _)| misplaced(path)));
    found.extend(sources.strays().iter().map(|path| stray(path)));
    let (pool, problems) = proto::compile(sources);
    // What is wrong with a metric says nothing about the values; what is wrong with a schema may be why they look wrong.
    let schemas_stand = problems.iter().all(|problem| {
        let file = problem.span.as_ref().map(|span| &*span.file);
        file.is_some_and(|file| file.starts_with(METRICS))
    });
    found.extend(problems);
    let mut documents = Vec::new();
    if schemas_stand {
        for (path, text) in sources.inputs().filter(|(path, _)| is_textproto(path)) {
            match Document::parse(path, text, &pool, sources) {
                Ok(document) => documents.push(document),
                Err(problems) => found.extend(problems),
            }
        }
    }
    if found.is_empty() {
        Ok(Loaded {
            places: Places::new(&pool, sources),
            pool,
            documents,
        })
    } else {
        Err(found)
    }
}

/// Files that are no text as every tool reads it.
fn unreadable(sources: &Sources) -> Vec<Diagnostic> {
    let encoded = sources.broken().map(|(path, at)| {
        let span = Span::new(path, at..at + char::REPLACEMENT_CHARACTER.len_utf8());
        Diagnostic::new("syntax", &span, format!("{path} is not UTF-8"))
            .label("not a character")
            .help("save the file as UTF-8")
    });
    let marked = sources.inputs().filter(|(_, text)| text.starts_with(MARK));
    let marked = marked.map(|(path, _)| {
        let span = Span::new(path, 0..MARK.len_utf8());
        Diagnostic::new(
            "syntax",
            &span,
            format!("{path} begins with a byte order mark"),
        )
        .help("save the file as UTF-8 without one")
    });
    encoded.chain(marked).collect()
}

/// What some editors begin a file with.
const MARK: char = '\u{feff}';

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
            "place",
            &Span::new(path, 0..0),
            format!("nothing reads {path}"),
        )
        .help(format!(
            "move it to {METRICS} if it is a metric, else below {SCHEMA}"
        )),
    )
}

/// A file of a kind that nothing reads.
fn stray(path: &str) -> Diagnostic {
    Diagnostic::nowhere("place", format!("nothing reads {path}")).help(
        "a file of the spec ends in `.textproto` or `.proto`: rename it, or move it out of spec/",
    )
}

fn is_textproto(path: &Arc<str>) -> bool {
    path.rsplit_once('.')
        .is_some_and(|(_, extension)| extension == "textproto")
}
