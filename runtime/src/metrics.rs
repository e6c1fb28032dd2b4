//! The process's metrics: one set of counters, and its text for Prometheus.
//!
//! Hot paths do not touch shared counters: whoever counts on its own is a [`Source`], asked before each rendering.

use std::sync::{Arc, OnceLock, Weak};

use prometheus::{Registry, TextEncoder};

pub use crate::generated::metrics::Metrics;
use crate::shim::{self, Mutex};

/// Somebody who counts on its own.
pub trait Source: Send + Sync {
    /// Adds to `metrics` what was counted since the last time. Calls may come from several threads at once. Who goes away
    /// has to add its rest itself: only living sources are asked.
    fn collect(&self, metrics: &Metrics);
}

static SOURCES: Mutex<Vec<Weak<dyn Source>>> = Mutex::new(Vec::new());

struct Process {
    metrics: Metrics,
    registry: Registry,
}

fn process() -> &'static Process {
    static PROCESS: OnceLock<Process> = OnceLock::new();
    // Under the gate, since a fork while another thread initialises would leave the child waiting for it forever.
    PROCESS.get().unwrap_or_else(|| {
        shim::critical(|| {
            PROCESS.get_or_init(|| {
                let metrics = Metrics::new();
                let registry = Registry::new();
                metrics
                    .register(&registry)
                    .expect("names are unique: a lint of the spec sees to it");
                Process { metrics, registry }
            })
        })
    })
}

/// The metrics of this process. The first call must not come from inside a critical section.
pub fn global() -> &'static Metrics {
    &process().metrics
}

/// Has `source` asked before each rendering, for as long as it lives.
pub fn register(source: Weak<dyn Source>) {
    let gone = SOURCES.with(|sources| {
        let mut gone = Vec::new();
        // Not each time: a process may have any number of them.
        if sources.len() == sources.capacity() {
            gone.extend(sources.extract_if(.., |known| known.strong_count() == 0));
            sources.reserve(sources.len().max(4));
        }
        sources.push(source);
        gone
    });
    drop(gone);
}

/// Has every living source add what it counted. [`render`] does it by itself.
pub fn collect() {
    let living: Vec<Arc<dyn Source>> =
        SOURCES.with(|sources| sources.iter().filter_map(Weak::upgrade).collect());
    for source in living {
        source.collect(global());
    }
}

/// Every metric in Prometheus' text format.
///
/// # Panics
///
/// If a metric has no series, which the generator excludes.
pub fn render() -> String {
    collect();
    let process = process();
    shim::critical(|| {
        TextEncoder::new()
            .encode_to_string(&process.registry.gather())
            .expect("every metric has a series from the start")
    })
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::generated::metrics::{LookupOutcome, Tier};

    struct Counting(AtomicU64);

    impl Source for Counting {
        fn collect(&self, metrics: &Metrics) {
            let counted = self.0.swap(0, Ordering::Relaxed);
            metrics
                .lookups
                .inc_by(Tier::L1, LookupOutcome::Hit, counted);
        }
    }

    fn hits(text: &str) -> u64 {
        let line = r#"cachekit_lookups_total{outcome="hit",tier="l1"} "#;
        let value = text.lines().find_map(|known| known.strip_prefix(line));
        value
            .expect("the series is there before it counts")
            .parse()
            .expect("a whole number")
    }

    #[test]
    fn sources_are_folded_in_before_each_rendering_while_they_live() {
        let before = hits(&render());
        let source = Arc::new(Counting(AtomicU64::new(3)));
        register(Arc::downgrade(&source) as Weak<dyn Source>);
        assert_eq!(hits(&render()), before + 3);
        assert_eq!(hits(&render()), before + 3, "nothing is counted twice");
        source.0.store(4, Ordering::Relaxed);
        drop(source);
        assert_eq!(hits(&render()), before + 3);
    }

    #[test]
    fn every_metric_is_in_the_text_from_the_start() {
        let text = render();
        for name in [
            "cachekit_lookups_total",
            "cachekit_loads_total",
            "cachekit_load_duration_seconds",
            "cachekit_remote_operations_total",
            "cachekit_remote_operation_duration_seconds",
            "cachekit_l1_entries",
            "cachekit_l1_bytes",
        ] {
            assert!(
                text.contains(&format!("# TYPE {name} ")),
                "{name} in\n{text}"
            );
        }
    }
}
