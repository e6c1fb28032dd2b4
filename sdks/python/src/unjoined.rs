//! The runtime's notes of loads that nobody else waits for, guarded with the entries that will come of them.

use std::mem::ManuallyDrop;
use std::time::Duration;

use cachekit_runtime::cache;
use cachekit_runtime::cache::{Entered, Load};
use cachekit_runtime::driver::current_thread;
use cachekit_runtime::flight;
use cachekit_runtime::l1::Item;
use cachekit_runtime::shim::ForkReset;
use pyo3::prelude::*;

use crate::clock;
use crate::function::Place;
use crate::guard::attached;
use crate::load::Raised;
use crate::local::{CallKey, Local};
use crate::packed::{Held, Packed};
use crate::part::{Part, State};
use crate::stored::Value;

/// The duty to give those who wait a result.
pub(crate) type Lead = flight::Lead<Value, Raised>;
/// A load that is over.
pub(crate) type Ended = cache::Ended<Packed, Value, Raised>;

/// A load that is noted. Dropped, it is over, and whoever joined it loads in its place.
pub(crate) struct Noted<'a> {
    part: &'a Part,
    load: ManuallyDrop<Load>,
}

impl<'a> Noted<'a> {
    #[inline]
    fn into_parts(self) -> (&'a Part, Load) {
        let mut this = ManuallyDrop::new(self);
        // SAFETY: it is taken once, and `drop` does not run.
        (this.part, unsafe { ManuallyDrop::take(&mut this.load) })
    }

    /// The load is over, and nothing of it is kept.
    pub(crate) fn end(self) -> Option<Ended> {
        let (part, load) = self.into_parts();
        part.state.with(|state| state.unjoined.end(load))
    }
}

impl Noted<'_> {
    /// The load is over, and nothing of it is kept, though it came to something. Gives the duty to tell those who wait.
    #[cold]
    pub(crate) fn refuse(self, value: Option<Held>) -> Option<Box<Lead>> {
        refuse(self.end(), value)
    }
}

/// Releases what is not kept.
#[cold]
fn refuse(ended: Option<Ended>, value: Option<Held>) -> Option<Box<Lead>> {
    attached(|_| {
        drop(value);
        ended.and_then(|ended| ended.lead)
    })
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        // SAFETY: it is taken once, since this does not come after `into_parts`.
        let load = unsafe { ManuallyDrop::take(&mut self.load) };
        let ended = self.part.state.with(|state| state.unjoined.end(load));
        attached(|_| drop(ended));
    }
}

/// A call that has a flight, or is about to enter one.
pub(crate) struct InFlight<'a> {
    part: &'a Part,
    entered: ManuallyDrop<Entered>,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        // SAFETY: it is taken once, here.
        let entered = unsafe { ManuallyDrop::take(&mut self.entered) };
        self.part.state.with(|state| state.unjoined.leave(entered));
    }
}

impl Local {
    /// Notes a load of a call with plain arguments, unless it has to go through the runtime.
    ///
    /// # Safety
    /// Attached, and the arguments are alive.
    #[inline]
    pub(crate) unsafe fn begin(&self, at: Place<'_>, thread: u64) -> Option<Noted<'_>> {
        let Place {
            hash,
            receiver,
            parts,
        } = at;
        // SAFETY: by the contract above.
        let key = unsafe { Packed::plain(Python::assume_attached(), receiver, parts) }?;
        let part = self.parts.of(hash);
        let begun = part.state.with(|state| {
            // SAFETY: the arguments are alive.
            let same = |key: &Packed| unsafe { key.is_plain(receiver, parts) };
            state.unjoined.begin(hash, key, thread, same)
        });
        match begun {
            Ok(load) => Some(Noted {
                part,
                load: ManuallyDrop::new(load),
            }),
            Err(key) => {
                // SAFETY: attached.
                unsafe { key.release() };
                None
            }
        }
    }

    /// Ends a load, and keeps what it came to unless somebody overtook it. Gives the duty to tell those who wait.
    ///
    /// # Safety
    /// As for [`begin`](Self::begin), with the same arguments.
    #[inline(always)]
    pub(crate) unsafe fn keep(
        &self,
        noted: Noted<'_>,
        at: Place<'_>,
        value: Held,
        weight: u64,
        lifetime: Option<Duration>,
    ) -> Option<Box<Lead>> {
        let Place {
            hash,
            receiver,
            parts,
        } = at;
        if !self.own(receiver, hash) {
            return noted.refuse(Some(value));
        }
        let now = clock::now();
        let item = Item {
            key: (),
            value,
            weight,
            expires: lifetime.map(|lifetime| now.after(lifetime)),
        };
        let (part, load) = noted.into_parts();
        let (ended, refused) = part.state.with(|State { table, unjoined }| {
            // SAFETY: the arguments are alive.
            let same = |key: &Packed| unsafe { key.is_plain(receiver, parts) };
            let ended = unjoined.keep(load, table, item, now, same);
            part.note(table);
            ended
        });
        self.tell_due();
        // SAFETY: attached.
        unsafe { part.release_dropped() };
        if receiver != 0 {
            self.tidy(receiver);
        }
        match (ended, refused) {
            (Some(Ended { key: None, lead }), None) => lead,
            (ended, refused) => refuse(ended, refused),
        }
    }

    /// From now on, and as long as the result lives, loads of such keys have flights.
    pub(crate) fn enter(&self, hash: u64) -> InFlight<'_> {
        let part = self.parts.of(hash);
        let entered = part.state.with(|state| state.unjoined.enter());
        InFlight {
            part,
            entered: ManuallyDrop::new(entered),
        }
    }

    /// [Enters](Self::enter), and has whoever loads `key` land a flight, which `lead` enters in the name of that thread.
    pub(crate) fn join(
        &self,
        key: &CallKey,
        lead: impl FnOnce(u64) -> Option<Lead>,
    ) -> InFlight<'_> {
        let in_flight = self.enter(key.hash);
        let unjoined = &in_flight.part.state;
        let loader = unjoined
            .with(|State { unjoined, .. }| unjoined.loader(key.hash, |known| known.same(&key.key)));
        if let Some(loader) = loader
            && let Some(lead) = lead(loader.thread).map(Box::new)
        {
            drop(unjoined.with(|state| state.unjoined.owe(&loader, lead)));
        }
        in_flight
    }

    /// [Enters](Self::enter), to remove or replace an entry: what is being loaded for it is not kept, and nobody joins it.
    pub(crate) fn overtake(&self, hash: u64) -> InFlight<'_> {
        let in_flight = self.enter(hash);
        let state = &in_flight.part.state;
        state.with(|state| state.unjoined.overtake(hash));
        in_flight
    }

    /// Nothing that is being loaded is kept, and nobody joins it.
    pub(crate) fn overtake_all(&self) {
        for part in self.parts.iter() {
            part.state.with(|state| state.unjoined.overtake_all());
        }
    }
}

impl ForkReset for Local {
    fn reset_after_fork(&self) {
        let thread = current_thread();
        for part in self.parts.iter() {
            part.state.with(|state| state.unjoined.after_fork(thread));
        }
    }
}
