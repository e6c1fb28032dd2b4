//! The canonical native encoding of arguments, written from its byte description.
//!
//! It shares no line with the runtime's encoder: where the two disagree, one of them has misread the description.

use std::ops::RangeInclusive;

/// Opens every type that MessagePack does not have; MessagePack itself never uses this byte.
const OURS: u8 = 0xc1;

/// What MessagePack can say as an integer.
const INTEGERS: RangeInclusive<i128> = -(1 << 63)..=(1 << 64) - 1;

/// Days before each month of a common year.
const DAYS_BEFORE_MONTH: [i64; 12] = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];

const MICROSECONDS_PER_SECOND: i64 = 1_000_000;
const MICROSECONDS_PER_DAY: i64 = 86_400 * MICROSECONDS_PER_SECOND;

/// A value of the native encoding, as Python knows it.
#[derive(Clone, Debug)]
pub(super) enum Value {
    None,
    Bool(bool),
    /// Decimal digits, with a sign where negative: any size.
    Int(String),
    Float(f64),
    Str(String),
    /// A string that UTF-8 cannot say, as its code points.
    Surrogates(Vec<u32>),
    Bytes(Vec<u8>),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Set(Vec<Value>),
    FrozenSet(Vec<Value>),
    Decimal(String),
    Uuid([u8; 16]),
    Date(Date),
    Time(Time, bool, Zone),
    DateTime(Date, Time, bool, Zone),
    TimeDelta {
        days: i64,
        seconds: i64,
        microseconds: i64,
    },
    Class(Class),
    EnumMember(Class, String),
    NamedTuple(Class, Vec<Value>),
    /// An object with `__cache_key__`, and what that returned.
    Object(Class, Box<Value>),
    /// A type that consists of so many values, by name.
    Content(&'static str, Vec<Value>),
    /// A member of an enumeration as a value: its name, or the number of a combination.
    Member(Class, Box<Value>),
    /// An object that is made of its fields, and what belongs to it besides.
    Record(Class, Vec<(&'static str, Value)>, Box<Value>),
    /// As many lists, each in the next, around an empty one.
    Nested(usize),
}

/// A day of the proleptic Gregorian calendar.
#[derive(Clone, Copy, Debug)]
pub(super) struct Date {
    pub(super) year: i64,
    pub(super) month: i64,
    pub(super) day: i64,
}

/// A time of day on the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Time {
    pub(super) hour: i64,
    pub(super) minute: i64,
    pub(super) second: i64,
    pub(super) microsecond: i64,
}

/// The `tzinfo` of a time.
#[derive(Clone, Debug)]
pub(super) enum Zone {
    Naive,
    /// `datetime.timezone`: microseconds east of UTC, and the name if one was given.
    Fixed(i64, Option<String>),
    /// `zoneinfo.ZoneInfo` by its key.
    Named(String),
}

/// A class by where it is defined.
#[derive(Clone, Debug)]
pub(super) struct Class {
    pub(super) module: String,
    pub(super) qualname: String,
}

/// The canonical encoding of `value`.
pub(super) fn encode(value: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    put(&mut out, value);
    out
}

fn put(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::None => out.push(0xc0),
        Value::Bool(value) => boolean(out, *value),
        Value::Int(digits) => integer(out, digits),
        Value::Float(value) => {
            out.push(0xcb);
            out.extend(value.to_be_bytes());
        }
        Value::Str(text) => string(out, text),
        Value::Surrogates(points) => {
            out.extend([OURS, 0x0b]);
            let bytes: Vec<u8> = points.iter().copied().flat_map(extended_utf8).collect();
            binary(out, &bytes);
        }
        Value::Bytes(bytes) => binary(out, bytes),
        Value::List(items) => array(out, items),
        Value::Tuple(items) => {
            out.extend([OURS, 0x01]);
            array(out, items);
        }
        Value::Dict(items) => {
            let mut items: Vec<_> = items.iter().map(|(k, v)| (encode(k), encode(v))).collect();
            items.sort();
            header(out, items.len(), 0x80, 16, [None, Some(0xde), Some(0xdf)]);
            out.extend(
                items
                    .into_iter()
                    .flat_map(|(key, value)| [key, value])
                    .flatten(),
            );
        }
        Value::Set(items) => {
            out.extend([OURS, 0x02]);
            sorted(out, items);
        }
        Value::FrozenSet(items) => {
            out.extend([OURS, 0x03]);
            sorted(out, items);
        }
        Value::Decimal(text) => {
            out.extend([OURS, 0x05]);
            string(out, text);
        }
        Value::Uuid(bytes) => {
            out.extend([OURS, 0x06]);
            out.extend(bytes);
        }
        Value::Date(date) => {
            out.extend([OURS, 0x07]);
            small(out, date.ordinal());
        }
        Value::Time(time, fold, zone) => {
            out.extend([OURS, 0x08]);
            small(out, time.microseconds());
            boolean(out, *fold);
            put_zone(out, zone);
        }
        Value::DateTime(date, time, fold, zone) => {
            out.extend([OURS, 0x09]);
            small(
                out,
                (date.ordinal() - 1) * MICROSECONDS_PER_DAY + time.microseconds(),
            );
            boolean(out, *fold);
            put_zone(out, zone);
        }
        Value::TimeDelta {
            days,
            seconds,
            microseconds,
        } => {
            out.extend([OURS, 0x0a]);
            for part in [days, seconds, microseconds] {
                small(out, *part);
            }
        }
        Value::Class(class) => {
            out.extend([OURS, 0x20]);
            put_class(out, class);
        }
        Value::EnumMember(class, name) => {
            out.extend([OURS, 0x21]);
            put_class(out, class);
            string(out, name);
        }
        Value::NamedTuple(class, items) => {
            out.extend([OURS, 0x22]);
            put_class(out, class);
            array(out, items);
        }
        Value::Content(..) | Value::Member(..) | Value::Object(..) | Value::Record(..) => {
            put_object(out, value);
        }
        Value::Nested(depth) => {
            out.extend(std::iter::repeat_n(0x91, *depth));
            out.push(0x90);
        }
    }
}

fn put_object(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::Object(class, key) => {
            out.extend([OURS, 0x23]);
            put_class(out, class);
            put(out, key);
        }
        Value::Content(name, parts) => {
            out.extend([OURS, content(name)]);
            for part in parts {
                put(out, part);
            }
        }
        Value::Member(class, name) => {
            out.extend([OURS, 0x19]);
            put_class(out, class);
            put(out, name);
        }
        Value::Record(class, fields, rest) => {
            out.extend([OURS, 0x1a]);
            put_class(out, class);
            header(out, fields.len(), 0x80, 16, [None, Some(0xde), Some(0xdf)]);
            for (name, value) in fields {
                string(out, name);
                put(out, value);
            }
            put(out, rest);
        }
        _ => unreachable!("no object"),
    }
}

fn content(name: &str) -> u8 {
    match name {
        "complex" => 0x0c,
        "range" => 0x0d,
        "path" => 0x0e,
        "bytearray" => 0x0f,
        "array" => 0x10,
        "ordereddict" => 0x11,
        "defaultdict" => 0x12,
        "counter" => 0x13,
        "deque" => 0x14,
        "ndarray" => 0x15,
        "ndscalar" => 0x16,
        "fraction" => 0x17,
        "address" => 0x18,
        _ => panic!("there is no type {name}"),
    }
}

fn boolean(out: &mut Vec<u8>, value: bool) {
    out.push(if value { 0xc3 } else { 0xc2 });
}

/// The integer in its shortest form, or as bytes where MessagePack has none.
fn integer(out: &mut Vec<u8>, digits: &str) {
    match digits.parse::<i128>() {
        Ok(value) if INTEGERS.contains(&value) => short(out, value),
        _ => {
            out.extend([OURS, 0x04]);
            binary(out, &twos_complement(digits));
        }
    }
}

fn small(out: &mut Vec<u8>, value: i64) {
    short(out, i128::from(value));
}

fn short(out: &mut Vec<u8>, value: i128) {
    let bytes = value.to_be_bytes();
    let (marker, width) = match value {
        -0x20..=0x7f => return out.push(bytes[15]),
        0x80..=0xff => (0xcc, 1),
        0x100..=0xffff => (0xcd, 2),
        0x1_0000..=0xffff_ffff => (0xce, 4),
        0x1_0000_0000.. => (0xcf, 8),
        -0x80..=-0x21 => (0xd0, 1),
        -0x8000..=-0x81 => (0xd1, 2),
        -0x8000_0000..=-0x8001 => (0xd2, 4),
        _ => (0xd3, 8),
    };
    out.push(marker);
    out.extend(&bytes[16 - width..]);
}

/// Big-endian two's complement in as few bytes as keep the sign.
fn twos_complement(digits: &str) -> Vec<u8> {
    let (negative, digits) = digits
        .strip_prefix('-')
        .map_or((false, digits), |rest| (true, rest));
    // Little-endian while it grows; a zero on top leaves room for the sign.
    let mut bytes = Vec::new();
    for digit in digits.bytes() {
        let mut carry = u16::from(digit - b'0');
        for byte in &mut bytes {
            let product = u16::from(*byte) * 10 + carry;
            *byte = (product & 0xff) as u8;
            carry = product >> 8;
        }
        if carry > 0 {
            bytes.push(carry as u8);
        }
    }
    bytes.push(0);
    if negative {
        let mut carry = true;
        for byte in &mut bytes {
            let (sum, overflow) = (!*byte).overflowing_add(u8::from(carry));
            *byte = sum;
            carry = overflow;
        }
    }
    bytes.reverse();
    let sign = if negative { 0xff } else { 0x00 };
    while bytes.len() > 1 && bytes[0] == sign && (bytes[1] ^ sign) & 0x80 == 0 {
        bytes.remove(0);
    }
    bytes
}

fn string(out: &mut Vec<u8>, text: &str) {
    header(
        out,
        text.len(),
        0xa0,
        32,
        [Some(0xd9), Some(0xda), Some(0xdb)],
    );
    out.extend(text.as_bytes());
}

/// UTF-8 as if surrogates were characters; for code points of at most three bytes.
fn extended_utf8(point: u32) -> Vec<u8> {
    let tail = |shift: u32| 0x80 | (point >> shift & 0x3f) as u8;
    match point {
        0..0x80 => vec![point as u8],
        0x80..0x800 => vec![0xc0 | (point >> 6) as u8, tail(0)],
        _ => vec![0xe0 | (point >> 12) as u8, tail(6), tail(0)],
    }
}

fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    header(out, bytes.len(), 0, 0, [Some(0xc4), Some(0xc5), Some(0xc6)]);
    out.extend(bytes);
}

fn array(out: &mut Vec<u8>, items: &[Value]) {
    array_header(out, items.len());
    for item in items {
        put(out, item);
    }
}

fn sorted(out: &mut Vec<u8>, items: &[Value]) {
    let mut items: Vec<_> = items.iter().map(encode).collect();
    items.sort();
    array_header(out, items.len());
    out.extend(items.into_iter().flatten());
}

fn array_header(out: &mut Vec<u8>, length: usize) {
    header(out, length, 0x90, 16, [None, Some(0xdc), Some(0xdd)]);
}

/// A length in its shortest form: inside the marker below `fixed`, else in one, two or four bytes.
fn header(out: &mut Vec<u8>, length: usize, marker: u8, fixed: usize, wide: [Option<u8>; 3]) {
    let bytes = (length as u64).to_be_bytes();
    let [one, two, four] = wide;
    match (one, two, four) {
        _ if length < fixed => out.push(marker | bytes[7]),
        (Some(one), _, _) if length < 1 << 8 => out.extend([one, bytes[7]]),
        (_, Some(two), _) if length < 1 << 16 => out.extend([two, bytes[6], bytes[7]]),
        (_, _, Some(four)) => {
            out.push(four);
            out.extend(&bytes[4..]);
        }
        _ => unreachable!("every kind has a four-byte form"),
    }
}

fn put_zone(out: &mut Vec<u8>, zone: &Zone) {
    match zone {
        Zone::Naive => out.push(0xc0),
        Zone::Fixed(offset, name) => {
            array_header(out, 2);
            small(out, *offset);
            match name {
                Some(name) => string(out, name),
                None => out.push(0xc0),
            }
        }
        Zone::Named(key) => string(out, key),
    }
}

fn put_class(out: &mut Vec<u8>, class: &Class) {
    string(out, &class.module);
    string(out, &class.qualname);
}

impl Date {
    /// Days since the day before 0001-01-01.
    fn ordinal(self) -> i64 {
        let before = self.year - 1;
        let leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        let leap_day = i64::from(leap && self.month > 2);
        let month = usize::try_from(self.month - 1).expect("months count from one");
        before * 365 + before / 4 - before / 100
            + before / 400
            + DAYS_BEFORE_MONTH[month]
            + leap_day
            + self.day
    }
}

impl Time {
    /// Microseconds since midnight.
    fn microseconds(self) -> i64 {
        ((self.hour * 60 + self.minute) * 60 + self.second) * MICROSECONDS_PER_SECOND
            + self.microsecond
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(value: &str) -> Value {
        Value::Int(value.to_owned())
    }

    #[test]
    fn integers_take_their_shortest_form() {
        for (digits, bytes) in [
            ("0", &[0x00][..]),
            ("127", &[0x7f]),
            ("128", &[0xcc, 0x80]),
            ("256", &[0xcd, 0x01, 0x00]),
            ("65536", &[0xce, 0x00, 0x01, 0x00, 0x00]),
            ("4294967296", &[0xcf, 0, 0, 0, 1, 0, 0, 0, 0]),
            (
                "18446744073709551615",
                &[0xcf, 255, 255, 255, 255, 255, 255, 255, 255],
            ),
            ("-1", &[0xff]),
            ("-32", &[0xe0]),
            ("-33", &[0xd0, 0xdf]),
            ("-128", &[0xd0, 0x80]),
            ("-129", &[0xd1, 0xff, 0x7f]),
            ("-32769", &[0xd2, 0xff, 0xff, 0x7f, 0xff]),
            ("-9223372036854775808", &[0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0]),
        ] {
            assert_eq!(encode(&int(digits)), bytes, "{digits}");
        }
    }

    #[test]
    fn what_messagepack_has_no_integer_for_is_bytes_with_a_sign() {
        // 2**64 and -2**63 - 1: nine bytes each, since the ninth carries the sign.
        assert_eq!(
            encode(&int("18446744073709551616")),
            [0xc1, 0x04, 0xc4, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0]
        );
        assert_eq!(
            encode(&int("-9223372036854775809")),
            [
                0xc1, 0x04, 0xc4, 9, 0xff, 0x7f, 255, 255, 255, 255, 255, 255, 255
            ]
        );
        assert_eq!(twos_complement("-128"), [0x80]);
        assert_eq!(twos_complement("-129"), [0xff, 0x7f]);
        assert_eq!(twos_complement("255"), [0x00, 0xff]);
        assert_eq!(twos_complement("-256"), [0xff, 0x00]);
    }

    #[test]
    fn a_lone_surrogate_is_bytes_of_its_own_type() {
        // "a\udcff".encode(errors="surrogatepass")
        assert_eq!(
            encode(&Value::Surrogates(vec![0x61, 0xdcff])),
            [0xc1, 0x0b, 0xc4, 4, 0x61, 0xed, 0xb3, 0xbf]
        );
    }

    #[test]
    fn sets_and_dicts_are_sorted_by_their_bytes() {
        let set = Value::Set(vec![int("-1"), int("256"), int("5")]);
        assert_eq!(
            encode(&set),
            [0xc1, 0x02, 0x93, 0x05, 0xcd, 0x01, 0x00, 0xff]
        );
        let dict = Value::Dict(vec![
            (Value::Str("b".into()), int("1")),
            (Value::Str("a".into()), int("2")),
        ]);
        assert_eq!(encode(&dict), [0x82, 0xa1, b'a', 0x02, 0xa1, b'b', 0x01]);
    }

    #[test]
    fn dates_count_days_from_the_year_one() {
        let ordinal = |year, month, day| Date { year, month, day }.ordinal();
        assert_eq!(ordinal(1, 1, 1), 1);
        assert_eq!(ordinal(1970, 1, 1), 719_163);
        assert_eq!(ordinal(2000, 2, 29), 730_179);
        assert_eq!(ordinal(2000, 3, 1), 730_180);
        assert_eq!(ordinal(1900, 3, 1), 693_655);
        assert_eq!(ordinal(9999, 12, 31), 3_652_059);
    }

    #[test]
    fn a_time_carries_its_fold_and_zone() {
        let noon = Time {
            hour: 0,
            minute: 0,
            second: 1,
            microsecond: 5,
        };
        let zone = Zone::Fixed(3_600_000_000, None);
        assert_eq!(
            encode(&Value::Time(noon, true, zone)),
            // 1_000_005 = 0x000f4245; 3.6e9 = 0xd693a400
            [
                0xc1, 8, 0xce, 0, 0x0f, 0x42, 0x45, 0xc3, 0x92, 0xce, 0xd6, 0x93, 0xa4, 0, 0xc0
            ]
        );
    }

    #[test]
    fn lengths_take_their_shortest_form() {
        for (length, head) in [
            (31, &[0xbf][..]),
            (32, &[0xd9, 32]),
            (255, &[0xd9, 255]),
            (256, &[0xda, 1, 0]),
            (65_536, &[0xdb, 0, 1, 0, 0]),
        ] {
            assert!(
                encode(&Value::Str("x".repeat(length))).starts_with(head),
                "{length}"
            );
        }
        assert_eq!(encode(&Value::Bytes(vec![])), [0xc4, 0]);
        let list = |length| encode(&Value::List(vec![Value::None; length]));
        assert_eq!(list(15)[0], 0x9f);
        assert_eq!(list(16)[..3], [0xdc, 0, 16]);
    }
}
