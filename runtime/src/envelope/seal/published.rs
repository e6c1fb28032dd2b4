//! The sealed values of the published protocol: a nonce of 12 bytes in front, a tag of 16 behind, AES-256-GCM between.
//!
//! All entries of a tenant share one key, so after 2^32 of them a nonce that repeats is no longer unlikely enough: a key is
//! to be rotated before. Our own format has no such limit.

use super::{TAG, random};
use crate::envelope::malformed;
use crate::error::Result;
use crate::keyring::{Domain, GCM_NONCE as NONCE, Keyring};

/// How many bytes a sealed value has more than the plain one.
pub const AROUND: usize = NONCE + TAG;

/// What the tag of a value covers besides it.
#[derive(Clone, Copy)]
pub struct Binding<'a> {
    /// Whose it is.
    pub tenant: &'a str,
    /// The name that the store knows it by.
    pub key: &'a str,
    /// How it became bytes: `msgpack`.
    pub format: &'a str,
    /// Whether they are compressed.
    pub compressed: bool,
    /// What the value was before, where the writer says so.
    pub original_type: Option<&'a str>,
}

impl std::fmt::Debug for Binding<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Binding")
            .field("tenant", &self.tenant)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Binding<'_> {
    /// Version 3 of the protocol's associated data.
    pub(super) fn associated(&self) -> Vec<u8> {
        let compressed = if self.compressed { "True" } else { "False" };
        let parts = [self.tenant, self.key, self.format, compressed];
        let mut aad = vec![3];
        for part in parts.into_iter().chain(self.original_type) {
            aad.extend_from_slice(&(part.len() as u32).to_be_bytes());
            aad.extend_from_slice(part.as_bytes());
        }
        aad
    }
}

/// `plain` sealed under the tenant's current key.
pub fn seal(keyring: &Keyring, binding: Binding<'_>, plain: &[u8]) -> Result<Vec<u8>> {
    let nonce: [u8; NONCE] = random()?;
    let mut sealed = Vec::with_capacity(plain.len() + AROUND);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plain);
    let keys = keyring.keys(Domain::Encryption, binding.tenant);
    let tag =
        keys.current()
            .cipher()
            .seal_gcm(&nonce, &binding.associated(), &mut sealed[NONCE..])?;
    sealed.extend_from_slice(&tag);
    Ok(sealed)
}

/// What was sealed. The published formats name no key, so the tenant's keys are tried in order.
///
/// `envelope_malformed` if it is too short, `envelope_tampered` if no key opens it.
pub fn open(keyring: &Keyring, binding: Binding<'_>, sealed: &[u8]) -> Result<Vec<u8>> {
    let parts = sealed
        .split_first_chunk::<NONCE>()
        .and_then(|(nonce, rest)| Some((nonce, rest.split_last_chunk::<TAG>()?)));
    let Some((nonce, (sealed, tag))) = parts else {
        return Err(malformed("it ends too early"));
    };
    let aad = binding.associated();
    let mut plain = sealed.to_vec();
    let mut refused = None;
    for key in keyring.keys(Domain::Encryption, binding.tenant).iter() {
        match key.cipher().open_gcm(nonce, &aad, tag, &mut plain) {
            Ok(()) => return Ok(plain),
            Err(error) => refused = Some(error),
        }
        // What failed may have been overwritten on the way.
        plain.copy_from_slice(sealed);
    }
    Err(refused.unwrap_or_else(|| malformed("there are no keys")))
}
