//! How long entries live: one rule for both tiers, and the same in every process.

use std::time::Duration;

use crate::generated::config::Options;
use crate::key::KeyHash;

/// The lifetimes of one function's entries.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    ttl: Option<Duration>,
    jitter: f64,
}

impl Lifetimes {
    /// As `options` say.
    pub fn new(options: &Options) -> Self {
        Self {
            ttl: options.ttl,
            jitter: options.ttl_jitter,
        }
    }

    /// The life of an entry whose value was computed just now, by [`of_number`](Self::of_number) of the last eight bytes of
    /// the key's hash as a big-endian number.
    ///
    /// Derived and not drawn: replicas that compute the same entry give it the same life, and need not agree on a number.
    pub fn of(&self, hash: &KeyHash) -> Option<Duration> {
        let end = hash.0[24..].iter();
        self.of_number(end.fold(0, |end, byte| end << 8 | u64::from(*byte)))
    }

    /// `ttl * (1 - jitter * u)`, where `u` in [0, 1) is `number` divided by 2^64; rounded up to a millisecond, and at most
    /// `ttl`. The number is to be as good as random; for an entry that no other process has, any hash will do.
    #[inline(always)]
    pub fn of_number(&self, number: u64) -> Option<Duration> {
        let ttl = self.ttl?;
        Some(if self.jitter <= 0.0 {
            ttl
        } else {
            self.spread(ttl, number)
        })
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "eleven bits less spread entries as well"
    )]
    fn spread(&self, ttl: Duration, number: u64) -> Duration {
        let u = (number >> 11) as f64 / (1_u64 << 53) as f64;
        let life = ttl.saturating_sub(ttl.mul_f64(self.jitter * u));
        // Whole milliseconds, as an entry says them, so that both tiers let go of it at once.
        let millis = life.as_nanos().div_ceil(1_000_000);
        Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX)).min(ttl)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generated::presets;

    fn lifetimes(ttl: Option<Duration>, jitter: f64) -> Lifetimes {
        let mut options = presets::DEFAULT.clone();
        options.ttl = ttl;
        options.ttl_jitter = jitter;
        Lifetimes::new(&options)
    }

    fn ending(bytes: [u8; 8]) -> KeyHash {
        let mut hash = [0x5a; 32];
        hash[24..].copy_from_slice(&bytes);
        KeyHash(hash)
    }

    const TTL: Duration = Duration::from_secs(1000);

    #[test]
    fn the_end_of_the_hash_says_how_much_is_taken_away() {
        let lives = lifetimes(Some(TTL), 0.1);
        let of = |bytes| lives.of(&ending(bytes)).expect("there is a ttl");
        assert_eq!(of([0; 8]), TTL);
        assert_eq!(of([0x80, 0, 0, 0, 0, 0, 0, 0]), Duration::from_secs(950));
        assert_eq!(of([0x40, 0, 0, 0, 0, 0, 0, 0]), Duration::from_secs(975));
        let least = of([0xff; 8]);
        assert_eq!(least, Duration::from_mins(15));
    }

    #[test]
    fn without_jitter_or_without_ttl_nothing_is() {
        let hash = ending([0xff; 8]);
        assert_eq!(lifetimes(Some(TTL), 0.0).of(&hash), Some(TTL));
        assert_eq!(lifetimes(None, 0.5).of(&hash), None);
        assert_eq!(
            lifetimes(Some(Duration::MAX), 0.0).of(&hash),
            Some(Duration::MAX)
        );
        assert!(lifetimes(Some(Duration::MAX), 0.5).of(&hash) < Some(Duration::MAX));
        let shortest = lifetimes(Some(Duration::from_nanos(1)), 0.5).of(&hash);
        assert!(shortest <= Some(Duration::from_nanos(1)));
    }

    #[test]
    fn lives_of_many_keys_are_spread_evenly() {
        let lives = lifetimes(Some(TTL), 0.05);
        let mut buckets = [0_u32; 10];
        for key in 0..10_000_u32 {
            let hash = KeyHash::of_key(&key).expect("a number is a key");
            let life = lives.of(&hash).expect("there is a ttl").as_millis();
            assert!(life > 950_000 && life <= 1_000_000);
            buckets[usize::try_from((life - 950_001) / 5000).expect("it is small")] += 1;
        }
        assert!(
            buckets.iter().all(|count| (850..1150).contains(count)),
            "{buckets:?}"
        );
    }
}
