//! Rust, formatted by the pinned rustfmt: what is checked in must pass `cargo fmt --check` like all other code.

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::Problem;

/// A file's formatted text.
pub(super) fn format(root: &Path, path: &str, text: &[u8]) -> Result<Vec<u8>, Problem> {
    let mut command = Command::new("rustfmt");
    command.current_dir(root).args(["--edition", "2024"]);
    if root.join("rustfmt.toml").is_file() {
        command.args(["--config-path", "rustfmt.toml"]);
    }
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| Problem::io("rustfmt, which the pinned toolchain brings", error))?;
    // It reads everything before it writes anything, so neither side waits for the other.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(text));
    let output = child
        .wait_with_output()
        .map_err(|error| Problem::io("rustfmt", error))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(Problem::new(format!(
            "rustfmt refuses {path}:\n{}",
            said.trim()
        )));
    }
    match written {
        Some(Err(error)) => Err(Problem::io("rustfmt", error)),
        _ => Ok(output.stdout),
    }
}
