//! What every transport must do, and what the tests share.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cachekit_runtime::clock::{Clock, Instant, SystemClock};
use cachekit_runtime::driver::blocking::run;
use cachekit_runtime::error::{Error, ErrorCode, Result};
use cachekit_runtime::interrupt::Uninterrupted;
use cachekit_runtime::remote::Remote;
use cachekit_runtime::remote::redis::{Blocking, Redis, Tokio};
use cachekit_tests::redis_server::RedisServer;

/// A transport of threads to `url`.
pub(crate) fn blocking(url: &str) -> Redis<Blocking> {
    Redis::new(Blocking::new(url.parse().unwrap(), Arc::new(Uninterrupted)))
}

/// A transport of tasks to `url`.
pub(crate) fn tokio(url: &str) -> Redis<Tokio> {
    Redis::new(Tokio::new(url.parse().unwrap()))
}

/// Runs `future` on this thread.
pub(crate) fn wait<T>(future: impl Future<Output = T>) -> T {
    run(future, &Uninterrupted).unwrap()
}

/// A deadline far enough for a machine under load.
pub(crate) fn soon() -> Instant {
    within(10_000)
}

pub(crate) fn within(millis: u64) -> Instant {
    SystemClock.now().after(Duration::from_millis(millis))
}

pub(crate) async fn set(remote: &impl Remote, key: &str, value: &str) -> Result<()> {
    remote
        .set(
            key.as_bytes(),
            Bytes::copy_from_slice(value.as_bytes()),
            None,
            soon(),
        )
        .await
}

pub(crate) async fn get(remote: &impl Remote, key: &str) -> Result<Option<String>> {
    get_by(remote, key, soon()).await
}

pub(crate) async fn get_by(
    remote: &impl Remote,
    key: &str,
    deadline: Instant,
) -> Result<Option<String>> {
    let values = remote.get(&[key.as_bytes()], None, deadline).await?;
    assert_eq!(values.len(), 1);
    Ok(values
        .into_iter()
        .next()
        .flatten()
        .map(|value| String::from_utf8(value.to_vec()).unwrap()))
}

pub(crate) fn assert_refused(error: &Error, text: &str) {
    assert_eq!(error.code(), ErrorCode::RemoteRefused, "{error}");
    assert!(error.to_string().contains(text), "{error}");
}

/// The commands and their replies, in every shape that the read path meets.
pub(crate) async fn every_command(remote: &impl Remote, server: &RedisServer) {
    // Values of every size around the limits of copying and of one read.
    for size in [
        0, 1, 1000, 8191, 8192, 16_383, 16_384, 16_385, 300_000, 5_000_000,
    ] {
        let value: Bytes = (0..size)
            .map(|n| u8::try_from(n % 251).unwrap())
            .collect::<Vec<_>>()
            .into();
        let lifetime = (size % 2 == 0).then_some(Duration::from_secs(100));
        remote
            .set(b"value", value.clone(), lifetime, soon())
            .await
            .unwrap();
        let read = remote.get(&[b"value"], None, soon()).await.unwrap();
        assert_eq!(read, [Some(value)], "{size}");
    }

    // Order, absence, a key twice, and a key that holds something else.
    set(remote, "a", "1").await.unwrap();
    set(remote, "\r\n\0b", "$-1\r\n").await.unwrap();
    assert_eq!(server.command(&["RPUSH", "list", "x"]), ":1");
    let keys: &[&[u8]] = &[b"none", b"\r\n\0b", b"a", b"list", b"a"];
    let read = remote.get(keys, None, soon()).await.unwrap();
    let one = Some(Bytes::from("1"));
    assert_eq!(read, [None, Some("$-1\r\n".into()), one.clone(), None, one]);
    assert_eq!(
        remote.get(&[], None, soon()).await.unwrap(),
        Vec::<Option<Bytes>>::new()
    );
    set(remote, "list", "now a string").await.unwrap();

    // Lifetimes.
    let ttl = async |lifetime| {
        remote
            .set(b"lived", Bytes::from("x"), lifetime, soon())
            .await
            .unwrap();
        server
            .command(&["PTTL", "lived"])
            .trim_start_matches(':')
            .parse::<i64>()
            .unwrap()
    };
    assert!((990_000..=1_000_000).contains(&ttl(Some(Duration::from_secs(1000))).await));
    assert_eq!(
        ttl(None).await,
        -1,
        "the lifetime of what was there is gone too"
    );
    assert!(ttl(Some(Duration::MAX)).await > 1_000_000_000);
    assert!((-2..=1).contains(&ttl(Some(Duration::from_nanos(1))).await));

    // A read that renews: the first key alone, and only what is there.
    set(remote, "other", "y").await.unwrap();
    ttl(Some(Duration::from_secs(10))).await;
    let left = |key| -> i64 {
        let reply = server.command(&["PTTL", key]);
        reply.trim_start_matches(':').parse().unwrap()
    };
    let renew = async |keys: &[&[u8]], lifetime| remote.get(keys, Some(lifetime), soon()).await;
    let long = Duration::from_secs(1000);
    let read = renew(&[b"lived", b"none", b"other"], long).await.unwrap();
    assert_eq!(read, [Some("x".into()), None, Some("y".into())]);
    assert!((990_000..=1_000_000).contains(&left("lived")));
    assert_eq!(left("other"), -1);
    assert_eq!(
        renew(&[b"none", b"lived"], long / 2).await.unwrap(),
        [None, Some("x".into())]
    );
    assert!((990_000..=1_000_000).contains(&left("lived")));
    assert_eq!(left("none"), -2);
    renew(&[b"lived"], Duration::MAX).await.unwrap();
    assert!(left("lived") > 1_000_000_000);

    // Removal counts what was there.
    let keys: &[&[u8]] = &[b"a", b"none", b"value"];
    assert_eq!(remote.remove(keys, soon()).await.unwrap(), 2);
    assert_eq!(remote.remove(&[], soon()).await.unwrap(), 0);
    assert_eq!(get(remote, "a").await.unwrap(), None);
}

/// Errors of the server come back with its text, and the connection goes on.
pub(crate) async fn every_refusal(remote: &impl Remote, server: &RedisServer) {
    let configure =
        |name, value| assert_eq!(server.command(&["CONFIG", "SET", name, value]), "+OK");
    set(remote, "kept", "1").await.unwrap();

    configure("maxmemory", "1");
    let refused = set(remote, "x", "1").await.unwrap_err();
    assert_refused(&refused, "refused set: OOM command not allowed");
    configure("maxmemory", "0");

    assert_eq!(server.command(&["REPLICAOF", "127.0.0.1", "1"]), "+OK");
    assert_refused(&set(remote, "x", "1").await.unwrap_err(), "READONLY");
    assert_eq!(get(remote, "kept").await.unwrap().as_deref(), Some("1"));
    let renewed = remote
        .get(&[b"kept"], Some(Duration::from_secs(9)), soon())
        .await;
    assert_eq!(renewed.unwrap(), [Some("1".into())], "read, if not renewed");
    assert_eq!(server.command(&["REPLICAOF", "NO", "ONE"]), "+OK");

    // Without the permission to use a key.
    assert_eq!(
        server.command(&["ACL", "SETUSER", "default", "resetkeys", "~kept"]),
        "+OK"
    );
    let refused = get(remote, "secret-key").await.unwrap_err();
    assert_refused(&refused, "NOPERM");
    assert!(!format!("{refused} {refused:?}").contains("secret-key"));
    assert_eq!(
        server.command(&["ACL", "SETUSER", "default", "allkeys"]),
        "+OK"
    );
    assert_eq!(get(remote, "kept").await.unwrap().as_deref(), Some("1"));
}
