//! The text of every spec file.
//!
//! In memory, so that every stage after reading is a function of it: tests overlay files instead of writing them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};

use crate::model::Span;

/// Where the spec stands, from the repository's root.
const SPEC: &str = "spec";

/// Spec files by their path from the repository's root.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    files: BTreeMap<Arc<str>, Arc<str>>,
    /// Files under `spec/` that no stage knows what to do with.
    strays: Vec<String>,
    /// Where a file ceases to be UTF-8; its text is a lossy one.
    broken: BTreeMap<Arc<str>, usize>,
}

impl Sources {
    /// Reads everything under `spec/` that is part of the spec, and the lock; remembers what else there is.
    pub fn read(root: &Path) -> io::Result<Self> {
        let mut sources = Self::default();
        sources.read_folder(root, SPEC)?;
        Ok(sources)
    }

    fn read_folder(&mut self, root: &Path, folder: &str) -> io::Result<()> {
        let mut entries = fs::read_dir(root.join(folder))?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            let path = format!("{folder}/{name}");
            if entry.file_type()?.is_dir() {
                self.read_folder(root, &path)?;
            } else if is_input(&path) || path == crate::breaking::lock::PATH {
                let bytes = fs::read(entry.path())
                    .map_err(|error| io::Error::new(error.kind(), format!("{path}: {error}")))?;
                let valid = std::str::from_utf8(&bytes).map_err(|error| error.valid_up_to());
                self.insert(&path, &String::from_utf8_lossy(&bytes));
                if let Err(at) = valid {
                    self.broken.insert(Arc::from(path), at);
                }
            } else if name != "README.md" && !name.starts_with('.') && !name.ends_with('~') {
                self.strays.push(path);
            }
        }
        Ok(())
    }

    /// Adds or replaces a file.
    pub fn insert(&mut self, path: &str, text: &str) {
        self.files.insert(Arc::from(path), Arc::from(text));
    }

    /// Takes a file out.
    pub fn remove(&mut self, path: &str) {
        self.files.remove(path);
    }

    /// Adds or replaces every file of `other`.
    pub fn overlay(&mut self, other: &Self) {
        let files = other.files.iter();
        self.files
            .extend(files.map(|(path, text)| (Arc::clone(path), Arc::clone(text))));
        self.strays.extend_from_slice(&other.strays);
        self.broken.extend(
            other
                .broken
                .iter()
                .map(|(path, at)| (Arc::clone(path), *at)),
        );
    }

    /// Files under `spec/` that are no part of it, by path. What an editor leaves behind is not meant.
    pub fn strays(&self) -> &[String] {
        &self.strays
    }

    /// Files that are not UTF-8, and the first byte that is not.
    pub fn broken(&self) -> impl Iterator<Item = (&Arc<str>, usize)> {
        self.broken.iter().map(|(path, at)| (path, *at))
    }

    /// Text of a file.
    pub fn text(&self, path: &str) -> Option<&Arc<str>> {
        self.files.get(path)
    }

    /// The path, shared.
    pub fn path(&self, path: &str) -> Option<&Arc<str>> {
        self.files.get_key_value(path).map(|(path, _)| path)
    }

    /// Files of the spec itself, by path.
    pub fn inputs(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.files.iter().filter(|(path, _)| is_input(path))
    }

    /// Inputs in a folder that end in `.extension`.
    pub fn inputs_in<'a>(
        &'a self,
        folder: &'a str,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a Arc<str>, &'a Arc<str>)> {
        self.inputs().filter(move |(path, _)| {
            path.strip_prefix(folder)
                .is_some_and(|rest| rest.starts_with('/'))
                && path
                    .rsplit_once('.')
                    .is_some_and(|(_, found)| found == extension)
        })
    }

    /// BLAKE2b-256 over every input's path and text, in lower-case hex.
    pub fn hash(&self) -> String {
        let mut hasher = Blake2b::<U32>::new();
        for (path, text) in self.inputs() {
            for part in [path, text] {
                hasher.update((part.len() as u64).to_be_bytes());
                hasher.update(part.as_bytes());
            }
        }
        hasher
            .finalize()
            .iter()
            .fold(String::with_capacity(64), |mut hex, byte| {
                write!(hex, "{byte:02x}").expect("writing to a String does not fail");
                hex
            })
    }

    /// Text at a place.
    pub fn slice(&self, span: &Span) -> &str {
        self.text(&span.file)
            .and_then(|text| text.get(span.start..span.end))
            .unwrap_or("")
    }

    /// Line of a byte, from 1.
    pub fn line(&self, file: &str, offset: usize) -> usize {
        self.text(file).map_or(0, |text| {
            1 + text.get(..offset).unwrap_or(text).matches('\n').count()
        })
    }

    /// The first place of a word in a file, not as a part of a longer word.
    pub fn find_word(&self, within: &Span, word: &str) -> Option<Span> {
        let text = self.slice(within);
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        text.match_indices(word)
            .find(|(at, _)| {
                !text[..*at].ends_with(is_word) && !text[at + word.len()..].starts_with(is_word)
            })
            .map(|(at, _)| {
                let start = within.start + at;
                Span::new(&within.file, start..start + word.len())
            })
    }

    /// All of a file.
    pub fn whole(&self, path: &str) -> Option<Span> {
        let (path, text) = self.files.get_key_value(path)?;
        Some(Span::new(path, 0..text.len()))
    }
}

fn is_input(path: &str) -> bool {
    !path.starts_with("spec/lock/")
        && path
            .rsplit_once('.')
            .is_some_and(|(_, extension)| matches!(extension, "proto" | "textproto"))
}
