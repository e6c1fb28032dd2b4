//! Who leaves: tables of 32 entries, of which the window has two.

use super::super::history::{History, Left, shuffled};
use super::{Item, NOW, Table, at, get, item, put, table};

const MOST: u64 = 32;

/// Keys that are there.
fn present(table: &Table<u64, u64>) -> Vec<u64> {
    let mut keys: Vec<_> = table.iter().map(|(key, _)| *key).collect();
    keys.sort_unstable();
    keys
}

/// Keys below `end` that are not.
fn missing(table: &Table<u64, u64>, end: u64) -> Vec<u64> {
    let present = present(table);
    (0..end).filter(|key| !present.contains(key)).collect()
}

fn full() -> Table<u64, u64> {
    let mut table = table(MOST, 1000);
    for key in 0..MOST {
        put(&mut table, item(key, key));
    }
    table
}

fn use_times(table: &mut Table<u64, u64>, key: u64, times: u32) {
    for _ in 0..times {
        assert!(get(table, key, NOW).is_some(), "{key}");
    }
}

#[test]
fn the_main_queue_takes_what_the_window_has_no_room_for() {
    let mut table = table(MOST, 1000);
    for key in 0..MOST {
        put(&mut table, item(key, key));
        assert_eq!(table.promoted() as u64, (key + 1).saturating_sub(2));
    }
    // And what has a part of the bytes.
    let mut table = super::table(1000, MOST);
    for key in 0..MOST {
        put(&mut table, item(key, key));
        assert_eq!(table.promoted() as u64, (key + 1).saturating_sub(2));
    }
}

#[test]
fn what_is_not_used_leaves_by_the_window() {
    let mut table = full();
    for key in MOST..100 {
        put(&mut table, item(key, key));
    }
    let expected: Vec<_> = (0..30).chain([98, 99]).collect();
    assert_eq!(present(&table), expected);
}

#[test]
fn two_uses_in_the_window_win_the_place_of_one_that_was_not_used() {
    let mut table = full();
    use_times(&mut table, 31, 2);
    put(&mut table, item(32, 32));
    assert_eq!(missing(&table, 33), [30]);
    put(&mut table, item(33, 33));
    assert_eq!(missing(&table, 34), [0, 30]);

    let mut table = full();
    use_times(&mut table, 30, 1);
    put(&mut table, item(32, 32));
    assert_eq!(missing(&table, 33), [30], "one use is not enough");
}

#[test]
fn what_is_used_keeps_its_place_once_for_each_use() {
    let mut table = full();
    for key in 0..30 {
        use_times(&mut table, key, 1);
    }
    // Each newcomer tries three, and one more for each of its uses.
    use_times(&mut table, 30, 2);
    use_times(&mut table, 31, 2);
    put(&mut table, item(32, 32));
    put(&mut table, item(33, 33));
    assert_eq!(missing(&table, 34), [30, 31], "0 to 9 kept their place");
    use_times(&mut table, 32, 15);
    put(&mut table, item(34, 34));
    assert_eq!(missing(&table, 35), [30, 31, 32], "and 10 to 27");
    use_times(&mut table, 33, 2);
    put(&mut table, item(35, 35));
    assert_eq!(missing(&table, 36), [0, 30, 31, 32], "after 28 and 29");
}

#[test]
fn what_returns_soon_wins_like_what_was_used() {
    let mut table = full();
    // Until nothing was used of late.
    for key in 100..110 {
        put(&mut table, item(key, key));
    }
    put(&mut table, item(32, 32));
    assert_eq!(missing(&table, 33), [30, 31]);
    put(&mut table, item(30, 30));
    put(&mut table, item(33, 33));
    put(&mut table, item(34, 34));
    assert_eq!(missing(&table, 35), [0, 31, 32]);

    // Once for each time that it leaves, and not after all was thrown away.
    table.remove(super::mix(30), |key| *key == 30);
    put(&mut table, item(30, 30));
    table.clear();
    for key in 0..MOST {
        put(&mut table, item(key, key));
    }
    for key in MOST..MOST + 8 {
        put(&mut table, item(key, key));
    }
    assert_eq!(table.promoted(), 30);
    assert_eq!(missing(&table, 30), [0; 0]);
}

/// A full table whose main queue was used once, and then another key that comes again and again, is used once and
/// leaves for long. `wait` others came before. How often it came until it had a place.
fn comings_until_it_stays(wait: u64) -> u64 {
    // All of one bucket in the history, where things stand as they came.
    let one_bucket = (0..u32::MAX).filter(|hash| shuffled(*hash) < u32::MAX / 4);
    let hashes: Vec<_> = one_bucket
        .take(4000)
        .map(|hash| u64::from(hash) << 32)
        .collect();
    let insert = |table: &mut Table<u64, u64>, key| {
        let hash = hashes[key as usize];
        table.insert(hash, item(key, key), NOW, |known| *known == key);
    };
    let find = |table: &mut Table<u64, u64>, key| {
        let hash = hashes[key as usize];
        table.find(hash, NOW, |known| *known == key).is_some()
    };
    let mut table = table(MOST, 1000);
    for key in 1..=MOST {
        insert(&mut table, key);
        find(&mut table, key);
    }
    let mut others = 1000..;
    let mut pass = |table: &mut Table<u64, u64>, count| {
        others
            .by_ref()
            .take(count)
            .for_each(|key| insert(table, key % 4000));
    };
    pass(&mut table, wait as usize);
    for comings in 1..10 {
        insert(&mut table, 50);
        find(&mut table, 50);
        pass(&mut table, 12);
        if find(&mut table, 50) {
            return comings;
        }
    }
    u64::MAX
}

#[test]
fn an_entry_gives_way_to_one_that_is_used_more_often() {
    // Two uses each, the insertion among them; and two more with each coming.
    assert_eq!(comings_until_it_stays(2), 2);
}

#[test]
fn uses_of_long_ago_count_less() {
    assert_eq!(comings_until_it_stays(2 + 10 * MOST), 2);
    assert_eq!(comings_until_it_stays(2 + 2 * 10 * MOST), 1);
}

#[test]
fn one_eviction_looks_at_a_bounded_number_of_entries() {
    let count = 10_000;
    let mut table = table(u64::MAX, count);
    for key in 0..count {
        put(&mut table, item(key, key));
    }
    for key in 0..count {
        use_times(&mut table, key, 3);
    }
    // Without these the window is not full, so that the main queue has to give.
    for key in count - 600..count {
        table.remove(super::mix(key), |known| *known == key);
    }
    let heavy = Item {
        weight: 601,
        ..item(count, count)
    };
    put(&mut table, heavy);
    assert_eq!(table.take_dropped(), [(128, 128)]);
}

#[test]
fn expired_entries_leave_before_living_ones() {
    for soon in [3, 30] {
        let mut table = table(MOST, 1000);
        for key in 0..MOST {
            let expires = (key == soon).then_some(at(10));
            put(
                &mut table,
                Item {
                    expires,
                    ..item(key, key)
                },
            );
        }
        for key in 0..MOST {
            use_times(&mut table, key, 3);
        }
        table.insert(super::mix(40), item(40, 40), at(20), |_| false);
        assert_eq!(table.take_dropped(), [(soon, soon)]);
    }
}

#[test]
fn a_replacement_that_grows_stays_wherever_it_stands() {
    for key in [0, 15, 29, 30, 31] {
        let mut table = full();
        let heavy = Item {
            weight: 1000,
            ..item(key, key)
        };
        put(&mut table, heavy);
        assert_eq!(present(&table), [key]);
        assert_eq!((table.len(), table.bytes()), (1, 1000));
    }
}

#[test]
fn the_history_tells_how_often_and_how_long_ago() {
    let mut history = History::default();
    assert_eq!(history.take(1), None);
    for hash in 1..=16 {
        history.put(hash, u64::from(hash), 32, 32);
    }
    let left = |count, ago| Some(Left { count, ago });
    assert_eq!(history.take(16), left(15, 0), "as high as it counts");
    assert_eq!(history.take(16), None, "taken");
    assert_eq!(history.take(15), left(15, 0));
    assert_eq!(history.take(1), left(1, 26), "fourteen places on");
    assert_eq!(history.take(100), None);
}

#[test]
fn the_history_forgets_the_oldest() {
    let mut history = History::default();
    for hash in 1..=17 {
        history.put(hash, 1, 32, 32);
    }
    assert_eq!(history.take(1), None);
    assert!(history.take(2).is_some());
}

#[test]
fn the_history_grows_with_the_table() {
    let mut history = History::default();
    for key in 0..1000 {
        history.put(super::mix(key) as u32, 1, 32, u64::MAX);
    }
    let known = |history: &mut History| {
        let taken = (0..1000).filter_map(|key| history.take(super::mix(key) as u32));
        taken.count()
    };
    assert!(known(&mut history) < 100);
    for key in 0..1000 {
        history.put(super::mix(key) as u32, 1, 1000, u64::MAX);
    }
    assert!(known(&mut history) > 950);
}

#[test]
fn the_history_is_a_queue_whatever_is_taken_from_it() {
    let mut random = super::Random::new(11);
    let mut history = History::default();
    // Of one bucket, the newest first.
    let mut queue: Vec<(u32, u64)> = Vec::new();
    for _ in 0..10_000 {
        let hash = 1 + random.below(40) as u32;
        let known = queue.iter().position(|(known, _)| *known == hash);
        let left = known.map(|place| Left {
            count: queue.remove(place).1,
            ago: place as u64 * 2,
        });
        assert_eq!(history.take(hash), left);
        let count = random.below(16);
        history.put(hash, count, 32, 32);
        queue.insert(0, (hash, count));
        queue.truncate(16);
    }
}
