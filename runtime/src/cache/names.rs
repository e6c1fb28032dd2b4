//! The names under which a remote keeps the entries of one function.
//!
//! Hidden, they are MACs of the plain ones, under a key that is derived for nothing else. After a rotation an entry may have its
//! name under any key of the keyring, so a read asks for all of them and a removal removes all.

use std::sync::Arc;

use crate::key::{Identity, KeyHash};
use crate::keyring::{Domain, Keyring};

pub(super) struct Names {
    identity: Identity,
    /// Under whose keys they are hidden.
    keyring: Option<Arc<Keyring>>,
}

impl Names {
    pub(super) fn new(identity: Identity, keyring: Option<Arc<Keyring>>) -> Self {
        Self { identity, keyring }
    }

    /// The names of an entry, the one that it is written under first.
    pub(super) fn entry(&self, hash: &KeyHash) -> Vec<Vec<u8>> {
        self.all(self.identity.entry_name(hash))
    }

    /// The names of the generation that entries must carry, none where they carry none. One under a name of a key goes with the
    /// entries under names of that key.
    pub(super) fn generation(&self) -> Vec<Vec<u8>> {
        let name = self.identity.generation_name();
        name.map_or_else(Vec::new, |name| self.all(name))
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.identity
    }

    fn all(&self, plain: Vec<u8>) -> Vec<Vec<u8>> {
        let Some(keyring) = &self.keyring else {
            return vec![plain];
        };
        let keys = keyring.common(Domain::Names);
        let hidden = keys.iter().map(|key| {
            let mac = KeyHash(key.mac(&plain));
            format!("ck:{mac}").into_bytes()
        });
        hidden.collect()
    }
}
