//! S3-FIFO: which entry leaves.
//!
//! Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1. New entries
//! queue up in a small queue of a tenth of the room; those that were used twice meanwhile move on to the main queue,
//! the others leave and are remembered by a fingerprint, and a remembered one that returns enters the main queue at
//! once. So a scan passes through the small queue and leaves the main one alone, and a hit only bumps two bits. W-TinyLFU
//! is as good at it and costs more at every hit.
//!
//! Three differences from the paper: room is counted in entries and in bytes, and whichever is scarcer decides; expired
//! entries get no second chance; and one eviction gives at most [`SECOND_CHANCES`] of them, so that no insertion walks a
//! whole queue in which everything was used.

use super::table::{Entry, Limits, NIL};

/// The small queue's part of the room: one in this many.
const SMALL_PART: u64 = 10;

/// Uses in the small queue that move an entry on to the main queue.
const PROMOTED_AT: u64 = 2;

/// Most entries that one eviction lets stay before it takes the next one regardless.
const SECOND_CHANCES: u32 = 128;

/// One of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// New entries.
    Small,
    /// Entries that proved themselves.
    Main,
}

/// A doubly linked list through the entries' links: `head` is the newest.
#[derive(Debug)]
struct List {
    head: u32,
    tail: u32,
    entries: u64,
    bytes: u64,
}

impl List {
    const EMPTY: Self = Self {
        head: NIL,
        tail: NIL,
        entries: 0,
        bytes: 0,
    };
}

/// The entry to evict.
pub(super) struct Pick {
    /// Its slot.
    pub(super) slot: u32,
    /// Whether the ghost is to remember it.
    pub(super) remember: bool,
}

/// Both queues.
#[derive(Debug)]
pub(super) struct Queues {
    small: List,
    main: List,
    small_entries: u64,
    small_bytes: u64,
}

impl Queues {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            small: List::EMPTY,
            main: List::EMPTY,
            small_entries: limits.max_entries.div_ceil(SMALL_PART),
            small_bytes: limits.max_bytes.div_ceil(SMALL_PART),
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.small.bytes + self.main.bytes
    }

    fn list(&mut self, queue: Queue) -> &mut List {
        match queue {
            Queue::Small => &mut self.small,
            Queue::Main => &mut self.main,
        }
    }

    /// Puts an entry at the head of the queue that its meta names.
    pub(super) fn push<K, V>(&mut self, entries: &mut [Entry<K, V>], slot: u32) {
        let entry = &mut entries[slot as usize];
        let list = self.list(entry.meta.queue());
        list.entries += 1;
        list.bytes += entry.meta.weight();
        entry.newer = NIL;
        entry.older = list.head;
        let head = std::mem::replace(&mut list.head, slot);
        if head == NIL {
            list.tail = slot;
        } else {
            entries[head as usize].newer = slot;
        }
    }

    /// Takes an entry out of its queue.
    pub(super) fn unlink<K, V>(&mut self, entries: &mut [Entry<K, V>], slot: u32) {
        let Entry {
            meta, newer, older, ..
        } = entries[slot as usize];
        let list = self.list(meta.queue());
        list.entries -= 1;
        list.bytes -= meta.weight();
        match newer {
            NIL => list.head = older,
            newer => entries[newer as usize].older = older,
        }
        match older {
            NIL => list.tail = newer,
            older => entries[older as usize].newer = newer,
        }
    }

    /// Accounts for a new weight of an entry that stays where it is.
    pub(super) fn reweigh(&mut self, meta: super::table::Meta, weight: u64) {
        let list = self.list(meta.queue());
        list.bytes = list.bytes - meta.weight() + weight;
    }

    /// The entry that has to leave next, never `keep`; it is still linked. `None` if there is no other than `keep`.
    pub(super) fn pick<K, V>(
        &mut self,
        entries: &mut [Entry<K, V>],
        keep: u32,
        expired: impl Fn(&Entry<K, V>) -> bool,
    ) -> Option<Pick> {
        let mut chances = SECOND_CHANCES;
        loop {
            let kept = entries.get(keep as usize).map(|entry| entry.meta.queue());
            let small = self.small.entries - u64::from(kept == Some(Queue::Small));
            let main = self.main.entries - u64::from(kept == Some(Queue::Main));
            let full =
                self.small.entries >= self.small_entries || self.small.bytes >= self.small_bytes;
            let queue = match (small, main) {
                (0, 0) => return None,
                (1.., 0) => Queue::Small,
                (1.., _) if full => Queue::Small,
                _ => Queue::Main,
            };
            let tail = self.list(queue).tail;
            let slot = if tail == keep {
                entries[tail as usize].newer
            } else {
                tail
            };
            let entry = &mut entries[slot as usize];
            let stays = match queue {
                _ if chances == 0 || expired(entry) => false,
                Queue::Small => entry.meta.uses() >= PROMOTED_AT,
                Queue::Main => entry.meta.uses() > 0,
            };
            if !stays {
                let remember = queue == Queue::Small && !expired(entry);
                return Some(Pick { slot, remember });
            }
            chances = chances.saturating_sub(1);
            self.unlink(entries, slot);
            let meta = &mut entries[slot as usize].meta;
            match queue {
                Queue::Small => meta.promote(),
                Queue::Main => meta.forget_one_use(),
            }
            self.push(entries, slot);
        }
    }
}

/// Fingerprints of entries that left the small queue, each for as long as as many more leave as the table has entries.
///
/// A table of buckets in which age decides, as the authors' own implementation has it, since a queue would need an index
/// beside it. It starts with the first eviction and follows the table's size.
#[derive(Debug, Default)]
pub(super) struct Ghost {
    /// A fingerprint that is never zero and the time it came, in buckets of [`Ghost::WAYS`].
    slots: Vec<(u32, u32)>,
    /// How many came so far.
    time: u32,
    /// For how many more a fingerprint stays.
    reach: u32,
}

impl Ghost {
    const WAYS: usize = 4;

    fn bucket(&mut self, hash: u64) -> &mut [(u32, u32)] {
        let buckets = self.slots.len() / Self::WAYS;
        let start = (hash as usize & (buckets - 1)) * Self::WAYS;
        &mut self.slots[start..start + Self::WAYS]
    }

    /// From the bits that do not choose the bucket.
    fn fingerprint(hash: u64) -> u32 {
        (hash >> 32) as u32 | 1
    }

    /// Remembers `hash`, for a table that holds `population` entries.
    pub(super) fn put(&mut self, hash: u64, population: usize) {
        self.reach = population as u32;
        if self.slots.len() < population {
            let slots = (population * 5 / 4).next_power_of_two().max(Self::WAYS);
            self.slots = vec![(0, 0); slots];
        }
        self.time = self.time.wrapping_add(1);
        let time = self.time;
        let place = self.bucket(hash).iter_mut().max_by_key(|(print, at)| {
            if *print == 0 {
                u32::MAX
            } else {
                time.wrapping_sub(*at)
            }
        });
        if let Some(place) = place {
            *place = (Self::fingerprint(hash), time);
        }
    }

    /// Whether `hash` is remembered; it is forgotten then.
    pub(super) fn take(&mut self, hash: u64) -> bool {
        if self.slots.is_empty() {
            return false;
        }
        let (time, reach) = (self.time, self.reach);
        let print = Self::fingerprint(hash);
        let found = self
            .bucket(hash)
            .iter_mut()
            .find(|(known, at)| *known == print && time.wrapping_sub(*at) < reach);
        found.map(|place| *place = (0, 0)).is_some()
    }
}
