//! The protobuf header of an entry, field by field, without a protobuf library.
//!
//! The runtime reads it with prost; this one follows the encoding's own description, so that both can be wrong only
//! apart.

/// What the header says.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Header {
    pub(super) created_ms: u64,
    pub(super) fresh_ms: u64,
    pub(super) hard_ms: u64,
    pub(super) cost_us: u64,
    pub(super) serializer: i32,
    pub(super) compression: i32,
    pub(super) uncompressed_size: u64,
    pub(super) key_id: Vec<u8>,
    pub(super) nonce: Vec<u8>,
    pub(super) generations: Vec<u64>,
}

const VARINT: u64 = 0;
const FIXED64: u64 = 1;
const BYTES: u64 = 2;
const GROUP: u64 = 3;
const GROUP_END: u64 = 4;
const FIXED32: u64 = 5;

impl Header {
    /// Its bytes: fields in rising order, zeros left out, generations packed.
    pub(super) fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let number = |out: &mut Vec<u8>, field: u64, value: u64| {
            if value != 0 {
                out.extend(varint(field << 3 | VARINT));
                out.extend(varint(value));
            }
        };
        number(&mut out, 1, self.created_ms);
        number(&mut out, 2, self.fresh_ms);
        number(&mut out, 3, self.hard_ms);
        number(&mut out, 4, self.cost_us);
        number(&mut out, 5, i64::from(self.serializer).cast_unsigned());
        number(&mut out, 6, i64::from(self.compression).cast_unsigned());
        number(&mut out, 7, self.uncompressed_size);
        let generations: Vec<u8> = self
            .generations
            .iter()
            .flat_map(|g| g.to_le_bytes())
            .collect();
        for (field, bytes) in [(8, &self.key_id), (9, &self.nonce), (10, &generations)] {
            if !bytes.is_empty() {
                out.extend(varint(field << 3 | BYTES));
                out.extend(varint(bytes.len() as u64));
                out.extend(bytes);
            }
        }
        out
    }

    /// Reads what [`Header::write`] or any other protobuf writer wrote; unknown fields are passed over.
    pub(super) fn read(mut rest: &[u8]) -> Option<Self> {
        let mut header = Self::default();
        while !rest.is_empty() {
            let (field, wire) = take_tag(&mut rest)?;
            match (field, wire) {
                (1, VARINT) => header.created_ms = take_varint(&mut rest)?,
                (2, VARINT) => header.fresh_ms = take_varint(&mut rest)?,
                (3, VARINT) => header.hard_ms = take_varint(&mut rest)?,
                (4, VARINT) => header.cost_us = take_varint(&mut rest)?,
                (5, VARINT) => header.serializer = take_varint(&mut rest)? as i32,
                (6, VARINT) => header.compression = take_varint(&mut rest)? as i32,
                (7, VARINT) => header.uncompressed_size = take_varint(&mut rest)?,
                (8, BYTES) => header.key_id = take_bytes(&mut rest)?.to_vec(),
                (9, BYTES) => header.nonce = take_bytes(&mut rest)?.to_vec(),
                (10, FIXED64) => header.generations.push(take_fixed64(&mut rest)?),
                (10, BYTES) => {
                    let mut packed = take_bytes(&mut rest)?;
                    while !packed.is_empty() {
                        header.generations.push(take_fixed64(&mut packed)?);
                    }
                }
                (1..=10, _) => return None,
                _ => skip(&mut rest, field, wire)?,
            }
        }
        Some(header)
    }
}

/// A varint in its shortest form.
pub(super) fn varint(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A varint of at most ten bytes that fits 64 bits.
pub(super) fn take_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0_u64;
    for position in 0..10 {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        if position == 9 && byte > 1 {
            return None;
        }
        value |= u64::from(byte & 0x7f) << (7 * position);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take_tag(rest: &mut &[u8]) -> Option<(u64, u64)> {
    let tag = take_varint(rest)?;
    let (field, wire) = (tag >> 3, tag & 7);
    (field != 0 && u32::try_from(tag).is_ok() && wire <= FIXED32).then_some((field, wire))
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_varint(rest)?).ok()?;
    let (bytes, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(bytes)
}

fn take_fixed64(rest: &mut &[u8]) -> Option<u64> {
    let (bytes, tail) = rest.split_first_chunk::<8>()?;
    *rest = tail;
    Some(u64::from_le_bytes(*bytes))
}

fn skip(rest: &mut &[u8], field: u64, wire: u64) -> Option<()> {
    match wire {
        VARINT => take_varint(rest).map(drop),
        FIXED64 => take_fixed64(rest).map(drop),
        BYTES => take_bytes(rest).map(drop),
        FIXED32 => {
            *rest = rest.split_at_checked(4)?.1;
            Some(())
        }
        GROUP => loop {
            let (inner, wire) = take_tag(rest)?;
            if wire == GROUP_END {
                return (inner == field).then_some(());
            }
            skip(rest, inner, wire)?;
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_rise_and_zeros_are_left_out() {
        let header = Header {
            created_ms: 300,
            serializer: 1,
            uncompressed_size: 3,
            generations: vec![1],
            ..Header::default()
        };
        let bytes = [
            0x08, 0xac, 0x02, 0x28, 0x01, 0x38, 0x03, 0x52, 0x08, 1, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(header.write(), bytes);
        assert_eq!(Header::read(&bytes), Some(header));
    }

    #[test]
    fn unknown_fields_are_passed_over() {
        // Field 15 as a varint, bytes, a group with a varint inside, fixed32; then created_ms.
        let bytes = [
            0x78, 0x01, 0x7a, 0x01, 0xff, 0x7b, 0x08, 0x05, 0x7c, 0x7d, 1, 2, 3, 4, 0x08, 0x09,
        ];
        assert_eq!(
            Header::read(&bytes),
            Some(Header {
                created_ms: 9,
                ..Header::default()
            })
        );
    }

    #[test]
    fn what_is_not_protobuf_is_refused() {
        for bytes in [
            &[0x08][..],
            &[0x00, 0x00],
            &[0x0a, 0x00],
            &[0x42, 0x05, 0x00],
            &[0x7c],
            &[0x7e],
            &[0x08, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2],
            &[0x52, 0x07, 0, 0, 0, 0, 0, 0, 0],
        ] {
            assert_eq!(Header::read(bytes), None, "{bytes:x?}");
        }
    }
}
