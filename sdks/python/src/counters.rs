//! What one function counts, exactly, and how it reaches the process's metrics.
//!
//! `cache_clear()` starts the function's own figures anew, as `functools` does; the metrics only ever grow. So a counter
//! remembers where its owner began and what was reported.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use cachekit_runtime::cache::{Reported, Usage};
use cachekit_runtime::generated::config::Monitoring;
use cachekit_runtime::generated::metrics::{LoadOutcome, LookupOutcome, Metrics, Tier};
use cachekit_runtime::metrics::{self, Source};

use crate::local::Local;

/// One number.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    total: Total,
    began: AtomicU64,
    reported: AtomicU64,
}

/// What was counted so far. The interpreter's lock is held while one counts, so nobody else does between reading and writing.
#[cfg(not(Py_GIL_DISABLED))]
#[derive(Debug, Default)]
struct Total(AtomicU64);

#[cfg(not(Py_GIL_DISABLED))]
impl Total {
    #[inline(always)]
    fn add_one(&self) {
        self.0.store(self.get() + 1, Ordering::Relaxed);
    }

    #[inline(always)]
    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// What was counted so far, in parts: threads that count at once do so in different ones.
#[cfg(Py_GIL_DISABLED)]
#[derive(Debug, Default)]
struct Total([Part; 16]);

#[cfg(Py_GIL_DISABLED)]
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part(AtomicU64);

#[cfg(Py_GIL_DISABLED)]
impl Total {
    fn add_one(&self) {
        let Self(parts) = self;
        let thread = cachekit_runtime::driver::current_thread() as usize;
        parts[thread % parts.len()]
            .0
            .fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0
            .iter()
            .map(|part| part.0.load(Ordering::Relaxed))
            .sum()
    }
}

impl Counter {
    /// Counts one.
    #[inline(always)]
    pub(crate) fn add_one(&self) {
        self.total.add_one();
    }

    /// What was counted since the owner began.
    pub(crate) fn value(&self) -> u64 {
        self.total
            .get()
            .saturating_sub(self.began.load(Ordering::Relaxed))
    }

    fn restart(&self) {
        self.began.store(self.total.get(), Ordering::Relaxed);
    }

    fn unreported(&self) -> u64 {
        let total = self.total.get();
        total.saturating_sub(self.reported.swap(total, Ordering::Relaxed))
    }
}

/// The numbers of one function.
pub(crate) struct Counters {
    /// Hits that the runtime never heard of.
    pub(crate) l1_hits: Counter,
    /// Hits that it found and counted itself, when somebody else was faster.
    pub(crate) late_hits: Counter,
    pub(crate) l2_hits: Counter,
    pub(crate) shared: Counter,
    /// Loads that the runtime never heard of, and how many of them succeeded.
    pub(crate) alone: Counter,
    pub(crate) alone_ok: Counter,
    /// Other loads that a call began because nothing was cached.
    pub(crate) misses: Counter,
    pub(crate) loads: Counter,
    pub(crate) load_errors: Counter,
    pub(crate) remote_errors: Counter,
    evictions_before: AtomicU64,
    reported: Reported,
    local: Arc<Local>,
    monitoring: Monitoring,
}

impl Counters {
    pub(crate) fn new(local: &Arc<Local>, monitoring: Monitoring) -> Arc<Self> {
        let counters = Arc::new(Self {
            l1_hits: Counter::default(),
            late_hits: Counter::default(),
            l2_hits: Counter::default(),
            shared: Counter::default(),
            alone: Counter::default(),
            alone_ok: Counter::default(),
            misses: Counter::default(),
            loads: Counter::default(),
            load_errors: Counter::default(),
            remote_errors: Counter::default(),
            evictions_before: AtomicU64::new(0),
            reported: Reported::default(),
            local: Arc::clone(local),
            monitoring,
        });
        let weak: Weak<Self> = Arc::downgrade(&counters);
        metrics::register(weak);
        counters
    }

    /// Starts the function's own figures anew.
    pub(crate) fn restart(&self) {
        for counter in [
            &self.l1_hits,
            &self.late_hits,
            &self.l2_hits,
            &self.shared,
            &self.alone,
            &self.alone_ok,
            &self.misses,
            &self.loads,
            &self.load_errors,
            &self.remote_errors,
        ] {
            counter.restart();
        }
        self.evictions_before
            .store(self.local.figures().2, Ordering::Relaxed);
    }

    /// Entries that left for others since the owner began.
    pub(crate) fn evictions(&self) -> u64 {
        self.local
            .figures()
            .2
            .saturating_sub(self.evictions_before.load(Ordering::Relaxed))
    }
}

impl Source for Counters {
    fn collect(&self, metrics: &Metrics) {
        let hits = self.l1_hits.unreported();
        let (misses, loaded) = (self.alone.unreported(), self.alone_ok.unreported());
        if self.monitoring != Monitoring::Off {
            metrics.lookups.inc_by(Tier::L1, LookupOutcome::Hit, hits);
            metrics
                .lookups
                .inc_by(Tier::L1, LookupOutcome::Miss, misses);
            metrics.loads.inc_by(LoadOutcome::Ok, loaded);
            let (entries, bytes, _) = self.local.figures();
            self.reported.report(metrics, Usage { entries, bytes });
        }
    }
}

impl Drop for Counters {
    fn drop(&mut self) {
        self.collect(metrics::global());
        self.reported.report(metrics::global(), Usage::default());
    }
}
