//! What is known of types that are not built in, for the copies that isolate callers.
//!
//! `_kinds.py` is asked once a type, which runs Python code; from then on the answer is found by the type's address. A type
//! is held weakly, and takes its answer along when it dies. Garbage that a finaliser had us learn may go without telling; so
//! an answer counts only while what it was given about is there, and another type at that address is asked about anew.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, LazyLock};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString, PyTuple, PyType};

use crate::lazy::KINDS;
use crate::shared::Guarded;

/// How the objects of one type can be given to several callers.
pub(crate) enum Kind {
    /// Not at all.
    Other,
    /// As they are.
    Immutable,
    /// With their items copied.
    NamedTuple,
    /// With what is in them copied.
    Collection(Collection),
    /// With their members copied.
    Record(Record),
    /// By a function of their library's.
    Block(Block),
}

/// The containers of `collections`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collection {
    Counter,
    DefaultDict,
    Deque,
    OrderedDict,
}

impl Collection {
    fn named(name: &str) -> Option<Self> {
        Some(match name {
            "Counter" => Self::Counter,
            "defaultdict" => Self::DefaultDict,
            "deque" => Self::Deque,
            "OrderedDict" => Self::OrderedDict,
            _ => return None,
        })
    }

    /// Whether its objects can be given attributes.
    pub(crate) fn has_attributes(self) -> bool {
        matches!(self, Self::Counter | Self::OrderedDict)
    }
}

/// What the objects of a dataclass and its like consist of.
pub(crate) struct Record {
    /// Names of the members that have a place of their own.
    pub(crate) slots: Vec<Py<PyString>>,
    /// Whether there is a `__dict__` as well.
    pub(crate) has_dict: bool,
    /// Whether nobody can change what they refer to.
    pub(crate) frozen: bool,
}

/// An array or a frame.
pub(crate) struct Block {
    look: Py<PyAny>,
    pub(crate) copy: Py<PyAny>,
}

impl Block {
    /// The objects in one, which a copy shares, and the bytes in it that nobody else counts; nothing if it has hidden parts.
    pub(crate) fn look<'py>(
        &self,
        block: &Bound<'py, PyAny>,
    ) -> PyResult<Option<(Bound<'py, PyTuple>, u64)>> {
        let found = self.look.bind(block.py()).call1((block,))?;
        if found.is_none() {
            return Ok(None);
        }
        let (parts, bytes): (Bound<'py, PyList>, u64) = found.extract()?;
        Ok(Some((parts.to_tuple(), bytes)))
    }
}

struct Known {
    kind: Arc<Kind>,
    watch: Py<PyAny>,
}

impl Known {
    fn is_of(&self, class: *mut ffi::PyTypeObject) -> bool {
        let mut there = std::ptr::null_mut();
        // SAFETY: a weak reference that is held. What it leads to is `class`, which the caller holds, or nothing.
        unsafe {
            ffi::compat::PyWeakref_GetRef(self.watch.as_ptr(), &raw mut there);
            ffi::Py_XDECREF(there);
        }
        there == class.cast()
    }
}

type ByAddress = HashMap<usize, Known, BuildHasherDefault<Spread>>;

static TABLE: LazyLock<Guarded<ByAddress>> = LazyLock::new(|| Guarded::new(HashMap::default()));

/// Addresses of types are multiples of sixteen and need no defence.
#[derive(Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_usize(usize::from(*byte));
        }
    }

    fn write_usize(&mut self, address: usize) {
        self.0 = (self.0 ^ address as u64)
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(29);
    }
}

/// What was learnt of a type.
#[inline]
pub(crate) fn find(class: *mut ffi::PyTypeObject) -> Option<Arc<Kind>> {
    TABLE.with(|table| {
        let known = table.get(&(class as usize));
        known
            .filter(|known| known.is_of(class))
            .map(|known| Arc::clone(&known.kind))
    })
}

/// Learns what a type is.
pub(crate) fn learn(class: &Bound<'_, PyType>) -> PyResult<()> {
    let py = class.py();
    let kind = ask(class)?;
    let address = class.as_ptr() as usize;
    let forget = Bound::new(py, Forget { address })?;
    // SAFETY: both are alive; returns a new reference or null with an error set.
    let watch = unsafe {
        let watch = ffi::PyWeakref_NewRef(class.as_ptr(), forget.as_ptr());
        Bound::from_owned_ptr_or_err(py, watch)?.unbind()
    };
    let known = Known {
        kind: Arc::new(kind),
        watch,
    };
    // What another thread learnt meanwhile is released here, after the section.
    drop(TABLE.with(|table| table.insert(address, known)));
    Ok(())
}

fn ask(class: &Bound<'_, PyType>) -> PyResult<Kind> {
    let answer = KINDS.get(class.py())?.getattr("kind_of")?.call1((class,))?;
    if answer.is_none() {
        return Ok(Kind::Other);
    }
    if let Ok(word) = answer.cast::<PyString>() {
        let word = word.to_str()?;
        return Ok(match Collection::named(word) {
            Some(collection) => Kind::Collection(collection),
            None if word == "immutable" => Kind::Immutable,
            None => Kind::NamedTuple,
        });
    }
    let parts = answer.cast::<PyTuple>()?;
    if parts.len() == 3 {
        let (slots, has_dict, frozen) = answer.extract()?;
        return Ok(Kind::Record(Record {
            slots,
            has_dict,
            frozen,
        }));
    }
    let (look, copy) = answer.extract()?;
    Ok(Kind::Block(Block { look, copy }))
}

/// What a type's weak reference calls when it dies.
#[pyclass(frozen, module = "cachekit._native")]
struct Forget {
    address: usize,
}

#[pymethods]
impl Forget {
    fn __call__(&self, reference: &Bound<'_, PyAny>) {
        let gone = TABLE.with(|table| {
            let ours = table
                .get(&self.address)
                .is_some_and(|known| known.watch.as_ptr() == reference.as_ptr());
            ours.then(|| table.remove(&self.address))
        });
        drop(gone);
    }
}

/// Makes the type with the module: made later, it could be half made in a forked child.
pub(crate) fn register(py: Python<'_>) {
    py.get_type::<Forget>();
}
