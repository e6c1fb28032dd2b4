//! Master keys, and what is derived from them for each tenant and purpose.
//!
//! A key is chosen by its fingerprint and never by trial: GCM does not commit to a key, so a reader that tries several can be
//! given bytes that open under more than one. Keys live in memory that is wiped when they go, and nothing here shows them.
//! `docs/design/0009-encryption.md` says what is derived from what.

mod cipher;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use hkdf::Hkdf;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

pub(crate) use self::cipher::{Cipher, GCM_NONCE, NONCE, TAG};
use crate::error::{Error, ErrorCode, Result};
use crate::key::Tenant;
use crate::shim::Mutex;

/// Bytes of what names a key in a header.
pub(crate) const KEY_ID: usize = 8;

/// Least bytes of a master key, and exactly those of a raw one.
const MASTER_BYTES: usize = 32;

/// Most keys that only open what is stored, beside the one that also seals.
pub const MAX_PREVIOUS: usize = 3;

/// For how many tenants derived keys are kept; past them they are derived anew.
const MAX_TENANTS: usize = 1024;

/// Environment variable of the current master key.
pub const MASTER_KEY_VARIABLE: &str = "CACHEKIT_MASTER_KEY";

/// Environment variable of the previous ones, separated by commas.
pub const PREVIOUS_MASTER_KEYS_VARIABLE: &str = "CACHEKIT_PREVIOUS_MASTER_KEYS";

/// A master key. It is wiped when it goes, and shows itself to nobody.
pub struct MasterKey(Zeroizing<Vec<u8>>);

impl MasterKey {
    /// The key that is written as hexadecimal digits, of 32 bytes or more. `key_invalid` without the digits otherwise.
    pub fn from_hex(digits: &str) -> Result<Self> {
        let digits = digits.as_bytes();
        if !digits.len().is_multiple_of(2) {
            return Err(invalid("its hexadecimal digits are odd in number"));
        }
        if digits.len() < 2 * MASTER_BYTES {
            return Err(invalid(
                "it has fewer than 64 hexadecimal digits, which are 32 bytes",
            ));
        }
        let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
        for pair in digits.chunks_exact(2) {
            let [Some(high), Some(low)] = [pair[0], pair[1]].map(nibble) else {
                return Err(invalid("it has characters that are no hexadecimal digits"));
            };
            bytes.push(high << 4 | low);
        }
        Ok(Self(bytes))
    }

    /// The key of these 32 bytes. `key_invalid` if they are more or fewer.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        if bytes.len() == MASTER_BYTES {
            Ok(Self(Zeroizing::new(bytes.to_vec())))
        } else {
            Err(invalid("a key that is given as bytes has exactly 32"))
        }
    }

    fn derive(&self, domain: Domain, tenant: &str) -> Key {
        let name = domain.name();
        let length = u16::try_from(tenant.len()).unwrap_or(u16::MAX);
        let salt = [
            &b"cachekit_v1_"[..],
            &[name.len() as u8],
            name.as_bytes(),
            &length.to_be_bytes(),
            tenant.as_bytes(),
        ]
        .concat();
        let mut bytes = Zeroizing::new([0; 32]);
        expand(&salt, &self.0, name.as_bytes(), &mut *bytes);
        Key::new(&bytes)
    }
}

/// HKDF-SHA256. The output is at most 255 digests long, which nobody here comes near.
fn expand(salt: &[u8], input: &[u8], info: &[u8], output: &mut [u8]) {
    let expanded = Hkdf::<Sha256>::new(Some(salt), input).expand(info, output);
    debug_assert!(expanded.is_ok(), "too much was asked for");
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MasterKey(…)")
    }
}

fn nibble(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cold]
fn invalid(reason: &str) -> Error {
    Error::new(ErrorCode::KeyInvalid).with("reason", reason)
}

/// What a derived key is for. Keys of one purpose say nothing about those of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// Entries.
    Encryption,
    /// Names under which a remote keeps what nobody who lists them is to recognise.
    Names,
    /// What entries of the tier in this process are found by.
    Local,
}

impl Domain {
    const COUNT: usize = 3;

    fn name(self) -> &'static str {
        match self {
            Self::Encryption => "encryption",
            Self::Names => "names",
            Self::Local => "local",
        }
    }
}

/// A derived key.
pub struct Key {
    fingerprint: [u8; 16],
    cipher: Cipher,
    mac: Hmac<Sha256>,
}

impl Key {
    fn new(bytes: &[u8; 32]) -> Self {
        let digest = Sha256::new()
            .chain_update(b"key_fingerprint_v1")
            .chain_update(bytes)
            .finalize();
        // As HMAC takes it: a block, filled up with zeros.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(bytes);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&digest[..16]);
        Self {
            fingerprint,
            cipher: Cipher::new(bytes),
            mac: Hmac::new((&*block).into()),
        }
    }

    /// The first half of a digest of it, which names it and says nothing about it.
    pub fn fingerprint(&self) -> &[u8; 16] {
        &self.fingerprint
    }

    /// The beginning of the fingerprint, which tells a handful of keys apart.
    pub(crate) fn id(&self) -> [u8; KEY_ID] {
        let mut id = [0; KEY_ID];
        id.copy_from_slice(&self.fingerprint[..KEY_ID]);
        id
    }

    /// HMAC-SHA256 of `message`.
    pub fn mac(&self, message: &[u8]) -> [u8; 32] {
        let mut mac = self.mac.clone();
        mac.update(message);
        mac.finalize().into_bytes().into()
    }

    pub(crate) fn cipher(&self) -> &Cipher {
        &self.cipher
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

/// The keys of one tenant and purpose, as they were when they were asked for.
#[derive(Debug)]
pub struct Keys(Vec<Key>);

impl Keys {
    /// The one that seals.
    pub fn current(&self) -> &Key {
        &self.0[0]
    }

    /// All of them, the current one first.
    pub fn iter(&self) -> impl Iterator<Item = &Key> {
        self.0.iter()
    }

    /// The one of that id.
    pub(crate) fn named(&self, id: [u8; KEY_ID]) -> Option<&Key> {
        self.0.iter().find(|key| key.id() == id)
    }
}

/// The current master key, which seals, and previous ones, which only open what they sealed.
pub struct Keyring(Mutex<State>);

struct State {
    masters: Arc<[MasterKey]>,
    derived: [Derived; Domain::COUNT],
}

/// Keys for one purpose, by tenant.
#[derive(Default)]
struct Derived {
    /// The tenant that was asked for last: mostly it is the next one too.
    last: Option<(Arc<str>, Arc<Keys>)>,
    all: HashMap<Arc<str>, Arc<Keys>>,
}

impl Derived {
    fn get(&mut self, tenant: &str) -> Option<Arc<Keys>> {
        if let Some((_, keys)) = self.last.as_ref().filter(|(last, _)| **last == *tenant) {
            return Some(Arc::clone(keys));
        }
        let (name, keys) = self.all.get_key_value(tenant)?;
        self.last = Some((Arc::clone(name), Arc::clone(keys)));
        Some(Arc::clone(keys))
    }
}

impl Keyring {
    /// A keyring. `key_invalid` with more than [`MAX_PREVIOUS`] previous keys.
    pub fn new(current: MasterKey, previous: Vec<MasterKey>) -> Result<Self> {
        Ok(Self(Mutex::new(State {
            masters: masters(current, previous)?,
            derived: Default::default(),
        })))
    }

    /// The keyring that the environment names, if it names one: a source of keys, which by itself turns nothing on.
    pub fn from_env() -> Result<Option<Self>> {
        let read = |variable| std::env::var(variable).map(Zeroizing::new);
        let Ok(current) = read(MASTER_KEY_VARIABLE) else {
            return Ok(None);
        };
        let of = |variable, digits: &str| {
            MasterKey::from_hex(digits).map_err(|error| in_environment(variable, &error))
        };
        let previous = read(PREVIOUS_MASTER_KEYS_VARIABLE).unwrap_or_default();
        let previous = previous
            .split(',')
            .map(str::trim)
            .filter(|digits| !digits.is_empty())
            .map(|digits| of(PREVIOUS_MASTER_KEYS_VARIABLE, digits))
            .collect::<Result<Vec<_>>>()?;
        Self::new(of(MASTER_KEY_VARIABLE, current.trim())?, previous)
            .map_err(|error| in_environment(PREVIOUS_MASTER_KEYS_VARIABLE, &error))
            .map(Some)
    }

    /// Replaces all keys at once. What is being sealed or opened meanwhile goes on with those that it has.
    pub fn rotate(&self, current: MasterKey, previous: Vec<MasterKey>) -> Result<()> {
        let mut state = State {
            masters: masters(current, previous)?,
            derived: Default::default(),
        };
        self.0.with(|now| std::mem::swap(now, &mut state));
        Ok(())
    }

    /// The keys of `tenant` for one purpose.
    pub fn keys(&self, domain: Domain, tenant: &str) -> Arc<Keys> {
        let place = domain as usize;
        let known = self.0.with(|state| {
            let known = state.derived[place].get(tenant);
            known.ok_or_else(|| Arc::clone(&state.masters))
        });
        let masters = match known {
            Ok(known) => return known,
            Err(masters) => masters,
        };
        let derived = masters.iter().map(|master| master.derive(domain, tenant));
        let keys = Arc::new(Keys(derived.collect()));
        let gone = self.0.with(|state| {
            // Not those of a keyring that was replaced meanwhile.
            if !Arc::ptr_eq(&state.masters, &masters) {
                return None;
            }
            let of_domain = &mut state.derived[place];
            let full = of_domain.all.len() >= MAX_TENANTS;
            let gone = full.then(|| std::mem::take(of_domain));
            of_domain.all.insert(tenant.into(), Arc::clone(&keys));
            gone
        });
        drop(gone);
        keys
    }

    /// The keys of no tenant in particular.
    pub fn common(&self, domain: Domain) -> Arc<Keys> {
        self.keys(domain, Tenant::DEFAULT)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keyring(…)")
    }
}

/// The current key and those before it, each once.
fn masters(current: MasterKey, previous: Vec<MasterKey>) -> Result<Arc<[MasterKey]>> {
    if previous.len() > MAX_PREVIOUS {
        return Err(invalid("there are more than three previous keys"));
    }
    let mut masters = vec![current];
    for key in previous {
        if masters.iter().all(|known| *known.0 != *key.0) {
            masters.push(key);
        }
    }
    Ok(masters.into())
}

fn in_environment(variable: &str, error: &Error) -> Error {
    let reason = error.context().find(|(name, _)| *name == "reason");
    Error::new(ErrorCode::EnvironmentInvalid)
        .with("variable", variable)
        .with("value", "…")
        .with("reason", reason.map_or("", |(_, reason)| reason))
}

#[cfg(test)]
mod tests;
