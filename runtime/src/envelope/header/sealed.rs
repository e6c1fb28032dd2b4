//! The header of a sealed entry, whose two fields of bytes have one length each and take no memory of their own.

use bytes::{Buf, BufMut};
use prost::encoding::{DecodeContext, WireType, encode_key, fixed64, key_len};
use prost::{DecodeError, Message};

use super::Header;
use crate::envelope::seal::{KEY_ID, NONCE};

/// Numbers of the fields, in their order.
const KEY_ID_FIELD: u32 = 8;
const NONCE_FIELD: u32 = 9;
const GENERATIONS_FIELD: u32 = 10;

/// A field of `N` bytes. Of another length, prost reads it into the header.
type Field<const N: usize> = Option<[u8; N]>;

/// A header, and what names the key and the nonce of its seal.
#[derive(Debug, Default)]
pub(in crate::envelope) struct Sealed {
    /// All else. What is written has its generations after the two.
    pub(in crate::envelope) header: Header,
    pub(in crate::envelope) key_id: Field<KEY_ID>,
    pub(in crate::envelope) nonce: Field<NONCE>,
}

impl Message for Sealed {
    fn encode_raw(&self, out: &mut impl BufMut) {
        let header = Header {
            generations: Vec::new(),
            key_id: Vec::new(),
            nonce: Vec::new(),
            ..self.header
        };
        header.encode_raw(out);
        put(KEY_ID_FIELD, self.key_id.as_ref(), out);
        put(NONCE_FIELD, self.nonce.as_ref(), out);
        fixed64::encode_packed(GENERATIONS_FIELD, &self.header.generations, out);
    }

    fn encoded_len(&self) -> usize {
        self.header.encoded_len()
            + length(KEY_ID_FIELD, self.key_id.as_ref())
            + length(NONCE_FIELD, self.nonce.as_ref())
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        from: &mut impl Buf,
        context: DecodeContext,
    ) -> Result<(), DecodeError> {
        match tag {
            KEY_ID_FIELD => {
                self.key_id = get(wire_type, from);
                self.header.key_id.clear();
                if self.key_id.is_some() {
                    return Ok(());
                }
            }
            NONCE_FIELD => {
                self.nonce = get(wire_type, from);
                self.header.nonce.clear();
                if self.nonce.is_some() {
                    return Ok(());
                }
            }
            _ => {}
        }
        self.header.merge_field(tag, wire_type, from, context)
    }

    fn clear(&mut self) {
        *self = Self::default();
    }
}

fn put<const N: usize>(tag: u32, field: Option<&[u8; N]>, out: &mut impl BufMut) {
    if let Some(bytes) = field {
        encode_key(tag, WireType::LengthDelimited, out);
        out.put_u8(N as u8);
        out.put_slice(bytes);
    }
}

fn length<const N: usize>(tag: u32, field: Option<&[u8; N]>) -> usize {
    field.map_or(0, |_| key_len(tag) + 1 + N)
}

/// The field, if it has the length that it should have.
fn get<const N: usize>(wire_type: WireType, from: &mut impl Buf) -> Field<N> {
    let (length, rest) = from.chunk().split_first()?;
    let bytes = *rest.first_chunk()?;
    if wire_type != WireType::LengthDelimited || usize::from(*length) != N {
        return None;
    }
    from.advance(1 + N);
    Some(bytes)
}
