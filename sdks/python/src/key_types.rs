//! What only keys may contain: classes, enum members, named tuples, objects with `__cache_key__`, and anything hashable.
//!
//! An object that no other process could name gets the address of its type and its hash or its own address. Such a key is
//! good in this process only, and a hash alone does not make two objects equal, so the objects are handed to the caller.

use cachekit_runtime::native::{Writer, types};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyMemoryView, PyString, PyTuple, PyType};

use crate::encode::Walk;
use crate::failure::{EncodeFailure, Step, Stop};
use crate::types::{has_cache_key, importable, is_built_in_iterator, is_enum};

/// Writes one argument of a call. Objects that only this process can name are added to `locals`.
pub(crate) fn encode_key_arg(
    argument: Borrowed<'_, '_, PyAny>,
    out: &mut Writer,
    locals: &mut Locals,
) -> Result<(), EncodeFailure> {
    let mut walk = Walk::<true> {
        py: argument.py(),
        out,
        locals,
        types: None,
    };
    // SAFETY: the object is borrowed for the whole walk.
    unsafe { walk.object(argument.as_ptr()) }.map_err(|stop| stop.finish(&argument))
}

/// An object that a key names by an address or a hash.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) object: Py<PyAny>,
    /// It compares by `is`: it may be held weakly, as long as the key dies with it.
    pub(crate) by_identity: bool,
    /// Where in the encoding it is named.
    at: usize,
}

/// The objects of a key that make it good in this process only, in the order of its bytes.
#[derive(Debug, Default)]
pub(crate) struct Locals(Vec<Local>);

impl Locals {
    /// Whether the key means the same in every process.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Local> {
        self.0.iter()
    }

    /// Lets go of the receiver of the call, with which the key dies: held here, neither of them ever would.
    pub(crate) fn let_go(&mut self, receiver: &Bound<'_, PyAny>) {
        self.0
            .retain(|local| !(local.by_identity && local.object.is(receiver)));
    }

    /// Whether two keys of equal bytes are equal. Runs `__eq__` of the objects, so no lock may be held.
    pub(crate) fn same(&self, other: &Self, py: Python<'_>) -> PyResult<bool> {
        if self.0.len() != other.0.len() {
            return Ok(false);
        }
        for (mine, theirs) in self.0.iter().zip(&other.0) {
            if mine.object.is(&theirs.object) {
                continue;
            }
            if mine.by_identity || !mine.object.bind(py).eq(&theirs.object)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Follows a sort of parts of the encoding: `order` says where each part was before.
    pub(crate) fn follow(&mut self, first: usize, order: &[(usize, usize)]) {
        let Some(moved) = self.0.get_mut(first..).filter(|moved| !moved.is_empty()) else {
            return;
        };
        let mut place = order.iter().map(|(start, _)| *start).min().unwrap_or(0);
        let mut targets: Vec<_> = order
            .iter()
            .map(|&(start, end)| {
                let target = (start, place);
                place += end - start;
                target
            })
            .collect();
        targets.sort_unstable();
        for local in &mut *moved {
            let part = targets.partition_point(|(start, _)| *start <= local.at);
            if let Some((start, target)) = part.checked_sub(1).map(|part| targets[part]) {
                local.at = local.at - start + target;
            }
        }
        moved.sort_by_key(|local| local.at);
    }
}

impl<'py> Walk<'_, 'py, true> {
    #[inline(never)]
    fn local(&mut self, object: &Bound<'py, PyAny>) -> Step {
        let class = object.get_type_ptr();
        if is_used_up(object) {
            return Err(Stop::refused(
                object,
                "it can be used only once, so no later call is the same; pass a list in its place",
            ));
        }
        let by_identity = compares_by_identity(class);
        let number = if by_identity {
            object.as_ptr() as u64
        } else {
            object
                .hash()
                .map_err(|error| unhashable(object, error))?
                .cast_unsigned() as u64
        };
        self.locals.0.push(Local {
            object: object.clone().unbind(),
            by_identity,
            at: self.out.len(),
        });
        self.out.ext(types::OPAQUE)?;
        self.out.raw(&(class as u64).to_be_bytes())?;
        Ok(self.out.raw(&number.to_be_bytes())?)
    }

    /// The names of a class, or itself where no names lead to it.
    #[inline(never)]
    fn class(&mut self, class: &Bound<'py, PyAny>) -> Step {
        let Some(found) = importable(class)? else {
            return self.local(class);
        };
        self.name(&found.module)?;
        self.name(&found.qualname)
    }

    fn name(&mut self, name: &Bound<'py, PyAny>) -> Step {
        let name = name.cast::<PyString>().map_err(PyErr::from)?;
        Ok(self.out.str(name.to_str()?)?)
    }

    #[inline(never)]
    fn class_itself(&mut self, class: &Bound<'py, PyAny>) -> Step {
        let Some(found) = importable(class)? else {
            return self.local(class);
        };
        self.out.ext(types::CLASS)?;
        self.name(&found.module)?;
        self.name(&found.qualname)
    }

    #[inline(never)]
    fn by_cache_key(&mut self, object: &Bound<'py, PyAny>) -> Step {
        let part = object.call_method0(crate::once::text!(self.py, "__cache_key__"))?;
        self.out.enter()?;
        self.out.ext(types::CACHE_KEY)?;
        self.class(object.get_type().as_any())?;
        // SAFETY: the part is held.
        unsafe { self.object(part.as_ptr()) }
            .map_err(|stop| stop.within(object.as_ptr(), ".__cache_key__()"))?;
        self.out.leave();
        Ok(())
    }

    #[inline(never)]
    fn named_tuple(&mut self, tuple: &Bound<'py, PyAny>) -> Step {
        self.out.enter()?;
        self.out.ext(types::NAMED_TUPLE)?;
        self.class(tuple.get_type().as_any())?;
        // SAFETY: of a subclass of tuple, and held.
        unsafe {
            self.out
                .array(ffi::PyTuple_GET_SIZE(tuple.as_ptr()).cast_unsigned())?;
            self.tuple_items(tuple.as_ptr())
        }
    }

    #[inline(never)]
    fn enum_member(&mut self, member: &Bound<'py, PyAny>) -> Step {
        self.out.ext(types::ENUM_MEMBER)?;
        self.class(member.get_type().as_any())?;
        let name = member.getattr(crate::once::text!(self.py, "_name_"))?;
        if let Ok(name) = name.cast_exact::<PyString>()
            && let name = name.to_str()?
            && !name.contains('|')
        {
            return Ok(self.out.str(name)?);
        }
        // A combination of flags has a name, made of theirs, from 3.11 on only.
        let value = member.getattr(crate::once::text!(self.py, "_value_"))?;
        // SAFETY: the value is held.
        unsafe { self.object(value.as_ptr()) }
    }
}

impl<'py, const KEY: bool> Walk<'_, 'py, KEY> {
    /// What is not a value but may be a part of a key.
    #[inline(never)]
    pub(crate) fn key_only(&mut self, object: &Bound<'py, PyAny>) -> Step {
        let Walk {
            py, out, locals, ..
        } = self;
        let mut walk = Walk::<true> {
            py: *py,
            out,
            locals,
            types: None,
        };
        match Part::of(object)? {
            Part::Named => walk.by_cache_key(object),
            Part::EnumMember => walk.enum_member(object),
            Part::Class => walk.class_itself(object),
            Part::NamedTuple => walk.named_tuple(object),
            Part::Local => walk.local(object),
        }
    }
}

/// How an object that is no value enters a key.
enum Part {
    Named,
    EnumMember,
    Class,
    NamedTuple,
    Local,
}

impl Part {
    /// Looked up apart from the writing, so that the frames of nested parts stay small.
    #[inline(never)]
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let class = object.get_type();
        Ok(if has_cache_key(object.py(), class.as_type_ptr()) {
            Self::Named
        } else if is_enum(object.py(), class.as_type_ptr()) {
            Self::EnumMember
        } else if object.is_instance_of::<PyType>() {
            Self::Class
        } else if object.is_instance_of::<PyTuple>() && is_named_tuple(&class)? {
            Self::NamedTuple
        } else {
            Self::Local
        })
    }
}

fn is_named_tuple(class: &Bound<'_, PyType>) -> PyResult<bool> {
    let fields = class.getattr_opt(crate::once::text!(class.py(), "_fields"))?;
    Ok(fields.is_some_and(|fields| fields.cast_exact::<PyTuple>().is_ok()))
}

/// Whether a call uses it up: what the function makes of it is no answer to a second call with it.
fn is_used_up(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object, of which only the type is looked at.
    let awaited = unsafe {
        let object = object.as_ptr();
        ffi::PyCoro_CheckExact(object) != 0 || ffi::PyAsyncGen_CheckExact(object) != 0
    };
    awaited || is_built_in_iterator(object)
}

/// Whether instances of `class` are equal only to themselves, by the rules of `object`.
fn compares_by_identity(class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: both types are live.
    unsafe {
        let object = &raw const ffi::PyBaseObject_Type;
        (*class).tp_hash.map(|hash| hash as usize) == (*object).tp_hash.map(|hash| hash as usize)
            && (*class).tp_richcompare.map(|compare| compare as usize)
                == (*object).tp_richcompare.map(|compare| compare as usize)
    }
}

#[expect(
    clippy::unnecessary_box_returns,
    reason = "a failure on its way up is boxed"
)]
#[cold]
fn unhashable(object: &Bound<'_, PyAny>, error: PyErr) -> Box<Stop> {
    let py = object.py();
    // A writable memoryview says so in its own way.
    let no_hash = error.is_instance_of::<PyTypeError>(py)
        || (error.is_instance_of::<PyValueError>(py) && object.is_instance_of::<PyMemoryView>());
    if !no_hash {
        return error.into();
    }
    Stop::refused(
        object,
        "it has no hash; pass a plain value in its place, give its class a __cache_key__ method, or give key= a function \
         that names the call",
    )
}
