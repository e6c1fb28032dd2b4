//! Belady, "A study of replacement algorithms for a virtual-storage computer", IBM Systems Journal 1966: what would leave
//! is what is not asked for longest. The bound, since it knows the future.

use std::collections::BinaryHeap;

/// Hits of the best policy there can be.
pub(super) fn hits(trace: &[u32], capacity: usize, keys: usize) -> usize {
    let never = trace.len();
    let mut next = vec![never; trace.len()];
    let mut seen = vec![never; keys];
    for (time, key) in trace.iter().enumerate().rev() {
        next[time] = std::mem::replace(&mut seen[*key as usize], time);
    }
    // The next use of what is here; the heap also has uses that are past.
    let mut here = vec![None; keys];
    let mut heap = BinaryHeap::new();
    let (mut len, mut hits) = (0, 0);
    for (time, key) in trace.iter().enumerate() {
        if here[*key as usize].replace(next[time]).is_some() {
            hits += 1;
        } else {
            len += 1;
        }
        heap.push((next[time], *key));
        while len > capacity
            && let Some((at, victim)) = heap.pop()
        {
            if here[victim as usize] == Some(at) {
                here[victim as usize] = None;
                len -= 1;
            }
        }
    }
    hits
}
