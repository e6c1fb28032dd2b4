//! Who leaves because its time is over, without anybody asking for it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::{Item, Table, at, get, item, mix, put, table};
use crate::clock::Instant;
use crate::random::Random;

const MILLI: u64 = 1_000_000;
const SECOND: u64 = 1000 * MILLI;
const DAY: u64 = 24 * 3600 * SECOND;

fn until<V>(expires: u64, item: Item<u64, V>) -> Item<u64, V> {
    Item {
        expires: Some(at(expires)),
        ..item
    }
}

/// How late an entry may be found.
fn late(lifetime: u64) -> u64 {
    lifetime / 256 + (1 << 27)
}

fn sweep_all(table: &mut Table<u64, u64>, now: Instant) {
    while table.sweep(now, 100) {}
}

#[test]
fn an_expired_entry_leaves_without_being_asked_for() {
    for lifetime in [
        MILLI,
        300 * MILLI,
        5 * SECOND,
        600 * SECOND,
        DAY,
        3 * 365 * DAY,
    ] {
        let start = 7 * DAY + 12_345;
        let mut table = table(10, 100);
        let expires = start + lifetime;
        let entry = until(expires, item(1, 10));
        table.insert(mix(1), entry, at(start), |known| *known == 1);
        assert!(!table.sweep(at(expires - 1), 100));
        assert_eq!(table.len(), 1, "{lifetime}");
        let due = table.next_expiry().unwrap();
        assert!(
            due >= at(expires) && due <= at(expires + late(lifetime)),
            "{lifetime}"
        );
        assert!(!table.sweep(due, 100));
        assert_eq!(table.take_dropped(), [(1, 10)]);
        assert_eq!((table.len(), table.bytes(), table.evictions()), (0, 0, 0));
        assert_eq!((table.next_expiry(), table.slots()), (None, 0));
    }
}

#[test]
fn entries_that_do_not_expire_are_not_looked_at() {
    let mut table = table(10, 100);
    put(&mut table, item(1, 10));
    assert_eq!((table.next_expiry(), table.filed()), (None, 0));
    // Nor what expires when nobody can know any more.
    put(&mut table, until(u64::MAX - 1, item(2, 20)));
    assert_eq!((table.next_expiry(), table.filed()), (None, 0));
    assert!(!table.sweep(at(u64::MAX - 2), 100));
    assert_eq!(table.len(), 2);
}

#[test]
fn a_sweep_stops_when_its_budget_is_used_up() {
    let mut table = table(100, 100);
    for key in 0..10 {
        put(&mut table, until(SECOND, item(key, key)));
    }
    let now = at(2 * SECOND);
    assert!(table.sweep(now, 4));
    assert_eq!(table.take_dropped().len(), 4);
    assert!(!table.sweep(now, 6));
    assert_eq!(table.take_dropped().len(), 6);
}

#[test]
fn an_insertion_sweeps_a_little() {
    let mut table = table(100, 100);
    for key in 0..10 {
        put(&mut table, until(SECOND, item(key, key)));
    }
    for key in 10..14 {
        table.insert(mix(key), item(key, key), at(2 * SECOND), |_| false);
    }
    assert_eq!((table.take_dropped().len(), table.len()), (10, 4));
}

#[test]
fn a_use_puts_the_end_off_where_that_is_wanted() {
    let mut table = table(10, 100).sliding(Duration::from_secs(10));
    put(&mut table, until(10 * SECOND, item(1, 10)));
    put(&mut table, until(100 * SECOND, item(2, 20)));
    put(&mut table, item(3, 30));
    for second in (5..50).step_by(5) {
        for key in 1..4 {
            assert_eq!(get(&mut table, key, at(second * SECOND)), Some(key * 10));
        }
        sweep_all(&mut table, at(second * SECOND));
    }
    assert_eq!(get(&mut table, 1, at(55 * SECOND)), None);
    sweep_all(&mut table, at(99 * SECOND));
    assert_eq!(
        get(&mut table, 2, at(99 * SECOND)),
        Some(20),
        "not cut short"
    );
    sweep_all(&mut table, at(120 * SECOND));
    assert_eq!(get(&mut table, 3, at(120 * SECOND)), Some(30));
    assert_eq!((table.len(), table.evictions()), (1, 0));
}

#[test]
fn without_sliding_a_use_changes_no_lifetime() {
    let mut table = table(10, 100);
    put(&mut table, until(10 * SECOND, item(1, 10)));
    assert_eq!(get(&mut table, 1, at(9 * SECOND)), Some(10));
    assert_eq!(get(&mut table, 1, at(10 * SECOND)), None);
}

#[test]
fn what_is_filed_does_not_pile_up() {
    // One slot, whose entries live longer and shorter by turns.
    let mut table = table(1, 100);
    for turn in 0..10_000_u64 {
        let lifetime = if turn % 2 == 0 { DAY } else { SECOND };
        let now = turn * 2 * SECOND;
        let entry = until(now + lifetime, item(turn, 0));
        table.insert(mix(turn), entry, at(now), |_| false);
        assert!(table.filed() < 10, "{} after {turn}", table.filed());
    }
}

#[test]
fn what_has_expired_already_leaves_like_others() {
    let mut table = table(10, 100);
    for now in [5, 500].map(|second| at(second * SECOND)) {
        let entry = until(SECOND, item(1, now.as_nanos()));
        assert!(table.insert(mix(1), entry, now, |known| *known == 1));
    }
    sweep_all(&mut table, at(501 * SECOND));
    assert_eq!((table.take_dropped().len(), table.len()), (2, 0));
}

#[test]
fn a_cleared_table_expires_what_comes_after() {
    let mut table = table(10, 100);
    put(&mut table, until(SECOND, item(1, 10)));
    table.clear();
    table.take_dropped();
    assert_eq!(table.next_expiry(), None);
    put(&mut table, until(SECOND, item(2, 20)));
    sweep_all(&mut table, at(2 * SECOND));
    assert_eq!(table.take_dropped(), [(2, 20)]);
}

/// What a model knows of an entry: its value, when it expires, and until when it may be found by a sweep.
#[derive(Clone, Copy)]
struct Known {
    value: u64,
    expires: u64,
    found_by: u64,
}

#[test]
fn no_entry_is_served_after_its_time_nor_lost_before_it_and_a_sweep_finds_all() {
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let sliding = (seed % 2 == 0).then_some(3 * SECOND);
        let mut table = table(1000, u64::MAX);
        if let Some(lifetime) = sliding {
            table = table.sliding(Duration::from_nanos(lifetime));
        }
        let mut model: BTreeMap<u64, Known> = BTreeMap::new();
        let mut now = random.below(30 * DAY);
        for step in 0..3000 {
            let longest = [MILLI, SECOND, 100 * SECOND][random.below(3) as usize];
            now += random.below(longest);
            let key = random.below(200);
            match random.below(10) {
                0..4 => {
                    let alive = model.get_mut(&key).filter(|known| known.expires > now);
                    let found = get(&mut table, key, at(now));
                    assert_eq!(
                        found,
                        alive.as_ref().map(|known| known.value),
                        "{seed} {step}"
                    );
                    if let (Some(known), Some(lifetime)) = (alive, sliding) {
                        known.expires = known.expires.max(now + lifetime);
                        known.found_by = known
                            .found_by
                            .max(known.expires + late(known.expires - now));
                    }
                }
                4..8 => {
                    let longest = [SECOND, 100 * SECOND, DAY, 1000 * DAY][random.below(4) as usize];
                    let lifetime = 1 + random.below(longest);
                    let expires = now + lifetime;
                    let entry = until(expires, item(key, step));
                    table.insert(mix(key), entry, at(now), |known| *known == key);
                    let found_by = expires + late(lifetime);
                    let known = Known {
                        value: step,
                        expires,
                        found_by,
                    };
                    model.insert(key, known);
                }
                8 => {
                    let removed = table.remove(mix(key), |known| *known == key);
                    let known = model.remove(&key);
                    assert_eq!(
                        removed.map(|(_, value)| value),
                        known.map(|known| known.value)
                    );
                }
                _ => sweep_all(&mut table, at(now)),
            }
            for (key, value) in table.take_dropped() {
                if let Some(known) = model.get(&key).filter(|known| known.value == value) {
                    assert!(known.expires <= now, "{seed} {step}: {key} was lost");
                    model.remove(&key);
                }
            }
            assert_eq!(table.len(), model.len());
        }
        sweep_all(&mut table, at(now));
        let overdue = table.take_dropped().len();
        let here: Vec<_> = table.iter().map(|(key, _)| model[key]).collect();
        assert!(here.iter().all(|known| known.found_by > now), "{seed}");
        assert_eq!(model.len(), here.len() + overdue);
        assert_eq!((table.bytes(), table.evictions()), (here.len() as u64, 0));
    }
}
