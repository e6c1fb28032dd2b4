//! What stands between the cache and a remote tier, and in which order.
//!
//! Each layer is a [`Remote`] around a [`Remote`], composed statically, so that a layer that is not there costs nothing.

mod meter;

pub use meter::Meter;

use crate::clock::Clock;
use crate::generated::config::Options;
use crate::generated::metrics::Metrics;
use crate::remote::Remote;

/// `remote` with every layer around it.
pub type Stack<R, K> = Meter<R, K>;

/// Puts the layers that `options` ask for around `remote`.
///
/// The meter is outermost: what it counts is what the cache saw, whatever happened below.
pub fn stack<R: Remote, K: Clock>(
    remote: R,
    options: &Options,
    metrics: &'static Metrics,
    clock: K,
) -> Stack<R, K> {
    Meter::new(remote, options.monitoring, metrics, clock)
}
