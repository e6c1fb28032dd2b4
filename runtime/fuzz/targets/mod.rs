//! What is fuzzed: functions of any bytes, which panic where a rule does not hold.
//!
//! `tests/fuzz.rs` runs them for a short while on every compiler, from the corpus beside this file; cargo-fuzz runs them at
//! length. Both take this file as it is, so that what was found at length is tested from then on by its bytes alone.
#![allow(
    dead_code,
    unused_imports,
    reason = "each program that cargo-fuzz builds runs one of them"
)]

mod keys;
mod values;

use std::sync::{Arc, LazyLock};

use cachekit_runtime::envelope::{Name, Pipeline};
use cachekit_runtime::generated::envelope::{FORMATS, Step};
use cachekit_runtime::generated::presets;
use cachekit_runtime::generated::wire::Serializer;
use cachekit_runtime::keyring::{Keyring, MasterKey};
use xxhash_rust::xxh3::xxh3_64;

pub(crate) use keys::key_encoding;
pub(crate) use values::native_decode;

const KEY: &[u8] = b"ck:app:shop.price_of:00";
const NAME: Name<'_> = Name::of(KEY);
const MOST: u64 = 1 << 16;

/// For the sealed format, whose tag nothing that is made up here fits: what comes before it is fuzzed, and what follows is not.
static KEYRING: LazyLock<Arc<Keyring>> = LazyLock::new(|| {
    let master = MasterKey::from_bytes(&[7; 32]).expect("32 bytes");
    Arc::new(Keyring::new(master, Vec::new()).expect("one key"))
});

/// Opens an entry. Its first byte says which format the reader has, and whether the front and the digest are made to
/// fit: without them next to nothing passes.
pub(crate) fn envelope_open(data: &[u8]) {
    let Some((choice, rest)) = data.split_first() else {
        return;
    };
    let format = FORMATS[usize::from(choice & 0x3f) % FORMATS.len()];
    let mut options = presets::DEFAULT;
    options.envelope = format.name;
    options.max_value_bytes = MOST;
    let Ok(pipeline) = Pipeline::new(&options, Serializer::Native) else {
        return;
    };
    let pipeline = pipeline.with_keyring(Arc::clone(&KEYRING));
    let mut body = rest.to_vec();
    if choice & 0x40 != 0 {
        body.splice(..0, [0xc4, 0x4b, format.id]);
    }
    let checked = |step: &Step| matches!(step, Step::Checksum { .. });
    let closed = choice & 0x80 != 0 && pipeline.keeps_meta() && format.steps.iter().any(checked);
    let close = |body: &[u8]| {
        let mut stored = body.to_vec();
        if closed {
            let length = (KEY.len() as u32).to_be_bytes();
            let digest = xxh3_64(&[&length[..], KEY, body].concat());
            stored.extend(digest.to_be_bytes());
        }
        stored
    };
    let stored = close(&body);
    let effort = pipeline.effort(&stored);
    assert!(effort >= stored.len() as u64 && effort <= MOST.max(stored.len() as u64));
    let Ok((meta, payload)) = pipeline.open(NAME, stored.into()) else {
        return;
    };
    assert!(payload.len() as u64 <= MOST);
    if pipeline.keeps_meta() && body.ends_with(&payload) {
        body.push(0);
        let longer = pipeline.open(NAME, close(&body).into());
        assert!(longer.is_err(), "a byte more than it says");
    }
    // A header that just fits may be one that only another writer can make that short.
    if let Ok(again) = pipeline.wrap(NAME, &meta, payload.to_vec()) {
        let opened = pipeline.open(NAME, again).expect("what was written opens");
        assert_eq!(opened, (meta, payload));
    }
}
