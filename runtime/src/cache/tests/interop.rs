//! Entries that SDKs of all languages share: the document under its name, and nothing else.

use super::support::*;
use crate::cache::*;
use crate::interop;
use crate::keyring::MasterKey;

/// A process that shares its entries.
fn sharing(setup: &Setup, keyring: Option<Keyring>) -> TestCache {
    let identity = interop::identity("users", "get_user").expect("plain segments");
    let builder = Builder::new(identity, setup.options.clone()).metrics(setup.metrics);
    setup.build(match keyring {
        Some(keyring) => builder.keyring(Arc::new(keyring)),
        None => builder,
    })
}

fn setup(envelope: &'static str) -> Setup {
    let mut setup = Setup::new();
    setup.options.envelope = envelope;
    setup.options.l1 = false;
    setup
}

fn of(key: &str) -> Lookup<String> {
    interop::lookup(key.to_owned()).expect("text is an argument")
}

fn call(cache: &TestCache, key: &str) -> Served<String> {
    let loaded = format!("loaded {key}");
    now(cache.get_or_load(of(key), || async { Ok(loaded) })).expect("nothing fails")
}

#[test]
fn an_entry_is_its_document_under_the_published_name() {
    let setup = setup("interop");
    let (one, other) = (sharing(&setup, None), sharing(&setup, None));
    assert_eq!(call(&one, "a").from, Source::Load);
    let name = format!("users:get_user:{}", of("a").hash).into_bytes();
    assert_eq!(
        setup.remote.store.keys(),
        std::slice::from_ref(&name),
        "no generation either"
    );
    assert_eq!(
        setup.remote.store.get_now(&name).unwrap(),
        b"\xa8loaded a"[..]
    );
    let lifetime = setup.remote.store.lifetime(&name).expect("it expires");
    assert!(lifetime <= TTL && lifetime > TTL / 2);
    assert_eq!(call(&other, "a").from, Source::L2);
    setup
        .remote
        .store
        .set_now(&name, b"\xd9\x03new"[..].into(), None);
    assert_eq!(call(&one, "a").value, "new", "in whatever form");
    assert!(now(one.remove(of("a"))).expect("the remote answers"));
    assert_eq!(call(&other, "a").from, Source::Load);
    setup
        .remote
        .store
        .set_now(&name, b"\xa1a\xa1b"[..].into(), None);
    assert_eq!(call(&one, "a").from, Source::Load, "more than one document");
}

#[test]
fn what_others_share_is_not_cleared_in_silence() {
    let mut setup = setup("interop");
    setup.options.l1 = true;
    let cache = sharing(&setup, None);
    call(&cache, "a");
    let error = now(cache.clear()).expect_err("there is no generation");
    assert_eq!(error.code(), ErrorCode::ClearUnsupported);
    assert!(error.to_string().contains("users:get_user"), "{error}");
    assert_eq!(call(&cache, "a").from, Source::L2, "in this process it is");
    now(cache.set(of("a"), "put".to_owned())).expect("the remote answers");
    now(cache.remove(of("a"))).expect("the remote answers");
    now(cache.refresh(of("a"), || async { Ok("fresh".to_owned()) })).expect("nothing fails");
    assert_eq!(call(&sharing(&setup, None), "a").value, "fresh");
}

#[test]
fn encrypted_entries_take_the_key_and_their_place() {
    let setup = setup("interop_sealed");
    let keyring = |byte| {
        let master = MasterKey::from_bytes(&[byte; 32]).expect("32 bytes");
        Keyring::new(master, Vec::new()).expect("one key")
    };
    let one = sharing(&setup, Some(keyring(1)));
    call(&one, "a");
    let name = one.entry_name(&of("a").hash);
    let entry = setup.remote.store.get_now(&name).unwrap();
    assert_eq!(entry.len(), 12 + b"\xa8loaded a".len() + 16);
    assert_eq!(
        call(&sharing(&setup, Some(keyring(1))), "a").from,
        Source::L2
    );
    assert_eq!(
        call(&sharing(&setup, Some(keyring(2))), "a").from,
        Source::Load
    );
    setup
        .remote
        .store
        .set_now(&one.entry_name(&of("b").hash), entry, None);
    assert_eq!(
        call(&one, "b").from,
        Source::Load,
        "an entry of another key"
    );
}
