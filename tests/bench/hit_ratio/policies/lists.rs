//! Queues of keys: every key is in one of them or in none.
//!
//! Keys are numbers from zero up, so that a queue is an array of links and a policy reads like its paper.

/// In no queue, or no key.
const NONE: u32 = u32::MAX;

/// Several queues through one array of links. A queue is named by its number.
pub(super) struct Lists {
    nodes: Vec<Node>,
    ends: Vec<End>,
}

#[derive(Clone, Copy)]
struct Node {
    list: u32,
    newer: u32,
    older: u32,
}

#[derive(Clone, Copy)]
struct End {
    newest: u32,
    oldest: u32,
    len: usize,
}

impl Lists {
    /// `lists` empty queues for keys below `keys`.
    pub(super) fn new(keys: usize, lists: usize) -> Self {
        let node = Node {
            list: NONE,
            newer: NONE,
            older: NONE,
        };
        let end = End {
            newest: NONE,
            oldest: NONE,
            len: 0,
        };
        Self {
            nodes: vec![node; keys],
            ends: vec![end; lists],
        }
    }

    /// The queue that `key` is in.
    pub(super) fn of(&self, key: u32) -> Option<usize> {
        let list = self.nodes[key as usize].list;
        (list != NONE).then_some(list as usize)
    }

    pub(super) fn len(&self, list: usize) -> usize {
        self.ends[list].len
    }

    /// The key that is in `list` longest.
    pub(super) fn oldest(&self, list: usize) -> Option<u32> {
        let key = self.ends[list].oldest;
        (key != NONE).then_some(key)
    }

    /// The key that came into its queue after `key`.
    pub(super) fn newer(&self, key: u32) -> Option<u32> {
        let newer = self.nodes[key as usize].newer;
        (newer != NONE).then_some(newer)
    }

    /// Puts `key` into `list` as the newest, out of the queue that it was in.
    pub(super) fn push(&mut self, key: u32, list: usize) {
        self.remove(key);
        let end = &mut self.ends[list];
        end.len += 1;
        let older = std::mem::replace(&mut end.newest, key);
        if older == NONE {
            end.oldest = key;
        } else {
            self.nodes[older as usize].newer = key;
        }
        self.nodes[key as usize] = Node {
            list: list as u32,
            newer: NONE,
            older,
        };
    }

    /// Takes `key` out of its queue, if it is in one.
    pub(super) fn remove(&mut self, key: u32) {
        let Node { list, newer, older } = self.nodes[key as usize];
        if list == NONE {
            return;
        }
        let end = &mut self.ends[list as usize];
        end.len -= 1;
        if newer == NONE {
            end.newest = older;
        } else {
            self.nodes[newer as usize].older = older;
        }
        if older == NONE {
            self.ends[list as usize].oldest = newer;
        } else {
            self.nodes[older as usize].newer = newer;
        }
        self.nodes[key as usize].list = NONE;
    }

    /// Takes out the key that is in `list` longest.
    pub(super) fn pop(&mut self, list: usize) -> Option<u32> {
        let key = self.oldest(list)?;
        self.remove(key);
        Some(key)
    }
}
