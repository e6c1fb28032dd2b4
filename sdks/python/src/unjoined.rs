//! Loads that nobody else waits for yet.
//!
//! A flight and all that comes with it exist for those who wait and for other processes, and most misses of a function
//! without a remote tier meet neither. So such a load is only noted here. Who comes for the same key meanwhile finds the
//! note, enters a flight in the loader's name, leaves the duty to land it with the note, and waits in that flight as usual.

use std::sync::atomic::{AtomicU64, Ordering};

use cachekit_runtime::driver::current_thread;
use cachekit_runtime::flight;

use crate::key::Key;
use crate::load::Raised;
use crate::packed::Packed;
use crate::shared::Guarded;
use crate::stored::Value;

/// The duty to give those who wait a result.
pub(crate) type Lead = flight::Lead<Value, Raised>;

/// More of them at once do not come here: each is looked at whenever another one begins.
const MOST: usize = 32;

/// How often this process is a child of a fork.
static FORKS: AtomicU64 = AtomicU64::new(0);

/// The loads of one function.
pub(crate) struct Unjoined(Guarded<State>);

struct State {
    notes: Vec<Note>,
    next: u64,
    /// Loads that go through the runtime, which have flights.
    joinable: usize,
    forks: u64,
}

/// One load.
pub(crate) struct Note {
    number: u64,
    hash: u64,
    thread: u64,
    pub(crate) key: Packed,
    /// Whether somebody removed or replaced what it loads since it began.
    pub(crate) stale: bool,
    pub(crate) lead: Option<Box<Lead>>,
}

impl State {
    /// Other threads' loads do not go on in a forked child. What they hold is theirs, so it is left where it is.
    fn after_fork(&mut self) {
        let forks = FORKS.load(Ordering::Relaxed);
        if self.forks != forks {
            self.forks = forks;
            self.joinable = 0;
            let thread = current_thread();
            let gone = self.notes.extract_if(.., |note| note.thread != thread);
            gone.for_each(std::mem::forget);
        }
    }
}

impl Unjoined {
    pub(crate) fn new() -> Self {
        Self(Guarded::new(State {
            notes: Vec::new(),
            next: 0,
            joinable: 0,
            forks: FORKS.load(Ordering::Relaxed),
        }))
    }

    /// Whether a load of the key that `same` recognises may be noted: nobody else loads it in any way.
    #[inline]
    pub(crate) fn is_free(&self, hash: u64, same: impl Fn(&Packed) -> bool) -> bool {
        self.0.with(|state| {
            state.after_fork();
            let taken = |note: &Note| note.hash == hash && same(&note.key);
            state.joinable == 0 && state.notes.len() < MOST && !state.notes.iter().any(taken)
        })
    }

    /// Notes a load by this thread, until [`Noted::end`].
    #[inline]
    pub(crate) fn note(&self, hash: u64, key: Packed) -> Noted<'_> {
        let thread = current_thread();
        let number = self.0.with(|state| {
            let number = state.next;
            state.next += 1;
            state.notes.push(Note {
                number,
                hash,
                thread,
                key,
                stale: false,
                lead: None,
            });
            number
        });
        Noted {
            unjoined: self,
            number,
        }
    }

    #[inline]
    fn take(&self, number: u64) -> Option<Note> {
        self.0.with(|state| {
            let at = state.notes.iter().rposition(|note| note.number == number)?;
            Some(state.notes.swap_remove(at))
        })
    }

    /// Has whoever loads `key` land a flight, which `enter` enters in the name of that thread.
    pub(crate) fn join(&self, hash: u64, key: &Key, enter: impl FnOnce(u64) -> Option<Lead>) {
        let found = self.0.with(|state| {
            state.after_fork();
            let known = |note: &&Note| note.hash == hash && note.lead.is_none();
            let note = state
                .notes
                .iter()
                .filter(known)
                .find(|note| note.key.same(key));
            note.map(|note| (note.number, note.thread))
        });
        let Some((number, thread)) = found else {
            return;
        };
        let Some(lead) = enter(thread) else { return };
        // If the load ended meanwhile nobody owes the flight a result: dropped here, the lead passes to whoever waits.
        let mut lead = Some(Box::new(lead));
        self.0.with(|state| {
            if let Some(note) = state.notes.iter_mut().find(|note| note.number == number) {
                std::mem::swap(&mut note.lead, &mut lead);
            }
        });
        drop(lead);
    }

    /// What is being loaded for `hash` is not to be kept: somebody was here after it began.
    #[inline]
    pub(crate) fn overtake(&self, hash: u64) {
        self.0.with(|state| {
            for note in state.notes.iter_mut().filter(|note| note.hash == hash) {
                note.stale = true;
            }
        });
    }

    /// Nothing that is being loaded is to be kept.
    pub(crate) fn overtake_all(&self) {
        self.0.with(|state| {
            for note in &mut state.notes {
                note.stale = true;
            }
        });
    }

    /// A load with a flight of its own, while the result lives.
    pub(crate) fn joinable(&self) -> Joinable<'_> {
        self.0.with(|state| state.joinable += 1);
        Joinable(self)
    }
}

/// A note. Dropped without [`end`](Self::end), whoever joined it loads in its place.
pub(crate) struct Noted<'a> {
    unjoined: &'a Unjoined,
    number: u64,
}

impl Noted<'_> {
    /// The load is over.
    #[inline]
    pub(crate) fn end(self) -> Option<Note> {
        let note = self.unjoined.take(self.number);
        std::mem::forget(self);
        note
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        drop(self.unjoined.take(self.number));
    }
}

/// See [`Unjoined::joinable`].
pub(crate) struct Joinable<'a>(&'a Unjoined);

impl Drop for Joinable<'_> {
    fn drop(&mut self) {
        let Self(unjoined) = self;
        unjoined.0.with(|state| {
            // A fork meanwhile counted it out.
            state.joinable = state.joinable.saturating_sub(1);
        });
    }
}

/// In a forked child only this thread is left.
pub(crate) fn after_fork_in_child() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}
