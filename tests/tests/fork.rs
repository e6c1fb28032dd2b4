//! Forking while other threads are anywhere inside a cache: the child works, and so does the parent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cachekit_runtime::cache::{Builder, Cache, Lookup, MessagePack};
use cachekit_runtime::driver::blocking::{Blocking, run};
use cachekit_runtime::generated::presets;
use cachekit_runtime::interrupt::Uninterrupted;
use cachekit_runtime::key::Identity;
use cachekit_runtime::l1::{L1, Limits};
use cachekit_runtime::remote::memory::Memory;
use cachekit_runtime::{metrics, shim};

type Numbers = Cache<L1<u64, u64>, MessagePack<u64>, String, Memory, Blocking>;

const KEYS: u64 = 4;
const FORKS: usize = 100;

fn lookup(key: u64) -> Lookup<u64> {
    Lookup::of(key).expect("a short key")
}

fn call(cache: &Numbers, key: u64) -> u64 {
    let call = cache.get_or_load(lookup(key), || async move { Ok(key * 2) });
    let served = run(call, &Uninterrupted).expect("nothing interrupts it");
    served.expect("nothing fails").value
}

fn forget(cache: &Numbers, key: u64) {
    let removed = run(cache.remove(lookup(key)), &Uninterrupted).expect("nothing interrupts it");
    let _was_there = removed.expect("nothing fails");
}

/// What the child does; whatever goes wrong there must end it, since it has no test harness.
fn child(cache: &Numbers) -> bool {
    if cache.in_flight() != 0 {
        return false;
    }
    for key in 0..KEYS {
        forget(cache, key);
        if call(cache, key) != key * 2 || call(cache, key) != key * 2 {
            return false;
        }
    }
    metrics::render().contains("cachekit_loads_total") && cache.in_flight() == 0
}

#[test]
fn a_child_finds_no_lock_held_and_nobody_in_flight() {
    let limits = Limits {
        max_entries: 100,
        max_bytes: 1 << 20,
    };
    let cache: Numbers = Builder::new(Identity::new("tests", "fork", None), presets::DEFAULT)
        .build(
            L1::new(limits),
            MessagePack::new(),
            Some(Arc::new(Memory::default())),
            Blocking,
        )
        .unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut key = 0;
                while !stop.load(Ordering::Relaxed) {
                    key = (key + 1) % KEYS;
                    assert_eq!(call(&cache, key), key * 2);
                    forget(&cache, key);
                    drop(metrics::render());
                }
            });
        }
        let mut failed = Vec::new();
        for nth in 0..FORKS {
            shim::before_fork();
            // SAFETY: the child runs nothing but this crate, which holds no lock of its own now, and leaves by `_exit`.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                // A child that hangs ends itself.
                // SAFETY: neither call has a precondition.
                unsafe { libc::alarm(20) };
                shim::after_fork_in_child();
                let status = i32::from(!child(&cache));
                // SAFETY: as above.
                unsafe { libc::_exit(status) };
            }
            shim::after_fork_in_parent();
            assert!(pid > 0, "fork failed");
            let mut status = 0;
            // SAFETY: the child is ours, and `status` outlives the call.
            let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
            if waited != pid || status != 0 {
                failed.push((nth, status));
            }
        }
        stop.store(true, Ordering::Relaxed);
        assert!(failed.is_empty(), "children failed or hung: {failed:?}");
    });
    assert_eq!(call(&cache, 1), 2);
}
