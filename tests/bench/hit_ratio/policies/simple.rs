//! The policies that a few lines say: least recently used, least frequently used, SIEVE.

use std::collections::BTreeSet;

use super::{Lists, Policy};

/// Least recently used.
pub(super) struct Lru {
    capacity: usize,
    lists: Lists,
}

impl Lru {
    pub(super) fn new(capacity: usize, keys: usize) -> Self {
        Self {
            capacity,
            lists: Lists::new(keys, 1),
        }
    }
}

impl Policy for Lru {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.lists.of(key).is_some();
        if !hit && self.lists.len(0) == self.capacity {
            self.lists.pop(0);
        }
        self.lists.push(key, 0);
        hit
    }
}

/// Least frequently used while it is here; of those, least recently.
pub(super) struct Lfu {
    capacity: usize,
    tick: u64,
    /// Uses and last use of each key; no uses when it is not here.
    known: Vec<(u64, u64)>,
    order: BTreeSet<(u64, u64, u32)>,
}

impl Lfu {
    pub(super) fn new(capacity: usize, keys: usize) -> Self {
        Self {
            capacity,
            tick: 0,
            known: vec![(0, 0); keys],
            order: BTreeSet::new(),
        }
    }
}

impl Policy for Lfu {
    fn request(&mut self, key: u32) -> bool {
        self.tick += 1;
        let (uses, last) = self.known[key as usize];
        let hit = self.order.remove(&(uses, last, key));
        if self.order.len() == self.capacity
            && let Some((.., victim)) = self.order.pop_first()
        {
            self.known[victim as usize] = (0, 0);
        }
        let now = (if hit { uses + 1 } else { 1 }, self.tick);
        self.known[key as usize] = now;
        self.order.insert((now.0, now.1, key));
        hit
    }
}

/// Zhang, Yang, Yue, Vigfusson and Rashmi, "SIEVE is simpler than LRU", NSDI 2024, algorithm 1.
pub(super) struct Sieve {
    capacity: usize,
    lists: Lists,
    visited: Vec<bool>,
    hand: Option<u32>,
}

impl Sieve {
    pub(super) fn new(capacity: usize, keys: usize) -> Self {
        Self {
            capacity,
            lists: Lists::new(keys, 1),
            visited: vec![false; keys],
            hand: None,
        }
    }

    fn evict(&mut self) {
        let mut at = self.hand.or(self.lists.oldest(0));
        while let Some(key) = at {
            let newer = self.lists.newer(key);
            if !std::mem::take(&mut self.visited[key as usize]) {
                self.lists.remove(key);
                self.hand = newer;
                return;
            }
            at = newer.or(self.lists.oldest(0));
        }
    }
}

impl Policy for Sieve {
    fn request(&mut self, key: u32) -> bool {
        let hit = self.lists.of(key).is_some();
        if hit {
            self.visited[key as usize] = true;
            return true;
        }
        if self.lists.len(0) == self.capacity {
            self.evict();
        }
        self.lists.push(key, 0);
        self.visited[key as usize] = false;
        false
    }
}
