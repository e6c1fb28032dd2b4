//! The hit ratio of the in-process tier's policy, beside those of others and the bound.
//!
//!     cargo bench -p cachekit-tests --bench hit_ratio -- [--out DIR] [--trace FILE]... [--only-files]
//!
//! Every trace is run at room for 1 % and for 10 % of its distinct keys, from empty. The table is printed as Markdown, and
//! written to `DIR/hit_ratio.csv`. A trace in a file has one key a line, any text: the traces that papers publish are
//! not ours to pass on.

#![expect(
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "ratios of counts far below 2^53, none negative"
)]

mod policies;
mod report;
mod traces;

use std::path::PathBuf;
use std::process::ExitCode;

use report::Row;
use traces::Trace;

/// Room, in percent of the distinct keys.
const PERCENT: [usize; 2] = [1, 10];

#[derive(Default)]
struct Options {
    out: Option<PathBuf>,
    files: Vec<PathBuf>,
    only_files: bool,
}

fn options() -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut path = || args.next().ok_or(format!("{arg} needs a path"));
        match arg.as_str() {
            // What cargo adds.
            "--bench" => {}
            "--out" => options.out = Some(path()?.into()),
            "--trace" => options.files.push(path()?.into()),
            "--only-files" => options.only_files = true,
            _ => {
                return Err(format!(
                    "{arg} is not known; see the head of hit_ratio/main.rs"
                ));
            }
        }
    }
    Ok(options)
}

fn run() -> Result<(), String> {
    let options = options()?;
    let mut all = Vec::new();
    if !options.only_files {
        all = traces::synthetic();
    }
    for path in &options.files {
        let shown = path.display();
        all.push(Trace::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?);
    }
    let mut rows = Vec::new();
    for trace in &all {
        for percent in PERCENT {
            let capacity = (trace.keys * percent / 100).max(1);
            let ratios = policies::hit_ratios(&trace.requests, capacity, trace.keys);
            rows.push(Row {
                trace,
                percent,
                capacity,
                ratios,
            });
        }
    }
    print!("{}", report::markdown(&rows));
    if let Some(out) = options.out {
        let path = out.join("hit_ratio.csv");
        std::fs::create_dir_all(&out)
            .and_then(|()| std::fs::write(&path, report::csv(&rows)))
            .map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    }
    Ok(())
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
