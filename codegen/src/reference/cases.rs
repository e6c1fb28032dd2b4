//! Arguments that between them use every type of the native encoding, and every edge where its form changes.

use super::native::{Class, Date, Time, Value, Zone};

const HOUR: i64 = 3_600_000_000;
const MIDNIGHT: Time = time(0, 0, 0, 0);
const NOON: Time = time(12, 0, 0, 0);
const LAST_MICROSECOND: Time = time(23, 59, 59, 999_999);

/// The bound arguments of one call.
pub(super) struct Case {
    pub(super) flags: &'static [&'static str],
    pub(super) comment: &'static str,
    pub(super) args: Vec<Value>,
}

/// Every case, in the order of the file.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Cases::default();
    scalars(&mut cases);
    integers(&mut cases);
    texts(&mut cases);
    containers(&mut cases);
    containers_at_edges(&mut cases);
    days_and_times(&mut cases);
    moments(&mut cases);
    only_keys(&mut cases);
    cases.0
}

#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    /// A call with one argument.
    fn one(&mut self, flags: &'static [&'static str], comment: &'static str, value: Value) {
        self.call(flags, comment, vec![value]);
    }

    fn call(&mut self, flags: &'static [&'static str], comment: &'static str, args: Vec<Value>) {
        self.0.push(Case {
            flags,
            comment,
            args,
        });
    }
}

const fn date(year: i64, month: i64, day: i64) -> Date {
    Date { year, month, day }
}

const fn time(hour: i64, minute: i64, second: i64, microsecond: i64) -> Time {
    Time {
        hour,
        minute,
        second,
        microsecond,
    }
}

pub(super) fn int(digits: &str) -> Value {
    Value::Int(digits.to_owned())
}

fn text(text: &str) -> Value {
    Value::Str(text.to_owned())
}

fn decimal(text: &str) -> Value {
    Value::Decimal(text.to_owned())
}

fn scalars(cases: &mut Cases) {
    const SCALAR: &[&str] = &["Scalar"];
    const DISTINCT: &[&str] = &["Scalar", "Distinct"];
    const UUID: [u8; 16] = *b"\x12\x3e\x45\x67\xe8\x9b\x12\xd3\xa4\x56\x42\x66\x14\x17\x40\x00";

    cases.call(SCALAR, "no arguments", vec![]);
    cases.one(SCALAR, "None", Value::None);
    cases.one(DISTINCT, "False", Value::Bool(false));
    cases.one(DISTINCT, "True", Value::Bool(true));
    cases.one(DISTINCT, "the integer one", int("1"));
    cases.one(DISTINCT, "the float one", Value::Float(1.0));
    cases.one(DISTINCT, "the decimal one", decimal("1"));
    cases.one(DISTINCT, "zero as a float", Value::Float(0.0));
    cases.one(DISTINCT, "negative zero", Value::Float(-0.0));
    cases.one(SCALAR, "a float with a fraction", Value::Float(0.1));
    cases.one(
        SCALAR,
        "the smallest float",
        Value::Float(f64::from_bits(1)),
    );
    cases.one(SCALAR, "infinity", Value::Float(f64::INFINITY));
    cases.one(SCALAR, "minus infinity", Value::Float(f64::NEG_INFINITY));
    let quiet = f64::from_bits(0x7ff8_0000_0000_0000);
    cases.one(SCALAR, "not a number", Value::Float(quiet));
    cases.one(DISTINCT, "a decimal", decimal("1.0"));
    cases.one(DISTINCT, "the same with another exponent", decimal("1.00"));
    cases.one(SCALAR, "a decimal with an exponent", decimal("-1.5E+20"));
    cases.one(SCALAR, "a decimal that is not a number", decimal("NaN"));
    cases.one(SCALAR, "a UUID", Value::Uuid(UUID));
}

fn integers(cases: &mut Cases) {
    const BOUNDARY: &[&str] = &["Scalar", "Boundary"];
    const BIG: &[&str] = &["Scalar", "BigInteger"];
    const EDGES: &str = "0 127 128 255 256 65535 65536 4294967295 4294967296 9223372036854775807 \
        9223372036854775808 18446744073709551615 -1 -32 -33 -128 -129 -32768 -32769 -2147483648 \
        -2147483649 -9223372036854775808";
    const WIDE: &str = "18446744073709551616 -9223372036854775809 \
        340282366920938463463374607431768211456 -170141183460469231731687303715884105728 \
        -340282366920938463463374607431768211456";

    for digits in EDGES.split_whitespace() {
        cases.one(BOUNDARY, "an integer at the edge of a form", int(digits));
    }
    for digits in WIDE.split_whitespace() {
        cases.one(BIG, "an integer of more than 64 bits", int(digits));
    }
    cases.one(BIG, "an integer of 2001 bits", int(&power_of_two(2000)));
}

/// Decimal digits of a power of two.
fn power_of_two(exponent: usize) -> String {
    let mut digits = vec![1_u8];
    for _ in 0..exponent {
        let mut carry = 0;
        for digit in &mut digits {
            let doubled = *digit * 2 + carry;
            *digit = doubled % 10;
            carry = doubled / 10;
        }
        if carry > 0 {
            digits.push(carry);
        }
    }
    digits
        .iter()
        .rev()
        .map(|digit| char::from(b'0' + digit))
        .collect()
}

fn texts(cases: &mut Cases) {
    const SCALAR: &[&str] = &["Scalar"];
    const DISTINCT: &[&str] = &["Scalar", "Distinct"];
    const BOUNDARY: &[&str] = &["Scalar", "Boundary"];
    const SURROGATE: &[&str] = &["Scalar", "Surrogate"];

    cases.one(SCALAR, "the empty string", text(""));
    cases.one(
        SCALAR,
        "beyond ASCII",
        text("h\u{e9}llo \u{4e16}\u{754c} \u{1f980}"),
    );
    cases.one(SCALAR, "a NUL inside", text("a\0b"));
    cases.one(DISTINCT, "a composed letter", text("\u{e9}"));
    cases.one(DISTINCT, "the same, decomposed", text("e\u{301}"));
    cases.one(DISTINCT, "one letter", text("a"));
    cases.one(
        DISTINCT,
        "bytes that read as that letter",
        Value::Bytes(b"a".to_vec()),
    );
    for length in [31, 32, 255, 256] {
        cases.one(
            BOUNDARY,
            "a string at the edge of a form",
            text(&"x".repeat(length)),
        );
    }
    for length in [0, 255, 256] {
        cases.one(
            BOUNDARY,
            "bytes at the edge of a form",
            Value::Bytes(vec![7; length]),
        );
    }
    cases.one(
        SURROGATE,
        "the first surrogate alone",
        Value::Surrogates(vec![0xd800]),
    );
    cases.one(
        SURROGATE,
        "a byte that is no UTF-8, in a file name",
        Value::Surrogates(vec![0x61, 0xdcff]),
    );
    cases.one(
        SURROGATE,
        "the halves the wrong way round",
        Value::Surrogates(vec![0xdc00, 0xd800]),
    );
}

fn containers(cases: &mut Cases) {
    const CONTAINER: &[&str] = &["Container"];
    const DISTINCT: &[&str] = &["Container", "Distinct"];
    const SORTED: &[&str] = &["Container", "Sorted"];
    const DEPTH: &[&str] = &["Container", "Depth"];

    let two = || vec![int("1"), int("2")];
    let mixed = || {
        vec![
            int("-1"),
            int("256"),
            int("5"),
            text("a"),
            Value::Bool(true),
        ]
    };
    let in_a_tuple_in_a_list = |value| Value::List(vec![Value::Tuple(vec![value])]);
    cases.call(CONTAINER, "two arguments", two());
    cases.one(
        DISTINCT,
        "one argument, a tuple of two",
        Value::Tuple(two()),
    );
    cases.one(DISTINCT, "one argument, a list of two", Value::List(two()));
    cases.one(DISTINCT, "one argument, a set of two", Value::Set(two()));
    cases.one(
        DISTINCT,
        "one argument, a frozenset of two",
        Value::FrozenSet(two()),
    );
    cases.one(
        DISTINCT,
        "an integer in a tuple in a list",
        in_a_tuple_in_a_list(int("1")),
    );
    cases.one(
        DISTINCT,
        "a float in its place",
        in_a_tuple_in_a_list(Value::Float(1.0)),
    );
    cases.one(
        DISTINCT,
        "a bool in its place",
        in_a_tuple_in_a_list(Value::Bool(true)),
    );
    cases.one(CONTAINER, "the empty list", Value::List(vec![]));
    cases.one(CONTAINER, "the empty tuple", Value::Tuple(vec![]));
    cases.one(CONTAINER, "the empty dict", Value::Dict(vec![]));
    cases.one(CONTAINER, "the empty set", Value::Set(vec![]));
    cases.one(CONTAINER, "the empty frozenset", Value::FrozenSet(vec![]));
    cases.one(SORTED, "a set goes by bytes", Value::Set(mixed()));
    cases.one(
        SORTED,
        "a frozenset goes by bytes",
        Value::FrozenSet(mixed()),
    );
    let letters = ["b", "a", "aa", ""].map(|key| (text(key), text(key)));
    cases.one(
        SORTED,
        "a dict goes by its keys' bytes",
        Value::Dict(letters.to_vec()),
    );
    let several = vec![
        (text("1"), int("1")),
        (int("1"), text("one")),
        (Value::None, Value::Bool(false)),
        (Value::Tuple(two()), Value::List(vec![])),
    ];
    cases.one(SORTED, "keys of several types", Value::Dict(several));
    let sets = vec![Value::FrozenSet(two()), Value::FrozenSet(vec![])];
    cases.one(SORTED, "a set of frozensets", Value::Set(sets));
    cases.one(DEPTH, "a thousand lists", Value::Nested(1000));
    cases.one(
        DEPTH,
        "more lists than a reader follows",
        Value::Nested(1100),
    );
}

fn containers_at_edges(cases: &mut Cases) {
    const BOUNDARY: &[&str] = &["Container", "Boundary"];

    for length in [15, 16] {
        let items = vec![Value::None; length];
        let pairs = (0..length)
            .map(|at| (int(&at.to_string()), Value::None))
            .collect();
        cases.one(
            BOUNDARY,
            "a list at the edge of a form",
            Value::List(items.clone()),
        );
        cases.one(
            BOUNDARY,
            "a tuple at the edge of a form",
            Value::Tuple(items),
        );
        cases.one(BOUNDARY, "a dict at the edge of a form", Value::Dict(pairs));
    }
}

fn days_and_times(cases: &mut Cases) {
    const TIME: &[&str] = &["Time"];

    let delta = |days, seconds, microseconds| Value::TimeDelta {
        days,
        seconds,
        microseconds,
    };
    let west = Zone::Fixed(-5 * HOUR, None);
    cases.one(TIME, "the first day", Value::Date(date(1, 1, 1)));
    cases.one(TIME, "a leap day", Value::Date(date(2024, 2, 29)));
    cases.one(TIME, "the last day", Value::Date(date(9999, 12, 31)));
    cases.one(TIME, "midnight", Value::Time(MIDNIGHT, false, Zone::Naive));
    cases.one(
        TIME,
        "the last microsecond",
        Value::Time(LAST_MICROSECOND, false, Zone::Naive),
    );
    cases.one(
        TIME,
        "a time with an offset",
        Value::Time(NOON, false, west),
    );
    cases.one(TIME, "no time at all", delta(0, 0, 0));
    cases.one(TIME, "a microsecond", delta(0, 0, 1));
    cases.one(TIME, "minus a microsecond", delta(-1, 86_399, 999_999));
    cases.one(TIME, "the longest", delta(999_999_999, 86_399, 999_999));
}

fn moments(cases: &mut Cases) {
    const TIME: &[&str] = &["Time"];
    const DISTINCT: &[&str] = &["Time", "Distinct"];

    let summer = date(2024, 7, 1);
    let at = |time, zone| Value::DateTime(summer, time, false, zone);
    let berlin = || Zone::Named("Europe/Berlin".to_owned());
    let gmt = Zone::Fixed(0, Some("GMT".to_owned()));
    let ambiguous = |fold| Value::DateTime(date(2024, 10, 27), time(2, 30, 0, 0), fold, berlin());
    let first = Value::DateTime(date(1, 1, 1), MIDNIGHT, false, Zone::Naive);
    let last = Value::DateTime(date(9999, 12, 31), LAST_MICROSECOND, false, Zone::Naive);
    cases.one(TIME, "the first moment", first);
    cases.one(TIME, "the last moment", last);
    cases.one(DISTINCT, "a date", Value::Date(summer));
    cases.one(DISTINCT, "its midnight", at(MIDNIGHT, Zone::Naive));
    cases.one(DISTINCT, "noon without a zone", at(NOON, Zone::Naive));
    cases.one(DISTINCT, "noon in UTC", at(NOON, Zone::Fixed(0, None)));
    let two = time(14, 0, 0, 0);
    cases.one(
        DISTINCT,
        "the same moment two hours east",
        at(two, Zone::Fixed(2 * HOUR, None)),
    );
    cases.one(
        DISTINCT,
        "the same moment in a named zone",
        at(two, berlin()),
    );
    cases.one(DISTINCT, "an offset with a name", at(NOON, gmt));
    cases.one(
        TIME,
        "an offset of a microsecond",
        at(NOON, Zone::Fixed(1, None)),
    );
    cases.one(
        TIME,
        "UTC as a named zone",
        at(NOON, Zone::Named("UTC".to_owned())),
    );
    cases.one(
        DISTINCT,
        "an ambiguous hour, its first time",
        ambiguous(false),
    );
    cases.one(
        DISTINCT,
        "an ambiguous hour, its second time",
        ambiguous(true),
    );
}

fn only_keys(cases: &mut Cases) {
    const ONLY: &[&str] = &["OnlyKey"];

    let class = |qualname: &str| Class {
        module: "shop.models".to_owned(),
        qualname: qualname.to_owned(),
    };
    let member = Value::EnumMember(class("Colour"), "RED".to_owned());
    let point = Value::NamedTuple(class("Point"), vec![int("1"), Value::Float(2.0)]);
    let user = |key| Value::Object(class("User"), Box::new(key));
    cases.one(ONLY, "a class", Value::Class(class("Order")));
    cases.one(
        ONLY,
        "a class in a class",
        Value::Class(class("Order.Line")),
    );
    cases.one(ONLY, "a member of an enum", member);
    cases.one(ONLY, "a named tuple", point);
    let tuple = Value::Tuple(vec![text("id"), int("7")]);
    cases.one(ONLY, "an object with __cache_key__", user(tuple));
    cases.one(
        ONLY,
        "such an object in a list",
        Value::List(vec![user(int("7"))]),
    );
}
