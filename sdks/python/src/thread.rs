//! What is known of the calling thread.
//!
//! All in one place: to find a thread's locals takes a library as long as to read several of them.

use std::cell::Cell;

use cachekit_runtime::driver::current_thread;

/// Kept on the stack for whatever runs at the deepest call: Python code, and our own way back.
const RESERVE: usize = 512 << 10;

/// A thread.
pub(crate) struct Thread {
    /// Zero while nothing is known of it.
    number: Cell<u64>,
    /// The lowest address of its stack.
    floor: Cell<usize>,
    /// How deep it is in code of ours which may call Python.
    pub(crate) depth: Cell<usize>,
    /// Whether it is the one that ends the interpreter.
    pub(crate) ends: Cell<bool>,
}

thread_local! {
    static THREAD: Thread = const {
        Thread {
            number: Cell::new(0),
            floor: Cell::new(0),
            depth: Cell::new(0),
            ends: Cell::new(false),
        }
    };
}

/// Runs `look` with the calling thread.
#[inline(always)]
pub(crate) fn here<R>(look: impl FnOnce(&Thread) -> R) -> R {
    THREAD.with(look)
}

impl Thread {
    /// Its number among the runtime's callers.
    #[inline]
    pub(crate) fn number(&self) -> u64 {
        if self.number.get() == 0 {
            self.meet();
        }
        self.number.get()
    }

    /// Whether what is left of the stack is for what runs at the deepest call.
    #[inline]
    pub(crate) fn stack_is_nearly_used_up(&self) -> bool {
        if self.number.get() == 0 {
            self.meet();
        }
        let marker = 0_u8;
        let here = std::hint::black_box(&raw const marker) as usize;
        // Some libraries switch stacks; of theirs nothing is known. What is below the floor comes out as far above it.
        here.wrapping_sub(self.floor.get()) < RESERVE
    }

    #[cold]
    fn meet(&self) {
        self.floor.set(floor().unwrap_or(0));
        self.number.set(current_thread());
    }
}

#[cfg(target_os = "linux")]
fn floor() -> Option<usize> {
    use std::mem::MaybeUninit;

    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    let (mut low, mut size) = (std::ptr::null_mut(), 0);
    // SAFETY: initialised by the first call, if that succeeds, and destroyed by the last.
    unsafe {
        if libc::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
            return None;
        }
        let status = libc::pthread_attr_getstack(attributes.as_ptr(), &raw mut low, &raw mut size);
        libc::pthread_attr_destroy(attributes.as_mut_ptr());
        (status == 0).then_some(low as usize)
    }
}

#[cfg(not(target_os = "linux"))]
fn floor() -> Option<usize> {
    None
}
