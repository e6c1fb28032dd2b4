//! The in-process tier of one function: Python keys and values in the runtime's table.
//!
//! What leaves the table is released after the section that took it out, since releasing an object may run code that
//! comes back here. Entries of a method belong to its instance, which is held weakly and takes them along when it dies.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use cachekit_runtime::cache;
use cachekit_runtime::clock::Instant;
use cachekit_runtime::key::KeyHash;
use cachekit_runtime::l1::{Item, Limits};
use cachekit_runtime::shim;
use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::clock;
use crate::guard::attached;
use crate::heap;
use crate::key::{Encoded, Form, Key, Opaque, of_encoding};
use crate::packed::{Held, Packed};
use crate::part::{Glance, Part, State, glance};
use crate::ready;
use crate::shared::{Guarded, Shards};
use crate::stored::{Share, Value};
use crate::sweeper::Due;

/// A key, the hash it is found by, and what the runtime knows it as.
#[derive(Clone)]
pub(crate) struct CallKey {
    pub(crate) hash: u64,
    pub(crate) key: Key,
}

impl CallKey {
    pub(crate) fn encoded(receiver: usize, hash: KeyHash) -> Self {
        Self {
            hash: of_encoding(receiver, &hash),
            key: Key {
                receiver,
                form: Form::Encoded(Box::new(Encoded(hash))),
            },
        }
    }

    pub(crate) fn local(receiver: usize, opaque: Arc<Opaque>) -> Self {
        Self {
            hash: of_encoding(receiver, &opaque.hash),
            key: Key {
                receiver,
                form: Form::Local(opaque),
            },
        }
    }
}

/// The tier.
pub(crate) struct Local {
    pub(crate) parts: Shards<Part>,
    owners: Guarded<HashMap<usize, Owner>>,
    due: Arc<Due>,
    /// This tier, for whoever sweeps it.
    this: Weak<Self>,
    enabled: bool,
    /// Whether callers await what they get: values that all may share are then stored as what is awaited.
    awaited: bool,
}

/// A receiver with entries.
struct Owner {
    /// Calls us when the receiver dies.
    #[allow(dead_code, reason = "held for its callback")]
    watch: Py<PyAny>,
    /// Hashes of the entries inserted for it; some may have left the table since.
    hashes: Vec<u64>,
    /// How many hashes it may have before those that left are looked for.
    tidy_at: usize,
}

const TIDY_AT_LEAST: usize = 64;

impl Local {
    /// With `sliding`, a hit has an entry live for that long from then on.
    pub(crate) fn new(
        enabled: bool,
        awaited: bool,
        limits: Limits,
        sliding: Option<Duration>,
    ) -> Arc<Self> {
        let part = |count| Part::new(limits.share(count), sliding);
        let local = Arc::new_cyclic(|this| Self {
            parts: Shards::new(limits.shards(), part),
            owners: Guarded::new(HashMap::new()),
            due: Due::new(),
            this: Weak::clone(this),
            enabled,
            awaited,
        });
        let weak: Weak<Self> = Arc::downgrade(&local);
        shim::reset_after_fork(weak);
        local
    }

    /// Entries, their bytes, and how many had to leave for others, without touching the table.
    pub(crate) fn figures(&self) -> (u64, u64, u64) {
        let sum = |figure: fn(&Part) -> &AtomicU64| {
            let figures = self.parts.iter().map(figure);
            figures.map(|figure| figure.load(Ordering::Relaxed)).sum()
        };
        (
            sum(|part| &part.len),
            sum(|part| &part.bytes),
            sum(|part| &part.evictions),
        )
    }

    /// A new reference to what [`find_plain`](Self::find_plain) finds for one argument, which `same` says is its own, if that is
    /// handed out as `shared`.
    ///
    /// # Safety
    /// As for that.
    #[inline(always)]
    pub(crate) unsafe fn find_object(
        &self,
        hash: u64,
        now: Option<Instant>,
        shared: Share,
        receiver: usize,
        same: impl FnOnce(*mut ffi::PyObject) -> bool,
    ) -> Result<*mut ffi::PyObject, Glance> {
        let part = self.parts.of(hash);
        // SAFETY: both are alive, and the thread is attached.
        unsafe {
            #[cfg(not(Py_GIL_DISABLED))]
            return glance(
                &mut part.state.section().table,
                hash,
                now,
                shared,
                receiver,
                same,
            );
            #[cfg(Py_GIL_DISABLED)]
            part.state
                .with(|state| glance(&mut state.table, hash, now, shared, receiver, same))
        }
    }

    /// A new reference to the value of a call with plain arguments, and how to hand it out.
    ///
    /// # Safety
    /// The thread is attached and the parts are alive.
    #[inline(never)]
    pub(crate) unsafe fn find_plain(
        &self,
        hash: u64,
        now: Instant,
        receiver: usize,
        parts: &[*mut ffi::PyObject],
    ) -> Option<(*mut ffi::PyObject, Share)> {
        let mut dropped = false;
        let part = self.parts.of(hash);
        let found = part.state.with(|State { table, .. }| {
            // SAFETY: the parts are alive.
            let found = table.find(hash, now, |key| unsafe { key.is_plain(receiver, parts) });
            if let Some(value) = found {
                let object = value.object();
                // SAFETY: the table holds it, and the thread is attached.
                unsafe { ffi::Py_INCREF(object) };
                return Some((object, value.share()));
            }
            dropped = table.has_dropped();
            None
        });
        if dropped {
            part.settle();
        }
        found
    }

    /// The value of a key that needs no comparison by Python code.
    pub(crate) fn find(&self, key: &CallKey) -> Option<Value> {
        let now = clock::now();
        let part = self.parts.of(key.hash);
        let (found, dropped) = part.state.with(|State { table, .. }| {
            let found = table
                .find(key.hash, now, |known| known.same(&key.key))
                .map(|value| {
                    // SAFETY: the table holds it, and the thread is attached.
                    unsafe { ffi::Py_INCREF(value.object()) };
                    (value.object(), value.share())
                });
            (found, table.has_dropped())
        });
        if dropped {
            part.settle();
        }
        let (object, share) = found?;
        // SAFETY: the reference was taken in the section.
        Some(attached(|py| unsafe { Value::found(py, object, share) }))
    }

    /// The key in the table that equals `wanted`, by Python's comparison of the objects that it names.
    pub(crate) fn resolve(
        &self,
        py: Python<'_>,
        receiver: usize,
        wanted: &Opaque,
    ) -> PyResult<Option<Arc<Opaque>>> {
        let hash = of_encoding(receiver, &wanted.hash);
        let mut candidates = Vec::new();
        self.parts.of(hash).state.with(|State { table, .. }| {
            table.candidates(hash, |key| {
                if key.receiver() == receiver {
                    let local = key.local();
                    candidates.extend(local.filter(|opaque| opaque.hash == wanted.hash));
                }
            });
        });
        for opaque in candidates {
            // Runs Python code, which may change the table; the key is looked up again by its identity.
            if opaque.locals.same(&wanted.locals, py)? {
                return Ok(Some(opaque));
            }
        }
        Ok(None)
    }

    /// Has entries of `receiver` removed when it dies. Fails for an object that cannot be held weakly.
    ///
    /// Garbage that a finaliser calls gets no entries: from 3.14 on, nothing tells of the death of what was first held
    /// weakly then, and the next object at its address would find them.
    pub(crate) fn watch(self: &Arc<Self>, receiver: &Bound<'_, PyAny>) -> PyResult<()> {
        let address = receiver.as_ptr() as usize;
        if !self.enabled
            || self.owners.with(|owners| owners.contains_key(&address))
            || heap::is_garbage(receiver)
        {
            return Ok(());
        }
        let reaper = Bound::new(
            receiver.py(),
            Reaper {
                local: Arc::downgrade(self),
                address,
            },
        )?;
        // SAFETY: both are alive; returns a new reference or null with an error set.
        let watch = unsafe {
            let watch = ffi::PyWeakref_NewRef(receiver.as_ptr(), reaper.as_ptr());
            Bound::from_owned_ptr_or_err(receiver.py(), watch)?.unbind()
        };
        let owner = Owner {
            watch,
            hashes: Vec::new(),
            tidy_at: TIDY_AT_LEAST,
        };
        // Another thread may have been first; its owner is then released here, after the section.
        drop(self.owners.with(|owners| match owners.entry(address) {
            std::collections::hash_map::Entry::Occupied(_) => Some(owner),
            std::collections::hash_map::Entry::Vacant(place) => {
                place.insert(owner);
                None
            }
        }));
        Ok(())
    }

    /// Has the memory come near that storing something new will need.
    #[inline]
    pub(crate) fn foresee(&self, hash: u64) {
        let part = self.parts.of(hash);
        part.state.with(|State { table, .. }| {
            if let Some((key, value)) = table.foresee(hash) {
                key.foresee();
                value.foresee();
            }
        });
    }

    /// Whether entries of `receiver` die with it, or need not.
    #[inline]
    pub(crate) fn may_keep(&self, receiver: usize) -> bool {
        receiver == 0 || self.owners.with(|owners| owners.contains_key(&receiver))
    }

    /// Notes an entry with its receiver; says whether that still lives.
    #[inline]
    pub(crate) fn own(&self, receiver: usize, hash: u64) -> bool {
        receiver == 0
            || self.owners.with(|owners| {
                let owner = owners.get_mut(&receiver);
                owner.map(|owner| owner.hashes.push(hash)).is_some()
            })
    }

    /// Stores a value; says whether it is in.
    pub(crate) fn insert(&self, key: &CallKey, value: Value, lifetime: Option<Duration>) -> bool {
        if !self.enabled || value.share == Share::Never {
            return false;
        }
        if !self.own(key.key.receiver, key.hash) {
            return false;
        }
        let now = clock::now();
        let (value, weight) = attached(|py| {
            let weight = value.weight(py);
            (self.as_awaited(py, value), weight)
        });
        let item = Item {
            key: Packed::new(key.key.clone()),
            value: Held::new(value.object, value.share),
            weight,
            expires: lifetime.map(|lifetime| now.after(lifetime)),
        };
        let part = self.parts.of(key.hash);
        let inserted = part.state.with(|State { table, unjoined }| {
            unjoined.overtake(key.hash);
            table.insert(key.hash, item, now, |known| known.same(&key.key))
        });
        part.settle();
        self.tell_due();
        if key.key.receiver != 0 {
            self.tidy(key.key.receiver);
        }
        inserted
    }

    fn as_awaited(&self, py: Python<'_>, value: Value) -> Value {
        if !self.awaited || value.share != Share::Same {
            return value;
        }
        match ready::ready(py, value.object.clone_ref(py)) {
            Ok(awaitable) => Value::stored(awaitable, Share::Ready),
            // Without memory for it, hits make their own.
            Err(_) => value,
        }
    }

    /// Removes an entry; says whether there was one.
    pub(crate) fn remove(&self, key: &CallKey) -> bool {
        let part = self.parts.of(key.hash);
        let removed = part.state.with(|State { table, unjoined }| {
            unjoined.overtake(key.hash);
            table.remove(key.hash, |known| known.same(&key.key))
        });
        part.settle();
        attached(|_| removed.is_some())
    }

    /// Removes every entry.
    pub(crate) fn clear(&self) {
        self.overtake_all();
        let owners = self.owners.with(std::mem::take);
        for part in self.parts.iter() {
            part.state.with(|state| state.table.clear());
            part.settle();
        }
        attached(|_| drop(owners));
    }

    /// Removes what a dead receiver left.
    fn reap(&self, address: usize) {
        let Some(owner) = self.owners.with(|owners| owners.remove(&address)) else {
            return;
        };
        let mut removed = Vec::new();
        for hash in &owner.hashes {
            let part = self.parts.of(*hash);
            part.state.with(|State { table, .. }| {
                while let Some(pair) = table.remove(*hash, |key| key.receiver() == address) {
                    removed.push(pair);
                }
                part.note(table);
            });
        }
        attached(|_| drop((removed, owner)));
    }

    /// Forgets hashes of entries that left, so that a receiver that lives long does not gather them.
    pub(crate) fn tidy(&self, address: usize) {
        let hashes = self.owners.with(|owners| {
            let owner = owners.get_mut(&address)?;
            (owner.hashes.len() >= owner.tidy_at).then(|| std::mem::take(&mut owner.hashes))
        });
        let Some(mut hashes) = hashes else { return };
        hashes.sort_unstable();
        hashes.dedup();
        hashes.retain(|hash| {
            let mut there = false;
            self.parts.of(*hash).state.with(|State { table, .. }| {
                table.candidates(*hash, |key| there |= key.receiver() == address);
            });
            there
        });
        self.owners.with(|owners| {
            if let Some(owner) = owners.get_mut(&address) {
                owner.hashes.append(&mut hashes);
                owner.tidy_at = TIDY_AT_LEAST.max(owner.hashes.len() * 2);
            }
        });
    }

    /// Has the tier swept when something of it is due.
    #[inline]
    pub(crate) fn tell_due(&self) {
        let due = self.parts.iter().map(|part| &part.due);
        let due = due.map(|due| due.load(Ordering::Relaxed)).min();
        self.due.set(due.unwrap_or(u64::MAX), &self.this);
    }

    /// Lets entries go that have expired, looking at no more than `steps` in a part; says whether there are more to look at.
    /// What leaves is released one by one, until `is_over`; the rest goes with whatever leaves next.
    pub(crate) fn sweep(&self, py: Python<'_>, steps: usize, is_over: impl Fn() -> bool) -> bool {
        let now = clock::now();
        let mut more = false;
        for part in self.parts.iter() {
            more |= part.state.with(|State { table, .. }| {
                let more = table.sweep(now, steps);
                part.note(table);
                more
            });
            while !is_over()
                && let Some((key, value)) = part.state.with(|state| state.table.pop_dropped())
            {
                value.release_outside(py);
                drop(key);
            }
        }
        self.tell_due();
        more
    }

    /// Shows the collector every object in the table.
    ///
    /// # Safety
    /// Only from `tp_traverse`.
    pub(crate) unsafe fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        // SAFETY: the caller is `tp_traverse`.
        unsafe {
            for part in self.parts.iter() {
                part.state.while_stopped(|State { table, .. }| {
                    for (key, value) in table.iter() {
                        key.each_object(&mut visit);
                        visit(value.object());
                    }
                });
            }
        }
    }
}

/// The tier as the runtime knows it.
pub(crate) struct Shelf {
    pub(crate) local: Arc<Local>,
    /// Whether what it is given to hold is sealed, keys included.
    pub(crate) sealed: bool,
}

impl cache::Local for Shelf {
    type Key = CallKey;
    type Value = Value;

    fn get(&self, key: &CallKey) -> Option<Value> {
        self.local.find(key)
    }

    fn insert(&self, key: &CallKey, value: Value, lifetime: Option<Duration>) {
        self.local.insert(key, value, lifetime);
    }

    fn remove(&self, key: &CallKey) -> bool {
        self.local.remove(key)
    }

    fn clear(&self) {
        self.local.clear();
    }

    fn is_sealed(&self) -> bool {
        self.sealed
    }
}

/// What a receiver's weak reference calls when it dies.
#[pyclass(frozen, module = "cachekit._native")]
struct Reaper {
    local: Weak<Local>,
    address: usize,
}

#[pymethods]
impl Reaper {
    fn __call__(&self, _reference: &Bound<'_, PyAny>) {
        if let Some(local) = self.local.upgrade() {
            local.reap(self.address);
        }
    }
}

/// Whether watching failed because the object cannot be held weakly.
pub(crate) fn cannot_be_weak(py: Python<'_>, error: &PyErr) -> bool {
    error.is_instance_of::<PyTypeError>(py)
}

/// Makes the type with the module: made later, it could be half made in a forked child.
pub(crate) fn register(py: Python<'_>) {
    py.get_type::<Reaper>();
}
