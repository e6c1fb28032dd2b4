use std::cell::Cell;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;

use super::*;
use crate::clock::Instant;
use crate::random::Random;

mod expiry;
mod hit_ratio;
mod policy;
mod schedules;
mod trend;

const NOW: Instant = Instant::from_nanos(0);

const fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn table(max_entries: u64, max_bytes: u64) -> Table<u64, u64> {
    Table::new(Limits {
        max_entries,
        max_bytes,
    })
}

fn item<V>(key: u64, value: V) -> Item<u64, V> {
    Item {
        key,
        value,
        weight: 1,
        expires: None,
    }
}

fn put<V>(table: &mut Table<u64, V>, item: Item<u64, V>) -> bool {
    let key = item.key;
    table.insert(mix(key), item, NOW, |known| *known == key)
}

fn get<V: Copy>(table: &mut Table<u64, V>, key: u64, now: Instant) -> Option<V> {
    table.find(mix(key), now, |known| *known == key).copied()
}

#[test]
fn what_is_put_in_is_found_until_it_is_removed() {
    let mut table = table(10, 1000);
    assert!(put(&mut table, item(1, 10)));
    assert!(put(
        &mut table,
        Item {
            weight: 5,
            ..item(2, 20)
        }
    ));
    assert_eq!(
        (get(&mut table, 1, NOW), get(&mut table, 2, NOW)),
        (Some(10), Some(20))
    );
    assert_eq!((table.len(), table.bytes()), (2, 6));
    assert_eq!(table.remove(mix(1), |key| *key == 1), Some((1, 10)));
    assert_eq!(table.remove(mix(1), |key| *key == 1), None);
    assert_eq!(
        (table.len(), table.bytes(), get(&mut table, 1, NOW)),
        (1, 5, None)
    );
}

#[test]
fn a_replaced_entry_is_handed_back_and_its_weight_forgotten() {
    let mut table = table(10, 100);
    put(
        &mut table,
        Item {
            weight: 60,
            ..item(1, 10)
        },
    );
    assert!(put(
        &mut table,
        Item {
            weight: 70,
            expires: Some(at(5)),
            ..item(1, 11)
        }
    ));
    assert_eq!(table.take_dropped(), [(1, 10)]);
    assert_eq!((table.len(), table.bytes(), table.evictions()), (1, 70, 0));
    assert_eq!(
        (get(&mut table, 1, at(4)), get(&mut table, 1, at(5))),
        (Some(11), None)
    );
}

#[test]
fn a_replacement_that_grows_makes_others_leave() {
    let mut table = table(10, 100);
    for key in 0..3 {
        put(
            &mut table,
            Item {
                weight: 30,
                ..item(key, key)
            },
        );
    }
    put(
        &mut table,
        Item {
            weight: 80,
            ..item(0, 9)
        },
    );
    assert_eq!(get(&mut table, 0, NOW), Some(9));
    assert_eq!((table.len(), table.bytes(), table.evictions()), (1, 80, 2));
}

#[test]
fn an_item_over_the_limit_is_not_kept_and_what_it_replaces_neither() {
    let mut table = table(10, 100);
    put(&mut table, item(1, 10));
    put(&mut table, item(2, 20));
    assert!(!put(
        &mut table,
        Item {
            weight: 101,
            ..item(1, 11)
        }
    ));
    let mut dropped = table.take_dropped();
    dropped.sort_unstable();
    assert_eq!(dropped, [(1, 10), (1, 11)]);
    assert_eq!(
        (get(&mut table, 1, NOW), get(&mut table, 2, NOW)),
        (None, Some(20))
    );
}

#[test]
fn expired_entries_are_not_served_and_leave_when_asked_for() {
    let mut table = table(10, 100);
    put(
        &mut table,
        Item {
            expires: Some(at(100)),
            ..item(1, 10)
        },
    );
    assert_eq!(get(&mut table, 1, at(99)), Some(10));
    assert_eq!(table.len(), 1);
    assert_eq!(get(&mut table, 1, at(100)), None);
    assert_eq!(
        (table.len(), table.bytes(), table.has_dropped()),
        (0, 0, true)
    );
    assert_eq!(
        (table.pop_dropped(), table.pop_dropped()),
        (Some((1, 10)), None)
    );
}

#[test]
fn entries_that_share_a_hash_are_told_apart() {
    let mut table = table(10, 100);
    let (hash, other) = (mix(7), mix(8));
    for key in [1, 2, 3] {
        table.insert(hash, item(key, key * 10), NOW, |known| *known == key);
    }
    let mut seen = Vec::new();
    table.candidates(hash, |key| seen.push(*key));
    seen.sort_unstable();
    assert_eq!(seen, [1, 2, 3]);
    table.candidates(other, |_| panic!("no such hash"));
    assert_eq!(table.find(hash, NOW, |key| *key == 2), Some(&20));
    assert_eq!(table.remove(hash, |key| *key == 2), Some((2, 20)));
    assert_eq!(table.find(hash, NOW, |key| *key == 2), None);
    assert_eq!(table.find(hash, NOW, |key| *key == 3), Some(&30));
    assert_eq!(table.iter().count(), 2);
}

#[test]
fn a_comparison_that_panics_changes_nothing() {
    let mut table = table(10, 100);
    put(&mut table, item(1, 10));
    let panics = |run: &mut dyn FnMut()| assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    panics(&mut || assert!(table.find(mix(1), NOW, |_| panic!("find")).is_none()));
    panics(&mut || assert!(!table.insert(mix(1), item(1, 11), NOW, |_| panic!("insert"))));
    panics(&mut || assert!(table.remove(mix(1), |_| panic!("remove")).is_none()));
    assert_eq!(
        (table.len(), table.bytes(), table.has_dropped()),
        (1, 1, false)
    );
    assert_eq!(get(&mut table, 1, NOW), Some(10));
}

#[test]
fn slots_are_used_again() {
    let mut table = table(10, 100);
    for key in 0..1000 {
        put(&mut table, item(key, key));
        table.remove(mix(key / 2), |known| *known == key / 2);
    }
    assert!(table.slots() <= 10, "{} slots", table.slots());
}

/// What is in a table, without the order in which things leave.
#[derive(Default)]
struct Model {
    entries: BTreeMap<u64, (u64, u64, Option<u64>)>,
}

#[test]
fn any_operations_keep_the_limits_and_never_serve_what_was_not_put_in() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let limits = Limits {
            max_entries: 1 + random.below(40),
            max_bytes: 1 + random.below(300),
        };
        let mut table = Table::new(limits);
        let mut model = Model::default();
        let mut now = 0;
        for step in 0..3000_u64 {
            now += random.below(3);
            let key = random.below(60);
            // Few hashes, so that they collide.
            let hash = mix(key % 20);
            match random.below(20) {
                0..9 => {
                    let found = table.find(hash, at(now), |known| *known == key).copied();
                    let known = model.entries.get(&key);
                    let known = known.filter(|(_, _, expires)| expires.is_none_or(|e| e > now));
                    assert_eq!(
                        found,
                        known.map(|(value, ..)| *value),
                        "seed {seed} step {step}"
                    );
                }
                9..18 => {
                    let most = [10, 40, limits.max_bytes + 2][random.below(3) as usize];
                    let weight = random.below(most);
                    let expires = (random.below(2) == 0).then(|| now + random.below(50));
                    let entry = Item {
                        key,
                        value: step,
                        weight,
                        expires: expires.map(at),
                    };
                    let put = table.insert(hash, entry, at(now), |known| *known == key);
                    assert_eq!(put, weight <= limits.max_bytes);
                    model.entries.insert(key, (step, weight, expires));
                }
                18 => {
                    let removed = table.remove(hash, |known| *known == key);
                    let known = model.entries.remove(&key);
                    assert_eq!(removed, known.map(|(value, ..)| (key, value)));
                }
                _ if random.below(20) == 0 => table.clear(),
                _ => {}
            }
            for (key, value) in table.take_dropped() {
                // A value that was replaced is no longer the model's.
                if model
                    .entries
                    .get(&key)
                    .is_some_and(|(known, ..)| *known == value)
                {
                    model.entries.remove(&key);
                }
            }
            let weights: u64 = model.entries.values().map(|(_, weight, _)| weight).sum();
            assert_eq!((table.len(), table.bytes()), (model.entries.len(), weights));
            assert!(table.len() as u64 <= limits.max_entries && weights <= limits.max_bytes);
            assert_eq!(table.iter().count(), table.len());
        }
    }
}

/// Counts how often each value was dropped.
struct Counted(Rc<Cell<u32>>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn everything_that_leaves_is_handed_back_once_and_dropped_by_the_owner() {
    let mut random = Random::new(3);
    let mut drops = Vec::new();
    let mut table = Table::new(Limits {
        max_entries: 20,
        max_bytes: 200,
    });
    let mut handed_back = 0;
    for step in 0..5000_u64 {
        let key = random.below(80);
        let count = Rc::new(Cell::new(0));
        drops.push(count.clone());
        let expires = (random.below(3) == 0).then(|| at(step + random.below(30)));
        let entry = Item {
            key,
            value: Counted(count),
            weight: random.below(25),
            expires,
        };
        table.insert(mix(key), entry, at(step), |known| *known == key);
        let asked = random.below(80);
        table.find(mix(asked), at(step), |known| *known == asked);
        if random.below(200) == 0 {
            table.clear();
        }
        let dropped: u32 = drops.iter().map(|count| count.get()).sum();
        assert_eq!(
            dropped, handed_back,
            "the table dropped something by itself"
        );
        while let Some((_, value)) = table.pop_dropped() {
            drop(value);
            handed_back += 1;
        }
    }
    assert!(table.evictions() > 1000);
    assert_eq!(drops.len(), handed_back as usize + table.len());
    drop(table);
    assert!(drops.iter().all(|count| count.get() == 1));
}

#[test]
fn hashes_are_spread_over_the_bits_that_the_table_uses() {
    let mut tags = [0_u32; 128];
    let mut buckets = [0_u32; 128];
    for hash in 0..12_800_u64 {
        let mixed = mix(hash);
        tags[(mixed >> 57) as usize] += 1;
        buckets[mixed as usize % 128] += 1;
    }
    assert!(
        tags.iter()
            .chain(&buckets)
            .all(|count| (50..200).contains(count))
    );
}
