//! A cache in two tiers, in this process and in a store that processes share, in front of a function that is slow.
//!
//! Every language's cachekit is made of this crate, and Rust can use it alone. A [`Cache`](cache::Cache) is put together
//! from a tier in this process, a codec, a remote tier and a driver; its options begin with a
//! [preset](generated::presets).
//!
//! # On threads
//!
//! ```
//! use std::error::Error;
//! use std::sync::Arc;
//!
//! use cachekit_runtime::cache::{Builder, Cache, Lookup, MessagePack, Source};
//! use cachekit_runtime::driver::blocking::{Blocking, run};
//! use cachekit_runtime::generated::presets;
//! use cachekit_runtime::interrupt::Uninterrupted;
//! use cachekit_runtime::key::Identity;
//! use cachekit_runtime::l1::{L1, Limits};
//! use cachekit_runtime::remote::memory::Memory;
//!
//! type Pages = Cache<L1<u32, String>, MessagePack<String>, std::io::Error, Memory, Blocking>;
//!
//! # fn main() -> Result<(), Box<dyn Error>> {
//! // In memory here; a server is `Redis::new(redis::Blocking::new("redis://localhost".parse()?, interrupt))`.
//! let store = Arc::new(Memory::default());
//! let process = || -> Result<Pages, Box<dyn Error>> {
//!     let local = L1::new(Limits { max_entries: 1000, max_bytes: 1 << 20 });
//!     let identity = Identity::new("shop", "pages", None);
//!     let remote = Some(Arc::clone(&store));
//!     let builder = Builder::new(identity, presets::DEFAULT);
//!     Ok(builder.build(local, MessagePack::new(), remote, Blocking)?)
//! };
//!
//! let pages = process()?;
//! let slow = || async { Ok("page 7".to_owned()) };
//! let page = run(pages.get_or_load(Lookup::of(7)?, slow), &Uninterrupted)??;
//! assert_eq!((page.value.as_str(), page.from), ("page 7", Source::Load));
//!
//! let again = run(pages.get_or_load(Lookup::of(7)?, slow), &Uninterrupted)??;
//! assert_eq!(again.from, Source::L1);
//!
//! let elsewhere = process()?;
//! let shared = run(elsewhere.get_or_load(Lookup::of(7)?, slow), &Uninterrupted)??;
//! assert_eq!(shared.from, Source::L2);
//!
//! run(pages.remove(Lookup::of(7)?), &Uninterrupted)??;
//! assert!(run(pages.get(Lookup::of(7)?), &Uninterrupted)??.is_none());
//! # Ok(())
//! # }
//! ```
//!
//! # On tokio
//!
//! The same with another driver. A hundred tasks that miss one key make one call:
//!
//! ```
//! # #[cfg(feature = "tokio")]
//! # {
//! use std::convert::Infallible;
//! use std::sync::Arc;
//! use std::sync::atomic::{AtomicU32, Ordering};
//!
//! use cachekit_runtime::cache::{Builder, Cache, Lookup, MessagePack};
//! use cachekit_runtime::driver::tokio::Tokio;
//! use cachekit_runtime::generated::presets;
//! use cachekit_runtime::key::Identity;
//! use cachekit_runtime::l1::{L1, Limits};
//! use cachekit_runtime::remote::NoRemote;
//!
//! type Squares = Cache<L1<u64, u64>, MessagePack<u64>, Infallible, NoRemote, Tokio>;
//!
//! # tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap().block_on(async {
//! let local = L1::new(Limits { max_entries: 1000, max_bytes: 1 << 20 });
//! let squares: Squares = Builder::new(Identity::new("school", "squares", None), presets::DEFAULT)
//!     .build(local, MessagePack::new(), None, Tokio::current())
//!     .unwrap();
//!
//! let calls = Arc::new(AtomicU32::new(0));
//! let tasks: Vec<_> = (0..100)
//!     .map(|_| {
//!         let (squares, calls) = (squares.clone(), Arc::clone(&calls));
//!         tokio::spawn(async move {
//!             let slow = || async move {
//!                 calls.fetch_add(1, Ordering::Relaxed);
//!                 tokio::task::yield_now().await;
//!                 Ok(12 * 12)
//!             };
//!             squares.get_or_load(Lookup::of(12).unwrap(), slow).await.unwrap().value
//!         })
//!     })
//!     .collect();
//! for task in tasks {
//!     assert_eq!(task.await.unwrap(), 144);
//! }
//! assert_eq!(calls.load(Ordering::Relaxed), 1);
//! # });
//! # }
//! ```
//!
//! # What it promises
//!
//! A failure of the remote tier is a miss with a [metric](metrics): callers see their own function's result, or its error.
//! One caller at a time loads a key, the others wait, and none waits for itself ([`flight`]). What was invalidated while
//! it was computed is not stored. How futures are polled is the [`driver`]'s business: a thread, an event loop of another
//! language, tokio, or a simulation that a seed decides.

pub mod cache;
pub mod clock;
pub mod driver;
pub mod envelope;
pub mod error;
pub mod flight;
pub mod generated;
pub mod interop;
pub mod interrupt;
pub mod key;
pub mod keyring;
pub mod l1;
pub mod layer;
pub mod metrics;
pub mod native;
#[cfg(test)]
mod random;
pub mod remote;
pub mod shim;
