//! What it takes to give every caller a value of its own.
//!
//! Decided once, when a value enters the cache, so that a hit only acts on the answer: immutable values are shared, trees
//! of built-in containers, records and arrays are copied along their structure, and for anything else the caller decides,
//! since copying an arbitrary object in silence may be slow or wrong.

use std::collections::HashMap;
use std::sync::Arc;

use pyo3::exceptions::{PyAttributeError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyType};

use crate::failure::{EncodeFailure, Stop};
use crate::kept::Rules;
use crate::kinds::{self, Collection, Kind, Record};
use crate::types::{is_enum, known, must_propagate};

/// Containers deeper than this are left to the caller; it bounds the stack.
pub(crate) const MAX_DEPTH: u32 = 1024;

/// How a value can be given to several callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Shape {
    /// Nobody can change it: the same object serves everybody.
    Immutable,
    /// One exact built-in container of immutable values.
    Flat,
    /// Such containers in each other, each met once.
    Tree,
    /// With records, arrays or containers of `collections` among them.
    Rich,
}

impl Shape {
    /// What a container is that is `alone` with immutable values in it, and has a value of this shape.
    fn held(self, alone: Self) -> Self {
        match self {
            Self::Immutable => alone,
            Self::Flat | Self::Tree => Self::Tree,
            Self::Rich => Self::Rich,
        }
    }

    /// What has something to copy in it, and is no built-in container itself.
    fn enriched(self) -> Self {
        match self {
            Self::Immutable => Self::Immutable,
            _ => Self::Rich,
        }
    }
}

type Step = Result<Shape, Box<Stop>>;

/// What `value` is, and how many bytes the arrays in it hold. Only for arrays, and for types that are
/// new to us, Python code runs.
pub(crate) fn classify(
    value: &Bound<'_, PyAny>,
    rules: &Rules,
) -> Result<(Shape, u64), EncodeFailure> {
    loop {
        let mut survey = Survey {
            py: value.py(),
            rules,
            met: Met::default(),
            unknown: Vec::new(),
            blocks: Vec::new(),
        };
        // SAFETY: the object is borrowed during the call.
        let shape = unsafe { survey.shape(value.as_ptr(), 0) };
        if survey.unknown.is_empty() {
            let Survey { blocks, .. } = survey;
            let known = shape.and_then(|shape| Ok((shape, look_into(&blocks, rules)?)));
            return known.map_err(|stop| stop.finish(value));
        }
        // Not in the middle of the walk, since this runs Python code, which may change what is walked.
        for class in survey.unknown {
            kinds::learn(&class).map_err(EncodeFailure::Raised)?;
        }
    }
}

/// Arrays and frames share the objects in them with their copies. Gives the bytes that they hold.
fn look_into(blocks: &[(Bound<'_, PyAny>, Arc<Kind>)], rules: &Rules) -> Result<u64, Box<Stop>> {
    let mut bytes: u64 = 0;
    for (block, kind) in blocks {
        let Kind::Block(kind) = &**kind else { continue };
        let found = match kind.look(block) {
            Err(error) if must_propagate(block.py(), &error) => return Err(error.into()),
            found => found.ok().flatten(),
        };
        let Some((parts, held)) = found else {
            return Err(Stop::refused(
                block,
                "it has parts that cannot be looked at",
            ));
        };
        bytes = bytes.saturating_add(held);
        match classify(parts.as_any(), rules) {
            Ok((Shape::Immutable, _)) => {}
            Err(EncodeFailure::Raised(error)) => return Err(error.into()),
            _ => {
                return Err(Stop::refused(
                    block,
                    "it holds objects, which its copies would share",
                ));
            }
        }
    }
    Ok(bytes)
}

struct Survey<'a, 'py> {
    py: Python<'py>,
    rules: &'a Rules,
    met: Met,
    /// Types to be learnt before the answer counts.
    unknown: Vec<Bound<'py, PyType>>,
    /// What is to be looked into by its library's means.
    blocks: Vec<(Bound<'py, PyAny>, Arc<Kind>)>,
}

/// The containers met so far.
#[derive(Default)]
struct Met {
    few: Vec<(usize, Seen)>,
    many: HashMap<usize, Seen>,
}

#[derive(Clone, Copy)]
enum Seen {
    /// Its inside is still looked at.
    Begun,
    /// It was found to be this.
    Whole(Shape),
}

impl Met {
    const FEW: usize = 16;

    fn get(&self, object: usize) -> Option<Seen> {
        let few = self.few.iter().find(|(known, _)| *known == object);
        few.map(|(_, shape)| *shape)
            .or_else(|| self.many.get(&object).copied())
    }

    fn set(&mut self, object: usize, shape: Seen) {
        if let Some((_, known)) = self.few.iter_mut().find(|(known, _)| *known == object) {
            *known = shape;
        } else if self.few.len() < Self::FEW {
            self.few.push((object, shape));
        } else {
            self.many.insert(object, shape);
        }
    }
}

impl Survey<'_, '_> {
    /// # Safety
    /// `object` is live during the call.
    unsafe fn shape(&mut self, object: *mut ffi::PyObject, depth: u32) -> Step {
        // SAFETY: a live object has a type.
        let class = unsafe { ffi::Py_TYPE(object) };
        if is_atom(class) {
            return Ok(Shape::Immutable);
        }
        if !is_container(class) {
            // SAFETY: the caller's.
            return unsafe { self.other(object, class, depth) };
        }
        // SAFETY: as above; a container of an exact type that was just checked.
        unsafe {
            self.once(object, depth, |this, depth| {
                this.container(object, class, depth)
            })
        }
    }

    /// What `look` finds inside an object that must not be met again, unless it is immutable.
    unsafe fn once(
        &mut self,
        object: *mut ffi::PyObject,
        depth: u32,
        look: impl FnOnce(&mut Self, u32) -> Step,
    ) -> Step {
        if depth >= MAX_DEPTH {
            return Err(Stop::deep());
        }
        match self.met.get(object as usize) {
            None => self.met.set(object as usize, Seen::Begun),
            Some(Seen::Whole(Shape::Immutable)) => return Ok(Shape::Immutable),
            Some(seen) => {
                let reason = match seen {
                    Seen::Begun => "it contains itself",
                    Seen::Whole(_) => "it is met twice, which copies would not keep",
                };
                // SAFETY: the caller's.
                let object = unsafe { Bound::from_borrowed_ptr(self.py, object) };
                return Err(Stop::refused(&object, reason));
            }
        }
        let shape = look(self, depth + 1)?;
        self.met.set(object as usize, Seen::Whole(shape));
        Ok(shape)
    }

    /// An object that is neither an atom nor a built-in container.
    unsafe fn other(
        &mut self,
        object: *mut ffi::PyObject,
        class: *mut ffi::PyTypeObject,
        depth: u32,
    ) -> Step {
        // SAFETY: the caller's; by its kind, it is what it is taken for.
        unsafe {
            match self.kind(object, class)? {
                None => Ok(Shape::Immutable),
                Some(kind) => self.once(object, depth, |this, depth| {
                    this.inside(object, &kind, depth)
                }),
            }
        }
    }

    /// How such an object is copied; nothing if it is shared. Not a part of the recursion, whose frames stay small without it.
    #[inline(never)]
    unsafe fn kind(
        &mut self,
        object: *mut ffi::PyObject,
        class: *mut ffi::PyTypeObject,
    ) -> Result<Option<Arc<Kind>>, Box<Stop>> {
        // SAFETY: a live object.
        let held = unsafe { Bound::from_borrowed_ptr(self.py, object) };
        let immutable = known(self.py, class).is_some()
            || held.is_instance_of::<PyType>()
            || is_enum(self.py, class)
            || self.rules.is_immutable(class);
        if immutable {
            return Ok(None);
        }
        let Some(kind) = kinds::find(class) else {
            self.unknown.push(held.get_type());
            // As if it were nothing: the whole is looked at again.
            return Ok(None);
        };
        match &*kind {
            Kind::Immutable => Ok(None),
            Kind::Other => Err(Stop::refused(
                &held,
                "nobody can copy it for them cheaply and safely",
            )),
            Kind::Collection(collection)
                if collection.has_attributes() && !attributes(&held)?.is_empty()? =>
            {
                Err(Stop::refused(&held, "it has attributes of its own"))
            }
            _ => Ok(Some(kind)),
        }
    }

    /// What such an object has in it.
    unsafe fn inside(&mut self, object: *mut ffi::PyObject, kind: &Arc<Kind>, depth: u32) -> Step {
        // SAFETY: by their kind, these are what they are taken for.
        unsafe {
            match &**kind {
                Kind::NamedTuple => self.items(object, object, depth).map(Shape::enriched),
                Kind::Collection(Collection::Deque) => self.deque(object, depth),
                // What makes the values of a `defaultdict` is shared as it is, like any function.
                Kind::Collection(_) => self.dict(object, depth).map(|_| Shape::Rich),
                Kind::Record(record) => self.record(object, record, depth),
                Kind::Block(_) => {
                    self.block(object, kind);
                    Ok(Shape::Rich)
                }
                Kind::Immutable | Kind::Other => Ok(Shape::Immutable),
            }
        }
    }

    unsafe fn block(&mut self, object: *mut ffi::PyObject, kind: &Arc<Kind>) {
        // SAFETY: a live object.
        let block = unsafe { Bound::from_borrowed_ptr(self.py, object) };
        self.blocks.push((block, Arc::clone(kind)));
    }

    unsafe fn deque(&mut self, deque: *mut ffi::PyObject, depth: u32) -> Step {
        // SAFETY: a live deque, and a tuple that is held.
        unsafe {
            let items = snapshot(self.py, ffi::PySequence_Tuple(deque))?;
            self.items(deque, items.as_ptr(), depth)?;
        }
        Ok(Shape::Rich)
    }

    unsafe fn container(
        &mut self,
        object: *mut ffi::PyObject,
        class: *mut ffi::PyTypeObject,
        depth: u32,
    ) -> Step {
        // SAFETY: exact types, checked before each use; nothing here runs Python code, so what is borrowed stays alive.
        unsafe {
            if class == &raw mut ffi::PyTuple_Type {
                let items = self.items(object, object, depth)?;
                Ok(items.held(Shape::Immutable))
            } else if class == &raw mut ffi::PyList_Type {
                let items = snapshot(self.py, ffi::PyList_AsTuple(object))?;
                let items = self.items(object, items.as_ptr(), depth)?;
                Ok(items.held(Shape::Flat))
            } else if class == &raw mut ffi::PyDict_Type {
                self.dict(object, depth)
            } else if class == &raw mut ffi::PyByteArray_Type {
                Ok(Shape::Flat)
            } else {
                let frozen = class == &raw mut ffi::PyFrozenSet_Type;
                let members = snapshot(self.py, ffi::PySequence_Tuple(object))?;
                for index in 0..ffi::PyTuple_GET_SIZE(members.as_ptr()) {
                    let member = ffi::PyTuple_GET_ITEM(members.as_ptr(), index);
                    self.hashed(member, depth)
                        .map_err(|stop| stop.within(object, "{…}"))?;
                }
                Ok(if frozen {
                    Shape::Immutable
                } else {
                    Shape::Flat
                })
            }
        }
    }

    /// What has a hash and is not immutable: its place in a set or a dict would not survive a copy.
    unsafe fn hashed(&mut self, object: *mut ffi::PyObject, depth: u32) -> Result<(), Box<Stop>> {
        // SAFETY: the caller's.
        unsafe {
            if self.shape(object, depth)? == Shape::Immutable {
                return Ok(());
            }
            let object = Bound::from_borrowed_ptr(self.py, object);
            Err(Stop::refused(
                &object,
                "it is found by its hash, and can be changed",
            ))
        }
    }

    unsafe fn items(
        &mut self,
        container: *mut ffi::PyObject,
        tuple: *mut ffi::PyObject,
        depth: u32,
    ) -> Step {
        let mut shape = Shape::Immutable;
        // SAFETY: a tuple, held by the caller.
        unsafe {
            for index in 0..ffi::PyTuple_GET_SIZE(tuple) {
                let item = self.shape(ffi::PyTuple_GET_ITEM(tuple, index), depth);
                shape =
                    shape.max(item.map_err(|stop| stop.within(container, format!("[{index}]")))?);
            }
        }
        Ok(shape)
    }

    unsafe fn dict(&mut self, dict: *mut ffi::PyObject, depth: u32) -> Step {
        // SAFETY: the caller's.
        let values = unsafe {
            self.entries(dict, |this, key, value| {
                this.hashed(key.as_ptr(), depth)
                    .map_err(|stop| stop.within(dict, ".keys()"))?;
                let shape = this.shape(value.as_ptr(), depth);
                shape.map_err(|stop| stop.under(dict, key))
            })
        };
        Ok(values?.held(Shape::Flat))
    }

    /// The shape of what `look` makes of the entries of a dict.
    unsafe fn entries(
        &mut self,
        dict: *mut ffi::PyObject,
        mut look: impl FnMut(&mut Self, &Bound<'_, PyAny>, &Bound<'_, PyAny>) -> Step,
    ) -> Step {
        let mut shape = Shape::Immutable;
        let mut position = 0;
        let (mut key, mut value) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: a dict whose walk runs no code of others, or its copy where other threads could change it; both parts are held.
        unsafe {
            let walked = snapshot(self.py, walkable(dict))?;
            while ffi::PyDict_Next(
                walked.as_ptr(),
                &raw mut position,
                &raw mut key,
                &raw mut value,
            ) != 0
            {
                let key = Bound::from_borrowed_ptr(self.py, key);
                let value = Bound::from_borrowed_ptr(self.py, value);
                shape = shape.max(look(self, &key, &value)?);
            }
        }
        Ok(shape)
    }

    /// A record that is frozen is as changeable as what it refers to.
    unsafe fn record(&mut self, object: *mut ffi::PyObject, record: &Record, depth: u32) -> Step {
        let mut shape = Shape::Immutable;
        // SAFETY: by its kind, it is what it is taken for.
        unsafe {
            if record.has_dict {
                shape = self.attributes(object, depth)?;
            }
            if !record.slots.is_empty() {
                shape = shape.max(self.slots(object, &record.slots, depth)?);
            }
        }
        Ok(if record.frozen && shape == Shape::Immutable {
            Shape::Immutable
        } else {
            Shape::Rich
        })
    }

    #[inline(never)]
    unsafe fn attributes(&mut self, record: *mut ffi::PyObject, depth: u32) -> Step {
        // SAFETY: a live record, its exact dict, and what is in that.
        unsafe {
            let dict = attributes(&Bound::from_borrowed_ptr(self.py, record))?;
            self.entries(dict.as_ptr(), |this, name, value| {
                let shape = this.shape(value.as_ptr(), depth);
                shape.map_err(|stop| stop.within(record, format!(".{name}")))
            })
        }
    }

    #[inline(never)]
    unsafe fn slots(
        &mut self,
        record: *mut ffi::PyObject,
        names: &[Py<PyString>],
        depth: u32,
    ) -> Step {
        let mut shape = Shape::Immutable;
        // SAFETY: a live record; what stands in it is held.
        unsafe {
            let record = Bound::from_borrowed_ptr(self.py, record);
            for name in names {
                let name = name.bind(self.py);
                if let Some(value) = member(&record, name)? {
                    let value = self.shape(value.as_ptr(), depth);
                    let within = |stop: Box<Stop>| stop.within(record.as_ptr(), format!(".{name}"));
                    shape = shape.max(value.map_err(within)?);
                }
            }
        }
        Ok(shape)
    }
}

/// The `__dict__` of a record.
pub(crate) fn attributes<'py>(record: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    // SAFETY: by its kind, it has one, of an exact type unless somebody replaced it.
    unsafe {
        let dict = ffi::PyObject_GenericGetDict(record.as_ptr(), std::ptr::null_mut());
        let dict = Bound::from_owned_ptr_or_err(record.py(), dict)?;
        if ffi::PyDict_CheckExact(dict.as_ptr()) == 0 {
            return Err(PyTypeError::new_err("its __dict__ has a type of its own"));
        }
        Ok(dict)
    }
}

/// The descriptor of a member that has a place of its own.
pub(crate) fn descriptor<'py>(
    record: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Bound<'py, PyAny>> {
    let descriptor = record.get_type().getattr(name)?;
    if descriptor.get_type_ptr() == &raw mut ffi::PyMemberDescr_Type {
        Ok(descriptor)
    } else {
        Err(PyTypeError::new_err("its class has lost a slot"))
    }
}

/// What stands in a place of its own, if anything does.
pub(crate) fn member<'py>(
    record: &Bound<'py, PyAny>,
    name: &Bound<'py, PyString>,
) -> PyResult<Option<Bound<'py, PyAny>>> {
    let descriptor = descriptor(record, name)?;
    // SAFETY: such a descriptor has this slot; null comes with an exception.
    let value = unsafe {
        let get = (*descriptor.get_type_ptr())
            .tp_descr_get
            .expect("a slot has it");
        let class = record.get_type_ptr().cast();
        Bound::from_owned_ptr_or_err(
            record.py(),
            get(descriptor.as_ptr(), record.as_ptr(), class),
        )
    };
    match value {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_instance_of::<PyAttributeError>(record.py()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// A new reference to a dict that can be walked: the dict itself, or a copy of it where threads run at once.
unsafe fn walkable(dict: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: a live dict.
    unsafe {
        if cfg!(Py_GIL_DISABLED) {
            ffi::PyDict_Copy(dict)
        } else {
            ffi::Py_INCREF(dict);
            dict
        }
    }
}

/// The snapshot that was made.
unsafe fn snapshot(py: Python<'_>, made: *mut ffi::PyObject) -> PyResult<Bound<'_, PyAny>> {
    // SAFETY: a new reference, or null with an exception.
    unsafe { Bound::from_owned_ptr_or_err(py, made) }
}

/// Exact built-in types that hold no other object, or none that can be changed.
#[inline]
pub(crate) fn is_atom(class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: the singletons are live.
    let singletons = unsafe {
        [ffi::Py_None(), ffi::Py_Ellipsis(), ffi::Py_NotImplemented()].map(|one| ffi::Py_TYPE(one))
    };
    class == &raw mut ffi::PyUnicode_Type
        || class == &raw mut ffi::PyLong_Type
        || class == &raw mut ffi::PyFloat_Type
        || class == &raw mut ffi::PyBool_Type
        || class == &raw mut ffi::PyBytes_Type
        || class == &raw mut ffi::PyComplex_Type
        || class == &raw mut ffi::PyRange_Type
        || class == &raw mut ffi::PyFunction_Type
        || class == &raw mut ffi::PyCFunction_Type
        || class == &raw mut ffi::PyCode_Type
        || singletons.contains(&class)
}

#[inline]
pub(crate) fn is_container(class: *mut ffi::PyTypeObject) -> bool {
    class == &raw mut ffi::PyDict_Type
        || class == &raw mut ffi::PyList_Type
        || class == &raw mut ffi::PyTuple_Type
        || class == &raw mut ffi::PySet_Type
        || class == &raw mut ffi::PyFrozenSet_Type
        || class == &raw mut ffi::PyByteArray_Type
}
