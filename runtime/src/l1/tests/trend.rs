//! What time is by, and when LRU is ahead.

use super::super::trend::{TURN, Trend};

const POPULATION: u64 = 160;

/// A trend of a table that has just been filled.
fn filled() -> Trend {
    let mut trend = Trend::new();
    for _ in 0..POPULATION {
        trend.insertion(POPULATION, None, true);
    }
    trend
}

#[test]
fn a_turnover_is_as_many_misses_of_lru_as_there_are_entries() {
    let mut trend = filled();
    assert_eq!(trend.now(), TURN);
    // A hit that comes late is one that LRU would have missed.
    for _ in 0..POPULATION / 4 {
        trend.hit(true);
        trend.hit(true);
        trend.hit(false);
        trend.hit(true);
        trend.insertion(POPULATION, None, false);
    }
    assert_eq!(trend.now(), 2 * TURN);
    for _ in 0..9 * POPULATION {
        trend.insertion(POPULATION, None, false);
    }
    assert_eq!(trend.epoch(), 1);
}

/// How many misses in a row LRU would have hit, until it is favoured.
fn misses_until_lru(trend: &mut Trend, ago: u64) -> Option<u64> {
    (1..=10 * POPULATION).find(|_| {
        trend.insertion(POPULATION, Some(ago), false);
        trend.favours_lru()
    })
}

#[test]
fn lru_is_favoured_after_it_would_have_had_hits() {
    let expected = POPULATION / 2 * 16 / 15 + 1;
    assert_eq!(misses_until_lru(&mut filled(), 0), Some(expected));
    assert_eq!(misses_until_lru(&mut filled(), TURN - 4), Some(expected));
    assert_eq!(misses_until_lru(&mut filled(), TURN - 3), None);
}

#[test]
fn what_came_late_speaks_against_it() {
    let mut trend = filled();
    for _ in 0..40 {
        trend.hit(true);
    }
    // All of them with the first insertion.
    let behind = 16 * (POPULATION / 2 + 40 - 1) + 1;
    assert_eq!(misses_until_lru(&mut trend, 0), Some(behind / 15 + 2));
}

#[test]
fn time_that_late_hits_make_longer_counts() {
    // Of a loop over twice as much as there is: half of it hits, and the rest returns when half of it was inserted.
    let looped = || {
        let mut trend = filled();
        for _ in 0..2 * POPULATION {
            trend.hit(true);
            trend.insertion(POPULATION, None, false);
        }
        trend
    };
    let returned = |ago| misses_until_lru(&mut looped(), ago).unwrap_or(u64::MAX);
    // The next turnover is without late hits.
    assert!(returned(TURN / 2 - 3) > returned(TURN / 2 - 4) + POPULATION * 9 / 10);
}

#[test]
fn lru_has_to_be_ahead_again_and_again() {
    let mut trend = filled();
    for _ in 0..3 * POPULATION {
        trend.insertion(POPULATION, Some(0), false);
    }
    let lasts = (1..20 * POPULATION).find(|_| {
        trend.insertion(POPULATION, None, false);
        !trend.favours_lru()
    });
    assert_eq!(lasts, Some(16 * POPULATION));
}
