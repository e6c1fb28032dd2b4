//! The table's policy, and those that it is compared with, each written from its paper.

mod arc;
mod belady;
mod lists;
mod s3fifo;
mod simple;
mod table;
mod tinylfu;

use lists::Lists;

/// A cache that only knows which keys it has.
trait Policy {
    /// One request; says whether it was a hit. After a miss the key is put in.
    fn request(&mut self, key: u32) -> bool;
}

type Make = fn(capacity: usize, keys: usize) -> Box<dyn Policy>;

/// What they are called, in the order of the table.
const POLICIES: &[(&str, Make)] = &[
    ("cachekit", |capacity, _| {
        Box::new(table::Cachekit::new(capacity))
    }),
    ("LRU", |capacity, keys| {
        Box::new(simple::Lru::new(capacity, keys))
    }),
    ("LFU", |capacity, keys| {
        Box::new(simple::Lfu::new(capacity, keys))
    }),
    ("ARC", |capacity, keys| {
        Box::new(arc::Arc::new(capacity, keys))
    }),
    ("S3-FIFO", |capacity, keys| {
        Box::new(s3fifo::S3Fifo::new(capacity, keys))
    }),
    ("SIEVE", |capacity, keys| {
        Box::new(simple::Sieve::new(capacity, keys))
    }),
    ("W-TinyLFU", |capacity, keys| {
        Box::new(tinylfu::WindowTinyLfu::new(capacity, keys, false))
    }),
    ("adaptive W-TinyLFU", |capacity, keys| {
        Box::new(tinylfu::WindowTinyLfu::new(capacity, keys, true))
    }),
];

/// The name of the bound.
pub(crate) const BOUND: &str = "Belady";
/// The name of ours.
pub(crate) const OURS: &str = "cachekit";

/// The name and the hit ratio of every policy, the bound last.
pub(crate) fn hit_ratios(trace: &[u32], capacity: usize, keys: usize) -> Vec<(&'static str, f64)> {
    let ratio = |hits: usize| hits as f64 / trace.len() as f64;
    let mut all: Vec<_> = POLICIES
        .iter()
        .map(|(name, make)| {
            let mut policy = make(capacity, keys);
            let hits = trace.iter().filter(|key| policy.request(**key)).count();
            (*name, ratio(hits))
        })
        .collect();
    all.push((BOUND, ratio(belady::hits(trace, capacity, keys))));
    all
}

/// Spreads a number over 64 bits.
fn mix(number: u64) -> u64 {
    cachekit_runtime::l1::mix(cachekit_runtime::l1::mix(number).rotate_left(32))
}
