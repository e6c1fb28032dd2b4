//! What goes over an event loop's connection: a state machine without lock, clock or I/O.
//!
//! Requests wait in one queue until the connection is introduced, then in a second one, in the order of their replies. Whoever
//! makes a change gets its consequences as [`Effects`], to carry out when no lock is held.

use std::collections::VecDeque;
use std::task::Waker;
use std::time::Duration;

use bytes::Bytes;

use super::handshake::{Handshake, Next};
use super::output::Output;
use super::pipe::Link;
use super::protocol::{Reader, Reply};
use super::{Endpoint, Packed, malformed, timed_out, unavailable};
use crate::clock::Instant;
use crate::error::{Error, Result};

/// What must be done once the lock is released, in this order.
#[derive(Debug, Default)]
pub(super) struct Effects {
    pub(super) close: Option<Link>,
    pub(super) connect: Option<Link>,
    pub(super) write: Option<Link>,
    pub(super) wake: Vec<Waker>,
    /// What must be dropped where foreign code may run.
    over: Vec<(Packed, Option<Waker>)>,
}

/// A request's place; its holder gives it up by taking the result or by `forget`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket(usize);

/// What polling a ticket gave.
pub(super) enum Polled {
    Done(Result<Reply>),
    Pending,
    /// Poll again with a clone of the waker as spare.
    NeedsWaker,
}

/// Where the connection stands.
#[derive(Debug)]
enum Phase {
    Idle,
    Connecting,
    Greeting(Handshake),
    Ready,
}

#[derive(Debug)]
enum Slot {
    Free,
    /// The reply will wake its caller; without a waker the caller has gone.
    Open(Outstanding),
    Done(Result<Reply>),
}

#[derive(Debug)]
struct Outstanding {
    waker: Option<Waker>,
    /// Kept for one repetition on another connection.
    packed: Packed,
    operation: &'static str,
    began: Instant,
    deadline: Instant,
    repeated: bool,
}

/// All requests of one pipe, and its connection.
#[derive(Debug)]
pub(super) struct Traffic {
    endpoint: Endpoint,
    link: Link,
    phase: Phase,
    reader: Reader,
    output: Output,
    /// Whether the host knows that there is output.
    told: bool,
    slots: Vec<Slot>,
    free: Vec<usize>,
    queued: VecDeque<usize>,
    sent: VecDeque<usize>,
    /// No outstanding deadline is earlier.
    earliest: Option<Instant>,
    /// What a fork left, for the next request to drop.
    left_behind: Vec<(Packed, Option<Waker>)>,
}

impl Traffic {
    pub(super) fn new(endpoint: Endpoint) -> Self {
        Self {
            endpoint,
            link: 0,
            phase: Phase::Idle,
            reader: Reader::default(),
            output: Output::default(),
            told: false,
            slots: Vec::new(),
            free: Vec::new(),
            queued: VecDeque::new(),
            sent: VecDeque::new(),
            earliest: None,
            left_behind: Vec::new(),
        }
    }

    /// Takes a new request; an error if it cannot even be queued.
    pub(super) fn begin(
        &mut self,
        packed: Packed,
        operation: &'static str,
        now: Instant,
        deadline: Instant,
        waker: Waker,
        effects: &mut Effects,
    ) -> Result<Ticket> {
        effects.over.append(&mut self.left_behind);
        if now >= deadline {
            effects.over.push((packed, Some(waker)));
            return Err(timed_out(&self.endpoint, operation, Duration::ZERO));
        }
        if matches!(self.phase, Phase::Idle) {
            self.connect(effects);
        }
        let open = Outstanding {
            waker: Some(waker),
            packed,
            operation,
            began: now,
            deadline,
            repeated: false,
        };
        let at = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        });
        self.slots[at] = Slot::Open(open);
        self.earliest = Some(self.earliest.map_or(deadline, |known| known.min(deadline)));
        if matches!(self.phase, Phase::Ready) {
            self.send(at, effects);
        } else {
            self.queued.push_back(at);
        }
        Ok(Ticket(at))
    }

    pub(super) fn poll(
        &mut self,
        ticket: Ticket,
        waker: &Waker,
        spare: &mut Option<Waker>,
    ) -> Polled {
        match &mut self.slots[ticket.0] {
            Slot::Open(open) => match &mut open.waker {
                Some(known) if known.will_wake(waker) => Polled::Pending,
                // What is replaced goes out in `spare`, to be dropped by the caller.
                known => match spare.take() {
                    Some(new) => {
                        *spare = known.replace(new);
                        Polled::Pending
                    }
                    None => Polled::NeedsWaker,
                },
            },
            done => {
                let Slot::Done(result) = std::mem::replace(done, Slot::Free) else {
                    unreachable!("a ticket's slot is its own until it is taken")
                };
                self.free.push(ticket.0);
                Polled::Done(result)
            }
        }
    }

    /// The caller went away: the reply will be dropped when it comes. What is returned is to be dropped outside the lock.
    pub(super) fn forget(&mut self, ticket: Ticket) -> impl Sized + use<> {
        match &mut self.slots[ticket.0] {
            Slot::Open(open) => (open.waker.take(), None),
            done => {
                let done = std::mem::replace(done, Slot::Free);
                self.free.push(ticket.0);
                (None, Some(done))
            }
        }
    }

    pub(super) fn connected(&mut self, link: Link, effects: &mut Effects) {
        if link != self.link || !matches!(self.phase, Phase::Connecting) {
            return;
        }
        let (handshake, bytes) = Handshake::begin(&self.endpoint);
        self.phase = Phase::Greeting(handshake);
        self.write(&bytes.into(), effects);
    }

    pub(super) fn feed(&mut self, link: Link, data: &[u8], effects: &mut Effects) {
        if link != self.link || !matches!(self.phase, Phase::Greeting(_) | Phase::Ready) {
            return;
        }
        self.reader.feed(data);
        loop {
            let reply = match self.reader.next() {
                Ok(Some(Reply::Push(_))) => continue,
                Ok(Some(reply)) => reply,
                Ok(None) => return,
                Err(reason) => {
                    let error = malformed(&self.endpoint, reason.0);
                    return self.give_up(&error, effects);
                }
            };
            if let Err(error) = self.understand(reply, effects) {
                return self.give_up(&error, effects);
            }
        }
    }

    fn understand(&mut self, reply: Reply, effects: &mut Effects) -> Result<()> {
        if let Phase::Greeting(handshake) = &mut self.phase {
            match handshake.reply(&reply)? {
                Next::Send(bytes) => self.write(&bytes.into(), effects),
                Next::Ready => {
                    self.phase = Phase::Ready;
                    for at in std::mem::take(&mut self.queued) {
                        self.send(at, effects);
                    }
                }
            }
            return Ok(());
        }
        let Some(at) = self.sent.pop_front() else {
            return Err(malformed(&self.endpoint, "nobody asked for it"));
        };
        self.settle(at, |_| Ok(reply), effects);
        Ok(())
    }

    pub(super) fn lost(&mut self, link: Link, reason: &str, effects: &mut Effects) {
        if link != self.link || matches!(self.phase, Phase::Idle) {
            return;
        }
        let was_ready = matches!(self.phase, Phase::Ready);
        let within_reply = !self.reader.is_idle();
        let error = unavailable(&self.endpoint, reason);
        if !was_ready || within_reply {
            return self.end(|_| copy(&error), effects);
        }
        // It died between calls, or before it read these. All our commands can be repeated, and are, once.
        let mut again = VecDeque::new();
        for at in std::mem::take(&mut self.sent) {
            match &mut self.slots[at] {
                Slot::Open(open) if !open.repeated && open.waker.is_some() => {
                    open.repeated = true;
                    again.push_back(at);
                }
                _ => self.settle(at, |_| Err(copy(&error)), effects),
            }
        }
        self.end(|_| copy(&error), effects);
        if !again.is_empty() {
            self.queued = again;
            self.earliest = self.earliest_outstanding();
            self.connect(effects);
        }
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.earliest
            .filter(|_| !(self.queued.is_empty() && self.sent.is_empty()))
    }

    pub(super) fn expire(&mut self, now: Instant, effects: &mut Effects) {
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        self.earliest = self.earliest_outstanding();
        if self.earliest.is_none_or(|earliest| now < earliest) {
            return;
        }
        effects.close = Some(self.link);
        let endpoint = self.endpoint.clone();
        let error = unavailable(
            &endpoint,
            "a request on the same connection had no answer in time",
        );
        let each = |open: &Outstanding| {
            if open.deadline <= now {
                timed_out(&endpoint, open.operation, open.deadline.since(open.began))
            } else {
                copy(&error)
            }
        };
        self.end(each, effects);
    }

    pub(super) fn take_output(&mut self, link: Link) -> Option<Bytes> {
        let output = if link == self.link {
            self.output.take()
        } else {
            None
        };
        if output.is_none() && link == self.link {
            self.told = false;
        }
        output
    }

    /// Forgets the connection in a forked child: nobody is woken, nothing foreign is dropped.
    pub(super) fn abandon(&mut self) {
        for at in self.queued.drain(..).chain(self.sent.drain(..)) {
            let gone = unavailable(&self.endpoint, "this process was forked while it waited");
            let slot = std::mem::replace(&mut self.slots[at], Slot::Done(Err(gone)));
            if let Slot::Open(open) = slot {
                if open.waker.is_none() {
                    self.slots[at] = Slot::Free;
                    self.free.push(at);
                }
                self.left_behind.push((open.packed, open.waker));
            }
        }
        self.reset();
    }

    fn earliest_outstanding(&self) -> Option<Instant> {
        let outstanding = self.queued.iter().chain(&self.sent);
        let deadlines = outstanding.filter_map(|at| match &self.slots[*at] {
            Slot::Open(open) => Some(open.deadline),
            _ => None,
        });
        deadlines.min()
    }

    fn connect(&mut self, effects: &mut Effects) {
        self.link += 1;
        self.phase = Phase::Connecting;
        effects.connect = Some(self.link);
    }

    fn send(&mut self, at: usize, effects: &mut Effects) {
        let Slot::Open(open) = &self.slots[at] else {
            return;
        };
        if open.waker.is_none() {
            // Its caller went away before it was sent.
            self.slots[at] = Slot::Free;
            return self.free.push(at);
        }
        let packed = open.packed.clone();
        self.sent.push_back(at);
        self.write(&packed, effects);
    }

    fn write(&mut self, packed: &Packed, effects: &mut Effects) {
        self.output.push(packed);
        if !std::mem::replace(&mut self.told, true) {
            effects.write = Some(self.link);
        }
    }

    /// Ends one request, whose caller may have gone.
    fn settle(
        &mut self,
        at: usize,
        result: impl FnOnce(&Outstanding) -> Result<Reply>,
        effects: &mut Effects,
    ) {
        let slot = &mut self.slots[at];
        let Slot::Open(mut open) = std::mem::replace(slot, Slot::Free) else {
            unreachable!("only open requests are queued or sent")
        };
        match open.waker.take() {
            Some(waker) => {
                *slot = Slot::Done(result(&open));
                effects.wake.push(waker);
            }
            None => self.free.push(at),
        }
        effects.over.push((open.packed, None));
    }

    /// Closes the connection because of `error`, which every outstanding request gets.
    fn give_up(&mut self, error: &Error, effects: &mut Effects) {
        effects.close = Some(self.link);
        self.end(|_| copy(error), effects);
    }

    /// Ends the connection and all its requests.
    fn end(&mut self, each: impl Fn(&Outstanding) -> Error, effects: &mut Effects) {
        let all: Vec<usize> = self.queued.drain(..).chain(self.sent.drain(..)).collect();
        for at in all {
            self.settle(at, |open| Err(each(open)), effects);
        }
        self.reset();
    }

    fn reset(&mut self) {
        self.phase = Phase::Idle;
        self.reader = Reader::default();
        self.output = Output::default();
        self.told = false;
        self.earliest = None;
    }
}

/// The same error once more, for another caller.
fn copy(error: &Error) -> Error {
    error
        .context()
        .fold(Error::new(error.code()), |copy, (name, value)| {
            copy.with(name, value)
        })
}
