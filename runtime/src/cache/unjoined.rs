//! Loads that nobody else waits for yet.
//!
//! A flight and all that comes with it exist for those who wait and for other processes, and most misses of a function
//! without a remote tier meet neither. So such a load is only noted here. Who comes for the same key meanwhile finds the
//! note, enters a flight in the loader's name, leaves the duty to land it with the note, and waits in that flight as usual.
//!
//! Like [`Table`], it takes no lock, computes no hash and compares no keys. Whoever guards the table guards this along with
//! it, so that a load ends and its value goes in, or is overtaken and the entry goes, in one step.

use std::fmt;
use std::mem;
use std::sync::Arc;

use super::parts::LoadError;
use crate::clock::Instant;
use crate::flight::Lead;
use crate::generated::metrics::LoadOutcome;
use crate::l1::{Item, Table};

/// Most loads at once, a bit each. More of them have flights: each is looked at whenever another one begins.
const MOST: usize = u32::BITS as usize;

/// The loads of some keys. `V` and `E` are what whoever waits for one gets: a value, or an error.
pub struct Unjoined<K, V: Send + Sync + 'static, E: Send + Sync + 'static> {
    places: Vec<Place<K, V, E>>,
    /// The places in which there is a note.
    taken: u32,
    /// Callers who have a flight, or are about to enter one.
    entered: u32,
    /// How often this process is a child of a fork.
    forks: u32,
    begun: u64,
}

struct Place<K, V: Send + Sync + 'static, E: Send + Sync + 'static> {
    number: u64,
    hash: u64,
    thread: u64,
    /// None where there is no note.
    key: Option<K>,
    /// Whether somebody removed or replaced what it loads since it began.
    stale: bool,
    lead: Option<Box<Lead<V, E>>>,
}

/// A load that [began](Unjoined::begin), and has to be [ended](Unjoined::end).
#[derive(Debug)]
#[must_use = "others wait for its end"]
pub struct Load(u64);

/// A load that is over. What is in it may run foreign code when it is dropped.
#[derive(Debug)]
pub struct Ended<K, V: Send + Sync + 'static, E: Send + Sync + 'static> {
    /// The key that it was noted with, unless the table has it.
    pub key: Option<K>,
    /// The duty to give those who wait the result, if somebody does. Dropped, it passes to one of them.
    pub lead: Option<Box<Lead<V, E>>>,
}

impl<K, V: Send + Sync + 'static, E: LoadError> Ended<K, V, E> {
    /// Tells those who wait that the load failed, or has one of them load in its place; says how it counts.
    pub fn fail(ended: Option<Self>, error: E) -> LoadOutcome {
        if error.hands_over() {
            return LoadOutcome::Cancelled;
        }
        if let Some(lead) = ended.and_then(|ended| ended.lead) {
            lead.finish(Err(Arc::new(error)));
        }
        LoadOutcome::Error
    }
}

/// Somebody who loads, for whom a flight can be entered.
#[derive(Debug)]
pub struct Loader {
    /// The thread that loads.
    pub thread: u64,
    number: u64,
}

/// A caller who [entered](Unjoined::enter), and has to [leave](Unjoined::leave).
#[derive(Debug)]
#[must_use = "until it leaves, no load begins here"]
pub struct Entered {
    forks: u32,
}

impl<K, V: Send + Sync + 'static, E: Send + Sync + 'static> Unjoined<K, V, E> {
    /// Nobody loads.
    pub const fn new() -> Self {
        Self {
            places: Vec::new(),
            taken: 0,
            entered: 0,
            forks: 0,
            begun: 0,
        }
    }

    /// Notes a load of `key` by `thread`, unless somebody has a flight, or loads what `same` recognises: the key is then
    /// given back, and its load has to go through a flight.
    #[inline]
    pub fn begin(
        &mut self,
        hash: u64,
        key: K,
        thread: u64,
        same: impl FnMut(&K) -> bool,
    ) -> Result<Load, K> {
        if self.entered | self.taken != 0 && !self.is_free(hash, same) {
            return Err(key);
        }
        let at = self.taken.trailing_ones() as usize;
        if at >= self.places.len() {
            self.grow();
        }
        self.taken |= 1 << at;
        self.begun += 1;
        let number = self.begun * MOST as u64 + at as u64;
        // Field by field, and not as one value, which would be put together elsewhere and moved. There is no lead.
        let place = &mut self.places[at];
        place.number = number;
        place.hash = hash;
        place.thread = thread;
        place.stale = false;
        place.key = Some(key);
        Ok(Load(number))
    }

    fn is_free(&self, hash: u64, same: impl FnMut(&K) -> bool) -> bool {
        self.entered == 0 && self.taken != u32::MAX && self.find(hash, same).is_none()
    }

    /// The load of a key, if what it comes to is still what somebody who comes now may have.
    fn find(&self, hash: u64, mut same: impl FnMut(&K) -> bool) -> Option<&Place<K, V, E>> {
        let is_it = |place: &&Place<K, V, E>| {
            let key = place.key.as_ref();
            place.hash == hash && !place.stale && key.is_some_and(&mut same)
        };
        self.places.iter().find(is_it)
    }

    #[cold]
    fn grow(&mut self) {
        self.places.push(Place {
            number: 0,
            hash: 0,
            thread: 0,
            key: None,
            stale: false,
            lead: None,
        });
    }

    /// Ends a load that comes to nothing that could be kept. Nothing if it is another process's, from before a fork.
    #[expect(clippy::needless_pass_by_value, reason = "a load ends once")]
    pub fn end(&mut self, begun: Load) -> Option<Ended<K, V, E>> {
        let Load(number) = begun;
        let at = number as usize % MOST;
        let place = self.places.get_mut(at)?;
        if place.number != number {
            return None;
        }
        let key = Some(place.key.take()?);
        self.taken &= !(1 << at);
        let lead = place.lead.take();
        Some(Ended { key, lead })
    }

    /// Ends a load, and puts what it came to into `table` unless it was overtaken: the value then comes back. The rest is as
    /// for [`Table::insert`].
    #[inline]
    pub fn keep<T>(
        &mut self,
        begun: Load,
        table: &mut Table<K, T>,
        item: Item<(), T>,
        now: Instant,
        same: impl FnMut(&K) -> bool,
    ) -> (Option<Ended<K, V, E>>, Option<T>) {
        let Load(number) = begun;
        let at = number as usize % MOST;
        let place = self.places.get_mut(at);
        let Some(place) = place.filter(|place| place.number == number && !place.stale) else {
            return (self.end(begun), Some(item.value));
        };
        let Some(key) = place.key.take() else {
            return (None, Some(item.value));
        };
        self.taken &= !(1 << at);
        let lead = place.lead.take();
        let hash = place.hash;
        let Item {
            key: (),
            value,
            weight,
            expires,
        } = item;
        let item = Item {
            key,
            value,
            weight,
            expires,
        };
        table.insert(hash, item, now, same);
        (Some(Ended { key: None, lead }), None)
    }

    /// Says that somebody has a flight, or is about to enter one: from now on whoever loads has one too.
    pub fn enter(&mut self) -> Entered {
        self.entered += 1;
        Entered { forks: self.forks }
    }

    /// Ends what [`enter`](Self::enter) began.
    pub fn leave(&mut self, Entered { forks }: Entered) {
        // Who had entered before a fork is not counted in the child.
        if forks == self.forks {
            self.entered -= 1;
        }
    }

    /// Who loads the key that `same` recognises, unless its flight is entered already. Whoever has
    /// [entered](Self::enter) enters a flight of that key in the loader's name, and leaves the lead [with it](Self::owe).
    pub fn loader(&self, hash: u64, same: impl FnMut(&K) -> bool) -> Option<Loader> {
        let place = self.find(hash, same)?;
        place.lead.is_none().then_some(Loader {
            thread: place.thread,
            number: place.number,
        })
    }

    /// Has `loader` give the result to those who wait. If it cannot, since it is done or was overtaken, the lead comes back:
    /// dropped, it passes to them.
    pub fn owe(&mut self, loader: &Loader, lead: Box<Lead<V, E>>) -> Option<Box<Lead<V, E>>> {
        let place = self.places.get_mut(loader.number as usize % MOST);
        let owing = place.filter(|place| {
            let is_it = place.number == loader.number && place.key.is_some();
            is_it && !place.stale && place.lead.is_none()
        });
        match owing {
            Some(place) => place.lead.replace(lead),
            None => Some(lead),
        }
    }

    /// What is being loaded for `hash` is not to be kept, nor given to who comes from now on: somebody removes or replaces it.
    ///
    /// Whoever does so [enters](Self::enter) and overtakes first, and [forgets](crate::flight::Flight::forget) the flight then. So
    /// a flight that is entered in the name of a load that was overtaken does not come to be [owed](Self::owe) by it afterwards.
    #[inline]
    pub fn overtake(&mut self, hash: u64) {
        if self.taken != 0 {
            let overtaken = self.places.iter_mut().filter(|place| place.hash == hash);
            overtaken.for_each(|place| place.stale = true);
        }
    }

    /// Nothing that is being loaded is to be kept, nor given to who comes from now on.
    pub fn overtake_all(&mut self) {
        for place in &mut self.places {
            place.stale = true;
        }
    }

    /// In a forked child only `thread` goes on. What others hold is theirs, so it is left where it is.
    pub fn after_fork(&mut self, thread: u64) {
        self.forks += 1;
        self.entered = 0;
        for (at, place) in self.places.iter_mut().enumerate() {
            if place.thread != thread {
                mem::forget((place.key.take(), place.lead.take()));
                self.taken &= !(1 << at);
            }
        }
    }

    /// Loads that are noted.
    pub fn len(&self) -> usize {
        self.taken.count_ones() as usize
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.taken == 0
    }
}

impl<K, V: Send + Sync + 'static, E: Send + Sync + 'static> Default for Unjoined<K, V, E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V: Send + Sync + 'static, E: Send + Sync + 'static> fmt::Debug for Unjoined<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unjoined")
            .field("loads", &self.len())
            .finish_non_exhaustive()
    }
}
