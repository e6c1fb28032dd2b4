//! The table itself.

use cachekit_runtime::clock::Instant;
use cachekit_runtime::l1::{Item, Limits, Table};

use super::{Policy, mix};

const NOW: Instant = Instant::from_nanos(0);

pub(super) struct Cachekit(Table<u32, ()>);

impl Cachekit {
    pub(super) fn new(capacity: usize) -> Self {
        Self(Table::new(Limits {
            max_entries: capacity as u64,
            max_bytes: u64::MAX,
        }))
    }
}

impl Policy for Cachekit {
    fn request(&mut self, key: u32) -> bool {
        let hash = mix(u64::from(key) + 1);
        let same = |known: &u32| *known == key;
        if self.0.find(hash, NOW, same).is_some() {
            return true;
        }
        let item = Item {
            key,
            value: (),
            weight: 1,
            expires: None,
        };
        self.0.insert(hash, item, NOW, same);
        self.0.take_dropped();
        false
    }
}
