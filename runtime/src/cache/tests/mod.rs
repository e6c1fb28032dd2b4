//! What a cache promises, one test a promise.

mod failures;
mod interop;
mod invalidation;
mod races;
mod reads;
mod schedules;
mod sealed;
mod simulated;
mod stack;
mod support;
mod unjoined;
