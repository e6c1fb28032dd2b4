//! The schemas and metrics as descriptors, and where each thing in them stands.

use std::collections::HashMap;
use std::sync::Arc;

use prost_reflect::prost_types::source_code_info::Location;
use prost_reflect::{DescriptorPool, FileDescriptor};
use protox::file::{ChainFileResolver, File, FileResolver, GoogleFileResolver};

use super::{METRICS, SCHEMA, problem};
use crate::diagnostic::{Diagnostic, Sources};
use crate::load::scan::comment_text;
use crate::model::Span;

/// Finds imports among the sources.
struct InSources(Sources);

impl FileResolver for InSources {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        let path = repo_path(name, &self.0).ok_or_else(|| protox::Error::file_not_found(name))?;
        let text = self
            .0
            .text(&path)
            .expect("`repo_path` only names files that are there");
        File::from_source(name, text)
    }
}

/// Path from the repository's root of a file that is imported as `name`.
pub(super) fn repo_path(name: &str, sources: &Sources) -> Option<Arc<str>> {
    [SCHEMA, METRICS]
        .iter()
        .find_map(|folder| sources.path(&format!("{folder}/{name}")).cloned())
}

/// Compiles every `.proto` that can be, and says what is wrong with the others; the schemas first, so that a metric's
/// mistakes can be compared with what is legal.
pub(super) fn compile(sources: &Sources) -> (DescriptorPool, Vec<Diagnostic>) {
    let mut resolver = ChainFileResolver::new();
    resolver.add(InSources(sources.clone()));
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).include_source_info(true);
    let mut found = Vec::new();
    for folder in [SCHEMA, METRICS] {
        for (path, _) in sources.inputs_in(folder, "proto") {
            let name = &path[folder.len() + 1..];
            if let Err(error) = compiler.open_file(name) {
                let pool = compiler.descriptor_pool();
                for problem in problem::of_proto(&error, path, &pool, sources) {
                    // What is wrong with an import comes once for each file that imports it.
                    if !found.contains(&problem) {
                        found.push(problem);
                    }
                }
            }
        }
    }
    (compiler.descriptor_pool(), found)
}

/// Comments and places of what the schemas declare.
#[derive(Debug)]
pub struct Places {
    files: HashMap<String, Arc<str>>,
    locations: HashMap<(String, Vec<i32>), (Span, String)>,
}

/// Number of the field that holds a declaration's name, in every kind of descriptor.
const NAME: i32 = 1;

impl Places {
    pub(super) fn new(pool: &DescriptorPool, sources: &Sources) -> Self {
        let mut places = Self {
            files: HashMap::new(),
            locations: HashMap::new(),
        };
        for file in pool.files() {
            let Some(path) = repo_path(file.name(), sources) else {
                continue;
            };
            let text = sources
                .text(&path)
                .expect("`repo_path` only names files that are there");
            let lines: Vec<usize> = std::iter::once(0)
                .chain(text.match_indices('\n').map(|(at, _)| at + 1))
                .collect();
            let info = file.file_descriptor_proto().source_code_info.as_ref();
            for location in info.iter().flat_map(|info| &info.location) {
                if let Some(span) = span(&path, &lines, location) {
                    let comment = location.leading_comments.as_deref().unwrap_or("");
                    places
                        .locations
                        .entry((file.name().to_owned(), location.path.clone()))
                        .or_insert_with(|| (span, comment_text(comment.lines())));
                }
            }
            places.files.insert(file.name().to_owned(), path);
        }
        places
    }

    /// Path from the repository's root of a compiled file; none for one that ships with protobuf.
    pub fn path(&self, file: &FileDescriptor) -> Option<&Arc<str>> {
        self.files.get(file.name())
    }

    /// Comment of the declaration at `path` in `file`.
    pub fn doc(&self, file: &FileDescriptor, path: &[i32]) -> String {
        self.at(file, path)
            .map(|(_, doc)| doc.clone())
            .unwrap_or_default()
    }

    /// Place of the declaration's name, else of the declaration, else of the file.
    pub fn name(&self, file: &FileDescriptor, path: &[i32]) -> Span {
        let name = [path, &[NAME]].concat();
        self.at(file, &name)
            .or_else(|| self.at(file, path))
            .map_or_else(|| self.start(file), |(span, _)| span.clone())
    }

    /// Place of the declaration at `path` in `file`, else of the file.
    pub fn whole(&self, file: &FileDescriptor, path: &[i32]) -> Span {
        self.at(file, path)
            .map_or_else(|| self.start(file), |(span, _)| span.clone())
    }

    fn at(&self, file: &FileDescriptor, path: &[i32]) -> Option<&(Span, String)> {
        self.locations.get(&(file.name().to_owned(), path.to_vec()))
    }

    fn start(&self, file: &FileDescriptor) -> Span {
        let path = self
            .path(file)
            .cloned()
            .unwrap_or_else(|| Arc::from(file.name()));
        Span::new(&path, 0..0)
    }
}

/// Lines and columns are bytes from 0; the end line is left out where it is the first.
fn span(path: &Arc<str>, lines: &[usize], location: &Location) -> Option<Span> {
    let at = |line: i32, column: i32| {
        let start = lines.get(usize::try_from(line).ok()?)?;
        Some(start + usize::try_from(column).ok()?)
    };
    let (start, end) = match *location.span {
        [line, from, to] => (at(line, from)?, at(line, to)?),
        [line, from, end, to] => (at(line, from)?, at(end, to)?),
        _ => return None,
    };
    Some(Span::new(path, start..end))
}
