//! The tier in this process: entries by key, bounded by entries and by bytes, with lifetimes.
//!
//! [`Table`] is the structure, for bindings that bring hashing, comparison and a lock of their own; [`L1`] is made of
//! tables behind locks, for Rust.

mod history;
mod index;
mod meta;
mod policy;
mod shared;
mod table;
mod trend;
mod wheel;

pub use shared::L1;
pub use table::{First, Item, Limits, Table};

/// Has memory come near, without waiting for it. Any address will do.
#[inline(always)]
pub fn prefetch<T>(at: *const T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint, which reads nothing.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

/// Spreads a hash over all 64 bits, for hashes that are not uniform: Python's of an integer is the integer.
#[inline]
pub const fn mix(hash: u64) -> u64 {
    // 2^64 divided by the golden ratio, made odd; folding brings the high half's bits back into the low half.
    let product = hash as u128 * 0x9e37_79b9_7f4a_7c15;
    (product as u64) ^ (product >> 64) as u64
}

#[cfg(test)]
mod tests;
