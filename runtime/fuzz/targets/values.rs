//! The native encoding, read as a binding reads it.

use cachekit_runtime::error::Result;
use cachekit_runtime::native::{Reader, Token, Writer, types};

/// Reads a value and writes it anew, in the one form that a writer gives it; that is read as the same again.
pub(crate) fn native_decode(data: &[u8]) {
    if let Some(written) = rewritten(data) {
        assert_eq!(rewritten(&written).as_ref(), Some(&written));
    }
}

/// The bytes of the value that `data` is; nothing if it is none.
pub(super) fn rewritten(data: &[u8]) -> Option<Vec<u8>> {
    let mut walk = Walk {
        reader: Reader::new(data),
        writer: Writer::new(usize::MAX),
        promised: 0,
    };
    let read = walk.value();
    // Whoever allocates by what it is told allocates one item for each byte at most, well-formed or not.
    assert!(walk.promised <= data.len());
    read.and_then(|()| walk.reader.finish()).ok()?;
    Some(walk.writer.into_vec())
}

struct Walk<'a> {
    reader: Reader<'a>,
    writer: Writer,
    promised: usize,
}

impl<'a> Walk<'a> {
    fn value(&mut self) -> Result<()> {
        match self.reader.token()? {
            Token::Array(items) => {
                self.writer.array(items)?;
                self.items(items, items)
            }
            Token::Map(items) => {
                self.writer.map(items)?;
                self.items(items, 2 * items)
            }
            Token::Ext(kind @ (types::TUPLE | types::SET | types::FROZENSET)) => {
                let items = self.reader.array()?;
                self.writer.ext(kind)?;
                self.writer.array(items)?;
                self.items(items, items)
            }
            Token::Ext(kind) => self.extension(kind),
            token => self.leaf(token),
        }
    }

    fn items(&mut self, promised: usize, values: usize) -> Result<()> {
        self.promised += promised;
        self.reader.enter()?;
        self.writer.enter()?;
        for _ in 0..values {
            self.value()?;
        }
        self.reader.leave();
        self.writer.leave();
        Ok(())
    }

    fn leaf(&mut self, token: Token<'a>) -> Result<()> {
        match token {
            Token::Nil => self.writer.nil(),
            Token::Bool(value) => self.writer.bool(value),
            Token::Int(value) => self.writer.int(value),
            Token::Uint(value) => self.writer.uint(value),
            Token::Float(value) => self.writer.float(value),
            Token::Str(bytes) => self.text(bytes),
            Token::Bin(bytes) => self.writer.bin(bytes),
            Token::Array(_) | Token::Map(_) | Token::Ext(_) => Err(self.reader.corrupt("no leaf")),
        }
    }

    fn text(&mut self, bytes: &[u8]) -> Result<()> {
        match std::str::from_utf8(bytes) {
            Ok(text) => self.writer.str(text),
            Err(_) => Err(self.reader.corrupt("no text")),
        }
    }

    fn extension(&mut self, kind: u8) -> Result<()> {
        if kind == types::BIG_INT {
            let number = self.reader.bin()?;
            return self.writer.big_int(number);
        }
        self.writer.ext(kind)?;
        match kind {
            types::DECIMAL => {
                let text = self.reader.str()?;
                self.text(text)
            }
            types::UUID => {
                let raw = self.reader.raw::<16>()?;
                self.writer.raw(raw)
            }
            types::DATE => self.ints(1),
            types::TIMEDELTA => self.ints(3),
            types::TIME | types::DATETIME => {
                self.ints(1)?;
                let fold = self.reader.bool()?;
                self.writer.bool(fold)?;
                self.zone()
            }
            types::SURROGATES => {
                let bytes = self.reader.bin()?;
                self.writer.bin(bytes)
            }
            _ => Err(self.reader.corrupt("no type of a value")),
        }
    }

    fn ints(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let value = self.reader.int()?;
            self.writer.int(value)?;
        }
        Ok(())
    }

    fn zone(&mut self) -> Result<()> {
        match self.reader.token()? {
            Token::Array(2) => {
                self.writer.array(2)?;
                self.ints(1)?;
                let name = self.reader.token()?;
                self.leaf(name)
            }
            token => self.leaf(token),
        }
    }
}
