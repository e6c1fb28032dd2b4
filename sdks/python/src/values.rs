//! Functions of the extension that only its own tests call: the codec and the copy without a cache around them.

use std::sync::Arc;

use cachekit_runtime::generated::config::Isolation;
use cachekit_runtime::native::Writer;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::copies::{copy_flat, copy_rich, copy_tree};
use crate::decode::{DecodeFailure, decode_value};
use crate::encode::{EncodeFailure, Locals, encode_key_arg, encode_value};
use crate::isolate::{self, Shape};
use crate::kept::Rules;
use crate::plans::Types;
use crate::serializer::Serializer;
use crate::weight;

const LIMIT: usize = 256 << 20;

/// Adds them to the module.
pub(crate) fn register_private(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(_encode, module)?)?;
    module.add_function(wrap_pyfunction!(_decode, module)?)?;
    module.add_function(wrap_pyfunction!(_key, module)?)?;
    module.add_function(wrap_pyfunction!(_same_keys, module)?)?;
    module.add_function(wrap_pyfunction!(_copy, module)?)?;
    module.add_function(wrap_pyfunction!(_classify, module)?)?;
    module.add_function(wrap_pyfunction!(_weigh, module)?)
}

fn raise(failure: EncodeFailure) -> PyErr {
    match failure.value_error("result") {
        Ok(error) => PyTypeError::new_err((error.code().as_str(), error.to_string())),
        Err(error) => error,
    }
}

#[pyfunction]
#[pyo3(signature = (value, limit = LIMIT, types = None))]
fn _encode<'py>(
    value: &Bound<'py, PyAny>,
    limit: usize,
    types: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyBytes>> {
    let mut out = Writer::with_capacity(512, limit);
    let types = Types::new(value.py(), None, types);
    encode_value(value.as_borrowed(), Some(&types), &mut out).map_err(raise)?;
    Ok(PyBytes::new(value.py(), out.as_bytes()))
}

#[pyfunction]
#[pyo3(signature = (bytes, types = None))]
fn _decode<'py>(
    py: Python<'py>,
    bytes: &[u8],
    types: Option<Py<PyAny>>,
) -> PyResult<Bound<'py, PyAny>> {
    let types = Types::new(py, None, types);
    decode_value(py, Some(&types), bytes).map_err(|failure| match failure {
        DecodeFailure::Corrupt(error) => {
            PyValueError::new_err((error.code().as_str(), error.to_string()))
        }
        DecodeFailure::Raised(error) => error,
    })
}

fn key(argument: &Bound<'_, PyAny>, out: &mut Writer) -> PyResult<Locals> {
    let mut locals = Locals::default();
    match encode_key_arg(argument.as_borrowed(), out, &mut locals) {
        Ok(()) => Ok(locals),
        Err(failure) => Err(match failure.argument_error("argument", "function") {
            Ok(error) => PyTypeError::new_err((error.code().as_str(), error.to_string())),
            Err(error) => error,
        }),
    }
}

/// The encoded argument, and the objects that only this process can name with whether they compare by identity.
#[pyfunction]
fn _key<'py>(argument: &Bound<'py, PyAny>) -> PyResult<(Bound<'py, PyBytes>, Bound<'py, PyList>)> {
    let py = argument.py();
    let mut out = Writer::with_capacity(512, LIMIT);
    let locals = key(argument, &mut out)?;
    let objects = PyList::empty(py);
    for local in locals.iter() {
        objects.append((local.object.bind(py), local.by_identity))?;
    }
    debug_assert_eq!(locals.is_empty(), objects.is_empty());
    Ok((PyBytes::new(py, out.as_bytes()), objects))
}

/// Whether two arguments make one key.
#[pyfunction]
fn _same_keys(one: &Bound<'_, PyAny>, other: &Bound<'_, PyAny>) -> PyResult<bool> {
    let mut first = Writer::new(LIMIT);
    let mut second = Writer::new(LIMIT);
    let (mine, theirs) = (key(one, &mut first)?, key(other, &mut second)?);
    Ok(first.as_bytes() == second.as_bytes() && mine.same(&theirs, one.py())?)
}

#[pyfunction]
fn _copy<'py>(value: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let rules = no_rules(value.py());
    match classified(value, &rules)? {
        Some(Shape::Rich) => copy_rich(value.as_borrowed(), &rules),
        Some(Shape::Flat) => copy_flat(value.as_borrowed()),
        _ => copy_tree(value.as_borrowed()),
    }
}

#[pyfunction]
fn _classify(value: &Bound<'_, PyAny>) -> PyResult<&'static str> {
    Ok(match classified(value, &no_rules(value.py()))? {
        Some(Shape::Immutable) => "immutable",
        Some(Shape::Flat) => "flat",
        Some(Shape::Tree) => "tree",
        Some(Shape::Rich) => "rich",
        None => "other",
    })
}

fn no_rules(py: Python<'_>) -> Arc<Rules> {
    let serializer = Serializer::Native(Types::new(py, None, None));
    Rules::new(Isolation::Copy, Vec::new(), None, serializer, None)
}

fn classified(value: &Bound<'_, PyAny>, rules: &Rules) -> PyResult<Option<Shape>> {
    match isolate::classify(value, rules) {
        Ok((shape, _)) => Ok(Some(shape)),
        Err(EncodeFailure::Raised(error)) => Err(error),
        Err(_) => Ok(None),
    }
}

#[pyfunction]
fn _weigh(value: &Bound<'_, PyAny>) -> u64 {
    weight::weigh(value.as_borrowed())
}
