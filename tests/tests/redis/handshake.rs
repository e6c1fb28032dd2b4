//! Being let in, or not, on the transports that introduce themselves with our own bytes; and in a real cluster node.

use cachekit_tests::redis_server::RedisServer;

use crate::common::{assert_refused, blocking, get, set, wait};

fn host(server: &RedisServer) -> String {
    server.url().trim_start_matches("redis://").to_owned()
}

#[test]
fn passwords_and_users() {
    let server = RedisServer::start_with(&["--requirepass", "s3cret w0rd"]);
    let acl = ["ACL", "SETUSER", "ann", "on", ">ann's", "~*", "+@all"];
    // The helper's own connection is not let in either.
    assert!(server.command(&acl).starts_with("-NOAUTH"));
    let host = host(&server);
    let let_in = blocking(&format!("redis://:s3cret%20w0rd@{host}"));
    wait(set(&let_in, "k", "v")).unwrap();
    let by_name = blocking(&format!("redis://default:s3cret%20w0rd@{host}"));
    assert_eq!(wait(get(&by_name, "k")).unwrap().as_deref(), Some("v"));
    let unix = blocking(&format!("{}?pass=s3cret%20w0rd", server.unix_url()));
    assert_eq!(wait(get(&unix, "k")).unwrap().as_deref(), Some("v"));

    for (url, text) in [
        (format!("redis://:wr0ng@{host}"), "WRONGPASS"),
        (format!("redis://ann:wr0ng@{host}"), "WRONGPASS"),
        (format!("redis://{host}"), "NOAUTH"),
    ] {
        let refused = wait(get(&blocking(&url), "k")).unwrap_err();
        assert_refused(&refused, text);
        assert!(!format!("{refused} {refused:?}").contains("wr0ng"));
    }
}

#[test]
fn databases() {
    let server = RedisServer::start_with(&["--databases", "4"]);
    let (zero, three) = (
        blocking(&server.url()),
        blocking(&format!("{}/3", server.url())),
    );
    wait(set(&zero, "k", "zero")).unwrap();
    assert_eq!(wait(get(&three, "k")).unwrap(), None);
    let unix = blocking(&format!("{}?db=3", server.unix_url()));
    wait(set(&unix, "k", "three")).unwrap();
    assert_eq!(wait(get(&three, "k")).unwrap().as_deref(), Some("three"));
    assert_eq!(wait(get(&zero, "k")).unwrap().as_deref(), Some("zero"));
    let refused = wait(get(&blocking(&format!("{}/4", server.url())), "k")).unwrap_err();
    assert_refused(&refused, "refused select: ERR DB index is out of range");
}

#[test]
fn a_server_without_hello_is_spoken_to_the_old_way() {
    let server = RedisServer::start_with(&[
        "--rename-command",
        "HELLO",
        "",
        "--requirepass",
        "s3cret",
        "--databases",
        "4",
    ]);
    let host = host(&server);
    let old = blocking(&format!("redis://:s3cret@{host}/2"));
    wait(set(&old, "k", "v")).unwrap();
    assert_eq!(wait(get(&old, "k")).unwrap().as_deref(), Some("v"));
    assert_eq!(wait(get(&old, "none")).unwrap(), None);
    let refused = wait(get(&blocking(&format!("redis://:wr0ng@{host}")), "k")).unwrap_err();
    assert_refused(&refused, "refused authentication: WRONGPASS");
    assert!(!format!("{refused} {refused:?}").contains("wr0ng"));
    let refused = wait(get(&blocking(&format!("redis://{host}")), "k")).unwrap_err();
    assert_refused(&refused, "refused get: NOAUTH");
}

#[test]
fn a_server_with_neither_hello_nor_auth_does_not_make_us_tell_the_password() {
    let server = RedisServer::start_with(&[
        "--rename-command",
        "HELLO",
        "",
        "--rename-command",
        "AUTH",
        "",
    ]);
    let refused = wait(get(
        &blocking(&format!("redis://:s3cret@{}", host(&server))),
        "k",
    ));
    let refused = refused.unwrap_err();
    assert_refused(&refused, "unknown command");
    assert!(!format!("{refused} {refused:?}").contains("s3cret"));
}

#[test]
fn a_node_of_a_cluster_that_is_not_complete_says_so() {
    let server = RedisServer::start_with(&["--cluster-enabled", "yes"]);
    assert_refused(
        &wait(get(&blocking(&server.url()), "k")).unwrap_err(),
        "CLUSTERDOWN",
    );
}
