//! From hashes to slots: linear probing in order, one word a cell.
//!
//! A cell holds a hash and a slot, so a lookup reads one cache line here and goes to an entry only when 32 bits agree. Where
//! a hash belongs is its share of the range (Lemire, "Fast random integer generation in an interval", 2019), so the
//! number of cells need not be a power of two: a full cache takes two cells for an entry, where doubling would take up to
//! four. That share grows with the hash, so all cells can be kept in the order of their hashes, and a lookup of what is
//! not here ends at the first larger one (Amble and Knuth, "Ordered hash tables", The Computer Journal 1974). Removal moves
//! cells back, so there are no tombstones to clean up.

use super::prefetch;
use super::table::NIL;

/// Neither a slot nor a hash, and larger than all cells that are.
const EMPTY: u64 = u64::MAX;
/// Places of the smallest index.
const LEAST: usize = 8;
/// The most slots for so many places: most cells then stand in their own place or the next, and how far to look is foreseen by
/// the processor.
const FULL: (usize, usize) = (1, 2);
/// Cells behind the last place, for those that find theirs taken. The last one stays empty.
const MARGIN: usize = 128;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    cells: Vec<u64>,
    /// The cells before the margin.
    places: usize,
    len: usize,
    /// Most places that it grows to by doubling.
    most: usize,
}

impl Index {
    /// An empty index that will hold at most `limit` slots. It allocates with its first one.
    pub(super) fn new(limit: u64) -> Self {
        let most = limit.saturating_mul(FULL.1 as u64).div_ceil(FULL.0 as u64);
        let most = usize::try_from(most.min(u64::from(NIL))).unwrap_or(LEAST);
        Self {
            most: most.max(LEAST),
            ..Self::default()
        }
    }

    /// Slots in it.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Whether it is empty.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The first slot under `hash` that `wanted` accepts.
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, mut wanted: impl FnMut(u32) -> bool) -> Option<u32> {
        let least = cell(hash, 0);
        let mut at = self.place(hash);
        while *self.cells.get(at)? < least {
            at += 1;
        }
        let mut found = self.cells[at];
        while (found >> 32) as u32 == hash && found != EMPTY {
            if wanted(found as u32) {
                return Some(found as u32);
            }
            at += 1;
            found = self.cells[at];
        }
        None
    }

    /// Has the cells of `hash` come near.
    #[inline]
    pub(super) fn foresee(&self, hash: u32) {
        prefetch(self.cells.as_ptr().wrapping_add(self.place(hash)));
    }

    /// Adds a slot that is not in it.
    pub(super) fn insert(&mut self, hash: u32, slot: u32) {
        if (self.len + 1) * FULL.1 > self.places * FULL.0 {
            self.grow();
        }
        // Hashes that agree, by chance or by somebody's will, need not more places but room behind them.
        if self.cells[self.cells.len() - 2] != EMPTY {
            self.cells.resize(self.cells.len() + MARGIN, EMPTY);
        }
        let mut new = cell(hash, slot);
        let mut at = self.place(hash);
        while self.cells[at] < new {
            at += 1;
        }
        // The larger ones move on by one.
        while new != EMPTY {
            std::mem::swap(&mut self.cells[at], &mut new);
            at += 1;
        }
        self.len += 1;
    }

    /// Removes a slot; says whether it was there.
    pub(super) fn remove(&mut self, hash: u32, slot: u32) -> bool {
        let old = cell(hash, slot);
        let mut at = self.place(hash);
        while self.cells.get(at).is_some_and(|cell| *cell < old) {
            at += 1;
        }
        if self.cells.get(at) != Some(&old) {
            return false;
        }
        // Those behind move back, up to one that stands in its own place.
        loop {
            let next = self.cells[at + 1];
            if next == EMPTY || self.place((next >> 32) as u32) > at {
                break;
            }
            self.cells[at] = next;
            at += 1;
        }
        self.cells[at] = EMPTY;
        self.len -= 1;
        true
    }

    /// Where a hash belongs.
    #[inline(always)]
    fn place(&self, hash: u32) -> usize {
        ((u64::from(hash) * self.places as u64) >> 32) as usize
    }

    fn grow(&mut self) {
        let doubled = (self.places * 2).max(LEAST);
        // Past what was said to be the most it goes on doubling, so that what cannot be costs memory and not the process.
        self.places = if self.places < self.most {
            doubled.min(self.most)
        } else {
            doubled
        };
        let cells = self.places + MARGIN.min(self.places);
        let old = std::mem::replace(&mut self.cells, vec![EMPTY; cells]);
        let mut free = 0;
        for cell in old.into_iter().filter(|cell| *cell != EMPTY) {
            let at = self.place((cell >> 32) as u32).max(free);
            free = at + 1;
            if free == self.cells.len() {
                self.cells.resize(free + MARGIN, EMPTY);
            }
            self.cells[at] = cell;
        }
    }
}

#[inline(always)]
fn cell(hash: u32, slot: u32) -> u64 {
    u64::from(hash) << 32 | u64::from(slot)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::l1::mix;
    use crate::random::Random;

    /// Against a set, with so few hashes that cells crowd, at the end too.
    #[test]
    fn it_finds_what_is_in_it_and_nothing_else() {
        for seed in 0..200 {
            let mut random = Random::new(seed);
            let limit = 1 + random.below(200);
            let mut index = Index::new(limit);
            let mut model = HashSet::new();
            let some = (0..8).map(|_| (random.next() >> 32) as u32);
            let hashes: Vec<u32> = some.chain([0, u32::MAX - 1, u32::MAX]).collect();
            for _ in 0..600 {
                let hash = hashes[random.below(hashes.len() as u64) as usize];
                let slot = random.below(2 * limit) as u32;
                let new = !model.contains(&(hash, slot));
                if random.below(3) > 0 && model.len() < limit as usize && new {
                    index.insert(hash, slot);
                    model.insert((hash, slot));
                } else {
                    assert_eq!(index.remove(hash, slot), model.remove(&(hash, slot)));
                }
                assert_eq!(index.len(), model.len());
                assert_eq!(index.cells.last().copied().unwrap_or(EMPTY), EMPTY);
                for hash in &hashes {
                    let mut seen = HashSet::new();
                    assert_eq!(index.find(*hash, |slot| !seen.insert(slot)), None);
                    let known = model.iter().filter(|(other, _)| other == hash);
                    assert_eq!(seen, known.map(|(_, slot)| *slot).collect());
                }
            }
        }
    }

    #[test]
    fn slots_of_one_hash_take_a_cell_each() {
        for hash in [0, 1 << 31, u32::MAX] {
            let mut index = Index::new(1000);
            for slot in 0..1000 {
                index.insert(hash, slot);
            }
            assert!(index.cells.len() <= 2000 + 1000 + 2 * MARGIN);
            for slot in (0..1000).rev() {
                assert_eq!(index.find(hash, |found| found == slot), Some(slot));
                assert!(index.remove(hash, slot));
            }
            assert!(index.is_empty());
        }
    }

    #[test]
    fn a_full_one_takes_two_cells_for_a_slot() {
        let mut index = Index::new(1_000_000);
        let hash = |slot: u32| mix(u64::from(slot)) as u32;
        for slot in 0..1_000_000 {
            index.insert(hash(slot), slot);
        }
        let cells = index.cells.capacity();
        assert_eq!(cells, 2_000_000 + MARGIN);
        let found =
            (0..1_000_000).filter(|slot| index.find(hash(*slot), |found| found == *slot).is_some());
        assert_eq!(found.count(), 1_000_000);
    }
}
