use bytes::Bytes;

use super::support::*;
use crate::cache::*;

fn value_of(cache: &TestCache, key: &str) -> Option<String> {
    now(cache.get(lookup(key)))
        .expect("the remote answers")
        .map(|served| served.value)
}

#[test]
fn clear_makes_every_entry_a_miss_without_touching_them() {
    let setup = Setup::new();
    let (one, other) = (setup.process(), setup.process());
    call(&one, "a");
    call(&one, "b");
    let before = setup.remote.counts();
    now(one.clear()).expect("the remote answers");
    let after = setup.remote.counts();
    assert_eq!(
        (after.0, after.1, after.2),
        (before.0, before.1 + 1, before.2)
    );
    assert!(setup.stored("a"));
    assert_eq!(call(&one, "a").from, Source::Load);
    assert_eq!(call(&other, "b").from, Source::Load);
    assert_eq!(
        call(&setup.process(), "b").from,
        Source::L2,
        "written under the new generation"
    );
    now(one.clear()).expect("the remote answers");
    assert_eq!(call(&setup.process(), "b").from, Source::Load, "once more");
    let generation = Identity::new("test", "f", None).generation_name().unwrap();
    assert_eq!(setup.remote.store.lifetime(&generation), None);
}

#[test]
fn a_load_that_was_cleared_elsewhere_while_it_ran_is_dead_on_arrival() {
    let setup = Setup::new();
    let (one, other) = (setup.process(), setup.process());
    let ending = Ending::default();
    let mut leader = one.get_or_load(lookup("k"), || ending.load());
    pending(&mut leader);
    now(other.clear()).expect("the remote answers");
    ending.end(Ok("old".to_owned()));
    assert_eq!(ready(&mut leader).expect("its caller gets it").value, "old");
    assert_eq!(value_of(&other, "k"), None);
    assert_eq!(call(&setup.process(), "k").from, Source::Load);
}

#[test]
fn a_load_that_was_invalidated_while_it_ran_is_returned_and_not_stored() {
    type Invalidate = fn(&TestCache);
    let ways: [Invalidate; 4] = [
        |cache| drop(now(cache.remove(lookup("k")))),
        |cache| now(cache.clear()).expect("the remote answers"),
        |cache| {
            now(cache.set(lookup("k"), "put".to_owned())).expect("the remote answers");
        },
        |cache| {
            let load = || async { Ok("refreshed".to_owned()) };
            assert_eq!(
                now(cache.refresh(lookup("k"), load))
                    .expect("it loads")
                    .from,
                Source::Load
            );
        },
    ];
    let after = [None, None, Some("put"), Some("refreshed")];
    for (invalidate, after) in ways.into_iter().zip(after) {
        let setup = Setup::new();
        let cache = setup.process();
        let ending = Ending::default();
        let mut leader = cache.get_or_load(lookup("k"), || ending.load());
        pending(&mut leader);
        let mut waiter = cache.get_or_load(lookup("k"), || async { panic!("it waits") });
        pending(&mut waiter);
        invalidate(&cache);
        ending.end(Ok("old".to_owned()));
        assert_eq!(ready(&mut leader).expect("its caller gets it").value, "old");
        let served: Served<String> = ready(&mut waiter).expect("it asked before");
        assert_eq!(served.value, "old");
        assert_eq!(cache.local().get("k").as_deref(), after);
        assert_eq!(value_of(&cache, "k").as_deref(), after);
        assert_eq!(value_of(&setup.process(), "k").as_deref(), after);
    }
}

#[test]
fn a_write_that_was_overtaken_by_an_invalidation_is_taken_back() {
    let setup = Setup::new();
    let cache = setup.process();
    setup.remote.hold("set", false);
    let mut leader = cache.get_or_load(lookup("k"), || async { Ok("old".to_owned()) });
    pending(&mut leader);
    assert!(now(cache.remove(lookup("k"))).expect("the remote answers"));
    setup.remote.let_go();
    assert!(ready(&mut leader).is_ok());
    assert!(!setup.stored("k"));
    assert_eq!(value_of(&cache, "k"), None);
}

#[test]
fn a_write_that_failed_may_have_come_through_and_is_taken_back_too() {
    for code in [ErrorCode::RemoteTimeout, ErrorCode::Interrupted] {
        let setup = Setup::new();
        let cache = setup.process();
        setup.remote.hold("set", false);
        let mut leader = cache.get_or_load(lookup("k"), || async { Ok("old".to_owned()) });
        pending(&mut leader);
        now(cache.remove(lookup("k"))).expect("the remote answers");
        setup.remote.lose("set", code);
        setup.remote.let_go();
        let interrupted = matches!(ready(&mut leader), Err(Failure::Interrupted(_)));
        assert_eq!(interrupted, code == ErrorCode::Interrupted);
        assert!(!setup.stored("k"));
    }
}

#[test]
fn what_an_overtaken_write_stores_is_never_served_nor_kept() {
    let setup = Setup::new();
    let cache = setup.process();
    setup.remote.hold("set", false);
    let mut leader = cache.get_or_load(lookup("k"), || async { Ok("old".to_owned()) });
    pending(&mut leader);
    now(cache.remove(lookup("k"))).expect("the remote answers");
    // It is stored after the removal, and not yet taken back.
    setup.remote.hold("set", true);
    pending(&mut leader);
    assert!(setup.stored("k"));
    assert_eq!(value_of(&cache, "k"), None);
    let mut later = cache.get_or_load(lookup("k"), || async { Ok("new".to_owned()) });
    pending(&mut later);
    setup.remote.let_go();
    assert_eq!(ready(&mut leader).expect("its caller gets it").value, "old");
    let served = ready(&mut later).expect("it loads");
    assert_eq!((served.value.as_str(), served.from), ("new", Source::Load));
    assert_eq!(cache.local().get("k").as_deref(), Some("new"));
    assert!(!setup.stored("k"), "nobody can tell whose entry it is");
    assert_eq!(call(&setup.process(), "k").from, Source::Load);
    cache.local().clear();
    assert_eq!(call(&cache, "k").from, Source::L2, "it is over");
}

#[test]
fn a_value_that_expires_while_it_is_stored_is_served_no_longer() {
    for l1 in [true, false] {
        let mut setup = Setup::new();
        setup.options.l1 = l1;
        let cache = setup.process();
        setup.remote.hold("set", false);
        let mut leader = cache.get_or_load(lookup("k"), || async { Ok("old".to_owned()) });
        pending(&mut leader);
        setup.advance(TTL / 2);
        assert_eq!(call(&cache, "k").value, "old");
        setup.advance(TTL / 2);
        let mut later = cache.get_or_load(lookup("k"), || async { Ok("new".to_owned()) });
        pending(&mut later);
        setup.remote.let_go();
        let served = ready(&mut later).expect("it loads");
        assert_eq!((served.value.as_str(), served.from), ("new", Source::Load));
        assert_eq!(ready(&mut leader).expect("it has it").value, "old");
        assert_eq!(cache.local().get("k").as_deref(), l1.then_some("new"));
        assert!(!setup.stored("k"), "the old one came last");

        // And so for a value that is set.
        setup.remote.hold("set", false);
        let mut setting = Box::pin(cache.set(lookup("k"), "old".to_owned()));
        pending(&mut setting);
        assert_eq!(call(&cache, "k").value, "old");
        setup.advance(TTL);
        let mut later = cache.get_or_load(lookup("k"), || async { Ok("new".to_owned()) });
        pending(&mut later);
        setup.remote.let_go();
        assert_eq!(ready(&mut later).expect("it loads").from, Source::Load);
    }
}

#[test]
fn nobody_reads_the_old_entry_while_a_value_is_set() {
    let setup = Setup::new();
    call(&setup.process(), "k");
    let cache = setup.process();
    setup.remote.hold("set", false);
    let mut setting = Box::pin(cache.set(lookup("k"), "new".to_owned()));
    pending(&mut setting);
    // Evicted at once.
    cache.local().clear();
    let served = call(&cache, "k");
    assert_eq!(
        (served.value.as_str(), served.from),
        ("new", Source::Flight)
    );
    setup.remote.let_go();
    ready(&mut setting).expect("the remote answers");
    assert_eq!(value_of(&cache, "k").as_deref(), Some("new"));
}

#[test]
fn a_value_that_was_invalidated_while_it_was_set_is_taken_back() {
    let stored_by = |setup: &Setup, cache: &TestCache| {
        setup.remote.hold("set", false);
        let mut setting = Box::pin(cache.set(lookup("k"), "old".to_owned()));
        pending(&mut setting);
        setting
    };
    for dropped in [false, true] {
        let setup = Setup::new();
        let cache = setup.process();
        let mut setting = stored_by(&setup, &cache);
        now(cache.remove(lookup("k"))).expect("the remote answers");
        if dropped {
            drop(setting);
            setup.remote.let_go();
            run_spawned(&cache);
        } else {
            setup.remote.let_go();
            ready(&mut setting).expect("the remote answers");
        }
        assert!(!setup.stored("k"));
        assert_eq!(value_of(&cache, "k"), None);
        assert_eq!(cache.in_flight(), 0);
    }

    // By a later one, which the remote tier has before.
    let setup = Setup::new();
    let cache = setup.process();
    let mut setting = stored_by(&setup, &cache);
    setup.remote.let_go();
    now(cache.set(lookup("k"), "new".to_owned())).expect("the remote answers");
    ready(&mut setting).expect("the remote answers");
    assert_eq!(value_of(&cache, "k").as_deref(), Some("new"));
    assert_eq!(
        value_of(&setup.process(), "k"),
        None,
        "rather none than the old one"
    );
}

#[test]
fn what_was_read_before_an_invalidation_is_not_kept_after_it() {
    for by_get in [false, true] {
        let setup = Setup::new();
        call(&setup.process(), "k");
        let cache = setup.process();
        setup.remote.hold("get", true);
        let load = || async { Ok("loaded k".to_owned()) };
        let mut get = Box::pin(cache.get(lookup("k")));
        let mut leader = cache.get_or_load(lookup("k"), load);
        if by_get {
            pending(&mut get);
        } else {
            pending(&mut leader);
        }
        assert!(now(cache.remove(lookup("k"))).expect("the remote answers"));
        setup.remote.let_go();
        if by_get {
            assert!(ready(&mut get).expect("it was read").is_some());
        } else {
            assert_eq!(ready(&mut leader).expect("it was read").from, Source::L2);
        }
        assert!(cache.local().is_empty());
        assert_eq!(value_of(&cache, "k"), None);
    }
}

#[test]
fn what_is_read_during_a_removal_is_gone_after_it() {
    let setup = Setup::new();
    call(&setup.process(), "k");
    let cache = setup.process();
    setup.remote.hold("remove", false);
    let mut removal = Box::pin(cache.remove(lookup("k")));
    pending(&mut removal);
    assert_eq!(call(&cache, "k").from, Source::L2);
    setup.remote.let_go();
    assert!(ready(&mut removal).expect("the remote answers"));
    assert_eq!(value_of(&cache, "k"), None);

    call(&setup.process(), "k");
    setup.remote.hold("set", false);
    let mut clearing = Box::pin(cache.clear());
    pending(&mut clearing);
    assert_eq!(call(&cache, "k").from, Source::L2);
    setup.remote.let_go();
    ready(&mut clearing).expect("the remote answers");
    assert_eq!(value_of(&cache, "k"), None);
}

#[test]
fn a_load_alone_is_kept_unless_it_was_overtaken_and_never_waits() {
    let setup = Setup::new();
    let cache = setup.process();
    let alone = |fresh: bool, value: &str| {
        let value = value.to_owned();
        Box::pin(cache.load_alone(lookup("k"), async { Ok(value) }, fresh))
    };
    let ending = Ending::default();
    let mut running = Box::pin(cache.load_alone(lookup("k"), ending.load(), false));
    pending(&mut running);
    assert_eq!(
        now(alone(false, "beside it")).expect("it loads"),
        "beside it"
    );
    assert_eq!(cache.local().get("k"), None, "it has no lead");
    now(cache.remove(lookup("k"))).expect("the remote answers");
    ending.end(Ok("old".to_owned()));
    assert_eq!(ready(&mut running).expect("its caller gets it"), "old");
    assert_eq!(cache.local().get("k"), None, "it was invalidated");
    now(alone(false, "new")).expect("it loads");
    assert_eq!(cache.local().get("k").as_deref(), Some("new"));
    now(alone(true, "fresh")).expect("it loads");
    assert_eq!(cache.local().get("k").as_deref(), Some("fresh"));
    assert_eq!(setup.remote.counts(), (0, 0, 1), "but for the removal");
    assert_eq!(cache.in_flight(), 0);
}

#[test]
fn removal_says_whether_there_was_something() {
    let setup = Setup::new();
    let (one, other) = (setup.process(), setup.process());
    assert!(!now(one.remove(lookup("k"))).expect("the remote answers"));
    call(&one, "k");
    assert!(now(other.remove(lookup("k"))).expect("the remote answers"));
    assert_eq!(
        value_of(&one, "k").as_deref(),
        Some("loaded k"),
        "it lives in its own process"
    );
    assert!(now(one.remove(lookup("k"))).expect("the remote answers"));
}

#[test]
fn set_is_a_load_that_needed_no_function() {
    let setup = Setup::new();
    let (one, other) = (setup.process(), setup.process());
    now(one.clear()).expect("the remote answers");
    now(one.set(lookup("k"), "put".to_owned())).expect("the remote answers");
    assert_eq!(
        call(&one, "k"),
        Served {
            value: "put".to_owned(),
            from: Source::L1
        }
    );
    assert_eq!(
        call(&other, "k"),
        Served {
            value: "put".to_owned(),
            from: Source::L2
        }
    );
    assert_eq!(setup.remote.store.lifetime(&Setup::name("k")), Some(TTL));
}

#[test]
fn refresh_replaces_what_is_there() {
    let setup = Setup::new();
    let cache = setup.process();
    call(&cache, "k");
    let fresh = now(cache.refresh(lookup("k"), || async { Ok("new".to_owned()) }));
    assert_eq!(fresh.expect("it loads").value, "new");
    assert_eq!(value_of(&cache, "k").as_deref(), Some("new"));
    assert_eq!(value_of(&setup.process(), "k").as_deref(), Some("new"));
    let failed = now(cache.refresh(lookup("k"), || async { Err(Problem::Failed) }));
    assert!(matches!(failed, Err(Failure::Raised { leader: true, .. })));
    assert_eq!(
        value_of(&cache, "k").as_deref(),
        Some("new"),
        "the old one is still good"
    );
}

#[test]
fn a_generation_that_is_no_number_stops_writes_until_the_next_clear() {
    let setup = Setup::new();
    let name = Identity::new("test", "f", None).generation_name().unwrap();
    setup
        .remote
        .store
        .set_now(&name, Bytes::from_static(b"what?"), None);
    call(&setup.process(), "k");
    assert!(!setup.stored("k"));
    assert_eq!(
        setup.metrics.lookups.value(Tier::L2, LookupOutcome::Error),
        1
    );
    now(setup.process().clear()).expect("the remote answers");
    call(&setup.process(), "k");
    assert!(setup.stored("k"));
}

#[test]
fn an_entry_that_names_no_generation_is_there_until_it_is_removed() {
    for format in ["bytestorage", "interop"] {
        let mut setup = Setup::new();
        setup.options.envelope = format;
        let (one, other) = (setup.process(), setup.process());
        call(&one, "k");
        now(one.clear()).expect("the remote answers");
        assert_eq!(call(&other, "k").from, Source::L2, "{format}");
        assert_eq!(
            value_of(&setup.process(), "k").as_deref(),
            Some("loaded k"),
            "{format}"
        );
    }
}
