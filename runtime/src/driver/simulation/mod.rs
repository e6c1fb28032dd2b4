//! The simulation driver: many processes in one thread, on a clock that jumps, over a network that a seed decides.
//!
//! An executor of its own and not tokio's paused clock, because then every choice is ours: which ready task runs next, how
//! long a message takes, whether it arrives. One seed is one history, so a failure that was found once can be had again.

mod network;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

pub use self::network::{Network, Server, Wire};
use super::{Caller, Driver, Spawn, Task, fresh_number};
use crate::clock::{Clock, Instant};
use crate::shim::Mutex;

/// Where the clock of every simulation begins, in Unix milliseconds.
const EPOCH_MILLIS: u64 = 1_700_000_000_000;

/// A world of simulated processes. Clones are the same world.
#[derive(Clone)]
pub struct Simulation {
    world: Arc<World>,
}

struct World {
    state: Mutex<State>,
}

struct State {
    now: Instant,
    random: Random,
    /// Tasks by number; a task that is being polled has left its place.
    tasks: BTreeMap<u64, Slot>,
    ready: Vec<u64>,
    timers: BTreeMap<(Instant, u64), Waker>,
    /// Numbers of tasks and timers.
    next: u64,
    processes: u64,
    polling: Option<Caller>,
    network: Network,
    cut_off: BTreeSet<u64>,
    killed: BTreeSet<u64>,
    trace: Vec<Event>,
}

struct Slot {
    process: u64,
    thread: u64,
    task: Option<Task>,
    /// Whether it is among the ready ones.
    ready: bool,
}

/// Something that happened, for comparing histories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Instant,
    /// To which process; zero is the network.
    pub process: u64,
    /// What.
    pub what: String,
}

impl Simulation {
    /// An empty world, all of whose chances come from `seed`.
    pub fn new(seed: u64) -> Self {
        let state = State {
            now: Instant::default(),
            random: Random(seed),
            tasks: BTreeMap::new(),
            ready: Vec::new(),
            timers: BTreeMap::new(),
            next: 1,
            processes: 0,
            polling: None,
            network: Network::default(),
            cut_off: BTreeSet::new(),
            killed: BTreeSet::new(),
            trace: Vec::new(),
        };
        Self {
            world: Arc::new(World {
                state: Mutex::new(state),
            }),
        }
    }

    /// A new process.
    pub fn process(&self) -> Process {
        let index = self.with(|state| {
            state.processes += 1;
            state.processes
        });
        Process {
            simulation: self.clone(),
            index,
            thread: fresh_number(),
        }
    }

    /// Runs until every task waits for something that will not happen by itself.
    pub fn run(&self) {
        self.run_until(Instant::from_nanos(u64::MAX));
    }

    /// Runs until then, or until nothing more happens before.
    pub fn run_until(&self, end: Instant) {
        loop {
            while let Some((id, caller, mut task)) = self.with(State::pick) {
                let waker = Arc::new(Awaken {
                    simulation: self.clone(),
                    task: id,
                })
                .into();
                let polled = task.as_mut().poll(&mut Context::from_waker(&waker));
                let gone = self.with(|state| {
                    state.polling = None;
                    let slot = state.tasks.get_mut(&id).filter(|_| polled.is_pending());
                    match slot {
                        Some(slot) => {
                            slot.task = Some(task);
                            None
                        }
                        // It ended, or was killed while it ran.
                        None => Some((state.tasks.remove(&id), task)),
                    }
                });
                self.as_caller(caller, || drop(gone));
            }
            let due = self.with(|state| {
                let ((at, _), _) = state.timers.first_key_value()?;
                if *at > end {
                    return None;
                }
                let ((at, _), waker) = state.timers.pop_first()?;
                state.now = state.now.max(at);
                Some(waker)
            });
            match due {
                Some(waker) => waker.wake(),
                None => break,
            }
        }
    }

    /// Changes how messages travel from now on.
    pub fn network(&self, change: impl FnOnce(&mut Network)) {
        self.with(|state| change(&mut state.network));
    }

    /// Says what happened so far.
    pub fn trace(&self) -> Vec<Event> {
        self.with(|state| state.trace.clone())
    }

    /// Completes once that much time has passed.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.sleep_until(self.now().after(duration))
    }

    /// Completes at that time.
    pub fn sleep_until(&self, at: Instant) -> Sleep {
        Sleep {
            simulation: self.clone(),
            at,
            timer: None,
        }
    }

    /// 64 bits of the seed's.
    pub fn random(&self) -> u64 {
        self.with(|state| state.random.next())
    }

    fn note(&self, process: u64, what: impl fmt::Display) {
        let what = what.to_string();
        self.with(|state| {
            let at = state.now;
            state.trace.push(Event { at, process, what });
        });
    }

    fn add(&self, process: u64, thread: u64, task: Task) -> u64 {
        let slot = Slot {
            process,
            thread,
            task: Some(task),
            ready: true,
        };
        let (id, refused) = self.with(|state| {
            let id = state.number();
            if state.killed.contains(&process) {
                return (id, Some(slot));
            }
            state.tasks.insert(id, slot);
            state.ready.push(id);
            (id, None)
        });
        drop(refused);
        id
    }

    fn end(&self, id: u64) {
        let slot = self.with(|state| state.tasks.remove(&id));
        if let Some(slot) = slot {
            let caller = Caller {
                thread: slot.thread,
                task: id,
            };
            self.as_caller(caller, || drop(slot));
        }
    }

    /// Code that runs when a task is dropped is that task's own.
    fn as_caller(&self, caller: Caller, run: impl FnOnce()) {
        let before = self.with(|state| state.polling.replace(caller));
        run();
        self.with(|state| state.polling = before);
    }

    fn with<T>(&self, section: impl FnOnce(&mut State) -> T) -> T {
        self.world.state.with(section)
    }
}

impl Clock for Simulation {
    fn now(&self) -> Instant {
        self.with(|state| state.now)
    }

    fn unix_millis(&self) -> u64 {
        EPOCH_MILLIS + self.now().as_nanos() / 1_000_000
    }
}

impl fmt::Debug for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulation")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl State {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes out a task that can go on; which one is a matter of chance.
    fn pick(&mut self) -> Option<(u64, Caller, Task)> {
        while !self.ready.is_empty() {
            let at = self.random.below(self.ready.len() as u64) as usize;
            let id = self.ready.swap_remove(at);
            let Some(slot) = self.tasks.get_mut(&id) else {
                continue;
            };
            slot.ready = false;
            let Some(task) = slot.task.take() else {
                continue;
            };
            let caller = Caller {
                thread: slot.thread,
                task: id,
            };
            self.polling = Some(caller);
            return Some((id, caller, task));
        }
        None
    }
}

struct Awaken {
    simulation: Simulation,
    task: u64,
}

impl Wake for Awaken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.simulation.with(|state| {
            let Some(slot) = state.tasks.get_mut(&self.task) else {
                return;
            };
            if !std::mem::replace(&mut slot.ready, true) {
                state.ready.push(self.task);
            }
        });
    }
}

/// One simulated process: a [`Driver`] for caches that run in it.
#[derive(Clone, Debug)]
pub struct Process {
    simulation: Simulation,
    index: u64,
    thread: u64,
}

impl Process {
    /// Which one it is, counted from one.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Its world.
    pub fn simulation(&self) -> &Simulation {
        &self.simulation
    }

    /// Starts a task in it.
    pub fn start<T, F>(&self, future: F) -> Running<T>
    where
        T: Send + 'static,
        F: Future<Output = T> + Send + 'static,
    {
        let result = Arc::new(Mutex::new(None));
        let place = Arc::clone(&result);
        let task = Box::pin(async move {
            let output = future.await;
            let _before = place.with(|place| place.replace(output));
        });
        let task = self.simulation.add(self.index, self.thread, task);
        Running {
            result,
            task,
            simulation: self.simulation.clone(),
        }
    }

    /// Ends all its tasks where they are; it starts no others.
    pub fn kill(&self) {
        let ids: Vec<u64> = self.simulation.with(|state| {
            state.killed.insert(self.index);
            let own = state
                .tasks
                .iter()
                .filter(|(_, slot)| slot.process == self.index);
            own.map(|(id, _)| *id).collect()
        });
        for id in ids {
            self.simulation.end(id);
        }
    }

    /// Cuts it off from every server, or connects it again.
    pub fn cut_off(&self, cut_off: bool) {
        self.simulation.with(|state| {
            if cut_off {
                state.cut_off.insert(self.index);
            } else {
                state.cut_off.remove(&self.index);
            }
        });
    }

    /// Adds to the trace.
    pub fn note(&self, what: impl fmt::Display) {
        self.simulation.note(self.index, what);
    }
}

impl Clock for Process {
    fn now(&self) -> Instant {
        self.simulation.now()
    }
    fn unix_millis(&self) -> u64 {
        self.simulation.unix_millis()
    }
}

impl Spawn for Process {
    fn spawn(&self, task: Task) {
        self.simulation.add(self.index, self.thread, task);
    }
}

impl Driver for Process {
    fn caller(&self) -> Caller {
        let polling = self.simulation.with(|state| state.polling);
        polling.unwrap_or(Caller {
            thread: self.thread,
            task: 0,
        })
    }

    fn random(&self) -> u64 {
        self.simulation.random()
    }
}

/// A task that was started.
pub struct Running<T> {
    result: Arc<Mutex<Option<T>>>,
    task: u64,
    simulation: Simulation,
}

impl<T> Running<T> {
    /// Its result, once, if it has ended.
    pub fn take(&self) -> Option<T> {
        self.result.with(Option::take)
    }

    /// Ends it where it is.
    pub fn cancel(&self) {
        self.simulation.end(self.task);
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running")
            .field("task", &self.task)
            .finish_non_exhaustive()
    }
}

/// Waits for a time to come.
#[derive(Debug)]
pub struct Sleep {
    simulation: Simulation,
    at: Instant,
    timer: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let (at, timer) = (self.at, self.timer);
        let (done, timer, unneeded) = self.simulation.with(|state| {
            if state.now >= at {
                return (true, timer, Some(waker));
            }
            let timer = timer.unwrap_or_else(|| state.number());
            (false, Some(timer), state.timers.insert((at, timer), waker))
        });
        drop(unneeded);
        self.timer = timer;
        if done { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(timer) = self.timer {
            let waker = self
                .simulation
                .with(|state| state.timers.remove(&(self.at, timer)));
            drop(waker);
        }
    }
}

/// The generator `SplitMix64`: small, and good enough for chance that nobody attacks.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number under `bound`, which is not zero.
    fn below(&mut self, bound: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(bound)) >> 64) as u64
    }

    /// Whether something that happens `per_million` times in a million happens now.
    fn happens(&mut self, per_million: u32) -> bool {
        self.below(1_000_000) < u64::from(per_million)
    }
}

#[cfg(test)]
mod tests;
