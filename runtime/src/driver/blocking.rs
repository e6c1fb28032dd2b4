//! The blocking driver: polls on the calling thread and parks it while another one has the result.
//!
//! No hop, no runtime: remote operations complete within their poll, so parking only ever waits for other threads. It
//! parks in slices, because a wake-up cannot carry a signal handler of the language that called.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::thread::Thread;

use super::{Caller, Driver, Spawn, Task, kernel_random};
use crate::clock::{Clock, Instant, SystemClock};
use crate::error::Result;
use crate::interrupt::{self, Interrupt, SLICE, Uninterrupted};

/// Runs `future` to its end on this thread.
///
/// Between polls the thread sleeps, and asks `interrupt` at least every [`SLICE`]; if that says stop, the future is
/// dropped and its error comes back as [`Interrupted`](crate::error::ErrorCode::Interrupted). May be called from within itself.
pub fn run<F: Future>(future: F, interrupt: &dyn Interrupt) -> Result<F::Output> {
    // Each run has a flag of its own: one nested in this one's poll would else swallow its wake-up.
    let waking = Arc::new(Unpark {
        thread: std::thread::current(),
        woken: AtomicBool::new(false),
    });
    let waker = Arc::clone(&waking).into();
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Ok(output);
        }
        if !waking.woken.swap(false, Ordering::Acquire) {
            interrupt::check(interrupt)?;
            if !waking.woken.swap(false, Ordering::Acquire) {
                std::thread::park_timeout(SLICE);
                waking.woken.store(false, Ordering::Relaxed);
                interrupt::check(interrupt)?;
            }
        }
    }
}

struct Unpark {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        self.thread.unpark();
    }
}

/// The driver of threads: the machine's clocks, the thread as caller, and no background.
#[derive(Clone, Copy, Debug, Default)]
pub struct Blocking;

impl Clock for Blocking {
    fn now(&self) -> Instant {
        SystemClock.now()
    }
    fn unix_millis(&self) -> u64 {
        SystemClock.unix_millis()
    }
}

impl Spawn for Blocking {
    fn spawn(&self, task: Task) {
        // Nothing interrupts it: whatever it waits for has a deadline.
        let _ = run(task, &Uninterrupted);
    }
}

impl Driver for Blocking {
    fn caller(&self) -> Caller {
        Caller::this_thread()
    }
    fn random(&self) -> u64 {
        kernel_random()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::mpsc;
    use std::task::Waker;

    use super::*;
    use crate::error::{BoxError, ErrorCode};
    use crate::shim::Mutex;

    struct After(Mutex<u32>);

    impl Interrupt for After {
        fn check(&self) -> Result<(), BoxError> {
            self.0.with(|left| {
                *left = left.checked_sub(1).ok_or("the user pressed a key")?;
                Ok(())
            })
        }
    }

    #[test]
    fn a_waiting_thread_asks_twenty_times_a_second_whether_to_stop() {
        let begun = SystemClock.now();
        let result: Result<()> = run(std::future::pending(), &After(Mutex::new(4)));
        let error = result.expect_err("the fifth time it is told to stop");
        assert_eq!(error.code(), ErrorCode::Interrupted);
        let source = error.into_source().expect("what the interrupt said");
        assert_eq!(source.to_string(), "the user pressed a key");
        assert!(SystemClock.now().since(begun) < SLICE * 10);
    }

    #[test]
    fn another_thread_wakes_it_at_once() {
        let (send, receive) = mpsc::channel::<Waker>();
        let helper = std::thread::spawn(move || {
            while let Ok(waker) = receive.recv() {
                waker.wake();
            }
        });
        let begun = SystemClock.now();
        let mut left = 100;
        let future = poll_fn(|cx| {
            if left == 0 {
                return Poll::Ready(());
            }
            left -= 1;
            send.send(cx.waker().clone()).expect("the helper listens");
            Poll::Pending
        });
        run(future, &Uninterrupted).expect("not interrupted");
        // A hundred slices would take five seconds.
        assert!(SystemClock.now().since(begun) < SLICE * 50);
        drop(send);
        helper.join().expect("it does not panic");
    }

    #[test]
    fn a_run_within_a_run_does_not_swallow_its_wake_up() {
        let begun = SystemClock.now();
        let mut rounds = 0;
        let future = poll_fn(|cx| {
            rounds += 1;
            if rounds == 50 {
                return Poll::Ready(());
            }
            // Woken before the inner run parks: its park ends at once, by the outer one's token.
            cx.waker().wake_by_ref();
            let mut polls = 0;
            let inner = poll_fn(|cx| {
                polls += 1;
                if polls > 2 {
                    return Poll::Ready(());
                }
                cx.waker().wake_by_ref();
                Poll::Pending
            });
            run(inner, &Uninterrupted).expect("not interrupted");
            Poll::Pending
        });
        run(future, &Uninterrupted).expect("not interrupted");
        assert!(SystemClock.now().since(begun) < SLICE * 25);
    }
}
