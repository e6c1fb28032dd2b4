//! What is asked for, one key after the other.
//!
//! Seven traces are made here, the same ones in every run, each for something that some policy is bad at. Others are read
//! from files.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::Path;

/// A trace whose keys are numbered in the order in which they come first.
pub(crate) struct Trace {
    pub(crate) name: String,
    /// Where it is from.
    pub(crate) source: String,
    pub(crate) requests: Vec<u32>,
    /// Distinct keys.
    pub(crate) keys: usize,
}

impl Trace {
    fn of<K: Eq + std::hash::Hash>(
        name: &str,
        source: &str,
        requests: impl Iterator<Item = K>,
    ) -> Self {
        let mut numbers = HashMap::new();
        let requests = requests
            .map(|key| {
                let next = numbers.len() as u32;
                *numbers.entry(key).or_insert(next)
            })
            .collect();
        Self {
            name: name.to_owned(),
            source: source.to_owned(),
            requests,
            keys: numbers.len(),
        }
    }

    /// One key a line.
    pub(crate) fn read(path: &Path) -> io::Result<Self> {
        let text = fs::read_to_string(path)?;
        let name = path
            .file_stem()
            .unwrap_or(path.as_os_str())
            .to_string_lossy();
        let keys = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && *line != "*");
        Ok(Self::of(&name, "file", keys))
    }
}

/// The traces that are made here.
pub(crate) fn synthetic() -> Vec<Trace> {
    let made = |name, requests: Vec<u64>| Trace::of(name, "synthetic", requests.into_iter());
    vec![
        made("zipf 0.99", zipf(100_000, 0.99, 1_000_000)),
        made("scan-heavy", scan_heavy(1_000_000)),
        made("loop", (0..400_000).map(|at| at % 20_000).collect()),
        made("loops", loops(400_000)),
        made("shifting", shifting(1_000_000)),
        made("recent", recent(400_000)),
        made("phases", phases(1_000_000)),
    ]
}

/// Numbers that a seed decides: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ bits >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ bits >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ bits >> 31
    }

    fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Ranks of which the n-th comes in proportion to n to the power of `-skew`.
struct Zipf {
    cumulated: Vec<f64>,
    random: Random,
}

impl Zipf {
    fn new(ranks: u32, skew: f64, seed: u64) -> Self {
        let mut sum = 0.0;
        let cumulated = (1..=ranks)
            .map(|rank| {
                sum += f64::from(rank).powf(-skew);
                sum
            })
            .collect();
        Self {
            cumulated,
            random: Random(seed),
        }
    }

    fn rank(&mut self) -> u64 {
        let sum = self.cumulated.last().copied().unwrap_or_default();
        let point = self.random.fraction() * sum;
        self.cumulated.partition_point(|upto| *upto < point) as u64
    }
}

fn zipf(ranks: u32, skew: f64, requests: usize) -> Vec<u64> {
    let mut zipf = Zipf::new(ranks, skew, 1);
    (0..requests).map(|_| zipf.rank()).collect()
}

/// Popular keys, and now and then some thousands of others in a row.
fn scan_heavy(requests: usize) -> Vec<u64> {
    const POPULAR: u32 = 20_000;
    const OTHERS: u64 = 100_000;
    let mut popular = Zipf::new(POPULAR, 0.9, 2);
    let mut random = Random(3);
    let (mut at, mut left) = (0, 0);
    (0..requests)
        .map(|_| {
            if left == 0 && random.below(3000) == 0 {
                (at, left) = (random.below(OTHERS), 1000 + random.below(6000));
            }
            if left == 0 {
                return popular.rank();
            }
            left -= 1;
            at = (at + 1) % OTHERS;
            u64::from(POPULAR) + at
        })
        .collect()
}

/// Loops of several lengths, each a few times over.
fn loops(requests: usize) -> Vec<u64> {
    let mut random = Random(4);
    std::iter::repeat_with(|| {
        let length = [300, 1000, 3000, 12_000][random.below(4) as usize];
        let rounds = 2 + random.below(4);
        (0..rounds * length).map(move |at| length * 100 + at % length)
    })
    .flatten()
    .take(requests)
    .collect()
}

/// Popularity that moves: a popular key is asked for some fifty times, then it changes places with any other.
fn shifting(requests: usize) -> Vec<u64> {
    const KEYS: u32 = 50_000;
    let mut zipf = Zipf::new(KEYS, 0.99, 5);
    let mut random = Random(6);
    let mut by_rank: Vec<u64> = (0..u64::from(KEYS)).collect();
    (0..requests)
        .map(|_| {
            let rank = zipf.rank() as usize;
            if random.below(50) == 0 {
                by_rank.swap(rank, random.below(u64::from(KEYS)) as usize);
            }
            by_rank[rank]
        })
        .collect()
}

/// What was asked for lately is asked for again, whatever it was before.
fn recent(requests: usize) -> Vec<u64> {
    let mut random = Random(7);
    let mut asked: Vec<u64> = Vec::with_capacity(requests);
    for time in 0..requests {
        let back = random.fraction().powf(-1.3) as usize;
        let key = if random.below(10) == 0 || back > time {
            time as u64
        } else {
            asked[time - back]
        };
        asked.push(key);
    }
    asked
}

/// A loop, popular keys and new ones by turns.
fn phases(requests: usize) -> Vec<u64> {
    const PHASE: usize = 100_000;
    let mut popular = Zipf::new(30_000, 0.9, 8);
    let recent = recent(requests);
    (0..requests)
        .map(|time| match time / PHASE % 3 {
            0 => time as u64 % 15_000,
            1 => 1_000_000 + popular.rank(),
            _ => 2_000_000 + recent[time],
        })
        .collect()
}
