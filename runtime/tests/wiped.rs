//! Keys are wiped before their memory is given back: an allocator looks at every block that it gets.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use cachekit_runtime::envelope::{Meta, Name, Pipeline};
use cachekit_runtime::generated::presets;
use cachekit_runtime::generated::wire::Serializer;
use cachekit_runtime::keyring::{Domain, Keyring, MasterKey};
use hkdf::Hkdf;
use sha2::{Digest, Sha256};

/// As long as what a round of the cipher uses: its first two round keys are the halves of the key itself.
const PART: usize = 16;

struct Watching;

static ARMED: AtomicBool = AtomicBool::new(false);
static LEAKS: AtomicUsize = AtomicUsize::new(0);

/// Parts of keys to be looked for.
static PARTS: OnceLock<[[u8; PART]; 8]> = OnceLock::new();

// SAFETY: memory is the system's; a block is only read before it is given back.
unsafe impl GlobalAlloc for Watching {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: by the caller's contract. Zeroed, since a block may be given back before it was filled.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        if ARMED.load(Ordering::Acquire)
            && let Some(parts) = PARTS.get()
        {
            // SAFETY: a block of that size, initialised by `alloc`.
            let bytes = unsafe { std::slice::from_raw_parts(block, layout.size()) };
            if bytes
                .windows(PART)
                .any(|bytes| parts.iter().any(|part| part == bytes))
            {
                LEAKS.fetch_add(1, Ordering::Relaxed);
            }
        }
        // SAFETY: by the caller's contract.
        unsafe { System.dealloc(block, layout) };
    }
}

#[global_allocator]
static WATCHING: Watching = Watching;

const HEX: &str = "f1e2d3c4b5a69788796a5b4c3d2e1f00112f3e4d5c6b7a8998a7b6c5d4e3f20f";
const TENANT: &str = "acme";

fn derived(master: &[u8]) -> [u8; 32] {
    let mut salt = [0; 64];
    let text = b"cachekit_v1_\x0aencryption\x00\x04acme";
    salt[..text.len()].copy_from_slice(text);
    let mut key = [0; 32];
    Hkdf::<Sha256>::new(Some(&salt[..text.len()]), master)
        .expand(b"encryption", &mut key)
        .expect("one digest");
    key
}

#[test]
fn keys_are_wiped_before_their_memory_is_given_back() {
    let mut current = [0; 32];
    for (at, byte) in current.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&HEX[2 * at..2 * at + 2], 16).expect("digits");
    }
    let previous = current.map(|byte| !byte);
    let keys = [current, derived(&current), previous, derived(&previous)];
    let mut parts = [[0; PART]; 8];
    for (parts, key) in parts.chunks_mut(2).zip(&keys) {
        parts.copy_from_slice(key.as_chunks::<PART>().0);
    }
    PARTS.set(parts).expect("set once");
    ARMED.store(true, Ordering::Release);

    // That a key which is not wiped is seen.
    drop(current.to_vec());
    assert_eq!(LEAKS.swap(0, Ordering::Relaxed), 1);

    let master = |bytes: &[u8; 32]| MasterKey::from_bytes(bytes).expect("32 bytes");
    let hex = MasterKey::from_hex(HEX).expect("64 digits");
    let ring = Arc::new(Keyring::new(hex, vec![master(&previous)]).expect("two keys"));
    let mut options = presets::DEFAULT;
    options.envelope = "sealed";
    let pipeline = Pipeline::new(&options, Serializer::Native).expect("the format exists");
    let pipeline = pipeline.with_keyring(Arc::clone(&ring));
    let name = Name {
        tenant: TENANT,
        key: b"k",
    };
    let entry = pipeline.wrap(name, &Meta::default(), b"v".to_vec());
    pipeline
        .open(name, entry.expect("small"))
        .expect("just sealed");
    // What is looked for is what the ring derives.
    let held = ring.keys(Domain::Encryption, TENANT);
    let digest = Sha256::new()
        .chain_update(b"key_fingerprint_v1")
        .chain_update(keys[1])
        .finalize();
    assert_eq!(held.current().fingerprint()[..], digest[..16]);
    drop(held);
    ring.rotate(master(&previous), Vec::new()).expect("one key");
    drop(MasterKey::from_hex(&HEX[..62]));
    assert!(MasterKey::from_bytes(&current[1..]).is_err());
    drop((pipeline, ring));
    ARMED.store(false, Ordering::Release);
    assert_eq!(LEAKS.load(Ordering::Relaxed), 0, "blocks with keys in them");
}
