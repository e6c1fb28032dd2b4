//! Redis as a remote tier: against a real server, and against one that misbehaves where only that can show it.

// Helpers are tests too; clippy knows only functions marked so.
#![allow(clippy::unwrap_used)]

mod bad_server;
mod blocking;
mod common;
mod event_loop;
mod fork;
mod handshake;
mod measure;
mod tokio_transport;
