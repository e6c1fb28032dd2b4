//! A call's arguments, put in the order in which the function declares its parameters.
//!
//! Done here and not by `inspect`, since every hit pays for it: `f(1, 2)`, `f(a=1, b=2)` and `f(b=2, a=1)` are one
//! entry. Keyword names come as one tuple that belongs to the call site, so where each goes is remembered by that tuple's
//! address.

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};

use crate::shared::Guarded;

/// Whose call it is, when the first argument is not an ordinary one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Receiver {
    None,
    /// `self`: told apart by identity, held weakly.
    Instance,
    /// `cls`: the same, and it has a name that other processes know.
    Class,
}

/// The parameters of a function.
pub(crate) struct Plan {
    names: Vec<Py<PyString>>,
    posonly: usize,
    positional: usize,
    kwonly: usize,
    var_positional: bool,
    var_keyword: bool,
    /// Of the parameters with a name of their own, in the order of the slots; `None` where there is none.
    defaults: Vec<Option<Py<PyAny>>>,
    pub(crate) receiver: Receiver,
    /// How many positional arguments are a whole call that needs no work, if any number is.
    pub(crate) plain: usize,
    sites: Guarded<[Site; SITES]>,
}

/// Call sites that are remembered.
const SITES: usize = 4;

/// The keyword names of one call site, and the slot of each.
#[derive(Default)]
struct Site {
    names: Option<Py<PyTuple>>,
    slots: [u8; INLINE],
}

/// Where the site with these names is remembered, if it is.
#[inline]
fn place_of(names: *mut ffi::PyObject) -> usize {
    (names as usize >> 4) % SITES
}

/// Most arguments that are put in order without an allocation.
const INLINE: usize = 8;

/// Room for arguments in declared order, borrowed from the caller.
pub(crate) type Slots = [*mut ffi::PyObject; INLINE];

/// Arguments in declared order. Borrowed from the caller, except for the tuples made for `*args` and `**kwargs`.
pub(crate) struct Frame {
    inline: [*mut ffi::PyObject; INLINE],
    heap: Vec<*mut ffi::PyObject>,
    len: usize,
    owned: [Option<Py<PyAny>>; 2],
}

impl Frame {
    pub(crate) fn new() -> Self {
        Self {
            inline: [std::ptr::null_mut(); INLINE],
            heap: Vec::new(),
            len: 0,
            owned: [None, None],
        }
    }

    fn reserve(&mut self, len: usize) -> &mut [*mut ffi::PyObject] {
        self.len = len;
        if len <= INLINE {
            &mut self.inline[..len]
        } else {
            self.heap.resize(len, std::ptr::null_mut());
            &mut self.heap
        }
    }

    /// The arguments, none of them null once bound.
    pub(crate) fn parts(&self) -> &[*mut ffi::PyObject] {
        if self.len <= INLINE {
            &self.inline[..self.len]
        } else {
            &self.heap
        }
    }
}

/// Why arguments could not be bound: they do not fit the signature, or the interpreter failed meanwhile.
pub(crate) enum Unbound {
    Misfit,
    Raised(PyErr),
}

impl From<PyErr> for Unbound {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// Names and values of keywords without a parameter.
type Pairs = Vec<(Py<PyAny>, *mut ffi::PyObject)>;

/// What a plan looks like as it comes from Python.
type Described<'py> = (
    Vec<Py<PyString>>,
    usize,
    usize,
    usize,
    bool,
    bool,
    Bound<'py, PyTuple>,
    u8,
);

impl Plan {
    /// Reads the plan that `_decorate.py` made; `missing` stands for no default.
    pub(crate) fn new(described: &Bound<'_, PyAny>, missing: &Py<PyAny>) -> PyResult<Self> {
        let (names, posonly, positional, kwonly, var_positional, var_keyword, defaults, receiver): Described<'_> =
            described.extract()?;
        let declared = positional + kwonly + usize::from(var_positional) + usize::from(var_keyword);
        if names.len() != declared || defaults.len() != declared || posonly > positional {
            return Err(PyValueError::new_err(
                "the plan's parts do not fit each other",
            ));
        }
        let receiver = match receiver {
            0 => Receiver::None,
            1 => Receiver::Instance,
            2 => Receiver::Class,
            _ => return Err(PyTypeError::new_err("the plan's receiver is 0, 1 or 2")),
        };
        let py = described.py();
        let names = names.into_iter().map(|name| intern(py, name)).collect();
        let defaults = defaults
            .iter()
            .map(|default| {
                if default.is(missing) {
                    None
                } else {
                    Some(default.unbind())
                }
            })
            .collect();
        let plain = if var_positional || var_keyword || kwonly > 0 {
            usize::MAX
        } else {
            positional
        };
        Ok(Self {
            names,
            posonly,
            positional,
            kwonly,
            var_positional,
            var_keyword,
            defaults,
            receiver,
            plain,
            sites: Guarded::new(Default::default()),
        })
    }

    /// Slots of a bound call: one for each parameter.
    fn slots(&self) -> usize {
        self.names.len()
    }

    /// Whether binding makes no object: the function takes neither `*args` nor `**kwargs`.
    pub(crate) fn binds_in_place(&self) -> bool {
        !self.var_positional && !self.var_keyword
    }

    /// Where `**kwargs` stands in a bound call, if the function takes it.
    pub(crate) fn keywords_at(&self) -> Option<usize> {
        self.var_keyword.then(|| self.slots() - 1)
    }

    /// The parameter of a slot.
    pub(crate) fn name(&self, slot: usize) -> Option<&Py<PyString>> {
        self.names.get(slot)
    }

    /// The slot of the `index`th parameter that can be given by name.
    fn slot_of(&self, index: usize) -> usize {
        if index < self.positional {
            index
        } else {
            index + usize::from(self.var_positional)
        }
    }

    /// Shows the collector what is held here.
    pub(crate) fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        self.defaults
            .iter()
            .flatten()
            .for_each(|default| visit(default.as_ptr()));
    }

    /// Puts a call's arguments in declared order as [`bind`](Self::bind) does, if that is a matter of copying: there are few,
    /// and the call site's keywords are known. Nothing otherwise.
    ///
    /// # Safety
    /// As for [`bind`](Self::bind).
    #[inline]
    pub(crate) unsafe fn arrange<'a>(
        &self,
        args: *const *mut ffi::PyObject,
        given: usize,
        kwnames: *mut ffi::PyObject,
        slots: &'a mut Slots,
    ) -> Option<&'a [*mut ffi::PyObject]> {
        if !self.binds_in_place() || given > self.positional {
            return None;
        }
        let slots = slots.get_mut(..self.slots())?;
        // SAFETY: so many are there.
        unsafe { std::ptr::copy_nonoverlapping(args, slots.as_mut_ptr(), given) };
        let mut filled = given;
        if !kwnames.is_null() {
            // SAFETY: the vectorcall protocol says that it is a tuple, and that the values follow the positional arguments.
            let (named, values) = unsafe {
                (
                    ffi::PyTuple_GET_SIZE(kwnames).cast_unsigned(),
                    args.add(given),
                )
            };
            let known = self.sites.with(|sites| {
                let site = &sites[place_of(kwnames)];
                if site.names.as_ref().map(Py::as_ptr) != Some(kwnames) {
                    return false;
                }
                for (index, slot) in site.slots.iter().enumerate().take(named) {
                    let slot = &mut slots[usize::from(*slot)];
                    if !slot.is_null() {
                        return false;
                    }
                    // SAFETY: `index` is below the number of names.
                    *slot = unsafe { *values.add(index) };
                }
                true
            });
            if !known {
                return None;
            }
            filled += named;
        }
        if filled < slots.len() {
            for (slot, default) in slots.iter_mut().zip(&self.defaults) {
                if slot.is_null() {
                    *slot = default.as_ref()?.as_ptr();
                }
            }
        }
        Some(slots)
    }

    /// Puts a call's arguments in declared order.
    ///
    /// # Safety
    /// `args` are `positional` positional arguments, then one value for each name in `kwnames`, all alive.
    pub(crate) unsafe fn bind(
        &self,
        py: Python<'_>,
        args: *const *mut ffi::PyObject,
        given: usize,
        kwnames: *mut ffi::PyObject,
        frame: &mut Frame,
    ) -> Result<(), Unbound> {
        let taken = given.min(self.positional);
        let mut rest = None;
        let mut more = Pairs::new();
        {
            let slots = frame.reserve(self.slots());
            for (index, slot) in slots.iter_mut().enumerate().take(taken) {
                // SAFETY: `index` is below `given`.
                *slot = unsafe { *args.add(index) };
            }
            if self.var_positional {
                // SAFETY: the arguments from `taken` to `given` are there.
                let tuple = unsafe { tuple_from(py, args.add(taken), given - taken) }?;
                slots[self.positional] = tuple.as_ptr();
                rest = Some(tuple);
            } else if given > self.positional {
                return Err(Unbound::Misfit);
            }
            if !kwnames.is_null() {
                // SAFETY: the vectorcall protocol says that `kwnames` is a tuple of strings.
                let names = unsafe { Borrowed::from_ptr(py, kwnames).cast_unchecked::<PyTuple>() };
                // SAFETY: the values of keywords follow the positional ones.
                let values = unsafe { std::slice::from_raw_parts(args.add(given), names.len()) };
                if self.var_keyword {
                    more = self.collect(&names, values, slots)?;
                } else {
                    self.permute(&names, values, slots)?;
                }
            }
            for index in taken..self.positional + self.kwonly {
                let slot = self.slot_of(index);
                if slots[slot].is_null() {
                    match &self.defaults[slot] {
                        Some(default) => slots[slot] = default.as_ptr(),
                        None => return Err(Unbound::Misfit),
                    }
                }
            }
            if let Some(at) = self.keywords_at() {
                let tuple = sorted_pairs(py, more)?;
                slots[at] = tuple.as_ptr();
                frame.owned[1] = Some(tuple);
            }
        }
        frame.owned[0] = rest;
        Ok(())
    }

    /// Keywords of a function without `**kwargs`. Their call site is remembered.
    fn permute(
        &self,
        names: &Borrowed<'_, '_, PyTuple>,
        values: &[*mut ffi::PyObject],
        slots: &mut [*mut ffi::PyObject],
    ) -> Result<(), Unbound> {
        let mut found = [0; INLINE];
        let remembered = values.len() <= INLINE && self.slots() <= INLINE;
        for (index, (name, value)) in names.iter_borrowed().zip(values).enumerate() {
            let slot = self.find(&name)?.ok_or(Unbound::Misfit)?;
            if !slots[slot].is_null() {
                return Err(Unbound::Misfit);
            }
            slots[slot] = *value;
            if remembered {
                found[index] = slot as u8;
            }
        }
        if remembered {
            let site = Site {
                names: Some((*names).to_owned().unbind()),
                slots: found,
            };
            let place = place_of(names.as_ptr());
            // The former tuple may be the last reference to its strings; it is released after the section.
            drop(
                self.sites
                    .with(|sites| std::mem::replace(&mut sites[place], site)),
            );
        }
        Ok(())
    }

    /// Keywords of a function with `**kwargs`: those without a parameter are handed back.
    fn collect(
        &self,
        names: &Borrowed<'_, '_, PyTuple>,
        values: &[*mut ffi::PyObject],
        slots: &mut [*mut ffi::PyObject],
    ) -> Result<Pairs, Unbound> {
        let mut more = Vec::new();
        for (name, value) in names.iter_borrowed().zip(values) {
            match self.find(&name)? {
                Some(slot) if slots[slot].is_null() => slots[slot] = *value,
                Some(_) => return Err(Unbound::Misfit),
                None => more.push((name.to_owned().unbind(), *value)),
            }
        }
        Ok(more)
    }

    /// The slot of a parameter that may be given by name.
    fn find(&self, name: &Borrowed<'_, '_, PyAny>) -> PyResult<Option<usize>> {
        let candidates = self.posonly..self.positional + self.kwonly;
        let same = |index: &usize| self.names[self.slot_of(*index)].as_ptr() == name.as_ptr();
        if let Some(index) = candidates.clone().find(same) {
            return Ok(Some(self.slot_of(index)));
        }
        for index in candidates {
            let slot = self.slot_of(index);
            if self.names[slot].bind(name.py()).as_any().eq(name)? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }
}

fn intern(py: Python<'_>, name: Py<PyString>) -> Py<PyString> {
    let mut name = name.into_ptr();
    // SAFETY: takes the string over and leaves an equal, interned one.
    unsafe {
        ffi::PyUnicode_InternInPlace(&raw mut name);
        Bound::from_owned_ptr(py, name)
            .cast_into_unchecked()
            .unbind()
    }
}

/// # Safety
/// `len` live objects start at `items`.
pub(crate) unsafe fn tuple_from(
    py: Python<'_>,
    items: *const *mut ffi::PyObject,
    len: usize,
) -> PyResult<Py<PyAny>> {
    // SAFETY: each item is alive and gets a reference of its own; the index is inside the new tuple.
    unsafe {
        let tuple = Bound::from_owned_ptr_or_err(py, ffi::PyTuple_New(len.cast_signed()))?;
        for index in 0..len {
            let item = *items.add(index);
            ffi::Py_INCREF(item);
            ffi::PyTuple_SET_ITEM(tuple.as_ptr(), index.cast_signed(), item);
        }
        Ok(tuple.unbind())
    }
}

/// `**kwargs` as one flat tuple of names and values, sorted by name: their order means nothing.
fn sorted_pairs(py: Python<'_>, mut pairs: Pairs) -> PyResult<Py<PyAny>> {
    let mut failed = None;
    pairs.sort_by(|(a, _), (b, _)| {
        a.bind(py).compare(b.bind(py)).unwrap_or_else(|error| {
            failed = Some(error);
            std::cmp::Ordering::Equal
        })
    });
    if let Some(error) = failed {
        return Err(error);
    }
    let flat: Vec<*mut ffi::PyObject> = pairs
        .iter()
        .flat_map(|(name, value)| [name.as_ptr(), *value])
        .collect();
    // SAFETY: names are held by `pairs`, values by the caller.
    unsafe { tuple_from(py, flat.as_ptr(), flat.len()) }
}
