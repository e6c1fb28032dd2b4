//! When to look for entries that have expired, so that they leave although nobody asks for them.
//!
//! Slots are filed in buckets by the time at which they will have expired, rounded up by no more than a 256th of how far off that
//! is: four bytes for an entry, and nothing for one that never expires. So some thousand buckets reach from milliseconds to
//! years, each is looked at once, and nothing cascades, as it does in a hierarchical wheel (Varghese and Lauck, "Hashed and
//! hierarchical timing wheels", SOSP 1987), which is exact for that.
//!
//! An entry that is renewed, replaced or gone is not searched for: its slot knows the bucket in which it is to be
//! found, and when that is due the slot is looked at and filed again if need be.

use std::collections::BTreeMap;

use crate::clock::Instant;

/// Nanoseconds of a tick, as a power of two: 67 ms. In 32 bits that is nine years.
const TICK_BITS: u32 = 26;

/// How many bits of the time until an entry expires are told, so that the rest is at most a 256th.
const PARTS: u32 = 9;

/// In no bucket, and the tick that is never reached.
pub(super) const UNFILED: u32 = u32::MAX;

/// Slots by tick.
#[derive(Debug)]
pub(super) struct Wheel {
    buckets: BTreeMap<u32, Vec<u32>>,
    /// The bucket that was filed to last stands apart: most entries go where the one before went.
    open: Vec<u32>,
    /// Its tick.
    open_at: u32,
    /// The first tick that has a bucket.
    first: u32,
    /// When the ticks began to count, in nanoseconds.
    origin: Option<u64>,
    /// How many slots the buckets have, one that is in several counted for each.
    filed: usize,
}

impl Default for Wheel {
    fn default() -> Self {
        Self {
            buckets: BTreeMap::new(),
            open: Vec::new(),
            open_at: UNFILED,
            first: UNFILED,
            origin: None,
            filed: 0,
        }
    }
}

impl Wheel {
    /// The tick that has passed by `now`.
    fn passed(&self, now: Instant) -> u64 {
        now.as_nanos()
            .saturating_sub(self.origin.unwrap_or_default())
            >> TICK_BITS
    }

    /// Files `slot`, which is to be found at `filed` now; the tick at which it is to be found after that.
    pub(super) fn file(&mut self, slot: u32, filed: u32, expires: Instant, now: Instant) -> u32 {
        let origin = *self.origin.get_or_insert(now.as_nanos());
        let after = expires.as_nanos().saturating_sub(origin);
        // No earlier than it expires.
        let exact = (after >> TICK_BITS) + 1;
        let distance = exact.saturating_sub(self.passed(now));
        let coarse = (u64::BITS - distance.leading_zeros()).saturating_sub(PARTS);
        let tick = exact.next_multiple_of(1 << coarse);
        // Beyond the years that ticks can tell it has to be asked for, or to leave for others.
        let tick = u32::try_from(tick).unwrap_or(UNFILED);
        if filed <= tick {
            return filed;
        }
        if tick != self.open_at {
            self.open(tick);
        }
        if self.open.len() == self.open.capacity() {
            self.open.reserve_exact((self.open.len() / 4).max(4));
        }
        self.open.push(slot);
        self.filed += 1;
        tick
    }

    #[cold]
    fn open(&mut self, tick: u32) {
        let bucket = self.buckets.remove(&tick).unwrap_or_default();
        let before = std::mem::replace(&mut self.open, bucket);
        if !before.is_empty() {
            self.buckets.insert(self.open_at, before);
        }
        self.open_at = tick;
        self.first = self.first.min(tick);
    }

    /// Whether there is something to look at.
    #[inline]
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.first != UNFILED && u64::from(self.first) <= self.passed(now)
    }

    /// Takes out a slot that is to be looked at, with its tick.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u32, u32)> {
        if !self.is_due(now) {
            return None;
        }
        let tick = self.first;
        let (slot, is_empty) = if tick == self.open_at {
            (self.open.pop(), self.open.is_empty())
        } else {
            let mut bucket = self.buckets.first_entry()?;
            let slot = bucket.get_mut().pop();
            let is_empty = bucket.get().is_empty();
            if is_empty {
                bucket.remove();
            }
            (slot, is_empty)
        };
        if is_empty {
            if tick == self.open_at {
                self.open = Vec::new();
                self.open_at = UNFILED;
            }
            let next = self.buckets.first_key_value();
            self.first = next.map_or(UNFILED, |(tick, _)| *tick).min(self.open_at);
        }
        self.filed -= 1;
        slot.map(|slot| (slot, tick))
    }

    /// When there will be something to look at.
    pub(super) fn due(&self) -> Option<Instant> {
        if self.first == UNFILED {
            return None;
        }
        let after = u64::from(self.first) << TICK_BITS;
        Some(Instant::from_nanos(self.origin?.saturating_add(after)))
    }

    /// How many slots its buckets have.
    pub(super) fn filed(&self) -> usize {
        self.filed
    }
}
