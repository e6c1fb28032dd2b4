//! What git knows about the tree.
//!
//! Through its command, which reads the user's ignore rules as they are. Outside a work tree, as in an unpacked source
//! distribution, there is nothing to know.

use std::collections::BTreeSet;
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
    Ok(output.status.success().then_some(output.stdout))
}

fn list(root: &Path, arguments: &[&str]) -> Result<Option<BTreeSet<String>>, Problem> {
    if !run(root, &["rev-parse", "--is-inside-work-tree"])?
        .status
        .success()
    {
        return Ok(None);
    }
    let output = run(root, arguments)?;
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

fn run(root: &Path, arguments: &[&str]) -> Result<Output, Problem> {
    Command::new("git")
        .arg("-C")
        .arg(root)
        .args(arguments)
        .output()
        .map_err(|error| Problem::io("git", error))
}
