use super::support::*;
use crate::cache::lifetimes::Lifetimes;
use crate::cache::*;
use crate::clock::Clock;
use crate::driver::blocking::{self, Blocking};
use crate::envelope::Name;
use crate::generated::metrics::LoadOutcome;
use crate::interrupt::Uninterrupted;
use crate::key::{KeyHash, Tenant};
use crate::l1::{L1, Limits};
use crate::remote::NoRemote;

#[test]
fn a_hit_in_the_remote_tier_costs_one_round_trip_and_a_miss_two() {
    let setup = Setup::new();
    let (one, other) = (setup.process(), setup.process());
    assert_eq!(call(&one, "k").from, Source::Load);
    assert_eq!(setup.remote.counts(), (1, 1, 0));
    assert_eq!(call(&one, "k").from, Source::L1);
    assert_eq!(setup.remote.counts(), (1, 1, 0));
    let served = call(&other, "k");
    assert_eq!(
        (served.value.as_str(), served.from),
        ("loaded k", Source::L2)
    );
    assert_eq!(setup.remote.counts(), (2, 1, 0));
    assert_eq!(call(&other, "k").from, Source::L1);
}

#[test]
fn an_entry_expires_everywhere_at_once() {
    let setup = Setup::new();
    let (one, other) = (setup.process(), setup.process());
    call(&one, "k");
    setup.advance(Duration::from_secs(4));
    assert_eq!(call(&other, "k").from, Source::L2);
    setup.advance(Duration::from_millis(5_999));
    assert_eq!(call(&one, "k").from, Source::L1);
    assert_eq!(call(&other, "k").from, Source::L1);
    setup.advance(Duration::from_millis(1));
    assert_eq!(
        call(&other, "k").from,
        Source::Load,
        "its own lifetime began at the read"
    );
}

#[test]
fn an_expired_entry_is_a_miss_although_the_remote_still_has_it() {
    let setup = Setup::new();
    call(&setup.process(), "k");
    setup.outlives("k");
    setup.advance(
        TTL.checked_sub(Duration::from_millis(1))
            .expect("it is longer"),
    );
    assert_eq!(call(&setup.process(), "k").from, Source::L2);
    setup.advance(Duration::from_millis(1));
    assert_eq!(call(&setup.process(), "k").from, Source::Load);
}

#[test]
fn a_writer_whose_clock_is_ahead_gives_no_longer_life() {
    let setup = Setup::new();
    let mut ahead = Setup::new();
    ahead.remote = setup.remote.clone();
    ahead.advance(Duration::from_hours(1));
    call(&ahead.process(), "k");
    setup.outlives("k");
    let here = setup.process();
    assert_eq!(call(&here, "k").from, Source::L2);
    setup.remote.store.remove_now(&Setup::name("k"));
    setup.advance(TTL);
    assert_eq!(call(&here, "k").from, Source::Load);
}

#[test]
fn a_life_that_jitter_shortens_ends_at_once_in_both_tiers() {
    let mut setup = Setup::new();
    setup.options.ttl_jitter = 0.5;
    let life = Lifetimes::new(&setup.options).of(&hash("k"));
    let life = life.expect("there is a ttl");
    assert!(life < TTL && life > TTL / 2, "{life:?}");
    let short = Duration::from_millis(2);
    let stores: [fn(&TestCache); 3] = [
        |cache| drop(call(cache, "k")),
        |cache| {
            drop(now(
                cache.refresh(lookup("k"), || async { Ok("v".to_owned()) })
            ));
        },
        |cache| now(cache.set(lookup("k"), "v".to_owned())).expect("nothing fails"),
    ];
    for store in stores {
        let (one, other) = (setup.process(), setup.process());
        store(&one);
        assert_eq!(setup.remote.store.lifetime(&Setup::name("k")), Some(life));
        setup.outlives("k");
        setup.advance(life.saturating_sub(short));
        assert_eq!(call(&one, "k").from, Source::L1);
        assert_eq!(call(&other, "k").from, Source::L2);
        setup.advance(short);
        assert_eq!(now(one.get(lookup("k"))).expect("nothing fails"), None);
        assert_eq!(now(other.get(lookup("k"))).expect("nothing fails"), None);
    }
}

#[test]
fn a_sliding_entry_ends_a_lifetime_after_its_last_use() {
    let mut setup = Setup::new();
    setup.options.sliding = true;
    call(&setup.process(), "k");
    for _ in 0..5 {
        setup.advance(TTL.saturating_sub(Duration::from_millis(1)));
        let served = call(&setup.process(), "k");
        assert_eq!(served.from, Source::L2);
    }
    assert_eq!(
        setup.remote.counts(),
        (6, 1, 0),
        "renewed by the read itself"
    );
    setup.advance(TTL);
    assert_eq!(call(&setup.process(), "k").from, Source::Load);
}

#[test]
fn what_is_read_of_a_sliding_entry_lives_as_long_here_as_there() {
    let mut setup = Setup::new();
    setup.options.sliding = true;
    setup.options.ttl_jitter = 0.5;
    call(&setup.process(), "k");
    let life = setup.remote.store.lifetime(&Setup::name("k"));
    let life = life.expect("it has one");
    setup.advance(life / 2);
    let other = setup.process();
    assert_eq!(call(&other, "k").from, Source::L2);
    assert_eq!(setup.remote.store.lifetime(&Setup::name("k")), Some(life));
    setup.remote.store.remove_now(&Setup::name("k"));
    setup.advance(life.saturating_sub(Duration::from_millis(1)));
    assert_eq!(call(&other, "k").from, Source::L1);
}

#[test]
fn a_use_in_this_process_renews_an_entry_there() {
    let mut setup = Setup::new();
    setup.options.sliding = true;
    let cache = setup.process();
    call(&cache, "k");
    for _ in 0..3 {
        setup.advance(TTL.saturating_sub(Duration::from_millis(1)));
        assert_eq!(call(&cache, "k").from, Source::L1);
    }
    assert_eq!(setup.remote.counts(), (1, 1, 0));
    setup.advance(TTL);
    assert_eq!(call(&cache, "k").from, Source::Load);
}

#[test]
fn only_who_slides_lets_an_entry_outlive_its_header() {
    let mut setup = Setup::new();
    setup.options.sliding = true;
    call(&setup.process(), "k");
    setup.outlives("k");
    setup.advance(TTL);
    setup.options.sliding = false;
    assert_eq!(
        now(setup.process().get(lookup("k"))).expect("nothing fails"),
        None
    );
    // Nor does it bring to life what another one wrote to end for good.
    call(&setup.process(), "k");
    setup.outlives("k");
    setup.advance(TTL);
    setup.options.sliding = true;
    assert_eq!(
        now(setup.process().get(lookup("k"))).expect("nothing fails"),
        None
    );
}

#[test]
fn what_never_expires_cannot_slide() {
    let mut setup = Setup::new();
    setup.options.sliding = true;
    setup.options.ttl = None;
    let local: Near = L1::new(Limits {
        max_entries: 1,
        max_bytes: 1,
    })
    .on_clock(Arc::clone(&setup.clock));
    let built: Result<TestCache> =
        setup
            .builder()
            .build(local, MessagePack::new(), None, setup.driver());
    let error = built.expect_err("there is nothing to renew");
    assert_eq!(error.code(), ErrorCode::OptionInvalid);
    assert!(error.to_string().contains("give it a ttl"), "{error}");
}

#[test]
fn an_entry_without_lifetime_stays() {
    let mut setup = Setup::new();
    setup.options.ttl = None;
    call(&setup.process(), "k");
    setup.advance(Duration::from_secs(1 << 30));
    let other = setup.process();
    assert_eq!(call(&other, "k").from, Source::L2);
    setup.advance(Duration::from_secs(1 << 30));
    assert_eq!(call(&other, "k").from, Source::L1);
}

#[test]
fn waiters_get_the_leaders_value_as_soon_as_it_is_there() {
    let setup = Setup::new();
    let cache = setup.process();
    let ending = Ending::default();
    let mut leader = cache.get_or_load(lookup("k"), || ending.load());
    pending(&mut leader);
    let mut waiter = cache.get_or_load(lookup("k"), || async { panic!("one load is enough") });
    pending(&mut waiter);
    assert_eq!(cache.in_flight(), 2);
    setup.remote.hold("set", false);
    ending.end(Ok("v".to_owned()));
    pending(&mut leader);
    let served: Served<String> = ready(&mut waiter).expect("it was loaded");
    assert_eq!((served.value.as_str(), served.from), ("v", Source::Flight));
    setup.remote.let_go();
    assert_eq!(
        ready(&mut leader).expect("it was loaded").from,
        Source::Load
    );
    assert_eq!(cache.in_flight(), 0);
}

#[test]
fn who_waits_for_a_read_gets_what_it_found() {
    let mut setup = Setup::new();
    setup.options.l1 = false;
    call(&setup.process(), "k");
    let cache = setup.process();
    let (before, ..) = setup.remote.counts();
    setup.remote.hold("get", true);
    let mut leader = cache.get_or_load(lookup("k"), || async { panic!("it is there") });
    pending(&mut leader);
    let mut waiter = cache.get_or_load(lookup("k"), || async { panic!("it is there") });
    pending(&mut waiter);
    setup.remote.let_go();
    let from = [ready(&mut leader), ready(&mut waiter)].map(|got| got.expect("it is there").from);
    assert_eq!(from, [Source::L2, Source::Flight]);
    assert_eq!(setup.remote.counts().0, before + 1);
}

#[test]
fn a_late_caller_finds_the_value_while_it_is_written_even_without_l1() {
    let mut setup = Setup::new();
    setup.options.l1 = false;
    let cache = setup.process();
    setup.remote.hold("set", false);
    let mut leader = cache.get_or_load(lookup("k"), || async { Ok("v".to_owned()) });
    pending(&mut leader);
    assert_eq!(call(&cache, "k").from, Source::Flight);
    setup.remote.let_go();
    assert!(ready(&mut leader).is_ok());
    assert_eq!(call(&cache, "k").from, Source::L2);
    assert!(cache.local().is_empty());
}

#[test]
fn a_tier_that_is_off_is_not_used() {
    let mut setup = Setup::new();
    setup.options.remote = false;
    let cache = setup.process();
    assert!(!cache.has_remote());
    assert_eq!(call(&cache, "k").from, Source::Load);
    assert_eq!(call(&cache, "k").from, Source::L1);
    assert_eq!(setup.remote.counts(), (0, 0, 0));

    setup.options.l1 = false;
    let neither = setup.process();
    let misses = || setup.metrics.lookups.value(Tier::L1, LookupOutcome::Miss);
    let before = misses();
    assert_eq!(call(&neither, "k").from, Source::Load);
    assert_eq!(call(&neither, "k").from, Source::Load);
    assert_eq!(misses(), before, "nobody looked");
}

#[test]
fn a_key_of_this_process_alone_never_reaches_the_remote() {
    let setup = Setup::new();
    let cache = setup.process();
    let local = || Lookup {
        remote: false,
        ..lookup("k")
    };
    let load = || async { Ok("v".to_owned()) };
    assert_eq!(
        now(cache.get_or_load(local(), load)).expect("loaded").from,
        Source::Load
    );
    assert_eq!(
        now(cache.get_or_load(local(), load)).expect("cached").from,
        Source::L1
    );
    assert!(now(cache.refresh(local(), load)).is_ok());
    assert!(now(cache.set(local(), "w".to_owned())).is_ok());
    assert!(matches!(now(cache.get(local())), Ok(Some(served)) if served.value == "w"));
    assert!(now(cache.remove(local())).expect("no remote, no error"));
    assert!(matches!(now(cache.get(local())), Ok(None)));
    assert_eq!(setup.remote.counts(), (0, 0, 0));
}

#[test]
fn every_outcome_is_counted_once() {
    let setup = Setup::new();
    let (one, other) = (setup.process(), setup.process());
    call(&one, "k");
    call(&one, "k");
    call(&other, "k");
    let lookups = |tier, outcome| setup.metrics.lookups.value(tier, outcome);
    assert_eq!(lookups(Tier::L1, LookupOutcome::Hit), 1);
    assert_eq!(lookups(Tier::L1, LookupOutcome::Miss), 2);
    assert_eq!(lookups(Tier::L2, LookupOutcome::Hit), 1);
    assert_eq!(lookups(Tier::L2, LookupOutcome::Miss), 1);
    assert_eq!(lookups(Tier::L2, LookupOutcome::Error), 0);
    assert_eq!(setup.metrics.load_duration.count(), 1);

    // Who waits has missed too; who refreshes has not looked.
    let ending = Ending::default();
    let mut leader = one.get_or_load(lookup("other"), || ending.load());
    pending(&mut leader);
    let mut waiter = one.get_or_load(lookup("other"), || async { panic!("it waits") });
    pending(&mut waiter);
    ending.end(Ok("v".to_owned()));
    assert!(ready(&mut leader).is_ok() && ready(&mut waiter).is_ok());
    assert!(now(one.refresh(lookup("k"), || async { Ok("new".to_owned()) })).is_ok());
    assert_eq!(lookups(Tier::L1, LookupOutcome::Hit), 1);
    assert_eq!(lookups(Tier::L1, LookupOutcome::Miss), 4);
    assert_eq!(lookups(Tier::L2, LookupOutcome::Hit), 1);
    assert_eq!(lookups(Tier::L2, LookupOutcome::Miss), 2);
    assert_eq!(setup.metrics.load_duration.count(), 3);
}

#[test]
fn monitoring_off_counts_nothing() {
    let mut setup = Setup::new();
    setup.options.monitoring = Monitoring::Off;
    call(&setup.process(), "k");
    assert_eq!(
        setup.metrics.lookups.value(Tier::L1, LookupOutcome::Miss),
        0
    );
    assert_eq!(
        setup.metrics.lookups.value(Tier::L2, LookupOutcome::Miss),
        0
    );
    assert_eq!(setup.metrics.loads.value(LoadOutcome::Ok), 0);
    assert_eq!(setup.metrics.load_duration.count(), 0);

    let cache = setup.process();
    let mut leaves = cache.get_or_load(lookup("other"), std::future::pending);
    pending(&mut leaves);
    drop(leaves);
    assert_eq!(setup.metrics.loads.value(LoadOutcome::Cancelled), 0);
}

#[test]
fn who_finds_a_value_does_not_wait_for_its_refresh() {
    let setup = Setup::new();
    let cache = setup.process();
    call(&cache, "k");
    let ending = Ending::default();
    let mut refresh = cache.refresh(lookup("k"), || ending.load());
    pending(&mut refresh);
    assert_eq!(call(&cache, "k").from, Source::L1);
    ending.end(Ok("new".to_owned()));
    assert!(ready(&mut refresh).is_ok());
    assert_eq!(call(&cache, "k").value, "new");
}

#[test]
fn get_never_loads_nor_waits() {
    let setup = Setup::new();
    let (one, other) = (setup.process(), setup.process());
    assert!(matches!(now(one.get(lookup("k"))), Ok(None)));
    let ending = Ending::default();
    let mut leader = one.get_or_load(lookup("k"), || ending.load());
    pending(&mut leader);
    assert!(matches!(now(one.get(lookup("k"))), Ok(None)));
    ending.end(Ok("v".to_owned()));
    assert!(ready(&mut leader).is_ok());
    let served = now(other.get(lookup("k")))
        .expect("it answers")
        .expect("it is there");
    assert_eq!((served.value.as_str(), served.from), ("v", Source::L2));
    assert_eq!(
        now(other.get(lookup("k")))
            .expect("it answers")
            .expect("kept")
            .from,
        Source::L1
    );
}

#[test]
fn who_joins_a_get_that_finds_nothing_loads() {
    let setup = Setup::new();
    let cache = setup.process();
    setup.remote.hold("get", true);
    let mut get = Box::pin(cache.get(lookup("k")));
    pending(&mut get);
    let mut waiter = cache.get_or_load(lookup("k"), || async { Ok("v".to_owned()) });
    pending(&mut waiter);
    setup.remote.let_go();
    assert!(matches!(ready(&mut get), Ok(None)));
    assert_eq!(ready(&mut waiter).expect("it loads").from, Source::Load);
}

#[test]
fn siblings_share_everything_but_the_way_to_the_remote() {
    let setup = Setup::new();
    let cache = setup.process();
    let driver = Bench {
        clock: Arc::clone(&setup.clock),
        spawned: Arc::default(),
    };
    let sibling = cache.on(Some(Arc::new(setup.remote.clone())), driver.clone());
    call(&cache, "k");
    assert_eq!(call(&sibling, "k").from, Source::L1);
    let ending = Ending::default();
    let mut leader = cache.get_or_load(lookup("j"), || ending.load());
    pending(&mut leader);
    let alone = cache.on(None::<Arc<NoRemote>>, driver);
    let mut waiter = alone.get_or_load(lookup("j"), || async { panic!("one load is enough") });
    pending(&mut waiter);
    ending.end(Ok("v".to_owned()));
    assert!(ready(&mut leader).is_ok());
    assert!(ready(&mut waiter).is_ok());
}

#[test]
fn sixty_four_threads_on_one_key_make_one_load() {
    let limits = Limits {
        max_entries: 100,
        max_bytes: 1 << 20,
    };
    let mut options = crate::generated::presets::DEFAULT;
    options.ttl = None;
    let cache: Cache<L1<u64, u64>, MessagePack<u64>, String, NoRemote, Blocking> =
        Builder::new(Identity::new("test", "threads", None), options)
            .metrics(Box::leak(Box::default()))
            .build(L1::new(limits), MessagePack::new(), None, Blocking)
            .expect("the options are valid");
    let loads = std::sync::atomic::AtomicUsize::new(0);
    let barrier = std::sync::Barrier::new(64);
    for round in 0..20_u64 {
        std::thread::scope(|scope| {
            for _ in 0..64 {
                scope.spawn(|| {
                    barrier.wait();
                    let load = || async {
                        loads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        Ok(round + 1)
                    };
                    let call = cache.get_or_load(Lookup::of(round).expect("short"), load);
                    let served = blocking::run(call, &Uninterrupted).expect("not interrupted");
                    assert_eq!(served.expect("loaded").value, round + 1);
                });
            }
        });
    }
    assert_eq!(loads.into_inner(), 20);
    assert_eq!(cache.in_flight(), 0);
}

#[test]
fn what_a_binding_holds_on_to_can_move_between_threads() {
    fn movable<T: Send + 'static>(value: T) -> T {
        value
    }
    let setup = Setup::new();
    let cache = movable(setup.process());
    let call = movable(cache.get_or_load(lookup("k"), || async { Ok("v".to_owned()) }));
    drop(call);
    drop(movable(
        cache.refresh(lookup("k"), || async { Ok("v".to_owned()) }),
    ));
    drop(movable(cache.get(lookup("k"))));
    drop(movable(cache.set(lookup("k"), "v".to_owned())));
    drop(movable(cache.remove(lookup("k"))));
    drop(movable(cache.clear()));
    assert_eq!(
        setup.remote.counts(),
        (0, 0, 0),
        "a future that nobody polls does nothing"
    );
}

#[test]
fn the_gauges_follow_the_local_tier() {
    let metrics: &'static Metrics = Box::leak(Box::default());
    let setup = Setup {
        metrics,
        ..Setup::new()
    };
    let cache = setup.process();
    call(&cache, "a");
    call(&cache, "b");
    metrics::Source::collect(&*cache.bound.shared, metrics);
    assert_eq!(metrics.l1_entries.value(), 2);
    assert!(metrics.l1_bytes.value() > 0);
    assert!(now(cache.remove(lookup("a"))).expect("the remote answers"));
    metrics::Source::collect(&*cache.bound.shared, metrics);
    assert_eq!(metrics.l1_entries.value(), 1);
    drop(cache);
    assert_eq!(
        (metrics.l1_entries.value(), metrics.l1_bytes.value()),
        (0, 0)
    );
}

#[test]
fn an_entry_says_when_it_was_made_and_what_it_cost() {
    let setup = Setup::new();
    let cache = setup.process();
    let ending = Ending::default();
    let mut leader = cache.get_or_load(lookup("k"), || ending.load());
    pending(&mut leader);
    setup.advance(Duration::from_millis(1500));
    ending.end(Ok("v".to_owned()));
    assert!(ready(&mut leader).is_ok());
    let name = Setup::name("k");
    let entry = setup.remote.store.get_now(&name).expect("just stored");
    let (meta, _) = cache
        .bound
        .shared
        .pipeline
        .open(Name::of(&name), entry)
        .expect("just written");
    assert_eq!(meta.created_ms, setup.clock.unix_millis());
    assert_eq!(meta.cost, Duration::from_millis(1500));
    assert_eq!(meta.lifetime, Some(TTL));
    assert!(meta.generations.is_empty(), "never cleared");
    assert_eq!(setup.remote.store.lifetime(&name), Some(TTL));
    let _: KeyHash = hash("k");
}

#[test]
fn tenants_share_neither_tier_nor_flight() {
    type Tenants = Cache<L1<(Tenant, String), String>, MessagePack<String>, Problem, Probe, Bench>;

    let setup = Setup::new();
    let local = L1::new(Limits {
        max_entries: 10,
        max_bytes: 1 << 20,
    });
    let remote = Some(Arc::new(setup.remote.clone()));
    let cache: Tenants = setup
        .builder()
        .build(local, MessagePack::new(), remote, setup.driver())
        .expect("the options are valid");
    let lookup = |tenant: &str| {
        let tenant = Tenant::new(tenant).expect("a short name");
        Lookup::of_tenant(tenant, "k".to_owned()).expect("a short key")
    };
    let ending = Ending::default();
    let mut first = cache.get_or_load(lookup("a"), || ending.load());
    pending(&mut first);
    let other = || async { Ok("b's".to_owned()) };
    let served = now(cache.get_or_load(lookup("b"), other)).expect("loaded");
    assert_eq!(
        (served.value.as_str(), served.from),
        ("b's", Source::Load),
        "it does not wait for the other's"
    );
    ending.end(Ok("a's".to_owned()));
    assert_eq!(ready(&mut first).expect("loaded").value, "a's");
    assert!(now(cache.remove(lookup("a"))).expect("removed"));
    assert!(matches!(now(cache.get(lookup("a"))), Ok(None)));
    assert!(matches!(now(cache.get(lookup("b"))), Ok(Some(served)) if served.value == "b's"));
}

#[test]
fn an_entry_that_says_nothing_of_its_life_has_that_of_a_new_one() {
    for format in ["bytestorage", "interop"] {
        let mut setup = Setup::new();
        setup.options.envelope = format;
        call(&setup.process(), "k");
        let here = setup.process();
        assert_eq!(call(&here, "k").from, Source::L2, "{format}");
        setup.remote.store.remove_now(&Setup::name("k"));
        setup.advance(
            TTL.checked_sub(Duration::from_millis(1))
                .expect("it is longer"),
        );
        assert_eq!(call(&here, "k").from, Source::L1, "{format}");
        setup.advance(Duration::from_millis(1));
        assert_eq!(call(&here, "k").from, Source::Load, "{format}");
    }
}
