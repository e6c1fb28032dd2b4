"""Keys and values that other cachekit SDKs read: the published vectors, an independent encoder, and what is refused."""

from __future__ import annotations

import json
import math
from collections import OrderedDict
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

import cachekit
from cachekit import InteropError, decode_interop_value, encode_interop_value, generate_interop_key

msgpack = pytest.importorskip("msgpack")
interop_reference = pytest.importorskip("interop_reference")

VECTORS = json.loads((Path(__file__).parents[3] / "tests/published/interop.json").read_text())


def typed(value: Any) -> Any:
    """What the vectors' tagged JSON stands for."""
    if isinstance(value, list):
        return [typed(item) for item in value]
    if not isinstance(value, dict):
        return value
    if len(value) == 1:
        ((tag, content),) = value.items()
        if tag in MAKERS:
            return MAKERS[tag](content)
    return {key: typed(item) for key, item in value.items()}


MAKERS = {
    "$set": lambda items: {typed(item) for item in items},
    "$bytes": bytes.fromhex,
    "$datetime": datetime.fromisoformat,
    "$uuid": UUID,
    "$float": float,
    "$int": int,
}


def named(vectors: list[dict[str, Any]]) -> Any:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["name"] for vector in vectors])


@named(VECTORS["key_vectors"])
def test_the_published_keys(vector: dict[str, Any]) -> None:
    args = typed(vector["args"])
    assert generate_interop_key(vector["namespace"], vector["operation"], args) == vector["expected_key"]
    assert generate_interop_key(vector["namespace"], vector["operation"], tuple(args)) == vector["expected_key"]
    assert interop_reference.argument(args).hex() == vector["canonical_args_hex"], "the checker itself"


@named(VECTORS["value_vectors"])
def test_the_published_values(vector: dict[str, Any]) -> None:
    value = typed(vector["value"])
    assert encode_interop_value(value).hex() == vector["canonical_msgpack_hex"]
    assert decode_interop_value(bytes.fromhex(vector["canonical_msgpack_hex"])) == value


@named(VECTORS["error_vectors"])
def test_the_published_refusals(vector: dict[str, Any]) -> None:
    with pytest.raises(InteropError):
        generate_interop_key(vector.get("namespace", "t"), vector.get("operation", "op"), typed(vector["args"]))


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Name(str):
    def encode(self, *_: object) -> bytes:
        return b"something else"


SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(),
    st.binary(),
)
ARGUMENTS = st.recursive(
    SCALARS
    | st.uuids()
    | st.decimals(allow_nan=False)
    | st.datetimes(timezones=st.timezones())
    | st.sampled_from([Colour.RED, Level.HIGH, PurePosixPath("a/b")])
    | st.frozensets(SCALARS, max_size=20),
    lambda inner: (
        st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20) | st.tuples(inner, inner)
    ),
    max_leaves=20,
)
# What comes back knows the offset and no longer the zone, so times that a zone has twice or never would not be equal.
OFFSETS = st.integers(-1439, 1439).map(lambda minutes: timezone(timedelta(minutes=minutes)))
VALUES = st.recursive(
    SCALARS | st.datetimes(timezones=OFFSETS | st.none()) | st.dates() | st.times(),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=20,
)


@given(st.lists(ARGUMENTS))
def test_keys_are_those_of_an_independent_encoder(args: list[Any]) -> None:
    assert generate_interop_key("ns.a", "op", args) == interop_reference.key("ns.a", "op", args)


@given(VALUES)
def test_values_are_those_of_an_independent_encoder_and_come_back(value: Any) -> None:
    data = encode_interop_value(value)
    assert data == msgpack.packb(interop_reference.stored(value), use_bin_type=True)
    again = decode_interop_value(data)
    assert again == value
    assert encode_interop_value(again) == data
    assert decode_interop_value(memoryview(bytearray(data))) == value


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (2.0, 2),
        (-0.0, 0),
        (-1.0, -1),
        (2.0**63, 2**63),
        ((1, 2), [1, 2]),
        ({Colour.RED, "red"}, ["red"]),
        (Level.HIGH, 3),
        (Colour.RED, "red"),
        (Name("red"), "red"),
        (OrderedDict(b=1, a=2), {"a": 2, "b": 1}),
        (bytearray(b"x"), b"x"),
        (UUID("550E8400-E29B-41D4-A716-446655440000"), "550e8400-e29b-41d4-a716-446655440000"),
        (Decimal("1.00"), "1.00"),
        (datetime(1969, 12, 31, 23, 59, 59, 500_000, timezone.utc), -0.5),
        (datetime(1970, 1, 1, 2, tzinfo=timezone(timedelta(hours=2))), 0),
    ],
)
def test_arguments_that_are_one_to_other_languages(one: object, other: object) -> None:
    assert generate_interop_key("t", "op", [one]) == generate_interop_key("t", "op", [other])


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("args", "says"),
    [
        ([1, {"a": [math.nan]}], r'args\[1\]\["a"\]\[0\] is of type float.*NaN'),
        ([math.inf], "infinities"),
        ([2**64], "outside"),
        ([-(2**63) - 1], "outside"),
        (["\ud800"], "surrogate"),
        ([{1: 2}], r"args\[0\]\.keys\(\) is of type int.*must be str"),
        ([datetime(2024, 1, 1)], "no time zone"),
        ([date(2024, 1, 1)], "datetime.date"),
        ([{1.5, object()}], r"args\[0\]\{…\} is of type object"),
        ([object()], "arguments in interop/v1 are"),
        ([CYCLE], "contains itself"),
        ("text", "one list or tuple"),
    ],
)
def test_what_is_no_argument_raises_and_says_where(args: Any, says: str) -> None:
    with pytest.raises(InteropError, match=says):
        generate_interop_key("t", "op", args)


@pytest.mark.parametrize(
    "segment", ["", "A", "a" * 65, "a\n", "-a", ".a", "a:b", "a b", "ä", "a..b", None, 1, b"a", "a\x00"], ids=repr
)
def test_segments_match_in_full(segment: Any) -> None:
    with pytest.raises(InteropError, match="namespace="):
        generate_interop_key(segment, "op", [])
    with pytest.raises(InteropError, match="operation="):
        generate_interop_key("t", segment, [])


def test_a_namespace_of_the_service_s_own_is_refused() -> None:
    with pytest.raises(InteropError, match="keeps it to itself"):
        generate_interop_key("ns", "op", [])
    assert generate_interop_key("t", "ns", []).startswith("t:ns:")
    assert generate_interop_key("a" * 64, "0._-", []).startswith("a" * 64 + ":0._-:")


@pytest.mark.parametrize(
    "value", [{1}, object(), UUID(int=1), Decimal(1), Path("a"), Colour.RED, math.nan, {1: 2}, 2**64]
)
def test_what_is_no_value_raises(value: object) -> None:
    with pytest.raises(InteropError, match=r'value\["rows"\]\[0\]'):
        encode_interop_value({"rows": [value]})


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("cd0001", 1),
        ("d300000000000000ff", 255),
        ("ca3f800000", 1.0),
        ("d90161", "a"),
        ("dc000101", [1]),
        ("de0001a16101", {"a": 1}),
        ("82a16201a16102", {"b": 1, "a": 2}),
        ("8101a161", {1: "a"}),
        ("82a576616c7565aa323032342d30322d3239a85f5f646174655f5fc3", date(2024, 2, 29)),
    ],
)
def test_readers_take_every_form(data: str, value: object) -> None:
    again = decode_interop_value(bytes.fromhex(data))
    assert again == value
    assert type(again) is type(value)


def test_times_as_other_languages_write_them() -> None:
    marked = {
        "when": [{"__datetime__": True, "value": "2024-02-29T12:00:00.250Z"}],
        "at": {"__time__": True, "value": "12:00:00"},
    }
    moment = datetime(2024, 2, 29, 12, 0, 0, 250_000, timezone.utc)
    assert decode_interop_value(msgpack.packb(marked)) == {"when": [moment], "at": time(12)}
    # What only looks like one stays what it is.
    for plain in ({"__datetime__": 1, "value": "x"}, {"__datetime__": True, "value": 5}, {"__datetime__": True}):
        assert decode_interop_value(msgpack.packb(plain)) == plain
    with pytest.raises(InteropError, match="the bytes are no value"):
        decode_interop_value(msgpack.packb({"__datetime__": True, "value": "yesterday"}))


@pytest.mark.parametrize(
    "data",
    [
        "",
        "0101",
        "c1",
        "c10190",
        "92",
        "a5616263",
        "dfffffffff",
        "ddffffffff00",
        "c6ffffffff00",
        "91" * 1025 + "c0",
        "a1ff",
        "8190c0",
        "d40100",
    ],
)
def test_bytes_that_are_no_document_raise(data: str) -> None:
    with pytest.raises(InteropError, match="the bytes are no value of interop/v1"):
        decode_interop_value(bytes.fromhex(data))


def test_the_deepest_document_is_read_and_written() -> None:
    deep = bytes.fromhex("91" * 1024 + "c0")
    value = decode_interop_value(deep)
    assert encode_interop_value(value) == deep
    with pytest.raises(InteropError, match="1024"):
        encode_interop_value([value])


def test_the_error_is_a_value_error_of_cachekit() -> None:
    assert issubclass(InteropError, ValueError)
    assert issubclass(InteropError, cachekit.CacheKitError)
    with pytest.raises(TypeError):
        decode_interop_value("text")
