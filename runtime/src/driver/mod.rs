//! How the one logic is run: what a driver brings, and the four of them.
//!
//! The logic is ordinary `async` Rust with no runtime assumed. A driver decides how its futures are polled, what time
//! it is, who is calling, and where chance comes from; so a simulation can decide all of it by a seed.

pub mod blocking;
pub mod event_loop;
pub mod simulation;
#[cfg(feature = "tokio")]
pub mod tokio;

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use crate::clock::Clock;

/// A future that nobody waits for.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Runs what must end although its caller went away.
pub trait Spawn: Send + Sync {
    /// Runs `task` to its end in the background, or here and now where there is no background.
    fn spawn(&self, task: Task);
}

/// Who is calling: a thread, and the task on it if there is one. Two calls of one caller are nested, so the inner one must
/// never wait for the outer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Caller {
    /// A number that no other living thread has.
    pub thread: u64,
    /// A number that no other living task of that thread has; zero outside tasks.
    pub task: u64,
}

impl Caller {
    /// The calling thread, outside any task.
    pub fn this_thread() -> Self {
        Self {
            thread: current_thread(),
            task: 0,
        }
    }

    /// Whether `other` cannot go on while this caller waits: it is the same one, or one of the two is a plain call on the
    /// thread that the other's task needs.
    pub fn holds_up(self, other: Self) -> bool {
        self.thread == other.thread
            && (self.task == other.task || self.task == 0 || other.task == 0)
    }
}

/// What the logic needs of whoever polls it.
pub trait Driver: Clock + Spawn {
    /// Who is polling now.
    fn caller(&self) -> Caller;
    /// 64 bits that nobody can have guessed, and no forked process repeats.
    fn random(&self) -> u64;
}

impl<S: Spawn + ?Sized> Spawn for Arc<S> {
    fn spawn(&self, task: Task) {
        (**self).spawn(task);
    }
}

impl<D: Driver + ?Sized> Driver for Arc<D> {
    fn caller(&self) -> Caller {
        (**self).caller()
    }
    fn random(&self) -> u64 {
        (**self).random()
    }
}

/// A number that was never handed out before in this process nor in one that it was forked from.
pub fn fresh_number() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The number of the calling thread. A forked child's only thread keeps the number it had.
pub fn current_thread() -> u64 {
    thread_local!(static NUMBER: u64 = fresh_number());
    // While the thread's locals are torn down it counts as a thread of its own.
    NUMBER
        .try_with(|number| *number)
        .unwrap_or_else(|_| fresh_number())
}

/// 64 bits from the kernel, so that no fork can repeat them.
pub(crate) fn kernel_random() -> u64 {
    getrandom::u64().unwrap_or_else(|_| {
        // Only a kernel without a random source gets here; a hash of time and process is then the best there is.
        use std::hash::{BuildHasher, RandomState};
        RandomState::new().hash_one((std::process::id(), std::time::SystemTime::now()))
    })
}

thread_local! {
    static INSIDE: Cell<Option<Caller>> = const { Cell::new(None) };
}

/// The caller whose load is being polled on this thread, if any. For drivers whose tasks have no stable identity.
pub fn inside() -> Option<Caller> {
    INSIDE.try_with(Cell::get).ok().flatten()
}

/// A future that is polled as part of a caller's load, so that [`inside`] knows calls from within it.
#[derive(Debug)]
pub struct Scope<F> {
    caller: Caller,
    future: Pin<Box<F>>,
}

impl<F: Future> Scope<F> {
    /// Marks `future` as part of `caller`'s load.
    pub fn new(caller: Caller, future: F) -> Self {
        Self {
            caller,
            future: Box::pin(future),
        }
    }
}

impl<F: Future> Future for Scope<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        struct Restore(Option<Caller>);
        impl Drop for Restore {
            fn drop(&mut self) {
                let _ = INSIDE.try_with(|inside| inside.set(self.0));
            }
        }
        let before = INSIDE
            .try_with(|inside| inside.replace(Some(self.caller)))
            .ok()
            .flatten();
        let _restore = Restore(before);
        self.future.as_mut().poll(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_call_holds_up_every_task_of_its_thread_and_a_task_only_itself() {
        let plain = Caller { thread: 1, task: 0 };
        let task = Caller { thread: 1, task: 7 };
        let other = Caller { thread: 1, task: 8 };
        assert!(plain.holds_up(task) && task.holds_up(plain) && task.holds_up(task));
        assert!(!task.holds_up(other));
        assert!(!plain.holds_up(Caller { thread: 2, task: 0 }));
    }

    #[test]
    fn threads_have_numbers_of_their_own() {
        let here = current_thread();
        assert_eq!(here, current_thread());
        let there = std::thread::spawn(current_thread)
            .join()
            .expect("it does not panic");
        assert_ne!(here, there);
    }

    #[test]
    fn a_scope_ends_with_its_poll_even_when_that_panics() {
        let caller = Caller { thread: 3, task: 4 };
        let mut cx = Context::from_waker(std::task::Waker::noop());
        let mut scope = Scope::new(caller, async { inside() });
        assert_eq!(
            Pin::new(&mut scope).poll(&mut cx),
            Poll::Ready(Some(caller))
        );
        assert_eq!(inside(), None);
        let mut scope = Scope::new(caller, async { panic!("on purpose") });
        let polled = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            let _: Poll<()> = Pin::new(&mut scope).poll(&mut cx);
        }));
        assert!(polled.is_err());
        assert_eq!(inside(), None);
    }
}
