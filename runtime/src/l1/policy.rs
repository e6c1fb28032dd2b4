//! Which entry leaves.
//!
//! New entries queue up in a window, a sixteenth of the room; what was used stays in the main queue, the rest of it. An entry
//! at the window's end has to win its place from what is at the main queue's end:
//!
//! - While the main queue has room there is nothing to win.
//! - If it was used at least twice in the window, or left not long ago and came back, it tries some entries: the first that
//!   has no use left and was not used for as long as the newcomer is replaced, the others go to the front and have one use
//!   less. This is S3-FIFO (Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP
//!   2023), but that it looks at few, and at when they were used, as LIRS does (Jiang and Zhang, "LIRS", SIGMETRICS 2002). So
//!   what is used as often as the newcomers keeps its place, and a loop over more than fits keeps hitting the part that is
//!   here, where S3-FIFO turns everything over.
//! - Otherwise it takes the place of one entry that was clearly used less often (Einziger, Friedman and Manes, "TinyLFU: a highly
//!   efficient cache admission policy", ACM Transactions on Storage 2017), even if its own uses are far apart.
//! - Where LRU would do better (see [`Trend`]) every entry gets its place, and the main queue is CLOCK.
//!
//! What loses is remembered by the [`History`] with how often it was used.
//!
//! A hit only writes one word of the entry: four bits that are counted up when the entry is next looked at, and when it was.
//! Policies that move what is hit, or note hits in a sketch, pay for that at every hit. A window that is resized by
//! hill climbing, as in adaptive W-TinyLFU, was tried and gained nothing: what it wins on one trace it loses while it climbs.
//! `docs/design/0007-what-leaves.md` has the figures.
//!
//! Room is counted in entries and in bytes, and whichever is scarcer decides; expired entries get no second
//! chance; and one eviction moves at most [`CHANCES`] entries, so that no insertion walks a whole queue.

use super::history::{History, shuffled};
use super::meta::{Meta, Queue};
use super::table::{Entry, Limits, NIL};
use super::trend::{TURN, Trend};

/// The window's part of the room: one in this many.
const WINDOW_PART: u64 = 16;

/// Uses in the window with which an entry may try several of the main queue.
const PROVEN_AT: u64 = 2;

/// Entries that a proven entry may try, besides one for each of its uses in the window.
const TRIES: u64 = 3;

/// How long ago what they try must have been used, in parts of a turnover: by an entry that was used in the window, and
/// by one that returned, which is used about so seldom itself; a little longer, since else those that return in a loop
/// would take the places of each other.
const USED_AGO: u64 = 2;
const RETURNED_AGO: u64 = 2 * TURN + TURN / 4;

/// By how much the less used entry is to be exceeded. Counts are small: one more is chance.
const MARGIN: u64 = 1;

/// Of how many new entries one replaces what was not used for so long that its count is gone. More often would lose what
/// is used once in a long loop; never would keep for good what is not used any more, if nothing new comes back soon.
const STRANGERS: u32 = 512;

/// Most entries that one eviction moves before it takes the next one regardless.
const CHANCES: u64 = 128;

/// Most entries that an insertion moves on to a main queue that has room.
const MOVES: u64 = 4;

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
    /// The window's part of them.
    share: Limits,
    history: History,
    trend: Trend,
    /// New entries that met one whose count is gone.
    strangers: u32,
}

impl Queues {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            window: List::EMPTY,
            main: List::EMPTY,
            limits,
            share: Limits {
                max_entries: limits.max_entries.div_ceil(WINDOW_PART),
                max_bytes: limits.max_bytes.div_ceil(WINDOW_PART),
            },
            history: History::default(),
            trend: Trend::new(),
            strangers: 0,
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        self.window.bytes + self.main.bytes
    }

    fn len(&self) -> u64 {
        self.window.entries + self.main.entries
    }

    /// Has what is known of `hash` come near.
    #[inline]
    pub(super) fn foresee(&self, hash: u32) {
        self.history.foresee(shuffled(hash));
    }

    /// The entry that leaves next, as a rule.
    #[inline]
    pub(super) fn next_to_leave(&self) -> Option<u32> {
        (self.window.tail != NIL).then_some(self.window.tail)
    }

    /// Notes a use.
    #[inline]
    pub(super) fn touch(&mut self, meta: &mut Meta) {
        let is_late = meta.touch(self.trend.now());
        self.trend.hit(is_late);
    }

    fn list(&mut self, queue: Queue) -> &mut List {
        match queue {
            Queue::Window => &mut self.window,
            Queue::Main => &mut self.main,
        }
    }

    /// Takes in a new entry.
    pub(super) fn enter<K, V>(&mut self, entries: &mut [Entry<K, V>], slot: u32, hash: u32) {
        let left = self.history.take(shuffled(hash));
        let ago = left.map(|left| left.ago);
        let is_filling = self.history.is_empty();
        self.trend.insertion(self.len() + 1, ago, is_filling);
        let count = 1 + left.map_or(0, |left| left.count);
        let has_returned = ago.is_some_and(|ago| ago < TURN);
        let (now, epoch) = (self.trend.now(), self.trend.epoch());
        let meta = &mut entries[slot as usize].meta;
        meta.begin(now, epoch, count, has_returned);
        self.push(entries, slot);
        let window = self.share;
        for _ in 0..MOVES {
            let tail = self.window.tail;
            let is_over =
                self.window.entries > window.max_entries || self.window.bytes > window.max_bytes;
            if !is_over || !self.has_room(entries, tail) {
                break;
            }
            entries[tail as usize].meta.look(self.trend.epoch());
            self.promote(entries, tail, 0);
        }
    }

    /// Whether the main queue may have the entry too.
    fn has_room<K, V>(&self, entries: &[Entry<K, V>], slot: u32) -> bool {
        let window = self.share;
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

    fn promote<K, V>(&mut self, entries: &mut [Entry<K, V>], slot: u32, chances: u64) {
        self.unlink(entries, slot);
        entries[slot as usize].meta.promote(chances);
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
        let window = self.share;
        for _ in 0..CHANCES {
            let is_window_full =
                self.window.entries >= window.max_entries || self.window.bytes >= window.max_bytes;
            let main = self.oldest(entries, Queue::Main, keep);
            let slot = match self.oldest(entries, Queue::Window, keep) {
                Some(slot) if is_window_full || main.is_none() => slot,
                _ => {
                    main?;
                    let unused = self.first_unused(entries, CHANCES, 0, keep, expired);
                    return unused.or_else(|| self.oldest(entries, Queue::Main, keep));
                }
            };
            if expired(&entries[slot as usize]) {
                return Some(slot);
            }
            let uses = entries[slot as usize].meta.look(self.trend.epoch());
            if self.has_room(entries, slot) {
                self.promote(entries, slot, 0);
                continue;
            }
            let Entry { meta, hash, .. } = entries[slot as usize];
            let mut chances = 0;
            let loser = if self.trend.favours_lru() {
                chances = uses.min(1);
                self.not_used_lately(entries, keep, expired)
            } else if uses >= PROVEN_AT {
                self.first_unused(entries, TRIES + uses, USED_AGO, keep, expired)
            } else if meta.has_returned() {
                self.first_unused(entries, TRIES + uses, RETURNED_AGO, keep, expired)
            } else {
                self.less_used(entries, meta.count(), keep, expired)
            };
            if loser.is_some() {
                self.promote(entries, slot, chances);
                return loser;
            }
            let (len, most) = (self.len(), self.limits.max_entries);
            self.history.put(shuffled(hash), meta.count(), len, most);
            return Some(slot);
        }
        self.oldest(entries, Queue::Window, keep)
            .or_else(|| self.oldest(entries, Queue::Main, keep))
    }

    /// The first of the `tries` oldest entries of the main queue that has no use left and was last used `ago` at least; the
    /// others go to the front.
    fn first_unused<K, V>(
        &mut self,
        entries: &mut [Entry<K, V>],
        tries: u64,
        ago: u64,
        keep: u32,
        expired: impl Fn(&Entry<K, V>) -> bool,
    ) -> Option<u32> {
        for _ in 0..tries {
            let slot = self.oldest(entries, Queue::Main, keep)?;
            let entry = &mut entries[slot as usize];
            if expired(entry) {
                return Some(slot);
            }
            entry.meta.look(self.trend.epoch());
            let chances = entry.meta.chances();
            if chances == 0 && entry.meta.age(self.trend.now()) >= ago {
                return Some(slot);
            }
            entry.meta.set_chances(chances.saturating_sub(1));
            self.renew(entries, slot);
        }
        None
    }

    /// The entry of the main queue that was not used since it was last at the end, where there is none after a while the next.
    fn not_used_lately<K, V>(
        &mut self,
        entries: &mut [Entry<K, V>],
        keep: u32,
        expired: impl Fn(&Entry<K, V>) -> bool,
    ) -> Option<u32> {
        for _ in 0..CHANCES {
            let slot = self.oldest(entries, Queue::Main, keep)?;
            let entry = &mut entries[slot as usize];
            entry.meta.look(self.trend.epoch());
            if entry.meta.chances() == 0 || expired(entry) {
                return Some(slot);
            }
            entry.meta.set_chances(0);
            self.renew(entries, slot);
        }
        self.oldest(entries, Queue::Main, keep)
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
        entry.meta.look(self.trend.epoch());
        if expired(entry) || entry.meta.count() + MARGIN < count {
            return Some(slot);
        }
        if entry.meta.count() == 0 {
            self.strangers += 1;
            if self.strangers == STRANGERS {
                self.strangers = 0;
                return Some(slot);
            }
        }
        if count > 1 {
            self.renew(entries, slot);
        }
        None
    }
}
