//! What waits to be written: small pieces joined, so that they leave in one write; large ones as they are, uncopied.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::Packed;

/// From this size on a piece is not copied.
const LARGE: usize = 16 * 1024;

/// Bytes in the order they were pushed.
#[derive(Debug, Default)]
pub(super) struct Output {
    whole: VecDeque<Bytes>,
    /// Comes after everything in `whole`.
    joined: BytesMut,
}

impl Output {
    pub(super) fn push(&mut self, packed: &Packed) {
        for piece in packed.pieces() {
            if piece.len() < LARGE {
                self.joined.extend_from_slice(piece);
            } else {
                self.close_joined();
                self.whole.push_back(piece.clone());
            }
        }
    }

    pub(super) fn take(&mut self) -> Option<Bytes> {
        if self.whole.is_empty() {
            self.close_joined();
        }
        self.whole.pop_front()
    }

    fn close_joined(&mut self) {
        if !self.joined.is_empty() {
            self.whole.push_back(self.joined.split().freeze());
        }
    }
}
