//! Authenticated encryption of payloads.
//!
//! Our own format encrypts each entry under a key of its own: XAES-256-GCM (C2SP) derives it from half of a nonce of 192 bits,
//! so that no number of entries comes near a repetition. The nonce is drawn from the kernel at each seal, and no state for it
//! lives in the process: a fork, a thread or a restart has nothing to repeat. `docs/design/0009-encryption.md` has the
//! argument.

pub mod published;

use bytes::{Buf, Bytes, BytesMut};

use super::Name;
use crate::error::{Error, ErrorCode, Result};
pub(super) use crate::keyring::{Cipher, KEY_ID, NONCE, TAG};

/// Random bytes from the kernel, by a system call at each use. Not through libc, which may keep some in the process.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    fill(&mut bytes).map_err(|reason| {
        Error::new(ErrorCode::Internal).with("reason", format_args!("no random bytes: {reason}"))
    })?;
    Ok(bytes)
}

#[cfg(target_os = "linux")]
fn fill(mut bytes: &mut [u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::rand::getrandom(&mut *bytes, rustix::rand::GetRandomFlags::empty()) {
            Ok(filled) => bytes = &mut bytes[filled..],
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(not(target_os = "linux"))]
fn fill(bytes: &mut [u8]) -> std::io::Result<()> {
    getrandom::fill(bytes).map_err(std::io::Error::other)
}

/// A nonce that nothing has used.
pub(super) fn nonce() -> Result<[u8; NONCE]> {
    random()
}

/// Associated data up to this length needs no allocation: a name, and a header without a newer writer's fields.
const SHORT: usize = 256;

/// Uses what a tag covers besides the payload: whose entry it is, its name, and every byte in front of the payload as it stands.
fn associated<T>(name: Name<'_>, prefix: &[u8], with: impl FnOnce(&[u8]) -> T) -> T {
    let lengths = [name.tenant.len(), name.key.len()].map(|length| (length as u32).to_be_bytes());
    let parts = [
        &lengths[0],
        name.tenant.as_bytes(),
        &lengths[1],
        name.key,
        prefix,
    ];
    let length: usize = parts.iter().map(|part| part.len()).sum();
    if length > SHORT {
        return with(&parts.concat());
    }
    let mut short = [0; SHORT];
    let mut end = 0;
    for part in parts {
        short[end..end + part.len()].copy_from_slice(part);
        end += part.len();
    }
    with(&short[..end])
}

/// Encrypts what follows `start` in `entry` and appends the tag.
pub(super) fn close(
    cipher: &Cipher,
    name: Name<'_>,
    nonce: &[u8; NONCE],
    entry: &mut Vec<u8>,
    start: usize,
) -> Result<()> {
    let (prefix, payload) = entry.split_at_mut(start);
    let tag = associated(name, prefix, |aad| cipher.seal(nonce, aad, payload))?;
    entry.extend_from_slice(&tag);
    Ok(())
}

/// The payload behind `start` in `entry`, whose tag stands at its end. It is decrypted where it lies if nobody else has the bytes.
pub(super) fn open(
    cipher: &Cipher,
    name: Name<'_>,
    nonce: &[u8; NONCE],
    entry: Bytes,
    start: usize,
) -> Result<Bytes> {
    let mut entry = match entry.try_into_mut() {
        Ok(entry) => entry,
        Err(entry) => BytesMut::from(&entry[..]),
    };
    let (prefix, sealed) = entry.split_at_mut(start);
    let Some((sealed, tag)) = sealed.split_last_chunk_mut::<TAG>() else {
        return Err(super::malformed("it ends too early"));
    };
    associated(name, prefix, |aad| cipher.open(nonce, aad, tag, sealed))?;
    entry.truncate(entry.len() - TAG);
    entry.advance(start);
    Ok(entry.freeze())
}

#[cfg(test)]
mod tests;
