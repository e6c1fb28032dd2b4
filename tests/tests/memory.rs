//! What an entry of the in-process tier costs, counted by the allocator.

use std::alloc::{GlobalAlloc, Layout, System};
use std::num::NonZeroU64;
use std::sync::atomic::{AtomicUsize, Ordering};

use cachekit_runtime::clock::Instant;
use cachekit_runtime::l1::{Item, Limits, Table, mix};

/// The system's allocator, which counts what is allocated now.
struct Counting;

static ALLOCATED: AtomicUsize = AtomicUsize::new(0);

// SAFETY: everything is passed on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATED.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: by this function's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that a table of so many entries takes for each, when it is full and others have left it.
fn bytes_per_entry(entries: u64, max_entries: u64, expires: Option<Instant>) -> f64 {
    let before = ALLOCATED.load(Ordering::Relaxed);
    // A key and a value of a word each, as the bindings have them.
    let mut table: Table<NonZeroU64, u64> = Table::new(Limits {
        max_entries,
        max_bytes: u64::MAX,
    });
    for number in 1..=entries + entries / 4 {
        let Some(key) = NonZeroU64::new(number) else {
            continue;
        };
        let item = Item {
            key,
            value: number,
            weight: 100,
            expires,
        };
        table.insert(mix(number), item, Instant::from_nanos(0), |known| {
            *known == key
        });
        drop(table.take_dropped());
    }
    let bytes = ALLOCATED.load(Ordering::Relaxed) - before;
    let count = table.len();
    println!("{count} of {max_entries}: {bytes} bytes");
    f64::from(u32::try_from(bytes).unwrap_or(u32::MAX))
        / f64::from(u32::try_from(count).unwrap_or(1))
}

/// One test, since what others allocate meanwhile would be counted too.
#[test]
fn an_entry_takes_little_more_than_a_cache_line_with_all_that_belongs_to_it() {
    // 48 the entry, 4 what is remembered of those that left, 16 the index, which is half full.
    for full in [7000, 1_000_000] {
        let bytes = bytes_per_entry(full, full, None);
        assert!(bytes <= 68.5, "{bytes} bytes");
        // One that expires is filed.
        let bytes = bytes_per_entry(full, full, Some(Instant::from_nanos(1 << 40)));
        assert!(bytes <= 74.5, "{bytes} bytes");
    }
    // A table that may grow has no more than twice the room.
    let growing = bytes_per_entry(110_000, u64::MAX, None);
    assert!(growing <= 123.0, "{growing} bytes");
}
