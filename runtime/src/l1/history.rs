//! What left, and how often it had been used: a few bits for each of twice as many entries as there are.
//!
//! A fingerprint finds its bucket by the hash, and buckets are queues: the newest comes first, and what has moved past
//! the end is forgotten. So the place in the bucket tells how long ago an entry left, within chance, and no time is kept; and a
//! fingerprint with a count takes two bytes. A count-min sketch of that size (which TinyLFU has) knows neither who left
//! nor when, and counts one for the other.

use std::fmt;

use super::prefetch;
use super::trend::TURN;

/// Fingerprints in a bucket.
const WAYS: usize = 16;
/// Bits of each.
const SLOT: u32 = 16;
/// Words of a bucket.
const WORDS: usize = WAYS * SLOT as usize / u64::BITS as usize;
/// One in each slot of a word.
const EACH: u64 = u64::MAX / ((1 << SLOT) - 1);
/// Buckets of the smallest history: with fewer of them chance decides alone.
const LEAST: u64 = 4;
/// How many are remembered, for each entry that is here.
const REACH: u64 = 2;
/// The part of a slot that has the count.
const COUNT: u16 = 15;

/// Slots of twelve bits of fingerprint, never all zero, and four of count; the newest is the lowest of the first word. All
/// are shifted and compared at once, a word at a time: this is done at every insertion.
#[derive(Clone, Copy, Default)]
#[repr(align(32))]
struct Bucket([u64; WORDS]);

impl Bucket {
    /// Puts a slot in front; the last falls out.
    fn push(&mut self, slot: u16) {
        let words = &mut self.0;
        for at in (1..WORDS).rev() {
            words[at] = words[at] << SLOT | words[at - 1] >> (u64::BITS - SLOT);
        }
        words[0] = words[0] << SLOT | u64::from(slot);
    }

    /// The place of a fingerprint.
    fn find(&self, print: u16) -> Option<usize> {
        let wanted = u64::from(print) * EACH;
        self.0.iter().enumerate().find_map(|(at, word)| {
            let differs = (word ^ wanted) & !(u64::from(COUNT) * EACH);
            // The highest bit of the first slot that is zero; the subtraction borrows only after that.
            let zeros = differs.wrapping_sub(EACH) & !differs & (EACH << (SLOT - 1));
            let slots = u64::BITS / SLOT;
            (zeros != 0).then(|| at * slots as usize + (zeros.trailing_zeros() / SLOT) as usize)
        })
    }

    /// Takes the slot at `place` out; those behind it move up.
    fn remove(&mut self, place: usize) -> u16 {
        let slots = (u64::BITS / SLOT) as usize;
        let (first, shift) = (place / slots, (place % slots) as u32 * SLOT);
        let words = &mut self.0;
        let slot = (words[first] >> shift) as u16;
        let before = words[first] & ((1 << shift) - 1);
        let behind = words[first] >> shift >> SLOT << shift;
        words[first] = before | behind;
        for at in first..WORDS {
            if at > first {
                words[at] >>= SLOT;
            }
            if let Some(next) = words.get(at + 1) {
                words[at] |= next << (u64::BITS - SLOT);
            }
        }
        slot
    }
}

/// What an entry is remembered by. Hashes of numbers that follow each other are spread too evenly for it: the buckets would
/// forget all of a long loop at once, where by chance some of it is found again.
pub(super) fn shuffled(hash: u32) -> u32 {
    (hash ^ hash >> 15).wrapping_mul(0x2c1b_3c6d)
}

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

    fn bucket(&mut self, hash: u32) -> &mut Bucket {
        let at = self.place(hash);
        &mut self.buckets[at]
    }

    fn place(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.buckets.len() as u64) >> 32) as usize
    }

    /// Has what is known of `hash` come near.
    #[inline]
    pub(super) fn foresee(&self, hash: u32) {
        prefetch(self.buckets.as_ptr().wrapping_add(self.place(hash)));
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
        let slot = Self::fingerprint(hash) | (count as u16).min(COUNT);
        self.bucket(hash).push(slot);
    }

    #[cold]
    fn follow(&mut self, population: u64, most: u64) {
        let ways = WAYS as u64;
        if self.buckets.len() as u64 * ways < REACH * population {
            // Limits in bytes let the population grow: some more, so that this is seldom.
            let wanted = REACH * (population + population / 4).min(most);
            let buckets = wanted.div_ceil(ways).max(LEAST);
            self.buckets = vec![Bucket::default(); buckets as usize];
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
        let place = bucket.find(print)?;
        Some(Left {
            count: u64::from(bucket.remove(place) & COUNT),
            ago: place as u64 * TURN / turn,
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
