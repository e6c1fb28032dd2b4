//! Whether the tree is what the spec says.

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::io::Read as _;

use super::{MARK, Problem, Tree, git};

/// Something in the tree that is not what the spec says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finding {
    /// An output that is not there.
    Missing(String),
    /// An output that differs, and git has it as it should be.
    Edited(String),
    /// An output that differs in nothing but how its lines end.
    LineEnds(String),
    /// An output that differs: the spec or the generator changed since.
    Stale {
        /// The file.
        path: String,
        /// The first line that differs, from 1.
        line: usize,
    },
    /// A generated file, or one in a generated folder, that is no output.
    Orphan {
        /// The file.
        path: String,
        /// Whether its header says that it is generated.
        marked: bool,
    },
    /// An output that git does not track.
    Untracked(String),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(path) => {
                write!(f, "missing: {path}\n  help: run `cargo run codegen`")
            }
            Self::Edited(path) => write!(
                f,
                "edited by hand: {path}\n  help: change the spec or a template, then run `cargo run codegen`"
            ),
            Self::LineEnds(path) => write!(
                f,
                "line ends: {path} has carriage returns\n  help: run `cargo run codegen`, and let the editor keep `\\n`"
            ),
            Self::Stale { path, line } => write!(
                f,
                "stale: {path}:{line} is not what the spec says\n  help: run `cargo run codegen` and commit"
            ),
            Self::Orphan { path, marked: true } => write!(
                f,
                "orphan: {path} is generated, and nothing in the spec asks for it\n  help: `cargo run codegen` removes it"
            ),
            Self::Orphan {
                path,
                marked: false,
            } => write!(
                f,
                "orphan: {path} stands in a generated folder and is not generated\n  help: move it elsewhere, or delete it"
            ),
            Self::Untracked(path) => {
                write!(f, "untracked: {path}\n  help: `git add {path}`")
            }
        }
    }
}

/// A file that looks generated and is no output.
pub(super) struct Orphan {
    pub(super) path: String,
    pub(super) marked: bool,
}

impl Tree {
    /// Everything in the tree that is not what the spec says.
    pub fn check(&self) -> Result<Vec<Finding>, Problem> {
        let mut findings = Vec::new();
        let tracked = git::tracked(&self.root)?;
        for (path, bytes) in &self.files {
            let found = self.on_disk(path)?;
            let untracked = tracked
                .as_ref()
                .is_some_and(|tracked| !tracked.contains(path));
            if found.is_some() && untracked {
                findings.push(Finding::Untracked(path.clone()));
            }
            match found {
                None => findings.push(Finding::Missing(path.clone())),
                Some(found) if found != *bytes => {
                    let staged = git::staged(&self.root, path)?;
                    let plain: Vec<u8> = found
                        .iter()
                        .copied()
                        .filter(|byte| *byte != b'\r')
                        .collect();
                    findings.push(if plain == *bytes {
                        Finding::LineEnds(path.clone())
                    } else if staged.as_ref() == Some(bytes) {
                        Finding::Edited(path.clone())
                    } else {
                        Finding::Stale {
                            path: path.clone(),
                            line: first_difference(&found, bytes),
                        }
                    });
                }
                Some(_) => {}
            }
        }
        for Orphan { path, marked } in self.orphans()? {
            findings.push(Finding::Orphan { path, marked });
        }
        findings.sort();
        Ok(findings)
    }

    /// Files that look generated and are no output.
    pub(super) fn orphans(&self) -> Result<Vec<Orphan>, Problem> {
        let folders = self.generated_folders()?;
        let mut orphans = Vec::new();
        for path in self.candidates(&folders)? {
            if self.files.contains_key(&path) || !may_be_generated(&path) {
                continue;
            }
            let marked = self.is_marked(&path)?;
            if marked || folders.iter().any(|folder| path.starts_with(folder)) {
                orphans.push(Orphan { path, marked });
            }
        }
        Ok(orphans)
    }

    /// Folders that `.gitattributes` calls generated as a whole, with a `/` behind.
    fn generated_folders(&self) -> Result<Vec<String>, Problem> {
        let attributes = self.on_disk(".gitattributes")?.unwrap_or_default();
        Ok(String::from_utf8_lossy(&attributes)
            .lines()
            .filter_map(|line| {
                let (pattern, attributes) = line.split_once(' ')?;
                let generated = attributes
                    .split(' ')
                    .any(|name| name == "linguist-generated");
                let folder = pattern.strip_suffix("**")?;
                generated.then(|| folder.to_owned())
            })
            .collect())
    }

    /// Files that may be orphans: what git would show, else what the generated folders hold.
    fn candidates(&self, folders: &[String]) -> Result<BTreeSet<String>, Problem> {
        if let Some(visible) = git::visible(&self.root)? {
            return Ok(visible);
        }
        let mut found = BTreeSet::new();
        for folder in folders {
            self.walk(folder.trim_end_matches('/'), &mut found)?;
        }
        Ok(found)
    }

    fn walk(&self, folder: &str, found: &mut BTreeSet<String>) -> Result<(), Problem> {
        let Ok(entries) = fs::read_dir(self.root.join(folder)) else {
            return Ok(());
        };
        for entry in entries {
            let entry = entry.map_err(|error| Problem::io(folder, error))?;
            let path = format!("{folder}/{}", entry.file_name().to_string_lossy());
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                self.walk(&path, found)?;
            } else {
                found.insert(path);
            }
        }
        Ok(())
    }

    /// Whether a file's head says that it is generated.
    fn is_marked(&self, path: &str) -> Result<bool, Problem> {
        let mut head = Vec::with_capacity(512);
        let Ok(file) = File::open(self.root.join(path)) else {
            return Ok(false);
        };
        file.take(512)
            .read_to_end(&mut head)
            .map_err(|error| Problem::io(path, error))?;
        Ok(String::from_utf8_lossy(&head).contains(MARK))
    }
}

/// The generator's own sources hold its mark, the lock is `release`'s to write, and what begins with a dot in a folder
/// is another run's, on its way to its place.
fn may_be_generated(path: &str) -> bool {
    !path.starts_with("codegen/") && !path.contains("/.") && path != crate::breaking::lock::PATH
}

/// First line, from 1, in which two files differ.
fn first_difference(found: &[u8], wanted: &[u8]) -> usize {
    let same = found.iter().zip(wanted).take_while(|(a, b)| a == b).count();
    1 + String::from_utf8_lossy(&found[..same])
        .matches('\n')
        .count()
}
