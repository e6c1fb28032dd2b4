//! Zstandard frames, written from RFC 8878: of raw blocks and of blocks that repeat one byte, which every reader must know.
//!
//! Not a compressor worth its name, but one of its own: readers are tested on frames that their own library did not write.

const MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const RAW: u32 = 0;
const RUN: u32 = 1;
/// A block stands for at most this many bytes.
const MOST: usize = 128 << 10;
/// Runs that are shorter stay literal.
const LEAST: usize = 16;

/// One frame that decompresses to `input`, and says so in four bytes of size.
pub(super) fn compress(input: &[u8]) -> Vec<u8> {
    // One segment, a content size of four bytes, no checksum and no dictionary.
    let mut out = MAGIC.to_vec();
    out.push(0b1010_0000);
    out.extend((input.len() as u32).to_le_bytes());
    let mut blocks = Vec::new();
    let mut at = 0;
    while at < input.len() {
        let run = run(&input[at..]);
        if run >= LEAST {
            blocks.push((RUN, run, vec![input[at]]));
            at += run;
            continue;
        }
        let rest = &input[at..];
        let raw = (0..rest.len()).find(|skip| self::run(&rest[*skip..]) >= LEAST);
        let raw = raw.unwrap_or(rest.len()).min(MOST);
        blocks.push((RAW, raw, rest[..raw].to_vec()));
        at += raw;
    }
    if blocks.is_empty() {
        blocks.push((RAW, 0, vec![]));
    }
    let last = blocks.len() - 1;
    for (at, (kind, size, bytes)) in blocks.into_iter().enumerate() {
        let header = (size as u32) << 3 | kind << 1 | u32::from(at == last);
        out.extend(&header.to_le_bytes()[..3]);
        out.extend(bytes);
    }
    out
}

fn run(input: &[u8]) -> usize {
    let same = input.iter().take_while(|byte| **byte == input[0]);
    same.take(MOST).count()
}

/// What a frame of such blocks stands for, if that is exactly `size` bytes and nothing follows.
pub(super) fn decompress(frame: &[u8], size: usize) -> Option<Vec<u8>> {
    let rest = frame.strip_prefix(&MAGIC)?;
    let (&descriptor, rest) = rest.split_first()?;
    let (said, mut rest) = rest.split_first_chunk::<4>()?;
    if descriptor != 0b1010_0000 || u32::from_le_bytes(*said) as usize != size {
        return None;
    }
    let mut out = Vec::new();
    loop {
        let (header, body) = rest.split_first_chunk::<3>()?;
        let header = u32::from_le_bytes([header[0], header[1], header[2], 0]);
        let length = (header >> 3) as usize;
        let kind = header >> 1 & 3;
        if length > MOST || out.len() + length > size {
            return None;
        }
        let (bytes, behind) = body.split_at_checked(if kind == RAW { length } else { 1 })?;
        match kind {
            RAW => out.extend(bytes),
            RUN => out.extend(std::iter::repeat_n(bytes[0], length)),
            _ => return None,
        }
        rest = behind;
        if header & 1 == 1 {
            break;
        }
    }
    (rest.is_empty() && out.len() == size).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_compressed_comes_back() {
        let mixed = [&b"abc"[..], &vec![7; 300_000], b"xyz"].concat();
        for input in [&b""[..], b"a", &[0; 15], &[0; 16], &mixed] {
            let frame = compress(input);
            assert_eq!(decompress(&frame, input.len()).as_deref(), Some(input));
            assert_eq!(decompress(&frame, input.len() + 1), None);
            assert_eq!(decompress(&frame[..frame.len() - 1], input.len()), None);
        }
        assert_eq!(compress(&[b'a'; 20]).len(), 4 + 1 + 4 + 3 + 1);
    }
}
