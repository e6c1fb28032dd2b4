//! LZ4 blocks, written from the block format's description.
//!
//! A compressor of its own, and a plain one, so that readers are tested on blocks that their own library did not write.

/// Shorter matches cannot be said.
const MIN_MATCH: usize = 4;
/// The last bytes of a block are always literals.
const LAST_LITERALS: usize = 5;
/// No match begins this close to the end.
const MATCH_MARGIN: usize = 12;
/// Farthest match that two bytes of offset reach.
const MAX_OFFSET: usize = 0xffff;

/// One block that decompresses to `input`.
pub(super) fn compress(input: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut literals = 0;
    let mut at = 0;
    while at + MATCH_MARGIN <= input.len() {
        match longest(input, at) {
            Some((offset, length)) => {
                sequence(&mut out, &input[literals..at], Some((offset, length)));
                at += length;
                literals = at;
            }
            None => at += 1,
        }
    }
    sequence(&mut out, &input[literals..], None);
    out
}

/// The longest earlier run that equals what begins at `at`; the nearest of equals.
fn longest(input: &[u8], at: usize) -> Option<(usize, usize)> {
    let limit = input.len() - LAST_LITERALS - at;
    let length = |offset: usize| {
        (0..limit)
            .take_while(|i| input[at - offset + i] == input[at + i])
            .count()
    };
    (1..=at.min(MAX_OFFSET))
        .map(|offset| (offset, length(offset)))
        .filter(|(_, length)| *length >= MIN_MATCH)
        .reduce(|best, next| if next.1 > best.1 { next } else { best })
}

fn sequence(out: &mut Vec<u8>, literals: &[u8], copy: Option<(usize, usize)>) {
    let extra = copy.map_or(0, |(_, length)| length - MIN_MATCH);
    out.push((literals.len().min(15) as u8) << 4 | extra.min(15) as u8);
    long(out, literals.len());
    out.extend(literals);
    if let Some((offset, _)) = copy {
        out.extend((offset as u16).to_le_bytes());
        long(out, extra);
    }
}

/// What of a length did not fit into four bits.
fn long(out: &mut Vec<u8>, length: usize) {
    if let Some(mut rest) = length.checked_sub(15) {
        while rest >= 255 {
            out.push(255);
            rest -= 255;
        }
        out.push(rest as u8);
    }
}

/// What `block` decompresses to, or nothing where it does not fill `length` bytes exactly.
pub(super) fn decompress(block: &[u8], length: usize) -> Option<Vec<u8>> {
    decompress_within(block, length).filter(|out| out.len() == length)
}

/// What `block` decompresses to, or nothing where that is more than `most` bytes.
pub(super) fn decompress_within(block: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = block;
    loop {
        let (&token, tail) = rest.split_first()?;
        rest = tail;
        let count = take_long(&mut rest, usize::from(token >> 4))?;
        let (literals, tail) = rest.split_at_checked(count)?;
        out.extend(literals);
        rest = tail;
        if rest.is_empty() {
            return (out.len() <= most).then_some(out);
        }
        let (offset, tail) = rest.split_first_chunk::<2>()?;
        rest = tail;
        let offset = usize::from(u16::from_le_bytes(*offset));
        let count = take_long(&mut rest, usize::from(token & 15))? + MIN_MATCH;
        if offset == 0 || offset > out.len() || out.len() + count > most {
            return None;
        }
        for _ in 0..count {
            out.push(out[out.len() - offset]);
        }
    }
}

fn take_long(rest: &mut &[u8], short: usize) -> Option<usize> {
    let mut length = short;
    let mut more = short == 15;
    while more {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        length += usize::from(byte);
        more = byte == 255;
    }
    Some(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_a_literal_and_a_copy() {
        // One literal, then 24 bytes (4 + 15 + 5) from one back, then five literals.
        let mut block = vec![0x1f, b'a', 1, 0, 5, 0x50];
        block.extend([b'a'; 5]);
        assert_eq!(compress(&[b'a'; 30]), block);
    }

    #[test]
    fn short_input_is_all_literals() {
        assert_eq!(compress(b"abc"), [0x30, b'a', b'b', b'c']);
        assert_eq!(compress(b""), [0x00]);
        assert_eq!(decompress_within(&[0x10, b'a'], 5), Some(vec![b'a']));
        assert_eq!(decompress_within(&[0x20, b'a', b'b'], 1), None);
    }

    #[test]
    fn the_common_library_reads_it() {
        let mut state = 7_u32;
        for length in [0, 1, 12, 13, 300, 2_000] {
            let input: Vec<u8> = (0..length)
                .map(|_| {
                    state = state.wrapping_mul(1_103_515_245).wrapping_add(12_345);
                    b"abcd"[(state >> 16) as usize % 4]
                })
                .collect();
            let block = compress(&input);
            let opened = lz4_flex::block::decompress(&block, length);
            assert_eq!(opened.ok().as_ref(), Some(&input), "{length}");
            assert_eq!(
                decompress(&lz4_flex::block::compress(&input), length),
                Some(input)
            );
        }
    }
}
