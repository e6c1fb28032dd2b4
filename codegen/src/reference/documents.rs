//! Rows of `interop` and `interop_sealed`: a document alone, and one that is sealed.

use super::maker::{noise, short_payload};
use super::published::{Fields, Place, associated};
use super::published_rows::{
    HERE, MASTERS, MAX_VALUE_BYTES, MSGPACK, Maker, OTHER_KEY, entry_of_ours, repetitive,
};
use super::seal::{GCM_NONCE, Key};
use super::wycheproof::Row;

const MALFORMED: &str = "envelope_malformed";
const TAMPERED: &str = "envelope_tampered";

/// The nonce of every row: vectors have nothing to hide.
const NONCE: &[u8; GCM_NONCE] = b"twelve bytes";
const UNKNOWN_MASTER: &[u8] = b"a master key that nobody else has";

/// The parts that a seal under `at` covers.
fn bound(at: Place<'_>) -> [&str; 4] {
    let key = std::str::from_utf8(at.key).expect("keys of rows are text");
    [at.tenant, key, MSGPACK, "False"]
}

fn sealed_under(master: &[u8], at: Place<'_>, aad: &[u8], payload: &[u8]) -> Vec<u8> {
    Key::derive(master, at.tenant).seal_published(NONCE, aad, payload)
}

fn sealed(at: Place<'_>, payload: &[u8]) -> Vec<u8> {
    sealed_under(MASTERS[0], at, &associated(&bound(at)), payload)
}

/// What a writer is given, with nothing about it that a format would have to know.
fn payloads() -> [(&'static str, Vec<u8>); 5] {
    [
        ("an empty payload", vec![]),
        ("one byte", vec![0xc0]),
        ("a short value", short_payload()),
        ("text that repeats", repetitive(300)),
        (
            "as many bytes as the reader allows",
            noise(MAX_VALUE_BYTES as usize),
        ),
    ]
}

impl Maker {
    pub(super) fn documents(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (comment, payload) in payloads() {
            rows.push(self.opens("Canonical", comment, &payload, &payload));
        }
        let payload = short_payload();
        rows.extend(self.damaged(&payload));
        let large = vec![0; MAX_VALUE_BYTES as usize + 1];
        let comment = "one byte more than the reader allows";
        rows.push(self.refused("Oversized", comment, MALFORMED, &large));
        let moved = Place {
            key: OTHER_KEY,
            ..HERE
        };
        let comment = "read under another key";
        rows.push(self.opens_at("MovedKey", comment, moved, &payload, &payload));
        let theirs = Place {
            tenant: "a",
            ..HERE
        };
        let comment = "read by another tenant";
        rows.push(self.opens_at("OtherTenant", comment, theirs, &payload, &payload));
        for (comment, bytes) in [
            ("a sealed document", sealed(HERE, &payload)),
            ("an envelope", Fields::of(MSGPACK, &payload).write()),
            ("an entry of plain", entry_of_ours()),
        ] {
            rows.push(self.opens("ForeignFormat", comment, &bytes, &bytes));
        }
        rows
    }

    pub(super) fn sealed_documents(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (comment, payload) in payloads() {
            rows.push(self.opens("Written", comment, &payload, &sealed(HERE, &payload)));
        }
        rows.extend(self.damaged(&sealed(HERE, &short_payload())));
        let large = sealed(HERE, &vec![0; MAX_VALUE_BYTES as usize + 1]);
        let comment = "one byte more than the reader allows";
        rows.push(self.refused("Oversized", comment, MALFORMED, &large));
        rows.extend(self.other_keys());
        rows.extend(self.other_tenants());
        rows.extend(self.other_names());
        rows.extend(self.other_bindings());
        let payload = short_payload();
        for (comment, code, bytes) in [
            (
                "a document that is shorter than a seal",
                MALFORMED,
                payload.clone(),
            ),
            ("a document that is as long as a seal", TAMPERED, noise(28)),
            (
                "a document that is longer than a seal",
                TAMPERED,
                repetitive(300),
            ),
            (
                "an envelope",
                TAMPERED,
                Fields::of(MSGPACK, &payload).write(),
            ),
            ("an entry of plain", MALFORMED, entry_of_ours()),
        ] {
            rows.push(self.refused("ForeignFormat", comment, code, &bytes));
        }
        rows
    }

    fn other_keys(&self) -> Vec<Row> {
        let payload = short_payload();
        let under = |master| sealed_under(master, HERE, &associated(&bound(HERE)), &payload);
        let mut rows = Vec::new();
        for (comment, master) in [
            ("under the previous master key", MASTERS[1]),
            ("under the one before that", MASTERS[2]),
        ] {
            rows.push(self.opens("OtherKey", comment, &payload, &under(master)));
        }
        let comment = "under a master key that the reader has not";
        rows.push(self.refused("OtherKey", comment, TAMPERED, &under(UNKNOWN_MASTER)));
        rows
    }

    fn other_tenants(&self) -> Vec<Row> {
        let payload = short_payload();
        let ours = sealed(HERE, &payload);
        let mut rows = Vec::new();
        for tenant in ["a", "default.", "\u{e9}"] {
            let there = Place { tenant, ..HERE };
            let theirs = sealed(there, &payload);
            let comment = format!("of the tenant {tenant}, read by it");
            rows.push(self.opens_at("OtherTenant", comment, there, &payload, &theirs));
            let comment = format!("of the tenant {tenant}, read by default");
            rows.push(self.refused("OtherTenant", comment, TAMPERED, &theirs));
            let comment = format!("of default, read by the tenant {tenant}");
            rows.push(self.refused_at("OtherTenant", comment, there, TAMPERED, &ours));
        }
        // The key is derived for the reader, so only what the tag covers tells them apart.
        let theirs = bound(Place {
            tenant: "a",
            ..HERE
        });
        let lying = sealed_under(MASTERS[0], HERE, &associated(&theirs), &payload);
        let comment = "under the key of default, bound to the tenant a";
        rows.push(self.refused("OtherTenant", comment, TAMPERED, &lying));
        rows
    }

    fn other_names(&self) -> Vec<Row> {
        let payload = short_payload();
        let ours = sealed(HERE, &payload);
        let mut rows = Vec::new();
        for (comment, key, code) in [
            ("read under another key", OTHER_KEY, TAMPERED),
            ("read under no key", b"", TAMPERED),
            ("read under the start of its key", &HERE.key[..78], TAMPERED),
            (
                "read under a key that is not text",
                b"users:\xff",
                MALFORMED,
            ),
        ] {
            let there = Place { key, ..HERE };
            rows.push(self.refused_at("MovedKey", comment, there, code, &ours));
        }
        let utf8 = Place {
            key: "users:caf\u{e9}:00".as_bytes(),
            ..HERE
        };
        let theirs = sealed(utf8, &payload);
        let comment = "under a key beyond ASCII, read under it";
        rows.push(self.opens_at("MovedKey", comment, utf8, &payload, &theirs));
        rows
    }

    fn other_bindings(&self) -> Vec<Row> {
        let payload = short_payload();
        let whole = associated(&bound(HERE));
        let [tenant, key, ..] = bound(HERE);
        let older = [&[2], &whole[1..]].concat();
        let joined = [tenant, key, MSGPACK, "False"].concat();
        let shifted = format!("{tenant}{}", &key[..1]);
        let mut rows = Vec::new();
        for (comment, aad) in [
            ("nothing", vec![]),
            ("another version", older),
            (
                "the serializer json",
                associated(&[tenant, key, "json", "False"]),
            ),
            (
                "a payload that is compressed",
                associated(&[tenant, key, MSGPACK, "True"]),
            ),
            (
                "another spelling of False",
                associated(&[tenant, key, MSGPACK, "false"]),
            ),
            (
                "an original type",
                associated(&[tenant, key, MSGPACK, "False", "dict"]),
            ),
            (
                "no word on compression",
                associated(&[tenant, key, MSGPACK]),
            ),
            (
                "the key before the tenant",
                associated(&[key, tenant, MSGPACK, "False"]),
            ),
            (
                "a letter of the key counted to the tenant",
                associated(&[&shifted, &key[1..], MSGPACK, "False"]),
            ),
            ("parts without lengths", [&[3], joined.as_bytes()].concat()),
        ] {
            let bytes = sealed_under(MASTERS[0], HERE, &aad, &payload);
            rows.push(self.refused("OtherBinding", comment, TAMPERED, &bytes));
        }
        rows
    }
}
