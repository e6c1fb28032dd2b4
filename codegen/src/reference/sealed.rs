//! What only sealed entries can be put through: other keys, other tenants, and changes that no checksum would have to notice.

use super::envelope::{Place, entry};
use super::header::Header;
use super::maker::{HERE, Maker, PREVIOUS_MASTER, short_payload};
use super::seal::TAG;
use super::wycheproof::{Expect, Row};

const UNKNOWN_MASTER: &[u8] = b"a master key that nobody else has";

impl Maker<'_> {
    pub(super) fn sealed(&self) -> Vec<Row> {
        const MALFORMED: &str = "envelope_malformed";
        const TAMPERED: &str = "envelope_tampered";

        let payload = short_payload();
        let whole = self.entry(&self.header(&payload), &payload);
        let under = |at| entry(self.layout, at, &super::maker::header(&payload), &payload);
        let mut rows = Vec::new();

        let previous = under(Place {
            master: PREVIOUS_MASTER,
            ..HERE
        });
        let row = self.row(&["OtherKey"], "under the previous master key", &previous);
        assert!(matches!(row.expect, Expect::Valid(_)));
        rows.push(row);
        let unknown = Place {
            master: UNKNOWN_MASTER,
            ..HERE
        };
        let comment = "under a master key that the reader has not";
        rows.push(self.refused("OtherKey", comment, "key_unknown", &under(unknown)));
        let lying = entry(self.layout, unknown, &self.header(&payload), &payload);
        let comment = "under another master key that says it is the reader's";
        rows.push(self.refused("OtherKey", comment, TAMPERED, &lying));

        for tenant in ["a", "default.", "\u{e9}"] {
            let there = Place { tenant, ..HERE };
            let theirs = under(there);
            let comment = format!("of the tenant {tenant}, read by it");
            let row = self.row_at(&["OtherTenant"], comment, there, &theirs);
            assert!(matches!(row.expect, Expect::Valid(_)));
            rows.push(row);
            let comment = format!("of the tenant {tenant}, read by default");
            rows.push(self.refused("OtherTenant", comment, "key_unknown", &theirs));
            let comment = format!("of default, read by the tenant {tenant}");
            rows.push(self.row_at(&["OtherTenant"], comment, there, &whole));
        }

        for at in whole.len() - TAG - payload.len()..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            let comment = format!("bit 4 of byte {at}");
            rows.push(self.refused("Tampered", comment, TAMPERED, &bytes));
        }

        let header = self.header(&payload);
        for (comment, header) in [
            (
                "no nonce",
                Header {
                    nonce: vec![],
                    ..header.clone()
                },
            ),
            (
                "a nonce of 12 bytes",
                Header {
                    nonce: vec![7; 12],
                    ..header.clone()
                },
            ),
            (
                "a nonce of 25 bytes",
                Header {
                    nonce: vec![7; 25],
                    ..header.clone()
                },
            ),
            (
                "a key id of one byte",
                Header {
                    key_id: header.key_id[..1].to_vec(),
                    ..header.clone()
                },
            ),
            (
                "a key id of 16 bytes",
                Header {
                    key_id: vec![7; 16],
                    ..header.clone()
                },
            ),
        ] {
            let bytes = self.with_header(&header.write(), &payload);
            rows.push(self.refused("SealedHeader", comment, MALFORMED, &bytes));
        }
        let nobodys = Header {
            key_id: vec![],
            ..header
        };
        let bytes = self.with_header(&nobodys.write(), &payload);
        rows.push(self.refused("SealedHeader", "no key id", MALFORMED, &bytes));
        rows
    }
}
