//! The types of Python's standard library that values and keys know beyond the built-in ones.
//!
//! None of their modules is imported before a value needs it: whoever holds a `Decimal` has imported `decimal` already,
//! so encoding looks into `sys.modules` only, and decoding alone imports. A type that was found stays referenced for the
//! life of the process, which makes the comparison a load of one word.

use std::ffi::CStr;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyString;

/// A type of the standard library that has an encoding of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Known {
    Date,
    Time,
    DateTime,
    TimeDelta,
    TimeZone,
    Decimal,
    Uuid,
    ZoneInfo,
}

struct Entry {
    known: Known,
    module: &'static CStr,
    name: &'static CStr,
    found: AtomicPtr<ffi::PyTypeObject>,
}

impl Entry {
    const fn new(known: Known, module: &'static CStr, name: &'static CStr) -> Self {
        Self {
            known,
            module,
            name,
            found: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// The type, if its module is imported. Never leaves an exception behind.
    fn resolve(&self, py: Python<'_>) -> Option<*mut ffi::PyTypeObject> {
        let known = self.found.load(Ordering::Acquire);
        if !known.is_null() {
            return Some(known);
        }
        let module = imported(py, self.module)?;
        let class = attribute(&module, self.name)?;
        self.keep(&class)
    }

    fn keep(&self, class: &Bound<'_, PyAny>) -> Option<*mut ffi::PyTypeObject> {
        // SAFETY: `class` is a live object.
        if unsafe { ffi::PyType_Check(class.as_ptr()) } == 0 {
            return None;
        }
        let class = class.clone().into_ptr().cast();
        let raced = self.found.compare_exchange(
            ptr::null_mut(),
            class,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        match raced {
            Ok(_) => Some(class),
            Err(first) => {
                // SAFETY: the reference was made above, and nobody else has it.
                unsafe { ffi::Py_DECREF(class.cast()) };
                Some(first)
            }
        }
    }

    fn require(&self, py: Python<'_>) -> PyResult<*mut ffi::PyTypeObject> {
        if let Some(found) = self.resolve(py) {
            return Ok(found);
        }
        // SAFETY: the name is a valid C string; null comes with an exception set.
        let module = unsafe {
            Bound::from_owned_ptr_or_err(py, ffi::PyImport_ImportModule(self.module.as_ptr()))?
        };
        // SAFETY: as above.
        let class = unsafe {
            let class = ffi::PyObject_GetAttrString(module.as_ptr(), self.name.as_ptr());
            Bound::from_owned_ptr_or_err(py, class)?
        };
        self.keep(&class).ok_or_else(|| {
            pyo3::exceptions::PyTypeError::new_err("a standard library class is not a class")
        })
    }
}

static TABLE: [Entry; 8] = [
    Entry::new(Known::DateTime, c"datetime", c"datetime"),
    Entry::new(Known::Date, c"datetime", c"date"),
    Entry::new(Known::Time, c"datetime", c"time"),
    Entry::new(Known::TimeDelta, c"datetime", c"timedelta"),
    Entry::new(Known::TimeZone, c"datetime", c"timezone"),
    Entry::new(Known::Decimal, c"decimal", c"Decimal"),
    Entry::new(Known::Uuid, c"uuid", c"UUID"),
    Entry::new(Known::ZoneInfo, c"zoneinfo", c"ZoneInfo"),
];

static ENUM_META: Entry = Entry::new(Known::Date, c"enum", c"EnumMeta");

/// Which of the known types `class` is, exactly.
#[inline]
pub(crate) fn known(py: Python<'_>, class: *mut ffi::PyTypeObject) -> Option<Known> {
    for entry in &TABLE {
        if entry.found.load(Ordering::Relaxed) == class {
            return Some(entry.known);
        }
    }
    resolve_by_name(py, class)
}

/// The first meeting of a type: its bare name says which module to look for.
#[cold]
fn resolve_by_name(py: Python<'_>, class: *mut ffi::PyTypeObject) -> Option<Known> {
    // SAFETY: a live type has a name that is a valid C string.
    let name = unsafe { CStr::from_ptr((*class).tp_name) }.to_bytes();
    let bare = name.rsplit(|byte| *byte == b'.').next()?;
    TABLE
        .iter()
        .filter(|entry| entry.name.to_bytes() == bare)
        .find(|entry| entry.resolve(py) == Some(class))
        .map(|entry| entry.known)
}

/// The type object of `which`, its module imported if need be.
pub(crate) fn require(py: Python<'_>, which: Known) -> PyResult<*mut ffi::PyTypeObject> {
    let entry = TABLE.iter().find(|entry| entry.known == which);
    entry.expect("the table holds every known type").require(py)
}

/// The C functions of `datetime`, which is imported if need be.
#[inline]
pub(crate) fn datetime_api(py: Python<'_>) -> PyResult<&'static ffi::PyDateTime_CAPI> {
    // SAFETY: the interpreter is attached; the table lives as long as the process.
    unsafe {
        let mut api = ffi::PyDateTimeAPI();
        if api.is_null() {
            ffi::PyDateTime_IMPORT();
            api = ffi::PyDateTimeAPI();
        }
        api.as_ref().ok_or_else(|| PyErr::fetch(py))
    }
}

unsafe extern "C" {
    /// What a class or one of its bases has under a name: a new reference where threads run at once, else a borrowed one.
    #[cfg_attr(Py_GIL_DISABLED, link_name = "_PyType_LookupRef")]
    fn _PyType_Lookup(
        class: *mut ffi::PyTypeObject,
        name: *mut ffi::PyObject,
    ) -> *mut ffi::PyObject;
}

/// Whether instances of `class` say what their key is. Asked as the interpreter asks for its own special methods: the class
/// of the class, which may answer to any name, has no say.
pub(crate) fn has_cache_key(py: Python<'_>, class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: a live type and a str; the lookup runs no code of others and leaves no exception.
    unsafe {
        let method = _PyType_Lookup(class, crate::once::text!(py, "__cache_key__").as_ptr());
        #[cfg(Py_GIL_DISABLED)]
        let _held = Bound::from_owned_ptr_or_opt(py, method);
        !method.is_null() && method != ffi::Py_None()
    }
}

/// Whether `class` was defined in one of some packages. Runs no code of others.
pub(crate) fn is_of_package(
    py: Python<'_>,
    class: *mut ffi::PyTypeObject,
    packages: &[&str],
) -> bool {
    let is_one = |module: &str| {
        let package = module.split('.').next().unwrap_or_default();
        packages.contains(&package)
    };
    // SAFETY: a live type, whose name is a valid C string; as in `has_cache_key`.
    unsafe {
        if ffi::PyType_HasFeature(class, ffi::Py_TPFLAGS_HEAPTYPE) == 0 {
            return CStr::from_ptr((*class).tp_name).to_str().is_ok_and(is_one);
        }
        let module = _PyType_Lookup(class, crate::once::text!(py, "__module__").as_ptr());
        #[cfg(Py_GIL_DISABLED)]
        let _held = Bound::from_owned_ptr_or_opt(py, module);
        let module = Bound::from_borrowed_ptr_or_opt(py, module);
        let module = module.and_then(|module| module.cast_into_exact::<PyString>().ok());
        module.is_some_and(|module| module.to_str().is_ok_and(is_one))
    }
}

/// Whether instances of `class` are members of an enumeration.
pub(crate) fn is_enum(py: Python<'_>, class: *mut ffi::PyTypeObject) -> bool {
    // SAFETY: `class` is a live type, and so is its own type.
    unsafe {
        let meta = ffi::Py_TYPE(class.cast());
        meta != &raw mut ffi::PyType_Type
            && ENUM_META
                .resolve(py)
                .is_some_and(|base| ffi::PyType_IsSubtype(meta, base) != 0)
    }
}

/// Whether it is a built-in iterator, which can be walked once: a generator, a `map`, the iterator of a list.
pub(crate) fn is_built_in_iterator(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: a live object has a type, whose name is a valid C string; those of other modules have a dot in it.
    unsafe {
        let class = object.get_type_ptr();
        (*class).tp_iternext.is_some()
            && ffi::PyType_HasFeature(class, ffi::Py_TPFLAGS_HEAPTYPE) == 0
            && !CStr::from_ptr((*class).tp_name).to_bytes().contains(&b'.')
    }
}

/// A module that is imported already.
fn imported<'py>(py: Python<'py>, name: &CStr) -> Option<Bound<'py, PyAny>> {
    // SAFETY: the name is a valid C string; a null result is either absence or an exception, which is dropped.
    unsafe {
        let name = ffi::PyUnicode_InternFromString(name.as_ptr());
        let name = Bound::from_owned_ptr_or_opt(py, name);
        let module = name.map(|name| ffi::PyImport_GetModule(name.as_ptr()));
        let module = Bound::from_owned_ptr_or_opt(py, module.unwrap_or(ptr::null_mut()));
        if module.is_none() {
            ffi::PyErr_Clear();
        }
        module
    }
}

fn attribute<'py>(object: &Bound<'py, PyAny>, name: &CStr) -> Option<Bound<'py, PyAny>> {
    // SAFETY: both are valid; a null result comes with an exception, which is dropped.
    unsafe {
        let found = ffi::PyObject_GetAttrString(object.as_ptr(), name.as_ptr());
        let found = Bound::from_owned_ptr_or_opt(object.py(), found);
        if found.is_none() {
            ffi::PyErr_Clear();
        }
        found
    }
}

/// Where a class can be found by name, the same in every process: its module and qualified name.
pub(crate) struct Importable<'py> {
    pub(crate) module: Bound<'py, PyAny>,
    pub(crate) qualname: Bound<'py, PyAny>,
}

/// The names of `class` if they lead back to it. `__main__` is another module in every program, so it does not count.
pub(crate) fn importable<'py>(class: &Bound<'py, PyAny>) -> PyResult<Option<Importable<'py>>> {
    let py = class.py();
    let names = class
        .getattr(crate::once::text!(py, "__module__"))
        .and_then(|module| {
            class
                .getattr(crate::once::text!(py, "__qualname__"))
                .map(|qualname| (module, qualname))
        });
    let Some((module, qualname)) = unless_interrupted(py, names)? else {
        return Ok(None);
    };
    let (Ok(module_text), Ok(path)) = (module.extract::<String>(), qualname.extract::<String>())
    else {
        return Ok(None);
    };
    if module_text == "__main__" {
        return Ok(None);
    }
    // SAFETY: `module` is a str; null is absence or an exception.
    let start =
        unsafe { Bound::from_owned_ptr_or_opt(py, ffi::PyImport_GetModule(module.as_ptr())) };
    let Some(start) = start else {
        // SAFETY: the interpreter is attached.
        unsafe { ffi::PyErr_Clear() };
        return Ok(None);
    };
    let found = path
        .split('.')
        .try_fold(start, |scope, name| scope.getattr(name));
    let same = unless_interrupted(py, found)?.is_some_and(|found| found.is(class));
    Ok(same.then_some(Importable { module, qualname }))
}

/// `None` for an ordinary exception; what must not be swallowed goes on.
fn unless_interrupted<T>(py: Python<'_>, result: PyResult<T>) -> PyResult<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if must_propagate(py, &error) => Err(error),
        Err(_) => Ok(None),
    }
}

/// Whether an exception is not ours to turn into an answer: an interruption, or the end of memory.
pub(crate) fn must_propagate(py: Python<'_>, error: &PyErr) -> bool {
    !error.is_instance_of::<pyo3::exceptions::PyException>(py)
        || error.is_instance_of::<pyo3::exceptions::PyMemoryError>(py)
}
