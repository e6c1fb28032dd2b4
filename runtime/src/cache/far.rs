//! The remote tier as the cache uses it: entries by hash, under a generation, within a deadline.
//!
//! An entry and the generation it must carry are asked for in one round trip. A write carries the generation that its
//! read saw, so a clear in between makes it dead on arrival.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::Shared;
use super::lifetimes::Lifetimes;
use super::names::Names;
use super::parts::{Codec, LoadError, Local, aside};
use crate::driver::Driver;
use crate::envelope::{Meta, Name};
use crate::error::{Error, ErrorCode, ErrorKind, Result};
use crate::generated::config::Options;
use crate::generated::metrics::{LookupOutcome, Metrics, Tier};
use crate::key::{KeyHash, Tenant};
use crate::layer::{self, Stack};
use crate::remote::{Deadline, Remote};

/// The remote tier of one function.
pub(super) struct Far<R, D> {
    remote: Stack<Arc<R>, D>,
    clock: D,
    names: Names,
    timeout: Duration,
    lifetimes: Lifetimes,
    sliding: bool,
}

/// What a read found.
pub(super) enum Found<V> {
    /// An entry that is valid for another `remaining`.
    Hit {
        value: V,
        remaining: Option<Duration>,
    },
    /// None, and under which generation one may be written.
    Miss { generation: u64 },
    /// The remote tier failed, so nothing is to be written either.
    Failed,
    /// Somebody put other bytes in its place, and the caller is to be told.
    Refused(Error),
    /// The caller was interrupted.
    Interrupted(Error),
}

impl<R: Remote, D: Driver + Clone> Far<R, D> {
    pub(super) fn new(
        remote: Arc<R>,
        names: Names,
        options: &Options,
        metrics: &'static Metrics,
        driver: D,
    ) -> Self {
        Self {
            remote: layer::stack(remote, options, metrics, driver.clone()),
            clock: driver,
            names,
            timeout: options.remote_timeout,
            lifetimes: Lifetimes::new(options),
            sliding: options.sliding,
        }
    }

    fn deadline(&self) -> Deadline {
        self.clock.now().after(self.timeout)
    }

    /// For how long an entry lives from its use on, if that renews it.
    fn renewal(&self, hash: &KeyHash) -> Option<Duration> {
        self.lifetimes.of(hash).filter(|_| self.sliding)
    }

    /// The entry of `hash`, if it is valid. Every outcome is counted.
    pub(super) async fn read<L: Local, C: Codec<L::Value>, E: LoadError>(
        &self,
        shared: &Shared<L, C, E>,
        hash: &KeyHash,
        tenant: &Tenant,
    ) -> Found<L::Value> {
        let names = self.names.entry(hash);
        let generations = self.names.generation();
        let asked: Vec<&[u8]> = names
            .iter()
            .chain(&generations)
            .map(Vec::as_slice)
            .collect();
        let reply = self
            .remote
            .get(&asked, self.renewal(hash), self.deadline())
            .await;
        let (stored, generation) =
            match reply.and_then(|reply| split(reply, names.len(), generations.len())) {
                Ok(split) => split,
                Err(error) => {
                    shared.count(Tier::L2, LookupOutcome::Error);
                    return failed(error);
                }
            };
        let opened = match stored {
            Some((at, stored, generation)) => {
                let name = Name {
                    tenant: tenant.as_str(),
                    key: &names[at],
                };
                self.open(shared, hash, name, stored, generation)
            }
            None => Ok(None),
        };
        match opened {
            Ok(Some((value, remaining))) => {
                shared.count(Tier::L2, LookupOutcome::Hit);
                Found::Hit { value, remaining }
            }
            Ok(None) => {
                shared.count(Tier::L2, LookupOutcome::Miss);
                Found::Miss { generation }
            }
            Err(error) if shared.pipeline.is_tampering(&error) => {
                shared.count(Tier::L2, LookupOutcome::Tampered);
                shared.notice.tampered(&error);
                if shared.options.fail_closed {
                    return Found::Refused(tampered(error));
                }
                Found::Miss { generation }
            }
            Err(error) => {
                shared.count(Tier::L2, LookupOutcome::Error);
                if error.kind() == ErrorKind::Interrupted {
                    return Found::Interrupted(error);
                }
                Found::Miss { generation }
            }
        }
    }

    /// The generation alone, for a load that does not care what is stored.
    pub(super) async fn read_generation<V>(&self) -> Found<V> {
        match self.generation().await {
            Ok(generation) => Found::Miss { generation },
            Err(error) => failed(error),
        }
    }

    /// The generation that entries must carry.
    pub(super) async fn generation(&self) -> Result<u64> {
        let Some(name) = self.names.generation().into_iter().next() else {
            return Ok(0);
        };
        let mut reply = self.remote.get(&[&name], None, self.deadline()).await?;
        parse_generation(reply.pop().flatten())
    }

    fn open<L: Local, C: Codec<L::Value>, E>(
        &self,
        shared: &Shared<L, C, E>,
        hash: &KeyHash,
        name: Name<'_>,
        stored: Bytes,
        generation: u64,
    ) -> Result<Option<(L::Value, Option<Duration>)>> {
        let pipeline = &shared.pipeline;
        let effort = pipeline.effort(&stored);
        let (meta, payload) = aside(&shared.codec, effort, || pipeline.open(name, stored))?;
        if !pipeline.keeps_meta() {
            // Written in the last moment, it lives for as long as one that is written now.
            return Ok(Some((
                shared.codec.decode(&payload)?,
                self.lifetimes.of(hash),
            )));
        }
        // A generation of zero is one that was never cleared, and writers leave it out.
        let written = match *meta.generations.as_slice() {
            [] => 0,
            [written] => written,
            _ => return Ok(None),
        };
        if written != generation {
            return Ok(None);
        }
        let remaining = match meta.lifetime {
            None => None,
            // The read was a use of it.
            Some(_) if self.sliding && meta.sliding => self.renewal(hash),
            Some(lifetime) => {
                // A writer whose clock is ahead wrote it just now.
                let age = self.clock.unix_millis().saturating_sub(meta.created_ms);
                let remaining = lifetime.saturating_sub(Duration::from_millis(age));
                if remaining.is_zero() {
                    return Ok(None);
                }
                Some(remaining)
            }
        };
        Ok(Some((shared.codec.decode(&payload)?, remaining)))
    }

    /// The bytes of an entry whose value was computed just now.
    pub(super) fn seal<L: Local, C: Codec<L::Value>, E>(
        &self,
        shared: &Shared<L, C, E>,
        hash: &KeyHash,
        tenant: &Tenant,
        value: &L::Value,
        cost: Duration,
        generation: u64,
    ) -> Result<Bytes> {
        let meta = Meta {
            created_ms: self.clock.unix_millis(),
            lifetime: self.lifetimes.of(hash),
            sliding: self.sliding,
            cost,
            generations: Vec::from_iter((generation != 0).then_some(generation)),
        };
        let payload = shared.codec.encode(value)?;
        let name = Name {
            tenant: tenant.as_str(),
            key: &self.names.entry(hash)[0],
        };
        let (pipeline, effort) = (&shared.pipeline, payload.len() as u64);
        aside(&shared.codec, effort, || {
            pipeline.wrap(name, &meta, payload)
        })
    }

    pub(super) async fn store(&self, hash: &KeyHash, entry: Bytes) -> Result<()> {
        let names = self.names.entry(hash);
        if let [_, before @ ..] = names.as_slice()
            && !before.is_empty()
        {
            // What is under an older name must not come back when this is gone.
            self.remove_names(before).await?;
        }
        self.remote
            .set(&names[0], entry, self.lifetimes.of(hash), self.deadline())
            .await
    }

    pub(super) async fn remove(&self, hash: &KeyHash) -> Result<bool> {
        Ok(self.remove_names(&self.names.entry(hash)).await? > 0)
    }

    async fn remove_names(&self, names: &[Vec<u8>]) -> Result<u64> {
        let names: Vec<&[u8]> = names.iter().map(Vec::as_slice).collect();
        self.remote.remove(&names, self.deadline()).await
    }

    /// Begins a new generation. `clear_unsupported` where entries carry none.
    pub(super) async fn clear(&self, random: u64) -> Result<()> {
        let names = self.names.generation();
        if names.is_empty() {
            let identity = self.names.identity();
            return Err(Error::new(ErrorCode::ClearUnsupported).with("identity", identity));
        }
        // Zero is what an absent generation means.
        let generation = Bytes::from(random.max(1).to_string());
        for name in names {
            self.remote
                .set(&name, generation.clone(), None, self.deadline())
                .await?;
        }
        Ok(())
    }
}

/// An entry, under which of its names it was found, and the generation that it must carry.
type Stored = (usize, Bytes, u64);

/// The first entry of a reply about so many names and their generations, if they have any, and the generation to write under.
fn split(
    reply: Vec<Option<Bytes>>,
    names: usize,
    generations: usize,
) -> Result<(Option<Stored>, u64)> {
    let asked = names + generations;
    if reply.len() != asked {
        let reason = format!("{} values for {asked} keys", reply.len());
        return Err(Error::new(ErrorCode::Internal).with("reason", reason));
    }
    let mut entries = reply;
    let mut generations: Vec<_> = entries
        .split_off(names)
        .into_iter()
        .map(parse_generation)
        .collect::<Result<_>>()?;
    generations.resize(names, 0);
    let mut found = entries.into_iter().zip(&generations).enumerate();
    let stored = found.find_map(|(at, (entry, generation))| Some((at, entry?, *generation)));
    Ok((stored, generations[0]))
}

/// The error for whoever is to be told, whatever gave it away.
fn tampered(error: Error) -> Error {
    if error.code() == ErrorCode::EnvelopeTampered {
        return error;
    }
    Error::new(ErrorCode::EnvelopeTampered)
        .with("reason", &error)
        .with_source(error)
}

fn failed<V>(error: Error) -> Found<V> {
    if error.kind() == ErrorKind::Interrupted {
        Found::Interrupted(error)
    } else {
        Found::Failed
    }
}

fn parse_generation(stored: Option<Bytes>) -> Result<u64> {
    let Some(stored) = stored else { return Ok(0) };
    let text = std::str::from_utf8(&stored).ok();
    text.and_then(|text| text.parse().ok()).ok_or_else(|| {
        Error::new(ErrorCode::EnvelopeMalformed).with("reason", "the generation is not a number")
    })
}
