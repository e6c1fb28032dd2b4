//! A remote tier within this process, for tests, for simulations, and for sharing between caches of one process.
//!
//! It keeps to the trait's semantics, lifetimes included, on a clock that is handed in: nothing in a test needs to sleep.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::{Deadline, Remote};
use crate::clock::{Clock, Instant, SystemClock};
use crate::error::Result;
use crate::shim::Mutex;

/// Bytes by key, each for its lifetime. Expired entries are dropped when they are asked for.
pub struct Memory<C = SystemClock> {
    clock: C,
    entries: Mutex<HashMap<Vec<u8>, Stored>>,
}

struct Stored {
    value: Bytes,
    expires: Option<Instant>,
}

impl Stored {
    fn lives(&self, now: Instant) -> bool {
        self.expires.is_none_or(|expires| now < expires)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(SystemClock)
    }
}

impl<C> fmt::Debug for Memory<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").finish_non_exhaustive()
    }
}

impl<C: Clock> Memory<C> {
    /// An empty store whose lifetimes run on `clock`.
    pub fn new(clock: C) -> Self {
        Self {
            clock,
            entries: Mutex::default(),
        }
    }

    /// The value of `key`, at once.
    pub fn get_now(&self, key: &[u8]) -> Option<Bytes> {
        let now = self.clock.now();
        self.entries.with(|entries| match entries.get(key) {
            Some(stored) if stored.lives(now) => Some(stored.value.clone()),
            Some(_) => {
                entries.remove(key);
                None
            }
            None => None,
        })
    }

    /// Stores `value` under `key`, at once.
    pub fn set_now(&self, key: &[u8], value: Bytes, lifetime: Option<Duration>) {
        let expires = lifetime.map(|lifetime| self.clock.now().after(lifetime));
        self.entries
            .with(|entries| entries.insert(key.to_vec(), Stored { value, expires }));
    }

    /// The values of `keys`, at once; the first of them, if it is there, lives for `renew` from now on.
    pub fn read_now<K: AsRef<[u8]>>(
        &self,
        keys: &[K],
        renew: Option<Duration>,
    ) -> Vec<Option<Bytes>> {
        if let (Some(lifetime), Some(first)) = (renew, keys.first()) {
            let now = self.clock.now();
            self.entries.with(|entries| {
                let first = entries.get_mut(first.as_ref());
                if let Some(stored) = first.filter(|stored| stored.lives(now)) {
                    stored.expires = Some(now.after(lifetime));
                }
            });
        }
        keys.iter().map(|key| self.get_now(key.as_ref())).collect()
    }

    /// Removes `key`, at once; says whether it was there.
    pub fn remove_now(&self, key: &[u8]) -> bool {
        let now = self.clock.now();
        self.entries
            .with(|entries| entries.remove(key))
            .is_some_and(|stored| stored.lives(now))
    }

    /// The keys that live now, sorted.
    pub fn keys(&self) -> Vec<Vec<u8>> {
        let now = self.clock.now();
        let mut keys: Vec<_> = self.entries.with(|entries| {
            entries.retain(|_, stored| stored.lives(now));
            entries.keys().cloned().collect()
        });
        keys.sort_unstable();
        keys
    }

    /// Time that `key` has left; `None` if it is not there or never expires.
    pub fn lifetime(&self, key: &[u8]) -> Option<Duration> {
        let now = self.clock.now();
        let expires = self
            .entries
            .with(|entries| entries.get(key).and_then(|stored| stored.expires));
        expires
            .filter(|expires| now < *expires)
            .map(|expires| expires.since(now))
    }
}

impl<C: Clock> Remote for Memory<C> {
    async fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        _deadline: Deadline,
    ) -> Result<Vec<Option<Bytes>>> {
        Ok(self.read_now(keys, renew))
    }

    async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        _deadline: Deadline,
    ) -> Result<()> {
        self.set_now(key, value, lifetime);
        Ok(())
    }

    async fn remove(&self, keys: &[&[u8]], _deadline: Deadline) -> Result<u64> {
        Ok(keys.iter().map(|key| u64::from(self.remove_now(key))).sum())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::clock::ManualClock;

    #[test]
    fn an_entry_lives_for_its_lifetime_and_no_longer() {
        let clock = Arc::new(ManualClock::new(0));
        let memory = Memory::new(Arc::clone(&clock));
        memory.set_now(b"a", Bytes::from_static(b"1"), Some(Duration::from_secs(2)));
        memory.set_now(b"b", Bytes::from_static(b"2"), None);
        clock.advance(Duration::from_millis(1999));
        assert_eq!(memory.get_now(b"a").as_deref(), Some(&b"1"[..]));
        assert_eq!(memory.lifetime(b"a"), Some(Duration::from_millis(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(memory.get_now(b"a"), None);
        assert!(!memory.remove_now(b"a"));
        assert_eq!(memory.keys(), vec![b"b".to_vec()]);
        assert!(memory.remove_now(b"b"));
    }
}
