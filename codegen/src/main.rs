//! `cargo run codegen`: writes everything that follows from the spec.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cachekit_codegen::breaking::lock::{self, Lock};
use cachekit_codegen::diagnostic::{Sources, render_all};
use cachekit_codegen::output::Tree;
use cachekit_codegen::skeleton::{self, Kind};
use cachekit_codegen::{compile, emit, load, resolve};
use clap::{Parser, Subcommand};

/// Writes everything that follows from the spec.
///
/// Ends with 0 where all is well, with 1 where the spec or the tree is not, with 2 where it could not find out.
#[derive(Debug, Parser)]
#[command(name = "cargo run codegen", version)]
struct Arguments {
    /// Root of the repository.
    #[arg(long, global = true)]
    root: Option<PathBuf>,
    #[command(subcommand)]
    mode: Option<Mode>,
}

#[derive(Debug, Subcommand)]
enum Mode {
    /// Compare the tree with the spec and write nothing.
    Check,
    /// Show what would be written.
    DryRun,
    /// Begin a spec file.
    New {
        /// Of what.
        kind: Kind,
        /// Its name, in lower case with underscores.
        name: String,
    },
    /// Take the spec as what the next versions must keep.
    Release,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    // `cargo run codegen` hands the word on, since the binary needs no name.
    let mut arguments: Vec<_> = std::env::args_os().collect();
    if arguments.get(1).is_some_and(|first| first == "codegen") {
        arguments.remove(1);
    }
    match run(&Arguments::parse_from(arguments)) {
        Ok(code) => code,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::from(2)
        }
    }
}

fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let root = match &arguments.root {
        Some(root) => root.clone(),
        None => find_root()?,
    };
    let sources = Sources::read(&root)
        .map_err(|error| format!("cannot read the spec under {}: {error}", root.display()))?;
    // A file may be begun while another is not finished.
    let read = match arguments.mode {
        Some(Mode::New { .. }) => resolve,
        _ => compile,
    };
    let spec = match read(&sources) {
        Ok(spec) => spec,
        Err(found) => {
            eprint!("{}", render_all(&found, &sources));
            eprintln!(
                "codegen: {} in the spec; nothing was written",
                count(found.len(), "mistake")
            );
            return Ok(ExitCode::from(1));
        }
    };
    match &arguments.mode {
        Some(Mode::New { kind, name }) => {
            let new = skeleton::make(*kind, name, &spec, &sources)?;
            skeleton::write(&root, &new)?;
            println!(
                "codegen new: {}\nFill in what stands in <angle brackets>, then `cargo run codegen`.",
                new.path
            );
            Ok(ExitCode::SUCCESS)
        }
        Some(Mode::Release) => release(&root, &spec, &sources),
        mode => {
            let tree = Tree::new(&root, emit::emit(&spec)?)?;
            match mode {
                None => write(&tree),
                Some(Mode::Check) => check(&tree),
                _ => dry_run(&tree),
            }
        }
    }
}

fn write(tree: &Tree) -> Result<ExitCode, Failure> {
    let done = tree.write()?;
    for path in &done.written {
        println!("wrote {path}");
    }
    for path in &done.removed {
        println!("removed {path}");
    }
    println!(
        "codegen: {}, {} written, {} removed, {} unchanged",
        count(tree.len(), "output"),
        done.written.len(),
        done.removed.len(),
        done.unchanged
    );
    Ok(ExitCode::SUCCESS)
}

fn check(tree: &Tree) -> Result<ExitCode, Failure> {
    let findings = tree.check()?;
    if let Some(why) = tree.untracked_because()? {
        eprintln!("codegen check: {why}, so what git tracks was not looked at");
    }
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() {
        println!(
            "codegen check: {}, all as the spec says",
            count(tree.len(), "output")
        );
        return Ok(ExitCode::SUCCESS);
    }
    eprintln!(
        "codegen check: {} with {}",
        count(findings.len(), "problem"),
        count(tree.len(), "output")
    );
    Ok(ExitCode::from(1))
}

fn dry_run(tree: &Tree) -> Result<ExitCode, Failure> {
    let diff = tree.diff()?;
    print!("{diff}");
    let files = diff
        .lines()
        .filter(|line| line.starts_with("+++ ") || line.starts_with("Binary files "))
        .count();
    eprintln!(
        "codegen dry-run: {} of {} would change",
        count(files, "file"),
        tree.len()
    );
    Ok(ExitCode::SUCCESS)
}

fn release(
    root: &Path,
    spec: &cachekit_codegen::model::Spec,
    sources: &Sources,
) -> Result<ExitCode, Failure> {
    let loaded = load::load(sources).map_err(|_| "the spec changed while it was read")?;
    let previous = Lock::read(sources).unwrap_or_default();
    let next = Lock::of(spec, &loaded, &previous);
    if next == previous {
        println!("codegen release: {} is up to date", lock::PATH);
        return Ok(ExitCode::SUCCESS);
    }
    let path = root.join(lock::PATH);
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    std::fs::write(path, next.text())?;
    println!(
        "codegen release: wrote {}; what it holds is now a promise",
        lock::PATH
    );
    Ok(ExitCode::SUCCESS)
}

/// The workspace that cargo runs this in, else the first folder upwards that has a spec.
fn find_root() -> Result<PathBuf, Failure> {
    let current = std::env::current_dir()?;
    let package = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let workspace = package.as_deref().and_then(Path::parent);
    workspace
        .into_iter()
        .chain(current.ancestors())
        .find(|folder| folder.join("spec/schema").is_dir())
        .map(Path::to_owned)
        .ok_or_else(|| {
            let current = current.display();
            format!("no spec/schema in or above {current}; name the repository with --root").into()
        })
}

fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}
