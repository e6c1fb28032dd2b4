//! Which entry leaves.
//!
//! New entries queue up in a window, a sixteenth of the room; what was used stays in the main queue, the rest of it. An entry
//! at the window's end has to win its place from what is at the main queue's end:
//!
//! - While the main queue has room there is nothing to win.
//! - If it was used at least twice in the window, or left not long ago and came back, it may try several entries: one that was
//!   used since it was last looked at goes to the front and has one use less, the first without a use is replaced. The tries
//!   grow with what it was used itself. This is S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for
//!   cache eviction", SOSP 2023), but for a limit to the tries: what is used as often as the newcomers keeps its
//!   place, so a loop over more than fits keeps hitting the part that is here, where S3-FIFO turns everything over.
//! - Otherwise it takes the place of one entry that was clearly used less often (Einziger, Friedman and Manes, "TinyLFU: a highly
//!   efficient cache admission policy", ACM Transactions on Storage 2017), even if its own uses are far apart.
//!
//! What loses is remembered by the [`History`] with how often it was used. Counts are halved as time goes, which is
//! counted in insertions: ten times as many as there are entries.
//!
//! A hit only bumps four bits in the entry, which are counted up when the entry is next looked at. Policies
//! that move what is hit, or note hits in a sketch, pay for that at every hit. A window that is resized by hill climbing, as in
//! adaptive W-TinyLFU, was tried on 28 traces and gained nothing: what it wins on one it loses while it climbs.
//!
//! Room is counted in entries and in bytes, and whichever is scarcer decides; expired entries get no second
//! chance; and one eviction gives at most [`CHANCES`] of them, so that no insertion walks a whole queue.

use super::history::{History, Left};
use super::table::{Entry, Limits, NIL};

/// The window's part of the room: one in this many.
const WINDOW_PART: u64 = 16;

/// Uses in the window with which an entry may try several of the main queue.
const PROVEN_AT: u64 = 2;

/// Entries that a proven entry may try, besides one for each of its uses in the window.
const TRIES: u64 = 3;

/// By how much the less used entry is to be exceeded. Counts are small: one more is chance.
const MARGIN: u64 = 1;

/// Most entries that one eviction moves before it takes the next one regardless.
const CHANCES: u64 = 128;

/// Most entries that an insertion moves on to a main queue that has room.
const MOVES: u64 = 4;

/// Insertions after which counts are halved, for each entry.
const PERIOD: u64 = 10;

/// One of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// New entries.
    Window,
    /// Entries that won their place.
    Main,
}

/// Weight, queue and uses of an entry, in one word.
#[derive(Clone, Copy)]
pub(super) struct Meta(u64);

impl Meta {
    const MAIN: u64 = 1 << 10;
    const RETURNED: u64 = 1 << 11;
    const WEIGHT_SHIFT: u32 = 16;
    pub(super) const MAX_WEIGHT: u64 = u64::MAX >> Self::WEIGHT_SHIFT;

    /// Uses since it was last looked at.
    const USES: Field = Field { shift: 0, max: 15 };
    /// Uses altogether, halved with each epoch; up to what the history keeps.
    const COUNT: Field = Field { shift: 4, max: 15 };
    /// Uses that keep it in the main queue, each once.
    const CHANCES: Field = Field { shift: 8, max: 3 };
    /// The epoch of the count.
    const EPOCH: Field = Field { shift: 12, max: 15 };

    /// Of an entry that is in no queue yet.
    pub(super) fn new(weight: u64) -> Self {
        Self(weight << Self::WEIGHT_SHIFT)
    }

    pub(super) fn weight(self) -> u64 {
        self.0 >> Self::WEIGHT_SHIFT
    }

    pub(super) fn set_weight(&mut self, weight: u64) {
        self.0 = self.0 & ((1 << Self::WEIGHT_SHIFT) - 1) | weight << Self::WEIGHT_SHIFT;
    }

    pub(super) fn queue(self) -> Queue {
        if self.0 & Self::MAIN == 0 {
            Queue::Window
        } else {
            Queue::Main
        }
    }

    fn get(self, field: Field) -> u64 {
        self.0 >> field.shift & field.max
    }

    fn set(&mut self, field: Field, value: u64) {
        let mask = field.max << field.shift;
        self.0 = self.0 & !mask | value.min(field.max) << field.shift;
    }

    /// One use more.
    #[inline]
    pub(super) fn bump(&mut self) {
        self.0 += u64::from(self.0 & Self::USES.max != Self::USES.max);
    }

    /// Counts its uses up and gives them.
    fn look(&mut self, epoch: u64) -> u64 {
        let uses = self.get(Self::USES);
        let age = epoch.wrapping_sub(self.get(Self::EPOCH)) & Self::EPOCH.max;
        self.set(Self::COUNT, (self.get(Self::COUNT) >> age) + uses);
        self.set(Self::CHANCES, self.get(Self::CHANCES) + uses);
        self.set(Self::EPOCH, epoch & Self::EPOCH.max);
        self.set(Self::USES, 0);
        uses
    }

    /// What is known of it from before.
    fn return_after(&mut self, left: Left) {
        self.set(Self::COUNT, 1 + left.count);
        self.0 |= if left.lately { Self::RETURNED } else { 0 };
    }

    fn has_returned(self) -> bool {
        self.0 & Self::RETURNED != 0
    }

    fn promote(&mut self) {
        self.set(Self::CHANCES, 0);
        self.0 |= Self::MAIN;
    }
}

/// Bits of a [`Meta`].
#[derive(Clone, Copy)]
struct Field {
    shift: u32,
    max: u64,
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

/// Both queues, and what is remembered of those that left.
#[derive(Debug)]
pub(super) struct Queues {
    window: List,
    main: List,
    limits: Limits,
    history: History,
    epoch: u64,
    /// Insertions in this epoch.
    insertions: u64,
}

impl Queues {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            window: List::EMPTY,
            main: List::EMPTY,
            limits,
            history: History::default(),
            epoch: 0,
            insertions: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.window.bytes + self.main.bytes
    }

    fn list(&mut self, queue: Queue) -> &mut List {
        match queue {
            Queue::Window => &mut self.window,
            Queue::Main => &mut self.main,
        }
    }

    /// Takes in a new entry.
    pub(super) fn enter<K, V>(&mut self, entries: &mut [Entry<K, V>], slot: u32, hash: u32) {
        self.insertions += 1;
        if self.insertions > PERIOD * (self.window.entries + self.main.entries) {
            self.insertions = 0;
            self.epoch += 1;
        }
        let meta = &mut entries[slot as usize].meta;
        meta.set(Meta::EPOCH, self.epoch & Meta::EPOCH.max);
        meta.set(Meta::COUNT, 1);
        if let Some(left) = self.history.take(hash) {
            meta.return_after(left);
        }
        self.push(entries, slot);
        let window = self.window_limits();
        for _ in 0..MOVES {
            let tail = self.window.tail;
            let is_over =
                self.window.entries > window.max_entries || self.window.bytes > window.max_bytes;
            if !is_over || !self.has_room(entries, tail) {
                break;
            }
            entries[tail as usize].meta.look(self.epoch);
            self.promote(entries, tail);
        }
    }

    /// The window's part of the room.
    fn window_limits(&self) -> Limits {
        Limits {
            max_entries: self.limits.max_entries.div_ceil(WINDOW_PART),
            max_bytes: self.limits.max_bytes.div_ceil(WINDOW_PART),
        }
    }

    /// Whether the main queue may have the entry too.
    fn has_room<K, V>(&self, entries: &[Entry<K, V>], slot: u32) -> bool {
        let window = self.window_limits();
        let bytes = self.main.bytes + entries[slot as usize].meta.weight();
        self.main.entries < self.limits.max_entries - window.max_entries
            && bytes <= self.limits.max_bytes - window.max_bytes
    }

    fn push<K, V>(&mut self, entries: &mut [Entry<K, V>], slot: u32) {
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

    /// Makes it the newest of its queue.
    fn renew<K, V>(&mut self, entries: &mut [Entry<K, V>], slot: u32) {
        self.unlink(entries, slot);
        self.push(entries, slot);
    }

    fn promote<K, V>(&mut self, entries: &mut [Entry<K, V>], slot: u32) {
        self.unlink(entries, slot);
        entries[slot as usize].meta.promote();
        self.push(entries, slot);
    }

    /// Accounts for a new weight of an entry that stays where it is.
    pub(super) fn reweigh(&mut self, meta: Meta, weight: u64) {
        let list = self.list(meta.queue());
        list.bytes = list.bytes - meta.weight() + weight;
    }

    /// The oldest entry of a queue that is not `keep`.
    fn oldest<K, V>(&mut self, entries: &[Entry<K, V>], queue: Queue, keep: u32) -> Option<u32> {
        let tail = self.list(queue).tail;
        let slot = if tail != NIL && tail == keep {
            entries[tail as usize].newer
        } else {
            tail
        };
        (slot != NIL).then_some(slot)
    }

    /// The entry that has to leave next, never `keep`; it is still linked. `None` if there is no other than `keep`.
    pub(super) fn pick<K, V>(
        &mut self,
        entries: &mut [Entry<K, V>],
        keep: u32,
        expired: impl Fn(&Entry<K, V>) -> bool + Copy,
    ) -> Option<u32> {
        let window = self.window_limits();
        for _ in 0..CHANCES {
            let is_window_full =
                self.window.entries >= window.max_entries || self.window.bytes >= window.max_bytes;
            let main = self.oldest(entries, Queue::Main, keep);
            let slot = match self.oldest(entries, Queue::Window, keep) {
                Some(slot) if is_window_full || main.is_none() => slot,
                _ => {
                    main?;
                    let unused = self.first_unused(entries, CHANCES, keep, expired);
                    return unused.or_else(|| self.oldest(entries, Queue::Main, keep));
                }
            };
            if expired(&entries[slot as usize]) {
                return Some(slot);
            }
            let uses = entries[slot as usize].meta.look(self.epoch);
            if self.has_room(entries, slot) {
                self.promote(entries, slot);
                continue;
            }
            let Entry { meta, hash, .. } = entries[slot as usize];
            let count = meta.get(Meta::COUNT);
            let loser = if uses >= PROVEN_AT || meta.has_returned() {
                self.first_unused(entries, TRIES + uses, keep, expired)
            } else {
                self.less_used(entries, count, keep, expired)
            };
            if loser.is_some() {
                self.promote(entries, slot);
                return loser;
            }
            let population = self.window.entries + self.main.entries;
            self.history
                .put(hash, count, population, self.limits.max_entries);
            return Some(slot);
        }
        self.oldest(entries, Queue::Window, keep)
            .or_else(|| self.oldest(entries, Queue::Main, keep))
    }

    /// The first of the `tries` oldest entries of the main queue that has no use left; the others go to the front.
    fn first_unused<K, V>(
        &mut self,
        entries: &mut [Entry<K, V>],
        tries: u64,
        keep: u32,
        expired: impl Fn(&Entry<K, V>) -> bool,
    ) -> Option<u32> {
        for _ in 0..tries {
            let slot = self.oldest(entries, Queue::Main, keep)?;
            let entry = &mut entries[slot as usize];
            if expired(entry) {
                return Some(slot);
            }
            entry.meta.look(self.epoch);
            let chances = entry.meta.get(Meta::CHANCES);
            if chances == 0 {
                return Some(slot);
            }
            entry.meta.set(Meta::CHANCES, chances - 1);
            self.renew(entries, slot);
        }
        None
    }

    /// The oldest entry of the main queue, if it was used less often than `count`. Otherwise it is the next one's turn.
    fn less_used<K, V>(
        &mut self,
        entries: &mut [Entry<K, V>],
        count: u64,
        keep: u32,
        expired: impl Fn(&Entry<K, V>) -> bool,
    ) -> Option<u32> {
        let slot = self.oldest(entries, Queue::Main, keep)?;
        let entry = &mut entries[slot as usize];
        entry.meta.look(self.epoch);
        if expired(entry) || entry.meta.get(Meta::COUNT) + MARGIN < count {
            return Some(slot);
        }
        if count > 1 {
            self.renew(entries, slot);
        }
        None
    }
}
