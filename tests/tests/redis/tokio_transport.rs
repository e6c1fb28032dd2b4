//! The transport of async Rust against a real server.

use std::time::Duration;

use cachekit_runtime::clock::{Clock, SystemClock};
use cachekit_runtime::error::ErrorCode;
use cachekit_tests::redis_server::RedisServer;

use crate::common::{
    assert_refused, every_command, every_refusal, get, get_by, set, tokio as remote, within,
};

fn connections(server: &RedisServer) -> usize {
    let list = server.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    list.lines()
        .filter(|line| !line.contains("cmd=client|list"))
        .count()
}

#[tokio::test]
async fn commands_over_tcp_and_unix() {
    let server = RedisServer::start();
    for url in [server.url(), server.unix_url()] {
        assert_eq!(server.command(&["FLUSHALL"]), "+OK");
        let remote = remote(&url);
        every_command(&remote, &server).await;
        every_refusal(&remote, &server).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_tasks_share_one_connection() {
    let server = RedisServer::start();
    let remote = remote(&server.url());
    let tasks: Vec<_> = (0..200)
        .map(|n| {
            let remote = remote.clone();
            tokio::spawn(async move {
                let key = n.to_string();
                set(&remote, &key, &key).await.unwrap();
                assert_eq!(get(&remote, &key).await.unwrap(), Some(key));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(connections(&server), 1);
}

#[tokio::test]
async fn a_server_that_restarted_between_calls_is_not_noticed() {
    let mut server = RedisServer::start();
    let remote = remote(&server.url());
    set(&remote, "k", "v").await.unwrap();
    server.restart();
    assert_eq!(get(&remote, "k").await.unwrap(), None);
    server.kill();
    assert_eq!(
        get(&remote, "k").await.unwrap_err().code(),
        ErrorCode::RemoteUnavailable
    );
    server.restart();
    assert_eq!(get(&remote, "k").await.unwrap(), None);
}

#[tokio::test]
async fn a_stopped_server_costs_the_timeout_and_no_reply_goes_astray() {
    let server = RedisServer::start();
    let remote = remote(&server.url());
    set(&remote, "a", "A").await.unwrap();
    set(&remote, "b", "B").await.unwrap();
    let before = server.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    let before = before.split_whitespace().next().unwrap().to_owned() + " ";
    server.pause();
    for _ in 0..2 {
        let begun = SystemClock.now();
        let error = get_by(&remote, "a", within(200)).await.unwrap_err();
        assert_eq!(error.code(), ErrorCode::RemoteTimeout);
        assert!(SystemClock.now().since(begun) < Duration::from_millis(400));
    }
    server.resume();
    assert_eq!(get(&remote, "b").await.unwrap().as_deref(), Some("B"));
    let after = server.command(&["CLIENT", "LIST", "TYPE", "normal"]);
    assert!(!after.contains(&before), "{before} is still there: {after}");
    assert_eq!(connections(&server), 1, "those that timed out are closed");
    assert_eq!(
        get_by(&remote, "b", SystemClock.now())
            .await
            .unwrap_err()
            .code(),
        ErrorCode::RemoteTimeout
    );
}

#[tokio::test]
async fn being_let_in() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret", "--databases", "4"]);
    let host = server.url().trim_start_matches("redis://").to_owned();
    set(&remote(&format!("redis://:s3cret@{host}/3")), "k", "v")
        .await
        .unwrap();
    for (url, text) in [
        (format!("redis://:wr0ng@{host}"), "WRONGPASS"),
        (format!("redis://{host}"), "NOAUTH"),
        (format!("redis://:s3cret@{host}/4"), "refused"),
    ] {
        let refused = get(&remote(&url), "k").await.unwrap_err();
        assert_refused(&refused, text);
        assert!(!format!("{refused} {refused:?}").contains("wr0ng"));
    }
}

#[test]
fn a_connection_of_a_runtime_that_has_ended_is_replaced() {
    let server = RedisServer::start();
    let remote = remote(&server.url());
    for _ in 0..2 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(set(&remote, "k", "v")).unwrap();
    }
}
