//! Who waits for whom, over all flights of the process, so that no circle of callers waits for itself.
//!
//! One table for all, because a circle runs through the flights of several functions. It is touched only by callers that
//! are about to wait, never by leaders that meet no one.

use std::collections::{BTreeMap, HashMap};

use crate::driver::Caller;
use crate::shim::Mutex;

static WAITS: Mutex<Waits> = Mutex::new(Waits::new());

/// Notes that `caller` waits for the flight `run` that `leader` leads in its `term`, unless that would close a circle.
#[must_use]
pub(super) fn try_wait(caller: Caller, run: u64, leader: Caller, term: u64) -> bool {
    WAITS.with(|waits| waits.try_wait(caller, run, leader, term))
}

/// `caller` no longer waits for `run`.
pub(super) fn leave(caller: Caller, run: u64) {
    WAITS.with(|waits| waits.leave(caller, run));
}

/// `caller`, which was waiting for `run`, now leads it.
pub(super) fn take_over(caller: Caller, run: u64, term: u64) {
    WAITS.with(|waits| {
        waits.lead(run, caller, term);
        waits.leave(caller, run);
    });
}

/// `run` holds up nobody any more.
pub(super) fn landed(run: u64) {
    WAITS.with(|waits| {
        if let Some(led) = waits.led.get_mut(&run) {
            led.leader = None;
        }
    });
}

/// In a forked child nobody waits for `gone`.
pub(super) fn reset_after_fork<T>(gone: &HashMap<u64, T>) {
    WAITS.with(|waits| {
        waits.led.retain(|run, _| !gone.contains_key(run));
        waits.waiting.retain(|_, runs| {
            runs.retain(|run| !gone.contains_key(run));
            !runs.is_empty()
        });
    });
}

/// Whether any caller on `thread` waits.
#[cfg(test)]
pub(super) fn any_on(thread: u64) -> bool {
    let callers = (thread, 0)..=(thread, u64::MAX);
    WAITS.with(|waits| waits.waiting.range(callers).next().is_some())
}

struct Waits {
    /// The runs that each caller waits for, by thread and task.
    waiting: BTreeMap<(u64, u64), Vec<u64>>,
    /// The runs that somebody waits for.
    led: BTreeMap<u64, Led>,
}

struct Led {
    leader: Option<Caller>,
    /// How often the lead had changed hands; news of an older term comes too late.
    term: u64,
    waiters: usize,
}

impl Waits {
    const fn new() -> Self {
        Self {
            waiting: BTreeMap::new(),
            led: BTreeMap::new(),
        }
    }

    fn try_wait(&mut self, caller: Caller, run: u64, leader: Caller, term: u64) -> bool {
        self.lead(run, leader, term);
        let known = self
            .led
            .get(&run)
            .and_then(|led| led.leader)
            .unwrap_or(leader);
        if self.reaches(known, caller) {
            return false;
        }
        self.waiting
            .entry((caller.thread, caller.task))
            .or_default()
            .push(run);
        self.led
            .entry(run)
            .or_insert(Led {
                leader: Some(leader),
                term,
                waiters: 0,
            })
            .waiters += 1;
        true
    }

    fn lead(&mut self, run: u64, leader: Caller, term: u64) {
        if let Some(led) = self.led.get_mut(&run)
            && led.term < term
        {
            led.leader = Some(leader);
            led.term = term;
        }
    }

    fn leave(&mut self, caller: Caller, run: u64) {
        let key = (caller.thread, caller.task);
        let Some(runs) = self.waiting.get_mut(&key) else {
            return;
        };
        let Some(at) = runs.iter().position(|known| *known == run) else {
            return;
        };
        runs.swap_remove(at);
        if runs.is_empty() {
            self.waiting.remove(&key);
        }
        if let Some(led) = self.led.get_mut(&run) {
            led.waiters -= 1;
            if led.waiters == 0 {
                self.led.remove(&run);
            }
        }
    }

    /// Whether `from` cannot go on before `to` does, directly or through others.
    fn reaches(&self, from: Caller, to: Caller) -> bool {
        let mut seen = Vec::new();
        let mut open = vec![from];
        while let Some(leader) = open.pop() {
            if to.holds_up(leader) {
                return true;
            }
            for run in self.holding_up(leader) {
                if !seen.contains(&run) {
                    seen.push(run);
                    open.extend(self.led.get(&run).and_then(|led| led.leader));
                }
            }
        }
        false
    }

    /// The runs whose end `caller` needs: those it waits for, and those that a plain call on its thread does, or, if it
    /// is a plain call itself, any task within it.
    fn holding_up(&self, caller: Caller) -> Vec<u64> {
        let thread = caller.thread;
        let tasks = if caller.task == 0 {
            0..=u64::MAX
        } else {
            caller.task..=caller.task
        };
        let own = self
            .waiting
            .range((thread, *tasks.start())..=(thread, *tasks.end()));
        let plain = (caller.task != 0)
            .then(|| self.waiting.get_key_value(&(thread, 0)))
            .flatten();
        own.chain(plain)
            .flat_map(|(_, runs)| runs)
            .copied()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn caller(thread: u64, task: u64) -> Caller {
        Caller { thread, task }
    }

    #[test]
    fn a_circle_of_three_is_seen_by_the_one_who_would_close_it() {
        let mut waits = Waits::new();
        let [a, b, c] = [caller(1, 0), caller(2, 0), caller(3, 0)];
        assert!(waits.try_wait(a, 20, b, 0));
        assert!(waits.try_wait(b, 30, c, 0));
        assert!(!waits.try_wait(c, 10, a, 0));
        waits.leave(a, 20);
        assert!(waits.try_wait(c, 10, a, 0));
    }

    #[test]
    fn a_blocked_thread_blocks_the_tasks_on_it() {
        let mut waits = Waits::new();
        // Thread 1 waits in a plain call, so task 5 of it cannot land the run 15 that thread 2 would wait for.
        assert!(waits.try_wait(caller(1, 0), 20, caller(2, 0), 0));
        assert!(!waits.try_wait(caller(2, 0), 15, caller(1, 5), 0));
        // A waiting task blocks no other task of its thread.
        assert!(waits.try_wait(caller(3, 1), 21, caller(2, 0), 0));
        assert!(waits.try_wait(caller(2, 0), 35, caller(3, 5), 0));
    }

    #[test]
    fn old_news_of_a_leader_does_not_replace_the_new_one() {
        let mut waits = Waits::new();
        let [a, b, c] = [caller(1, 0), caller(2, 0), caller(3, 0)];
        assert!(waits.try_wait(c, 10, b, 1));
        // Caller `b` leads run 10 by now; a caller that still believes in `a` must not hide the circle.
        assert!(waits.try_wait(caller(4, 0), 10, a, 0));
        assert!(!waits.try_wait(b, 30, c, 0));
    }

    #[test]
    fn whoever_comes_brings_news_of_the_leader() {
        let mut waits = Waits::new();
        let [a, b, c] = [caller(1, 0), caller(2, 0), caller(3, 0)];
        let [early, late] = [caller(4, 0), caller(5, 0)];
        assert!(waits.try_wait(early, 10, a, 0));
        assert!(waits.try_wait(b, 20, c, 0));
        // Caller `b` leads run 10 by now, and waits for `c`.
        assert!(!waits.try_wait(c, 10, b, 2));
        assert!(waits.try_wait(late, 10, a, 1));
        assert!(!waits.try_wait(b, 30, early, 0));
    }

    #[test]
    fn who_leaves_one_run_still_waits_for_the_other() {
        let mut waits = Waits::new();
        let [a, b, c] = [caller(1, 0), caller(2, 0), caller(3, 0)];
        assert!(waits.try_wait(a, 20, b, 0));
        assert!(waits.try_wait(a, 30, c, 0));
        waits.leave(a, 30);
        assert!(!waits.try_wait(b, 10, a, 0));
        assert!(waits.try_wait(c, 10, a, 0));
    }

    #[test]
    fn nothing_is_left_behind() {
        let mut waits = Waits::new();
        assert!(waits.try_wait(caller(1, 0), 20, caller(2, 0), 0));
        assert!(waits.try_wait(caller(3, 0), 20, caller(2, 0), 0));
        waits.leave(caller(1, 0), 20);
        waits.leave(caller(3, 0), 20);
        assert!(waits.waiting.is_empty() && waits.led.is_empty());
    }
}
