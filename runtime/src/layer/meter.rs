//! Counts the operations of a remote tier, and times them.
//!
//! A layer and not a part of each remote, so that all remotes are counted alike.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;

use crate::clock::Clock;
use crate::error::{ErrorCode, Result};
use crate::generated::config::Monitoring;
use crate::generated::metrics::{Metrics, RemoteOperation, RemoteOutcome};
use crate::remote::{Deadline, Remote};
use crate::shim;

/// A remote tier whose operations are counted. An operation that was dropped half-way is not.
#[derive(Debug)]
pub struct Meter<R, K> {
    remote: R,
    monitoring: Monitoring,
    metrics: &'static Metrics,
    clock: K,
}

impl<R: Remote, K: Clock> Meter<R, K> {
    /// Counts what happens to `remote` in `metrics`, as far as `monitoring` goes.
    pub fn new(remote: R, monitoring: Monitoring, metrics: &'static Metrics, clock: K) -> Self {
        Self {
            remote,
            monitoring,
            metrics,
            clock,
        }
    }

    async fn count<T>(
        &self,
        operation: RemoteOperation,
        running: impl Future<Output = Result<T>> + Send,
    ) -> Result<T> {
        if self.monitoring == Monitoring::Off {
            return running.await;
        }
        let begun = self.clock.now();
        let result = running.await;
        let outcome = match &result {
            Ok(_) => RemoteOutcome::Ok,
            Err(error) if error.code() == ErrorCode::RemoteTimeout => RemoteOutcome::Timeout,
            Err(_) => RemoteOutcome::Error,
        };
        self.metrics.remote_operations.inc(operation, outcome);
        if self.monitoring == Monitoring::Full {
            let took = self.clock.now().since(begun);
            // A histogram waits, when it is read, for every observation that has begun: a fork must not see half of one.
            shim::critical(|| {
                self.metrics
                    .remote_duration
                    .observe(operation, took.as_secs_f64());
            });
        }
        result
    }
}

impl<R: Remote, K: Clock> Remote for Meter<R, K> {
    async fn get(
        &self,
        keys: &[&[u8]],
        renew: Option<Duration>,
        deadline: Deadline,
    ) -> Result<Vec<Option<Bytes>>> {
        self.count(RemoteOperation::Get, self.remote.get(keys, renew, deadline))
            .await
    }

    async fn set(
        &self,
        key: &[u8],
        value: Bytes,
        lifetime: Option<Duration>,
        deadline: Deadline,
    ) -> Result<()> {
        self.count(
            RemoteOperation::Set,
            self.remote.set(key, value, lifetime, deadline),
        )
        .await
    }

    async fn remove(&self, keys: &[&[u8]], deadline: Deadline) -> Result<u64> {
        self.count(RemoteOperation::Remove, self.remote.remove(keys, deadline))
            .await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Instant, SystemClock};
    use crate::driver::blocking;
    use crate::error::Error;
    use crate::interrupt::Uninterrupted;
    use crate::remote::memory::Memory;

    struct Silent;

    impl Remote for Silent {
        async fn get(
            &self,
            _keys: &[&[u8]],
            _renew: Option<Duration>,
            _deadline: Deadline,
        ) -> Result<Vec<Option<Bytes>>> {
            Err(Error::new(ErrorCode::RemoteTimeout))
        }
        async fn set(
            &self,
            _key: &[u8],
            _value: Bytes,
            _lifetime: Option<Duration>,
            _deadline: Deadline,
        ) -> Result<()> {
            Err(Error::new(ErrorCode::RemoteUnavailable))
        }
        async fn remove(&self, _keys: &[&[u8]], _deadline: Deadline) -> Result<u64> {
            Err(Error::new(ErrorCode::Interrupted))
        }
    }

    fn exercise<R: Remote>(remote: R, monitoring: Monitoring) -> &'static Metrics {
        let metrics: &'static Metrics = Box::leak(Box::default());
        let meter = Meter::new(remote, monitoring, metrics, SystemClock);
        let never = Instant::from_nanos(u64::MAX);
        let all = async {
            let _ = meter.get(&[b"a"], None, never).await;
            let _ = meter.set(b"a", Bytes::new(), None, never).await;
            let _ = meter.remove(&[b"a"], never).await;
        };
        blocking::run(all, &Uninterrupted).expect("nothing interrupts it");
        metrics
    }

    #[test]
    fn outcomes_are_told_apart() {
        let metrics = exercise(Silent, Monitoring::Full);
        let counted = &metrics.remote_operations;
        assert_eq!(
            counted.value(RemoteOperation::Get, RemoteOutcome::Timeout),
            1
        );
        assert_eq!(counted.value(RemoteOperation::Set, RemoteOutcome::Error), 1);
        assert_eq!(
            counted.value(RemoteOperation::Remove, RemoteOutcome::Error),
            1
        );
        assert_eq!(metrics.remote_duration.count(RemoteOperation::Get), 1);
    }

    #[test]
    fn monitoring_says_how_much() {
        let counters = exercise(Memory::default(), Monitoring::Counters);
        assert_eq!(
            counters
                .remote_operations
                .value(RemoteOperation::Set, RemoteOutcome::Ok),
            1
        );
        assert_eq!(counters.remote_duration.count(RemoteOperation::Set), 0);
        let off = exercise(Memory::default(), Monitoring::Off);
        assert_eq!(
            off.remote_operations
                .value(RemoteOperation::Set, RemoteOutcome::Ok),
            0
        );
    }
}
