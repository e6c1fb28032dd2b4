//! What is asked of a server, and its bytes on the wire.
//!
//! The `redis` crate packs. It copies every argument twice, which for a large value is the largest cost of a write; so a
//! large value is left out of what it packs and travels as it is, between what stands before and after it.

use std::time::Duration;

use bytes::Bytes;
use redis::Cmd;

/// From this size on a value is not copied into the packed command.
const LARGE: usize = 16 * 1024;

/// One command, which has one reply.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Request<'a> {
    /// The values of these keys: an array of bulks and nils.
    Get(&'a [&'a [u8]]),
    /// The same, and the first of them, if it is there, lives for `lifetime` from now on.
    Renew {
        /// These keys.
        keys: &'a [&'a [u8]],
        /// Rounded up to whole milliseconds.
        lifetime: Duration,
    },
    /// Stores a value.
    Set {
        /// Under this key.
        key: &'a [u8],
        /// The value.
        value: Bytes,
        /// Rounded up to whole milliseconds; `None` never expires.
        lifetime: Option<Duration>,
    },
    /// Removes these keys: how many there were.
    Remove(&'a [&'a [u8]]),
}

impl Request<'_> {
    /// Its name in errors and metrics.
    pub fn operation(&self) -> &'static str {
        match self {
            Self::Get(_) | Self::Renew { .. } => "get",
            Self::Set { .. } => "set",
            Self::Remove(_) => "remove",
        }
    }

    /// The command, for whoever sends it through the `redis` crate.
    pub(super) fn command(&self) -> Cmd {
        match self {
            Self::Get(keys) => many("MGET", keys),
            Self::Renew { keys, lifetime } => renew(keys, *lifetime),
            Self::Remove(keys) => many("UNLINK", keys),
            Self::Set {
                key,
                value,
                lifetime,
            } => set(key, value, *lifetime),
        }
    }

    /// Its bytes.
    pub fn pack(&self) -> Packed {
        match self {
            Self::Set {
                key,
                value,
                lifetime,
            } if value.len() >= LARGE => around(key, value, *lifetime),
            _ => Packed([
                self.command().get_packed_command().into(),
                Bytes::new(),
                Bytes::new(),
            ]),
        }
    }
}

fn many(name: &str, keys: &[&[u8]]) -> Cmd {
    let mut command = Cmd::with_capacity(1 + keys.len(), keys.iter().map(|key| key.len()).sum());
    command.arg(name).arg(keys);
    command
}

/// One command for both, so that it has one reply, and no entry ends between the two. A script, since no command of the
/// server's own does it for several keys; a server that may not write reads nevertheless.
fn renew(keys: &[&[u8]], lifetime: Duration) -> Cmd {
    const SCRIPT: &str =
        "redis.pcall('PEXPIRE',KEYS[1],ARGV[1]) return redis.call('MGET',unpack(KEYS))";
    let mut command = Cmd::new();
    command.arg("EVAL").arg(SCRIPT).arg(keys.len()).arg(keys);
    command.arg(millis(lifetime));
    command
}

fn set(key: &[u8], value: &[u8], lifetime: Option<Duration>) -> Cmd {
    let mut command = Cmd::with_capacity(5, key.len() + value.len() + 32);
    command.arg("SET").arg(key).arg(value);
    if let Some(lifetime) = lifetime {
        command.arg("PX").arg(millis(lifetime));
    }
    command
}

/// Whole milliseconds, rounded up: Redis refuses zero, and an entry must not go before its time.
fn millis(lifetime: Duration) -> u64 {
    let millis = lifetime.as_nanos().div_ceil(1_000_000);
    // Redis adds the current time and refuses what overflows an i64.
    u64::try_from(millis)
        .unwrap_or(u64::MAX)
        .clamp(1, u64::MAX >> 2)
}

/// SET with the value left where it is.
fn around(key: &[u8], value: &Bytes, lifetime: Option<Duration>) -> Packed {
    const EMPTY: &[u8] = b"$0\r\n\r\n";
    let hollow = set(key, b"", lifetime).get_packed_command();
    // The same start, but for the number of arguments, which takes one digit in both.
    let start = redis::cmd("SET").arg(key).get_packed_command().len();
    debug_assert_eq!(&hollow[start..start + EMPTY.len()], EMPTY);
    let mut before = Vec::with_capacity(start + 16);
    before.extend_from_slice(&hollow[..start]);
    before.extend_from_slice(format!("${}\r\n", value.len()).as_bytes());
    let after = Bytes::from(hollow).slice(start + EMPTY.len() - 2..);
    Packed([before.into(), value.clone(), after])
}

/// The bytes of a command, in up to three pieces, so that a large value need not be copied.
#[derive(Clone, Debug)]
pub struct Packed([Bytes; 3]);

impl Packed {
    /// The pieces that are not empty, in order.
    pub fn pieces(&self) -> impl Iterator<Item = &Bytes> {
        self.0.iter().filter(|piece| !piece.is_empty())
    }

    /// How many bytes there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(Bytes::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Vec<u8>> for Packed {
    fn from(bytes: Vec<u8>) -> Self {
        Self([bytes.into(), Bytes::new(), Bytes::new()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flat(packed: &Packed) -> Vec<u8> {
        packed.pieces().flat_map(|piece| piece.to_vec()).collect()
    }

    #[test]
    fn pieces_make_the_command_that_the_crate_packs() {
        for lifetime in [None, Some(Duration::from_secs(3))] {
            for size in [0, 1, LARGE - 1, LARGE, LARGE + 1, 123_456] {
                let value = Bytes::from(vec![7; size]);
                let request = Request::Set {
                    key: b"a key",
                    value: value.clone(),
                    lifetime,
                };
                let packed = request.pack();
                assert_eq!(flat(&packed), request.command().get_packed_command());
                assert_eq!(packed.len(), flat(&packed).len());
                let shared = packed
                    .pieces()
                    .any(|piece| piece.as_ptr() == value.as_ptr());
                assert_eq!(shared, size >= LARGE, "{size}");
            }
        }
    }

    #[test]
    fn commands() {
        let get = Request::Get(&[b"a", b"bc"]).pack();
        assert_eq!(flat(&get), b"*3\r\n$4\r\nMGET\r\n$1\r\na\r\n$2\r\nbc\r\n");
        let renew = Request::Renew {
            keys: &[b"a", b"bc"],
            lifetime: Duration::from_micros(1500),
        };
        let packed = String::from_utf8(flat(&renew.pack())).expect("it is text");
        assert!(packed.starts_with("*6\r\n$4\r\nEVAL\r\n"), "{packed}");
        assert!(
            packed.ends_with("$1\r\n2\r\n$1\r\na\r\n$2\r\nbc\r\n$1\r\n2\r\n"),
            "{packed}"
        );
        let remove = Request::Remove(&[b"a"]).pack();
        assert_eq!(flat(&remove), b"*2\r\n$6\r\nUNLINK\r\n$1\r\na\r\n");
    }

    #[test]
    fn lifetimes_round_up() {
        assert_eq!(millis(Duration::from_nanos(1)), 1);
        assert_eq!(millis(Duration::from_millis(1)), 1);
        assert_eq!(millis(Duration::from_micros(1001)), 2);
        assert_eq!(millis(Duration::ZERO), 1);
        assert!(i64::try_from(millis(Duration::MAX)).is_ok());
    }
}
