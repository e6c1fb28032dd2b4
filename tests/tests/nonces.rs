//! Copies of a process that seals repeat no nonce: those that `fork` makes, and those that nobody tells of it.
//!
//! The latter stand for a process that is restored twice from one checkpoint: a bare `clone` copies the memory, and runs neither libc's
//! hooks nor ours. What would repeat in them is whatever the process keeps, and that this test would see it is shown by a source
//! that does keep something.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::FromRawFd;
use std::sync::{Arc, Mutex};

use cachekit_runtime::envelope::{Meta, Name, Pipeline};
use cachekit_runtime::generated::presets;
use cachekit_runtime::generated::wire::Serializer;
use cachekit_runtime::keyring::{Keyring, MasterKey};

const NONCE: usize = 24;
const COPIES: usize = 4;
const EACH: usize = 200;

type Nonce = [u8; NONCE];

/// The nonce in an entry whose header has nothing in front of the key id that could be taken for it.
fn nonce_of(entry: &[u8]) -> Nonce {
    let tag = [0x4a, NONCE as u8];
    let at = entry.windows(2).position(|bytes| bytes == tag);
    let at = at.expect("a header with a nonce") + 2;
    entry[at..at + NONCE].try_into().expect("24 bytes")
}

/// Copies this process; zero in the copy.
#[derive(Clone, Copy, Debug)]
enum Copying {
    Fork,
    /// As if the memory had been saved and restored.
    Bare,
}

impl Copying {
    fn copy(self) -> libc::pid_t {
        // SAFETY: nobody else runs in this process but the harness, which waits; the copy leaves by `_exit`.
        unsafe {
            match self {
                Self::Fork => libc::fork(),
                Self::Bare => {
                    let flags = libc::SIGCHLD;
                    libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) as libc::pid_t
                }
            }
        }
    }
}

/// What copies of this process draw, and it itself before and after.
fn drawn(copying: Copying, draw: &dyn Fn() -> Nonce) -> Vec<Nonce> {
    let mut nonces: Vec<_> = (0..EACH).map(|_| draw()).collect();
    for _ in 0..COPIES {
        let mut ends = [0; 2];
        // SAFETY: two descriptors fit.
        assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
        let pid = copying.copy();
        if pid == 0 {
            // SAFETY: the descriptor is this copy's own; a copy that hangs ends itself.
            let mut out = unsafe {
                libc::alarm(20);
                File::from_raw_fd(ends[1])
            };
            let written = (0..EACH).all(|_| out.write_all(&draw()).is_ok());
            // SAFETY: without precondition.
            unsafe { libc::_exit(i32::from(!written)) };
        }
        assert!(pid > 0, "no copy");
        // SAFETY: both are ours, and nobody else's.
        let mut from = unsafe {
            libc::close(ends[1]);
            File::from_raw_fd(ends[0])
        };
        let mut bytes = Vec::new();
        from.read_to_end(&mut bytes).expect("a pipe");
        let mut status = 0;
        // SAFETY: the copy is ours, and `status` outlives the call.
        assert_eq!(unsafe { libc::waitpid(pid, &raw mut status, 0) }, pid);
        assert_eq!(status, 0, "the copy failed");
        let (from_copy, rest) = bytes.as_chunks::<NONCE>();
        assert_eq!((from_copy.len(), rest.len()), (EACH, 0));
        nonces.extend(from_copy);
        nonces.extend((0..EACH).map(|_| draw()));
    }
    nonces
}

fn repeated(nonces: &[Nonce]) -> usize {
    nonces.len() - nonces.iter().collect::<HashSet<_>>().len()
}

/// A generator that is seeded once, as many are.
fn kept(state: &Mutex<u64>) -> Nonce {
    let mut state = state.lock().expect("nobody panics");
    let mut nonce = [0; NONCE];
    for part in nonce.chunks_mut(8) {
        *state = state.wrapping_mul(6_364_136_223_846_793_005) | 1;
        part.copy_from_slice(&state.rotate_left(31).to_le_bytes());
    }
    nonce
}

#[test]
fn copies_of_a_process_repeat_no_nonce() {
    let master = MasterKey::from_bytes(&[7; 32]).expect("32 bytes");
    let keyring = Arc::new(Keyring::new(master, Vec::new()).expect("one key"));
    let mut options = presets::DEFAULT;
    options.envelope = "sealed";
    let pipeline = Pipeline::new(&options, Serializer::Native)
        .expect("the format exists")
        .with_keyring(keyring);
    let seal = || {
        let entry = pipeline.wrap(Name::of(b"k"), &Meta::default(), b"v".to_vec());
        nonce_of(&entry.expect("it is small"))
    };
    let state = Mutex::new(0x9e37_79b9_7f4a_7c15);
    let naive = || kept(&state);
    for copying in [Copying::Fork, Copying::Bare] {
        let nonces = drawn(copying, &seal);
        assert_eq!(nonces.len(), EACH * (1 + 2 * COPIES));
        assert_eq!(repeated(&nonces), 0, "{copying:?}");
        // With a state in the process each copy repeats what the process draws next.
        assert_eq!(
            repeated(&drawn(copying, &naive)),
            EACH * COPIES,
            "{copying:?}"
        );
    }
}
