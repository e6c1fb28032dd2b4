//! The policy against the textbook one, on traces in which they differ.

use std::collections::{BTreeMap, HashMap};

use super::{NOW, get, item, put, table};
use crate::random::Random;

/// The textbook policy, to compare with.
struct Lru {
    capacity: usize,
    tick: u64,
    used: HashMap<u64, u64>,
    order: BTreeMap<u64, u64>,
}

impl Lru {
    fn hit(&mut self, key: u64) -> bool {
        self.tick += 1;
        let before = self.used.insert(key, self.tick);
        self.order.insert(self.tick, key);
        if let Some(before) = before {
            self.order.remove(&before);
        } else if self.used.len() > self.capacity {
            let oldest = self.order.pop_first().map(|(_, key)| key);
            oldest.map(|key| self.used.remove(&key));
        }
        before.is_some()
    }
}

/// Hits of this table and of LRU.
fn hits(capacity: u64, trace: impl Iterator<Item = u64>) -> (u32, u32) {
    let mut table = table(capacity, u64::MAX);
    let mut lru = Lru {
        capacity: capacity as usize,
        tick: 0,
        used: HashMap::new(),
        order: BTreeMap::new(),
    };
    let (mut ours, mut theirs) = (0, 0);
    for key in trace {
        if get(&mut table, key, NOW).is_some() {
            ours += 1;
        } else {
            put(&mut table, item(key, key));
            table.take_dropped();
        }
        theirs += u32::from(lru.hit(key));
    }
    (ours, theirs)
}

/// Keys by a Zipf distribution: the n-th is asked for in proportion to n to the power of `-skew`.
fn zipf(keys: usize, skew: f64, seed: u64) -> impl Iterator<Item = u64> {
    let mut sum = 0.0;
    let cumulated: Vec<f64> = (1..=keys)
        .map(|rank| {
            sum += f64::from(rank as u32).powf(-skew);
            sum
        })
        .collect();
    let mut random = Random::new(seed);
    std::iter::repeat_with(move || {
        let point = random.fraction() * sum;
        cumulated.partition_point(|upto| *upto < point) as u64
    })
}

#[test]
fn it_keeps_more_of_a_skewed_trace_than_lru() {
    for skew in [0.7, 0.9, 1.1] {
        for capacity in [10, 100, 1000] {
            let (ours, lru) = hits(capacity, zipf(10_000, skew, capacity).take(40_000));
            assert!(
                ours >= lru,
                "skew {skew}, {capacity} entries: {ours} hits, LRU {lru}"
            );
        }
    }
}

#[test]
fn a_scan_does_not_wash_out_what_is_used() {
    let mut scanned = 1_000_000;
    let mut random = Random::new(5);
    let mut popular = zipf(2000, 0.9, 6);
    let mut left = 0;
    let trace = std::iter::repeat_with(move || {
        if left == 0 && random.below(1000) == 0 {
            left = 800;
        }
        if left > 0 {
            left -= 1;
            scanned += 1;
            return scanned;
        }
        popular.next().unwrap_or_default()
    });
    let (ours, lru) = hits(500, trace.take(80_000));
    assert!(
        f64::from(ours) >= 1.1 * f64::from(lru),
        "{ours} hits, LRU {lru}"
    );
}

#[test]
fn a_loop_over_more_than_fits_keeps_hitting_what_is_here() {
    for times in [2, 3, 10] {
        let (capacity, rounds) = (1000, 10);
        let length = capacity * times;
        let (ours, lru) = hits(capacity, (0..length * rounds).map(|at| at % length));
        assert_eq!(lru, 0);
        // In each round but the first there are as many hits as there are entries, at best.
        let most = (capacity * (rounds - 1)) as u32;
        assert!(ours * 10 >= most * 9, "{times}: {ours} of {most}");
    }
}

#[test]
fn what_is_popular_now_replaces_what_was_popular_before() {
    let popular = |first: u64| zipf(3000, 0.9, 1).take(20_000).map(move |key| first + key);
    let (alone, _) = hits(300, popular(0));
    let (both, _) = hits(300, popular(0).chain(popular(10_000)));
    let (before, after) = (f64::from(alone), f64::from(both - alone));
    assert!(
        after >= 0.95 * before,
        "{before} hits before, {after} after"
    );
}

#[test]
fn it_follows_popularity_that_moves() {
    let mut random = Random::new(8);
    let mut by_rank: Vec<u64> = (0..5000).collect();
    let trace = zipf(5000, 0.99, 9).take(100_000).map(|rank| {
        if random.below(50) == 0 {
            by_rank.swap(rank as usize, random.below(5000) as usize);
        }
        by_rank[rank as usize]
    });
    let (ours, lru) = hits(250, trace);
    assert!(ours > lru, "{ours} hits, LRU {lru}");
}

/// What was asked for lately is asked for again: the n-th last in proportion to n to the power of `-skew`.
#[expect(clippy::cast_sign_loss, reason = "a power of a positive number")]
fn recent(skew: f64, requests: usize, seed: u64) -> Vec<u64> {
    let mut random = Random::new(seed);
    let mut stack: Vec<u64> = Vec::new();
    let mut asked = Vec::new();
    while asked.len() < requests {
        let back = random.fraction().powf(-1.0 / (skew - 1.0)) as usize;
        let key = if back > stack.len() {
            stack.len() as u64
        } else {
            stack.remove(stack.len() - back)
        };
        stack.push(key);
        asked.push(key);
    }
    asked
}

#[test]
fn where_all_that_counts_is_what_was_used_last_it_is_as_good_as_lru() {
    let trace = recent(1.3, 100_000, 10);
    let (ours, lru) = hits(100, trace.iter().copied());
    assert!(ours + 2000 > lru, "{ours} hits, LRU {lru}");
    // And goes back when that has changed, even if more comes in between than is remembered of what left.
    for (length, percent) in [(200, 80), (300, 50), (500, 50)] {
        for first in [1_000_000, 2_000_000, 3_000_000] {
            let (capacity, times) = (100, 100_000);
            let looped = (0..times).map(|at| first + at % length);
            let (both, _) = hits(capacity, trace.iter().copied().chain(looped));
            let (after, most) = (both - ours, (times * capacity / length) as u32);
            assert!(
                after * 100 > most * percent,
                "{length} from {first}: {after} of {most}"
            );
        }
    }
}
