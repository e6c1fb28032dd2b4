//! The cache: the only module that knows both tiers.
//!
//! A read asks this process, then whoever is already loading the same key, then the remote tier, then the caller's own
//! function. Failures of the remote tier are misses with a metric: a caller sees its function's result or its function's
//! error. Only operations that a caller asks for by name report them.

mod call;
mod far;
mod lifetimes;
mod names;
mod parts;
mod unjoined;

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::sync::{Arc, Weak};
use std::time::Duration;

pub use self::call::Call;
use self::call::{Change, both, write};
use self::far::Far;
pub use self::lifetimes::Lifetimes;
use self::names::Names;
pub use self::parts::{
    Codec, Failure, LoadError, Local, Lookup, MessagePack, Notice, Reported, Served, Source,
    Unnoticed, Usage, aside,
};
pub use self::unjoined::{Ended, Entered, Load, Loader, Unjoined};
use crate::clock::{Clock, Instant};
use crate::driver::{Caller, Driver};
use crate::envelope::Pipeline;
use crate::error::{Error, ErrorCode, Result};
use crate::flight::{Flight, Lead};
use crate::generated::config::{Monitoring, Options};
use crate::generated::metrics::{LookupOutcome, Metrics, Tier};
use crate::key::{Identity, KeyHash};
use crate::keyring::Keyring;
use crate::metrics;
use crate::remote::Remote;

/// A cache in front of one function. Cheap to clone.
///
/// `L` is the tier in this process, `C` makes bytes of its values, `E` is how loads fail, `R` the remote tier, `D` the
/// driver that polls the futures.
pub struct Cache<L: Local, C, E, R, D> {
    bound: Arc<Bound<L, C, E, R, D>>,
}

/// The part that depends on who polls.
struct Bound<L: Local, C, E, R, D> {
    shared: Arc<Shared<L, C, E>>,
    far: Option<Far<R, D>>,
    driver: D,
}

/// The part that is one for the function, whoever polls.
struct Shared<L: Local, C, E> {
    local: L,
    codec: C,
    flight: Arc<Flight<L::Value, E>>,
    identity: Identity,
    pipeline: Pipeline,
    names_hidden_under: Option<Arc<Keyring>>,
    options: Options,
    lifetimes: Lifetimes,
    metrics: &'static Metrics,
    notice: Box<dyn Notice>,
    reported: Reported,
}

/// Puts a [`Cache`] together.
pub struct Builder {
    identity: Identity,
    options: Options,
    metrics: Option<&'static Metrics>,
    notice: Box<dyn Notice>,
    keyring: Option<Arc<Keyring>>,
}

impl Builder {
    /// A cache of what `identity` names, with options from a preset.
    pub fn new(identity: Identity, options: Options) -> Self {
        Self {
            identity,
            options,
            metrics: None,
            notice: Box::new(Unnoticed),
            keyring: None,
        }
    }

    /// Seals entries, and hides their names, under keys of `keyring`.
    #[must_use]
    pub fn keyring(mut self, keyring: Arc<Keyring>) -> Self {
        self.keyring = Some(keyring);
        self
    }

    /// Counts in `metrics` instead of the process's own.
    #[must_use]
    pub fn metrics(mut self, metrics: &'static Metrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Tells `notice` of values that cannot be stored.
    #[must_use]
    pub fn notice(mut self, notice: impl Notice) -> Self {
        self.notice = Box::new(notice);
        self
    }

    /// Checks the options and builds the cache. `remote` is not used if the options turn the remote tier off.
    pub fn build<L, C, E, R, D>(
        self,
        local: L,
        codec: C,
        remote: Option<Arc<R>>,
        driver: D,
    ) -> Result<Cache<L, C, E, R, D>>
    where
        L: Local,
        C: Codec<L::Value>,
        E: LoadError,
        R: Remote + 'static,
        D: Driver + Clone + 'static,
    {
        self.options.validate().map_err(|invalid| {
            Error::new(ErrorCode::OptionInvalid)
                .with("option", invalid.option)
                .with("value", invalid.value)
                .with("reason", invalid.reason)
        })?;
        if self.options.sliding && self.options.ttl.is_none() {
            return Err(Error::new(ErrorCode::OptionInvalid)
                .with("option", "sliding")
                .with("value", true)
                .with(
                    "reason",
                    "what never expires cannot be renewed; give it a ttl",
                ));
        }
        let mut pipeline = Pipeline::new(&self.options, codec.serializer())?;
        if let Some(keyring) = &self.keyring {
            pipeline = pipeline.with_keyring(Arc::clone(keyring));
        }
        if pipeline.is_sealed() {
            pipeline.keyring()?;
            if self.options.l1 && !local.is_sealed() {
                return Err(Error::new(ErrorCode::OptionInvalid)
                    .with("option", "l1")
                    .with("value", true)
                    .with(
                        "reason",
                        "sealed entries are not to be kept as they are in this process; turn it off, or give a tier that seals",
                    ));
            }
        }
        let names_hidden_under = if self.options.hide_keys {
            let missing = || Error::new(ErrorCode::KeyMissing).with("what", "hide_keys");
            Some(self.keyring.ok_or_else(missing)?)
        } else {
            None
        };
        let shared = Arc::new(Shared {
            local,
            pipeline,
            names_hidden_under,
            codec,
            flight: Flight::new(),
            identity: self.identity,
            metrics: self.metrics.unwrap_or_else(metrics::global),
            notice: self.notice,
            reported: Reported::default(),
            lifetimes: Lifetimes::new(&self.options),
            options: self.options,
        });
        if self.metrics.is_none() && shared.options.monitoring != Monitoring::Off {
            let weak: Weak<Shared<L, C, E>> = Arc::downgrade(&shared);
            metrics::register(weak);
        }
        Ok(Cache::bind(shared, remote, driver))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("identity", &self.identity)
            .finish_non_exhaustive()
    }
}

impl<L: Local, C, E, R, D: Clock> Bound<L, C, E, R, D> {
    /// When a value of that key that was loaded just now expires.
    fn expiry(&self, hash: &KeyHash) -> Option<Instant> {
        let lifetime = self.shared.lifetimes.of(hash)?;
        Some(self.driver.now().after(lifetime))
    }
}

impl<L, C, E, R, D> Cache<L, C, E, R, D>
where
    L: Local,
    C: Codec<L::Value>,
    E: LoadError,
    R: Remote + 'static,
    D: Driver + Clone + 'static,
{
    fn bind(shared: Arc<Shared<L, C, E>>, remote: Option<Arc<R>>, driver: D) -> Self {
        let used = remote.filter(|_| shared.options.remote);
        let far = used.map(|remote| {
            Far::new(
                remote,
                shared.names(),
                &shared.options,
                shared.metrics,
                driver.clone(),
            )
        });
        Self {
            bound: Arc::new(Bound {
                shared,
                far,
                driver,
            }),
        }
    }

    /// The same cache, local tier and flights included, over another way to the remote tier and another driver: one for
    /// each event loop, say.
    pub fn on<R2, D2>(&self, remote: Option<Arc<R2>>, driver: D2) -> Cache<L, C, E, R2, D2>
    where
        R2: Remote + 'static,
        D2: Driver + Clone + 'static,
    {
        Cache::bind(Arc::clone(&self.bound.shared), remote, driver)
    }

    /// The value of a key from either tier. Never loads, nor waits for a load.
    pub fn get<K>(
        &self,
        lookup: Lookup<K>,
    ) -> impl Future<Output = Result<Option<Served<L::Value>>>> + Send + use<K, L, C, E, R, D>
    where
        K: Borrow<L::Key> + Send + Sync,
    {
        let this = self.clone();
        async move {
            let shared = &this.bound.shared;
            let key = lookup.local.borrow();
            if let Some(value) = shared.look(key) {
                shared.count(Tier::L1, LookupOutcome::Hit);
                return Ok(Some(Served {
                    value,
                    from: Source::L1,
                }));
            }
            if shared.options.l1 {
                shared.count(Tier::L1, LookupOutcome::Miss);
            }
            let Some(far) = this.far(lookup.remote) else {
                return Ok(None);
            };
            // Under a lead, so that an invalidation meanwhile is noticed. Without one the value is served, not kept.
            let caller = this.bound.driver.caller();
            let lead = shared.flight.join(lookup.hash, caller).lead();
            if shared.flight.is_settling(&lookup.hash) {
                return Ok(None);
            }
            let found = far.read(shared, &lookup.hash, &lookup.tenant).await;
            let value = match found {
                far::Found::Hit { value, remaining } => {
                    if let Some(lead) = lead {
                        shared.keep(&lead, key, &value, remaining);
                        lead.finish(Ok(value.clone()));
                    }
                    Some(Served {
                        value,
                        from: Source::L2,
                    })
                }
                far::Found::Interrupted(error) | far::Found::Refused(error) => return Err(error),
                far::Found::Miss { .. } | far::Found::Failed => None,
            };
            Ok(value)
        }
    }

    /// Stores a value in both tiers, as if it had just been loaded. A load that is running is no longer stored.
    ///
    /// An error says that the remote tier may not have it; this process has.
    pub fn set<K>(
        &self,
        lookup: Lookup<K>,
        value: L::Value,
    ) -> impl Future<Output = Result<()>> + Send + use<K, L, C, E, R, D>
    where
        K: Borrow<L::Key> + Send + Sync,
    {
        let this = self.clone();
        async move {
            let shared = &this.bound.shared;
            let caller = this.bound.driver.caller();
            // Whoever comes before it is stored gets the value here and does not read the old one.
            let lead = shared.flight.replace(lookup.hash, caller);
            lead.land(Ok(value.clone()), this.bound.expiry(&lookup.hash));
            let lifetime = shared.lifetimes.of(&lookup.hash);
            shared.keep(&lead, lookup.local.borrow(), &value, lifetime);
            let Some(far) = this.far(lookup.remote) else {
                return Ok(());
            };
            let generation = far.generation().await?;
            let sealed = far.seal(
                shared,
                &lookup.hash,
                &lookup.tenant,
                &value,
                Duration::ZERO,
                generation,
            );
            let (change, refused) = match sealed {
                Ok(entry) => (Change::Store(entry), Ok(())),
                Err(error) => (Change::Remove, Err(error)),
            };
            let written = write(Arc::clone(&this.bound), lookup.hash, change, lead).await;
            both(refused, written)
        }
    }

    /// The value of a key from wherever it is, in the end from `load`, which one caller at a time runs for all.
    pub fn get_or_load<K, F, T>(&self, lookup: Lookup<K>, load: F) -> Call<L, C, E, R, D, K, F, T>
    where
        K: Borrow<L::Key> + Send + Sync,
        F: FnOnce() -> T + Send,
        T: Future<Output = Result<L::Value, E>> + Send,
    {
        Call::new(self.clone(), lookup, load, false)
    }

    /// Loads regardless of what is stored, stores that, and returns it. A load that is running is no longer stored.
    pub fn refresh<K, F, T>(&self, lookup: Lookup<K>, load: F) -> Call<L, C, E, R, D, K, F, T>
    where
        K: Borrow<L::Key> + Send + Sync,
        F: FnOnce() -> T + Send,
        T: Future<Output = Result<L::Value, E>> + Send,
    {
        Call::new(self.clone(), lookup, load, true)
    }

    /// The lead of a load that has begun elsewhere, in the name of the `caller` who loads; nothing if somebody else leads.
    pub fn lead(&self, hash: KeyHash, caller: Caller) -> Option<Lead<L::Value, E>> {
        self.bound.shared.flight.join(hash, caller).lead()
    }

    /// What `loading` comes to, for a caller that nobody can wake: it never waits, and only this process keeps the value. With
    /// `fresh`, a load that is running is no longer stored.
    pub fn load_alone<K, T>(
        &self,
        lookup: Lookup<K>,
        loading: T,
        fresh: bool,
    ) -> impl Future<Output = std::result::Result<L::Value, E>> + Send + use<K, T, L, C, E, R, D>
    where
        K: Borrow<L::Key> + Send + Sync,
        T: Future<Output = std::result::Result<L::Value, E>> + Send,
    {
        let this = self.clone();
        async move {
            let shared = &this.bound.shared;
            let caller = this.bound.driver.caller();
            let lead = if fresh {
                Some(shared.flight.replace(lookup.hash, caller))
            } else {
                shared.flight.join(lookup.hash, caller).lead()
            };
            let value = loading.await?;
            if let Some(lead) = lead {
                let key = lookup.local.borrow();
                shared.keep(&lead, key, &value, shared.lifetimes.of(&lookup.hash));
                lead.finish(Ok(value.clone()));
            }
            Ok(value)
        }
    }

    /// Removes a key from both tiers; says whether either had it. A load that is running is no longer stored.
    ///
    /// An error says that the remote tier may still have it.
    pub fn remove<K>(
        &self,
        lookup: Lookup<K>,
    ) -> impl Future<Output = Result<bool>> + Send + use<K, L, C, E, R, D>
    where
        K: Borrow<L::Key> + Send + Sync,
    {
        let this = self.clone();
        async move {
            let shared = &this.bound.shared;
            let drop_local = || {
                shared.flight.forget(&lookup.hash);
                shared.options.l1 && shared.local.remove(lookup.local.borrow())
            };
            let was_local = drop_local();
            let Some(far) = this.far(lookup.remote) else {
                return Ok(was_local);
            };
            let removed = far.remove(&lookup.hash).await;
            // Once more: a read may have brought it in from the remote tier meanwhile.
            drop_local();
            Ok(removed? || was_local)
        }
    }

    /// Makes every entry of the function a miss, in this process at once and in others once theirs expire; by a new
    /// generation in the remote tier, never by scanning it. Loads that are running are no longer stored.
    ///
    /// An error says that the remote tier still has the old entries.
    pub fn clear(&self) -> impl Future<Output = Result<()>> + Send + use<L, C, E, R, D> {
        let this = self.clone();
        async move {
            let shared = &this.bound.shared;
            let drop_local = || {
                shared.flight.forget_all();
                shared.local.clear();
            };
            drop_local();
            let Some(far) = this.far(true) else {
                return Ok(());
            };
            let cleared = far.clear(this.bound.driver.random()).await;
            drop_local();
            cleared
        }
    }
}

impl<L: Local, C, E, R, D> Cache<L, C, E, R, D> {
    /// Who it is.
    pub fn identity(&self) -> &Identity {
        &self.bound.shared.identity
    }

    /// The name under which a remote keeps the entry of `hash`.
    pub fn entry_name(&self, hash: &KeyHash) -> Vec<u8> {
        self.bound.shared.names().entry(hash).swap_remove(0)
    }

    /// The tier in this process.
    pub fn local(&self) -> &L {
        &self.bound.shared.local
    }

    /// Whether there is a remote tier.
    pub fn has_remote(&self) -> bool {
        self.bound.far.is_some()
    }

    /// How many callers are loading or waiting for a load.
    pub fn in_flight(&self) -> usize
    where
        E: Send + Sync + 'static,
    {
        self.bound.shared.flight.len()
    }

    fn far(&self, wanted: bool) -> Option<&Far<R, D>> {
        self.bound.far.as_ref().filter(|_| wanted)
    }
}

impl<L: Local, C, E, R, D> Clone for Cache<L, C, E, R, D> {
    fn clone(&self) -> Self {
        Self {
            bound: Arc::clone(&self.bound),
        }
    }
}

impl<L: Local, C, E, R, D> fmt::Debug for Cache<L, C, E, R, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache")
            .field("identity", self.identity())
            .finish_non_exhaustive()
    }
}

impl<L: Local, C, E> Shared<L, C, E> {
    fn names(&self) -> Names {
        Names::new(self.identity.clone(), self.names_hidden_under.clone())
    }

    fn look(&self, key: &L::Key) -> Option<L::Value> {
        if self.options.l1 {
            self.local.get(key)
        } else {
            None
        }
    }

    fn count(&self, tier: Tier, outcome: LookupOutcome) {
        if self.options.monitoring != Monitoring::Off {
            self.metrics.lookups.inc(tier, outcome);
        }
    }
}

impl<L: Local, C, E: LoadError> Shared<L, C, E> {
    /// Keeps a value in this process, unless its key was invalidated since the lead began.
    fn keep(
        &self,
        lead: &Lead<L::Value, E>,
        key: &L::Key,
        value: &L::Value,
        lifetime: Option<Duration>,
    ) {
        if !self.options.l1 || lifetime.is_some_and(|left| left.is_zero()) || !lead.is_current() {
            return;
        }
        self.local.insert(key, value.clone(), lifetime);
        // Whoever invalidates forgets the flight first and removes the entry then, so one of the two sees the other.
        if !lead.is_current() {
            self.local.remove(key);
        }
    }
}

impl<L: Local, C: Send + Sync, E: Send + Sync> metrics::Source for Shared<L, C, E> {
    fn collect(&self, metrics: &Metrics) {
        self.reported.report(metrics, self.local.usage());
    }
}

impl<L: Local, C, E> Drop for Shared<L, C, E> {
    fn drop(&mut self) {
        self.reported.report(self.metrics, Usage::default());
    }
}

#[cfg(test)]
mod tests;
