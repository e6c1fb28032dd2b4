//! Values of types that are not built in, written and read: of the standard library, of numpy, and of the classes that a
//! function names.
//!
//! Those of the standard library and of numpy are taken apart and made by functions of `_contents.py`, since few values are
//! of these types and many are these types. Objects of the function's classes are written field by field, with the fields'
//! names, so that an entry of a class that has changed is noticed.

use cachekit_runtime::native::{Reader, Token, types};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyInt, PyString, PyTuple, PyType};

use crate::decode::{Fail, text};
use crate::encode::{Walk, not_a_value};
use crate::failure::{Step, Stop, type_name};
use crate::isolate;
use crate::lazy::CONTENTS;
use crate::plans::{Found, Kind, Plan, Record, Types};
use crate::serializer::View;
use crate::types::must_propagate;

impl<'py, const KEY: bool> Walk<'_, 'py, KEY> {
    /// Writes what is of no built-in type.
    #[inline(never)]
    pub(crate) fn classed(&mut self, object: &Bound<'py, PyAny>) -> Step {
        let is_class = object.is_instance_of::<PyType>();
        let plan = self.plan(object, is_class)?;
        let plan = plan.get();
        match &plan.kind {
            _ if is_class => {
                self.out.ext(types::CLASS)?;
                Ok(self.out.raw(&plan.name)?)
            }
            Kind::Content { type_byte, take } => {
                let content = self.content(object, take)?;
                self.out.ext(*type_byte)?;
                self.parts(object, *type_byte, &content)
            }
            Kind::Bare => Err(not_a_value(object)),
            Kind::Member => self.member(object, plan),
            Kind::Record(record) => self.record(object, plan, record),
        }
    }

    /// Looked up apart from the writing, so that the frames of nested values stay small.
    #[inline(never)]
    fn plan(
        &self,
        object: &Bound<'py, PyAny>,
        is_class: bool,
    ) -> Result<Bound<'py, Plan>, Box<Stop>> {
        let Some(types) = self.types else {
            return Err(not_a_value(object));
        };
        let found = if is_class {
            types.of(object)
        } else {
            types.of(object.get_type().as_any())
        };
        match found {
            Ok(Found::Plan(plan)) => match plan.get().kind {
                Kind::Content { .. } if is_class && plan.get().name.is_empty() => {
                    Err(not_a_value(object))
                }
                _ => Ok(plan),
            },
            Ok(Found::Reason(reason)) if reason.is_empty() => Err(not_a_value(object)),
            Ok(Found::Reason(reason)) => Err(Stop::refused(object, reason)),
            Err(error) => Err(self.raised(object, "looking at its class", error)),
        }
    }

    /// What others' code raised about `object` refuses that; what is not ours to swallow goes on.
    #[cold]
    #[expect(
        clippy::unnecessary_box_returns,
        reason = "a failure on its way up is boxed"
    )]
    fn raised(&self, object: &Bound<'py, PyAny>, doing: &str, error: PyErr) -> Box<Stop> {
        if must_propagate(self.py, &error) {
            return error.into();
        }
        let value = error.value(self.py);
        let reason = match value.str() {
            Ok(text) => format!("{doing} raised {}: {text}", type_name(value)),
            Err(_) => format!("{doing} raised {}", type_name(value)),
        };
        Stop::refused(object, reason)
    }

    #[inline(never)]
    fn content(
        &self,
        object: &Bound<'py, PyAny>,
        take: &Py<PyAny>,
    ) -> Result<Bound<'py, PyTuple>, Box<Stop>> {
        let content = take
            .bind(self.py)
            .call1((object,))
            .map_err(|error| self.raised(object, "taking it apart", error))?;
        match content.cast_into::<PyTuple>() {
            Ok(content) => Ok(content),
            // In place of a content, why there is none.
            Err(other) => Err(Stop::refused(
                object,
                other.into_inner().extract::<String>()?,
            )),
        }
    }

    fn parts(
        &mut self,
        object: &Bound<'py, PyAny>,
        type_byte: u8,
        content: &Bound<'py, PyTuple>,
    ) -> Step {
        self.out.enter()?;
        for index in 0..content.len() {
            // SAFETY: a tuple keeps its items as long as it lives.
            let step = unsafe {
                let part = ffi::PyTuple_GET_ITEM(content.as_ptr(), index.cast_signed());
                if ffi::Py_TYPE(part) == &raw mut ffi::PyMemoryView_Type {
                    self.buffer(part)
                } else {
                    self.object(part)
                }
            };
            let place = match (type_byte, index) {
                (types::DEFAULT_DICT, 0) => ".default_factory",
                _ => "",
            };
            step.map_err(|stop| stop.within(object.as_ptr(), place))?;
        }
        self.out.leave();
        Ok(())
    }

    /// The bytes of an array, from where they lie.
    unsafe fn buffer(&mut self, view: *mut ffi::PyObject) -> Step {
        // SAFETY: the caller's: a live object.
        let view = View::of(&unsafe { Bound::from_borrowed_ptr(self.py, view) })?;
        Ok(self.out.bin(view.bytes())?)
    }

    fn member(&mut self, member: &Bound<'py, PyAny>, plan: &Plan) -> Step {
        self.out.ext(types::MEMBER)?;
        self.out.raw(&plan.name)?;
        let name = member.getattr(crate::once::text!(self.py, "_name_"))?;
        if let Ok(name) = name.cast_exact::<PyString>()
            && let name = name.to_str()?
            && !name.contains('|')
        {
            return Ok(self.out.str(name)?);
        }
        // A combination of flags has a name, made of theirs, from 3.11 on only.
        let value = member.getattr(crate::once::text!(self.py, "_value_"))?;
        if !value.is_exact_instance_of::<PyInt>() {
            return Err(Stop::refused(member, "it has neither a name nor a number"));
        }
        // SAFETY: the value is held.
        unsafe { self.object(value.as_ptr()) }
    }

    #[inline(never)]
    fn record(&mut self, object: &Bound<'py, PyAny>, plan: &Plan, record: &Record) -> Step {
        self.out.enter()?;
        self.out.ext(types::RECORD)?;
        self.out.raw(&plan.name)?;
        self.out.map(record.fields.len())?;
        let own = if record.has_dict {
            Some(
                isolate::attributes(object)?
                    .cast_into::<PyDict>()
                    .map_err(PyErr::from)?,
            )
        } else {
            None
        };
        let mut in_dict = 0;
        for (index, field) in record.fields.iter().enumerate() {
            self.out.str(&field.text)?;
            let value = self.field(object, record, index, own.as_ref(), &mut in_dict)?;
            // SAFETY: the value is held.
            if let Err(stop) = unsafe { self.object(value.as_ptr()) } {
                return Err(stop.within(object.as_ptr(), format!(".{}", field.text)));
            }
        }
        self.check_others(object, record, own.as_ref(), in_dict)?;
        if record.rest.is_empty() {
            self.out.nil()?;
        } else {
            self.out.array(record.rest.len())?;
            for name in &record.rest {
                self.rest(object, name.bind(self.py))?;
            }
        }
        self.out.leave();
        Ok(())
    }

    #[inline(never)]
    fn rest(&mut self, object: &Bound<'py, PyAny>, name: &Bound<'py, PyString>) -> Step {
        let value = isolate::member(object, name)?;
        // SAFETY: the value is held; `None` always lives.
        let step = unsafe {
            match &value {
                Some(value) => self.object(value.as_ptr()),
                None => self.object(ffi::Py_None()),
            }
        };
        step.map_err(|stop| stop.within(object.as_ptr(), format!(".{name}")))
    }

    /// The value of one field. Not a part of the recursion, whose frames stay small without it.
    #[inline(never)]
    fn field(
        &self,
        object: &Bound<'py, PyAny>,
        record: &Record,
        index: usize,
        own: Option<&Bound<'py, PyDict>>,
        in_dict: &mut usize,
    ) -> Result<Bound<'py, PyAny>, Box<Stop>> {
        let name = record.fields[index].name.bind(self.py);
        if record.is_tuple {
            // SAFETY: a tuple by its layout; somebody may have made one with fewer items.
            let item = unsafe { ffi::PyTuple_GetItem(object.as_ptr(), index.cast_signed()) };
            // SAFETY: a borrowed reference out of a tuple that is held, or null with an exception.
            return Ok(unsafe { Bound::from_borrowed_ptr_or_err(self.py, item) }?);
        }
        if let Some(own) = own
            && let Some(value) = own.get_item(name)?
        {
            *in_dict += 1;
            return Ok(value);
        }
        // SAFETY: both are live; as `object` looks for attributes, whatever the class has in its place.
        let value = unsafe {
            let value = ffi::PyObject_GenericGetAttr(object.as_ptr(), name.as_ptr());
            Bound::from_owned_ptr_or_err(self.py, value)
        };
        match value {
            Ok(value) => Ok(value),
            Err(error) if must_propagate(self.py, &error) => Err(error.into()),
            Err(_) => Err(Stop::refused(
                object,
                format!("its field {name} is not set; set it"),
            )),
        }
    }

    /// Refuses an object with parts that are no fields, which would be lost.
    #[inline(never)]
    fn check_others(
        &self,
        object: &Bound<'py, PyAny>,
        record: &Record,
        own: Option<&Bound<'py, PyDict>>,
        in_dict: usize,
    ) -> Step {
        let no_field = |name: &Bound<'py, PyAny>, value: &Bound<'py, PyAny>| {
            let reason =
                "it is no field of its class, so it would be lost; make it one, or leave it out";
            Stop::refused(value, reason).within(object.as_ptr(), format!(".{name}"))
        };
        if record.is_tuple {
            // SAFETY: a tuple by its layout.
            let length = unsafe { ffi::PyTuple_GET_SIZE(object.as_ptr()) };
            if length != record.fields.len().cast_signed() {
                return Err(Stop::refused(object, "it has more items than fields"));
            }
        }
        for name in &record.others {
            let name = name.bind(self.py);
            if let Some(value) = isolate::member(object, name)? {
                return Err(no_field(name.as_any(), &value));
            }
        }
        let Some(own) = own.filter(|own| own.len() != in_dict) else {
            return Ok(());
        };
        for (name, value) in own.iter() {
            let known = name.extract::<String>().is_ok_and(|name| {
                record.fields.iter().any(|field| field.text == name)
                    || record.computed.contains(&name)
            });
            if !known {
                return Err(no_field(&name, &value));
            }
        }
        Ok(())
    }
}

/// The values of a content, and what makes one of them.
pub(crate) fn content(
    py: Python<'_>,
    type_byte: u8,
) -> PyResult<Option<(usize, Bound<'_, PyAny>)>> {
    let makers = CONTENTS.get(py)?.getattr("MAKERS")?;
    let maker = makers.cast::<PyDict>()?.get_item(type_byte)?;
    maker.map(|maker| maker.extract()).transpose()
}

/// Reads a class, or a member of an enumeration.
pub(crate) fn read_named<'py>(
    py: Python<'py>,
    known: Option<&Types>,
    reader: &mut Reader<'_>,
    type_byte: u8,
) -> Result<Bound<'py, PyAny>, Fail> {
    let Some(known) = known else {
        return Err(reader.corrupt("it has a class").into());
    };
    let plan = known.next(py, reader)?;
    let plan = plan.get();
    let class = plan.class.bind(py);
    if type_byte == types::CLASS {
        return Ok(class.clone().into_any());
    }
    if !matches!(plan.kind, Kind::Member) {
        return Err(reader.corrupt("its class is no enumeration").into());
    }
    match reader.token()? {
        Token::Str(name) => {
            let name = text(py, name, reader)?;
            let members = class.getattr(crate::once::text!(py, "_member_map_"))?;
            Ok(members.get_item(name)?)
        }
        Token::Int(number) => Ok(class.call1((number,))?),
        Token::Uint(number) => Ok(class.call1((number,))?),
        _ => Err(reader.corrupt("it lacks the name of a member").into()),
    }
}

/// The plan of a record and the number of its fields, which follow.
pub(crate) fn read_head<'py>(
    py: Python<'py>,
    types: &Types,
    reader: &mut Reader<'_>,
) -> Result<(Bound<'py, Plan>, usize), Fail> {
    let plan = types.next(py, reader)?;
    let Kind::Record(record) = &plan.get().kind else {
        return Err(reader.corrupt("its class has no fields").into());
    };
    let count = record.fields.len();
    match reader.token()? {
        Token::Map(length) if length == count => Ok((plan, count)),
        _ => Err(other_fields(reader)),
    }
}

#[cold]
#[expect(
    clippy::unnecessary_box_returns,
    reason = "a failure on its way up is boxed"
)]
fn other_fields(reader: &Reader<'_>) -> Fail {
    reader.corrupt("its class has other fields now").into()
}

impl Plan {
    /// Reads the name of a field, which must be the next of this class.
    pub(crate) fn read_name(&self, index: usize, reader: &mut Reader<'_>) -> Result<(), Fail> {
        let name = reader.str()?;
        match &self.kind {
            Kind::Record(record) if record.fields[index].text.as_bytes() == name => Ok(()),
            _ => Err(other_fields(reader)),
        }
    }

    /// Reads how many places beside the fields follow, which must be as many as this class has.
    pub(crate) fn read_rest(&self, reader: &mut Reader<'_>) -> Result<usize, Fail> {
        let Kind::Record(record) = &self.kind else {
            return Err(other_fields(reader));
        };
        let count = match reader.token()? {
            Token::Nil => 0,
            Token::Array(length) => length,
            _ => return Err(other_fields(reader)),
        };
        if count == record.rest.len() {
            Ok(count)
        } else {
            Err(other_fields(reader))
        }
    }
}
