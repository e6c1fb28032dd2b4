//! Sealed payloads, from the descriptions of their parts: HMAC and HKDF, XAES's keys, GCM's counter and its GHASH.
//!
//! The block cipher and the hash are a library's, as they are the runtime's; everything that is made of them is not.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use sha2::{Digest, Sha256};

/// Bytes of a nonce.
pub(super) const NONCE: usize = 24;
/// Bytes of a nonce of the published protocol.
pub(super) const GCM_NONCE: usize = 12;
/// Bytes of a key's fingerprint that name it in a header.
pub(super) const KEY_ID: usize = 8;
/// Bytes of a tag.
pub(super) const TAG: usize = 16;

/// A key of one tenant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Key([u8; 32]);

impl Key {
    /// The key that entries of `tenant` are sealed under, from the master key.
    pub(super) fn derive(master: &[u8], tenant: &str) -> Self {
        const DOMAIN: &str = "encryption";

        let mut salt = b"cachekit_v1_".to_vec();
        salt.push(DOMAIN.len() as u8);
        salt.extend(DOMAIN.bytes());
        salt.extend((tenant.len() as u16).to_be_bytes());
        salt.extend(tenant.bytes());
        let extracted = hmac(&salt, master);
        let first = [DOMAIN.as_bytes(), &[1]].concat();
        Self(hmac(&extracted, &first))
    }

    /// What a header calls it.
    pub(super) fn id(&self) -> Vec<u8> {
        let digest = Sha256::digest([&b"key_fingerprint_v1"[..], &self.0].concat());
        digest[..KEY_ID].to_vec()
    }

    /// `plain` encrypted, and the tag behind it.
    pub(super) fn seal(&self, nonce: &[u8; NONCE], aad: &[u8], plain: &[u8]) -> Vec<u8> {
        let gcm = Gcm::new(&self.of_message(nonce), &nonce[12..]);
        let mut out = gcm.count(plain);
        let tag = gcm.tag(aad, &out);
        out.extend(tag);
        out
    }

    /// What was sealed; nothing if the tag is another.
    pub(super) fn open(&self, nonce: &[u8], aad: &[u8], sealed: &[u8]) -> Option<Vec<u8>> {
        let nonce: &[u8; NONCE] = nonce.try_into().ok()?;
        let (sealed, tag) = sealed.split_last_chunk::<TAG>()?;
        let gcm = Gcm::new(&self.of_message(nonce), &nonce[12..]);
        (gcm.tag(aad, sealed) == *tag).then(|| gcm.count(sealed))
    }

    /// As the published protocol seals: under the key itself, the nonce in front.
    pub(super) fn seal_published(
        &self,
        nonce: &[u8; GCM_NONCE],
        aad: &[u8],
        plain: &[u8],
    ) -> Vec<u8> {
        let gcm = Gcm::new(&self.0, nonce);
        let sealed = gcm.count(plain);
        let tag = gcm.tag(aad, &sealed);
        [&nonce[..], &sealed, &tag].concat()
    }

    /// What was sealed so; nothing if it is too short or the tag is another.
    pub(super) fn open_published(&self, aad: &[u8], stored: &[u8]) -> Option<Vec<u8>> {
        let (nonce, rest) = stored.split_first_chunk::<GCM_NONCE>()?;
        let (sealed, tag) = rest.split_last_chunk::<TAG>()?;
        let gcm = Gcm::new(&self.0, nonce);
        (gcm.tag(aad, sealed) == *tag).then(|| gcm.count(sealed))
    }

    /// XAES: the key of the message with that nonce.
    fn of_message(&self, nonce: &[u8; NONCE]) -> [u8; 32] {
        let aes = Aes256::new(&self.0.into());
        let zeros = u128::from_be_bytes(block(&aes, [0; 16]));
        let subkey = (zeros << 1) ^ if zeros >> 127 == 1 { 0x87 } else { 0 };
        let half = |counter: u8| {
            let mut text = [0, counter, b'X', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
            text[4..].copy_from_slice(&nonce[..12]);
            block(&aes, (u128::from_be_bytes(text) ^ subkey).to_be_bytes())
        };
        let mut key = [0; 32];
        key[..16].copy_from_slice(&half(1));
        key[16..].copy_from_slice(&half(2));
        key
    }
}

/// What a tag covers besides the payload.
pub(super) fn associated(tenant: &str, key: &[u8], prefix: &[u8]) -> Vec<u8> {
    let mut aad = (tenant.len() as u32).to_be_bytes().to_vec();
    aad.extend(tenant.bytes());
    aad.extend((key.len() as u32).to_be_bytes());
    aad.extend(key);
    aad.extend(prefix);
    aad
}

fn block(aes: &Aes256, text: [u8; 16]) -> [u8; 16] {
    let mut block = text.into();
    aes.encrypt_block(&mut block);
    block.into()
}

fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut padded = [0; 64];
    if key.len() > 64 {
        padded[..32].copy_from_slice(&Sha256::digest(key));
    } else {
        padded[..key.len()].copy_from_slice(key);
    }
    let with = |mask: u8| padded.map(|byte| byte ^ mask);
    let inner = Sha256::digest([&with(0x36)[..], message].concat());
    Sha256::digest([&with(0x5c)[..], &inner].concat()).into()
}

/// AES-256-GCM under one key and nonce.
struct Gcm {
    aes: Aes256,
    /// What GHASH multiplies by.
    point: u128,
    nonce: [u8; 12],
}

impl Gcm {
    fn new(key: &[u8; 32], nonce: &[u8]) -> Self {
        let aes = Aes256::new(&(*key).into());
        Self {
            point: u128::from_be_bytes(block(&aes, [0; 16])),
            nonce: nonce.try_into().expect("twelve bytes"),
            aes,
        }
    }

    fn counter(&self, number: u32) -> [u8; 16] {
        let mut text = [0; 16];
        text[..12].copy_from_slice(&self.nonce);
        text[12..].copy_from_slice(&number.to_be_bytes());
        block(&self.aes, text)
    }

    /// Encrypts, or decrypts.
    fn count(&self, text: &[u8]) -> Vec<u8> {
        let blocks = text.chunks(16).zip(2..);
        blocks
            .flat_map(|(text, number)| {
                let stream = self.counter(number).into_iter();
                let mixed = text.iter().zip(stream).map(|(text, mask)| text ^ mask);
                mixed.collect::<Vec<_>>()
            })
            .collect()
    }

    fn tag(&self, aad: &[u8], sealed: &[u8]) -> [u8; TAG] {
        let mut state = 0;
        for part in [aad, sealed] {
            for chunk in part.chunks(16) {
                let mut padded = [0; 16];
                padded[..chunk.len()].copy_from_slice(chunk);
                state = self.multiply(state ^ u128::from_be_bytes(padded));
            }
        }
        let lengths = (aad.len() as u128 * 8) << 64 | (sealed.len() as u128 * 8);
        state = self.multiply(state ^ lengths);
        (state ^ u128::from_be_bytes(self.counter(1))).to_be_bytes()
    }

    /// In the field of GHASH, where the highest bit is the lowest power.
    fn multiply(&self, value: u128) -> u128 {
        let (mut product, mut power) = (0, self.point);
        for bit in (0..128).rev() {
            if value >> bit & 1 == 1 {
                product ^= power;
            }
            power = (power >> 1) ^ if power & 1 == 1 { 0xe1 << 120 } else { 0 };
        }
        product
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).expect("hexadecimal digits");
        (0..hex.len()).step_by(2).map(byte).collect()
    }

    #[test]
    fn messages_of_c2sp_are_sealed_as_published() {
        let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
        for (key, aad, sealed) in [
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
            let key = Key([key; 32]);
            let made = key.seal(nonce, aad.as_bytes(), b"XAES-256-GCM");
            assert_eq!(made, bytes(sealed));
            let opened = key.open(nonce, aad.as_bytes(), &made);
            assert_eq!(opened, Some(b"XAES-256-GCM".to_vec()));
            assert_eq!(key.open(nonce, b"x", &made), None);
        }
    }

    #[test]
    fn a_tenants_key_is_the_published_one() {
        let key = Key::derive(&[b'a'; 32], "cross-sdk-test");
        assert_eq!(key.id(), bytes("96179a9bc881aa7c"));
    }
}
