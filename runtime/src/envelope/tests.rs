mod published;
mod sealed;

use prost::Message;

use super::*;
use crate::generated::presets;
use crate::keyring::MasterKey;

const KEY: Name<'_> = Name::of(b"ck:default:shop.price:00");

fn pipeline(format: &'static str) -> Pipeline {
    let mut options = presets::DEFAULT;
    options.envelope = format;
    options.max_value_bytes = 1 << 20;
    Pipeline::new(&options, Serializer::Native)
        .unwrap()
        .with_keyring(keyring(1, &[]))
}

/// The keyring of the master key of that byte, and of previous ones.
fn keyring(current: u8, previous: &[u8]) -> Arc<Keyring> {
    let master = |byte: &u8| MasterKey::from_bytes(&[*byte; 32]).unwrap();
    let previous = previous.iter().map(master).collect();
    Arc::new(Keyring::new(master(&current), previous).unwrap())
}

fn meta() -> Meta {
    Meta {
        created_ms: 1_700_000_000_000,
        lifetime: Some(Duration::from_hours(1)),
        sliding: false,
        cost: Duration::from_micros(1500),
        generations: vec![0, u64::MAX],
    }
}

/// Bytes that do not compress.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    std::iter::repeat_with(|| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (state >> 56) as u8
    })
    .take(length)
    .collect()
}

fn code<T: fmt::Debug>(result: Result<T>) -> ErrorCode {
    result.unwrap_err().code()
}

/// An entry of `format` with a header of its own making, and a right checksum.
fn forged(format: &Pipeline, header: &header::Header, payload: &[u8]) -> Bytes {
    let (mut entry, _) = header::frame(format.format.id, header, payload.to_vec(), 0).unwrap();
    for step in format.format.steps {
        if let Step::Checksum { algorithm } = *step {
            let digest = checksum::digest(algorithm, KEY.key, &entry);
            entry.extend_from_slice(&digest);
        }
    }
    entry.into()
}

#[test]
fn what_is_wrapped_opens() {
    for format in FORMATS {
        let pipeline = pipeline(format.name);
        for length in [0, 1, 100, 1023, 1024, 70_000, 1 << 20] {
            for payload in [vec![7; length], noise(length)] {
                let stored = pipeline.wrap(KEY, &meta(), payload.clone()).unwrap();
                let (read, value) = pipeline.open(KEY, stored).unwrap();
                let kept = pipeline.keeps_meta().then(meta).unwrap_or_default();
                assert_eq!(read, kept);
                assert_eq!(value, payload, "{} of {length}", format.name);
            }
        }
    }
}

#[test]
fn an_entry_has_the_bytes_of_the_specification() {
    let meta = Meta {
        generations: vec![5],
        ..Meta::default()
    };
    let stored = pipeline("bare").wrap(KEY, &meta, b"hi".to_vec()).unwrap();
    let expected = [
        &[0xc4, 0x4b, 3, 14][..],
        &[0x28, 1, 0x38, 2, 0x52, 8, 5, 0, 0, 0, 0, 0, 0, 0],
        b"hi",
    ];
    assert_eq!(stored, expected.concat());
}

#[test]
fn a_payload_that_is_not_compressed_is_not_copied() {
    let stored = pipeline("plain").wrap(KEY, &meta(), vec![1; 64]).unwrap();
    let range = stored.as_ptr_range();
    let (_, value) = pipeline("plain").open(KEY, stored.clone()).unwrap();
    assert!(range.contains(&value.as_ptr()));
}

#[test]
fn an_entry_is_framed_within_the_memory_of_its_payload() {
    let mut payload = Vec::with_capacity(1 << 19);
    payload.resize(200 << 10, 7);
    let begin = payload.as_ptr();
    let stored = pipeline("plain").wrap(KEY, &meta(), payload).unwrap();
    assert_eq!(stored.as_ptr(), begin);
    // What was to spare is given back.
    let stored = Vec::from(stored);
    assert!(stored.capacity() < 201 << 10, "{}", stored.capacity());
}

#[test]
fn compression_is_tried_from_its_threshold_and_kept_where_it_shrinks() {
    let packed = pipeline("packed");
    let size = |pipeline: &Pipeline, payload: Vec<u8>| {
        pipeline.wrap(KEY, &Meta::default(), payload).unwrap().len()
    };
    assert!(size(&packed, vec![0; 1023]) > 1023);
    assert!(size(&packed, vec![0; 1024]) < 100);
    let plain = pipeline("plain");
    assert_eq!(size(&packed, noise(5000)), size(&plain, noise(5000)));

    let mut options = presets::DEFAULT;
    options.compression = false;
    let without = Pipeline::new(&options, Serializer::Native).unwrap();
    assert!(size(&without, vec![0; 5000]) > 5000);
    let stored = packed.wrap(KEY, &Meta::default(), vec![0; 5000]).unwrap();
    assert_eq!(
        without.open(KEY, stored).unwrap().1,
        vec![0; 5000],
        "it still reads"
    );
}

#[test]
fn an_entry_is_never_larger_for_its_compression() {
    let [packed, plain] = ["packed", "plain"].map(pipeline);
    let payloads = (1480..1500)
        .flat_map(|length| (20..40).map(move |run| [noise(length), vec![0; run]].concat()));
    // By how much each payload shrinks: a header grows by two bytes for it, or three with the length in front of it.
    let mut by_saving = [const { None }; 5];
    for payload in payloads {
        let length = compress::compress(crate::generated::envelope::Compression::Lz4, &payload)
            .map_or(0, |packed| packed.len());
        if let Some(place) = by_saving.get_mut(payload.len().saturating_sub(length)) {
            *place = Some(payload);
        }
    }
    for (saving, payload) in by_saving.into_iter().enumerate().skip(1) {
        let payload = payload.expect("one of them saves so much");
        for (generations, bytes) in (13..16).flat_map(|n| (0..8).map(move |bytes| (n, bytes))) {
            let meta = Meta {
                created_ms: 1 << (7 * bytes),
                generations: vec![1; generations],
                ..Meta::default()
            };
            let [stored, as_it_is] = [&packed, &plain]
                .map(|pipeline| pipeline.wrap(KEY, &meta, payload.clone()).unwrap());
            let (size, limit) = (stored.len(), as_it_is.len());
            assert!(size <= limit, "{size} and not {limit}, saving {saving}");
            assert!(size < limit || saving < 4, "{size} for {limit}");
            let plainly = stored[..size - 8].ends_with(&payload);
            assert_eq!(plainly, size == limit, "for nothing it is not compressed");
        }
    }
}

#[test]
fn a_large_payload_is_compressed_if_its_pieces_shrink() {
    const SIZE: usize = 256 << 10;
    const PIECE: usize = 4096;
    let packed = pipeline("packed");
    let stored = |length: usize, shrinking: usize| {
        // Zeros throughout, but for those pieces that are looked at.
        let mut payload = vec![0; length];
        for at in shrinking..16 {
            let start = (SIZE - PIECE) / 15 * at;
            payload[start..start + PIECE].copy_from_slice(&noise(PIECE));
        }
        packed.wrap(KEY, &meta(), payload).unwrap().len()
    };
    assert!(
        stored(SIZE - 1, 0) < SIZE / 2,
        "smaller ones are compressed"
    );
    assert!(stored(SIZE, 0) > SIZE, "not a piece of it shrinks");
    assert!(stored(SIZE, 1) < SIZE / 2, "a sixteenth of them does");
}

#[test]
fn compressed_bytes_do_not_depend_on_what_was_compressed_before() {
    let packed = pipeline("packed");
    let payload: Vec<u8> = (0..20_000_u32)
        .flat_map(|n| (n / 7).to_le_bytes())
        .collect();
    let first = packed.wrap(KEY, &meta(), payload[..4000].to_vec()).unwrap();
    packed.wrap(KEY, &meta(), payload.clone()).unwrap();
    assert_eq!(
        packed.wrap(KEY, &meta(), payload[..4000].to_vec()).unwrap(),
        first
    );
}

#[test]
fn every_flipped_bit_and_every_cut_is_noticed() {
    for format in ["plain", "packed", "sealed"] {
        let pipeline = pipeline(format);
        let stored = pipeline.wrap(KEY, &meta(), vec![9; 1500]).unwrap();
        for bit in 0..stored.len() * 8 {
            let mut bytes = stored.to_vec();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                pipeline.open(KEY, bytes.into()).is_err(),
                "{format}: bit {bit}"
            );
        }
        for end in 0..stored.len() {
            assert!(
                pipeline.open(KEY, stored.slice(..end)).is_err(),
                "{format}: cut at {end}"
            );
        }
        let longer = [&stored[..], &[0]].concat();
        assert!(pipeline.open(KEY, longer.into()).is_err());
    }
}

#[test]
fn an_entry_means_nothing_under_another_key() {
    let pipeline = pipeline("plain");
    let stored = pipeline.wrap(KEY, &meta(), b"x".to_vec()).unwrap();
    assert_eq!(
        code(pipeline.open(Name::of(b"other"), stored)),
        ErrorCode::EnvelopeChecksum
    );
}

#[test]
fn a_key_and_an_entry_cannot_trade_bytes() {
    let one = checksum::digest(crate::generated::envelope::Checksum::Xxh3_64, b"ab", b"c");
    let other = checksum::digest(crate::generated::envelope::Checksum::Xxh3_64, b"a", b"bc");
    assert_ne!(one, other);
}

#[test]
fn only_the_reader_s_own_format_and_serializer_open() {
    let stored = pipeline("bare").wrap(KEY, &meta(), b"x".to_vec()).unwrap();
    assert_eq!(
        code(pipeline("plain").open(KEY, stored)),
        ErrorCode::EnvelopeForeign
    );
    let stored = pipeline("plain").wrap(KEY, &meta(), b"x".to_vec()).unwrap();
    let other = Pipeline {
        serializer: Serializer::Messagepack,
        ..pipeline("plain")
    };
    assert_eq!(code(other.open(KEY, stored)), ErrorCode::EnvelopeForeign);
}

#[test]
fn a_compression_that_the_format_lacks_is_foreign() {
    let plain = pipeline("plain");
    for compression in [1, 2, -1] {
        let mut header = header::of(&meta(), Serializer::Native, 1);
        header.compression = compression;
        assert_eq!(
            code(plain.open(KEY, forged(&plain, &header, b"x"))),
            ErrorCode::EnvelopeForeign
        );
    }
}

#[test]
fn unknown_header_fields_are_passed_over() {
    let pipeline = pipeline("plain");
    let header = header::of(&meta(), Serializer::Native, 1);
    let (framed, _) = header::frame(pipeline.format.id, &header, Vec::new(), 0).unwrap();
    // Field 100, a varint; then field 101, bytes.
    let unknown = [0xa0, 0x06, 0x07, 0xaa, 0x06, 0x02, 1, 2];
    let mut entry = framed.clone();
    entry[3] += unknown.len() as u8;
    entry.extend_from_slice(&unknown);
    entry.push(b'x');
    let digest = checksum::digest(
        crate::generated::envelope::Checksum::Xxh3_64,
        KEY.key,
        &entry,
    );
    entry.extend_from_slice(&digest);
    assert_eq!(
        pipeline.open(KEY, entry.into()).unwrap(),
        (meta(), Bytes::from_static(b"x"))
    );
}

#[test]
fn header_lengths_have_one_form_and_a_bound() {
    let bare = pipeline("bare");
    let entry = |length: &[u8], rest: usize| {
        let mut entry = [&[0xc4, 0x4b, 3][..], length].concat();
        entry.resize(entry.len() + rest, 0);
        code(bare.open(KEY, entry.into()))
    };
    // Zero in two bytes; five in three; 4097; a length that the bytes do not have; none.
    assert_eq!(entry(&[0x80, 0x00], 0), ErrorCode::EnvelopeMalformed);
    assert_eq!(entry(&[0x85, 0x80, 0x00], 5), ErrorCode::EnvelopeMalformed);
    assert_eq!(entry(&[0x81, 0x20], 5000), ErrorCode::EnvelopeMalformed);
    assert_eq!(entry(&[0x7f], 126), ErrorCode::EnvelopeMalformed);
    assert_eq!(entry(&[], 0), ErrorCode::EnvelopeMalformed);

    let mut wide = Meta {
        generations: vec![1; 508],
        ..Meta::default()
    };
    let stored = bare.wrap(KEY, &wide, Vec::new()).unwrap();
    assert_eq!(bare.open(KEY, stored).unwrap().0, wide);
    wide.generations = vec![1; 512];
    assert_eq!(
        code(bare.wrap(KEY, &wide, Vec::new())),
        ErrorCode::EnvelopeMalformed
    );
}

#[test]
fn sizes_are_checked_before_anything_is_allocated_by_them() {
    let packed = pipeline("packed");
    let claim = |size: u64, payload: &[u8]| {
        let mut header = header::of(&meta(), Serializer::Native, size);
        header.set_compression(Compression::Lz4);
        packed.open(KEY, forged(&packed, &header, payload))
    };
    assert_eq!(code(claim(u64::MAX, b"x")), ErrorCode::EnvelopeMalformed);
    assert_eq!(
        code(claim((1 << 20) + 1, &[0; 9000])),
        ErrorCode::EnvelopeMalformed
    );
    let error = claim(255 * 10 + 65, &[0; 10]).unwrap_err().to_string();
    assert!(error.contains("10 bytes cannot become 2615"), "{error}");
    let error = claim(255 * 10 + 64, &[0; 10]).unwrap_err().to_string();
    assert!(error.contains("does not decompress"), "{error}");
    let honest =
        compress::compress(crate::generated::envelope::Compression::Lz4, &[5; 600]).unwrap();
    assert_eq!(claim(600, &honest).unwrap().1, vec![5; 600]);
    assert_eq!(code(claim(601, &honest)), ErrorCode::EnvelopeMalformed);
    assert_eq!(code(claim(599, &honest)), ErrorCode::EnvelopeMalformed);
    assert_eq!(code(claim(0, b"")), ErrorCode::EnvelopeMalformed);

    let plain = pipeline("plain");
    let header = header::of(&meta(), Serializer::Native, 2);
    assert_eq!(
        code(plain.open(KEY, forged(&plain, &header, b"x"))),
        ErrorCode::EnvelopeMalformed
    );
}

#[test]
fn a_payload_over_the_limit_is_refused() {
    let pipeline = pipeline("packed");
    let error = pipeline
        .wrap(KEY, &meta(), vec![0; (1 << 20) + 1])
        .unwrap_err();
    assert_eq!(error.code(), ErrorCode::ValueTooLarge);
    assert!(error.to_string().contains("1048577 bytes"), "{error}");
}

#[test]
fn lifetimes_are_rounded_up_and_the_shorter_one_counts() {
    let pipeline = pipeline("bare");
    let lifetime = |lifetime| {
        let meta = Meta {
            lifetime,
            ..Meta::default()
        };
        let stored = pipeline.wrap(KEY, &meta, Vec::new()).unwrap();
        pipeline.open(KEY, stored).unwrap().0.lifetime
    };
    assert_eq!(lifetime(None), None);
    assert_eq!(
        lifetime(Some(Duration::from_nanos(1))),
        Some(Duration::from_millis(1))
    );
    assert_eq!(
        lifetime(Some(Duration::ZERO)),
        Some(Duration::from_millis(1))
    );
    assert_eq!(
        lifetime(Some(Duration::from_micros(1001))),
        Some(Duration::from_millis(2))
    );

    let read = |fresh_ms, hard_ms| {
        header::meta(header::Header {
            fresh_ms,
            hard_ms,
            ..header::Header::default()
        })
        .lifetime
    };
    assert_eq!(read(5, 9), Some(Duration::from_millis(5)));
    assert_eq!(read(0, 9), Some(Duration::from_millis(9)));
    assert_eq!(read(5, 0), Some(Duration::from_millis(5)));
}

#[test]
fn a_life_that_slides_has_no_hard_end() {
    let pipeline = pipeline("plain");
    for (lifetime, sliding, slides) in [
        (Some(Duration::from_secs(5)), true, true),
        (Some(Duration::from_secs(5)), false, false),
        (None, true, false),
    ] {
        let meta = Meta {
            lifetime,
            sliding,
            ..Meta::default()
        };
        let stored = pipeline.wrap(KEY, &meta, Vec::new()).unwrap();
        let (read, _) = pipeline.open(KEY, stored).unwrap();
        assert_eq!((read.lifetime, read.sliding), (lifetime, slides));
    }
}

#[test]
fn an_unknown_format_names_the_known_ones() {
    let mut options = presets::DEFAULT;
    options.envelope = "sealde";
    let error = Pipeline::new(&options, Serializer::Native).unwrap_err();
    let text = error.to_string();
    let (said, names) = text.split_once(" are ").unwrap();
    assert_eq!(said, "envelope=sealde is not valid: the formats");
    let known: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
    assert_eq!(names.split(", ").collect::<Vec<_>>(), known);
}

#[test]
fn arbitrary_bytes_never_panic() {
    let bytes = noise(1 << 16);
    for format in FORMATS {
        let pipeline = pipeline(format.name);
        for start in (0..bytes.len() - 300).step_by(7) {
            let mut entry = bytes[start..start + 1 + start % 300].to_vec();
            for (to, from) in entry
                .iter_mut()
                .zip([0xc4, 0x4b, format.id, start as u8 % 40])
            {
                *to = from;
            }
            let _ = pipeline.open(KEY, entry.into());
        }
    }
}

#[test]
fn a_header_of_just_the_longest_length_is_written_and_read() {
    let bare = pipeline("bare");
    let mut seen = Vec::new();
    for bytes in 0..9 {
        let meta = Meta {
            created_ms: 1 << (7 * bytes),
            generations: vec![1; 510],
            ..Meta::default()
        };
        let length = header::of(&meta, Serializer::Native, 2).encoded_len();
        let stored = bare.wrap(KEY, &meta, b"hi".to_vec());
        seen.push((length, stored.is_ok()));
        if let Ok(stored) = stored {
            assert_eq!(bare.open(KEY, stored).unwrap().0, meta);
        }
    }
    assert_eq!(seen[7..], [(4096, true), (4097, false)]);
}

#[test]
fn the_effort_of_opening_is_what_it_becomes_within_the_limit() {
    let packed = pipeline("packed");
    let small = packed.wrap(KEY, &meta(), vec![0; 10]).unwrap();
    assert_eq!(packed.effort(&small), small.len() as u64);
    let large = packed.wrap(KEY, &meta(), vec![0; 50_000]).unwrap();
    assert_eq!(packed.effort(&large), 50_000);
    let liar = header::of(&meta(), Serializer::Native, 1 << 40);
    assert_eq!(packed.effort(&forged(&packed, &liar, b"x")), 1 << 20);
    assert_eq!(packed.effort(b"no entry at all"), 15);
}

#[test]
fn a_format_has_a_brother_for_each_choice() {
    use crate::generated::envelope::Compression::{Lz4, Zstd};

    let found = |name, checksum, compression| {
        let choice = Choice {
            checksum,
            compression,
        };
        let format = choice.within(pipeline(name).format());
        format.map(|format| format.name)
    };
    for name in ["plain", "packed", "bare", "slim", "dense"] {
        assert_eq!(found(name, true, None), Some("plain"));
        assert_eq!(found(name, true, Some(Lz4)), Some("packed"));
        assert_eq!(found(name, false, None), Some("bare"));
        assert_eq!(found(name, false, Some(Lz4)), Some("slim"));
        assert_eq!(found(name, true, Some(Zstd)), Some("dense"));
        assert_eq!(found(name, false, Some(Zstd)), None);
    }
    for format in FORMATS {
        assert_eq!(
            Choice::of(format).within(format),
            Some(*format),
            "{}",
            format.name
        );
    }
    assert_eq!(found("sealed", false, Some(Lz4)), None);
}

#[test]
fn a_frame_that_lies_costs_no_memory() {
    let dense = pipeline("dense");
    let text = "the quick brown fox jumps over the lazy dog; ".repeat(2000);
    let stored = dense.wrap(KEY, &meta(), text.clone().into_bytes()).unwrap();
    let packed = pipeline("packed").wrap(KEY, &meta(), text.clone().into_bytes());
    assert!(stored.len() < packed.unwrap().len());
    assert_eq!(dense.open(KEY, stored).unwrap().1, text.as_bytes());

    // A frame of a few bytes that says it becomes the most that is allowed: the content decides, not what is said of it.
    let size = 1 << 20;
    let bomb = zstd::bulk::compress(&vec![0; size], 3).unwrap();
    for declared in [size as u64 - 1, size as u64] {
        let mut header = header::of(&meta(), Serializer::Native, declared);
        header.compression = crate::generated::wire::Compression::Zstd as i32;
        let opened = dense.open(KEY, forged(&dense, &header, &bomb));
        if declared == size as u64 {
            assert_eq!(opened.unwrap().1.len(), size);
        } else {
            assert_eq!(code(opened), ErrorCode::EnvelopeMalformed);
        }
    }
}
