//! Yang, Zhang, Qiu, Yue and Rashmi, "FIFO queues are all you need for cache eviction", SOSP 2023, algorithm 1.

use super::{Lists, Policy};

const SMALL: usize = 0;
const MAIN: usize = 1;
const GHOST: usize = 2;

/// The small queue's part of the room: one in this many.
const SMALL_PART: usize = 10;

pub(super) struct S3Fifo {
    capacity: usize,
    small: usize,
    lists: Lists,
    uses: Vec<u8>,
}

impl S3Fifo {
    pub(super) fn new(capacity: usize, keys: usize) -> Self {
        Self {
            capacity,
            small: (capacity / SMALL_PART).max(1),
            lists: Lists::new(keys, 3),
            uses: vec![0; keys],
        }
    }

    fn evict(&mut self) {
        if self.lists.len(SMALL) >= self.small {
            self.evict_small();
        } else {
            self.evict_main();
        }
    }

    fn evict_small(&mut self) {
        while let Some(key) = self.lists.oldest(SMALL) {
            if std::mem::take(&mut self.uses[key as usize]) > 1 {
                self.lists.push(key, MAIN);
                if self.lists.len(MAIN) > self.capacity - self.small {
                    return self.evict_main();
                }
            } else {
                if self.lists.len(GHOST) >= self.capacity - self.small {
                    self.lists.pop(GHOST);
                }
                return self.lists.push(key, GHOST);
            }
        }
        self.evict_main();
    }

    fn evict_main(&mut self) {
        while let Some(key) = self.lists.oldest(MAIN) {
            if self.uses[key as usize] == 0 {
                return self.lists.remove(key);
            }
            self.uses[key as usize] -= 1;
            self.lists.push(key, MAIN);
        }
    }
}

impl Policy for S3Fifo {
    fn request(&mut self, key: u32) -> bool {
        let known = self.lists.of(key);
        if matches!(known, Some(SMALL | MAIN)) {
            let uses = &mut self.uses[key as usize];
            *uses = (*uses + 1).min(3);
            return true;
        }
        while self.lists.len(SMALL) + self.lists.len(MAIN) >= self.capacity {
            self.evict();
        }
        // Forgotten, perhaps, for what just left.
        let known = self.lists.of(key).and(known);
        let to = if known == Some(GHOST) { MAIN } else { SMALL };
        self.lists.push(key, to);
        self.uses[key as usize] = 0;
        false
    }
}
