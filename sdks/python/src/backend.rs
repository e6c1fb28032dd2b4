//! `Backend`: a remote tier by its URL, shared by every function that names it.
//!
//! Making one connects to nothing. The sockets of blocking calls are here; those of event loops belong to their loops.

use std::sync::Arc;

use cachekit_runtime::error::{Error, ErrorCode};
use cachekit_runtime::remote::memory::Memory;
use cachekit_runtime::remote::redis::{Blocking, Endpoint, Redis};
use pyo3::prelude::*;

use crate::errors;
use crate::remote::{Server, Signals};

/// A remote tier.
#[pyclass(frozen, weakref, module = "cachekit._native")]
pub(crate) struct Backend {
    place: Place,
    server: Server,
}

/// What the URL names.
#[derive(Clone)]
pub(crate) enum Place {
    Redis(Endpoint),
    Memory,
}

#[pymethods]
impl Backend {
    #[new]
    fn new(py: Python<'_>, url: &str) -> PyResult<Self> {
        // Every such URL names a store of its own: one that several functions are to share is one object.
        if url == "memory://" || url == "memory:" {
            return Ok(Self {
                place: Place::Memory,
                server: Server::Memory(Arc::new(Memory::default())),
            });
        }
        if let Some(rest) = url.strip_prefix("memory:") {
            let error = Error::new(ErrorCode::BackendInvalid)
                .with("backend", format_args!("memory:{rest}"))
                .with(
                    "reason",
                    "a store in this process has no address; write memory://",
                );
            return Err(errors::raise(py, error));
        }
        let endpoint: Endpoint = url.parse().map_err(|error| errors::raise(py, error))?;
        let transport = Blocking::new(endpoint.clone(), Arc::new(Signals));
        let server = Server::Blocking(Arc::new(Redis::new(transport)));
        Ok(Self {
            place: Place::Redis(endpoint),
            server,
        })
    }

    /// Where it is, without a password.
    #[getter]
    fn url(&self) -> String {
        match &self.place {
            Place::Redis(endpoint) => endpoint.to_string(),
            Place::Memory => "memory://".to_owned(),
        }
    }

    /// What it is: `redis` or `memory`.
    #[getter]
    fn kind(&self) -> &'static str {
        match self.place {
            Place::Redis(_) => "redis",
            Place::Memory => "memory",
        }
    }

    fn __repr__(&self) -> String {
        format!("Backend({:?})", self.url())
    }
}

impl Backend {
    /// How a thread speaks to it.
    pub(crate) fn server(&self) -> Server {
        self.server.clone()
    }

    /// What the URL named.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}
