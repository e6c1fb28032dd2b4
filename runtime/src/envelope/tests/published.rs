//! The framings of the published protocol, in the pipeline.

use super::*;
use crate::generated::envelope::Cipher;

#[test]
fn the_published_framings_have_no_header_and_no_room_for_what_it_says() {
    for (name, keeps) in [("packed", true), ("bytestorage", false), ("interop", false)] {
        assert_eq!(pipeline(name).keeps_meta(), keeps, "{name}");
    }
    let stored = pipeline("interop")
        .wrap(KEY, &meta(), b"\xa2hi".to_vec())
        .unwrap();
    assert_eq!(stored, &b"\xa2hi"[..]);
    let longer = vec![0; (1 << 20) + 1];
    let opened = pipeline("interop").open(KEY, longer.into());
    assert_eq!(code(opened), ErrorCode::EnvelopeMalformed);
}

#[test]
fn a_sealed_document_is_bound_to_its_name_and_read_under_previous_keys() {
    let sealed = pipeline("interop_sealed");
    assert!(sealed.is_sealed());
    let stored = sealed.wrap(KEY, &meta(), b"\xa2hi".to_vec()).unwrap();
    assert_eq!(stored.len(), 3 + seal::published::AROUND);
    assert_eq!(sealed.open(KEY, stored.clone()).unwrap().1, b"\xa2hi"[..]);
    let rotated = sealed.clone().with_keyring(keyring(2, &[1]));
    assert_eq!(rotated.open(KEY, stored.clone()).unwrap().1, b"\xa2hi"[..]);
    let others = [
        (sealed.clone(), Name::of(b"users:get_user:00")),
        (sealed.clone(), Name { tenant: "b", ..KEY }),
        (sealed.with_keyring(keyring(2, &[])), KEY),
    ];
    for (pipeline, name) in others {
        let opened = pipeline.open(name, stored.clone());
        assert_eq!(code(opened), ErrorCode::EnvelopeTampered);
    }
}

#[test]
fn each_framing_has_the_cipher_that_belongs_to_it() {
    for format in FORMATS {
        for step in format.steps {
            if let Step::Seal { cipher } = *step {
                let expected = match format.framing {
                    Framing::Cachekit => Cipher::Xaes256Gcm,
                    Framing::Bytestorage | Framing::Bare => Cipher::Aes256Gcm,
                };
                assert_eq!(cipher, expected, "{}", format.name);
            }
        }
    }
}
