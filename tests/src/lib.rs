//! What belongs to no one language.

pub mod redis_server;
pub mod tree;
