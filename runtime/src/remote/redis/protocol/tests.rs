use super::*;

fn bulk(text: &'static str) -> Reply {
    Reply::Bulk(text.into())
}

/// Every reply in `bytes`, which must be all there.
fn read(bytes: &[u8]) -> Parsed<Vec<Reply>> {
    let mut reader = Reader::default();
    reader.feed(bytes);
    let mut replies = Vec::new();
    while let Some(reply) = reader.next()? {
        replies.push(reply);
    }
    Ok(replies)
}

fn every_kind() -> (Vec<u8>, Vec<Reply>) {
    let bytes = b"+OK\r\n-ERR no\r\n:-12\r\n$3\r\na\r\n\r\n$0\r\n\r\n$-1\r\n*-1\r\n*0\r\n_\r\n#t\r\n#f\r\n,1.5\r\n,inf\r\n\
        (123\r\n!5\r\nE bad\r\n=7\r\ntxt:abc\r\n~1\r\n:1\r\n%1\r\n+k\r\n*2\r\n:1\r\n$1\r\nx\r\n\
        |1\r\n+ttl\r\n:3\r\n*2\r\n|0\r\n:1\r\n|1\r\n+a\r\n*1\r\n:9\r\n:2\r\n>2\r\n+invalidate\r\n_\r\n+end\r\n";
    let text = |text: &'static str| Reply::Text(text.into());
    let replies = vec![
        text("OK"),
        Reply::Error("ERR no".into()),
        Reply::Integer(-12),
        bulk("a\r\n"),
        bulk(""),
        Reply::Nil,
        Reply::Nil,
        Reply::Array(vec![]),
        Reply::Nil,
        Reply::Boolean(true),
        Reply::Boolean(false),
        Reply::Double(1.5),
        Reply::Double(f64::INFINITY),
        text("123"),
        Reply::Error("E bad".into()),
        bulk("abc"),
        Reply::Array(vec![Reply::Integer(1)]),
        Reply::Map(vec![
            text("k"),
            Reply::Array(vec![Reply::Integer(1), bulk("x")]),
        ]),
        Reply::Array(vec![Reply::Integer(1), Reply::Integer(2)]),
        Reply::Push(vec![text("invalidate"), Reply::Nil]),
        text("end"),
    ];
    (bytes.to_vec(), replies)
}

#[test]
fn every_kind_of_reply() {
    let (bytes, replies) = every_kind();
    assert_eq!(read(&bytes).unwrap(), replies);
}

#[test]
fn pieces_of_any_size_give_the_same_replies() {
    let (bytes, replies) = every_kind();
    for size in 1..bytes.len() {
        let mut reader = Reader::default();
        let mut got = Vec::new();
        for piece in bytes.chunks(size) {
            reader.feed(piece);
            while let Some(reply) = reader.next().unwrap() {
                got.push(reply);
            }
        }
        assert_eq!(got, replies, "pieces of {size}");
        assert!(reader.is_idle());
    }
}

#[test]
fn a_reader_with_half_a_reply_is_not_idle() {
    for half in ["$", "$3\r\n", "$3\r\nab", "*2\r\n:1\r\n", "*1\r\n"] {
        let mut reader = Reader::default();
        reader.feed(half.as_bytes());
        assert_eq!(reader.next(), Ok(None));
        assert!(!reader.is_idle(), "{half}");
    }
}

#[test]
fn a_large_bulk_is_a_slice_of_what_was_received() {
    let value = vec![b'x'; 3 * SHARED];
    let mut reader = Reader::default();
    let header = format!("${}\r\n", value.len());
    reader.feed(header.as_bytes());
    assert_eq!(reader.next(), Ok(None));
    // Room for all of it, since it was announced; received in two parts.
    let room = reader.room();
    assert!(room.len() >= value.len() + 2);
    let start = room.as_ptr().cast::<u8>();
    let whole = [&value[..], b"\r\n"].concat();
    for part in whole.chunks(2 * SHARED) {
        for (to, from) in reader.room().iter_mut().zip(part) {
            to.write(*from);
        }
        // SAFETY: as many bytes were just written.
        unsafe { reader.advance(part.len()) };
    }
    let Reply::Bulk(got) = reader.next().unwrap().unwrap() else {
        panic!()
    };
    assert_eq!(got, value);
    assert_eq!(got.as_ptr(), start);
    reader.feed(b"+next\r\n");
    assert_eq!(reader.next(), Ok(Some(Reply::Text("next".into()))));
    // The reader does not hold on to the value's memory.
    assert!(got.is_unique());
}

#[test]
fn a_small_bulk_does_not_keep_the_buffer() {
    let mut reader = Reader::default();
    reader.feed(b"$5\r\nhello\r\n");
    let start = reader.buffer.as_ptr() as usize;
    let buffer = start..start + reader.buffer.capacity();
    let Reply::Bulk(got) = reader.next().unwrap().unwrap() else {
        panic!()
    };
    assert!(!buffer.contains(&(got.as_ptr() as usize)));
}

#[test]
fn garbage_is_found_at_once() {
    for garbage in [
        "HTTP/1.1 400 Bad Request\r\n",
        "H",
        "\r\n",
        ":12",
        ":x\r\n",
        ":1\n",
        "$-2\r\n",
        "$99999999999999999999\r\n",
        "*-7\r\n",
        "#x\r\n",
        ",one\r\n",
        "_x\r\n",
        "$1\r\nab",
        "$1\r\na\rb",
        "=3\r\nabc\r\n",
        "*1\r\nx",
    ] {
        let mut reader = Reader::default();
        reader.feed(garbage.as_bytes());
        let result = reader.next();
        if garbage == ":12" {
            assert_eq!(result, Ok(None));
        } else {
            assert!(result.is_err(), "{garbage:?} gave {result:?}");
        }
    }
}

#[test]
fn lies_cost_no_memory() {
    for lie in [
        "$549755813888\r\n",
        "*536870912\r\n",
        "%9223372036854775807\r\n",
        "*1000000\r\n*1000000\r\n",
    ] {
        let mut reader = Reader::default();
        reader.feed(lie.as_bytes());
        assert!(reader.next().is_err(), "{lie:?}");
    }
    // Within the limits, but not there: nothing like as much is reserved.
    let mut reader = Reader::default();
    reader.feed(b"$400000000\r\nabc");
    assert_eq!(reader.next(), Ok(None));
    assert!(reader.room().len() < 1024 * 1024);
    assert!(reader.buffer.capacity() < 1024 * 1024);
}

#[test]
fn limits() {
    let limits = Limits {
        line: 8,
        bytes: 10,
        parts: 4,
        depth: 2,
    };
    let check = |bytes: &str| {
        let mut reader = Reader::with_limits(limits);
        reader.feed(bytes.as_bytes());
        reader.next().map(|reply| reply.is_some())
    };
    assert_eq!(
        check("+1234567\r\n"),
        Err(Malformed("a line is longer than is allowed"))
    );
    assert!(check("+123456789").is_err(), "a line without an end");
    assert_eq!(check("+123456\r\n"), Ok(true));
    assert!(
        check("*2\r\n$6\r\nabcdef\r\n$5\r\n").is_err(),
        "bytes count over the whole reply"
    );
    assert_eq!(check("*2\r\n$6\r\nabcdef\r\n$4\r\nabcd\r\n"), Ok(true));
    assert!(check("*2\r\n*3\r\n").is_err(), "parts too");
    assert!(check("*5\r\n").is_err());
    assert_eq!(check("*2\r\n*2\r\n:1\r\n:1\r\n:1\r\n"), Ok(true));
    assert!(check("*1\r\n*1\r\n*1\r\n").is_err());
    // What one reply took is not charged to the next.
    let mut reader = Reader::with_limits(limits);
    for _ in 0..5 {
        reader.feed(b"*1\r\n$9\r\n123456789\r\n");
        assert!(reader.next().unwrap().is_some());
    }
}

#[test]
fn error_texts_are_fit_to_print() {
    assert_eq!(error_text(b"ERR a\x1b[31mb"), "ERR a [31mb");
    assert_eq!(
        error_text(b"ERR unknown command 'X', with args beginning with: 'k'"),
        "ERR unknown command 'X'"
    );
    assert_eq!(error_text(&[b'x'; 10_000]).len(), 512);
}
