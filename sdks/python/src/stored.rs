//! A value as it is stored, and what each caller gets of it.

use cachekit_runtime::error::Error;
use cachekit_runtime::native::Writer;
use pyo3::ffi;
use pyo3::prelude::*;

use crate::copies::{copy_flat, copy_tree};
use crate::encode::EncodeFailure;
use crate::guard::attached;
use crate::kept::{Kept, Storage, not_copied};
use crate::ready;
use crate::serializer::Serializer;
use crate::weight::weigh;

/// How a value is handed to a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Share {
    /// The stored object itself.
    Same,
    /// A copy of a container of immutable values.
    Flat,
    /// A copy.
    Copy,
    /// As the object of ours around it says.
    Kept,
    /// The stored awaitable itself, which gives the value.
    Ready,
    /// Not at all: whoever did not make it makes their own.
    Never,
}

/// A value as it is stored, and as waiters get it.
pub(crate) struct Value {
    pub(crate) object: Py<PyAny>,
    pub(crate) share: Share,
    /// What the caller who made it gets in place of a copy. Clones, which are for others, have none.
    pub(crate) original: Option<Py<PyAny>>,
}

impl Clone for Value {
    fn clone(&self) -> Self {
        Self::stored(attached(|py| self.object.clone_ref(py)), self.share)
    }
}

impl Value {
    /// A value as it is stored.
    pub(crate) fn stored(object: Py<PyAny>, share: Share) -> Self {
        Self {
            object,
            share,
            original: None,
        }
    }

    /// A value as the table gave it out.
    ///
    /// # Safety
    /// The object is a reference that is given away.
    pub(crate) unsafe fn found(py: Python<'_>, object: *mut ffi::PyObject, share: Share) -> Self {
        // SAFETY: by the contract above.
        let object = unsafe { Bound::from_owned_ptr(py, object) }.unbind();
        if share == Share::Ready {
            return Self::stored(ready::value(py, &object), Share::Same);
        }
        Self::stored(object, share)
    }

    /// A value that was just made, as `how` has it stored: its maker keeps the object, others get their own.
    pub(crate) fn as_stored(object: Bound<'_, PyAny>, how: Storage) -> Self {
        let (stored, share) = match how {
            Storage::Same => return Self::stored(object.unbind(), Share::Same),
            Storage::Never(_) => return Self::stored(object.unbind(), Share::Never),
            Storage::Flat(copy) => (copy, Share::Flat),
            Storage::Tree(copy) => (copy, Share::Copy),
            Storage::Kept(kept) => (kept.into_any(), Share::Kept),
        };
        Self {
            object: stored,
            share,
            original: Some(object.unbind()),
        }
    }

    /// The object that was made, for whoever made it.
    pub(crate) fn own(self) -> Py<PyAny> {
        self.original.unwrap_or(self.object)
    }

    /// What one caller gets, or why it gets no copy.
    pub(crate) fn hand_out(self, py: Python<'_>) -> PyResult<Result<Py<PyAny>, Error>> {
        if let Some(original) = self.original {
            return Ok(Ok(original));
        }
        let (stored, copy) = match self.share {
            Share::Same | Share::Ready | Share::Never => return Ok(Ok(self.object)),
            Share::Flat => {
                let stored = self.object.bind(py);
                (stored, copy_flat(stored.as_borrowed()))
            }
            Share::Copy => {
                let stored = self.object.bind(py);
                (stored, copy_tree(stored.as_borrowed()))
            }
            Share::Kept => {
                let kept = self.kept(py)?.get();
                (kept.stored(py), kept.hand_out(py))
            }
        };
        match copy {
            Ok(copy) => Ok(Ok(copy.unbind())),
            Err(error) => not_copied(stored, error).map(Err),
        }
    }

    /// The bytes that `serializer` makes of it, behind what was written.
    pub(crate) fn encode(
        &self,
        py: Python<'_>,
        serializer: &Serializer,
        out: &mut Writer,
    ) -> Result<(), EncodeFailure> {
        if self.share == Share::Kept {
            let kept = self.kept(py).map_err(EncodeFailure::Raised)?;
            kept.get().encode(py, out)
        } else {
            serializer.encode(self.object.bind_borrowed(py), out)
        }
    }

    /// How many bytes it takes, estimated.
    pub(crate) fn weight(&self, py: Python<'_>) -> u64 {
        if self.share == Share::Kept
            && let Ok(kept) = self.kept(py)
        {
            return kept.get().weight();
        }
        weigh(self.object.bind_borrowed(py))
    }

    fn kept<'py>(&self, py: Python<'py>) -> PyResult<&Bound<'py, Kept>> {
        Ok(self.object.bind(py).cast::<Kept>()?)
    }
}
