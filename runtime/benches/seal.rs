//! What sealing and opening an entry of a kilobyte costs, beside the parts that it cannot do without: `cargo bench --bench seal`.
//!
//! The parts are the `aes-gcm` crate with a key for each message, which is derived from the kernel's random bytes and set up
//! twice, as writer and reader do, over as much associated data: names, and everything in front of the payload. Both run in turns; given are the least of each, their ratio, and the median of the ratios.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes_gcm::Aes256Gcm;
use aes_gcm::aead::AeadInOut;
use cachekit_runtime::envelope::{Meta, Name, Pipeline};
use cachekit_runtime::generated::presets;
use cachekit_runtime::generated::wire::Serializer;
use cachekit_runtime::keyring::{Keyring, MasterKey};

const ROUNDS: usize = 300;
const EACH: u32 = 200;
const NAME: &[u8] = b"ck:default:shop.prices.price_of:\
    47487b092786326544e780003803641bc61adf47332721f4f9a0bb52bc4cdcae";

/// The key of a message, from a derivation of two blocks.
fn message_key(aes: &Aes256, nonce: &[u8; 24]) -> Aes256Gcm {
    let mut key = [0; 32];
    for (block, counter) in key.as_chunks_mut::<16>().0.iter_mut().zip(1..) {
        block[1] = counter;
        block[4..].copy_from_slice(&nonce[..12]);
        aes.encrypt_block(block.into());
    }
    Aes256Gcm::new((&key).into())
}

/// The length of what an entry's tag covers besides its payload.
fn associated(pipeline: &Pipeline, meta: &Meta) -> usize {
    let name = Name::of(NAME);
    let entry = pipeline.wrap(name, meta, Vec::new());
    let front = entry.expect("it is short").len() - 16;
    4 + name.tenant.len() + 4 + name.key.len() + front
}

fn parts(aes: &Aes256, associated: &[u8], plain: &[u8]) {
    let mut nonce = [0; 24];
    let drawn = rustix::rand::getrandom(&mut nonce, rustix::rand::GetRandomFlags::empty());
    assert_eq!(drawn, Ok(24));
    let last: &[u8; 12] = nonce.last_chunk().expect("there are 24");
    let mut text = plain.to_vec();
    let tag = message_key(aes, &nonce).encrypt_inout_detached(
        last.into(),
        associated,
        (&mut text[..]).into(),
    );
    let tag = tag.expect("it is short");
    let opened = message_key(aes, &nonce).decrypt_inout_detached(
        last.into(),
        associated,
        (&mut text[..]).into(),
        &tag,
    );
    opened.expect("just sealed");
    black_box(text);
}

fn entries(pipeline: &Pipeline, meta: &Meta, plain: &[u8]) {
    let name = Name::of(NAME);
    let entry = pipeline.wrap(name, meta, plain.to_vec());
    let opened = pipeline.open(name, entry.expect("it is short"));
    black_box(opened.expect("just sealed"));
}

/// Nanoseconds of one run.
fn timed(mut work: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..EACH {
        work();
    }
    begun.elapsed().as_secs_f64() * 1e9 / f64::from(EACH)
}

fn main() {
    let master = MasterKey::from_bytes(&[7; 32]).expect("32 bytes");
    let keyring = Arc::new(Keyring::new(master, Vec::new()).expect("one key"));
    let mut options = presets::DEFAULT;
    options.envelope = "sealed";
    let pipeline = Pipeline::new(&options, Serializer::Native).expect("the format exists");
    let pipeline = pipeline.with_keyring(keyring);
    let meta = Meta {
        created_ms: 1_700_000_000_000,
        lifetime: Some(Duration::from_mins(10)),
        ..Meta::default()
    };
    let aes = Aes256::new(&[7; 32].into());
    let associated = vec![0x5a; associated(&pipeline, &meta)];
    for length in [64, 1024, 65_536] {
        let plain = vec![0x5a; length];
        let mut least = [f64::MAX; 2];
        let mut ratios: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let parts = timed(|| parts(&aes, &associated, &plain));
                let entries = timed(|| entries(&pipeline, &meta, &plain));
                least = [least[0].min(parts), least[1].min(entries)];
                entries / parts
            })
            .collect();
        ratios.sort_by(f64::total_cmp);
        let [parts, entries] = least;
        println!(
            "seal and open {length:>6} bytes: {entries:>8.0} ns, its parts {parts:>8.0} ns, ratio {:.2}, median {:.2}",
            entries / parts,
            ratios[ROUNDS / 2]
        );
    }
}
