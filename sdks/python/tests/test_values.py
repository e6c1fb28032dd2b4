"""Values to bytes and back."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import decimal
import enum
import gc
import random
import subprocess
import sys
import tracemalloc
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import native_reference as reference
import value_strategies
from cachekit import _native
from support import on_a_small_stack

encode: Any = _native._encode
decode: Any = _native._decode
copy_tree: Any = _native._copy
classify: Any = _native._classify
weigh: Any = _native._weigh

PARIS = zoneinfo.ZoneInfo("Europe/Paris")
FIXED = dt.timezone(dt.timedelta(hours=-3, microseconds=7), "X")
EVERYTHING: dict[Any, Any] = {
    "none": None,
    "bools": [True, False],
    "ints": [0, 127, 128, -32, -33, 2**31, -(2**63), 2**63, 2**64 - 1, 2**64, -(2**63) - 1, 10**400, -(10**400)],
    "floats": [0.0, -0.0, 1.5, float("inf"), -float("inf"), 5e-324],
    "text": ["", "a", "é", "€" * 40, "𝄞", "x" * 31, "x" * 32, "x" * 70000, "\udc80 and \ud800"],
    "bytes": [b"", b"\xff" * 255, b"\0" * 256, b"z" * 65536],
    "containers": [[], (), {}, set(), frozenset(), [[()], ({},)], {(1, "a"): {2}, frozenset([b"x"]): [(None,)]}],
    "moments": [
        dt.datetime.min,
        dt.datetime.max,
        dt.datetime(2024, 2, 29, 1, 2, 3, 4, fold=1),
        dt.datetime(2024, 10, 27, 2, 30, tzinfo=PARIS, fold=1),
        dt.datetime(2024, 1, 1, tzinfo=dt.timezone.utc),
        dt.datetime(1, 1, 1, tzinfo=FIXED),
    ],
    "dates": [dt.date.min, dt.date.max, dt.date(2000, 2, 29)],
    "times": [dt.time.min, dt.time.max, dt.time(1, 2, 3, 4, tzinfo=PARIS, fold=1), dt.time(tzinfo=dt.timezone.utc)],
    "deltas": [dt.timedelta.min, dt.timedelta.max, dt.timedelta(microseconds=-1)],
    "decimals": [Decimal(text) for text in ("1.0", "1.00", "-0", "1E+20", "0E-30", "Infinity", "-Infinity", "1" * 60)],
    "uuids": [uuid.UUID(int=0), uuid.UUID(int=2**128 - 1), uuid.uuid5(uuid.NAMESPACE_URL, "x")],
    (1, 2.0, None): dt.date(2024, 1, 1),
}


def nested(depth: int, wrap: Any = lambda inner: [inner]) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = wrap(value)
    return value


def refusal(value: Any) -> str:
    with pytest.raises(TypeError) as raised:
        encode(value)
    code, text = raised.value.args
    assert code == "value_unsupported"
    return str(text)


def corruption(data: bytes) -> str:
    with pytest.raises(ValueError) as raised:
        decode(data)
    code, text = raised.value.args
    assert code == "value_corrupt"
    return str(text)


def test_every_type_comes_back_as_itself() -> None:
    data = encode(EVERYTHING)
    assert data == reference.encode(EVERYTHING)
    assert reference.same(decode(data), EVERYTHING)


@settings(max_examples=600, deadline=None)
@given(value_strategies.values)
def test_any_value_comes_back_as_itself(value: Any) -> None:
    data = encode(value)
    assert data == reference.encode(value)
    assert reference.same(decode(data), value)


@settings(max_examples=600, deadline=None)
@given(value_strategies.rich_values)
def test_any_value_with_classes_comes_back_as_itself(value: Any) -> None:
    data = encode(value, types=value_strategies.CLASSES)
    assert data == reference.encode(value)
    assert reference.same(decode(data, value_strategies.CLASSES), value)


@pytest.mark.parametrize("name", ["nan", "-nan", "snan"])
def test_nans_keep_their_bits(name: str) -> None:
    if name == "snan":
        number = Decimal("sNaN123")
        assert str(decode(encode(number))) == str(number)
    else:
        assert reference.same(decode(encode(float(name))), float(name))


def test_every_day_of_the_calendar_in_steps() -> None:
    for ordinal in [*range(1, dt.date.max.toordinal(), 61), *range(730000, 732000), dt.date.max.toordinal()]:
        day = dt.date.fromordinal(ordinal)
        assert decode(encode(day)) == day


class Lock:
    pass


class MyList(list):  # type: ignore[type-arg]
    pass


class MyTuple(tuple):  # type: ignore[type-arg]
    pass


Point = collections.namedtuple("Point", "x y")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"users": [1, 2, 3, {"lock": Lock()}]}, 'result["users"][3]["lock"] is of type test_values.Lock,'),
        (Lock(), "result is of type test_values.Lock, which cannot be stored: it is none of the types that can be"),
        (
            [MyList()],
            "result[0] is of type test_values.MyList, which cannot be stored: a subclass would come back as a plain list",
        ),
        (Point(1, 2), "add types=(Point,)"),
        (MyTuple((1, 2)), "a plain tuple"),
        ((True, {1: enum.IntEnum("Color", "RED").RED}), "result[1][1] is of type "),  # type: ignore[attr-defined]
        ((item for item in ()), "it can be read only once"),
        ({3.5: [Lock()]}, "result[<float>][0] is of type"),
        ({(1, Lock()): 0}, "result.keys()[1] is of type"),
        ({frozenset([Lock()])}, "result{…}{…} is of type"),
        ({"k" * 100: Lock()}, f'result["{"k" * 40}…"] is of type'),
        ({'say "hi"\n': Lock()}, r'result["say \"hi\"\n"] is of type'),
        (dt.timezone.utc, "result is of type datetime.timezone,"),
        (Lock, "result is of type type,"),
        (len, "result is of type builtin_function_or_method,"),
    ],
)
def test_what_cannot_be_stored_is_named_by_its_path(value: Any, text: str) -> None:
    assert text in refusal(value)


def test_zones_without_a_name_are_refused() -> None:
    class Odd(dt.tzinfo):
        def utcoffset(self, moment: Any) -> dt.timedelta:
            raise AssertionError("nobody asks")

    assert 'result["at"].tzinfo is of type' in refusal({"at": dt.datetime(2024, 1, 1, tzinfo=Odd())})
    assert "use zoneinfo.ZoneInfo or datetime.timezone" in refusal(dt.time(tzinfo=Odd()))
    for root in zoneinfo.TZPATH:
        try:
            with open(f"{root}/Europe/Paris", "rb") as file:
                keyless = zoneinfo.ZoneInfo.from_file(file)
        except OSError:
            continue
        assert "make it with ZoneInfo(key)" in refusal(dt.datetime(2024, 1, 1, tzinfo=keyless))


def test_cycles_and_depth() -> None:
    assert "it nests more than 1024 containers" in refusal(nested(1025))
    assert "…" in refusal(nested(1025))
    loop: dict[str, Any] = {"a": [1]}
    loop["a"].append(loop)
    assert 'result["a"][1] is of type dict, which cannot be stored: it contains itself' in refusal(loop)
    tuple_loop: Any = ([],)
    tuple_loop[0].append(tuple_loop)
    assert "it contains itself" in refusal(tuple_loop)


@pytest.mark.parametrize(
    "wrap",
    [lambda inner: [inner], lambda inner: (inner,), lambda inner: {1: inner}, lambda inner: frozenset([inner])],
    ids=["list", "tuple", "dict", "frozenset"],
)
def test_the_deepest_value_fits_a_small_stack(wrap: Any) -> None:
    value = nested(1024, wrap)

    def work() -> list[Any]:
        data = encode(value)
        return [data, decode(data), copy_tree(value), classify(value), weigh(value)]

    got = on_a_small_stack(work)
    assert got[0] == encode(got[1])
    corruption(b"\x91" * 1025 + b"\x01")


def test_a_container_met_twice_is_written_twice() -> None:
    part = [1]
    got = decode(encode([part, part]))
    assert got == [[1], [1]]
    assert got[0] is not got[1]


def test_names_of_rows_that_look_alike() -> None:
    names = [f"{'x' * before}{middle}{'y' * after}" for before in range(14) for after in range(14) for middle in "abc0"]
    for name in names * 2:
        assert decode(encode({name: 1})) == {name: 1}
    assert list(decode(encode(dict.fromkeys(names, 0)))) == list(dict.fromkeys(names))
    first, again = (next(iter(decode(encode({"a name of rows": 1})))) for _ in range(2))
    assert first == again == "a name of rows"


def test_the_limit_on_bytes() -> None:
    value = ["x" * 100] * 10
    size = len(encode(value))
    assert encode(value, size) == encode(value)
    for limit in range(0, size, 7):
        with pytest.raises(TypeError) as raised:
            encode(value, limit)
        assert raised.value.args[0] == "value_too_large"
    explosive: list[Any] = ["x"]
    for _ in range(200):
        explosive = [explosive, explosive]
    with pytest.raises(TypeError) as raised:
        encode(explosive, 1 << 16)
    assert raised.value.args[0] == "value_too_large"


def test_encoding_leaves_no_copy_inside_the_callers_text() -> None:
    text = "".join(["é€"] * 500)
    before = sys.getsizeof(text)
    encode([text])
    assert sys.getsizeof(text) == before


def test_the_callers_decimal_context_changes_nothing() -> None:
    number = Decimal("1E+20")
    expected = encode(number)
    with decimal.localcontext() as context:
        context.capitals = 0
        context.prec = 3
        context.traps[decimal.InvalidOperation] = False
        assert encode(number) == expected
        assert decode(encode(Decimal("1.23456789"))) == Decimal("1.23456789")
        corruption(b"\xc1\x05\xd9\x20" + b"1E+" + b"9" * 29)
        corruption(b"\xc1\x05\xa3abc")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\xc1\x00",
        b"\xc1\x0c\x01",
        b"\xc1\x20\xa8builtins\xa4exec",
        b"\xc1\x24" + b"\0" * 16,
        b"\x01\x01",
        b"\xd4\x01\x01",
        b"\xdd\xff\xff\xff\xff",
        b"\xdf\xff\xff\xff\xff",
        b"\xdb\xff\xff\xff\xffabc",
        b"\xc6\xff\xff\xff\xff",
        b"\xc1\x01\xdd\xff\xff\xff\xff",
        b"\xc1\x02\xdd\xff\xff\xff\xff",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\xc1\x0b\xc4\x01\xff",
        b"\x81\x90\x01",
        b"\x81\x80\x01",
        b"\x82\x01\x01\x01\x01",
        b"\x82\x01\x01\xc3\x01",
        b"\x81\xc1\x01\x91\x90\x01",
        b"\xc1\x02\x91\x90",
        b"\xc1\x02\x92\x01\x01",
        b"\xc1\x03\x91\xc1\x02\x90",
        b"\xc1\x02\x01",
        b"\xc1\x02\x91\xc1\x05\xa4sNaN",
        b"\xc1\x05\xa0",
        b"\xc1\x05\xa2 1",
        b"\xc1\x05\xa21_",
        b"\xc1\x05\xa31_0",
        b"\xc1\x05\xa21.",
        b"\xc1\x05\xa21E",
        b"\xc1\x05\xa31E1",
        b"\xc1\x05\xa4NaNx",
        b"\xc1\x05\xa2\xd9\xa1",
        b"\xc1\x05\x01",
        b"\xc1\x06" + b"\0" * 15,
        b"\xc1\x07\x00",
        b"\xc1\x07\xce\x00\x37\xb9\xdc",
        b"\xc1\x07\xff",
        b"\xc1\x07\xcf\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\xc1\x07\xc3",
        b"\xc1\x08\xff\xc2\xc0",
        b"\xc1\x08\xcf\x00\x00\x00\x14\x1d\xd7\x60\x00\xc2\xc0",
        b"\xc1\x08\x00\x00\xc0",
        b"\xc1\x09\xff\xc2\xc0",
        b"\xc1\x09\xcf\x04\x61\x04\x0b\xcb\x9f\x20\x00\xc2\xc0",
        b"\xc1\x09\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xc2\xc0",
        b"\xc1\x09\x00\xc2\xa9No/Such/Z",
        b"\xc1\x09\x00\xc2\xaa../../etc/",
        b"\xc1\x09\x00\xc2\xa2\x00\x00",
        b"\xc1\x09\x00\xc2\xa0",
        b"\xc1\x09\x00\xc2\x01",
        b"\xc1\x09\x00\xc2\x93\x00\xc0\xc0",
        b"\xc1\x09\x00\xc2\x92\x00\x01",
        b"\xc1\x09\x00\xc2\x92\xcf\x00\x00\x00\x14\x1d\xd7\x60\x00\xc0",
        b"\xc1\x09\x00\xc2\x92\xd3\xff\xff\xff\xeb\xe2\x28\xa0\x00\xc0",
        b"\xc1\x0a\xce\x3b\x9a\xca\x00\x00\x00",
        b"\xc1\x0a\x00\xff\x00",
        b"\xc1\x0a\x00\xce\x00\x01\x51\x80\x00",
        b"\xc1\x0a\x00\x00\xce\x00\x0f\x42\x40",
    ],
)
def test_bytes_that_are_no_value(data: bytes) -> None:
    corruption(data)


def test_truncated_and_changed_bytes_never_crash() -> None:
    small = {key: value for key, value in EVERYTHING.items() if key not in ("bytes", "text")}
    data = encode([small, "text", b"bytes", "é" * 20])
    for end in range(len(data)):
        corruption(data[:end])
    pick = random.Random(7)
    for index in range(len(data)):
        for byte in {0xC1, 0xDD, 0xDF, 0x00, 0xFF, pick.randrange(256)}:
            changed = bytearray(data)
            changed[index] = byte
            try:
                encode(decode(bytes(changed)))
            except ValueError as error:
                assert error.args[0] == "value_corrupt"


@settings(max_examples=600, deadline=None)
@given(
    st.lists(
        st.binary(max_size=6) | st.sampled_from([b"\xc1" + bytes([kind]) for kind in range(0x1C)]), max_size=12
    ).map(b"".join)
)
@example(b"\xc1" * 3000)
@example(b"\xc1\x01\x91" * 3000)
@example(b"\x81" * 3000)
def test_any_bytes_are_a_value_or_corrupt(data: bytes) -> None:
    try:
        value = decode(data)
    except ValueError as error:
        assert error.args[0] == "value_corrupt"
    else:
        assert reference.same(decode(encode(value)), value)


def test_lying_lengths_allocate_little() -> None:
    megabyte = 1 << 20
    lies = [
        b"\xdd\x00\x0f\x00\x00" * (megabyte // 5),
        b"\xc1\x01\xdd\x00\x0f\x00\x00" * (megabyte // 7),
        b"\xdf\x00\x07\x00\x00" * (megabyte // 5),
        b"\xdd\xff\xff\xff\xff" + b"\x01" * 100,
    ]
    for lie in lies:
        tracemalloc.start()
        try:
            corruption(lie)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 64 * megabyte


def test_nothing_is_imported_before_a_value_needs_it() -> None:
    heavy = "{'datetime', '_datetime', 'decimal', '_decimal', 'uuid', 'zoneinfo', 'enum'}"
    program = f"""
import sys
before = set(sys.modules)
from cachekit import _native
loaded = lambda: sorted((set(sys.modules) - before) & {heavy})
class Own: pass
for value in (None, 1, 'x', [1], {{'a': (1, 2)}}):
    _native._decode(_native._encode(value)); _native._classify(value); _native._copy(value); _native._weigh(value)
_native._key((Own(), Own, len))
assert not loaded(), loaded()
assert str(_native._decode(bytes.fromhex({encode(Decimal("1.50")).hex()!r}))) == '1.50'
assert 'decimal' in sys.modules and 'uuid' not in sys.modules
assert str(_native._decode(bytes.fromhex({encode(uuid.UUID(int=7)).hex()!r}))).endswith('7')
assert _native._decode(bytes.fromhex({encode(dt.datetime(2024, 1, 1, tzinfo=PARIS)).hex()!r})).tzinfo.key == 'Europe/Paris'
"""
    subprocess.run([sys.executable, "-S", "-c", f"import sys; sys.path[:] = {sys.path!r}\n" + program], check=True)


def attempts(value: Any) -> list[Any]:
    data = encode(value)
    return [
        lambda: encode(value),
        lambda: decode(data),
        lambda: copy_tree(value),
        lambda: classify(value),
        lambda: weigh(value),
        lambda: encode([value, Lock()]),
        lambda: encode({"x": (value, {1: Lock()})}),
        lambda: encode([value, dt.datetime(1, 1, 1, tzinfo=None), {Lock(): 1}]),
        lambda: encode(value, 20),
        lambda: decode(data[:-1]),
        lambda: decode(b"\x93" + data + b"\xc1\x7f"),
        lambda: decode(b"\x82" + b"\xa3key" + data + b"\x90\x01"),
        lambda: decode(b"\xc1\x01\x92" + data + b"\xa1\xff"),
        lambda: decode(b"\xc1\x02\x92\x01\x90"),
    ]


def test_nothing_leaks() -> None:
    small = {key: value for key, value in EVERYTHING.items() if key not in ("bytes", "text")}
    work = attempts([small, "é" * 50, {"name": "x" * 50}, b"bytes"])

    def run(times: int) -> None:
        for _ in range(times):
            for attempt in work:
                try:
                    attempt()
                except (TypeError, ValueError):
                    pass

    def used() -> tuple[int, int]:
        gc.collect()
        return sys.getallocatedblocks(), len(gc.get_objects())

    run(20)
    blocks, objects = used()
    run(500)
    more_blocks, more_objects = used()
    assert more_blocks - blocks < 300
    assert more_objects - objects < 20


def test_references_balance() -> None:
    leaf, inner = object(), [1]
    name = "a name of its own " * 2
    value: dict[Any, Any] = {name: [inner, (inner, 1.5)], 1: {name}}
    failing = [value, {name: leaf}]
    watched = [leaf, inner, name, value]
    before = [sys.getrefcount(thing) for thing in watched]
    for _ in range(50):
        encode(value)
        copy_tree([inner, value[1]])
        copy_tree((name, leaf, inner, name))
        classify(value)
        weigh(failing)
        with pytest.raises(TypeError):
            encode(failing)
    assert [sys.getrefcount(thing) for thing in watched] == before


def test_the_collector_sees_what_is_made() -> None:
    for value in ([[]], ([],), {1: []}, {1: 2}, [1], {"a": ([1],)}):
        for made in (decode(encode(value)), copy_tree(value)):
            if not gc.is_tracked(made):
                assert not gc.is_tracked(copy.deepcopy(value)), value
    part: list[Any] = [[]]
    holder = copy_tree({"part": (part,)})
    holder["part"][0].append(holder)
    marker = holder["part"][0]
    assert gc.is_tracked(holder)
    del holder
    marker.append(marker)


@pytest.mark.parametrize("letter", ["é", "\x7f", "\x80", "\u20ac", "\U0001f980"])
def test_texts_of_every_short_length_survive(letter: str) -> None:
    for length in range(40):
        for at in range(length):
            text = "abcdefgh" * 5
            text = text[:at] + letter + text[at + 1 : length]
            for value in (text, {text: text}):
                assert decode(encode(value)) == value
            assert decode(encode(text)).isascii() is text.isascii()
