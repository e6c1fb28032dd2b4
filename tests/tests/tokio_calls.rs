//! Calls side by side and within each other, in tasks of tokio: who waits, who calls through, and that nobody hangs.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use cachekit_runtime::cache::{Builder, Cache, Lookup, MessagePack, Served, Source};
use cachekit_runtime::driver::tokio::Tokio;
use cachekit_runtime::generated::presets;
use cachekit_runtime::key::Identity;
use cachekit_runtime::l1::{L1, Limits};
use cachekit_runtime::metrics::Metrics;
use cachekit_runtime::remote::memory::Memory;

type Numbers = Cache<L1<u64, u64>, MessagePack<u64>, String, Memory, Tokio>;

fn cache(name: &str) -> Numbers {
    let metrics: &'static Metrics = Box::leak(Box::default());
    let limits = Limits {
        max_entries: 1000,
        max_bytes: 1 << 20,
    };
    Builder::new(Identity::new("tests", name, None), presets::DEFAULT)
        .metrics(metrics)
        .build(
            L1::new(limits),
            MessagePack::new(),
            Some(Arc::new(Memory::default())),
            Tokio::current(),
        )
        .expect("the options are valid")
}

fn lookup(key: u64) -> Lookup<u64> {
    Lookup::of(key).expect("a short key")
}

async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future)
        .await
        .expect("nobody hangs")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_and_fifty_six_tasks_on_one_key_make_one_load() {
    let cache = cache("tasks");
    let loads = Arc::new(AtomicU32::new(0));
    let tasks: Vec<_> = (0..256)
        .map(|_| {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            tokio::spawn(async move {
                let load = || async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    tokio::task::yield_now().await;
                    Ok(7)
                };
                cache.get_or_load(lookup(1), load).await.unwrap().value
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(soon(task).await.unwrap(), 7);
    }
    assert_eq!(loads.load(Ordering::Relaxed), 1);
    assert_eq!(cache.in_flight(), 0);
}

#[tokio::test]
async fn calls_side_by_side_in_one_task_share_a_load() {
    let cache = cache("siblings");
    let load = || async {
        tokio::task::yield_now().await;
        Ok(7)
    };
    let one = cache.get_or_load(lookup(1), load);
    let other = cache.get_or_load(lookup(1), load);
    let (one, other) = soon(async { tokio::join!(one, other) }).await;
    assert_eq!(
        one.unwrap(),
        Served {
            value: 7,
            from: Source::Load
        }
    );
    assert_eq!(
        other.unwrap(),
        Served {
            value: 7,
            from: Source::Flight
        }
    );
}

fn within(cache: Numbers, left: u64) -> Pin<Box<dyn Future<Output = Served<u64>> + Send>> {
    Box::pin(async move {
        let inner = cache.clone();
        let load = || async move {
            tokio::task::yield_now().await;
            if left == 0 {
                Ok(0)
            } else {
                Ok(within(inner, left - 1).await.value + 1)
            }
        };
        cache
            .get_or_load(lookup(1), load)
            .await
            .expect("nothing fails")
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_that_asks_for_its_own_key_calls_through() {
    let cache = cache("within");
    let served = soon(within(cache.clone(), 3)).await;
    assert_eq!(
        served,
        Served {
            value: 3,
            from: Source::Load
        }
    );
    // In a task of its own, and twice at once.
    cache.remove(lookup(1)).await.unwrap();
    let tasks = [
        tokio::spawn(within(cache.clone(), 3)),
        tokio::spawn(within(cache.clone(), 3)),
    ];
    for task in tasks {
        assert_eq!(soon(task).await.unwrap().value, 3);
    }
}

/// `f` needs `g` and `g` needs `f`, from two tasks: one of them calls through.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn functions_that_need_each_other_do_not_wait_for_each_other() {
    async fn call(first: Numbers, second: Numbers, meet: Arc<tokio::sync::Barrier>) -> u64 {
        let load = || async move {
            meet.wait().await;
            let inner = second.get_or_load(lookup(1), || async { Ok(1) });
            Ok(inner.await.unwrap().value + 1)
        };
        first.get_or_load(lookup(1), load).await.unwrap().value
    }
    for round in 0..50 {
        let (f, g) = (cache(&format!("f{round}")), cache(&format!("g{round}")));
        let meet = Arc::new(tokio::sync::Barrier::new(2));
        let one = tokio::spawn(call(f.clone(), g.clone(), Arc::clone(&meet)));
        let other = tokio::spawn(call(g, f, meet));
        let (one, other) = (soon(one).await.unwrap(), soon(other).await.unwrap());
        // Whoever called through got 1 and returns 2; the other one waited for that.
        let mut values = [one, other];
        values.sort_unstable();
        assert_eq!(values, [2, 3]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_that_are_aborted_at_any_time_leave_nothing_behind() {
    let cache = cache("aborted");
    for round in 0..200_u64 {
        let tasks: Vec<_> = (0..8)
            .map(|_| {
                let cache = cache.clone();
                tokio::spawn(async move {
                    let load = || async {
                        tokio::task::yield_now().await;
                        Ok(1)
                    };
                    cache.get_or_load(lookup(round), load).await.unwrap().value
                })
            })
            .collect();
        for (nth, task) in tasks.iter().enumerate() {
            if nth != 7 {
                if nth % 3 == 0 {
                    tokio::task::yield_now().await;
                }
                task.abort();
            }
        }
        let mut tasks = tasks;
        let last = tasks.pop().unwrap();
        assert_eq!(soon(last).await.unwrap(), 1);
        for task in tasks {
            let _ = soon(task).await;
        }
    }
    // What was cut off during its write is being finished in the background.
    soon(async {
        while cache.in_flight() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}
