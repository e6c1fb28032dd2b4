//! Single flight: of all callers that miss one key at once, one loads and the others wait for its result.
//!
//! Waiting is where a cache can hang its users, so the rules are about who must not wait, and for how long. A caller never
//! waits for itself, nor for anybody who waits for it. A leader that goes away hands over to a waiter, and a waiter that
//! goes away after it was chosen passes on. No lock is held while a waker, a value or an error of the user is touched.

mod waits;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::{Context, Poll, Waker};

use crate::clock::Instant;
use crate::driver::{Caller, fresh_number};
use crate::key::KeyHash;
use crate::shim::{self, ForkReset, Mutex};

/// The flights of one function.
pub struct Flight<V, E> {
    state: Mutex<State<V, E>>,
}

struct State<V, E> {
    /// The run that a new caller of a key joins.
    current: HashMap<KeyHash, u64>,
    /// Every run that has not ended, forgotten ones included.
    runs: HashMap<u64, Run<V, E>>,
    /// How many runs of a key were forgotten between their landing and their end.
    settling: HashMap<KeyHash, usize>,
}

struct Run<V, E> {
    key: KeyHash,
    leader: Caller,
    /// How often the lead has changed hands.
    term: u64,
    line: Arc<Line<V, E>>,
    /// By seat, which is the order of arrival.
    queue: BTreeMap<u64, Queued>,
    /// The seat whose holder leads once it looks.
    chosen: Option<u64>,
    /// When what it landed is no longer valid.
    expires: Option<Instant>,
    /// Whether it counts as settling.
    settling: bool,
}

struct Queued {
    caller: Caller,
    waker: Option<Waker>,
}

/// Where the result of a run appears.
struct Line<V, E> {
    outcome: OnceLock<Result<V, Arc<E>>>,
}

impl<V, E> Line<V, E> {
    fn landed(&self) -> bool {
        self.outcome.get().is_some()
    }
}

/// What a caller is in the flight of its key.
#[derive(Debug)]
pub enum Role<V: Send + Sync + 'static, E: Send + Sync + 'static> {
    /// It loads, and owes the others a result.
    Leader(Lead<V, E>),
    /// It waits for the leader.
    Waiter(Wait<V, E>),
    /// Waiting would never end: the leader is this caller itself, or waits for it. It calls through.
    Nested,
}

impl<V: Send + Sync + 'static, E: Send + Sync + 'static> Role<V, E> {
    /// The lead, for a caller that takes no other part.
    pub fn lead(self) -> Option<Lead<V, E>> {
        match self {
            Self::Leader(lead) => Some(lead),
            Self::Waiter(_) | Self::Nested => None,
        }
    }
}

/// What a waiter gets.
#[derive(Debug)]
pub enum Landing<V: Send + Sync + 'static, E: Send + Sync + 'static> {
    /// The leader's value.
    Value(V),
    /// The leader's error.
    Failed(Arc<E>),
    /// The leader went away; it is now up to this caller.
    HandedOver(Lead<V, E>),
}

impl<V, E> Flight<V, E>
where
    V: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Nobody in flight.
    pub fn new() -> Arc<Self> {
        let state = State {
            current: HashMap::new(),
            runs: HashMap::new(),
            settling: HashMap::new(),
        };
        let flight = Arc::new(Self {
            state: Mutex::new(state),
        });
        let weak: Weak<Self> = Arc::downgrade(&flight);
        shim::reset_after_fork(weak);
        flight
    }

    /// Enters the flight of `key`.
    pub fn join(self: &Arc<Self>, key: KeyHash, caller: Caller) -> Role<V, E> {
        enum Found<V, E> {
            Mine(u64, Arc<Line<V, E>>),
            Landed(u64, Arc<Line<V, E>>),
            Led { run: u64, leader: Caller, term: u64 },
        }
        loop {
            let found = self.state.with(|state| {
                let run = state.current.get(&key).copied();
                match run.and_then(|run| state.runs.get(&run).map(|known| (run, known))) {
                    None => {
                        let (run, line) = state.start(key, caller);
                        state.current.insert(key, run);
                        Found::Mine(run, line)
                    }
                    Some((run, known)) if known.line.landed() => {
                        Found::Landed(run, Arc::clone(&known.line))
                    }
                    Some((run, known)) => Found::Led {
                        run,
                        leader: known.leader,
                        term: known.term,
                    },
                }
            });
            match found {
                Found::Mine(run, line) => return Role::Leader(self.lead(key, run, line)),
                Found::Landed(run, line) => {
                    return Role::Waiter(self.wait(key, run, fresh_number(), caller, line));
                }
                Found::Led { run, leader, term } => {
                    if !waits::try_wait(caller, run, leader, term) {
                        return Role::Nested;
                    }
                    let seat = fresh_number();
                    match self
                        .state
                        .with(|state| state.sit_down(run, term, seat, caller))
                    {
                        Some(line) => {
                            return Role::Waiter(self.wait(key, run, seat, caller, line));
                        }
                        // The run ended or changed hands meanwhile, so what was checked no longer holds.
                        None => waits::leave(caller, run),
                    }
                }
            }
        }
    }

    /// [Forgets](Self::forget) `key` and leads a new flight of it, in one step: nobody gets in between.
    pub fn replace(self: &Arc<Self>, key: KeyHash, caller: Caller) -> Lead<V, E> {
        let (run, line) = self.state.with(|state| {
            state.forget(&key);
            let (run, line) = state.start(key, caller);
            state.current.insert(key, run);
            (run, line)
        });
        self.lead(key, run, line)
    }

    fn lead(self: &Arc<Self>, key: KeyHash, run: u64, line: Arc<Line<V, E>>) -> Lead<V, E> {
        Lead {
            flight: Arc::clone(self),
            key,
            run,
            line,
        }
    }

    fn wait(
        self: &Arc<Self>,
        key: KeyHash,
        run: u64,
        seat: u64,
        caller: Caller,
        line: Arc<Line<V, E>>,
    ) -> Wait<V, E> {
        Wait {
            flight: Arc::clone(self),
            key,
            run,
            seat,
            caller,
            line,
            over: false,
        }
    }

    /// Lets later callers of `key` start anew: the result of a running load still reaches those who wait for it, but is
    /// no longer [current](Lead::is_current).
    pub fn forget(&self, key: &KeyHash) {
        self.state.with(|state| state.forget(key));
    }

    /// [Forgets](Self::forget) `key` if what has landed for it is no longer valid at `now`.
    pub fn expire(&self, key: &KeyHash, now: Instant) {
        self.state.with(|state| {
            let run = state.current.get(key).and_then(|run| state.runs.get(run));
            if run.is_some_and(|run| run.expires.is_some_and(|expires| expires <= now)) {
                state.forget(key);
            }
        });
    }

    /// [Forgets](Self::forget) every key.
    pub fn forget_all(&self) {
        self.state.with(|state| {
            let keys: Vec<_> = state.current.keys().copied().collect();
            for key in keys {
                state.forget(&key);
            }
        });
    }

    /// Whether a load of `key` was forgotten after it landed and has not ended yet: what it is storing, nobody may believe.
    pub fn is_settling(&self, key: &KeyHash) -> bool {
        self.state.with(|state| state.settling.contains_key(key))
    }

    /// How many callers lead or wait.
    pub fn len(&self) -> usize {
        self.state
            .with(|state| state.runs.values().map(|run| 1 + run.queue.len()).sum())
    }

    /// Whether nobody leads or waits.
    pub fn is_empty(&self) -> bool {
        self.state.with(|state| state.runs.is_empty())
    }

    /// Gives the run to the waiter who came first, or ends it if there is none.
    fn hand_over(&self, run: u64) {
        let (waker, ended) = self.state.with(|state| {
            let Some(known) = state.runs.get_mut(&run) else {
                return (None, None);
            };
            if let Some((seat, queued)) = known.queue.pop_first() {
                known.leader = queued.caller;
                known.term += 1;
                known.chosen = Some(seat);
                (queued.waker, None)
            } else {
                (None, state.end(run))
            }
        });
        drop(ended);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<V, E> State<V, E> {
    fn start(&mut self, key: KeyHash, leader: Caller) -> (u64, Arc<Line<V, E>>) {
        let run = fresh_number();
        let line = Arc::new(Line {
            outcome: OnceLock::new(),
        });
        let known = Run {
            key,
            leader,
            term: 0,
            line: Arc::clone(&line),
            queue: BTreeMap::new(),
            chosen: None,
            expires: None,
            settling: false,
        };
        self.runs.insert(run, known);
        (run, line)
    }

    fn sit_down(
        &mut self,
        run: u64,
        term: u64,
        seat: u64,
        caller: Caller,
    ) -> Option<Arc<Line<V, E>>> {
        let known = self.runs.get_mut(&run).filter(|known| known.term == term)?;
        if self.current.get(&known.key) != Some(&run) {
            return None;
        }
        known.queue.insert(
            seat,
            Queued {
                caller,
                waker: None,
            },
        );
        Some(Arc::clone(&known.line))
    }

    fn forget(&mut self, key: &KeyHash) {
        let run = self.current.remove(key);
        if let Some(known) = run.and_then(|run| self.runs.get_mut(&run))
            && known.line.landed()
        {
            known.settling = true;
            *self.settling.entry(*key).or_default() += 1;
        }
    }

    /// Takes the run out. What it held is dropped by the caller, outside the lock.
    fn end(&mut self, run: u64) -> Option<Run<V, E>> {
        let ended = self.runs.remove(&run)?;
        if ended.settling
            && let Entry::Occupied(mut settling) = self.settling.entry(ended.key)
        {
            *settling.get_mut() -= 1;
            if *settling.get() == 0 {
                settling.remove();
            }
        }
        if self.current.get(&ended.key) == Some(&run) {
            self.current.remove(&ended.key);
        }
        Some(ended)
    }
}

impl<V: Send + Sync, E: Send + Sync> ForkReset for Flight<V, E> {
    fn reset_after_fork(&self) {
        // Nobody who leads or waits has a stack here but the forking thread, and its lead may end as it likes.
        let gone = self.state.with(|state| {
            state.current.clear();
            state.settling.clear();
            std::mem::take(&mut state.runs)
        });
        waits::reset_after_fork(&gone);
        // What others were waiting with belongs to threads that do not exist here: dropping it would run code of theirs.
        std::mem::forget(gone);
    }
}

impl<V, E> fmt::Debug for Flight<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// The duty to load. Dropped without a result, it passes to the first waiter that still lives.
pub struct Lead<V: Send + Sync + 'static, E: Send + Sync + 'static> {
    flight: Arc<Flight<V, E>>,
    key: KeyHash,
    run: u64,
    line: Arc<Line<V, E>>,
}

impl<V: Send + Sync, E: Send + Sync> Lead<V, E> {
    /// Gives everybody who waits the result, and everybody who comes until this lead is dropped or the result
    /// [expires](Flight::expire). Only the first counts.
    pub fn land(&self, outcome: Result<V, Arc<E>>, expires: Option<Instant>) {
        let (second, queue) = self.flight.state.with(|state| {
            let second = self.line.outcome.set(outcome);
            let queue = state.runs.get_mut(&self.run).map(|known| {
                known.expires = expires;
                std::mem::take(&mut known.queue)
            });
            (second, queue.unwrap_or_default())
        });
        drop(second);
        if !queue.is_empty() {
            waits::landed(self.run);
        }
        for queued in queue.into_values() {
            if let Some(waker) = queued.waker {
                waker.wake();
            }
        }
    }

    /// Gives everybody who waits the result, and ends the flight.
    pub fn finish(self, outcome: Result<V, Arc<E>>) {
        self.land(outcome, None);
    }

    /// Whether the key was not [forgotten](Flight::forget) since this lead began: only then may its result be stored.
    pub fn is_current(&self) -> bool {
        self.flight
            .state
            .with(|state| state.current.get(&self.key) == Some(&self.run))
    }
}

impl<V: Send + Sync, E: Send + Sync> Drop for Lead<V, E> {
    fn drop(&mut self) {
        if self.line.landed() {
            let ended = self.flight.state.with(|state| state.end(self.run));
            drop(ended);
        } else {
            self.flight.hand_over(self.run);
        }
    }
}

impl<V: Send + Sync, E: Send + Sync> fmt::Debug for Lead<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lead")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// Waits for the leader. May be dropped at any time.
pub struct Wait<V: Send + Sync + 'static, E: Send + Sync + 'static> {
    flight: Arc<Flight<V, E>>,
    key: KeyHash,
    run: u64,
    seat: u64,
    caller: Caller,
    line: Arc<Line<V, E>>,
    over: bool,
}

enum Look<V, E> {
    Landed,
    /// Still waiting; a waker that is no longer needed.
    Queued(Option<Waker>),
    Chosen {
        term: u64,
    },
    /// The process forked, and here is no leader.
    Abandoned {
        run: u64,
        line: Arc<Line<V, E>>,
    },
}

impl<V, E> Future for Wait<V, E>
where
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Landing<V, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Taken only if it is kept: the section must not drop it.
        let mut waker = Some(cx.waker().clone());
        let this = &*self;
        let look = this.flight.state.with(|state| {
            if this.line.landed() {
                return Look::Landed;
            }
            let Some(known) = state.runs.get_mut(&this.run) else {
                let (run, line) = state.start(this.key, this.caller);
                state.current.entry(this.key).or_insert(run);
                return Look::Abandoned { run, line };
            };
            if known.chosen == Some(this.seat) {
                known.chosen = None;
                // A load that begins now is as good as a new one, if the key was forgotten meanwhile.
                state.current.entry(this.key).or_insert(this.run);
                return Look::Chosen { term: known.term };
            }
            let queued = known.queue.get_mut(&this.seat);
            Look::Queued(
                queued.and_then(|queued| std::mem::replace(&mut queued.waker, waker.take())),
            )
        });
        let landing = match look {
            Look::Queued(_unneeded) => return Poll::Pending,
            Look::Landed => {
                waits::leave(self.caller, self.run);
                match self.line.outcome.get() {
                    Some(Ok(value)) => Landing::Value(value.clone()),
                    Some(Err(error)) => Landing::Failed(Arc::clone(error)),
                    None => return Poll::Pending,
                }
            }
            Look::Chosen { term } => {
                waits::take_over(self.caller, self.run, term);
                let line = Arc::clone(&self.line);
                Landing::HandedOver(self.flight.lead(self.key, self.run, line))
            }
            Look::Abandoned { run, line } => {
                Landing::HandedOver(self.flight.lead(self.key, run, line))
            }
        };
        self.over = true;
        Poll::Ready(landing)
    }
}

impl<V: Send + Sync, E: Send + Sync> Drop for Wait<V, E> {
    fn drop(&mut self) {
        if self.over {
            return;
        }
        waits::leave(self.caller, self.run);
        let (chosen, queued) = self.flight.state.with(|state| {
            let Some(known) = state.runs.get_mut(&self.run) else {
                return (false, None);
            };
            (
                known.chosen == Some(self.seat),
                known.queue.remove(&self.seat),
            )
        });
        drop(queued);
        if chosen {
            self.flight.hand_over(self.run);
        }
    }
}

impl<V: Send + Sync, E: Send + Sync> fmt::Debug for Wait<V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait")
            .field("run", &self.run)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
