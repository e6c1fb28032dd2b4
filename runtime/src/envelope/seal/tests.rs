use super::*;
use crate::keyring::{Keyring, MasterKey};

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn keyring(masters: &[u8]) -> Keyring {
    let master = |byte: &u8| MasterKey::from_bytes(&[*byte; 32]).unwrap();
    Keyring::new(
        master(&masters[0]),
        masters[1..].iter().map(master).collect(),
    )
    .unwrap()
}

#[test]
fn published_values_open_and_nothing_else_does() {
    let binding = published::Binding {
        tenant: "cross-sdk-test",
        key: "test:vector:1",
        format: "msgpack",
        compressed: false,
        original_type: None,
    };
    let aad = "030000000e63726f73732d73646b2d746573740000000d746573743a766563746f723a31000000076d73677061636b\
               0000000546616c7365";
    assert_eq!(binding.associated(), bytes(aad));
    let stored = bytes("f8f69c70000000000000000087d9ec09f2c2347a4b37d5330ccf50e3c31e69642801bef5");
    let plain = bytes("0102030405060708");
    let of_a = keyring(b"a");
    assert_eq!(published::open(&of_a, binding, &stored).unwrap(), plain);
    let made = published::seal(&of_a, binding, &plain).unwrap();
    assert_eq!(made.len(), stored.len());
    assert_ne!(made, stored, "another nonce");
    assert_eq!(published::open(&of_a, binding, &made).unwrap(), plain);
    assert_eq!(
        published::open(&keyring(b"ba"), binding, &made).unwrap(),
        plain,
        "a previous key"
    );

    let code = |keyring: &Keyring, binding, stored: &[u8]| {
        published::open(keyring, binding, stored)
            .unwrap_err()
            .code()
    };
    let tampered = ErrorCode::EnvelopeTampered;
    assert_eq!(code(&keyring(b"b"), binding, &made), tampered);
    for other in [
        published::Binding {
            tenant: "other",
            ..binding
        },
        published::Binding {
            key: "test:vector:2",
            ..binding
        },
        published::Binding {
            format: "json",
            ..binding
        },
        published::Binding {
            compressed: true,
            ..binding
        },
        published::Binding {
            original_type: Some("str"),
            ..binding
        },
    ] {
        assert_eq!(code(&of_a, other, &made), tampered, "{other:?}");
    }
    for at in 0..made.len() {
        let mut changed = made.clone();
        changed[at] ^= 1;
        assert_eq!(code(&of_a, binding, &changed), tampered, "byte {at}");
        let expected = if at < 28 {
            ErrorCode::EnvelopeMalformed
        } else {
            tampered
        };
        assert_eq!(
            code(&of_a, binding, &made[..at]),
            expected,
            "the first {at}"
        );
    }
}
