//! Authenticated encryption of payloads.
//!
//! Our own format encrypts each entry under a key of its own: XAES-256-GCM (C2SP) derives it from half of a nonce of 192 bits,
//! so that no number of entries comes near a repetition. The nonce is drawn from the kernel at each seal, and no state for it
//! lives in the process: a fork, a thread or a restart has nothing to repeat. `docs/design/0009-encryption.md` has the
//! argument.

pub mod published;

use super::Name;
use crate::error::{Error, ErrorCode, Result};
pub(super) use crate::keyring::{Cipher, NONCE, TAG};

/// Bytes of a key's fingerprint that stand in a header: enough to tell a handful of keys apart.
pub(super) const KEY_ID: usize = 8;

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

/// What a tag covers besides the payload: whose entry it is, its name, and every byte in front of the payload as it stands.
fn associated(name: Name<'_>, prefix: &[u8]) -> Vec<u8> {
    let mut aad = Vec::with_capacity(8 + name.tenant.len() + name.key.len() + prefix.len());
    for part in [name.tenant.as_bytes(), name.key] {
        aad.extend_from_slice(&(part.len() as u32).to_be_bytes());
        aad.extend_from_slice(part);
    }
    aad.extend_from_slice(prefix);
    aad
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
    let tag = cipher.seal(nonce, &associated(name, prefix), payload)?;
    entry.extend_from_slice(&tag);
    Ok(())
}

/// The payload behind `start` in `entry`, whose tag stands at its end.
pub(super) fn open(
    cipher: &Cipher,
    name: Name<'_>,
    nonce: &[u8; NONCE],
    entry: &[u8],
    start: usize,
) -> Result<Vec<u8>> {
    let (prefix, sealed) = entry.split_at(start);
    let Some((sealed, tag)) = sealed.split_last_chunk::<TAG>() else {
        return Err(super::malformed("it ends too early"));
    };
    let mut payload = sealed.to_vec();
    cipher.open(nonce, &associated(name, prefix), tag, &mut payload)?;
    Ok(payload)
}

#[cfg(test)]
mod tests;
