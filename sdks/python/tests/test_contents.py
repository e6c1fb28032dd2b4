"""Values of the standard library and of numpy that need no registration."""

from __future__ import annotations

import array
import collections
import datetime as dt
import fractions
import ipaddress
import math
import pathlib
import sys
import warnings
from typing import Any

import pytest

from cachekit import _native, cache

encode: Any = _native._encode
decode: Any = _native._decode


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and bool(one == other)


VALUES = [
    0j,
    complex(-0.0, 1e300),
    range(0),
    range(5, -7, -2),
    range(2**70, 2**71, 3),
    pathlib.PurePosixPath("/a/é"),
    pathlib.PureWindowsPath(r"c:\x"),
    pathlib.Path("a/b"),
    pathlib.Path("\udc80"),
    bytearray(b"x\0"),
    array.array("d", [1.5, -0.0]),
    array.array("b"),
    collections.OrderedDict([("b", 1), ("a", [2])]),
    collections.defaultdict(None, {"a": 1}),
    collections.defaultdict(list, {"a": [1]}),
    collections.defaultdict(collections.Counter, {"a": collections.Counter("abca")}),
    collections.Counter({"x": -3, "y": 0}),
    collections.deque([1, [2]], maxlen=3),
    collections.deque(),
    fractions.Fraction(-3, 7),
    ipaddress.ip_address("::1"),
    ipaddress.ip_network("10.0.0.0/8"),
    ipaddress.ip_interface("10.0.0.1/8"),
    int,
    collections.deque,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_it_comes_back_as_itself(value: Any) -> None:
    assert same(decode(encode(value)), value)
    assert same(decode(encode([value, {"x": (value,)}]))[1]["x"][0], value)


def test_what_equality_does_not_see() -> None:
    signs = decode(encode(complex(-0.0, -0.0)))
    assert math.copysign(1, signs.real) == math.copysign(1, signs.imag) == -1
    nan = decode(encode(complex(math.nan, math.inf)))
    assert math.isnan(nan.real)
    assert nan.imag == math.inf
    assert list(decode(encode(collections.OrderedDict([("b", 1), ("a", 2)])))) == ["b", "a"]
    assert decode(encode(collections.deque([1], 3))).maxlen == 3
    assert decode(encode(collections.defaultdict(set))).default_factory is set
    assert decode(encode(array.array("h", [-1]))).typecode == "h"


def refusal(value: Any) -> str:
    with pytest.raises(TypeError) as raised:
        encode(value)
    return str(raised.value.args[1])


def test_they_nest_as_deep_as_containers() -> None:
    deep: Any = []
    for _ in range(511):
        deep = collections.OrderedDict(a=deep)
    back = decode(encode(deep))
    for _ in range(511):
        assert type(back) is collections.OrderedDict
        back = back["a"]
    assert back == []
    assert "it nests more than 1024 containers" in refusal(collections.deque([deep]))


@pytest.mark.parametrize("type_byte", range(0x0C, 0x19), ids=hex)
def test_one_in_another_without_end_is_corrupt(type_byte: int) -> None:
    with pytest.raises(ValueError, match="it nests too many containers"):
        decode(bytes([0xC1, type_byte]) * 100_000 + b"\xc0")


class Derived(collections.OrderedDict):  # type: ignore[type-arg]
    pass


def test_what_would_be_lost_is_refused() -> None:
    assert "result.default_factory is of type function" in refusal(collections.defaultdict(lambda: 1))
    ordered: Any = collections.OrderedDict()
    ordered.note = 1
    assert "it has attributes of its own" in refusal(ordered)
    assert "come back as a plain dict" in refusal(Derived())
    assert "result[0] is of type object" in refusal(collections.deque([object()]))


def test_an_array_is_bounded_while_it_is_written() -> None:
    with pytest.raises(TypeError) as raised:
        encode([bytearray(10)] * 10, 64)
    assert raised.value.args[0] == "value_too_large"


def raises_corrupt(data: bytes) -> None:
    with pytest.raises(ValueError) as raised:
        decode(data)
    assert raised.value.args[0] == "value_corrupt"


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_damage_is_refused_or_gives_another_value(value: Any) -> None:
    data = encode(value)
    for length in range(len(data)):
        raises_corrupt(data[:length])
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            try:
                decode(bytes(damaged))
            except ValueError as error:
                assert error.args[0] == "value_corrupt"


@pytest.mark.parametrize(
    "content",
    [
        "0c 01 02",
        "0d 01 02 00",
        "0d 01 c0 01",
        "0e a1 78 a1 78",
        "0e a7 6f732e70617468 a0",
        "10 a1 64 04 c4 00",
        "10 a1 64 08 c4 01 00",
        "11 90",
        "12 01 80",
        "12 a4 6c697374 80",
        "14 00 91 01",
        "14 ff 90",
        "15 a3 3c6938 91 02 c4 08 0000000000000000",
        "15 a3 3c5530 91 cf 0000010000000000 c4 00",
        "15 a3 3c6938 90 c4 00",
        "15 a1 4f 91 01 c4 08 0000000000000000",
        "15 a3 7c4f38 91 01 c4 08 0000000000000000",
        "15 a3 3c6938 92 cf ffffffffffffffff 01 c4 00",
        "15 91 92 a1 61 a3 7c4f38 91 01 c4 08 0000000000000000",
        "16 a3 3c6938 c4 01 00",
        "16 a3 3c6938 c4 00",
        "17 02 04",
        "17 01 00",
        "18 a1 78 a1 78",
        "18 ab 49507634416464726573 73 a1 78",
        "20 a2 6f73 a6 73797374656d",
        "20 a8 6275696c74696e73 a4 65786563",
    ],
)
def test_contents_that_nobody_wrote_are_refused(content: str) -> None:
    if content[:2] in ("15", "16"):
        pytest.importorskip("numpy")
    raises_corrupt(b"\xc1" + bytes.fromhex(content))


def test_a_number_is_no_alignment() -> None:
    pytest.importorskip("numpy")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        raises_corrupt(bytes.fromhex("c1 15 95 91a161 91a37c6931 9100 01 01 91 01 c4 01 00"))
    assert warned == []


def test_folds_and_zones_and_what_derives_from_a_datetime() -> None:
    class Moment(dt.datetime):
        pass

    folded = dt.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=dt.timezone.utc)
    assert decode(encode(folded)).fold == 1
    assert "come back as a plain datetime" in refusal(Moment(2024, 1, 1))
    pandas = pytest.importorskip("pandas")
    assert "come back as a plain datetime" in refusal(pandas.Timestamp("2024-01-01"))


def arrays() -> list[Any]:
    numpy = pytest.importorskip("numpy")
    grid = numpy.arange(24, dtype="<i4").reshape(2, 3, 4)
    record = numpy.dtype([("a", "<i2"), ("b", "<f8", (2,)), ("c", [("d", "S3")])])
    aligned = numpy.dtype([("a", "i1"), ("b", "f8")], align=True)
    return [
        grid,
        numpy.asfortranarray(grid),
        grid[:, ::2, ::-1],
        grid.T,
        grid.astype(">f4"),
        numpy.array(5.5),
        numpy.array([], "f8"),
        numpy.empty((0, 2**40, 3), "u1"),
        numpy.array(["é", "abc"]),
        numpy.array([b"x", b"yz"]),
        numpy.array(["2024-01-01", "NaT"], "M8[ns]"),
        numpy.array([1, 2], "m8[3s]"),
        numpy.array([True, False]),
        numpy.array([1 + 2j], "c8"),
        numpy.array([1.5], "f2"),
        numpy.array([(1, [2, 3], (b"x",))], record),
        numpy.array([(1, 2.0)], aligned),
        numpy.zeros(3, "V5"),
    ]


def equal(one: Any, other: Any) -> bool:
    return bool(
        type(one) is type(other)
        and one.dtype == other.dtype
        and one.shape == other.shape
        # What lies between the fields is anything.
        and ((one == other).all() if one.dtype.names else one.tobytes() == other.tobytes())
    )


def test_arrays_of_every_type_and_order() -> None:
    for value in arrays():
        back = decode(encode(value))
        assert equal(back, value)
        assert back.flags.c_contiguous
        assert back.flags.writeable
        assert back.flags.owndata


def test_arrays_without_numpys_warnings_or_surprises() -> None:
    numpy = pytest.importorskip("numpy")
    for scalar in (
        numpy.float64(1.5),
        numpy.bool_(True),
        numpy.int8(-3),
        numpy.str_("é"),
        numpy.str_(""),
        numpy.bytes_(b"x"),
        numpy.datetime64("2024-01-01", "ns"),
        numpy.timedelta64(3, "D"),
        numpy.complex64(1j),
        arrays()[15][0],
    ):
        back = decode(encode(scalar))
        assert type(back) is type(scalar)
        assert back.dtype == scalar.dtype
        assert back == scalar
    assert "result[0] is of type numpy.ndarray, which cannot be stored: it holds objects" in refusal(
        [numpy.array([object()])]
    )
    assert refusal(numpy.ma.masked_array([1], [True]))

    class Own(numpy.ndarray):  # type: ignore[misc, name-defined]
        pass

    assert refusal(numpy.zeros(3).view(Own))


def test_text_without_length_is_empty() -> None:
    numpy = pytest.importorskip("numpy")
    for scalar in (numpy.bytes_(b""), numpy.str_("")):
        for _ in range(20):
            assert equal(decode(encode(scalar)), scalar)
    for dtype in ("S0", "U0"):
        # As a field of that type gives them; numpy makes longer ones otherwise.
        none = numpy.zeros(0, [("a", dtype)])["a"]
        assert equal(decode(encode(none)), none)


def test_what_an_array_would_lose_is_refused() -> None:
    numpy = pytest.importorskip("numpy")
    titled = numpy.dtype([(("Title", "a"), "i4")])
    noted = numpy.dtype("i4", metadata={"unit": "m"})
    records = numpy.rec.array([(1, 2)], dtype=[("a", "i4"), ("b", "i4")])
    for dtype in (titled, noted, [("x", titled)], [("x", noted, (2,))], (noted, (2,))):
        assert "which would be lost" in refusal([numpy.zeros(1, dtype)])
    for value in (numpy.zeros(1, titled)[0], records[0], records.view(numpy.ndarray)):
        assert "which would be lost" in refusal([value])


def test_an_array_is_bounded_before_it_is_copied() -> None:
    numpy = pytest.importorskip("numpy")
    with pytest.raises(TypeError) as raised:
        encode(numpy.zeros(1 << 20), 1 << 10)
    assert raised.value.args[0] == "value_too_large"


@pytest.mark.parametrize("isolation", ["copy", "sealed"])
def test_every_caller_gets_one_of_its_own(isolation: Any) -> None:
    values = VALUES + ([*arrays(), arrays()[15][0]] if "numpy" in sys.modules else [])

    @cache(isolation=isolation, backend=None, strict=True)
    def value(index: int) -> Any:
        return values[index]

    for index, expected in enumerate(values):
        value(index)
        one, other = value(index), value(index)
        assert type(one) is type(expected)
        assert equal(one, expected) if hasattr(expected, "dtype") else one == expected
        if isinstance(one, (bytearray, array.array, collections.deque, dict)) or type(one).__name__ in (
            "ndarray",
            "void",
        ):
            assert one is not other
    assert value.cache_info().misses == len(values)
