//! Compression of payloads.
//!
//! The store is shared, so a compressed payload is hostile until shown otherwise: how large it becomes is bounded before a
//! buffer for it exists.

use std::cell::RefCell;

use lz4_flex::block::{
    CompressTable, compress_into_with_table, decompress as decompress_lz4, get_maximum_output_size,
};

use zstd::bulk::{Compressor, Decompressor};

use super::malformed;
use crate::error::Result;
use crate::generated::envelope::Compression;
use crate::generated::wire;

/// Inputs from this size on need a table of 32-bit positions, which is a little slower.
const LARGE: usize = u16::MAX as usize;

/// From this size on, pieces of a payload say first whether the whole is worth it. Bytes that do not shrink cost LZ4 itself
/// little, but the room for what comes of them, which the system has to find, costs more than all the rest of storing.
const PROBED: usize = 256 << 10;
/// How many pieces there are, spread evenly from the first byte to the last.
const PIECES: usize = 16;
/// Bytes of each.
const PIECE: usize = 4 << 10;
/// By what part the pieces must shrink, each for itself.
const LEAST: usize = 32;

thread_local! {
    /// The compressor's working memory, by what fits its positions: 8 and 16 KiB, made once for each thread. An input always
    /// uses the same kind, so that its compressed bytes do not depend on what came before.
    static TABLES: RefCell<[Option<CompressTable>; 2]> = const { RefCell::new([None, None]) };
}

/// What the library itself begins with: more work gains little on what is cached.
const LEVEL: i32 = 3;

thread_local! {
    /// Contexts of Zstandard, which take longer to make than a small payload to compress.
    static ZSTD: RefCell<(Option<Compressor<'static>>, Option<Decompressor<'static>>)> =
        const { RefCell::new((None, None)) };
}

/// How a header names `algorithm`.
pub(super) const fn wire(algorithm: Compression) -> wire::Compression {
    match algorithm {
        Compression::Lz4 => wire::Compression::Lz4,
        Compression::Zstd => wire::Compression::Zstd,
    }
}

/// `payload` compressed, smaller or not; nothing if it is not worth it.
pub(super) fn compress(algorithm: Compression, payload: &[u8]) -> Option<Vec<u8>> {
    match algorithm {
        Compression::Lz4 => TABLES.with(|tables| {
            let mut tables = tables.try_borrow_mut().ok()?;
            let [small, large] = &mut *tables;
            if payload.len() >= PROBED {
                let table = small.get_or_insert_with(CompressTable::small);
                promises(payload, table).then_some(())?;
            }
            let table = if payload.len() < LARGE {
                small.get_or_insert_with(CompressTable::small)
            } else {
                large.get_or_insert_with(CompressTable::large)
            };
            let mut packed = vec![0; get_maximum_output_size(payload.len())];
            let length = compress_into_with_table(payload, &mut packed, table).ok()?;
            packed.truncate(length);
            Some(packed)
        }),
        Compression::Zstd => ZSTD.with(|contexts| {
            let mut contexts = contexts.try_borrow_mut().ok()?;
            let context = match &mut contexts.0 {
                Some(context) => context,
                none => none.insert(Compressor::new(LEVEL).ok()?),
            };
            context.compress(payload).ok()
        }),
    }
}

/// Whether the pieces of a payload shrink.
fn promises(payload: &[u8], table: &mut CompressTable) -> bool {
    let mut packed = vec![0; get_maximum_output_size(PIECE)];
    let stride = (payload.len() - PIECE) / (PIECES - 1);
    let total: usize = (0..PIECES)
        .map(|at| {
            let piece = &payload[at * stride..][..PIECE];
            compress_into_with_table(piece, &mut packed, table).unwrap_or(PIECE)
        })
        .sum();
    total <= PIECES * (PIECE - PIECE / LEAST)
}

/// `packed` decompressed to exactly `size` bytes.
pub(super) fn decompress(algorithm: Compression, packed: &[u8], size: u64) -> Result<Vec<u8>> {
    match algorithm {
        Compression::Lz4 => {
            // A byte of an LZ4 block stands for at most 255 bytes.
            let most = (packed.len() as u64).saturating_mul(255).saturating_add(64);
            let Some(capacity) = usize::try_from(size).ok().filter(|_| size <= most) else {
                let packed = packed.len();
                return Err(malformed(format_args!(
                    "{packed} bytes cannot become {size}"
                )));
            };
            let payload = decompress_lz4(packed, capacity)
                .map_err(|error| malformed("it does not decompress").with_source(error))?;
            exactly(size, payload)
        }
        Compression::Zstd => {
            // The frame and the header must agree, and nothing may follow, before there is room for what it becomes.
            let said = zstd::zstd_safe::get_frame_content_size(packed)
                .ok()
                .flatten();
            let whole = zstd::zstd_safe::find_frame_compressed_size(packed) == Ok(packed.len());
            let Some(capacity) = usize::try_from(size)
                .ok()
                .filter(|_| said == Some(size) && whole)
            else {
                return Err(malformed("it is no frame of that size"));
            };
            let payload = ZSTD.with(|contexts| {
                let mut contexts = contexts.try_borrow_mut().map_err(malformed)?;
                let context = match &mut contexts.1 {
                    Some(context) => context,
                    none => none.insert(Decompressor::new().map_err(malformed)?),
                };
                let payload = context.decompress(packed, capacity);
                payload.map_err(|error| malformed("it does not decompress").with_source(error))
            });
            exactly(size, payload?)
        }
    }
}

fn exactly(size: u64, payload: Vec<u8>) -> Result<Vec<u8>> {
    if payload.len() as u64 == size {
        Ok(payload)
    } else {
        let actual = payload.len();
        Err(malformed(format_args!(
            "it declares {size} bytes and has {actual}"
        )))
    }
}
