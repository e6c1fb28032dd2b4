//! Locks that survive `fork`, and the hooks that make them do so.
//!
//! Python web servers fork after import, and another thread may hold any of our locks at that moment. So every critical
//! section of this crate also holds a process-wide gate for reading, and the fork hook takes it for writing: the child
//! starts with no section entered. `std`'s locks are used because on Linux they are one word each, with no table of
//! parked threads that could itself be locked in the child.
//!
//! Rules: a critical section is short, never nests another one, and never calls foreign code (wakers, user code, drops
//! of user values).

use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};

#[cfg(test)]
pub(crate) mod schedules;

/// Parts of the gate: threads that enter by different ones touch no memory in common.
const PARTS: usize = 16;

#[repr(align(128))]
struct Part(RwLock<()>);

static GATE: [Part; PARTS] = [const { Part(RwLock::new(())) }; PARTS];

thread_local! {
    static PART: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % PARTS
    };
}

/// Runs a critical section that foreign locks make (a metrics registry's, say), safe against a fork meanwhile.
pub fn critical<T>(section: impl FnOnce() -> T) -> T {
    let _gate = enter();
    section()
}

fn enter() -> RwLockReadGuard<'static, ()> {
    // While the thread's locals are torn down any part will do.
    let part = PART.try_with(|part| *part).unwrap_or(0);
    GATE[part].0.read().unwrap_or_else(PoisonError::into_inner)
}

/// A mutual exclusion lock whose sections no fork can interrupt.
#[derive(Debug, Default)]
pub struct Mutex<T>(std::sync::Mutex<T>);

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub const fn new(value: T) -> Self {
        Self(std::sync::Mutex::new(value))
    }

    /// Runs `section` with the value. It must not lock another [`Mutex`] nor call foreign code.
    pub fn with<R>(&self, section: impl FnOnce(&mut T) -> R) -> R {
        #[cfg(test)]
        schedules::point();
        let _gate = enter();
        let mut value = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        section(&mut value)
    }
}

/// Something that holds state of threads or sockets, which a forked child must drop.
pub trait ForkReset: Send + Sync {
    /// Called in the child, in its only thread, before anything else of this crate runs there.
    /// No lock is held by anybody; it must not call foreign code.
    fn reset_after_fork(&self);
}

static RESETS: Mutex<Vec<Weak<dyn ForkReset>>> = Mutex::new(Vec::new());

/// Has `target` reset in every child that is forked from now on, for as long as it lives.
pub fn reset_after_fork(target: Weak<dyn ForkReset>) {
    RESETS.with(|resets| {
        // Not each time: a process may have any number of them.
        if resets.len() == resets.capacity() {
            resets.retain(|known| known.strong_count() > 0);
            resets.reserve(resets.len().max(4));
        }
        resets.push(target);
    });
}

struct Held(UnsafeCell<[Option<RwLockWriteGuard<'static, ()>>; PARTS]>);

// SAFETY: only the thread that holds `GATE` for writing touches the cell, and no two threads do at once.
unsafe impl Sync for Held {}

static HELD: Held = Held(UnsafeCell::new([const { None }; PARTS]));

/// To be called before `fork`, in the thread that forks. Waits until every critical section has ended.
pub fn before_fork() {
    // In order: of two threads that fork at once, one has the first part and then all.
    for (at, part) in GATE.iter().enumerate() {
        let guard = part.0.write().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: whoever holds the first part for writing is the only one here.
        unsafe { (*HELD.0.get())[at] = Some(guard) };
    }
}

fn open() {
    // From the last part on: whoever gets the first one finds the others empty.
    for at in (0..PARTS).rev() {
        // SAFETY: this thread holds the gate for writing since `before_fork`.
        drop(unsafe { (*HELD.0.get())[at].take() });
    }
}

/// To be called after `fork` in the parent, in the thread that forked.
pub fn after_fork_in_parent() {
    open();
}

/// To be called after `fork` in the child. Opens the gate and resets what threads that no longer exist were using.
pub fn after_fork_in_child() {
    open();
    let targets = RESETS.with(|resets| resets.clone());
    for target in targets.iter().filter_map(Weak::upgrade) {
        target.reset_after_fork();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    struct Nothing;

    impl ForkReset for Nothing {
        fn reset_after_fork(&self) {}
    }

    #[test]
    fn who_is_gone_is_forgotten_in_time() {
        for _ in 0..10_000 {
            let target: Arc<dyn ForkReset> = Arc::new(Nothing);
            reset_after_fork(Arc::downgrade(&target));
        }
        let [gone, alive] = RESETS.with(|resets| {
            let alive = |known: &&Weak<dyn ForkReset>| known.strong_count() > 0;
            let count = resets.iter().filter(alive).count();
            [resets.len() - count, count]
        });
        assert!(gone <= 1000 + 2 * alive, "{gone} beside {alive}");
    }
}
