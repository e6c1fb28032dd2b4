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
use crate::key::KeyHash;
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
        if self.fresh {
            shared.flight.forget(&self.lookup.hash);
        } else if let Some(value) = shared.look(self.lookup.local.borrow()) {
            return Some(Ok(self.hit(value)));
        }
        let caller = bound.driver.caller();
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

    fn hit(&mut self, value: L::Value) -> Served<L::Value> {
        self.cache.bound.shared.count(Tier::L1, LookupOutcome::Hit);
        self.state = State::Over;
        Served {
            value,
            from: Source::L1,
        }
    }

    fn count_miss(&self) {
        let shared = &self.cache.bound.shared;
        if shared.options.l1 && !self.fresh {
            shared.count(Tier::L1, LookupOutcome::Miss);
        }
    }

    /// Goes on as the one who has to come up with the value.
    fn lead(&mut self, lead: Lead<L::Value, E>, caller: Caller) -> Option<Outcome<L::Value, E>> {
        if !self.fresh {
            // Another leader may have finished between the lookup and the flight.
            let known = self.cache.bound.shared.look(self.lookup.local.borrow());
            if let Some(value) = known {
                lead.finish(Ok(value.clone()));
                return Some(Ok(self.hit(value)));
            }
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
            let read = read(Arc::clone(&self.cache.bound), self.lookup.hash, self.fresh);
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
        let entry = match self.seal(&value, generation, cost) {
            Ok(entry) => entry,
            Err(failure) => return Some(Err(failure)),
        };
        shared.keep(
            &lead,
            self.lookup.local.borrow(),
            &value,
            shared.options.ttl,
        );
        lead.land(Ok(value.clone()));
        match entry {
            Some(entry) if lead.is_current() => {
                let driver = bound.driver.clone();
                let rest = Rest::new(write(bound, self.lookup.hash, entry, lead), driver);
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
    ) -> Result<Option<Bytes>, Failure<E>> {
        let shared = &self.cache.bound.shared;
        let (Some(far), Some(generation)) = (self.cache.far(self.lookup.remote), generation) else {
            return Ok(None);
        };
        match far.seal(shared, &self.lookup.hash, value, cost, generation) {
            Ok(entry) => Ok(Some(entry)),
            Err(error) if error.kind() == ErrorKind::Interrupted => {
                Err(Failure::Interrupted(error))
            }
            Err(error) => {
                shared.notice.unstorable(error).map_err(Failure::Refused)?;
                Ok(None)
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Option<Outcome<L::Value, E>>> {
        let State::Writing { rest, value } = &mut self.state else {
            return Poll::Ready(None);
        };
        let interrupted = ready!(Pin::new(rest).poll(cx));
        let value = value.take();
        Poll::Ready(match interrupted {
            Some(error) => Some(Err(Failure::Interrupted(error))),
            None => value.map(|value| {
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
    fresh: bool,
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
            Some(far) if fresh => far.read_generation().await,
            Some(far) => far.read(&bound.shared, &hash).await,
            None => Found::Failed,
        }
    })
}

/// Writes an entry, and takes it back if its key was invalidated meanwhile. The flight lasts until then, so that whoever
/// comes in between still finds the value. Comes back with an error only if the caller was interrupted.
fn write<L, C, E, R, D>(
    bound: Arc<Bound<L, C, E, R, D>>,
    hash: KeyHash,
    entry: Bytes,
    lead: Lead<L::Value, E>,
) -> Boxed<Option<Error>>
where
    L: Local,
    C: Codec<L::Value>,
    E: LoadError,
    R: Remote + 'static,
    D: Driver + Clone + 'static,
{
    Box::pin(async move {
        let far = bound.far.as_ref()?;
        let mut stored = far.store(&hash, entry).await;
        if stored.is_ok() && !lead.is_current() {
            stored = far.remove(&hash).await.map(drop);
        }
        // The meter has counted a failure; the caller has its value.
        stored
            .err()
            .filter(|error| error.kind() == ErrorKind::Interrupted)
    })
}

/// A future that is run to its end in the background if its owner drops it half-way.
struct Rest<D: Spawn> {
    running: Option<Boxed<Option<Error>>>,
    driver: D,
}

impl<D: Spawn> Rest<D> {
    fn new(running: Boxed<Option<Error>>, driver: D) -> Self {
        Self {
            running: Some(running),
            driver,
        }
    }
}

impl<D: Spawn> Unpin for Rest<D> {}

impl<D: Spawn> Future for Rest<D> {
    type Output = Option<Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Out of its place while it runs: what panics is not run again.
        let Some(mut running) = self.running.take() else {
            return Poll::Ready(None);
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
                running.await;
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
