//! One shard: a hash table over a slab of entries, bounded by entries and by bytes.
//!
//! It takes no lock, computes no hash and compares no keys: a binding that holds its interpreter's lock and compares
//! by its language's rules uses it as it is. Whatever leaves is kept until the owner takes it, so that foreign destructors
//! run where the owner wants them, never in the middle of a change.

use std::time::Duration;

use super::index::Index;
use super::meta::Meta;
use super::policy::Queues;
use super::wheel::{UNFILED, Wheel};
use crate::clock::Instant;

/// No slot. The number of slots stays below it.
pub(super) const NIL: u32 = u32::MAX;

/// When an entry expires that does not.
const NEVER: u64 = u64::MAX;

/// Slots that an insertion looks at to see whether they have expired.
const SWEPT: usize = 4;

/// The half of a hash that the index has. Multiplication puts what tells neighbours apart there, and spreads them evenly:
/// numbers that follow each other seldom meet.
#[inline(always)]
fn upper(hash: u64) -> u32 {
    (hash >> 32) as u32
}

/// How much a table may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Most entries; at least 1 and at most 2^32 - 2, which other numbers are taken for.
    pub max_entries: u64,
    /// Most bytes, by the weights that entries are inserted with; up to 2^40.
    pub max_bytes: u64,
}

/// What is inserted.
#[derive(Debug)]
pub struct Item<K, V> {
    /// The key.
    pub key: K,
    /// The value.
    pub value: V,
    /// Bytes that the entry is estimated to take.
    pub weight: u64,
    /// The first moment at which it is no longer served. `None`: never.
    pub expires: Option<Instant>,
}

/// An entry and its links: 48 bytes where the key and the value take a word each and one of them is never zero.
pub(super) struct Entry<K, V> {
    pub(super) hash: u32,
    expires: u64,
    pub(super) meta: Meta,
    pub(super) newer: u32,
    pub(super) older: u32,
    /// Where the wheel has the slot, whoever is in it.
    filed: u32,
    pair: Option<(K, V)>,
}

/// What [`Table::find_first`] says.
#[derive(Debug)]
pub enum First<'a, V> {
    /// The value, whose entry counts as used.
    Found(&'a V),
    /// There is no entry with that hash.
    Absent,
    /// [`Table::find`] knows.
    Unclear,
}

/// A bounded table of entries. See the module.
pub struct Table<K, V> {
    index: Index,
    entries: Vec<Entry<K, V>>,
    /// First free slot; the others follow through `older`.
    free: u32,
    queues: Queues,
    wheel: Wheel,
    /// By how many nanoseconds a use puts off an entry's end.
    sliding: u64,
    limits: Limits,
    dropped: Vec<(K, V)>,
    evictions: u64,
}

impl<K, V> Table<K, V> {
    /// An empty table. It allocates with its first entry.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits {
            max_entries: limits.max_entries.clamp(1, u64::from(NIL - 1)),
            max_bytes: limits.max_bytes.min(Meta::MAX_WEIGHT),
        };
        Self {
            index: Index::new(limits.max_entries),
            entries: Vec::new(),
            free: NIL,
            queues: Queues::new(limits),
            wheel: Wheel::default(),
            sliding: 0,
            limits,
            dropped: Vec::new(),
            evictions: 0,
        }
    }

    /// Has each use of an entry that expires put that off to `lifetime` from then, at least.
    #[must_use]
    pub fn sliding(mut self, lifetime: Duration) -> Self {
        self.sliding = Instant::default().after(lifetime).as_nanos();
        self
    }

    /// Entries now, the expired ones that are still here included.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Weight of the entries now, in bytes.
    pub fn bytes(&self) -> u64 {
        self.queues.bytes()
    }

    /// Entries that had to leave for others so far.
    pub fn evictions(&self) -> u64 {
        self.evictions
    }

    /// The value under the key that `same` recognises, among those that were inserted with `hash`; its entry counts as
    /// used. One that has expired by `now` is not served and leaves.
    ///
    /// `hash` must be well mixed (see [`mix`](super::mix)), and only its upper half counts: `same` decides. If `same`
    /// panics the table is as it was.
    #[inline(always)]
    pub fn find(
        &mut self,
        hash: u64,
        now: Instant,
        mut same: impl FnMut(&K) -> bool,
    ) -> Option<&V> {
        let slot = self.slot(upper(hash), &mut same)?;
        if self.entries[slot as usize].expires <= now.as_nanos() {
            self.expire(slot);
            return None;
        }
        let entry = &mut self.entries[slot as usize];
        self.queues.touch(&mut entry.meta);
        if self.sliding != 0 && entry.expires != NEVER {
            let renewed = now.as_nanos().saturating_add(self.sliding);
            entry.expires = entry.expires.max(renewed);
        }
        entry.pair.as_ref().map(|(_, value)| value)
    }

    /// What [`Table::find`] finds if the first entry with `hash` is the one: for callers to whom each instruction counts, so
    /// `same` is best a comparison of addresses. Without a time nothing that expires is found, and in a
    /// table that is [`sliding`](Self::sliding) nothing at all.
    #[inline(always)]
    pub fn find_first(
        &mut self,
        hash: u64,
        now: Option<Instant>,
        same: impl FnOnce(&K) -> bool,
    ) -> First<'_, V> {
        let Some(slot) = self.index.find(upper(hash), |_| true) else {
            return First::Absent;
        };
        let entry = &mut self.entries[slot as usize];
        let Some((key, value)) = &entry.pair else {
            return First::Unclear;
        };
        if !same(key) {
            return First::Unclear;
        }
        let passed = now.map_or(NEVER - 1, Instant::as_nanos);
        if entry.expires <= passed || self.sliding != 0 {
            return First::Unclear;
        }
        self.queues.touch(&mut entry.meta);
        First::Found(value)
    }

    /// Shows every key that was inserted with `hash`, usually one. For callers whose comparison may change the table: they
    /// take references to the keys out, compare, then come back with a `same` that knows the key by its identity.
    pub fn candidates(&self, hash: u64, mut visit: impl FnMut(&K)) {
        let hash = upper(hash);
        self.index.find(hash, |slot| {
            if let Some((key, _)) = &self.entries[slot as usize].pair {
                visit(key);
            }
            false
        });
    }

    /// Every key and value, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries
            .iter()
            .filter_map(|entry| entry.pair.as_ref())
            .map(|(key, value)| (key, value))
    }

    /// Has the memory come near that the insertion of something new with `hash` will need, while its value is computed. Gives
    /// what will probably have to leave for it.
    #[inline]
    pub fn foresee(&self, hash: u64) -> Option<&(K, V)> {
        self.queues.foresee(upper(hash));
        if self.len() as u64 != self.limits.max_entries {
            return None;
        }
        let next = &self.entries[self.queues.next_to_leave()? as usize];
        self.index.foresee(next.hash);
        self.queues.foresee(next.hash);
        next.pair.as_ref()
    }

    /// Puts `item` in, in place of an entry whose key is the `same`, and evicts others until it fits. `hash` and `same` are
    /// as for [`Table::find`].
    ///
    /// Says whether it is in: an item that alone weighs more than the table may hold is dropped, and so is the entry that it
    /// was to replace. What leaves can be had from [`Table::pop_dropped`].
    pub fn insert(
        &mut self,
        hash: u64,
        item: Item<K, V>,
        now: Instant,
        mut same: impl FnMut(&K) -> bool,
    ) -> bool {
        let hash = upper(hash);
        let known = self.slot(hash, &mut same);
        let Item {
            key,
            value,
            weight,
            expires,
        } = item;
        if weight > self.limits.max_bytes {
            self.dropped.push((key, value));
            if let Some(slot) = known {
                let old = self.take_out(slot);
                self.dropped.extend(old);
            }
            return false;
        }
        let expires = expires.map_or(NEVER, Instant::as_nanos);
        if let Some(slot) = known {
            let entry = &mut self.entries[slot as usize];
            self.queues.reweigh(entry.meta, weight);
            entry.meta.set_weight(weight);
            entry.expires = expires;
            let old = entry.pair.replace((key, value));
            self.dropped.extend(old);
            self.file(slot, now);
            self.sweep(now, SWEPT);
            self.make_room(0, 0, now, slot);
            return true;
        }
        if self.wheel.is_due(now) {
            self.sweep(now, SWEPT);
        }
        self.make_room(1, weight, now, NIL);
        let slot = self.occupy();
        let entry = &mut self.entries[slot as usize];
        // Field by field, and not as one value: that would be put together elsewhere and moved, with a wait in between.
        entry.hash = hash;
        entry.expires = expires;
        entry.meta = Meta::new(weight);
        entry.pair = Some((key, value));
        self.queues.enter(&mut self.entries, slot, hash);
        self.index.insert(hash, slot);
        self.file(slot, now);
        true
    }

    /// Lets entries go that have expired by `now`, looking at no more than `budget`; says whether there are more to look at.
    ///
    /// An entry is found up to a 256th of its lifetime and 134 ms late. One that leaves is not counted as evicted. When the last
    /// one has left, the table gives its memory back.
    pub fn sweep(&mut self, now: Instant, budget: usize) -> bool {
        for _ in 0..budget {
            let Some((slot, tick)) = self.wheel.next(now) else {
                break;
            };
            let entry = &mut self.entries[slot as usize];
            if entry.filed != tick {
                continue;
            }
            entry.filed = UNFILED;
            if entry.pair.is_none() {
                continue;
            }
            if entry.expires <= now.as_nanos() {
                self.expire(slot);
            } else {
                self.file(slot, now);
            }
        }
        if self.is_empty() {
            self.give_back();
        }
        self.wheel.is_due(now)
    }

    /// When [`Table::sweep`] will find something to look at. `None`: not before something is inserted.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.wheel.due()
    }

    /// Takes out the entry whose key is the `same`, expired or not.
    pub fn remove(&mut self, hash: u64, mut same: impl FnMut(&K) -> bool) -> Option<(K, V)> {
        let slot = self.slot(upper(hash), &mut same)?;
        self.take_out(slot)
    }

    /// Empties it and gives back its memory. What was in it can be had from [`Table::pop_dropped`].
    pub fn clear(&mut self) {
        self.queues = Queues::new(self.limits);
        let entries = self.give_back();
        self.dropped
            .extend(entries.into_iter().filter_map(|entry| entry.pair));
    }

    /// Forgets every slot.
    fn give_back(&mut self) -> Vec<Entry<K, V>> {
        self.index = Index::new(self.limits.max_entries);
        self.free = NIL;
        self.wheel = Wheel::default();
        std::mem::take(&mut self.entries)
    }

    /// Whether something left that nobody took yet.
    #[inline]
    pub fn has_dropped(&self) -> bool {
        !self.dropped.is_empty()
    }

    /// One entry that left. A destructor may use the table again: nothing of it is borrowed meanwhile.
    pub fn pop_dropped(&mut self) -> Option<(K, V)> {
        self.dropped.pop()
    }

    /// Everything that left and was not taken yet.
    pub fn take_dropped(&mut self) -> Vec<(K, V)> {
        std::mem::take(&mut self.dropped)
    }

    #[cfg(test)]
    pub(super) fn promoted(&self) -> usize {
        self.entries
            .iter()
            .filter(|entry| entry.meta.queue() == super::meta::Queue::Main)
            .count()
    }

    #[cfg(test)]
    pub(super) fn filed(&self) -> usize {
        self.wheel.filed()
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.entries.len()
    }

    #[inline]
    fn slot(&self, hash: u32, same: &mut impl FnMut(&K) -> bool) -> Option<u32> {
        self.index.find(hash, |slot| {
            let pair = &self.entries[slot as usize].pair;
            pair.as_ref().is_some_and(|(key, _)| same(key))
        })
    }

    #[cold]
    fn expire(&mut self, slot: u32) {
        let old = self.take_out(slot);
        self.dropped.extend(old);
    }

    /// Has the wheel find the entry when it has expired.
    fn file(&mut self, slot: u32, now: Instant) {
        let entry = &mut self.entries[slot as usize];
        if entry.expires == NEVER {
            return;
        }
        let expires = Instant::from_nanos(entry.expires);
        entry.filed = self.wheel.file(slot, entry.filed, expires, now);
        if self.wheel.filed() > 2 * self.entries.len() + SWEPT {
            self.file_all(now);
        }
    }

    /// Forgets that slots were filed for what left them long ago.
    #[cold]
    fn file_all(&mut self, now: Instant) {
        self.wheel = Wheel::default();
        for (slot, entry) in self.entries.iter_mut().enumerate() {
            entry.filed = UNFILED;
            if entry.pair.is_some() && entry.expires != NEVER {
                let expires = Instant::from_nanos(entry.expires);
                entry.filed = self.wheel.file(slot as u32, UNFILED, expires, now);
            }
        }
    }

    /// Evicts until `entries` more entries of `bytes` more bytes fit. `keep` is not evicted.
    fn make_room(&mut self, entries: u64, bytes: u64, now: Instant, keep: u32) {
        while self.len() as u64 + entries > self.limits.max_entries
            || self.bytes() + bytes > self.limits.max_bytes
        {
            let expired = |entry: &Entry<K, V>| entry.expires <= now.as_nanos();
            let Some(slot) = self.queues.pick(&mut self.entries, keep, expired) else {
                break;
            };
            self.evictions += 1;
            let old = self.take_out(slot);
            self.dropped.extend(old);
        }
    }

    fn take_out(&mut self, slot: u32) -> Option<(K, V)> {
        let hash = self.entries[slot as usize].hash;
        self.index.remove(hash, slot);
        self.queues.unlink(&mut self.entries, slot);
        let entry = &mut self.entries[slot as usize];
        entry.older = self.free;
        self.free = slot;
        entry.pair.take()
    }

    /// A slot without an entry.
    #[inline]
    fn occupy(&mut self) -> u32 {
        if self.free == NIL {
            return self.add_slot();
        }
        let slot = self.free;
        self.free = self.entries[slot as usize].older;
        slot
    }

    #[cold]
    fn add_slot(&mut self) -> u32 {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            // Doubled, but not past what it may hold.
            let most = self.limits.max_entries as usize - len;
            self.entries.reserve_exact(len.max(4).min(most));
        }
        self.entries.push(Entry {
            hash: 0,
            expires: NEVER,
            meta: Meta::new(0),
            newer: NIL,
            older: NIL,
            filed: UNFILED,
            pair: None,
        });
        len as u32
    }
}

impl<K, V> std::fmt::Debug for Table<K, V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len())
            .field("bytes", &self.bytes())
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
