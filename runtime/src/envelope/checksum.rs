//! Digests behind the payload: against bytes that changed, entries that moved, and replies to somebody else's request.
//!
//! The key is part of what is digested, preceded by its length, so that an entry means nothing under another key. This is
//! no protection against somebody who wants to forge one: anybody can compute it.

use xxhash_rust::xxh3::Xxh3Default;

use super::malformed;
use crate::error::{Error, ErrorCode, Result};
use crate::generated::envelope::Checksum;

/// Bytes of a digest.
pub(super) const SIZE: usize = 8;

/// The digest of `entry` under `key`.
pub(super) fn digest(algorithm: Checksum, key: &[u8], entry: &[u8]) -> [u8; SIZE] {
    match algorithm {
        Checksum::Xxh3_64 => {
            let mut state = Xxh3Default::new();
            state.update(&(key.len() as u32).to_be_bytes());
            state.update(key);
            state.update(entry);
            state.digest().to_be_bytes()
        }
    }
}

/// Checks the digest at the end of `entry`, which must not reach before `start`; gives where it begins.
pub(super) fn check(algorithm: Checksum, key: &[u8], entry: &[u8], start: usize) -> Result<usize> {
    let Some((body, stored)) = entry
        .split_last_chunk::<SIZE>()
        .filter(|(body, _)| body.len() >= start)
    else {
        return Err(malformed("it ends too early"));
    };
    if digest(algorithm, key, body) == *stored {
        Ok(body.len())
    } else {
        Err(Error::new(ErrorCode::EnvelopeChecksum))
    }
}
