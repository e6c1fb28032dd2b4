//! Megiddo and Modha, "ARC: a self-tuning, low overhead replacement cache", FAST 2003, figure 4.

use super::{Lists, Policy};

/// Here, seen once and more than once; and left from either.
const T1: usize = 0;
const T2: usize = 1;
const B1: usize = 2;
const B2: usize = 3;

pub(super) struct Arc {
    capacity: usize,
    /// How many of the room T1 is to have.
    target: usize,
    lists: Lists,
}

impl Arc {
    pub(super) fn new(capacity: usize, keys: usize) -> Self {
        Self {
            capacity,
            target: 0,
            lists: Lists::new(keys, 4),
        }
    }

    fn replace(&mut self, wanted_from_b2: bool) {
        let recent = self.lists.len(T1);
        let from_recent =
            recent > 0 && (recent > self.target || (wanted_from_b2 && recent == self.target));
        let (from, to) = if from_recent { (T1, B1) } else { (T2, B2) };
        if let Some(key) = self.lists.oldest(from) {
            self.lists.push(key, to);
        }
    }
}

impl Policy for Arc {
    fn request(&mut self, key: u32) -> bool {
        let len = |lists: &Lists, list| lists.len(list);
        match self.lists.of(key) {
            Some(T1 | T2) => {
                self.lists.push(key, T2);
                return true;
            }
            Some(B1) => {
                let step = (len(&self.lists, B2) / len(&self.lists, B1)).max(1);
                self.target = (self.target + step).min(self.capacity);
                self.replace(false);
                self.lists.push(key, T2);
            }
            Some(_) => {
                let step = (len(&self.lists, B1) / len(&self.lists, B2)).max(1);
                self.target = self.target.saturating_sub(step);
                self.replace(true);
                self.lists.push(key, T2);
            }
            None => {
                let recent = len(&self.lists, T1) + len(&self.lists, B1);
                let all = recent + len(&self.lists, T2) + len(&self.lists, B2);
                if recent == self.capacity {
                    if len(&self.lists, T1) < self.capacity {
                        self.lists.pop(B1);
                        self.replace(false);
                    } else {
                        self.lists.pop(T1);
                    }
                } else if all >= self.capacity {
                    if all == 2 * self.capacity {
                        self.lists.pop(B2);
                    }
                    self.replace(false);
                }
                self.lists.push(key, T1);
            }
        }
        false
    }
}
