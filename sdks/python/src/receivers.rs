//! Whether calls of a method are told apart by the identity of their object.
//!
//! They are unless its class has a `__cache_key__`. Looking for that costs as much as a hit, so the last answer is kept, by
//! the class and the version number that the interpreter gives every change of it.

use pyo3::ffi;
use pyo3::prelude::*;

use crate::guard::attached;
use crate::shared::Guarded;

/// What is known of the classes of one method's objects.
pub(crate) struct Receivers(Guarded<Class>);

/// The last class.
#[derive(Default)]
struct Class {
    address: usize,
    version: u32,
    by_identity: bool,
}

impl Default for Receivers {
    fn default() -> Self {
        Self(Guarded::new(Class::default()))
    }
}

impl Receivers {
    /// Whether `receiver` goes by its identity.
    ///
    /// # Safety
    /// It is alive, and the thread attached.
    #[inline]
    pub(crate) unsafe fn go_by_identity(&self, receiver: *mut ffi::PyObject) -> bool {
        // SAFETY: alive.
        let (address, version) = unsafe {
            let class = ffi::Py_TYPE(receiver);
            (class as usize, (*class).tp_version_tag)
        };
        let known = self.0.with(|class| {
            // A class that has no version now may have changed.
            (class.address == address && class.version == version && version != 0)
                .then_some(class.by_identity)
        });
        match known {
            Some(by_identity) => by_identity,
            // SAFETY: as above.
            None => unsafe { self.look(receiver) },
        }
    }

    #[cold]
    unsafe fn look(&self, receiver: *mut ffi::PyObject) -> bool {
        attached(|py| {
            // SAFETY: the receiver is alive.
            let object = unsafe { Bound::from_borrowed_ptr(py, receiver) };
            let class = object.get_type();
            let method = class.getattr_opt(crate::once::text!(py, "__cache_key__"));
            let by_identity =
                !method.is_ok_and(|method| method.is_some_and(|method| !method.is_none()));
            // SAFETY: alive. The lookup above has given the class a version, if it can have one.
            let version = unsafe { (*class.as_type_ptr()).tp_version_tag };
            let address = class.as_ptr() as usize;
            self.0.with(|known| {
                *known = Class {
                    address,
                    version,
                    by_identity,
                }
            });
            by_identity
        })
    }
}
