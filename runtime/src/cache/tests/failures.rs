use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;

use super::support::*;
use crate::cache::*;
use crate::generated::metrics::{LoadOutcome, RemoteOperation, RemoteOutcome};
use crate::shim::Mutex;

#[test]
fn a_remote_that_fails_at_the_read_is_a_miss_and_is_not_asked_to_write() {
    for code in [ErrorCode::RemoteTimeout, ErrorCode::RemoteUnavailable] {
        let setup = Setup::new();
        let cache = setup.process();
        setup.remote.fail(Some(code));
        assert_eq!(call(&cache, "k").from, Source::Load);
        assert_eq!(
            setup.remote.counts(),
            (1, 0, 0),
            "a second timeout would help nobody"
        );
        assert_eq!(call(&cache, "k").from, Source::L1);
        assert_eq!(
            setup.metrics.lookups.value(Tier::L2, LookupOutcome::Error),
            1
        );
        assert_eq!(
            setup.metrics.lookups.value(Tier::L2, LookupOutcome::Miss),
            0
        );
    }
}

#[test]
fn a_remote_that_fails_at_the_write_does_not_reach_the_caller() {
    let setup = Setup::new();
    let cache = setup.process();
    let remote = setup.remote.clone();
    let load = move || async move {
        remote.fail(Some(ErrorCode::RemoteRefused));
        Ok("v".to_owned())
    };
    assert_eq!(
        now(cache.get_or_load(lookup("k"), load))
            .expect("it loads")
            .from,
        Source::Load
    );
    let counted = &setup.metrics.remote_operations;
    assert_eq!(counted.value(RemoteOperation::Set, RemoteOutcome::Error), 1);
    assert_eq!(call(&cache, "k").from, Source::L1);
}

#[test]
fn operations_that_are_asked_for_by_name_report_what_failed() {
    let setup = Setup::new();
    let cache = setup.process();
    setup.remote.fail(Some(ErrorCode::RemoteUnavailable));
    let code = |result: Result<()>| result.expect_err("the remote is down").code();
    assert_eq!(
        code(now(cache.set(lookup("k"), "v".into()))),
        ErrorCode::RemoteUnavailable
    );
    assert_eq!(call(&cache, "k").from, Source::L1, "this process has it");
    let removed = now(cache.remove(lookup("k"))).map(drop);
    assert_eq!(code(removed), ErrorCode::RemoteUnavailable);
    assert_eq!(code(now(cache.clear())), ErrorCode::RemoteUnavailable);
    assert!(cache.local().is_empty());
    assert!(
        matches!(now(cache.get(lookup("k"))), Ok(None)),
        "a read is a miss"
    );
}

#[test]
fn nothing_is_stored_when_the_load_fails() {
    let setup = Setup::new();
    let cache = setup.process();
    let ending = Ending::default();
    let mut leader = cache.get_or_load(lookup("k"), || ending.load());
    pending(&mut leader);
    let mut waiter =
        cache.get_or_load(lookup("k"), || async { panic!("it fails with the leader") });
    pending(&mut waiter);
    ending.end(Err(Problem::Failed));
    let Err(Failure::Raised {
        error,
        leader: true,
    }) = ready(&mut leader)
    else {
        panic!("the leader's load failed");
    };
    let Err(Failure::Raised {
        error: seen,
        leader: false,
    }) = ready(&mut waiter)
    else {
        panic!("the waiter's leader failed");
    };
    assert!(Arc::ptr_eq(&error, &seen));
    assert_eq!(*error, Problem::Failed);
    assert!(cache.local().is_empty() && !setup.stored("k"));
    assert_eq!(setup.metrics.loads.value(LoadOutcome::Error), 1);
    assert_eq!(call(&cache, "k").from, Source::Load);
}

#[test]
fn an_error_that_only_ends_its_caller_hands_over() {
    let setup = Setup::new();
    let cache = setup.process();
    let ending = Ending::default();
    let mut leader = cache.get_or_load(lookup("k"), || ending.load());
    pending(&mut leader);
    let mut waiter = cache.get_or_load(lookup("k"), || async { Ok("mine".to_owned()) });
    pending(&mut waiter);
    ending.end(Err(Problem::Cancelled));
    assert!(matches!(
        ready(&mut leader),
        Err(Failure::Raised { leader: true, .. })
    ));
    assert_eq!(
        ready(&mut waiter).expect("it loads itself").from,
        Source::Load
    );
    assert_eq!(setup.metrics.loads.value(LoadOutcome::Cancelled), 1);
    assert_eq!(setup.metrics.loads.value(LoadOutcome::Ok), 1);
}

#[test]
fn a_caller_that_goes_away_hands_over_wherever_it_was() {
    for held in ["get", "nothing"] {
        let setup = Setup::new();
        let cache = setup.process();
        setup.remote.hold(held, true);
        let ending = Ending::default();
        let mut leader = cache.get_or_load(lookup("k"), || ending.load());
        pending(&mut leader);
        let mut waiter = cache.get_or_load(lookup("k"), || async { Ok("mine".to_owned()) });
        pending(&mut waiter);
        setup.remote.let_go();
        drop(leader);
        assert_eq!(ready(&mut waiter).expect("it loads itself").value, "mine");
        assert_eq!(cache.in_flight(), 0);
        let cancelled = setup.metrics.loads.value(LoadOutcome::Cancelled);
        assert_eq!(cancelled, u64::from(held == "nothing"), "one had begun");
    }
}

#[test]
fn a_load_is_gone_before_the_next_one_begins() {
    struct Held<'a>(&'a TestCache, &'a AtomicU32);
    impl Drop for Held<'_> {
        fn drop(&mut self) {
            assert_eq!(self.0.in_flight(), 1, "it still has the lead");
            self.1.fetch_add(1, Ordering::Relaxed);
        }
    }
    let setup = Setup::new();
    let (cache, gone) = (setup.process(), AtomicU32::new(0));
    let held = Held(&cache, &gone);
    let mut ends = std::future::ready(Err(Problem::Cancelled));
    let load = std::future::poll_fn(move |cx| {
        let _held = &held;
        std::pin::Pin::new(&mut ends).poll(cx)
    });
    assert!(now(cache.get_or_load(lookup("k"), || load)).is_err());
    let held = Held(&cache, &gone);
    let mut leaves = cache.get_or_load(lookup("k"), || {
        std::future::poll_fn(move |_| {
            let _held = &held;
            std::task::Poll::Pending
        })
    });
    pending(&mut leaves);
    drop(leaves);
    assert_eq!((gone.into_inner(), cache.in_flight()), (2, 0));
}

#[test]
fn a_load_that_panics_hands_over() {
    let setup = Setup::new();
    let cache = setup.process();
    let ending = Ending::default();
    let waiting = ending.clone();
    let mut leader = Box::pin(cache.get_or_load(lookup("k"), move || async move {
        let _ = waiting.load().await;
        panic!("on purpose")
    }));
    pending(&mut leader);
    let mut waiter = cache.get_or_load(lookup("k"), || async { Ok("mine".to_owned()) });
    pending(&mut waiter);
    ending.end(Ok(String::new()));
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _ = step(&mut leader);
    }));
    assert!(panicked.is_err());
    assert_eq!(ready(&mut waiter).expect("it loads itself").value, "mine");
    let counts = [LoadOutcome::Ok, LoadOutcome::Error, LoadOutcome::Cancelled]
        .map(|outcome| setup.metrics.loads.value(outcome));
    assert_eq!(counts, [1, 1, 0]);
}

#[test]
fn a_caller_that_goes_away_during_the_write_loses_nothing() {
    let setup = Setup::new();
    let cache = setup.process();
    setup.remote.hold("set", false);
    let mut leader = cache.get_or_load(lookup("k"), || async { Ok("v".to_owned()) });
    pending(&mut leader);
    drop(leader);
    assert!(!setup.stored("k"));
    setup.remote.let_go();
    run_spawned(&cache);
    assert!(setup.stored("k"));
    assert_eq!(cache.in_flight(), 0);
}

#[test]
fn an_entry_that_does_not_open_is_a_miss_and_is_replaced() {
    let setup = Setup::new();
    call(&setup.process(), "k");
    let mut entry = setup.entry("k").to_vec();
    let last = entry.len() - 1;
    entry[last] ^= 1;
    let broken = [
        Bytes::from(entry),
        Bytes::new(),
        Bytes::from_static(b"not ours"),
        // Another key's entry, moved here.
        {
            call(&setup.process(), "other");
            setup.entry("other")
        },
    ];
    for (nth, broken) in broken.into_iter().enumerate() {
        setup.remote.store.set_now(&Setup::name("k"), broken, None);
        assert_eq!(call(&setup.process(), "k").from, Source::Load);
        assert_eq!(call(&setup.process(), "k").from, Source::L2);
        let errors = setup.metrics.lookups.value(Tier::L2, LookupOutcome::Error);
        assert_eq!(errors, nth as u64 + 1);
    }
}

/// Refuses what contains "secret", is interrupted at "wait", and reads back nothing that contains "odd". Counts what was
/// worth stepping aside for.
struct Picky(MessagePack<String>, Arc<AtomicU32>);

impl Codec<String> for Picky {
    fn serializer(&self) -> crate::generated::wire::Serializer {
        self.0.serializer()
    }
    fn encode(&self, value: &String) -> Result<Vec<u8>> {
        if value.contains("secret") {
            return Err(Error::new(ErrorCode::ValueUnsupported));
        }
        if value.contains("wait") {
            return Err(Error::new(ErrorCode::Interrupted));
        }
        self.0.encode(value)
    }
    fn decode(&self, bytes: &Bytes) -> Result<String> {
        let value = self.0.decode(bytes)?;
        if value.contains("odd") {
            Err(Error::new(ErrorCode::ValueCorrupt))
        } else {
            Ok(value)
        }
    }
    fn aside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.1.fetch_add(1, Ordering::Relaxed);
        work()
    }
}

#[derive(Clone, Default)]
struct Heard {
    codes: Arc<Mutex<Vec<ErrorCode>>>,
    strict: bool,
}

impl Notice for Heard {
    fn unstorable(&self, error: Error) -> Result<()> {
        self.codes.with(|codes| codes.push(error.code()));
        if self.strict { Err(error) } else { Ok(()) }
    }
}

fn picky(
    setup: &Setup,
    builder: Builder,
    aside: &Arc<AtomicU32>,
) -> Cache<Near, Picky, Problem, Probe, Bench> {
    let local = crate::l1::L1::new(crate::l1::Limits {
        max_entries: 10,
        max_bytes: 1 << 20,
    });
    builder
        .build(
            local.on_clock(Arc::clone(&setup.clock)),
            Picky(MessagePack::new(), Arc::clone(aside)),
            Some(Arc::new(setup.remote.clone())),
            setup.process().bound.driver.clone(),
        )
        .expect("the options are valid")
}

#[test]
fn only_long_work_is_worth_stepping_aside_for() {
    let setup = Setup::new();
    let aside = Arc::new(AtomicU32::new(0));
    let through = |key: &str, value: String| {
        let cache = picky(&setup, setup.builder(), &aside);
        let served = now(cache.get_or_load(lookup(key), || async { Ok(value) })).expect("served");
        (served.from, aside.swap(0, Ordering::Relaxed))
    };
    // It compresses to next to nothing: what counts is what it becomes.
    let long = || "x".repeat(1 << 20);
    assert_eq!(through("long", long()), (Source::Load, 1));
    assert_eq!(through("long", String::new()), (Source::L2, 1));
    assert_eq!(through("short", "x".to_owned()), (Source::Load, 0));
    assert_eq!(through("short", String::new()), (Source::L2, 0));
}

#[test]
fn a_value_that_cannot_be_stored_is_noticed_and_stays_here() {
    let mut setup = Setup::new();
    setup.options.max_value_bytes = 20;
    let heard = Heard::default();
    let cache = picky(
        &setup,
        setup.builder().notice(heard.clone()),
        &Arc::default(),
    );
    let call = |key: &str, value: &str| {
        let value = value.to_owned();
        now(cache.get_or_load(lookup(key), || async { Ok(value) }))
            .expect("loaded")
            .from
    };
    assert_eq!(call("a", "secret"), Source::Load);
    assert_eq!(call("a", "secret"), Source::L1);
    assert_eq!(call("b", "twenty and one bytes!"), Source::Load);
    let codes = heard.codes.with(std::mem::take);
    assert_eq!(
        codes,
        [ErrorCode::ValueUnsupported, ErrorCode::ValueTooLarge]
    );
    assert!(!setup.stored("a") && !setup.stored("b"));
    let put = now(cache.set(lookup("c"), "secret".to_owned()));
    assert_eq!(
        put.expect_err("it was asked for by name").code(),
        ErrorCode::ValueUnsupported
    );
    // Nor does what they replace stay in their place.
    assert_eq!(call("c2", "fine"), Source::Load);
    assert_eq!(call("c3", "fine"), Source::Load);
    assert!(setup.stored("c2") && setup.stored("c3"));
    assert!(now(cache.set(lookup("c2"), "secret".to_owned())).is_err());
    let secret = now(cache.refresh(lookup("c3"), || async { Ok("secret".to_owned()) }));
    assert_eq!(secret.expect("it loads").value, "secret");
    assert!(!setup.stored("c2") && !setup.stored("c3"));
    assert_eq!(call("d", "odd"), Source::Load);
    cache.local().clear();
    assert_eq!(call("d", "odd"), Source::Load, "it does not decode");
}

#[test]
fn a_strict_notice_fails_every_caller() {
    let mut setup = Setup::new();
    setup.options.max_value_bytes = 3;
    let heard = Heard {
        strict: true,
        ..Heard::default()
    };
    let cache = setup.build(setup.builder().notice(heard));
    let ending = Ending::default();
    let mut leader = cache.get_or_load(lookup("k"), || ending.load());
    pending(&mut leader);
    let mut waiter = cache.get_or_load(lookup("k"), || async { Ok("too long".to_owned()) });
    pending(&mut waiter);
    ending.end(Ok("too long".to_owned()));
    for result in [ready(&mut leader), ready(&mut waiter)] {
        let Err(Failure::Refused(error)) = result else {
            panic!("{result:?}")
        };
        assert_eq!(error.code(), ErrorCode::ValueTooLarge);
    }
    assert!(cache.local().is_empty());
}

#[test]
fn an_interrupt_reaches_its_caller_and_only_that() {
    let setup = Setup::new();
    let cache = setup.process();
    setup.remote.fail(Some(ErrorCode::Interrupted));
    let load = || async { panic!("the caller wants out") };
    let interrupted = now(cache.get_or_load(lookup("k"), load));
    assert!(matches!(interrupted, Err(Failure::Interrupted(_))));
    assert_eq!(cache.in_flight(), 0);
    setup.remote.fail(None);

    let remote = setup.remote.clone();
    let load = move || async move {
        remote.fail(Some(ErrorCode::Interrupted));
        Ok("v".to_owned())
    };
    assert!(matches!(
        now(cache.get_or_load(lookup("k"), load)),
        Err(Failure::Interrupted(_))
    ));
    assert_eq!(call(&cache, "k").from, Source::L1);
}

#[test]
fn an_interrupt_while_a_value_is_encoded_says_nothing_about_the_value() {
    let setup = Setup::new();
    let heard = Heard::default();
    let builder = setup.builder().notice(heard.clone());
    let cache = picky(&setup, builder, &Arc::default());
    let interrupted = now(cache.get_or_load(lookup("k"), || async { Ok("wait".to_owned()) }));
    assert!(matches!(interrupted, Err(Failure::Interrupted(_))));
    assert!(heard.codes.with(std::mem::take).is_empty());
    assert_eq!(cache.in_flight(), 0);
}

#[test]
fn of_two_errors_the_first_counts_unless_the_second_is_an_interrupt() {
    let both = |first: Option<ErrorCode>, second: Option<ErrorCode>| {
        let result = |code: Option<ErrorCode>| code.map_or(Ok(()), |code| Err(Error::new(code)));
        let both = crate::cache::call::both(result(first), result(second));
        both.err().map(|error| error.code())
    };
    let [timeout, refused, interrupted] = [
        Some(ErrorCode::RemoteTimeout),
        Some(ErrorCode::RemoteRefused),
        Some(ErrorCode::Interrupted),
    ];
    assert_eq!(both(None, None), None);
    assert_eq!(both(timeout, None), timeout);
    assert_eq!(both(None, refused), refused);
    assert_eq!(both(timeout, refused), timeout);
    assert_eq!(both(timeout, interrupted), interrupted);
}

#[test]
#[should_panic(expected = "polled after its result")]
fn a_call_gives_its_result_once() {
    let setup = Setup::new();
    let cache = setup.process();
    call(&cache, "k");
    let mut hit = cache.get_or_load(lookup("k"), || async { panic!("it is there") });
    assert!(ready(&mut hit).is_ok());
    let _ = step(&mut hit);
}

#[test]
fn an_option_out_of_range_is_an_error_at_build() {
    let mut setup = Setup::new();
    setup.options.ttl = Some(Duration::ZERO);
    let built: Result<TestCache> = setup.builder().build(
        crate::l1::L1::new(crate::l1::Limits {
            max_entries: 1,
            max_bytes: 1,
        })
        .on_clock(Arc::clone(&setup.clock)),
        MessagePack::new(),
        None,
        Setup::new().process().bound.driver.clone(),
    );
    assert_eq!(
        built.expect_err("zero is no lifetime").code(),
        ErrorCode::OptionInvalid
    );
}
