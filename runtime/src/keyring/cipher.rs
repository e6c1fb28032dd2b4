//! AES-256-GCM, and XAES-256-GCM on top of it: what a key of 32 bytes does to bytes.
//!
//! XAES (C2SP) encrypts each message under a key that CMAC derives from half of a nonce of 192 bits. So a key's life is bounded by
//! no number of messages, while GCM's own nonces of 96 bits, drawn at random, come too near to a repetition after 2^32.

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::AeadInOut;
use zeroize::Zeroizing;

use crate::error::{Error, ErrorCode, Result};

/// Bytes of a nonce of XAES.
pub(crate) const NONCE: usize = 24;

/// Bytes of a nonce of GCM.
pub(crate) const GCM_NONCE: usize = 12;

/// Bytes of a tag.
pub(crate) const TAG: usize = 16;

/// A key, ready to be used.
pub(crate) struct Cipher {
    /// For the keys of messages.
    block: Aes256,
    /// The first subkey of CMAC.
    subkey: Zeroizing<[u8; 16]>,
    /// For the published formats, which use the key itself.
    gcm: Aes256Gcm,
}

impl Cipher {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        let block = Aes256::new(key.into());
        let mut zeros = Zeroizing::new([0; 16]);
        block.encrypt_block((&mut *zeros).into());
        let doubled = u128::from_be_bytes(*zeros);
        let carry = if doubled >> 127 == 1 { 0x87 } else { 0 };
        Self {
            block,
            subkey: Zeroizing::new((doubled << 1 ^ carry).to_be_bytes()),
            gcm: Aes256Gcm::new(key.into()),
        }
    }

    /// The cipher of the message whose nonce begins so: two blocks of CMAC in counter mode are its key.
    fn of_message(&self, nonce: &[u8; GCM_NONCE]) -> Aes256Gcm {
        let mut key = Zeroizing::new([0; 32]);
        let (blocks, _) = key.as_chunks_mut::<16>();
        let mask = u128::from_ne_bytes(*self.subkey);
        for (block, counter) in blocks.iter_mut().zip(1..) {
            block[..4].copy_from_slice(&[0, counter, b'X', 0]);
            block[4..].copy_from_slice(nonce);
            *block = (u128::from_ne_bytes(*block) ^ mask).to_ne_bytes();
            self.block.encrypt_block(block.into());
        }
        Aes256Gcm::new((&*key).into())
    }

    /// XAES: encrypts in place; gives the tag.
    pub(crate) fn seal(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        payload: &mut [u8],
    ) -> Result<[u8; TAG]> {
        let (first, last) = halves(nonce);
        encrypt(&self.of_message(first), last, aad, payload)
    }

    /// XAES: decrypts in place, once the tag was found to be right.
    pub(crate) fn open(
        &self,
        nonce: &[u8; NONCE],
        aad: &[u8],
        tag: &[u8; TAG],
        sealed: &mut [u8],
    ) -> Result<()> {
        let (first, last) = halves(nonce);
        decrypt(&self.of_message(first), last, aad, tag, sealed)
    }

    /// GCM under the key itself: encrypts in place; gives the tag.
    pub(crate) fn seal_gcm(
        &self,
        nonce: &[u8; GCM_NONCE],
        aad: &[u8],
        payload: &mut [u8],
    ) -> Result<[u8; TAG]> {
        encrypt(&self.gcm, nonce, aad, payload)
    }

    /// GCM under the key itself: decrypts in place, once the tag was found to be right.
    pub(crate) fn open_gcm(
        &self,
        nonce: &[u8; GCM_NONCE],
        aad: &[u8],
        tag: &[u8; TAG],
        sealed: &mut [u8],
    ) -> Result<()> {
        decrypt(&self.gcm, nonce, aad, tag, sealed)
    }
}

fn encrypt(
    cipher: &Aes256Gcm,
    nonce: &[u8; GCM_NONCE],
    aad: &[u8],
    payload: &mut [u8],
) -> Result<[u8; TAG]> {
    cipher
        .encrypt_inout_detached(nonce.into(), aad, payload.into())
        .map(Into::into)
        .map_err(|_| Error::new(ErrorCode::Internal).with("reason", "a payload past 64 GiB"))
}

fn decrypt(
    cipher: &Aes256Gcm,
    nonce: &[u8; GCM_NONCE],
    aad: &[u8],
    tag: &[u8; TAG],
    sealed: &mut [u8],
) -> Result<()> {
    cipher
        .decrypt_inout_detached(nonce.into(), aad, sealed.into(), tag.into())
        .map_err(|_| tampered())
}

/// The tag does not match.
#[cold]
fn tampered() -> Error {
    Error::new(ErrorCode::EnvelopeTampered).with(
        "reason",
        "it was changed, or belongs to another key or tenant",
    )
}

fn halves(nonce: &[u8; NONCE]) -> (&[u8; GCM_NONCE], &[u8; GCM_NONCE]) {
    let (halves, _) = nonce.as_chunks::<GCM_NONCE>();
    (&halves[0], &halves[1])
}

#[cfg(test)]
mod tests;
