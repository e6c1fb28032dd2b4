//! From a call's arguments to the entry that it means.
//!
//! Plain arguments are a key as they are. Anything else goes by its canonical encoding, and what that names by an address
//! or a hash is compared by Python, with no section entered, before two calls count as one.

use std::sync::Arc;

use cachekit_runtime::error::{Error, ErrorCode};
use cachekit_runtime::key::{KeyHash, MAX_KEY_BYTES, Tenant};
use cachekit_runtime::native::{Writer, types};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{Plan, Receiver};
use crate::encode::{Locals, encode_key_arg};
use crate::interop;
use crate::key::{self, Key, Opaque};
use crate::local::{CallKey, Local};
use crate::secrets::Secrets;
use crate::shared::Guarded;

/// The entry of a call.
pub(crate) struct Located {
    pub(crate) key: CallKey,
    pub(crate) hash: KeyHash,
    pub(crate) tenant: Tenant,
    /// Why other processes cannot know it: what in it means something only here.
    pub(crate) only_here: Option<OnlyHere>,
    /// Keeps the key findable for equal calls while this one lasts.
    _pending: Option<Pending>,
}

/// What keeps a key in this process.
pub(crate) enum OnlyHere {
    Receiver,
    Object { type_name: String },
}

/// Why a call has no key.
pub(crate) enum Keyless {
    /// An argument that cannot be part of one.
    Argument(Error),
    Raised(PyErr),
}

impl From<PyErr> for Keyless {
    fn from(error: PyErr) -> Self {
        Self::Raised(error)
    }
}

/// Keys with process-local objects that calls are using now, whether or not they are in the table. Two equal calls must
/// agree on one of them, since the flight that they meet in goes by its address.
pub(crate) struct InUse(Guarded<Vec<(usize, Arc<Opaque>)>>);

/// One use of such a key.
struct Pending {
    keys: Arc<InUse>,
    opaque: Arc<Opaque>,
}

impl Drop for Pending {
    fn drop(&mut self) {
        let Self { keys, opaque } = self;
        let used = crate::guard::attached(|_| {
            keys.0.with(|keys| {
                let at = keys
                    .iter()
                    .position(|(_, known)| Arc::ptr_eq(known, opaque))?;
                Some(keys.swap_remove(at))
            })
        });
        drop(used);
    }
}

impl InUse {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Guarded::new(Vec::new())))
    }

    fn resolve(
        &self,
        py: Python<'_>,
        receiver: usize,
        wanted: &Opaque,
    ) -> PyResult<Option<Arc<Opaque>>> {
        let mut candidates = Vec::new();
        self.0.with(|keys| {
            for (of, known) in keys.iter() {
                if *of == receiver && known.hash == wanted.hash {
                    candidates.push(Arc::clone(known));
                }
            }
        });
        for known in candidates {
            if known.locals.same(&wanted.locals, py)? {
                return Ok(Some(known));
            }
        }
        Ok(None)
    }

    fn enter(self: &Arc<Self>, receiver: usize, opaque: &Arc<Opaque>) -> Pending {
        self.0
            .with(|keys| keys.push((receiver, Arc::clone(opaque))));
        Pending {
            keys: Arc::clone(self),
            opaque: Arc::clone(opaque),
        }
    }
}

/// A bound call, its receiver apart.
pub(crate) struct BoundCall<'a, 'py> {
    pub(crate) py: Python<'py>,
    pub(crate) plan: &'a Plan,
    /// The receiver, if it goes by identity.
    pub(crate) receiver: Option<Bound<'py, PyAny>>,
    /// The other arguments, from `first` on.
    pub(crate) parts: &'a [*mut ffi::PyObject],
    /// The slot of the first of them.
    pub(crate) first: usize,
    /// Whether the parts are what `key=` made of the arguments.
    pub(crate) by_function: bool,
}

impl BoundCall<'_, '_> {
    /// The address of the receiver.
    pub(crate) fn address(&self) -> usize {
        self.receiver
            .as_ref()
            .map_or(0, |receiver| receiver.as_ptr() as usize)
    }

    /// The table hash, if every argument is plain.
    pub(crate) fn plain_hash(&self) -> Option<u64> {
        // SAFETY: the call's arguments live.
        unsafe { key::of_plain(self.address(), self.parts) }
    }

    /// The entry that the call means.
    pub(crate) fn locate(
        &self,
        local: &Local,
        in_use: &Arc<InUse>,
        secrets: &Secrets,
        tenant: Tenant,
        function: &str,
    ) -> Result<Located, Keyless> {
        let py = self.py;
        let mut out = Writer::with_capacity(64, MAX_KEY_BYTES);
        let mut locals = Locals::default();
        self.encode(&mut out, &mut locals, function)?;
        tenant.write(&mut out).map_err(Keyless::Argument)?;
        let mut only_here = None;
        if let Some(object) = locals.iter().next() {
            let type_name = crate::failure::type_name(object.object.bind(py));
            if secrets.seals() {
                return Err(Keyless::Argument(kept_plain(type_name, function)));
            }
            only_here = Some(OnlyHere::Object { type_name });
        }
        if let Some(receiver) = &self.receiver
            && self.plan.receiver == Receiver::Instance
        {
            only_here = only_here.or(Some(OnlyHere::Receiver));
            // After the whole encoding, where nothing else can stand: it tells instances apart in this process.
            let address = receiver.as_ptr() as u64;
            out.raw(&address.to_be_bytes()).map_err(Keyless::Argument)?;
        }
        if let Some(receiver) = &self.receiver {
            locals.let_go(receiver);
        }
        let hash = KeyHash::of(out.as_bytes());
        let address = self.address();
        if locals.is_empty() {
            let plain = self.plain_hash().filter(|_| !secrets.go_by_hash());
            let key = match plain {
                Some(table_hash) => {
                    // SAFETY: the call's arguments live.
                    let key = unsafe { Key::plain(py, address, self.parts)? };
                    CallKey {
                        hash: table_hash,
                        key,
                    }
                }
                None => CallKey::encoded(address, secrets.hidden(py, &tenant, &hash)?),
            };
            return Ok(Located {
                key,
                hash,
                tenant,
                only_here,
                _pending: None,
            });
        }
        let wanted = Opaque { hash, locals };
        let known = match local.resolve(py, address, &wanted)? {
            Some(known) => Some(known),
            None => in_use.resolve(py, address, &wanted)?,
        };
        let opaque = known.unwrap_or_else(|| Arc::new(wanted));
        let pending = in_use.enter(address, &opaque);
        let mut unique = hash.0.to_vec();
        unique.extend_from_slice(&(Arc::as_ptr(&opaque) as u64).to_be_bytes());
        Ok(Located {
            key: CallKey::local(address, opaque),
            hash: KeyHash::of(&unique),
            tenant,
            only_here,
            _pending: Some(pending),
        })
    }

    /// The entry that the call means to the SDKs of all languages. Arguments that mean one thing to them have one key here too.
    pub(crate) fn locate_shared(&self, secrets: &Secrets, tenant: Tenant) -> PyResult<Located> {
        let py = self.py;
        let parts = self.parts.iter().enumerate().map(|(slot, part)| {
            // SAFETY: the call's arguments live.
            let part = unsafe { Borrowed::from_ptr(py, *part) };
            if self.plan.keywords_at() == Some(slot) {
                return dict_of(part).map(Bound::into_any);
            }
            Ok(part.to_owned())
        });
        let parts = parts.collect::<PyResult<Vec<_>>>()?;
        let mut out = Writer::with_capacity(64, MAX_KEY_BYTES);
        let starts = interop::arguments(py, &parts, &mut out, |slot| self.name(slot))?;
        let hash = KeyHash::of(out.as_bytes());
        let scalars = if secrets.go_by_hash() {
            None
        } else {
            interop::scalars(py, out.as_bytes(), &starts)?
        };
        let key = match scalars {
            Some(scalars) => {
                let scalars: Vec<_> = scalars.iter().map(Bound::as_ptr).collect();
                // SAFETY: alive until the key holds them.
                let plain = unsafe { (key::of_plain(0, &scalars), Key::plain(py, 0, &scalars)?) };
                match plain {
                    (Some(hash), key) => CallKey { hash, key },
                    (None, _) => CallKey::encoded(0, hash),
                }
            }
            None => CallKey::encoded(0, secrets.hidden(py, &tenant, &hash)?),
        };
        Ok(Located {
            key,
            hash,
            tenant,
            only_here: None,
            _pending: None,
        })
    }

    /// The parameter of a slot, for people.
    fn name(&self, slot: usize) -> String {
        let name = self.plan.name(slot);
        name.map_or_else(|| "?".to_owned(), ToString::to_string)
    }

    /// Writes the arguments as one tuple.
    fn encode(&self, out: &mut Writer, locals: &mut Locals, function: &str) -> Result<(), Keyless> {
        let py = self.py;
        let class = self
            .receiver
            .as_ref()
            .filter(|_| self.plan.receiver == Receiver::Class);
        out.ext(types::TUPLE).map_err(Keyless::Argument)?;
        out.array(self.parts.len() + usize::from(class.is_some()))
            .map_err(Keyless::Argument)?;
        if let Some(class) = class {
            self.part(class.as_borrowed(), 0, out, locals, function)?;
        }
        let pairs_at = if self.by_function {
            None
        } else {
            self.plan.keywords_at()
        };
        for (index, part) in self.parts.iter().enumerate() {
            let slot = index + self.first;
            // SAFETY: the call's arguments live.
            let part = unsafe { Borrowed::from_ptr(py, *part) };
            if pairs_at == Some(slot) {
                let named = dict_of(part)?;
                self.part(named.as_any().as_borrowed(), slot, out, locals, function)?;
            } else {
                self.part(part, slot, out, locals, function)?;
            }
        }
        Ok(())
    }

    fn part(
        &self,
        part: Borrowed<'_, '_, PyAny>,
        slot: usize,
        out: &mut Writer,
        locals: &mut Locals,
        function: &str,
    ) -> Result<(), Keyless> {
        encode_key_arg(part, out, locals).map_err(|failure| {
            let name = if self.by_function {
                "the result of key".to_owned()
            } else {
                self.name(slot)
            };
            match failure.argument_error(&name, function) {
                Ok(error) => Keyless::Argument(error),
                Err(raised) => Keyless::Raised(raised),
            }
        })
    }
}

/// Nothing can stand for such an argument but itself, which would be seen in memory.
fn kept_plain(type_name: String, function: &str) -> Error {
    Error::new(ErrorCode::ArgumentUnsupported)
        .with("path", "(one of them)")
        .with("function", function)
        .with("type", type_name)
        .with(
            "reason",
            "it would be kept as it is, beside entries that are sealed; give its class a __cache_key__ method, or the \
             decorator a key",
        )
}

/// `**kwargs` as the function gets them.
fn dict_of<'py>(pairs: Borrowed<'_, 'py, PyAny>) -> PyResult<Bound<'py, PyDict>> {
    let named = PyDict::new(pairs.py());
    let mut items = pairs.try_iter()?;
    while let (Some(name), Some(value)) = (items.next(), items.next()) {
        named.set_item(name?, value?)?;
    }
    Ok(named)
}
