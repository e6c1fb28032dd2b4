//! The entries of some hashes: a table, what it holds, and what has to be done when entries leave it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cachekit_runtime::clock::Instant;
use cachekit_runtime::l1::{First, Limits, Table};
use pyo3::ffi;

use crate::clock;
use crate::guard::attached;
use crate::packed::{Held, Packed};
use crate::shared::Guarded;
use crate::stored::Share;

/// The entries of some hashes.
pub(crate) struct Part {
    pub(crate) table: Guarded<Table<Packed, Held>>,
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
            table: Guarded::new(table),
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
        while let Some((key, value)) = self.table.with(Table::pop_dropped) {
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
        let dropped = self.table.with(|table| {
            self.note(table);
            table.take_dropped()
        });
        if !dropped.is_empty() {
            attached(|_| drop(dropped));
        }
    }
}

/// What a first look at the tier says.
#[derive(Clone, Copy)]
pub(crate) enum Glance {
    /// A new reference to the value, and how to hand it out.
    Found(*mut ffi::PyObject, Share),
    Absent,
    /// Another look is needed.
    Unclear,
}

/// A first look, as a section of a table.
///
/// # Safety
/// Attached, and both are alive.
#[inline(always)]
pub(crate) unsafe fn glance(
    table: &mut Table<Packed, Held>,
    hash: u64,
    receiver: usize,
    part: *mut ffi::PyObject,
) -> Glance {
    // SAFETY: both are alive.
    let same =
        |key: &Packed| unsafe { key.is_object(receiver, part) || key.is_equal(receiver, part) };
    match table.find_first(hash, clock::now, same) {
        First::Found(value) => {
            let object = value.object();
            // SAFETY: the table holds it, and the thread is attached.
            unsafe { ffi::Py_INCREF(object) };
            Glance::Found(object, value.share())
        }
        First::Absent => Glance::Absent,
        First::Unclear => Glance::Unclear,
    }
}
