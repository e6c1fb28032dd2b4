//! One read, from lookup to stored result, as a future.
//!
//! A state machine by hand and not an `async fn`: a function that calls itself through the cache has one of these on the
//! stack for each level, and the compiler gives an `async fn` one frame for all its states, which does not fit hundreds of
//! times. Here each state has a small function of its own, and what the rare states need is boxed.

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use super::far::Found;
use super::parts::{Codec, Failure, LoadError, Local, Lookup, Served, Source};
use super::{Bound, Cache};
use crate::clock::Instant;
use crate::driver::{Caller, Driver, Scope, Spawn};
use crate::error::{Error, ErrorKind};
use crate::flight::{Landing, Lead, Role, Wait};
use crate::generated::config::Monitoring;
use crate::generated::metrics::{LoadOutcome, LookupOutcome, Metrics, Tier};
use crate::key::{KeyHash, Tenant};
use crate::remote::Remote;
use crate::shim;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Outcome<V, E> = Result<Served<V>, Failure<E>>;

/// The future of [`Cache::get_or_load`] and [`Cache::refresh`].
pub struct Call<L, C, E, R, D, K, F, T>
where
    L: Local,
    E: LoadError,
    D: Spawn,
{
    cache: Cache<L, C, E, R, D>,
    lookup: Lookup<K>,
    load: Option<F>,
    /// Loads whatever is stored.
    fresh: bool,
    state: State<L, E, D, T>,
}

enum State<L: Local, E: LoadError, D: Spawn, T> {
    Start,
    Waiting {
        wait: Wait<L::Value, E>,
        caller: Caller,
    },
    Reading {
        read: Boxed<Found<L::Value>>,
        lead: Lead<L::Value, E>,
        caller: Caller,
    },
    Loading(Box<Loading<L, E, T>>),
    Writing {
        rest: Rest<D>,
        value: Option<L::Value>,
    },
    Over,
}

/// A load that is running. Dropped from top to bottom: the next leader begins when this one's load is gone.
struct Loading<L: Local, E: LoadError, T> {
    load: Scope<T>,
    timer: Timer,
    /// None when the load is nested in another one of the same key.
    lead: Option<Lead<L::Value, E>>,
    /// The generation under which its result may go to the remote tier.
    generation: Option<u64>,
}

// Nothing is pinned in place: what needs to be is in boxes.
impl<L: Local, C, E: LoadError, R, D: Spawn, K, F, T> Unpin for Call<L, C, E, R, D, K, F, T> {}

impl<L, C, E, R, D, K, F, T> Call<L, C, E, R, D, K, F, T>
where
    L: Local,
    C: Codec<L::Value>,
    E: LoadError,
    R: Remote + 'static,
    D: Driver + Clone + 'static,
    K: Borrow<L::Key>,
    F: FnOnce() -> T,
    T: Future<Output = Result<L::Value, E>>,
{
    pub(super) fn new(
        cache: Cache<L, C, E, R, D>,
        lookup: Lookup<K>,
        load: F,
        fresh: bool,
    ) -> Self {
        Self {
            cache,
            lookup,
            load: Some(load),
            fresh,
            state: State::Start,
        }
    }

    fn start(&mut self) -> Option<Outcome<L::Value, E>> {
        let bound = Arc::clone(&self.cache.bound);
        let shared = &bound.shared;
        let caller = bound.driver.caller();
        if self.fresh {
            // It never waits: whoever leads may have begun with what is stored.
            self.proceed(shared.flight.replace(self.lookup.hash, caller), caller);
            return None;
        }
        if let Some(value) = shared.look(self.lookup.local.borrow()) {
            return Some(Ok(self.hit(value)));
        }
        shared.flight.expire(&self.lookup.hash, bound.driver.now());
        match shared.flight.join(self.lookup.hash, caller) {
            Role::Leader(lead) => self.lead(lead, caller),
            Role::Waiter(wait) => {
                self.count_miss();
                self.state = State::Waiting { wait, caller };
                None
            }
            Role::Nested => {
                self.count_miss();
                self.begin(None, None, caller);
                None
            }
        }
    }

    fn hit(&self, value: L::Value) -> Served<L::Value> {
        self.cache.bound.shared.count(Tier::L1, LookupOutcome::Hit);
        Served {
            value,
            from: Source::L1,
        }
    }

    fn count_miss(&self) {
        let shared = &self.cache.bound.shared;
        if shared.options.l1 {
            shared.count(Tier::L1, LookupOutcome::Miss);
        }
    }

    /// Goes on as the one who has to come up with the value.
    fn lead(&mut self, lead: Lead<L::Value, E>, caller: Caller) -> Option<Outcome<L::Value, E>> {
        // Another leader may have finished between the lookup and the flight.
        let known = self.cache.bound.shared.look(self.lookup.local.borrow());
        if let Some(value) = known {
            lead.finish(Ok(value.clone()));
            return Some(Ok(self.hit(value)));
        }
        self.count_miss();
        self.proceed(lead, caller);
        None
    }

    fn poll_wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<L::Value, E>>> {
        let State::Waiting { wait, caller } = &mut self.state else {
            return Poll::Ready(None);
        };
        let caller = *caller;
        Poll::Ready(match ready!(Pin::new(wait).poll(cx)) {
            Landing::Value(value) => Some(Ok(Served {
                value,
                from: Source::Flight,
            })),
            Landing::Failed(error) => Some(Err(Failure::Raised {
                error,
                leader: false,
            })),
            Landing::HandedOver(lead) => {
                self.proceed(lead, caller);
                None
            }
        })
    }

    /// Asks the remote tier, or loads if there is none.
    fn proceed(&mut self, lead: Lead<L::Value, E>, caller: Caller) {
        if self.cache.far(self.lookup.remote).is_some() {
            let bound = Arc::clone(&self.cache.bound);
            let hash = self.lookup.hash;
            let blind = self.fresh || bound.shared.flight.is_settling(&hash);
            let read = read(bound, hash, self.lookup.tenant.clone(), blind);
            self.state = State::Reading { read, lead, caller };
        } else {
            self.begin(Some(lead), None, caller);
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<L::Value, E>>> {
        let State::Reading { read, .. } = &mut self.state else {
            return Poll::Ready(None);
        };
        let found = ready!(read.as_mut().poll(cx));
        let State::Reading { lead, caller, .. } = self.take() else {
            return Poll::Ready(None);
        };
        Poll::Ready(match found {
            Found::Hit { value, remaining } => {
                let shared = &self.cache.bound.shared;
                shared.keep(&lead, self.lookup.local.borrow(), &value, remaining);
                lead.finish(Ok(value.clone()));
                Some(Ok(Served {
                    value,
                    from: Source::L2,
                }))
            }
            Found::Miss { generation } => {
                self.begin(Some(lead), Some(generation), caller);
                None
            }
            Found::Failed => {
                self.begin(Some(lead), None, caller);
                None
            }
            Found::Refused(error) => Some(Err(Failure::Refused(error))),
            Found::Interrupted(error) => Some(Err(Failure::Interrupted(error))),
        })
    }

    /// Calls the user's function; polling what it returned comes next.
    fn begin(&mut self, lead: Option<Lead<L::Value, E>>, generation: Option<u64>, caller: Caller) {
        let Some(function) = self.load.take() else {
            return;
        };
        let bound = &self.cache.bound;
        let timer = Timer {
            metrics: bound.shared.metrics,
            monitoring: bound.shared.options.monitoring,
            begun: bound.driver.now(),
            running: true,
        };
        self.state = State::Loading(Box::new(Loading {
            load: Scope::new(caller, function()),
            timer,
            lead,
            generation,
        }));
    }

    fn poll_load(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<L::Value, E>>> {
        let State::Loading(loading) = &mut self.state else {
            return Poll::Ready(None);
        };
        let result = ready!(Pin::new(&mut loading.load).poll(cx));
        Poll::Ready(self.loaded(result))
    }

    fn loaded(&mut self, result: Result<L::Value, E>) -> Option<Outcome<L::Value, E>> {
        let State::Loading(loading) = self.take() else {
            return None;
        };
        let Loading {
            load,
            mut timer,
            lead,
            generation,
        } = *loading;
        drop(load);
        let cost = self.cache.bound.driver.now().since(timer.begun);
        match result {
            Ok(value) => {
                timer.end(LoadOutcome::Ok, cost);
                match lead {
                    Some(lead) => self.keep(lead, value, generation, cost),
                    None => Some(Ok(Served {
                        value,
                        from: Source::Nested,
                    })),
                }
            }
            Err(error) => {
                let hands_over = error.hands_over();
                let outcome = if hands_over {
                    LoadOutcome::Cancelled
                } else {
                    LoadOutcome::Error
                };
                timer.end(outcome, cost);
                let error = Arc::new(error);
                // Dropped unfinished, the lead hands over.
                if let Some(lead) = lead.filter(|_| !hands_over) {
                    lead.finish(Err(Arc::clone(&error)));
                }
                Some(Err(Failure::Raised {
                    error,
                    leader: true,
                }))
            }
        }
    }

    /// Stores what was loaded, and gives it to those who wait as soon as this process has it.
    fn keep(
        &mut self,
        lead: Lead<L::Value, E>,
        value: L::Value,
        generation: Option<u64>,
        cost: Duration,
    ) -> Option<Outcome<L::Value, E>> {
        let bound = Arc::clone(&self.cache.bound);
        let shared = &bound.shared;
        let change = match self.seal(&value, generation, cost) {
            Ok(change) => change,
            Err(failure) => return Some(Err(failure)),
        };
        shared.keep(
            &lead,
            self.lookup.local.borrow(),
            &value,
            shared.lifetimes.of(&self.lookup.hash),
        );
        lead.land(Ok(value.clone()), bound.expiry(&self.lookup.hash));
        match change {
            Some(change) if lead.is_current() => {
                let rest = write(bound, self.lookup.hash, change, lead);
                self.state = State::Writing {
                    rest,
                    value: Some(value),
                };
                None
            }
            _ => Some(Ok(Served {
                value,
                from: Source::Load,
            })),
        }
    }

    fn seal(
        &self,
        value: &L::Value,
        generation: Option<u64>,
        cost: Duration,
    ) -> Result<Option<Change>, Failure<E>> {
        let shared = &self.cache.bound.shared;
        let (Some(far), Some(generation)) = (self.cache.far(self.lookup.remote), generation) else {
            return Ok(None);
        };
        match far.seal(
            shared,
            &self.lookup.hash,
            &self.lookup.tenant,
            value,
            cost,
            generation,
        ) {
            Ok(entry) => Ok(Some(Change::Store(entry))),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                Err(Failure::Interrupted(error))
            }
            Err(error) => {
                shared.notice.unstorable(error).map_err(Failure::Refused)?;
                // What a refresh was to replace must not stay in its place.
                Ok(self.fresh.then_some(Change::Remove))
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<L::Value, E>>> {
        let State::Writing { rest, value } = &mut self.state else {
            return Poll::Ready(None);
        };
        let written = ready!(Pin::new(rest).poll(cx));
        let value = value.take();
        // The meter has counted any other failure; the caller has its value.
        Poll::Ready(match written {
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                Some(Err(Failure::Interrupted(error)))
            }
            _ => value.map(|value| {
                Ok(Served {
                    value,
                    from: Source::Load,
                })
            }),
        })
    }

    fn take(&mut self) -> State<L, E, D, T> {
        std::mem::replace(&mut self.state, State::Over)
    }
}

impl<L, C, E, R, D, K, F, T> Future for Call<L, C, E, R, D, K, F, T>
where
    L: Local,
    C: Codec<L::Value>,
    E: LoadError,
    R: Remote + 'static,
    D: Driver + Clone + 'static,
    K: Borrow<L::Key>,
    F: FnOnce() -> T,
    T: Future<Output = Result<L::Value, E>>,
{
    type Output = Outcome<L::Value, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let step = match &this.state {
                State::Start => this.start(),
                State::Waiting { .. } => ready!(this.poll_wait(cx)),
                State::Reading { .. } => ready!(this.poll_read(cx)),
                State::Loading(_) => ready!(this.poll_load(cx)),
                State::Writing { .. } => ready!(this.poll_write(cx)),
                State::Over => panic!("polled after its result"),
            };
            if let Some(outcome) = step {
                this.state = State::Over;
                return Poll::Ready(outcome);
            }
        }
    }
}

impl<L: Local, C, E: LoadError, R, D: Spawn, K, F, T> fmt::Debug for Call<L, C, E, R, D, K, F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("key", &self.lookup.hash)
            .finish_non_exhaustive()
    }
}

fn read<L, C, E, R, D>(
    bound: Arc<Bound<L, C, E, R, D>>,
    hash: KeyHash,
    tenant: Tenant,
    blind: bool,
) -> Boxed<Found<L::Value>>
where
    L: Local,
    C: Codec<L::Value>,
    E: LoadError,
    R: Remote + 'static,
    D: Driver + Clone + 'static,
{
    Box::pin(async move {
        match &bound.far {
            Some(far) if blind => far.read_generation().await,
            Some(far) => far.read(&bound.shared, &hash, &tenant).await,
            None => Found::Failed,
        }
    })
}

/// What a write does to what is stored.
pub(super) enum Change {
    Store(Bytes),
    Remove,
}

/// Makes a change, and takes it back if its key was invalidated meanwhile. The flight lasts until then, so that whoever
/// comes in between still finds the value, or knows that what it would read is not to be believed.
pub(super) fn write<L, C, E, R, D>(
    bound: Arc<Bound<L, C, E, R, D>>,
    hash: KeyHash,
    change: Change,
    lead: Lead<L::Value, E>,
) -> Rest<D>
where
    L: Local,
    C: Codec<L::Value>,
    E: LoadError,
    R: Remote + 'static,
    D: Driver + Clone + 'static,
{
    let driver = bound.driver.clone();
    let running = Box::pin(async move {
        let Some(far) = &bound.far else { return Ok(()) };
        let written = match change {
            Change::Store(entry) => far.store(&hash, entry).await,
            Change::Remove => far.remove(&hash).await.map(drop),
        };
        if lead.is_current() {
            return written;
        }
        // A store that failed here may have come through there.
        let removed = far.remove(&hash).await.map(drop);
        both(written, removed)
    });
    Rest {
        running: Some(running),
        driver,
    }
}

/// The first error, unless the second one says that the caller was interrupted.
pub(super) fn both(first: Result<(), Error>, second: Result<(), Error>) -> Result<(), Error> {
    match second {
        Err(error) if error.kind() == ErrorKind::Interrupted => Err(error),
        second => first.and(second),
    }
}

/// A future that is run to its end in the background if its owner drops it half-way.
pub(super) struct Rest<D: Spawn> {
    running: Option<Boxed<Result<(), Error>>>,
    driver: D,
}

impl<D: Spawn> Unpin for Rest<D> {}

impl<D: Spawn> Future for Rest<D> {
    type Output = Result<(), Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Out of its place while it runs: what panics is not run again.
        let Some(mut running) = self.running.take() else {
            return Poll::Ready(Ok(()));
        };
        let polled = running.as_mut().poll(cx);
        if polled.is_pending() {
            self.running = Some(running);
        }
        polled
    }
}

impl<D: Spawn> Drop for Rest<D> {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.driver.spawn(Box::pin(async move {
                let _ = running.await;
            }));
        }
    }
}

/// Counts a load when it ends, in whatever way.
struct Timer {
    metrics: &'static Metrics,
    monitoring: Monitoring,
    begun: Instant,
    running: bool,
}

impl Timer {
    fn end(&mut self, outcome: LoadOutcome, cost: Duration) {
        self.running = false;
        if self.monitoring != Monitoring::Off {
            self.metrics.loads.inc(outcome);
        }
        if self.monitoring == Monitoring::Full {
            // A histogram waits, when it is read, for every observation that has begun: a fork must not see half of one.
            shim::critical(|| self.metrics.load_duration.observe(cost.as_secs_f64()));
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if self.running && self.monitoring != Monitoring::Off {
            let panicked = std::thread::panicking();
            let outcome = if panicked {
                LoadOutcome::Error
            } else {
                LoadOutcome::Cancelled
            };
            self.metrics.loads.inc(outcome);
        }
    }
}
