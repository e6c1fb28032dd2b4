//! Keys and values as the table holds them: one word each.
//!
//! A hit in a large table waits for memory, and an entry that fits a cache line is had at once. What an address has to spare,
//! since what it names is aligned, says what it names.

use std::mem::{ManuallyDrop, transmute};
use std::ptr::{NonNull, without_provenance_mut};
use std::sync::Arc;

use cachekit_runtime::l1::prefetch;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::ending;
use crate::guard::attached;
use crate::key::{Encoded, Form, Key, Opaque, are_items};
use crate::scalar::equal;
use crate::stored::Share;

/// The bits that an address has to spare.
const SPARE: usize = 0b111;

const _: () = {
    assert!(align_of::<ffi::PyObject>() > SPARE);
    assert!(align_of::<Key>() > SPARE);
    assert!(align_of::<Opaque>() > SPARE);
    assert!(align_of::<Encoded>() > SPARE);
    assert!(size_of::<Option<(Packed, Held)>>() == 16);
    assert!(size_of::<Py<PyAny>>() == size_of::<usize>());
    let mut share = 0;
    while share <= Share::Never as usize {
        assert!(Held::SHARES[share] as usize == share);
        share += 1;
    }
};

/// An address, and what it says besides.
fn tag<T>(at: NonNull<T>, tag: usize) -> NonNull<u8> {
    at.cast().map_addr(|address| address | tag)
}

/// The address without it.
fn untag<T>(word: NonNull<u8>) -> *mut T {
    word.as_ptr().map_addr(|address| address & !SPARE).cast()
}

/// A reference to an object, from its address.
///
/// # Safety
/// The reference is given away.
unsafe fn owned<T>(object: *mut ffi::PyObject) -> Py<T> {
    // SAFETY: `Py` is that address and nothing else, never null.
    unsafe { transmute(object) }
}

/// A key.
pub(crate) struct Packed(NonNull<u8>);

// SAFETY: what it names may be sent and shared: objects under the interpreter's rules, hashes, and a `Key`.
unsafe impl Send for Packed {}
// SAFETY: as above.
unsafe impl Sync for Packed {}

impl Packed {
    const ONE: usize = 0;
    const MANY: usize = 1;
    const ENCODED: usize = 2;
    const LOCAL: usize = 3;
    const EMPTY: usize = 4;
    /// A key with a receiver, in memory of its own.
    const WHOLE: usize = 5;

    /// Packs a key.
    pub(crate) fn new(key: Key) -> Self {
        if key.receiver != 0 {
            return Self(tag(NonNull::from(Box::leak(Box::new(key))), Self::WHOLE));
        }
        let word = match key.form {
            Form::Empty => NonNull::new(without_provenance_mut(SPARE + 1 + Self::EMPTY)),
            Form::One(only) => NonNull::new(only.into_ptr()).map(|at| tag(at, Self::ONE)),
            Form::Many(all) => NonNull::new(all.into_ptr()).map(|at| tag(at, Self::MANY)),
            Form::Encoded(hash) => Some(tag(NonNull::from(Box::leak(hash)), Self::ENCODED)),
            Form::Local(opaque) => {
                NonNull::new(Arc::into_raw(opaque).cast_mut()).map(|at| tag(at, Self::LOCAL))
            }
        };
        Self(word.expect("no object is at null"))
    }

    /// Packs the key of plain arguments, to be kept; nothing if there is no memory for it.
    ///
    /// # Safety
    /// The parts are alive.
    #[inline(always)]
    pub(crate) unsafe fn plain(
        py: Python<'_>,
        receiver: usize,
        parts: &[*mut ffi::PyObject],
    ) -> Option<Self> {
        if let ([part], 0) = (parts, receiver) {
            // SAFETY: alive.
            unsafe { ffi::Py_INCREF(*part) };
            return NonNull::new(*part).map(|at| Self(tag(at, Self::ONE)));
        }
        // SAFETY: by the contract above.
        unsafe { Key::plain(py, receiver, parts) }
            .ok()
            .map(Self::new)
    }

    #[inline]
    fn tag(&self) -> usize {
        self.0.addr().get() & SPARE
    }

    /// Without a receiver: the key that it was, which must not be dropped while this is there.
    #[inline]
    fn unpacked(&self) -> ManuallyDrop<Key> {
        // SAFETY: each address is of what its tag says, and was given away by what `new` was given.
        let form = unsafe {
            match self.tag() {
                Self::ONE => Form::One(owned(untag(self.0))),
                Self::MANY => Form::Many(owned(untag(self.0))),
                Self::ENCODED => Form::Encoded(Box::from_raw(untag(self.0))),
                Self::LOCAL => Form::Local(Arc::from_raw(untag(self.0))),
                _ => Form::Empty,
            }
        };
        ManuallyDrop::new(Key { receiver: 0, form })
    }

    #[inline]
    fn with<R>(&self, look: impl FnOnce(&Key) -> R) -> R {
        if self.tag() == Self::WHOLE {
            // SAFETY: that is what the tag says, and it lives as long as this.
            return look(unsafe { &*untag(self.0) });
        }
        look(&self.unpacked())
    }

    /// Whether it is the key of a call with this receiver and one argument that `same` says is its own.
    #[inline(always)]
    pub(crate) fn is_only(
        &self,
        receiver: usize,
        same: impl FnOnce(*mut ffi::PyObject) -> bool,
    ) -> bool {
        if receiver == 0 {
            return self.tag() == Self::ONE && same(self.0.as_ptr().cast());
        }
        if self.tag() != Self::WHOLE {
            return false;
        }
        // SAFETY: that is what the tag says, and it lives as long as this.
        let key = unsafe { &*untag::<Key>(self.0) };
        let Form::One(known) = &key.form else {
            return false;
        };
        same(known.as_ptr()) && key.receiver == receiver
    }

    /// Has what it names come near.
    #[inline]
    pub(crate) fn foresee(&self) {
        prefetch(self.0.as_ptr());
    }

    /// As [`Key::is_plain`].
    ///
    /// # Safety
    /// The parts are alive.
    #[inline]
    pub(crate) unsafe fn is_plain(&self, receiver: usize, parts: &[*mut ffi::PyObject]) -> bool {
        if receiver == 0 {
            // SAFETY: without bits of a tag it is the object's address; this holds what it names, the caller the parts.
            unsafe {
                match (self.tag(), parts) {
                    (Self::ONE, [part]) => return equal(self.0.as_ptr().cast(), *part),
                    (Self::MANY, parts) => return are_items(untag(self.0), parts),
                    _ => {}
                }
            }
        }
        // SAFETY: by this function's contract.
        self.with(|key| unsafe { key.is_plain(receiver, parts) })
    }

    /// As [`Key::same`].
    pub(crate) fn same(&self, other: &Key) -> bool {
        self.with(|key| key.same(other))
    }

    /// Address of the receiver; zero if there is none.
    pub(crate) fn receiver(&self) -> usize {
        self.with(|key| key.receiver)
    }

    /// What a key with process-local objects is compared by.
    pub(crate) fn local(&self) -> Option<Arc<Opaque>> {
        self.with(|key| match &key.form {
            Form::Local(opaque) => Some(Arc::clone(opaque)),
            _ => None,
        })
    }

    /// Shows the collector what is held here.
    pub(crate) fn each_object(&self, visit: impl FnMut(*mut ffi::PyObject)) {
        self.with(|key| key.each_object(visit));
    }
}

impl Packed {
    /// Drops it on a thread that `PyO3` did not attach.
    ///
    /// # Safety
    /// Attached.
    #[inline(always)]
    pub(crate) unsafe fn release(self) {
        if self.tag() <= Self::MANY {
            let this = ManuallyDrop::new(self);
            // SAFETY: attached, and the reference that `new` was given is given up.
            unsafe { ffi::Py_DECREF(untag(this.0)) };
        } else {
            self.release_whole();
        }
    }

    #[inline(never)]
    fn release_whole(self) {
        if self.tag() != Self::EMPTY {
            attached(|_| drop(self));
        }
    }
}

impl Drop for Packed {
    fn drop(&mut self) {
        if self.tag() == Self::WHOLE {
            // SAFETY: that is what the tag says, and nothing looks at it any more.
            drop(unsafe { Box::<Key>::from_raw(untag(self.0)) });
        } else {
            drop(ManuallyDrop::into_inner(self.unpacked()));
        }
    }
}

/// A value.
pub(crate) struct Held(NonNull<u8>);

// SAFETY: an object, under the interpreter's rules.
unsafe impl Send for Held {}
// SAFETY: as above.
unsafe impl Sync for Held {}

impl Held {
    /// One for each number that fits.
    const SHARES: [Share; SPARE + 1] = [
        Share::Same,
        Share::Flat,
        Share::Copy,
        Share::Kept,
        Share::Ready,
        Share::Never,
        Share::Never,
        Share::Never,
    ];

    pub(crate) fn new(object: Py<PyAny>, share: Share) -> Self {
        let object = NonNull::new(object.into_ptr()).expect("no object is at null");
        Self(tag(object, share as usize))
    }

    /// The object, still held here.
    #[inline]
    pub(crate) fn object(&self) -> *mut ffi::PyObject {
        untag(self.0)
    }

    /// A new reference to the object.
    ///
    /// # Safety
    /// Attached.
    #[inline(always)]
    pub(crate) unsafe fn take(&self) -> Taken {
        // SAFETY: attached, and it is held here.
        unsafe { ffi::Py_INCREF(self.object()) };
        Taken(self.0)
    }

    /// Drops it on a thread that `PyO3` did not attach.
    ///
    /// # Safety
    /// Attached.
    #[inline]
    pub(crate) unsafe fn release(self) {
        let this = ManuallyDrop::new(self);
        // SAFETY: attached, and the reference that `new` was given is given up.
        unsafe { ffi::Py_DECREF(this.object()) };
    }

    /// Has the object come near.
    #[inline]
    pub(crate) fn foresee(&self) {
        prefetch(self.0.as_ptr());
    }

    /// Drops it where the destructor may outlast the interpreter.
    pub(crate) fn release_outside(self, _py: Python<'_>) {
        let this = ManuallyDrop::new(self);
        // SAFETY: attached, and the reference that `new` was given is given up.
        unsafe { ending::release(this.object()) };
    }

    /// How it is handed out.
    #[inline]
    pub(crate) fn share(&self) -> Share {
        Self::SHARES[self.0.addr().get() & SPARE]
    }
}

/// A reference to a value's object, which whoever has this owns, and how it is handed out.
#[derive(Clone, Copy)]
pub(crate) struct Taken(NonNull<u8>);

impl Taken {
    /// The object, if that is how it is handed out.
    #[inline(always)]
    pub(crate) fn if_shared(self, share: Share) -> Option<*mut ffi::PyObject> {
        let address = self.0.as_ptr().map_addr(|address| address ^ share as usize);
        (address.addr() & SPARE == 0).then_some(address.cast())
    }

    /// Both.
    #[inline]
    pub(crate) fn parts(self) -> (*mut ffi::PyObject, Share) {
        (untag(self.0), Held::SHARES[self.0.addr().get() & SPARE])
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // SAFETY: the reference that `new` was given.
        drop(unsafe { owned::<PyAny>(self.object()) });
    }
}
