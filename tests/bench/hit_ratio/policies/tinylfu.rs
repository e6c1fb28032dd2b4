//! Einziger, Friedman and Manes, "TinyLFU: a highly efficient cache admission policy", ACM Transactions on Storage 2017, with a window of a
//! hundredth of the room; and with one that climbs, Einziger, Eytan, Friedman and Manes, "Adaptive software cache
//! management", Middleware 2018, with the constants of Caffeine 3.

use super::{Lists, Policy, mix};

const WINDOW: usize = 0;
const PROBATION: usize = 1;
const PROTECTED: usize = 2;

/// The window's first part of the room.
const WINDOW_PART: f64 = 0.01;
/// The protected part of the rest.
const PROTECTED_PART: f64 = 0.8;
/// How many requests, in rooms, are one sample, of the sketch and of the climber.
const SAMPLE: usize = 10;
/// The climber's step, in parts of the room; what is left of it after each; and a change of the hit ratio that makes it whole again.
const STEP: f64 = 0.0625;
const STEP_DECAY: f64 = 0.98;
const RESTART: f64 = 0.05;
/// From here on, one candidate of 128 that is no better than the victim is let in.
const WARM: u8 = 6;

/// A count-min sketch of four-bit counters, sixteen for each entry of the room.
struct Sketch {
    counters: Vec<u8>,
    additions: usize,
    sample: usize,
}

impl Sketch {
    fn new(capacity: usize) -> Self {
        Self {
            counters: vec![0; capacity.next_power_of_two().max(8) * 16],
            additions: 0,
            sample: SAMPLE * capacity,
        }
    }

    fn places(&self, key: u32) -> [usize; 4] {
        let hash = mix(u64::from(key) + 1);
        [0, 1, 2, 3].map(|row| {
            let row_hash = mix(hash.wrapping_add(row << 32 | row));
            row_hash as usize & (self.counters.len() - 1)
        })
    }

    fn frequency(&self, key: u32) -> u8 {
        let counts = self.places(key).map(|place| self.counters[place]);
        counts.into_iter().min().unwrap_or_default()
    }

    fn add(&mut self, key: u32) {
        let mut added = false;
        for place in self.places(key) {
            if self.counters[place] < 15 {
                self.counters[place] += 1;
                added = true;
            }
        }
        self.additions += usize::from(added);
        if self.additions >= self.sample {
            self.additions /= 2;
            self.counters.iter_mut().for_each(|count| *count /= 2);
        }
    }
}

/// Moves the window's size.
struct Climber {
    step: f64,
    hits: usize,
    requests: usize,
    before: f64,
}

impl Climber {
    /// By how many entries the window is to grow, at the end of a sample.
    fn climb(&mut self, capacity: usize, hit: bool) -> Option<f64> {
        self.hits += usize::from(hit);
        self.requests += 1;
        if self.requests < SAMPLE * capacity {
            return None;
        }
        let ratio = self.hits as f64 / self.requests as f64;
        let change = ratio - self.before;
        let amount = if change >= 0.0 { self.step } else { -self.step };
        self.step = if change.abs() >= RESTART {
            (STEP * capacity as f64).copysign(amount)
        } else {
            amount * STEP_DECAY
        };
        self.before = ratio;
        (self.hits, self.requests) = (0, 0);
        Some(amount)
    }
}

pub(super) struct WindowTinyLfu {
    capacity: usize,
    window: f64,
    lists: Lists,
    sketch: Sketch,
    climber: Option<Climber>,
    random: u64,
}

impl WindowTinyLfu {
    pub(super) fn new(capacity: usize, keys: usize, adaptive: bool) -> Self {
        let climber = Climber {
            step: -STEP * capacity as f64,
            hits: 0,
            requests: 0,
            before: 0.0,
        };
        Self {
            capacity,
            window: (WINDOW_PART * capacity as f64).max(1.0),
            lists: Lists::new(keys, 3),
            sketch: Sketch::new(capacity),
            climber: adaptive.then_some(climber),
            random: 1,
        }
    }

    fn window(&self) -> usize {
        self.window as usize
    }

    fn protected(&self) -> usize {
        ((self.capacity - self.window()) as f64 * PROTECTED_PART) as usize
    }

    fn admits(&mut self, candidate: u32, victim: u32) -> bool {
        let [new, old] = [candidate, victim].map(|key| self.sketch.frequency(key));
        if new > old {
            return true;
        }
        self.random = mix(self.random + 1);
        new >= WARM && self.random.is_multiple_of(128)
    }

    fn used(&mut self, key: u32, list: usize) {
        if list == WINDOW {
            return self.lists.push(key, WINDOW);
        }
        self.lists.push(key, PROTECTED);
        self.demote();
    }

    fn demote(&mut self) {
        while self.lists.len(PROTECTED) > self.protected()
            && let Some(key) = self.lists.oldest(PROTECTED)
        {
            self.lists.push(key, PROBATION);
        }
    }

    /// Lets go what the window has no more room for, and one entry if all is full.
    fn settle(&mut self) {
        while self.lists.len(WINDOW) > self.window()
            && let Some(candidate) = self.lists.oldest(WINDOW)
        {
            self.lists.push(candidate, PROBATION);
            if self.len() <= self.capacity {
                continue;
            }
            let victim = self.lists.oldest(PROBATION).filter(|key| *key != candidate);
            let victim = victim.or(self.lists.oldest(PROTECTED));
            match victim {
                Some(victim) if self.admits(candidate, victim) => self.lists.remove(victim),
                _ => self.lists.remove(candidate),
            }
        }
        while self.len() > self.capacity {
            let lists = &mut self.lists;
            let _ = lists.pop(PROBATION).or_else(|| lists.pop(PROTECTED));
        }
    }

    fn len(&self) -> usize {
        [WINDOW, PROBATION, PROTECTED]
            .iter()
            .map(|list| self.lists.len(*list))
            .sum()
    }

    fn resize(&mut self, more: f64) {
        let most = self.capacity.saturating_sub(1).max(1) as f64;
        self.window = (self.window + more).clamp(1.0, most);
        self.demote();
        // A smaller window's entries are not judged, a larger one takes the oldest of the rest.
        while self.lists.len(WINDOW) > self.window()
            && let Some(key) = self.lists.oldest(WINDOW)
        {
            self.lists.push(key, PROBATION);
        }
        while self.lists.len(WINDOW) < self.window()
            && let Some(key) = self.lists.oldest(PROBATION)
        {
            self.lists.push(key, WINDOW);
        }
    }
}

impl Policy for WindowTinyLfu {
    fn request(&mut self, key: u32) -> bool {
        self.sketch.add(key);
        let known = self.lists.of(key);
        if let Some(list) = known {
            self.used(key, list);
        } else {
            self.lists.push(key, WINDOW);
            self.settle();
        }
        let capacity = self.capacity;
        let is_full = self.len() >= capacity;
        if let Some(climber) = self.climber.as_mut().filter(|_| is_full)
            && let Some(more) = climber.climb(capacity, known.is_some())
        {
            self.resize(more);
        }
        known.is_some()
    }
}
