//! Servers, and what lies between them and the simulated processes.
//!
//! A message that is on its way arrives even when its sender has given up, as on a real network: a timed-out write may
//! have happened.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;

use super::{Process, Simulation, Sleep, State};
use crate::clock::Clock;
use crate::error::{Error, ErrorCode, Result};
use crate::remote::memory::Memory;
use crate::remote::{Deadline, Remote};
use crate::shim::Mutex;

/// How messages travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Network {
    /// Least time that a message takes.
    pub least: Duration,
    /// What comes on top: up to twice this, and now and then, once in 64, ten times this.
    pub typical: Duration,
    /// Messages of a million that are lost.
    pub lost_per_million: u32,
}

impl Default for Network {
    fn default() -> Self {
        Self {
            least: Duration::from_micros(50),
            typical: Duration::from_micros(100),
            lost_per_million: 0,
        }
    }
}

impl State {
    /// How long the next message takes; `None` if it is lost.
    fn travel(&mut self) -> Option<Duration> {
        let network = self.network;
        let typical = u64::try_from(network.typical.as_nanos()).unwrap_or(u64::MAX);
        let extra = if self.random.below(64) == 0 {
            typical.saturating_mul(10)
        } else {
            self.random.below(typical.saturating_mul(2).max(1))
        };
        let lost = self.random.happens(network.lost_per_million);
        (!lost).then(|| network.least + Duration::from_nanos(extra))
    }
}

/// Whether a server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Answering,
    /// Takes messages and says nothing.
    Silent,
    /// Its machine refuses connections.
    Dead,
}

/// A simulated server with a store in memory. Clones are the same server.
#[derive(Clone)]
pub struct Server {
    simulation: Simulation,
    store: Arc<Memory<Simulation>>,
    health: Arc<Mutex<Health>>,
}

impl Server {
    /// A server that answers.
    pub fn new(simulation: &Simulation) -> Self {
        Self {
            simulation: simulation.clone(),
            store: Arc::new(Memory::new(simulation.clone())),
            health: Arc::new(Mutex::new(Health::Answering)),
        }
    }

    /// What it stores.
    pub fn store(&self) -> &Memory<Simulation> {
        &self.store
    }

    /// Answers again.
    pub fn revive(&self) {
        self.health.with(|health| *health = Health::Answering);
    }

    /// Stops answering, without a word.
    pub fn silence(&self) {
        self.health.with(|health| *health = Health::Silent);
    }

    /// Stops; connections are refused.
    pub fn kill(&self) {
        self.health.with(|health| *health = Health::Dead);
    }

    /// The way from `process` to it.
    pub fn reached_from(&self, process: &Process) -> Wire {
        Wire {
            server: self.clone(),
            process: process.clone(),
        }
    }

    fn health(&self) -> Health {
        self.health.with(|health| *health)
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("health", &self.health())
            .finish_non_exhaustive()
    }
}

/// A simulated connection: the [`Remote`] of one process.
#[derive(Clone, Debug)]
pub struct Wire {
    server: Server,
    process: Process,
}

impl Wire {
    async fn exchange<T: Send + 'static>(
        &self,
        operation: &'static str,
        deadline: Deadline,
        act: impl FnOnce(&Memory<Simulation>) -> T + Send + 'static,
    ) -> Result<T> {
        let simulation = &self.server.simulation;
        let index = self.process.index;
        let (there, back) = simulation.with(|state| {
            let reachable = !state.cut_off.contains(&index);
            let (there, back) = (state.travel(), state.travel());
            (there.filter(|_| reachable), back)
        });
        let slot = Arc::new(Mutex::new(Slot {
            reply: None,
            waker: None,
        }));
        if let Some(there) = there {
            let (server, slot) = (self.server.clone(), Arc::clone(&slot));
            let travelling = async move {
                let simulation = server.simulation.clone();
                simulation.sleep(there).await;
                let reply = match server.health() {
                    Health::Silent => return,
                    Health::Dead => Err(Error::new(ErrorCode::RemoteUnavailable)
                        .with("remote", "the simulated server")
                        .with("reason", "connection refused")),
                    Health::Answering => {
                        simulation.note(0, format_args!("{operation} of {index}"));
                        Ok(act(&server.store))
                    }
                };
                let Some(back) = back else { return };
                simulation.sleep(back).await;
                let waker = slot.with(|slot| {
                    slot.reply = Some(reply);
                    slot.waker.take()
                });
                if let Some(waker) = waker {
                    waker.wake();
                }
            };
            simulation.add(0, 0, Box::pin(travelling));
        }
        let reply = Reply {
            slot,
            deadline: simulation.sleep_until(deadline),
        };
        let waited = deadline.since(simulation.now());
        let reply = reply.await.unwrap_or_else(|| {
            Err(Error::new(ErrorCode::RemoteTimeout)
                .with("remote", "the simulated server")
                .with("operation", operation)
                .with("timeout", format_args!("{waited:?}")))
        });
        self.process.note(match &reply {
            Ok(_) => operation,
            Err(error) => error.code().as_str(),
        });
        reply
    }
}

struct Slot<T> {
    reply: Option<Result<T>>,
    waker: Option<Waker>,
}

/// What comes first: the reply or the deadline.
struct Reply<T> {
    slot: Arc<Mutex<Slot<T>>>,
    deadline: Sleep,
}

impl<T> Future for Reply<T> {
    type Output = Option<Result<T>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut waker = Some(cx.waker().clone());
        let reply = self.slot.with(|slot| {
            std::mem::swap(&mut slot.waker, &mut waker);
            slot.reply.take()
        });
        drop(waker);
        match reply {
            Some(reply) => Poll::Ready(Some(reply)),
            None => Pin::new(&mut self.deadline).poll(cx).map(|()| None),
        }
    }
}

impl Remote for Wire {
    async fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        deadline: Deadline,
    ) -> Result<Vec<Option<Bytes>>> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        let act = move |store: &Memory<_>| store.read_now(&keys, renew);
        self.exchange("get", deadline, act).await
    }

    async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        deadline: Deadline,
    ) -> Result<()> {
        let key = key.to_vec();
        let act = move |store: &Memory<_>| store.set_now(&key, value, lifetime);
        self.exchange("set", deadline, act).await
    }

    async fn remove(&self, keys: &[&[u8]], deadline: Deadline) -> Result<u64> {
        let keys: Vec<Vec<u8>> = keys.iter().map(|key| key.to_vec()).collect();
        let act = move |store: &Memory<_>| {
            keys.iter()
                .map(|key| u64::from(store.remove_now(key)))
                .sum::<u64>()
        };
        self.exchange("remove", deadline, act).await
    }
}
