//! What git knows about the tree.
//!
//! Through its command, which reads the user's ignore rules as they are. Outside a work tree, as in an unpacked source
//! distribution, or without git, there is nothing to know.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output};

use super::Problem;

/// Every file in the index, from the root.
pub(super) fn tracked(root: &Path) -> Result<Option<BTreeSet<String>>, Problem> {
    list(root, &["ls-files", "-z"])
}

/// Every file in the index or the tree that is not ignored.
pub(super) fn visible(root: &Path) -> Result<Option<BTreeSet<String>>, Problem> {
    let listed = list(
        root,
        &[
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ],
    )?;
    // The index may still have what was deleted.
    Ok(listed.map(|files| {
        files
            .into_iter()
            .filter(|path| root.join(path).is_file())
            .collect()
    }))
}

/// What the index holds of a file.
pub(super) fn staged(root: &Path, path: &str) -> Result<Option<Vec<u8>>, Problem> {
    let output = run(root, &["show", &format!(":./{path}")])?;
    Ok(output
        .filter(|output| output.status.success())
        .map(|output| output.stdout))
}

/// Why git knows nothing of the tree; nothing where it does.
pub(super) fn absent(root: &Path) -> Result<Option<String>, Problem> {
    let Some(output) = run(root, &["rev-parse", "--is-inside-work-tree"])? else {
        return Ok(Some("git is not installed".to_owned()));
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or_default();
    Ok((!output.status.success()).then(|| said.trim_start_matches("fatal: ").to_owned()))
}

fn list(root: &Path, arguments: &[&str]) -> Result<Option<BTreeSet<String>>, Problem> {
    if absent(root)?.is_some() {
        return Ok(None);
    }
    let Some(output) = run(root, arguments)? else {
        return Ok(None);
    };
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Problem::new(format!(
            "git cannot list the files: {}",
            said.trim()
        )));
    }
    Ok(Some(
        output
            .stdout
            .split(|byte| *byte == 0)
            .filter(|path| !path.is_empty())
            .map(|path| String::from_utf8_lossy(path).into_owned())
            .collect(),
    ))
}

/// What git says; nothing where it is not installed.
fn run(root: &Path, arguments: &[&str]) -> Result<Option<Output>, Problem> {
    let output = Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output();
    match output {
        Ok(output) => Ok(Some(output)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Problem::io("git", error)),
    }
}
