//! One decorated function: its parameters, its tiers, and what a call of it does.
//!
//! Which tier is asked when is the runtime's business; here arguments become keys, objects become values, and the
//! runtime's answer becomes what the caller sees.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cachekit_runtime::cache::{Builder, Cache, Lifetimes, Lookup};
use cachekit_runtime::driver::blocking::Blocking;
use cachekit_runtime::generated::config::Options;
use cachekit_runtime::key::Identity;
use cachekit_runtime::l1::Limits;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::arguments::{Frame, Plan, Receiver, Unbound};
use crate::backend::Backend;
use crate::clock;
use crate::codec::Values;
use crate::counters::Counters;
use crate::function::{CallArgs, shared_as};
use crate::kept::Rules;
use crate::load::Raised;
use crate::local::{CallKey, Local, Shelf, cannot_be_weak};
use crate::lookup::{BoundCall, InUse, Keyless, Located};
use crate::notices::{Board, Notices};
use crate::quick::Alone;
use crate::ready::ready;
use crate::receivers::Receivers;
use crate::remote::FunctionRemote;
use crate::secrets::Secrets;
use crate::settings::Settings;
use crate::shared::Guarded;
use crate::stored::{Share, Value};
use crate::{async_calls, errors};

/// The cache of a function as threads use it.
pub(crate) type ThreadCache = Cache<Shelf, Values, Raised, FunctionRemote, Blocking>;

/// Everything about one decorated function.
#[allow(
    clippy::struct_excessive_bools,
    reason = "facts about the function, independent of each other"
)]
pub(crate) struct Tiers {
    /// How many positional arguments make a call that needs no binding.
    pub(crate) plain: usize,
    /// Whether other calls can be bound without making an object.
    pub(crate) binds_in_place: bool,
    pub(crate) has_receiver: bool,
    pub(crate) is_async: bool,
    /// Whether the time of a hit matters, as a rule.
    pub(crate) is_timed: bool,
    /// How values are stored that callers get as they are stored.
    pub(crate) shared_as: Share,
    pub(crate) binds_class: bool,
    pub(crate) local: Arc<Local>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) wrapped: Py<PyAny>,
    pub(crate) given: Py<PyDict>,
    pub(crate) options: Options,
    pub(crate) notices: Arc<Notices>,
    pub(crate) plan: Plan,
    key_function: Option<Py<PyAny>>,
    /// Whose entries they are, where the SDKs of all languages share them.
    shared: Option<Identity>,
    resolve: Option<Py<PyAny>>,
    name: FunctionName,
    in_use: Arc<InUse>,
    pub(crate) alone: Alone,
    pub(crate) lifetimes: Lifetimes,
    pub(crate) rules: Arc<Rules>,
    secrets: Arc<Secrets>,
    built: Guarded<Option<(u64, Arc<Core>)>>,
    pub(crate) receivers: Receivers,
}

/// How the function is known outside this process, or why it is not.
struct FunctionName {
    identity: Option<String>,
    reason: String,
    version: Option<String>,
    qualified: String,
}

/// What the tiers of a function are, as configured now.
pub(crate) struct Core {
    pub(crate) cache: ThreadCache,
    /// The backend, for those who reach it in another way than threads do.
    pub(crate) backend: Option<Py<Backend>>,
}

/// Counts changes of the configuration.
pub(crate) static CONFIGURATION: AtomicU64 = AtomicU64::new(0);

/// Has every function ask for its backend again at its next miss.
#[pyfunction]
pub(crate) fn backends_changed() {
    CONFIGURATION.fetch_add(1, Ordering::Release);
}

/// What a call's arguments come to.
pub(crate) enum Entry {
    Found(Value),
    Missing(Box<Located>),
    /// They do not fit, or cannot be a key: the function is called as if nothing were cached.
    None,
}

impl Tiers {
    pub(crate) fn new(
        wrapped: &Bound<'_, PyAny>,
        plan: &Bound<'_, PyAny>,
        given: &Bound<'_, PyDict>,
    ) -> PyResult<Self> {
        let py = wrapped.py();
        let settings = Settings(given);
        let plan = Plan::new(plan, crate::missing(py))?;
        let options = settings.options()?;
        let is_async: bool = settings.get("is_async")?;
        let local = Local::new(
            options.l1,
            is_async,
            Limits {
                max_entries: options.max_entries,
                max_bytes: options.max_bytes,
            },
            options.ttl.filter(|_| options.sliding),
        );
        let key_function = settings.object("key")?;
        let name = FunctionName {
            identity: settings.get("identity")?,
            reason: settings
                .get::<Option<String>>("identity_reason")?
                .unwrap_or_default(),
            version: settings
                .object("version")?
                .map(|version| version.to_string()),
            qualified: qualified_name(wrapped),
        };
        let shared = settings.shared()?;
        let secrets = Secrets::new(&settings, &options)?;
        let quick = key_function.is_none() && options.l1 && !secrets.go_by_hash();
        let may_be_alone = options.l1 && !is_async && shared.is_none();
        let alone = Alone::new(settings.get("never_remote")?, may_be_alone);
        let has_receiver = plan.receiver != Receiver::None;
        Ok(Self {
            plain: if quick { plan.plain } else { usize::MAX },
            binds_in_place: quick && plan.binds_in_place(),
            has_receiver,
            is_async,
            is_timed: options.ttl.is_some(),
            shared_as: shared_as(is_async),
            binds_class: settings
                .object("binds_class")?
                .map_or(Ok(false), |flag| flag.extract(py))?,
            counters: Counters::new(&local, options.monitoring),
            local,
            wrapped: wrapped.clone().unbind(),
            given: given.copy()?.unbind(),
            rules: settings.rules(options.isolation, &secrets)?,
            secrets,
            notices: Notices::new(name.qualified.clone(), options.strict, options.l1),
            lifetimes: Lifetimes::new(&options),
            options,
            plan,
            key_function,
            shared,
            resolve: settings.object("backend")?,
            name,
            in_use: InUse::new(),
            alone,
            built: Guarded::new(None),
            receivers: Receivers::default(),
        })
    }

    /// The function's name, for people.
    pub(crate) fn qualified(&self) -> &str {
        &self.name.qualified
    }

    /// Shows the collector what is held here.
    ///
    /// # Safety
    /// Only from `tp_traverse`.
    pub(crate) unsafe fn each_object(&self, mut visit: impl FnMut(*mut ffi::PyObject)) {
        visit(self.wrapped.as_ptr());
        visit(self.given.as_ptr());
        for held in [&self.key_function, &self.resolve].into_iter().flatten() {
            visit(held.as_ptr());
        }
        self.plan.each_object(&mut visit);
        self.rules.each_object(&mut visit);
        self.secrets.each_object(&mut visit);
        // SAFETY: by the contract above.
        unsafe { self.local.each_object(visit) };
    }

    /// What a hit or a miss comes to for the caller: for an `async def`, something to await.
    pub(crate) fn answer(&self, py: Python<'_>, object: Py<PyAny>) -> PyResult<Py<PyAny>> {
        if self.is_async {
            ready(py, object)
        } else {
            Ok(object)
        }
    }

    /// What a caller gets of a value; nothing where that takes a copy and copying raises, which is said once.
    pub(crate) fn hand_out(&self, py: Python<'_>, value: Value) -> PyResult<Option<Py<PyAny>>> {
        match value.hand_out(py)? {
            Ok(object) => Ok(Some(object)),
            Err(reason) => self.notices.value(py, reason).map(|()| None),
        }
    }

    /// Calls the function itself.
    pub(crate) fn pass(&self, py: Python<'_>, args: CallArgs) -> PyResult<Py<PyAny>> {
        // SAFETY: within the call that the arguments belong to.
        unsafe { args.pass_to(self.wrapped.bind(py)) }.map(Bound::unbind)
    }

    /// `function(...)`, where a hit was not found by plain positional arguments.
    pub(crate) fn call(&self, function: &Bound<'_, PyAny>, args: CallArgs) -> PyResult<Py<PyAny>> {
        let py = function.py();
        match self.entry(py, args, true, self.options.strict)? {
            Entry::Found(value) => {
                self.counters.l1_hits.add_one();
                match self.hand_out(py, value)? {
                    Some(object) => self.answer(py, object),
                    None => self.pass(py, args),
                }
            }
            Entry::None => self.pass(py, args),
            Entry::Missing(located) if self.is_async => {
                async_calls::call(function, args, *located, false)
            }
            Entry::Missing(located) => self.load(function, args, *located, false),
        }
    }

    /// Whose call it is.
    pub(crate) fn receiver(&self) -> Receiver {
        self.plan.receiver
    }

    /// The tiers as last configured, if any call has needed them.
    pub(crate) fn built_core(&self) -> Option<Arc<Core>> {
        self.built
            .with(|built| built.as_ref().map(|(_, core)| Arc::clone(core)))
    }

    /// Ends what is in flight for everybody who comes from now on.
    pub(crate) fn forget_core(&self) {
        drop(self.built.with(Option::take));
    }

    /// Finds the entry of a call; with `look`, its value in this process too. An argument that cannot be part of a key is
    /// an error if `strict` says so.
    pub(crate) fn entry(
        &self,
        py: Python<'_>,
        args: CallArgs,
        look: bool,
        strict: bool,
    ) -> PyResult<Entry> {
        let mut frame = Frame::new();
        let Some(()) = self.bind(py, args, &mut frame)? else {
            return Ok(Entry::None);
        };
        // SAFETY: within the call that the arguments belong to.
        let tenant = unsafe { self.secrets.tenant(py, args) }?;
        let made;
        let made_part;
        let call = if let Some(key_function) = &self.key_function {
            // SAFETY: within the call that the arguments belong to.
            made = unsafe { args.pass_to(key_function.bind(py)) }?;
            made_part = [made.as_ptr()];
            BoundCall {
                py,
                plan: &self.plan,
                receiver: None,
                parts: &made_part,
                first: 0,
                by_function: true,
            }
        } else {
            self.bound_call(py, &frame)
        };
        if let Some(receiver) = &call.receiver {
            self.watch(receiver)?;
        }
        if look
            && self.options.l1
            && !self.secrets.go_by_hash()
            && let Some(hash) = call.plain_hash()
        {
            // SAFETY: the call's arguments live.
            let found = unsafe {
                {
                    let now = clock::now();
                    self.local.find_plain(hash, now, call.address(), call.parts)
                }
            };
            if let Some((object, share)) = found {
                // SAFETY: a new reference.
                return Ok(Entry::Found(unsafe { Value::found(py, object, share) }));
            }
        }
        let located = if self.shared.is_some() {
            call.locate_shared(&self.secrets, tenant)
                .map_err(Keyless::Raised)
        } else {
            let (local, in_use) = (&self.local, &self.in_use);
            call.locate(local, in_use, &self.secrets, tenant, self.qualified())
        };
        match located {
            Ok(located) => {
                if look
                    && self.options.l1
                    && !located.key.key.is_plain_form()
                    && let Some(value) = self.local.find(&located.key)
                {
                    return Ok(Entry::Found(value));
                }
                Ok(Entry::Missing(Box::new(located)))
            }
            Err(Keyless::Raised(error)) => Err(error),
            Err(Keyless::Argument(error)) if strict => Err(errors::raise(py, error)),
            Err(Keyless::Argument(error)) => {
                self.notices.argument(py, error)?;
                Ok(Entry::None)
            }
        }
    }

    fn bind(&self, py: Python<'_>, args: CallArgs, frame: &mut Frame) -> PyResult<Option<()>> {
        // SAFETY: the arguments are as the interpreter gave them.
        match unsafe {
            self.plan
                .bind(py, args.args, args.given, args.kwnames, frame)
        } {
            Ok(()) => Ok(Some(())),
            Err(Unbound::Misfit) => Ok(None),
            Err(Unbound::Raised(error)) => Err(error),
        }
    }

    fn bound_call<'a, 'py>(&'a self, py: Python<'py>, frame: &'a Frame) -> BoundCall<'a, 'py> {
        let parts = frame.parts();
        let mut call = BoundCall {
            py,
            plan: &self.plan,
            receiver: None,
            parts,
            first: 0,
            by_function: false,
        };
        // SAFETY: the call's arguments live.
        if self.has_receiver && unsafe { self.receivers.go_by_identity(parts[0]) } {
            // SAFETY: as above.
            call.receiver = Some(unsafe { Bound::from_borrowed_ptr(py, parts[0]) });
            call.parts = &parts[1..];
            call.first = 1;
        }
        call
    }

    /// Has the entries of a receiver die with it.
    fn watch(&self, receiver: &Bound<'_, PyAny>) -> PyResult<()> {
        let py = receiver.py();
        self.local.watch(receiver).map_err(|error| {
            if !cannot_be_weak(py, &error) {
                return error;
            }
            let class = crate::failure::type_name(receiver);
            errors::not_cacheable(
                py,
                self.qualified(),
                &format!(
                    "its entries die with their {class}, which takes no weak references; add \"__weakref__\" to the \
                     __slots__ of the class, give it a __cache_key__ method, or give the decorator a key= function"
                ),
            )
        })
    }

    /// The tiers as configured now. Asks the configuration at the first call and whenever it has changed.
    pub(crate) fn core(&self, py: Python<'_>) -> PyResult<Arc<Core>> {
        let epoch = CONFIGURATION.load(Ordering::Acquire);
        let known = self.built.with(|built| match built {
            Some((of, core)) if *of == epoch => Some(Arc::clone(core)),
            _ => None,
        });
        if let Some(core) = known {
            return Ok(core);
        }
        let built = Arc::new(self.build(py)?);
        self.alone.configured(epoch, built.backend.is_none());
        let core = Arc::clone(&built);
        drop(self.built.with(|place| place.replace((epoch, built))));
        Ok(core)
    }

    fn build(&self, py: Python<'_>) -> PyResult<Core> {
        let (backend, application) = match &self.resolve {
            Some(resolve) => resolve
                .bind(py)
                .call0()?
                .extract::<(Option<Py<Backend>>, String)>()?,
            None => (None, "default".to_owned()),
        };
        let backend = match (&self.name.identity, backend) {
            (None, Some(_)) => {
                self.notices.no_identity(py, &self.name.reason)?;
                None
            }
            (_, None) if !self.options.l1 => {
                self.notices.nowhere(py)?;
                None
            }
            (_, backend) => backend,
        };
        let name = self
            .name
            .identity
            .as_deref()
            .unwrap_or(&self.name.qualified);
        let identity = self
            .shared
            .clone()
            .unwrap_or_else(|| Identity::new(&application, name, self.name.version.as_deref()));
        let mut options = self.options.clone();
        options.remote = backend.is_some();
        options.compression &= !self.rules.serializer.reads_in_place();
        let remote = backend.as_ref().map(|backend| {
            Arc::new(FunctionRemote {
                server: backend.get().server(),
                counters: Arc::clone(&self.counters),
            })
        });
        let codec = Values {
            max_value_bytes: options.max_value_bytes,
            rules: Arc::clone(&self.rules),
        };
        let mut builder = Builder::new(identity, options).notice(Board(Arc::clone(&self.notices)));
        if let Some(ring) = self.secrets.keyring(py)? {
            builder = builder.keyring(ring);
        }
        let local = Shelf {
            local: Arc::clone(&self.local),
            sealed: self.secrets.seals(),
        };
        let cache = builder
            .build(local, codec, remote, Blocking)
            .map_err(|error| errors::raise(py, error))?;
        Ok(Core { cache, backend })
    }

    /// How the runtime is asked for an entry; says once if it cannot be shared with other processes.
    pub(crate) fn lookup(
        &self,
        py: Python<'_>,
        core: &Core,
        located: &Located,
    ) -> PyResult<Lookup<CallKey>> {
        if let Some(why) = &located.only_here
            && core.backend.is_some()
        {
            self.notices.only_here(py, why)?;
        }
        Ok(Lookup {
            local: located.key.clone(),
            hash: located.hash,
            tenant: located.tenant.clone(),
            remote: located.only_here.is_none(),
        })
    }
}

fn qualified_name(wrapped: &Bound<'_, PyAny>) -> String {
    let part = |name| {
        wrapped
            .getattr(name)
            .ok()
            .and_then(|part| part.extract::<String>().ok())
    };
    match (part("__module__"), part("__qualname__")) {
        (Some(module), Some(name)) => format!("{module}.{name}"),
        (_, Some(name)) => name,
        _ => crate::failure::type_name(wrapped),
    }
}
