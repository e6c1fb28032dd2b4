//! Sealed entries: who can open one, and what cannot be learnt from it or made of it.

use super::*;

const PAYLOAD: &[u8] = b"a secret that is long enough to be looked for";

fn sealed(keyring: Arc<Keyring>) -> Pipeline {
    pipeline("sealed").with_keyring(keyring)
}

fn stored() -> Bytes {
    pipeline("sealed")
        .wrap(KEY, &meta(), PAYLOAD.to_vec())
        .unwrap()
}

/// An entry with a header of its own making, sealed as a writer of that header would.
fn forged_seal(keyring: &Keyring, extra: &[u8], change: impl Fn(&mut header::Header)) -> Bytes {
    let keys = keyring.keys(Domain::Encryption, KEY.tenant);
    let nonce = [7; seal::NONCE];
    let mut header = header::of(&meta(), Serializer::Native, PAYLOAD.len() as u64);
    header.key_id = keys.current().fingerprint()[..seal::KEY_ID].to_vec();
    header.nonce = nonce.to_vec();
    change(&mut header);
    let header = [&header.encode_to_vec(), extra].concat();
    let mut entry = vec![0xc4, 0x4b, 4];
    prost::encoding::encode_varint(header.len() as u64, &mut entry);
    entry.extend_from_slice(&header);
    let start = entry.len();
    entry.extend_from_slice(PAYLOAD);
    seal::close(keys.current().cipher(), KEY, &nonce, &mut entry, start).unwrap();
    entry.into()
}

#[test]
fn nothing_is_sealed_or_opened_without_a_key() {
    let mut options = presets::DEFAULT;
    options.envelope = "sealed";
    let without = Pipeline::new(&options, Serializer::Native).unwrap();
    assert!(without.is_sealed());
    let error = without.keyring().unwrap_err();
    assert_eq!(error.code(), ErrorCode::KeyMissing);
    assert!(error.to_string().contains("CACHEKIT_MASTER_KEY"), "{error}");
    assert_eq!(
        code(without.wrap(KEY, &meta(), b"x".to_vec())),
        ErrorCode::KeyMissing
    );
    assert_eq!(code(without.open(KEY, stored())), ErrorCode::KeyMissing);
}

#[test]
fn nothing_of_the_payload_is_seen_and_no_two_entries_are_equal() {
    let (one, other) = (stored(), stored());
    let header = header::unframe(4, &one).unwrap();
    assert_ne!(one[header.end..], other[header.end..]);
    for part in PAYLOAD.windows(6) {
        assert!(!one.windows(6).any(|bytes| bytes == part));
    }
}

#[test]
fn an_entry_opens_for_its_tenant_under_its_key_alone() {
    let pipeline = pipeline("sealed");
    let other_key = Name::of(b"ck:default:shop.price:01");
    assert_eq!(
        code(pipeline.open(other_key, stored())),
        ErrorCode::EnvelopeTampered
    );
    // Another tenant has another key, whose id tells them apart before anything is tried.
    let of = |tenant| Name { tenant, ..KEY };
    assert_eq!(
        code(pipeline.open(of("a"), stored())),
        ErrorCode::KeyUnknown
    );
    let of_a = pipeline.wrap(of("a"), &meta(), PAYLOAD.to_vec()).unwrap();
    assert_eq!(pipeline.open(of("a"), of_a.clone()).unwrap().1, PAYLOAD);
    assert_eq!(code(pipeline.open(of("b"), of_a)), ErrorCode::KeyUnknown);
}

#[test]
fn a_tenant_and_a_key_cannot_trade_bytes() {
    // Under one and the same key, so that it is the tag that notices.
    let keys = keyring(1, &[]).common(Domain::Encryption);
    let cipher = keys.current().cipher();
    let nonce = [7; seal::NONCE];
    let ab = Name {
        tenant: "ab",
        key: b"c",
    };
    let a = Name {
        tenant: "a",
        key: b"bc",
    };
    let mut entry = b"prefixpayload".to_vec();
    seal::close(cipher, ab, &nonce, &mut entry, 6).unwrap();
    let entry = Bytes::from(entry);
    assert_eq!(
        seal::open(cipher, ab, &nonce, entry.clone(), 6).unwrap(),
        &b"payload"[..]
    );
    assert_eq!(
        code(seal::open(cipher, a, &nonce, entry.clone(), 6)),
        ErrorCode::EnvelopeTampered
    );
    // Nor can the bytes in front and the payload.
    assert_eq!(
        code(seal::open(cipher, ab, &nonce, entry.clone(), 5)),
        ErrorCode::EnvelopeTampered
    );
}

#[test]
fn after_a_rotation_what_was_sealed_opens_by_the_id_of_its_key() {
    let entry = stored();
    let rotated = sealed(keyring(2, &[3, 1]));
    assert_eq!(rotated.open(KEY, entry.clone()).unwrap().1, PAYLOAD);
    let new = rotated.wrap(KEY, &meta(), PAYLOAD.to_vec()).unwrap();
    assert_eq!(sealed(keyring(2, &[])).open(KEY, new).unwrap().1, PAYLOAD);

    let gone = sealed(keyring(2, &[3]));
    let error = gone.open(KEY, entry.clone()).unwrap_err();
    assert_eq!(error.code(), ErrorCode::KeyUnknown);
    assert!(!gone.is_tampering(&error), "it may be a newer process's");

    // While it runs.
    let ring = keyring(1, &[]);
    let pipeline = sealed(Arc::clone(&ring));
    let [one, two] = [1, 2].map(|byte| MasterKey::from_bytes(&[byte; 32]).unwrap());
    ring.rotate(two, vec![one]).unwrap();
    assert_eq!(pipeline.open(KEY, entry).unwrap().1, PAYLOAD);
}

#[test]
fn what_is_put_in_the_place_of_an_entry_is_tampering() {
    let pipeline = pipeline("sealed");
    let plain = super::pipeline("plain")
        .wrap(KEY, &meta(), PAYLOAD.to_vec())
        .unwrap();
    let ring = keyring(1, &[]);
    let cases: [(&str, Bytes, ErrorCode); 6] = [
        ("a plain entry", plain, ErrorCode::EnvelopeForeign),
        (
            "no entry",
            Bytes::from_static(b"x"),
            ErrorCode::EnvelopeMalformed,
        ),
        (
            "a nonce of another length",
            forged_seal(&ring, &[], |header| header.nonce.truncate(12)),
            ErrorCode::EnvelopeMalformed,
        ),
        (
            "a key id that fits every key",
            forged_seal(&ring, &[], |header| header.key_id.clear()),
            ErrorCode::EnvelopeMalformed,
        ),
        (
            "a key's whole fingerprint",
            forged_seal(&ring, &[], |header| header.key_id = vec![0; 16]),
            ErrorCode::EnvelopeMalformed,
        ),
        (
            "another header under a tag that was right",
            {
                let mut bytes = stored().to_vec();
                bytes[5] ^= 1;
                bytes.into()
            },
            ErrorCode::EnvelopeTampered,
        ),
    ];
    for (what, bytes, expected) in cases {
        let error = pipeline.open(KEY, bytes).unwrap_err();
        assert_eq!(error.code(), expected, "{what}: {error}");
        assert!(pipeline.is_tampering(&error), "{what}");
        let unsealed = super::pipeline("plain");
        assert!(!unsealed.is_tampering(&error), "nobody vouches for those");
    }
}

#[test]
fn what_a_newer_writer_adds_to_the_header_is_covered_and_passed_over() {
    let pipeline = pipeline("sealed");
    let ring = keyring(1, &[]);
    // Field 15, a text of two bytes.
    let newer = forged_seal(&ring, &[0x7a, 2, b'h', b'i'], |_| {});
    let (read, value) = pipeline.open(KEY, newer.clone()).unwrap();
    assert_eq!((read, &value[..]), (meta(), PAYLOAD));
    let mut changed = newer.to_vec();
    let at = newer.windows(2).position(|bytes| bytes == b"hi").unwrap();
    changed[at] = b'H';
    assert_eq!(
        code(pipeline.open(KEY, changed.into())),
        ErrorCode::EnvelopeTampered
    );
}

#[test]
fn what_is_around_a_small_value_is_small() {
    let meta = Meta {
        generations: Vec::new(),
        ..meta()
    };
    let cleared = Meta {
        generations: vec![u64::MAX],
        ..meta.clone()
    };
    // `{"x": 5}` in the native encoding.
    let payload = b"\x81\xa1x\x05".to_vec();
    let around = |format, meta: &Meta| {
        let stored = pipeline(format).wrap(KEY, meta, payload.clone()).unwrap();
        stored.len() - payload.len()
    };
    for format in ["plain", "packed", "sealed"] {
        println!(
            "{format}: {} bytes around it, {} after a clear",
            around(format, &meta),
            around(format, &cleared)
        );
    }
    assert!(around("plain", &meta) <= 40);
    assert!(around("packed", &meta) <= 40);
    assert!(around("sealed", &cleared) <= 96);
}

#[test]
fn a_sealed_header_has_the_bytes_of_the_schema() {
    let whole = header::Header {
        key_id: vec![3; seal::KEY_ID],
        nonce: vec![4; seal::NONCE],
        generations: vec![5, 6],
        ..header::of(&meta(), Serializer::Native, 7)
    };
    let sealed = header::Sealed {
        header: header::Header {
            key_id: Vec::new(),
            nonce: Vec::new(),
            ..whole.clone()
        },
        key_id: Some([3; seal::KEY_ID]),
        nonce: Some([4; seal::NONCE]),
    };
    let bytes = whole.encode_to_vec();
    assert_eq!(sealed.encode_to_vec(), bytes);
    assert_eq!(sealed.encoded_len(), bytes.len());
    let read: header::Sealed = header::parse(&bytes).unwrap();
    assert_eq!(format!("{read:?}"), format!("{sealed:?}"));

    // Of a field that is there twice the last one counts, whatever its length.
    let odd = header::Header {
        nonce: vec![9; 2],
        ..header::Header::default()
    };
    let twice = [bytes.clone(), odd.encode_to_vec()].concat();
    let read: header::Sealed = header::parse(&twice).unwrap();
    assert_eq!((read.nonce, read.header.nonce), (None, vec![9; 2]));
    let back = [odd.encode_to_vec(), bytes].concat();
    let read: header::Sealed = header::parse(&back).unwrap();
    assert_eq!(read.nonce, Some([4; seal::NONCE]));
    for end in [1, 2, 9] {
        let cut = sealed.encode_to_vec();
        let cut = &cut[..cut.len() - 18 - end];
        assert!(header::parse::<header::Sealed>(cut).is_err());
    }
}
