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
#[derive(Debug, Default)]
pub(super) struct Wheel {
    buckets: BTreeMap<u32, Vec<u32>>,
    /// When the ticks began to count, in nanoseconds.
    origin: Option<u64>,
    /// How many slots the buckets have, one that is in several counted for each.
    filed: usize,
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
        let bucket = self.buckets.entry(tick).or_default();
        if bucket.len() == bucket.capacity() {
            bucket.reserve_exact((bucket.len() / 4).max(4));
        }
        bucket.push(slot);
        self.filed += 1;
        tick
    }

    /// Takes out a slot that is to be looked at, with its tick.
    pub(super) fn next(&mut self, now: Instant) -> Option<(u32, u32)> {
        let passed = self.passed(now);
        let mut bucket = self.buckets.first_entry()?;
        let tick = *bucket.key();
        if u64::from(tick) > passed {
            return None;
        }
        let slot = bucket.get_mut().pop();
        if bucket.get().is_empty() {
            bucket.remove();
        }
        self.filed -= 1;
        slot.map(|slot| (slot, tick))
    }

    /// When there will be something to look at.
    pub(super) fn due(&self) -> Option<Instant> {
        let (tick, _) = self.buckets.first_key_value()?;
        let after = u64::from(*tick) << TICK_BITS;
        Some(Instant::from_nanos(self.origin?.saturating_add(after)))
    }

    /// How many slots its buckets have.
    pub(super) fn filed(&self) -> usize {
        self.filed
    }
}
