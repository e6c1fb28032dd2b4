//! The figures as a table to read and one to compute with.

use std::fmt::Write;

use crate::policies::{BOUND, OURS};
use crate::traces::Trace;

/// One trace at one size.
pub(crate) struct Row<'a> {
    pub(crate) trace: &'a Trace,
    pub(crate) percent: usize,
    pub(crate) capacity: usize,
    /// By policy.
    pub(crate) ratios: Vec<(&'static str, f64)>,
}

impl Row<'_> {
    fn of(&self, policy: &str) -> f64 {
        let found = self.ratios.iter().find(|(name, _)| *name == policy);
        found.map_or(0.0, |(_, ratio)| *ratio)
    }

    /// How far ours is above LRU, and above the best of the others, in points.
    fn margins(&self) -> (f64, f64) {
        let others = self
            .ratios
            .iter()
            .filter(|(name, _)| ![OURS, BOUND].contains(name));
        let best = others.map(|(_, ratio)| *ratio).fold(0.0, f64::max);
        let ours = self.of(OURS);
        (100.0 * (ours - self.of("LRU")), 100.0 * (ours - best))
    }
}

/// A Markdown table, hit ratios in percent, with the means of all rows last.
pub(crate) fn markdown(rows: &[Row<'_>]) -> String {
    let mut text = String::new();
    let Some(first) = rows.first() else {
        return text;
    };
    let names: Vec<_> = first.ratios.iter().map(|(name, _)| *name).collect();
    let _ = writeln!(
        text,
        "| trace | room | {} | to LRU | to the best peer |",
        names.join(" | ")
    );
    let _ = writeln!(text, "|---|---|{}", "---|".repeat(names.len() + 2));
    for row in rows {
        let ratios: Vec<_> = row
            .ratios
            .iter()
            .map(|(_, ratio)| format!("{:.1}", 100.0 * ratio))
            .collect();
        let (lru, best) = row.margins();
        let (name, percent) = (&row.trace.name, row.percent);
        let _ = writeln!(
            text,
            "| {name} | {percent} % | {} | {lru:+.1} | {best:+.1} |",
            ratios.join(" | ")
        );
    }
    let mean = |name| rows.iter().map(|row| row.of(name)).sum::<f64>() / rows.len() as f64;
    let means: Vec<_> = names
        .iter()
        .map(|name| format!("{:.1}", 100.0 * mean(name)))
        .collect();
    let worst = |margin: fn((f64, f64)) -> f64| {
        rows.iter()
            .map(|row| margin(row.margins()))
            .fold(f64::INFINITY, f64::min)
    };
    let _ = writeln!(
        text,
        "| mean; worst | | {} | {:+.1} | {:+.1} |",
        means.join(" | "),
        worst(|(lru, _)| lru),
        worst(|(_, best)| best)
    );
    text
}

/// A line for each trace, size and policy.
pub(crate) fn csv(rows: &[Row<'_>]) -> String {
    let mut text = "trace,source,capacity_percent,capacity,policy,hit_ratio\n".to_owned();
    for row in rows {
        for (policy, ratio) in &row.ratios {
            let _ = writeln!(
                text,
                "{},{},{},{},{policy},{ratio:.6}",
                row.trace.name, row.trace.source, row.percent, row.capacity
            );
        }
    }
    text
}
