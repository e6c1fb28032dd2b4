//! The entries of some hashes: a table, what it holds, and what has to be done when entries leave it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachekit_runtime::cache::Unjoined;
use cachekit_runtime::clock::Instant;
use cachekit_runtime::l1::{First, Limits, Table};
use pyo3::ffi;

use crate::guard::attached;
use crate::load::Raised;
use crate::packed::{Held, Packed, Taken};
use crate::shared::Guarded;
use crate::stored::{Share, Value};

/// What is found by some hashes, and what is being loaded.
pub(crate) struct State {
    pub(crate) table: Table<Packed, Held>,
    pub(crate) unjoined: Unjoined<Packed, Value, Raised>,
}

/// The entries of some hashes.
pub(crate) struct Part {
    pub(crate) state: Guarded<State>,
    pub(crate) len: AtomicU64,
    pub(crate) bytes: AtomicU64,
    pub(crate) evictions: AtomicU64,
    /// When something is to be swept, in nanoseconds of the clock.
    pub(crate) due: AtomicU64,
}

impl Part {
    pub(crate) fn new(limits: Limits, sliding: Option<Duration>) -> Self {
        let table = Table::new(limits);
        let table = match sliding {
            Some(lifetime) => table.sliding(lifetime),
            None => table,
        };
        Self {
            state: Guarded::new(State {
                table,
                unjoined: Unjoined::new(),
            }),
            len: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            evictions: AtomicU64::new(0),
            due: AtomicU64::new(u64::MAX),
        }
    }

    /// Notes how much there is, and when something of it is due.
    #[inline]
    pub(crate) fn note(&self, table: &Table<Packed, Held>) {
        let due = table.next_expiry().map_or(u64::MAX, Instant::as_nanos);
        self.len.store(table.len() as u64, Ordering::Relaxed);
        self.bytes.store(table.bytes(), Ordering::Relaxed);
        self.evictions.store(table.evictions(), Ordering::Relaxed);
        self.due.store(due, Ordering::Relaxed);
    }

    /// Releases what left the table, one by one.
    ///
    /// # Safety
    /// Attached.
    #[inline]
    pub(crate) unsafe fn release_dropped(&self) {
        while let Some((key, value)) = self.state.with(|state| state.table.pop_dropped()) {
            // SAFETY: attached.
            unsafe {
                key.release();
                value.release();
            }
        }
    }

    /// Releases what left the table, and notes how much is left.
    #[cold]
    pub(crate) fn settle(&self) {
        let dropped = self.state.with(|State { table, .. }| {
            self.note(table);
            table.take_dropped()
        });
        if !dropped.is_empty() {
            attached(|_| drop(dropped));
        }
    }
}

/// What a first look at the tier found in place of the value itself.
#[derive(Clone, Copy)]
pub(crate) enum Glance {
    /// A new reference to a value that is handed out otherwise.
    Found(Taken),
    Absent,
    /// Another look is needed, at the same time if there was one.
    Unclear(Instant),
}

/// A first look for the key of one argument that `same` says is its own, as a section of a table: a new reference to the value
/// if that is handed out as `shared`.
///
/// # Safety
/// Attached, and the receiver is alive.
#[inline(always)]
pub(crate) unsafe fn glance(
    table: &mut Table<Packed, Held>,
    hash: u64,
    now: Option<Instant>,
    shared: Share,
    receiver: usize,
    same: impl FnOnce(*mut ffi::PyObject) -> bool,
) -> Result<*mut ffi::PyObject, Glance> {
    match table.find_first(hash, now, |key| key.is_only(receiver, same)) {
        First::Found(value) => {
            // SAFETY: the table holds it, and the thread is attached.
            let taken = unsafe { value.take() };
            taken.if_shared(shared).ok_or(Glance::Found(taken))
        }
        First::Absent => Err(Glance::Absent),
        First::Unclear => Err(Glance::Unclear(now.unwrap_or_default())),
    }
}
