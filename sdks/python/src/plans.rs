//! The classes that the values of a function may have, and what their objects consist of.
//!
//! What an entry says of a class is a name, and whoever can write to the remote tier writes names. So reading imports nothing
//! and looks nothing up by name but among the classes that the function's own program named: in the annotation of its result,
//! in `types=`, or by `cachekit.register`. `_classes.py` finds those, once a function and when the first such value is met.

use cachekit_runtime::native::{Reader, Writer};
use pyo3::PyTraverseError;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::ffi;
use pyo3::gc::PyVisit;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PySet, PyString, PyTuple, PyType};

use crate::decode::{Fail, text};
use crate::lazy::CLASSES;

/// The classes that values of one function may have.
pub(crate) struct Types {
    /// The function, whose annotations are read when they are needed: what they name may be defined later.
    function: Option<Py<PyAny>>,
    given: Option<Py<PyAny>>,
    /// What is known so far, by class and by name.
    plans: Py<PyDict>,
}

impl Types {
    pub(crate) fn new(
        py: Python<'_>,
        function: Option<Py<PyAny>>,
        given: Option<Py<PyAny>>,
    ) -> Self {
        Self {
            function,
            given,
            plans: PyDict::new(py).unbind(),
        }
    }

    /// Shows the collector what is held here.
    pub(crate) fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        visit(self.plans.as_ptr());
        for object in [&self.function, &self.given].into_iter().flatten() {
            visit(object.as_ptr());
        }
    }

    /// The plan of a class, or why there is none.
    #[inline(never)]
    pub(crate) fn of<'py>(&self, class: &Bound<'py, PyAny>) -> PyResult<Found<'py>> {
        if let Some(plan) = self.plans.bind(class.py()).get_item(class)?
            && let Ok(plan) = plan.cast_into::<Plan>()
        {
            return Ok(Found::Plan(plan));
        }
        self.learn("learn", class)
    }

    fn learn<'py>(&self, how: &str, asked: &Bound<'py, PyAny>) -> PyResult<Found<'py>> {
        let py = asked.py();
        let arguments = (self.plans.bind(py), asked, &self.function, &self.given);
        let found = CLASSES.get(py)?.call_method1(how, arguments)?;
        match found.cast_into::<Plan>() {
            Ok(plan) => Ok(Found::Plan(plan)),
            Err(other) => Ok(Found::Reason(other.into_inner().extract()?)),
        }
    }

    /// The plan of the class whose name is next.
    pub(crate) fn next<'py>(
        &self,
        py: Python<'py>,
        reader: &mut Reader<'_>,
    ) -> Result<Bound<'py, Plan>, Fail> {
        let module = reader.str()?;
        let module = text(py, module, reader)?;
        let qualname = reader.str()?;
        let qualname = text(py, qualname, reader)?;
        let name = PyTuple::new(py, [module, qualname])?;
        if let Some(plan) = self.plans.bind(py).get_item(&name)?
            && let Ok(plan) = plan.cast_into::<Plan>()
        {
            return Ok(plan);
        }
        match self.learn("find", name.as_any())? {
            Found::Plan(plan) => Ok(plan),
            Found::Reason(reason) => Err(reader.corrupt(&reason).into()),
        }
    }
}

pub(crate) enum Found<'py> {
    Plan(Bound<'py, Plan>),
    Reason(String),
}

/// How values of one class are written and made.
#[pyclass(frozen, module = "cachekit._native")]
pub(crate) struct Plan {
    pub(crate) class: Py<PyType>,
    /// Its encoded name.
    pub(crate) name: Vec<u8>,
    pub(crate) kind: Kind,
}

pub(crate) enum Kind {
    /// By what a function makes of them.
    Content { type_byte: u8, take: Py<PyAny> },
    /// A class that is a value itself, and has no others.
    Bare,
    /// By name.
    Member,
    /// By what they consist of.
    Record(Record),
}

pub(crate) struct Record {
    pub(crate) is_tuple: bool,
    pub(crate) has_dict: bool,
    pub(crate) fields: Vec<Field>,
    /// Places beside the fields that belong to the value.
    pub(crate) rest: Vec<Py<PyString>>,
    /// Places that are empty, or else the value has parts that are no fields.
    pub(crate) others: Vec<Py<PyString>>,
    /// Places that are given `None`.
    cleared: Vec<Py<PyString>>,
    /// Attributes that are computed from the others.
    pub(crate) computed: Vec<String>,
}

pub(crate) struct Field {
    pub(crate) name: Py<PyString>,
    pub(crate) text: String,
}

#[pymethods]
impl Plan {
    /// Values whose content is what `take` returns for them, as a tuple.
    #[staticmethod]
    fn content(class: Py<PyType>, type_byte: u8, take: Py<PyAny>) -> Self {
        let kind = Kind::Content { type_byte, take };
        let name = Vec::new();
        Self { class, name, kind }
    }

    /// The same, of a class that is a value itself.
    #[staticmethod]
    fn factory(
        class: Py<PyType>,
        module: &str,
        qualname: &str,
        type_byte: u8,
        take: Py<PyAny>,
    ) -> PyResult<Self> {
        let kind = Kind::Content { type_byte, take };
        Self::named(class, module, qualname, kind)
    }

    /// A class by itself.
    #[staticmethod]
    fn bare(class: Py<PyType>, module: &str, qualname: &str) -> PyResult<Self> {
        Self::named(class, module, qualname, Kind::Bare)
    }

    /// Members of an enumeration.
    #[staticmethod]
    fn member(class: Py<PyType>, module: &str, qualname: &str) -> PyResult<Self> {
        Self::named(class, module, qualname, Kind::Member)
    }

    /// Named tuples.
    #[staticmethod]
    fn named_tuple(
        class: Py<PyType>,
        module: &str,
        qualname: &str,
        fields: Vec<Py<PyString>>,
        py: Python<'_>,
    ) -> PyResult<Self> {
        let record = Record {
            is_tuple: true,
            has_dict: false,
            fields: named_fields(py, fields)?,
            rest: Vec::new(),
            others: Vec::new(),
            cleared: Vec::new(),
            computed: Vec::new(),
        };
        Self::named(class, module, qualname, Kind::Record(record))
    }

    /// Objects that are made of their fields.
    #[staticmethod]
    #[expect(
        clippy::too_many_arguments,
        reason = "one caller, in Python, which names them"
    )]
    fn record(
        class: Py<PyType>,
        module: &str,
        qualname: &str,
        fields: Vec<Py<PyString>>,
        has_dict: bool,
        rest: Vec<Py<PyString>>,
        others: Vec<Py<PyString>>,
        cleared: Vec<Py<PyString>>,
        computed: Vec<String>,
        py: Python<'_>,
    ) -> PyResult<Self> {
        let record = Record {
            is_tuple: false,
            has_dict,
            fields: named_fields(py, fields)?,
            rest,
            others,
            cleared,
            computed,
        };
        Self::named(class, module, qualname, Kind::Record(record))
    }

    /// The class that it is of.
    #[getter]
    fn cls(&self, py: Python<'_>) -> Py<PyType> {
        self.class.clone_ref(py)
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.class)?;
        if let Kind::Content { take, .. } = &self.kind {
            visit.call(take)?;
        }
        Ok(())
    }
}

fn named_fields(py: Python<'_>, fields: Vec<Py<PyString>>) -> PyResult<Vec<Field>> {
    let named = fields.into_iter().map(|name| {
        let text = name.bind(py).to_str()?.to_owned();
        Ok(Field { name, text })
    });
    named.collect()
}

impl Plan {
    fn named(class: Py<PyType>, module: &str, qualname: &str, kind: Kind) -> PyResult<Self> {
        let mut name = Writer::new(usize::MAX);
        let written = name.str(module).and_then(|()| name.str(qualname));
        written.map_err(|error| PyRuntimeError::new_err(error.to_string()))?;
        let name = name.into_vec();
        Ok(Self { class, name, kind })
    }
}

impl Plan {
    /// A record of these parts, by neither the `__init__` nor the `__setattr__` of its class.
    pub(crate) fn make<'py>(
        &self,
        py: Python<'py>,
        parts: Vec<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let class: *mut ffi::PyTypeObject = self.class.as_ptr().cast();
        let Kind::Record(record) = &self.kind else {
            return Err(PyRuntimeError::new_err("a plan of no record"));
        };
        if record.is_tuple {
            let items = PyTuple::new(py, parts)?;
            let arguments = PyTuple::new(py, [items])?;
            // SAFETY: a subclass of `tuple` without state of its own, and a tuple of one tuple.
            return unsafe {
                let new = ffi::PyTuple_Type.tp_new.expect("a tuple can be made");
                let made = new(class, arguments.as_ptr(), std::ptr::null_mut());
                Bound::from_owned_ptr_or_err(py, made)
            };
        }
        // SAFETY: a class that consists of what is set here; as `object.__new__` does it.
        let made = unsafe {
            let allocate = (*class).tp_alloc.expect("an object can be made");
            Bound::from_owned_ptr_or_err(py, allocate(class, 0))?
        };
        for (name, part) in record.rest.iter().zip(&parts[record.fields.len()..]) {
            let is_set = part.is_exact_instance_of::<PySet>();
            let of_names = name.to_str(py)? == "__pydantic_fields_set__";
            if is_set != of_names
                || !(is_set || part.is_none() || part.is_exact_instance_of::<PyDict>())
            {
                return Err(PyValueError::new_err(
                    "a model's own notes are of another type",
                ));
            }
        }
        let names = record.fields.iter().map(|field| &field.name);
        for (name, part) in names.chain(&record.rest).zip(&parts) {
            place(&made, name, part)?;
        }
        for name in &record.cleared {
            place(&made, name, py.None().bind(py))?;
        }
        Ok(made)
    }
}

/// As `object.__setattr__`, which a class that is frozen does not keep from it.
fn place(object: &Bound<'_, PyAny>, name: &Py<PyString>, value: &Bound<'_, PyAny>) -> PyResult<()> {
    // SAFETY: all are live.
    let status =
        unsafe { ffi::PyObject_GenericSetAttr(object.as_ptr(), name.as_ptr(), value.as_ptr()) };
    if status < 0 {
        return Err(PyErr::fetch(object.py()));
    }
    Ok(())
}

/// Makes the type with the module: made later, it could be half made in a forked child.
pub(crate) fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_class::<Plan>()
}
