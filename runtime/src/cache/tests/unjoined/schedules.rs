//! Loads that are noted beside loads that have flights, under many schedules, guarded as a binding guards them.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use shuttle::future::{block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};

use super::*;
use crate::clock::{Clock, SystemClock};
use crate::driver::{Spawn, Task};
use crate::generated::presets;
use crate::key::Tenant;
use crate::remote::NoRemote;
use crate::shim::ForkReset;
use crate::shim::Mutex;
use crate::shim::schedules::{explore, point};

const SCHEDULES: usize = 2000;

/// What this process keeps, and who loads it.
struct Near {
    /// Values, and whether a flight put them in.
    table: Table<u64, (u64, bool)>,
    notes: Notes,
}

#[derive(Clone)]
struct Shared(Arc<Mutex<Near>>);

impl Local for Shared {
    type Key = u64;
    type Value = u64;

    fn get(&self, key: &u64) -> Option<u64> {
        self.0.with(|near| {
            let found = near.table.find(*key, Instant::default(), |_| true);
            found.map(|(value, _)| *value)
        })
    }

    fn insert(&self, key: &u64, value: u64, _: Option<Duration>) {
        self.0.with(|Near { table, notes }| {
            notes.overtake(*key);
            let item = Item {
                key: *key,
                value: (value, true),
                weight: 1,
                expires: None,
            };
            table.insert(*key, item, Instant::default(), |_| true);
        });
    }

    fn remove(&self, key: &u64) -> bool {
        self.0.with(|Near { table, notes }| {
            notes.overtake(*key);
            table.remove(*key, |_| true).is_some()
        })
    }

    fn clear(&self) {
        self.0.with(|Near { table, notes }| {
            notes.overtake_all();
            table.clear();
        });
    }
}

/// The driver of one thread.
#[derive(Clone, Copy)]
struct Thread(u64);

impl Clock for Thread {
    fn now(&self) -> Instant {
        Instant::default()
    }
    fn unix_millis(&self) -> u64 {
        SystemClock.unix_millis()
    }
}

impl Spawn for Thread {
    fn spawn(&self, _: Task) {
        panic!("nothing is left to do in the background");
    }
}

impl Driver for Thread {
    fn caller(&self) -> Caller {
        Caller {
            thread: self.0,
            task: 0,
        }
    }
    fn random(&self) -> u64 {
        4
    }
}

/// A process.
struct World {
    near: Shared,
    cache: Cache<Shared, MessagePack<u64>, Problem, NoRemote, Thread>,
    /// What a load comes to.
    source: AtomicU64,
    /// What nobody may get less than who comes now.
    least: AtomicU64,
    /// How many loads run, where there may be no more than one.
    loading: Option<AtomicBool>,
}

impl World {
    fn new(one_at_a_time: bool) -> Arc<Self> {
        // One for all: it is large, and is never freed.
        static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
        let near = Shared(Arc::new(Mutex::new(Near {
            table: table(),
            notes: Notes::new(),
        })));
        let cache = Builder::new(Identity::new("school", "squares", None), presets::MINIMAL)
            .metrics(&METRICS)
            .build(near.clone(), MessagePack::new(), None, Thread(0));
        Arc::new(Self {
            near,
            cache: cache.expect("the options are valid"),
            source: AtomicU64::new(0),
            least: AtomicU64::new(0),
            loading: one_at_a_time.then(AtomicBool::default),
        })
    }

    /// A call by a thread of its own, whose load may fail.
    async fn call(self: Arc<Self>) {
        let thread = fresh_number();
        let least = self.least.load(Ordering::SeqCst);
        let found = self.near.0.with(|near| {
            let found = near.table.find(1, Instant::default(), |_| true);
            found.copied()
        });
        let got = match found {
            Some(found) => Ok(found),
            None => self.miss(thread).await,
        };
        // What a flight put in too late is there until it has looked whether it was forgotten.
        if let Ok((value, false)) = got {
            assert!(value >= least, "{value} after {least}");
        }
    }

    /// A value, and whether a flight had put it in.
    async fn miss(self: &Arc<Self>, thread: u64) -> Result<(u64, bool), Problem> {
        let noted = self.near.0.with(|near| begin_by(&mut near.notes, thread));
        match noted {
            Ok(load) => self.load_alone(load).await.map(|value| (value, false)),
            Err(_) => self.load_in_flight(thread, false).await,
        }
    }

    async fn load_alone(&self, load: Load) -> Result<u64, Problem> {
        match self.load().await {
            Ok(value) => {
                let (ended, _) = self.near.0.with(|Near { table, notes }| {
                    notes.keep(
                        load,
                        table,
                        item((value, false)),
                        Instant::default(),
                        |_| true,
                    )
                });
                if let Some(lead) = ended.and_then(|ended| ended.lead) {
                    lead.finish(Ok(value));
                }
                Ok(value)
            }
            Err(problem) => {
                let ended = self.near.0.with(|near| near.notes.end(load));
                Ended::fail(ended, problem.clone());
                Err(problem)
            }
        }
    }

    async fn load_in_flight(
        self: &Arc<Self>,
        thread: u64,
        fresh: bool,
    ) -> Result<(u64, bool), Problem> {
        let (entered, loader) = self.near.0.with(|near| {
            let entered = near.notes.enter();
            if fresh {
                near.notes.overtake(1);
            }
            (entered, near.notes.loader(1, |_| true))
        });
        if let Some(loader) = loader {
            let caller = Caller {
                thread: loader.thread,
                task: 0,
            };
            if let Some(lead) = self.cache.lead(HASH, caller) {
                let lead = Box::new(lead);
                drop(self.near.0.with(|near| near.notes.owe(&loader, lead)));
            }
        }
        let cache = self.cache.on(None::<Arc<NoRemote>>, Thread(thread));
        let this = Arc::clone(self);
        let load = move || Box::pin(async move { this.load().await });
        let outcome = if fresh {
            cache.refresh(key(), load).await
        } else {
            cache.get_or_load(key(), load).await
        };
        self.near.0.with(|near| near.notes.leave(entered));
        match outcome {
            Ok(served) => Ok((served.value, served.from == Source::L1)),
            Err(Failure::Raised { error, .. }) => Err((*error).clone()),
            Err(other) => panic!("{other:?}"),
        }
    }

    /// The function.
    async fn load(&self) -> Result<u64, Problem> {
        if let Some(loading) = &self.loading {
            let another = loading.swap(true, Ordering::SeqCst);
            assert!(!another, "two loads of one key run at once");
        }
        let value = self.source.load(Ordering::SeqCst);
        for _ in 0..thread_rng().gen_range(0..3) {
            yield_now().await;
        }
        if let Some(loading) = &self.loading {
            loading.store(false, Ordering::SeqCst);
        }
        match thread_rng().gen_range(0..8) {
            0 => Err(Problem::Cancelled),
            1 => Err(Problem::Failed),
            _ => Ok(value),
        }
    }

    /// Has what loads come to change, and says so in some way; who comes afterwards gets no less.
    async fn change(self: Arc<Self>) {
        let value = self.source.fetch_add(1, Ordering::SeqCst) + 1;
        let said = match thread_rng().gen_range(0..4) {
            0 => {
                self.near.0.with(|near| near.notes.overtake_all());
                self.cache.clear().await.is_ok()
            }
            1 => self.load_in_flight(fresh_number(), true).await.is_ok(),
            other => {
                let entered = self.near.0.with(|near| {
                    near.notes.overtake(1);
                    near.notes.enter()
                });
                let done = if other == 2 {
                    self.cache.remove(key()).await.is_ok()
                } else {
                    self.cache.set(key(), value).await.is_ok()
                };
                self.near.0.with(|near| near.notes.leave(entered));
                done
            }
        };
        if said {
            self.least.fetch_max(value, Ordering::SeqCst);
        }
    }

    /// When everybody has gone: nothing is owed, what is kept is not too old, and loads are noted.
    fn assert_quiet(&self) {
        let least = self.least.load(Ordering::SeqCst);
        assert!(self.near.get(&1).is_none_or(|value| value >= least));
        assert_eq!(self.cache.in_flight(), 0);
        self.near.0.with(|near| {
            assert!(near.notes.is_empty());
            let load = begin_by(&mut near.notes, 1).expect("nobody is here");
            near.notes.end(load);
        });
    }
}

fn key() -> Lookup<u64> {
    Lookup {
        local: 1,
        hash: HASH,
        tenant: Tenant::default(),
        remote: false,
    }
}

fn begin_by(notes: &mut Notes, thread: u64) -> Result<Load, u64> {
    notes.begin(1, 1, thread, |_| true)
}

#[test]
fn one_load_at_a_time_and_nobody_is_left_waiting() {
    explore(SCHEDULES, || {
        let world = World::new(true);
        let calls: Vec<_> = (0..4).map(|_| spawn(Arc::clone(&world).call())).collect();
        for call in calls {
            block_on(call).expect("nobody cancels it");
        }
        world.assert_quiet();
    });
}

#[test]
fn nobody_who_comes_after_a_change_gets_what_was_loaded_before_it() {
    explore(SCHEDULES, || {
        let world = World::new(false);
        let mut tasks: Vec<_> = (0..2).map(|_| spawn(Arc::clone(&world).call())).collect();
        for _ in 0..thread_rng().gen_range(0..40) {
            point();
        }
        for _ in 0..2 {
            block_on(Arc::clone(&world).change());
            tasks.push(spawn(Arc::clone(&world).call()));
            tasks.push(spawn(Arc::clone(&world).call()));
        }
        for task in tasks {
            block_on(task).expect("nobody cancels it");
        }
        world.assert_quiet();
    });
}

#[test]
fn a_forked_child_waits_for_nobody_who_is_not_there() {
    explore(SCHEDULES, || {
        let world = World::new(false);
        let mine = world.near.0.with(|near| begin_by(&mut near.notes, 1));
        let mine = mine.expect("nobody loads");
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..3 {
            let mut call = Box::pin(Arc::clone(&world).call());
            for _ in 0..thread_rng().gen_range(0..4) {
                if call.as_mut().poll(&mut cx).is_ready() {
                    call = Box::pin(Arc::clone(&world).call());
                }
            }
            // In the child its thread does not exist.
            std::mem::forget(call);
        }
        world.near.0.with(|near| near.notes.after_fork(1));
        world.cache.bound.shared.flight.reset_after_fork();
        let calls: Vec<_> = (0..2).map(|_| spawn(Arc::clone(&world).call())).collect();
        block_on(world.load_alone(mine)).ok();
        for call in calls {
            block_on(call).expect("nobody cancels it");
        }
        world.assert_quiet();
    });
}
