//! A plain loop over a corpus and mutations of it: the same ones in every run, on every compiler.

use std::fmt::Write as _;
use std::path::Path;

/// Runs `target` on every file of a corpus and on so many mutants of them. What it panics on is printed.
pub(crate) fn run(corpus: &Path, mutants: usize, target: fn(&[u8])) {
    let seeds = read(corpus);
    for seed in &seeds {
        watched(seed, target);
    }
    let mut random = Random(0x6361_6368_656b_6974);
    for turn in 0..mutants {
        let mut bytes = seeds[turn % seeds.len()].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut bytes, &seeds, &mut random);
        }
        watched(&bytes, target);
    }
}

fn read(corpus: &Path) -> Vec<Vec<u8>> {
    let folder = std::fs::read_dir(corpus).expect("there is a corpus");
    let mut paths: Vec<_> = folder
        .map(|entry| entry.expect("the corpus can be read").path())
        .collect();
    paths.sort();
    let seeds: Vec<_> = paths
        .iter()
        .map(|path| std::fs::read(path).expect("a file of the corpus"))
        .collect();
    assert!(!seeds.is_empty(), "{} is empty", corpus.display());
    seeds
}

fn watched(bytes: &[u8], target: fn(&[u8])) {
    struct Input<'a>(&'a [u8]);

    impl Drop for Input<'_> {
        fn drop(&mut self) {
            if std::thread::panicking() {
                let hex = self.0.iter().fold(String::new(), |mut hex, byte| {
                    let _ = write!(hex, "{byte:02x}");
                    hex
                });
                eprintln!("the input was {hex}");
            }
        }
    }

    let _input = Input(bytes);
    target(bytes);
}

/// `SplitMix64`.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }
}

/// Bytes at which lengths, forms and characters change.
const EDGES: [u8; 16] = [
    0x00, 0x01, 0x0a, 0x20, 0x22, 0x23, 0x7b, 0x7d, 0x7f, 0x80, 0x91, 0xc1, 0xc4, 0xd9, 0xdd, 0xff,
];
/// Longest piece that is taken out, put in or repeated.
const PIECE: usize = 24;

fn mutate(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(bytes.len() + 1);
    let piece = at..bytes.len().min(at + 1 + random.below(PIECE));
    match random.below(7) {
        0 if at < bytes.len() => bytes[at] ^= 1 << random.below(8),
        1 if at < bytes.len() => bytes[at] = EDGES[random.below(EDGES.len())],
        2 => bytes.truncate(at),
        3 => drop(bytes.drain(piece)),
        4 => {
            let copied = bytes[piece].to_vec();
            let to = random.below(bytes.len() + 1);
            bytes.splice(to..to, copied);
        }
        5 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len() + 1);
            let to = other.len().min(from + 1 + random.below(PIECE));
            bytes.splice(piece, other[from..to].iter().copied());
        }
        _ => bytes.insert(at, random.next() as u8),
    }
}
