//! What the policy knows of an entry, in the word that a hit writes.

use super::trend::TURN;

/// One of the two queues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Queue {
    /// New entries.
    Window,
    /// Entries that won their place.
    Main,
}

/// Weight, queue and uses of an entry.
#[derive(Clone, Copy)]
pub(super) struct Meta(u64);

/// Bits of a [`Meta`].
#[derive(Clone, Copy)]
struct Field {
    shift: u32,
    max: u64,
}

impl Field {
    const fn mask(self) -> u64 {
        self.max << self.shift
    }

    /// A value that fits, in its place.
    const fn of(self, value: u64) -> u64 {
        value << self.shift
    }
}

/// Uses since it was last looked at.
const USES: Field = Field { shift: 0, max: 15 };
/// Uses altogether, halved with each epoch; up to what the history keeps.
const COUNT: Field = Field { shift: 4, max: 15 };
/// Uses that keep it in the main queue, each once.
const CHANCES: Field = Field { shift: 8, max: 3 };
const MAIN: Field = Field { shift: 10, max: 1 };
/// Whether it had left not long before it came.
const RETURNED: Field = Field { shift: 11, max: 1 };
/// The epoch of the count.
const EPOCH: Field = Field { shift: 12, max: 15 };
const WEIGHT: Field = Field {
    shift: 16,
    max: Meta::MAX_WEIGHT,
};
/// When it was last used. At the top, where a sum that carries carries into nothing.
const USED: Field = Field {
    shift: 56,
    max: 255,
};

impl Meta {
    pub(super) const MAX_WEIGHT: u64 = (1 << 40) - 1;

    /// Of an entry that is in no queue yet.
    pub(super) fn new(weight: u64) -> Self {
        Self(weight << WEIGHT.shift)
    }

    pub(super) fn weight(self) -> u64 {
        self.get(WEIGHT)
    }

    pub(super) fn set_weight(&mut self, weight: u64) {
        self.set(WEIGHT, weight);
    }

    pub(super) fn queue(self) -> Queue {
        if self.get(MAIN) == 0 {
            Queue::Window
        } else {
            Queue::Main
        }
    }

    pub(super) fn count(self) -> u64 {
        self.get(COUNT)
    }

    pub(super) fn chances(self) -> u64 {
        self.get(CHANCES)
    }

    pub(super) fn set_chances(&mut self, chances: u64) {
        self.set(CHANCES, chances);
    }

    pub(super) fn has_returned(self) -> bool {
        self.get(RETURNED) != 0
    }

    fn get(self, field: Field) -> u64 {
        self.0 >> field.shift & field.max
    }

    fn set(&mut self, field: Field, value: u64) {
        self.0 = self.0 & !field.mask() | value.min(field.max) << field.shift;
    }

    /// One use more, at `now`; says whether the last one was more than a turnover ago.
    #[inline]
    pub(super) fn touch(&mut self, now: u64) -> bool {
        let age = self.age(now);
        let more = u64::from(self.0 & USES.mask() != USES.mask());
        self.0 = self.0.wrapping_add(age << USED.shift | more);
        age > TURN
    }

    /// How long ago it was last used.
    #[inline]
    pub(super) fn age(self, now: u64) -> u64 {
        now.wrapping_sub(self.0 >> USED.shift) & USED.max
    }

    /// As it comes, with what is known of it from before.
    pub(super) fn begin(&mut self, now: u64, epoch: u64, count: u64, has_returned: bool) {
        self.0 = self.0 & WEIGHT.mask()
            | USED.of(now & USED.max)
            | EPOCH.of(epoch & EPOCH.max)
            | COUNT.of(count.min(COUNT.max))
            | RETURNED.of(u64::from(has_returned));
    }

    /// Counts its uses up and gives them.
    pub(super) fn look(&mut self, epoch: u64) -> u64 {
        let uses = self.get(USES);
        let age = epoch.wrapping_sub(self.get(EPOCH)) & EPOCH.max;
        let count = (self.get(COUNT) >> age) + uses;
        let chances = self.get(CHANCES) + uses;
        let rest = USED.mask() | WEIGHT.mask() | MAIN.mask() | RETURNED.mask();
        self.0 = self.0 & rest
            | EPOCH.of(epoch & EPOCH.max)
            | COUNT.of(count.min(COUNT.max))
            | CHANCES.of(chances.min(CHANCES.max));
        uses
    }

    /// Now in the main queue.
    pub(super) fn promote(&mut self, chances: u64) {
        self.set(MAIN, 1);
        self.set(CHANCES, chances);
    }
}
