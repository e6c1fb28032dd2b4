//! What left, and how often it had been used: a few bits for each of twice as many entries as there are.
//!
//! A fingerprint finds its bucket by the hash, and buckets are queues: the newest comes first, and what has moved past
//! the end is forgotten. So the place in the bucket tells how long ago an entry left, within chance, and no time is kept; and a
//! fingerprint with a count takes two bytes. A count-min sketch of that size (which TinyLFU has) knows neither who left
//! nor when, and counts one for the other.

use std::fmt;

use super::trend::TURN;

/// Fingerprints in a bucket.
const WAYS: usize = 16;
/// Buckets of the smallest history: with fewer of them chance decides alone.
const LEAST: u64 = 4;
/// How many are remembered, for each entry that is here.
const REACH: u64 = 2;
/// The part of a slot that has the count.
const COUNT: u16 = 15;

/// Twelve bits of fingerprint, never all zero, and four of count.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Bucket([u16; WAYS]);

/// What is known of an entry that left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// How often it had been used.
    pub(super) count: u64,
    /// How many left since, in parts of a turnover: as many as are here.
    pub(super) ago: u64,
}

/// It starts with the first entry that leaves, and grows with the table.
#[derive(Default)]
pub(super) struct History {
    buckets: Vec<Bucket>,
    /// Entries that the table has.
    population: u64,
    /// Places in a bucket that a turnover takes.
    turn: u64,
}

impl History {
    /// From the lowest bits: the highest choose the bucket.
    fn fingerprint(hash: u32) -> u16 {
        ((hash as u16) << COUNT.count_ones()).max(COUNT + 1)
    }

    fn bucket(&mut self, hash: u32) -> &mut [u16; WAYS] {
        let at = (u64::from(hash) * self.buckets.len() as u64) >> 32;
        &mut self.buckets[at as usize].0
    }

    /// Whether nothing has left.
    pub(super) fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Remembers `hash`, for a table that has `population` of `most` entries.
    pub(super) fn put(&mut self, hash: u32, count: u64, population: u64, most: u64) {
        if self.population != population {
            self.follow(population, most);
        }
        let bucket = self.bucket(hash);
        bucket.copy_within(..WAYS - 1, 1);
        bucket[0] = Self::fingerprint(hash) | (count as u16).min(COUNT);
    }

    #[cold]
    fn follow(&mut self, population: u64, most: u64) {
        let ways = WAYS as u64;
        if self.buckets.len() as u64 * ways < REACH * population {
            // Limits in bytes let the population grow: some more, so that this is seldom.
            let wanted = REACH * (population + population / 4).min(most);
            let buckets = wanted.div_ceil(ways).max(LEAST);
            self.buckets = vec![Bucket([0; WAYS]); buckets as usize];
        }
        self.population = population;
        self.turn = (population * ways).div_ceil(self.buckets.len() as u64 * ways);
    }

    /// What is known of `hash`; it is forgotten then.
    pub(super) fn take(&mut self, hash: u32) -> Option<Left> {
        if self.is_empty() {
            return None;
        }
        let turn = self.turn;
        let print = Self::fingerprint(hash);
        let bucket = self.bucket(hash);
        let at = bucket.iter().position(|slot| slot & !COUNT == print)?;
        let count = u64::from(bucket[at] & COUNT);
        bucket.copy_within(at + 1.., at);
        bucket[WAYS - 1] = 0;
        Some(Left {
            count,
            ago: at as u64 * TURN / turn,
        })
    }
}

impl fmt::Debug for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("History")
            .field("buckets", &self.buckets.len())
            .finish_non_exhaustive()
    }
}
