//! Sealed entries and hidden names in a cache: what others see of them, and what they can do to them.

use bytes::Bytes;

use super::support::*;
use crate::cache::*;
use crate::keyring::{Keyring, MasterKey};
use crate::l1::{L1, Limits};
use crate::shim::Mutex;

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes(&[byte; 32]).expect("32 bytes")
}

fn keyring(current: u8, previous: &[u8]) -> Arc<Keyring> {
    let previous = previous.iter().map(|byte| master(*byte)).collect();
    Arc::new(Keyring::new(master(current), previous).expect("few keys"))
}

/// Processes without a tier of their own.
fn sealing() -> Setup {
    let mut setup = Setup::new();
    setup.options.envelope = "sealed";
    setup.options.l1 = false;
    setup
}

fn hiding() -> Setup {
    let mut setup = Setup::new();
    setup.options.hide_keys = true;
    setup.options.l1 = false;
    setup
}

impl Setup {
    fn with(&self, ring: &Arc<Keyring>) -> TestCache {
        self.build(self.builder().keyring(Arc::clone(ring)))
    }

    fn names(&self) -> Vec<Vec<u8>> {
        self.remote.store.keys()
    }

    fn lookups(&self, outcome: LookupOutcome) -> u64 {
        self.metrics.lookups.value(Tier::L2, outcome)
    }
}

#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Notice for Told {
    fn unstorable(&self, error: Error) -> Result<()> {
        Err(error)
    }

    fn tampered(&self, error: &Error) {
        self.0.with(|told| told.push(error.to_string()));
    }
}

#[test]
fn what_is_to_be_sealed_or_hidden_needs_a_key() {
    for setup in [sealing(), hiding()] {
        let local = L1::new(Limits {
            max_entries: 1,
            max_bytes: 1,
        });
        let built: Result<TestCache> = setup.builder().build(
            local.on_clock(Arc::clone(&setup.clock)),
            MessagePack::new(),
            None,
            setup.driver(),
        );
        let error = built.expect_err("it has no key");
        assert_eq!(error.code(), ErrorCode::KeyMissing, "{error}");
    }
}

#[test]
fn sealed_entries_are_not_kept_as_they_are_in_this_process() {
    let mut setup = sealing();
    setup.options.l1 = true;
    let local = L1::new(Limits {
        max_entries: 1,
        max_bytes: 1,
    });
    let built: Result<TestCache> = setup.builder().keyring(keyring(1, &[])).build(
        local.on_clock(Arc::clone(&setup.clock)),
        MessagePack::new(),
        None,
        setup.driver(),
    );
    let error = built.expect_err("plain values would stay in memory");
    assert_eq!(error.code(), ErrorCode::OptionInvalid, "{error}");
}

#[test]
fn processes_with_one_key_share_sealed_entries() {
    let setup = sealing();
    let [one, other] = [0, 0].map(|_| setup.with(&keyring(1, &[])));
    assert_eq!(call(&one, "k").from, Source::Load);
    let served = call(&other, "k");
    assert_eq!(
        (served.value.as_str(), served.from),
        ("loaded k", Source::L2)
    );
    let stored = setup.entry("k");
    assert!(!stored.windows(6).any(|bytes| bytes == b"loaded"));
}

#[test]
fn tampering_is_a_miss_that_is_told_of_and_counted() {
    let setup = sealing();
    let told = Told::default();
    let builder = setup.builder().keyring(keyring(1, &[]));
    let cache = setup.build(builder.notice(told.clone()));
    call(&cache, "k");
    let name = Setup::name("k");
    let mut stored = setup.entry("k").to_vec();
    let last = stored.len() - 1;
    stored[last] ^= 1;
    for (number, bytes) in [(1, Bytes::from(stored)), (2, Bytes::from_static(b"plain"))] {
        setup.remote.store.set_now(&name, bytes, None);
        assert_eq!(call(&cache, "k").from, Source::Load);
        assert_eq!(setup.lookups(LookupOutcome::Tampered), number);
        assert_eq!(told.0.with(|told| told.len() as u64), number);
    }
    assert_eq!(setup.lookups(LookupOutcome::Error), 0);
    assert_eq!(call(&cache, "k").from, Source::L2, "stored anew");
}

#[test]
fn tampering_is_an_error_for_who_asks_for_that() {
    let mut setup = sealing();
    setup.options.fail_closed = true;
    let cache = setup.with(&keyring(1, &[]));
    call(&cache, "k");
    setup
        .remote
        .store
        .set_now(&Setup::name("k"), Bytes::from_static(b"x"), None);
    let load = || async { Ok("v".to_owned()) };
    let refused = now(cache.get_or_load(lookup("k"), load));
    let Err(Failure::Refused(error)) = refused else {
        panic!("{refused:?}");
    };
    assert_eq!(error.code(), ErrorCode::EnvelopeTampered, "{error}");
    assert!(now(cache.get(lookup("k"))).is_err());
    assert_eq!(setup.lookups(LookupOutcome::Tampered), 2);
    // A failing remote is no tampering, nor is an entry of a process that has a newer key.
    setup.remote.fail(Some(ErrorCode::RemoteUnavailable));
    assert!(now(cache.get_or_load(lookup("k"), load)).is_ok());
    setup.remote.fail(None);
    let newer = setup.with(&keyring(2, &[1]));
    assert!(now(newer.set(lookup("k"), "newer".to_owned())).is_ok());
    assert!(now(cache.get_or_load(lookup("k"), load)).is_ok());
    assert_eq!(setup.lookups(LookupOutcome::Tampered), 2);
}

#[test]
fn a_rotation_while_it_runs_keeps_what_is_stored() {
    let setup = sealing();
    let ring = keyring(1, &[]);
    let cache = setup.with(&ring);
    call(&cache, "k");
    ring.rotate(master(2), vec![master(1)]).expect("few keys");
    assert_eq!(call(&cache, "k").from, Source::L2);
    call(&cache, "new");
    assert_eq!(
        call(&setup.with(&keyring(2, &[])), "new").from,
        Source::L2,
        "sealed under the new key"
    );
    ring.rotate(master(2), Vec::new()).expect("one key");
    assert_eq!(call(&cache, "k").from, Source::Load, "its key is gone");
}

#[test]
fn hidden_names_show_neither_function_nor_arguments() {
    let setup = hiding();
    let cache = setup.with(&keyring(1, &[]));
    call(&cache, "k");
    assert!(now(cache.clear()).is_ok());
    let plain = Setup::name("k");
    let hash = lookup("k").hash.to_hex();
    assert_eq!(setup.names().len(), 2, "an entry and a generation");
    for name in setup.names() {
        let text = String::from_utf8(name.clone()).expect("names are text");
        assert_eq!(text.len(), 3 + 64, "{text}");
        assert_ne!(name, plain);
        for shown in ["test", "f:", "gen", &hash] {
            assert!(!text[3..].contains(shown), "{text}");
        }
    }
    assert!(setup.names().contains(&cache.entry_name(&lookup("k").hash)));
    let other = setup.with(&keyring(2, &[]));
    assert_eq!(
        call(&other, "k").from,
        Source::Load,
        "another key, other names"
    );
}

#[test]
fn after_a_rotation_hidden_names_of_before_are_asked_for_at_once() {
    let setup = hiding();
    let old = setup.with(&keyring(1, &[]));
    call(&old, "k");
    let new = setup.with(&keyring(2, &[1]));
    let (gets, ..) = setup.remote.counts();
    assert_eq!(call(&new, "k").from, Source::L2);
    assert_eq!(setup.remote.counts().0, gets + 1, "one round trip");

    // What is put under the new name takes the place of what is under the old one.
    assert!(now(new.set(lookup("k"), "newer".to_owned())).is_ok());
    assert_eq!(setup.names().len(), 1);
    assert_eq!(call(&new, "k").value, "newer");

    // Whoever invalidates, invalidates both.
    call(&old, "k");
    assert_eq!(setup.names().len(), 2);
    assert!(now(new.remove(lookup("k"))).expect("removed"));
    assert!(setup.names().is_empty());

    call(&old, "k");
    assert!(now(new.clear()).is_ok());
    assert_eq!(
        call(&new, "k").from,
        Source::Load,
        "it is of before the clear"
    );
    assert_eq!(
        call(&old, "k").from,
        Source::Load,
        "as it is for the others"
    );
}
