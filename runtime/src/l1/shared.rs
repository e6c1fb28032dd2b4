//! Tables behind locks, for Rust.
//!
//! A section only moves an `Arc`: keys are compared, values cloned and both dropped outside, since that is foreign code. So
//! what a table knows as the key is the 64-bit hash, keyed with the process's own randomness; of two keys whose hashes collide, which
//! is one pair in 2^64, the later one replaces the earlier one.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::Arc;
use std::time::Duration;

use super::table::{Item, Limits, Table};
use crate::clock::{Clock, SystemClock};
use crate::shim::Mutex;

/// Most shards; threads beyond it wait for each other now and then.
const MAX_SHARDS: u64 = 16;

/// Least share of a shard: below it an uneven distribution would evict much too early.
const MIN_SHARD: Limits = Limits {
    max_entries: 1024,
    max_bytes: 16 << 20,
};

impl Limits {
    /// Over how many tables to spread these limits where threads run at once: a power of two, so that bits of a hash choose;
    /// up to 16, and none for less than 1024 entries and 16 MiB.
    pub fn shards(&self) -> u64 {
        let shards = MAX_SHARDS
            .min(self.max_entries / MIN_SHARD.max_entries)
            .min(self.max_bytes / MIN_SHARD.max_bytes)
            .max(1);
        1 << shards.ilog2()
    }

    /// What one of so many tables may hold.
    #[must_use]
    pub fn share(&self, shards: u64) -> Self {
        Self {
            max_entries: self.max_entries / shards,
            max_bytes: self.max_bytes / shards,
        }
    }
}

type Shard<K, V> = Mutex<Table<u64, Arc<(K, V)>>>;
type Weigh<K, V> = Box<dyn Fn(&K, &V) -> u64 + Send + Sync>;

/// A concurrent map with limits and lifetimes. All methods take `&self`.
///
/// The limits are divided among shards, as many as [`Limits::shards`] says: an entry that is larger than its shard's share is
/// not kept.
pub struct L1<K, V, C = SystemClock> {
    shards: Box<[Shard<K, V>]>,
    hasher: RandomState,
    weigh: Weigh<K, V>,
    clock: C,
}

impl<K: Hash + Eq, V: Clone> L1<K, V> {
    /// An empty map on the machine's clock, in which an entry weighs what a key and a value take without what they point to.
    pub fn new(limits: Limits) -> Self {
        let shards = limits.shards();
        let share = limits.share(shards);
        Self {
            shards: (0..shards).map(|_| Mutex::new(Table::new(share))).collect(),
            hasher: RandomState::new(),
            weigh: Box::new(|_, _| size_of::<(K, V)>() as u64),
            clock: SystemClock,
        }
    }
}

impl<K: Hash + Eq, V: Clone, C: Clock> L1<K, V, C> {
    /// Weighs entries, in bytes, by `weigh`.
    #[must_use]
    pub fn weigh_by(mut self, weigh: impl Fn(&K, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weigh = Box::new(weigh);
        self
    }

    /// Has each use of an entry that expires put that off to `lifetime` from then, at least: for a cache whose options say
    /// `sliding`, its `ttl`.
    #[must_use]
    pub fn sliding(self, lifetime: Duration) -> Self {
        for shard in &self.shards {
            shard.with(|table| {
                let limits = Limits {
                    max_entries: 0,
                    max_bytes: 0,
                };
                *table = std::mem::replace(table, Table::new(limits)).sliding(lifetime);
            });
        }
        self
    }

    /// Takes the time from `clock`.
    #[must_use]
    pub fn on_clock<D: Clock>(self, clock: D) -> L1<K, V, D> {
        let Self {
            shards,
            hasher,
            weigh,
            ..
        } = self;
        L1 {
            shards,
            hasher,
            weigh,
            clock,
        }
    }

    /// The value of `key`, if it is there and has not expired.
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let now = self.clock.now();
        let (hash, shard) = self.place(key);
        let (found, expired) = shard.with(|table| {
            let found = table.find(hash, now, |known| *known == hash).cloned();
            (found, table.pop_dropped())
        });
        drop(expired);
        let found = found?;
        (found.0.borrow() == key).then(|| found.1.clone())
    }

    /// Puts a value in, for `lifetime` or for good. Says whether it is in: a value that weighs too much is not.
    pub fn insert(&self, key: K, value: V, lifetime: Option<Duration>) -> bool {
        let now = self.clock.now();
        let (hash, shard) = self.place(&key);
        let item = Item {
            weight: (self.weigh)(&key, &value),
            expires: lifetime.map(|lifetime| now.after(lifetime)),
            key: hash,
            value: Arc::new((key, value)),
        };
        let (inserted, dropped) = shard.with(|table| {
            (
                table.insert(hash, item, now, |known| *known == hash),
                table.take_dropped(),
            )
        });
        drop(dropped);
        inserted
    }

    /// Removes `key`; says whether it was there.
    pub fn remove<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let (hash, shard) = self.place(key);
        let removed = shard.with(|table| table.remove(hash, |known| *known == hash));
        removed.is_some_and(|(_, pair)| pair.0.borrow() == key)
    }

    /// Removes everything.
    pub fn clear(&self) {
        for shard in &self.shards {
            let dropped = shard.with(|table| {
                table.clear();
                table.take_dropped()
            });
            drop(dropped);
        }
    }

    /// Entries now, the expired ones that nobody asked for since included.
    pub fn len(&self) -> usize {
        self.sum(|table| table.len() as u64) as usize
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Weight of the entries now, in bytes.
    pub fn bytes(&self) -> u64 {
        self.sum(Table::bytes)
    }

    /// Entries that had to leave for others so far.
    pub fn evictions(&self) -> u64 {
        self.sum(Table::evictions)
    }

    fn sum(&self, of: impl Fn(&Table<u64, Arc<(K, V)>>) -> u64) -> u64 {
        self.shards
            .iter()
            .map(|shard| shard.with(|table| of(table)))
            .sum()
    }

    fn place<Q: Hash + ?Sized>(&self, key: &Q) -> (u64, &Shard<K, V>) {
        let hash = self.hasher.hash_one(key);
        // Of the half that the table does not use.
        (hash, &self.shards[hash as usize & (self.shards.len() - 1)])
    }
}

impl<K, V, C> fmt::Debug for L1<K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("L1")
            .field("shards", &self.shards.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Weak;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;
    use crate::clock::ManualClock;

    const LIMITS: Limits = Limits {
        max_entries: 10_000,
        max_bytes: 256 << 20,
    };

    #[test]
    fn entries_live_for_their_lifetime() {
        let clock = Arc::new(ManualClock::new(0));
        let cache: L1<String, u32, _> = L1::new(LIMITS).on_clock(clock.clone());
        assert!(cache.insert("a".to_owned(), 1, Some(Duration::from_secs(2))));
        assert!(cache.insert("b".to_owned(), 2, None));
        assert!(!cache.is_empty());
        clock.advance(Duration::from_secs(1));
        assert_eq!(
            (cache.get("a"), cache.get("b"), cache.get("c")),
            (Some(1), Some(2), None)
        );
        clock.advance(Duration::from_secs(1));
        assert_eq!((cache.get("a"), cache.get("b")), (None, Some(2)));
        assert!(cache.remove("b"));
        assert!(!cache.remove("b"));
        assert!(cache.is_empty());
    }

    #[test]
    fn limits_hold_over_all_shards() {
        let limits = Limits {
            max_entries: 3000,
            max_bytes: 64 << 20,
        };
        let cache = L1::new(limits).weigh_by(|_: &u32, _: &u32| 40_000);
        for key in 0..10_000 {
            cache.insert(key, key, None);
            assert!(cache.len() as u64 <= limits.max_entries && cache.bytes() <= limits.max_bytes);
        }
        // Two shards, each full: 32 MiB of 40 000 bytes.
        assert_eq!(cache.len(), 2 * ((32 << 20) / 40_000));
        assert_eq!(cache.evictions(), 10_000 - cache.len() as u64);
        cache.clear();
        assert_eq!((cache.len(), cache.bytes()), (0, 0));

        let cache = L1::new(limits);
        for key in 0..10_000 {
            cache.insert(key, key, None);
        }
        assert_eq!(cache.len() as u64, limits.max_entries);
    }

    #[test]
    fn limits_are_spread_by_powers_of_two_of_which_none_is_too_small() {
        let shards = |max_entries, max_bytes| {
            let limits = Limits {
                max_entries,
                max_bytes,
            };
            let shards = limits.shards();
            let share = limits.share(shards);
            assert!(share.max_entries * shards <= max_entries);
            assert!(share.max_bytes * shards <= max_bytes);
            shards
        };
        let (entry, byte) = (1024, 16 << 20);
        assert_eq!(shards(1, 1), 1);
        assert_eq!(shards(2 * entry - 1, 100 * byte), 1);
        assert_eq!(shards(2 * entry, 2 * byte), 2);
        assert_eq!(shards(2 * entry, 2 * byte - 1), 1);
        assert_eq!(shards(7 * entry, 100 * byte), 4);
        assert_eq!(shards(100 * entry, 8 * byte), 8);
        assert_eq!(shards(u64::MAX, u64::MAX), 16);
    }

    #[test]
    fn small_limits_are_not_divided() {
        let cache: L1<u32, u32> = L1::new(Limits {
            max_entries: 3,
            max_bytes: 1 << 30,
        });
        for key in 0..3 {
            cache.insert(key, key, None);
        }
        assert_eq!((0..3).filter(|key| cache.get(key).is_some()).count(), 3);
    }

    #[test]
    fn keys_whose_hashes_collide_are_not_taken_for_each_other() {
        #[derive(PartialEq, Eq)]
        struct Same(u32);
        impl Hash for Same {
            fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
        }
        let cache: L1<Same, u32> = L1::new(LIMITS);
        cache.insert(Same(1), 1, None);
        assert_eq!((cache.get(&Same(1)), cache.get(&Same(2))), (Some(1), None));
        assert!(!cache.remove(&Same(2)));
        cache.insert(Same(1), 1, None);
        cache.insert(Same(2), 2, None);
        assert_eq!((cache.get(&Same(1)), cache.get(&Same(2))), (None, Some(2)));
    }

    /// Uses the cache from its own destructor, comparison and clone.
    struct Meddler(Weak<L1<u32, Meddler>>, Arc<AtomicU32>);

    impl Meddler {
        fn meddle(&self) {
            if let Some(cache) = self.0.upgrade() {
                self.1.fetch_add(1, Ordering::Relaxed);
                cache.remove(&u32::MAX);
                cache.len();
            }
        }
    }

    impl Clone for Meddler {
        fn clone(&self) -> Self {
            self.meddle();
            Self(Weak::new(), self.1.clone())
        }
    }

    impl Drop for Meddler {
        fn drop(&mut self) {
            self.meddle();
        }
    }

    #[test]
    fn values_may_use_the_cache_when_they_are_cloned_or_dropped() {
        let cache = Arc::new(L1::new(Limits {
            max_entries: 2,
            max_bytes: 1 << 20,
        }));
        let calls = Arc::new(AtomicU32::new(0));
        for key in 0..5 {
            cache.insert(key, Meddler(Arc::downgrade(&cache), calls.clone()), None);
        }
        assert_eq!(calls.load(Ordering::Relaxed), 3, "evicted ones");
        assert!(cache.get(&4).is_some());
        assert_eq!(calls.load(Ordering::Relaxed), 4, "one cloned");
        cache.clear();
        assert_eq!(calls.load(Ordering::Relaxed), 6, "the rest");
    }

    #[test]
    fn threads_use_it_together() {
        let cache: L1<u64, u64> = L1::new(LIMITS);
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let cache = &cache;
                scope.spawn(move || {
                    for key in 0..5000 {
                        cache.insert(key, key * 2, None);
                        if let Some(value) = cache.get(&(key / (thread + 1))) {
                            assert_eq!(value, key / (thread + 1) * 2);
                        }
                    }
                });
            }
        });
        assert_eq!(cache.len(), 5000);
    }
}
