//! Which entry a call means: the hash of its arguments, and the names under which a remote keeps it.
//!
//! The hash is cryptographic, since arguments come from users and a collision would show one user another one's entry.
//! The names are text, so that an operator can read whose entries a server holds.
//! `docs/design/0001-keys-and-identity.md` specifies both.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use blake2::digest::consts::U32;
use blake2::{Blake2b, Digest};
use bytes::Bytes;

use crate::error::{Error, ErrorCode, Result};
use crate::native::{Writer, types};

/// Most bytes that the encoded arguments of one call may take.
pub const MAX_KEY_BYTES: usize = 64 << 20;

/// BLAKE2b-256 of a call's encoded arguments.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyHash(pub [u8; 32]);

/// Whose entry it is, where one function serves several customers: they share no entry, whatever the arguments.
///
/// Without one, it is `default`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tenant(Option<Arc<str>>);

impl Tenant {
    /// What there is where nobody names one.
    pub const DEFAULT: &'static str = "default";

    /// The tenant of that name. `option_invalid` if it is empty or takes more than 65535 bytes.
    pub fn new(name: &str) -> Result<Self> {
        if name.is_empty() || u16::try_from(name.len()).is_err() {
            return Err(Error::new(ErrorCode::OptionInvalid)
                .with("option", "tenant")
                .with("value", format_args!("a text of {} bytes", name.len()))
                .with("reason", "a tenant's name takes 1 to 65535 bytes"));
        }
        Ok(Self((name != Self::DEFAULT).then(|| name.into())))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        self.0.as_deref().unwrap_or(Self::DEFAULT)
    }

    /// Writes it behind encoded arguments, so that their hash is this tenant's own.
    pub fn write(&self, writer: &mut Writer) -> Result<()> {
        self.0.as_deref().map_or(Ok(()), |name| writer.str(name))
    }
}

impl KeyHash {
    /// The hash of arguments that were encoded, as one tuple, in the native encoding.
    pub fn of(encoded: &[u8]) -> Self {
        Self(Blake2b::<U32>::digest(encoded).into())
    }

    /// The hash of a key. `value_too_large` if it takes more than [`MAX_KEY_BYTES`].
    pub fn of_key<K: CacheKey + ?Sized>(key: &K) -> Result<Self> {
        Self::of_key_in(&Tenant::default(), key)
    }

    /// The same for one tenant: the hash of the encoded arguments, and behind them the name of the tenant unless it is the
    /// default one.
    pub fn of_key_in<K: CacheKey + ?Sized>(tenant: &Tenant, key: &K) -> Result<Self> {
        let mut writer = Writer::with_capacity(64, MAX_KEY_BYTES);
        key.encode_arguments(&mut writer)?;
        tenant.write(&mut writer)?;
        Ok(Self::of(writer.as_bytes()))
    }

    /// 64 lower-case hexadecimal digits.
    pub fn to_hex(self) -> String {
        let mut hex = String::with_capacity(64);
        for byte in self.0 {
            push_hex(&mut hex, byte, b"0123456789abcdef");
        }
        hex
    }

    /// The first 8 bytes, big-endian: a hash for tables, uniform in every bit.
    pub fn short(&self) -> u64 {
        let mut first = [0; 8];
        first.copy_from_slice(&self.0[..8]);
        u64::from_be_bytes(first)
    }
}

impl fmt::Display for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for KeyHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyHash({:016x}…)", self.short())
    }
}

/// Whose entries they are: an application, a function in it or a namespace, and a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// `ck:{application}:{identity}:`
    prefix: String,
    /// Where the identity starts in it.
    start: usize,
    /// Whether entries carry a generation.
    generations: bool,
}

impl Identity {
    /// The identity of a function, or of what goes by an explicit name. Names that differ give identities that differ.
    pub fn new(application: &str, name: &str, version: Option<&str>) -> Self {
        let mut prefix = String::from("ck:");
        push_escaped(&mut prefix, application);
        prefix.push(':');
        let start = prefix.len();
        push_escaped(&mut prefix, name);
        if let Some(version) = version {
            prefix.push('@');
            push_escaped(&mut prefix, version);
        }
        prefix.push(':');
        Self {
            prefix,
            start,
            generations: true,
        }
    }

    /// The identity of what SDKs of all languages share, whose entries have no room for a generation: both parts are checked.
    pub(crate) fn published(namespace: &str, operation: &str) -> Self {
        Self {
            prefix: format!("{namespace}:{operation}:"),
            start: 0,
            generations: false,
        }
    }

    /// The identity as text: `{name}` or `{name}@{version}`, escaped; `{namespace}:{operation}` if SDKs of all languages share it.
    pub fn text(&self) -> &str {
        &self.prefix[self.start..self.prefix.len() - 1]
    }

    /// The name under which a remote keeps the entry of `hash`.
    pub fn entry_name(&self, hash: &KeyHash) -> Vec<u8> {
        let mut name = String::with_capacity(self.prefix.len() + 64);
        name.push_str(&self.prefix);
        for byte in hash.0 {
            push_hex(&mut name, byte, b"0123456789abcdef");
        }
        name.into_bytes()
    }

    /// The name under which a remote keeps the generation that entries must carry, if they carry one.
    pub fn generation_name(&self) -> Option<Vec<u8>> {
        self.generations
            .then(|| [self.prefix.as_bytes(), b"gen"].concat())
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

fn push_hex(text: &mut String, byte: u8, digits: &[u8; 16]) {
    text.push(char::from(digits[usize::from(byte >> 4)]));
    text.push(char::from(digits[usize::from(byte & 15)]));
}

/// Everything but `[A-Za-z0-9._<>/-]` is percent-encoded, so that `:` and `@` only ever separate.
fn push_escaped(text: &mut String, part: &str) {
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || b"._<>/-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            text.push('%');
            push_hex(text, byte, b"0123456789ABCDEF");
        }
    }
}

/// What can be a key, or a part of one.
///
/// Two keys are one exactly when their encodings are equal: `1`, `1.0` and `true` differ, and so do a tuple and a list.
/// A tuple stands for the arguments of a call and anything else for its only argument, so that a key of a Rust
/// cache and a call of a Python function with equal arguments mean one entry if both have one identity.
///
/// `Vec<u8>` is a list of integers, as every other `Vec`; bytes are [`Bytes`].
pub trait CacheKey {
    /// Writes the key as one value.
    fn encode(&self, writer: &mut Writer) -> Result<()>;

    /// Writes the key as the arguments of a call.
    fn encode_arguments(&self, writer: &mut Writer) -> Result<()> {
        writer.enter()?;
        tuple_head(writer, 1)?;
        self.encode(writer)?;
        writer.leave();
        Ok(())
    }
}

fn tuple_head(writer: &mut Writer, length: usize) -> Result<()> {
    writer.ext(types::TUPLE)?;
    writer.array(length)
}

macro_rules! direct {
    ($($type:ty => |$value:ident, $writer:ident| $body:expr;)*) => {$(
        impl CacheKey for $type {
            fn encode(&self, $writer: &mut Writer) -> Result<()> {
                let $value = self;
                $body
            }
        }
    )*};
}

direct! {
    bool => |value, writer| writer.bool(*value);
    i8 => |value, writer| writer.int(i64::from(*value));
    i16 => |value, writer| writer.int(i64::from(*value));
    i32 => |value, writer| writer.int(i64::from(*value));
    i64 => |value, writer| writer.int(*value);
    isize => |value, writer| writer.int(*value as i64);
    u8 => |value, writer| writer.uint(u64::from(*value));
    u16 => |value, writer| writer.uint(u64::from(*value));
    u32 => |value, writer| writer.uint(u64::from(*value));
    u64 => |value, writer| writer.uint(*value);
    usize => |value, writer| writer.uint(*value as u64);
    f64 => |value, writer| writer.float(*value);
    str => |value, writer| writer.str(value);
    String => |value, writer| writer.str(value);
    char => |value, writer| writer.str(value.encode_utf8(&mut [0; 4]));
    Bytes => |value, writer| writer.bin(value);
    i128 => |value, writer| match (i64::try_from(*value), u64::try_from(*value)) {
        (Ok(small), _) => writer.int(small),
        (_, Ok(small)) => writer.uint(small),
        _ => writer.big_int(&value.to_be_bytes()),
    };
    u128 => |value, writer| match u64::try_from(*value) {
        Ok(small) => writer.uint(small),
        // A zero byte in front, so that the highest bit is not a sign.
        Err(_) => writer.big_int(&[&[0], value.to_be_bytes().as_slice()].concat()),
    };
}

macro_rules! forwarded {
    ($($pointer:ty),*) => {$(
        impl<T: CacheKey + ?Sized> CacheKey for $pointer {
            fn encode(&self, writer: &mut Writer) -> Result<()> {
                (**self).encode(writer)
            }

            fn encode_arguments(&self, writer: &mut Writer) -> Result<()> {
                (**self).encode_arguments(writer)
            }
        }
    )*};
}

forwarded!(&T, Box<T>, Arc<T>);

impl<T: CacheKey> CacheKey for Option<T> {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        match self {
            Some(value) => value.encode(writer),
            None => writer.nil(),
        }
    }
}

impl<T: CacheKey> CacheKey for [T] {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        writer.enter()?;
        writer.array(self.len())?;
        self.iter().try_for_each(|item| item.encode(writer))?;
        writer.leave();
        Ok(())
    }
}

impl<T: CacheKey, const N: usize> CacheKey for [T; N] {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        self.as_slice().encode(writer)
    }
}

impl<T: CacheKey> CacheKey for Vec<T> {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        self.as_slice().encode(writer)
    }
}

fn encode_map<'a, K: CacheKey + 'a, V: CacheKey + 'a>(
    writer: &mut Writer,
    items: impl ExactSizeIterator<Item = (&'a K, &'a V)>,
) -> Result<()> {
    writer.enter()?;
    writer.map(items.len())?;
    let group = writer.group();
    for (key, value) in items {
        key.encode(writer)?;
        value.encode(writer)?;
        writer.part(&group);
    }
    writer.sort(group);
    writer.leave();
    Ok(())
}

fn encode_set<'a, T: CacheKey + 'a>(
    writer: &mut Writer,
    items: impl ExactSizeIterator<Item = &'a T>,
) -> Result<()> {
    writer.enter()?;
    writer.ext(types::SET)?;
    writer.array(items.len())?;
    let group = writer.group();
    for item in items {
        item.encode(writer)?;
        writer.part(&group);
    }
    writer.sort(group);
    writer.leave();
    Ok(())
}

impl<K: CacheKey, V: CacheKey, S> CacheKey for HashMap<K, V, S> {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        encode_map(writer, self.iter())
    }
}

impl<K: CacheKey, V: CacheKey> CacheKey for BTreeMap<K, V> {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        encode_map(writer, self.iter())
    }
}

impl<T: CacheKey, S> CacheKey for HashSet<T, S> {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        encode_set(writer, self.iter())
    }
}

impl<T: CacheKey> CacheKey for BTreeSet<T> {
    fn encode(&self, writer: &mut Writer) -> Result<()> {
        encode_set(writer, self.iter())
    }
}

macro_rules! tuples {
    ($(($($name:ident $index:tt),*) $length:literal;)*) => {$(
        impl<$($name: CacheKey),*> CacheKey for ($($name,)*) {
            fn encode(&self, writer: &mut Writer) -> Result<()> {
                writer.enter()?;
                tuple_head(writer, $length)?;
                $(self.$index.encode(writer)?;)*
                writer.leave();
                Ok(())
            }

            fn encode_arguments(&self, writer: &mut Writer) -> Result<()> {
                self.encode(writer)
            }
        }
    )*};
}

tuples! {
    () 0;
    (A 0) 1;
    (A 0, B 1) 2;
    (A 0, B 1, C 2) 3;
    (A 0, B 1, C 2, D 3) 4;
    (A 0, B 1, C 2, D 3, E 4) 5;
    (A 0, B 1, C 2, D 3, E 4, F 5) 6;
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6) 7;
    (A 0, B 1, C 2, D 3, E 4, F 5, G 6, H 7) 8;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex_of<K: CacheKey + ?Sized>(key: &K) -> String {
        let mut writer = Writer::new(MAX_KEY_BYTES);
        key.encode_arguments(&mut writer).unwrap();
        writer
            .as_bytes()
            .iter()
            .fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
    }

    #[test]
    fn keys_are_the_arguments_of_a_call() {
        assert_eq!(hex_of(&()), "c10190");
        assert_eq!(hex_of(&42), "c101912a");
        assert_eq!(hex_of(&(42,)), "c101912a");
        assert_eq!(hex_of("a"), "c10191a161");
        assert_eq!(hex_of(&("a", 1_u8)), "c10192a16101");
        assert_eq!(
            hex_of(&((1, 2),)),
            "c10191c101920102",
            "one argument, a tuple"
        );
        assert_eq!(hex_of(&[1, 2]), "c10191920102", "one argument, a list");
        assert_eq!(
            hex_of(&&Box::new(Arc::new((1, 2)))),
            "c101920102",
            "pointers are not seen"
        );
    }

    #[test]
    fn every_type_has_its_encoding() {
        assert_eq!(hex_of(&(true, false)), "c10192c3c2");
        assert_eq!(hex_of(&(None::<u8>, Some(7))), "c10192c007");
        assert_eq!(hex_of(&1.0), "c10191cb3ff0000000000000");
        assert_eq!(hex_of(&'é'), "c10191a2c3a9");
        assert_eq!(hex_of(&String::from("é")), "c10191a2c3a9");
        assert_eq!(hex_of(&Bytes::from_static(b"\x01")), "c10191c40101");
        assert_eq!(hex_of(&vec![1_u8]), "c101919101", "a vector is a list");
        assert_eq!(hex_of(&-1_i128), "c10191ff");
        assert_eq!(hex_of(&(1_i128 << 64)), "c10191c104c409010000000000000000");
        assert_eq!(hex_of(&(1_u128 << 64)), "c10191c104c409010000000000000000");
        assert_eq!(hex_of(&u128::from(u64::MAX)), "c10191cfffffffffffffffff");
        let most = format!("c10191c104c41100{}", "ff".repeat(16));
        assert_eq!(hex_of(&u128::MAX), most);
        assert_eq!(
            hex_of(&(-(1_i128 << 63) - 1)),
            "c10191c104c409ff7fffffffffffffff"
        );
        assert_eq!(
            hex_of(&(1_i8, 2_i16, 3_i32, 4_isize, 5_u16, 6_u32, 7_usize)),
            "c1019701020304050607"
        );
    }

    #[test]
    fn sets_and_maps_do_not_depend_on_their_order() {
        let set: HashSet<u16> = (0..300).collect();
        let tree: BTreeSet<u16> = (0..300).collect();
        assert_eq!(hex_of(&set), hex_of(&tree));
        assert_eq!(hex_of(&BTreeSet::from([1, -1])), "c10191c1029201ff");
        let map: HashMap<String, u16> = (0..300).map(|n| (n.to_string(), n)).collect();
        let sorted: BTreeMap<String, u16> = (0..300).map(|n| (n.to_string(), n)).collect();
        assert_eq!(hex_of(&map), hex_of(&sorted));
        // By encoded bytes, where the shorter text comes first, not by the keys' own order.
        assert_eq!(
            hex_of(&BTreeMap::from([("aa", 1), ("b", 2)])),
            "c1019182a16202a2616101"
        );
    }

    #[test]
    fn the_hash_is_blake2b_of_256_bits() {
        // hashlib.blake2b(bytes.fromhex("c101912a"), digest_size=32)
        let hash = KeyHash::of_key(&42).unwrap();
        let hex = "47487b092786326544e780003803641bc61adf47332721f4f9a0bb52bc4cdcae";
        assert_eq!(hash.to_hex(), hex);
        assert_eq!(hash.to_string(), hex);
        assert_eq!(hash.short(), 0x4748_7b09_2786_3265);
        assert_eq!(format!("{hash:?}"), "KeyHash(47487b0927863265…)");
        assert_ne!(hash, KeyHash::of_key(&42.0).unwrap());
    }

    #[test]
    fn tenants_share_no_hash() {
        let of = |tenant: &str| KeyHash::of_key_in(&Tenant::new(tenant).unwrap(), &42).unwrap();
        assert_eq!(of("default"), KeyHash::of_key(&42).unwrap());
        assert_ne!(of("a"), of("b"));
        assert_ne!(of("a"), of("default"));
        // hashlib.blake2b(bytes.fromhex("c101912a" "a161"), digest_size=32)
        assert_eq!(of("a"), KeyHash::of(b"\xc1\x01\x91\x2a\xa1a"));
        assert_eq!(Tenant::default().as_str(), "default");
        for refused in ["", &"x".repeat(65_536)] {
            let error = Tenant::new(refused).unwrap_err();
            assert_eq!(error.code(), ErrorCode::OptionInvalid);
        }
        Tenant::new(&"x".repeat(65_535)).unwrap();
    }

    #[test]
    fn a_key_that_is_too_large_is_refused() {
        let error = KeyHash::of_key(&"x".repeat(MAX_KEY_BYTES)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::ValueTooLarge);
    }

    #[test]
    fn a_key_that_nests_too_deep_is_refused() {
        struct Deep(u32);
        impl CacheKey for Deep {
            fn encode(&self, writer: &mut Writer) -> Result<()> {
                match self.0 {
                    0 => writer.nil(),
                    left => [Self(left - 1)].encode(writer),
                }
            }
        }
        assert!(
            KeyHash::of_key(&Deep(crate::native::MAX_DEPTH)).is_err(),
            "the arguments are one"
        );
        KeyHash::of_key(&Deep(crate::native::MAX_DEPTH - 1)).unwrap();
    }

    #[test]
    fn names_are_readable_and_only_separators_separate() {
        let hash = KeyHash::of_key(&42).unwrap();
        let plain = Identity::new("default", "shop.prices.<lambda>", None);
        assert_eq!(plain.text(), "shop.prices.<lambda>");
        assert_eq!(
            plain.entry_name(&hash),
            format!("ck:default:shop.prices.<lambda>:{hash}").into_bytes()
        );
        assert_eq!(
            plain.generation_name().as_deref(),
            Some(&b"ck:default:shop.prices.<lambda>:gen"[..])
        );

        let odd = Identity::new("a:b", "c@d %é_", Some("1@2:3"));
        assert_eq!(odd.to_string(), "c%40d%20%25%C3%A9_@1%402%3A3");
        assert_eq!(
            odd.generation_name().as_deref(),
            Some(&b"ck:a%3Ab:c%40d%20%25%C3%A9_@1%402%3A3:gen"[..])
        );
        assert_ne!(
            Identity::new("a", "b@1", None),
            Identity::new("a", "b", Some("1"))
        );
        assert_ne!(
            Identity::new("a:b", "c", None),
            Identity::new("a", "b:c", None)
        );
    }
}
