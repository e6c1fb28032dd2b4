//! Time, and whether the least recently used should leave at present.
//!
//! The policy keeps what is used again after long, at the expense of what is new. Where nothing is used but what was used
//! of late, that costs hits, and nothing tells so in advance. But both can be seen: a hit whose last use is more than a
//! turnover ago is one that LRU would have missed; a miss of what left less than a turnover ago is one that LRU would have hit.
//! The balance of the two says which is ahead. While LRU is, its misses cannot be seen, so it has to be ahead again and again:
//! the balance sinks with every insertion.
//!
//! A turnover is as much time as LRU would take to replace everything: as many misses of its own as there are
//! entries. Those are the insertions, and the hits that it would have missed.

/// Parts of a turnover that are told apart.
pub(super) const TURN: u64 = 16;

/// What an insertion is worth of a hit, as a fraction.
const SINKS: i64 = 16;

/// What to add to the time since an entry left, in parts of a turnover: the window in which it was before, and two for the
/// chance in that time. Too few rather than too many are taken for what LRU would have had.
const UNSEEN: u64 = 3;

/// Turnovers in which counts lose half.
const EPOCH: u64 = 10;

/// Time and balance.
#[derive(Debug)]
pub(super) struct Trend {
    /// Parts of turnovers so far.
    now: u64,
    epoch: u64,
    /// Misses of LRU in this part.
    misses: u64,
    /// Hits that LRU would have missed, since the last insertion.
    late: u64,
    /// Misses of LRU and insertions in this turnover, and in the one before.
    this: (u64, u64),
    last: (u64, u64),
    balance: i64,
}

impl Trend {
    pub(super) fn new() -> Self {
        Self {
            now: 0,
            epoch: 0,
            misses: 0,
            late: 0,
            this: (0, 0),
            last: (1, 1),
            balance: 0,
        }
    }

    /// In parts of a turnover.
    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// In which counts are halved.
    pub(super) fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Notes a hit, and whether it was late.
    #[inline]
    pub(super) fn hit(&mut self, is_late: bool) {
        self.late += u64::from(is_late);
    }

    /// Notes an insertion into a table of `population` entries; `ago`, of what left before: by so many parts
    /// of as many as there are. `is_filling` until the first has left.
    pub(super) fn insertion(&mut self, population: u64, ago: Option<u64>, is_filling: bool) {
        let late = std::mem::take(&mut self.late);
        let misses = 1 + late;
        self.misses += misses;
        let part = (population / TURN).max(1);
        if self.misses >= part {
            self.now += self.misses / part;
            self.epoch = self.now / (EPOCH * TURN);
            self.misses %= part;
        }
        self.this.0 += misses;
        self.this.1 += 1;
        if self.this.0 >= population {
            self.last = std::mem::take(&mut self.this);
        }
        let room = SINKS * population.min(u64::from(u32::MAX)).cast_signed();
        if is_filling {
            self.balance = -room / 2;
            return;
        }
        let (turn, insertions) = self.last;
        let has_lru = ago.is_some_and(|ago| (ago + UNSEEN) * turn < TURN * insertions);
        let gain = SINKS * (i64::from(has_lru) - late.min(population).cast_signed());
        self.balance = (self.balance + gain - 1).clamp(-2 * room, room);
    }

    /// Whether the least recently used should leave.
    pub(super) fn favours_lru(&self) -> bool {
        self.balance > 0
    }
}
