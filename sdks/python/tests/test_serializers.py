"""The option `serializer=`: which there are, what each takes and gives back, and what becomes of what they raise."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import math
import pathlib
import pickle
import struct
import sys
import warnings
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cachekit import CacheKitWarning, ConfigurationError, EnvelopeError, NotCacheableError, _native, cache, metrics_text
from cachekit.serializers import (
    AutoSerializer,
    DefaultSerializer,
    OrjsonSerializer,
    PickleSerializer,
    Serializer,
    StandardSerializer,
)
from conftest import Run
from support import RedisServer

Make = Callable[..., Any]

VECTORS = pathlib.Path(__file__).parents[3] / "tests" / "vectors" / "messagepack.json"


class Money:
    def __init__(self, cents: int) -> None:
        self.cents = cents

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.cents == self.cents

    __hash__ = None  # type: ignore[assignment]


def money(cents: int) -> Money:
    return Money(cents)


class MoneySerializer:
    """Somebody's own, which notes what it did."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.read: list[bytes] = []

    def serialize(self, value: Any) -> Any:
        self.written.append(value)
        if value.cents < 0:
            raise ValueError("no debts")
        return str(value.cents).encode()

    def deserialize(self, data: bytes) -> Any:
        self.read.append(data)
        return Money(int(data))


def synchronous(function: Any, **options: Any) -> Any:
    return cache(**options)(function)


def asynchronous(function: Any, **options: Any) -> Any:
    @cache(**{"namespace": "async", **options})
    async def body(*args: Any) -> Any:
        return function(*args)

    loop_call: Any = lambda *args: asyncio.run(body(*args))  # noqa: E731
    loop_call.cache_info = body.cache_info
    return loop_call


BOTH = pytest.mark.parametrize("make", [synchronous, asynchronous])


def l2_errors() -> float:
    wanted = 'cachekit_lookups_total{outcome="error",tier="l2"}'
    found = [line for line in metrics_text().splitlines() if line.startswith(wanted)]
    return float(found[0].split()[-1]) if found else 0.0


@BOTH
def test_an_object_writes_and_reads_what_it_alone_knows(redis: RedisServer, make: Make) -> None:
    serializer = MoneySerializer()
    options = {"namespace": "money", "backend": redis.unix_url, "l1": False, "serializer": serializer}
    function = make(money, **options)
    assert function(5) == Money(5)
    assert function(5) == Money(5)
    assert function.cache_info().l2_hits == 1
    assert serializer.read == [b"5"]
    assert [type(data) for data in serializer.read] == [bytes]


def test_callers_in_this_process_get_one_each_of_what_cannot_be_copied(redis: RedisServer) -> None:
    serializer = MoneySerializer()

    @cache(namespace="own", backend=redis.unix_url, serializer=serializer, strict=True)
    def function(cents: int) -> Money:
        return Money(cents)

    first = function(5)
    second, third = function(5), function(5)
    assert first == second == third
    assert len({id(first), id(second), id(third)}) == 3
    assert function.cache_info().l1_hits == 2
    _native.clear_all()
    # Out of the remote tier it is kept as it came.
    before = len(serializer.written)
    fourth, fifth = function(5), function(5)
    assert fourth == fifth
    assert fourth is not fifth
    assert len(serializer.written) == before
    info = function.cache_info()
    assert (info.l2_hits, info.l1_hits, info.loads) == (1, 1, 0)


def test_copies_are_made_of_objects_and_not_of_bytes(redis: RedisServer) -> None:
    serializer = MoneySerializer()

    @cache(namespace="copies", backend=redis.unix_url, serializer=serializer, copy=lambda money: Money(money.cents))
    def function(cents: int) -> Money:
        return Money(cents)

    assert function(5) is not function(5)
    assert (len(serializer.written), len(serializer.read)) == (1, 0)


def test_sealed_values_are_its_bytes() -> None:
    serializer = MoneySerializer()

    @cache(namespace="sealed", backend=None, isolation="sealed", serializer=serializer)
    def function(cents: int) -> Money:
        return Money(cents)

    first = function(5)
    assert function(5) == first
    assert function(5) is not first
    assert (len(serializer.written), serializer.read) == (1, [b"5", b"5"])
    assert function.cache_info().currbytes < 200


@BOTH
def test_what_it_cannot_write_is_said_once_and_served(redis: RedisServer, make: Make) -> None:
    calls = []

    def function(cents: int) -> Money:
        calls.append(cents)
        return Money(cents)

    cached = make(function, namespace="debts", backend=redis.unix_url, l1=False, serializer=MoneySerializer())
    with pytest.warns(CacheKitWarning, match="its serializer raised ValueError: no debts"):
        assert cached(-1) == Money(-1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cached(-1) == Money(-1)
    assert calls == [-1, -1]
    strict = make(
        function, namespace="strict", backend=redis.unix_url, l1=False, serializer=MoneySerializer(), strict=True
    )
    with pytest.raises(NotCacheableError, match="result is of type .*Money.*no debts") as raised:
        strict(-1)
    assert raised.value.code == "value_unsupported"
    assert isinstance(raised.value.__cause__, ValueError)


@BOTH
def test_what_it_cannot_read_is_a_miss_with_a_metric(redis: RedisServer, make: Make) -> None:
    class Changed(MoneySerializer):
        def deserialize(self, data: bytes) -> Any:
            raise KeyError(data)

    first = make(money, namespace="changed", backend=redis.unix_url, l1=False, serializer=MoneySerializer())
    first(5)
    second = make(money, namespace="changed", backend=redis.unix_url, l1=False, serializer=Changed())
    before = l2_errors()
    assert second(5) == Money(5)
    assert l2_errors() == before + 1
    info = second.cache_info()
    assert (info.l2_hits, info.misses) == (0, 1)


@BOTH
@pytest.mark.parametrize("where", ["serialize", "deserialize"])
def test_an_interruption_goes_through_it(redis: RedisServer, make: Make, where: str) -> None:
    def interrupt(_: Any) -> Any:
        raise KeyboardInterrupt

    options = {"namespace": f"interrupted {where}", "backend": redis.unix_url, "l1": False}
    make(money, serializer=MoneySerializer(), **options)(5)
    serializer = MoneySerializer()
    setattr(serializer, where, interrupt)
    function = make(money, serializer=serializer, **options)
    with pytest.raises(KeyboardInterrupt):
        function(6 if where == "serialize" else 5)


@pytest.mark.parametrize("made", ["text", None, 5, [1]])
def test_what_it_writes_must_be_bytes(redis: RedisServer, made: Any) -> None:
    class Wrong:
        def serialize(self, value: Any) -> Any:
            return made

        def deserialize(self, data: bytes) -> Any:
            raise AssertionError

    @cache(namespace="no bytes", backend=redis.unix_url, l1=False, serializer=Wrong(), strict=True)
    def function() -> int:
        return 1

    with pytest.raises(NotCacheableError, match=f"its serializer returned {type(made).__name__}, not bytes"):
        function()


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_whatever_shows_its_bytes_will_do(redis: RedisServer, kind: Any) -> None:
    class Own(MoneySerializer):
        def serialize(self, value: Any) -> Any:
            return kind(b"%d" % value.cents)

    @cache(namespace="buffers", backend=redis.unix_url, l1=False, serializer=Own())
    def function() -> Money:
        return Money(7)

    assert function() == function() == Money(7)
    assert function.cache_info().l2_hits == 1


class NoReader:
    def serialize(self, value: Any) -> bytes:
        return b""


class Awaited(MoneySerializer):
    async def deserialize(self, data: bytes) -> Any:
        return 1


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        ("yaml", "must be one of 'native', 'msgpack', 'json', 'arrow', 'pickle' or an object with the methods"),
        (None, "must be one of"),
        (3, "must be one of"),
        (MoneySerializer, "it is a class; give an instance of it, MoneySerializer()"),
        (NoReader(), "it has no method deserialize"),
        (object(), "it has no method serialize"),
        (Awaited(), "its method deserialize is an async def"),
    ],
)
def test_what_is_no_serializer_is_refused_at_decoration(choice: Any, why: str) -> None:
    with pytest.raises(ConfigurationError) as raised:
        cache(serializer=choice)
    assert raised.value.code == "option_invalid"
    assert why in str(raised.value)


NAMED = {"native": DefaultSerializer, "msgpack": StandardSerializer, "json": OrjsonSerializer}


@pytest.mark.parametrize("name", NAMED)
@pytest.mark.parametrize("as_object", [False, True])
def test_a_name_and_its_class_are_one_serializer(redis: RedisServer, name: str, as_object: bool) -> None:
    def function() -> Any:
        return {"id": 1, "names": ["a", "é"], "share": 0.5, "none": None}

    options: dict[str, Any] = {"namespace": "one", "backend": redis.unix_url, "l1": False}
    writer = cache(serializer=name, **options)(function)
    reader = cache(serializer=NAMED[name]() if as_object else name, **options)(function)
    assert writer() == reader() == function()
    assert reader.cache_info().l2_hits == 1
    other = cache(serializer="json" if name == "native" else "native", **options)(function)
    before = l2_errors()
    assert other() == function()
    assert other.cache_info().l2_hits == 0
    assert l2_errors() == before + 1


def test_ours_follow_the_protocol_and_work_by_themselves() -> None:
    for kind in (DefaultSerializer, AutoSerializer, StandardSerializer, OrjsonSerializer, PickleSerializer):
        serializer = kind()
        assert isinstance(serializer, Serializer)
        assert repr(serializer) == f"{kind.__name__}()"
        data = serializer.serialize({"a": [1, None]})
        assert type(data) is bytes
        assert serializer.deserialize(data) == {"a": [1, None]}
        with pytest.raises(EnvelopeError):
            serializer.deserialize(b"\xc1\xff")
    assert DefaultSerializer().deserialize(DefaultSerializer().serialize((1, {2}))) == (1, {2})
    with pytest.raises(NotCacheableError, match=r'result\["a"\] is of type tuple'):
        StandardSerializer().serialize({"a": ()})


def test_a_class_derived_from_one_of_ours_is_somebodys_own(redis: RedisServer) -> None:
    class Prefixed(DefaultSerializer):
        def serialize(self, value: Any) -> bytes:
            return b"x" + super().serialize(value)

        def deserialize(self, data: bytes) -> Any:
            return super().deserialize(data[1:])

    @cache(namespace="derived", backend=redis.unix_url, l1=False, serializer=Prefixed())
    def function() -> Any:
        return (1, 2)

    assert function() == function() == (1, 2)
    assert function.cache_info().l2_hits == 1
    assert b"x\xc1\x01\x92\x01\x02" in redis.command("GET", redis.entries()[0])


PORTABLE: list[Any] = [
    None, True, False, 0, -1, 127, 128, 255, 256, -32, -33, -128, -129, 2**31, 2**32, -(2**63), 2**64 - 1, 0.0, -0.0, 1.5,
    5e-324, 1e300, "", "a", "é", "€" * 40, "𝄞", "x" * 31, "x" * 32, "x" * 70_000, [], [1, [2, [None]]], {}, {"a": {"b": [1]}},
    {str(n): n for n in range(20)}, list(range(70_000)), {"b": 1, "a": 2, "": 3},
]  # fmt: skip


@pytest.mark.parametrize("kind", [StandardSerializer, OrjsonSerializer])
def test_portable_values_come_back_as_they_were(kind: Any) -> None:
    serializer = kind()
    for value in PORTABLE:
        got = serializer.deserialize(serializer.serialize(value))
        assert repr(got) == repr(value)


def test_messagepack_is_that_of_everybody_else() -> None:
    msgpack = pytest.importorskip("msgpack")
    serializer = StandardSerializer()
    for value in [*PORTABLE, math.inf, -math.inf, b"", b"\xff" * 300, {"nan": [b"x"]}]:
        packed = serializer.serialize(value)
        assert packed == msgpack.packb(value)
        assert serializer.deserialize(packed) == value
    assert math.isnan(serializer.deserialize(serializer.serialize(math.nan)))
    # What others write and we do not, we read all the same.
    assert serializer.deserialize(msgpack.packb({1: (2, 3)})) == {1: [2, 3]}
    assert serializer.deserialize(msgpack.packb(1.5, use_single_float=True)) == 1.5


class Text(str):
    __slots__ = ()


@pytest.mark.parametrize(
    ("value", "path", "type_name"),
    [
        ((), "result", "tuple"),
        ({"a": [0, (1,)]}, 'result["a"][1]', "tuple"),
        ({"a": {1: 2}}, 'result["a"].keys()', "int"),
        ({None: 2}, "result.keys()", "NoneType"),
        ({"a": {1}}, 'result["a"]', "set"),
        ([frozenset()], "result[0]", "frozenset"),
        (2**64, "result", "int"),
        ([-(2**63) - 1], "result[0]", "int"),
        ("\ud800", "result", "str"),
        ({"\ud800": 1}, "result.keys()", "str"),
        (dt.datetime(2024, 1, 1), "result", "datetime.datetime"),
        (Decimal(1), "result", "decimal.Decimal"),
        (bytearray(), "result", "bytearray"),
        (Text("a"), "result", "test_serializers.Text"),
        ({Text("a"): 1}, "result.keys()", "test_serializers.Text"),
        (object(), "result", "object"),
    ],
)
@pytest.mark.parametrize("kind", [StandardSerializer, OrjsonSerializer])
def test_what_would_come_back_as_something_else_is_refused(kind: Any, value: Any, path: str, type_name: str) -> None:
    with pytest.raises(NotCacheableError) as raised:
        kind().serialize(value)
    assert raised.value.code == "value_unsupported"
    assert (raised.value.context["path"], raised.value.context["type"]) == (path, type_name)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, b"a"])
def test_json_has_less_than_messagepack(value: Any) -> None:
    with pytest.raises(NotCacheableError, match=r"result\[0\] is of type"):
        OrjsonSerializer().serialize([value])


def test_what_contains_itself_is_refused() -> None:
    cycle: list[Any] = []
    cycle.append({"a": cycle})
    for kind in (StandardSerializer, OrjsonSerializer):
        with pytest.raises(NotCacheableError, match="contains itself"):
            kind().serialize(cycle)


def test_native_bytes_are_no_messagepack() -> None:
    native = DefaultSerializer().serialize([(1,)])
    with pytest.raises(EnvelopeError, match="it is not MessagePack"):
        StandardSerializer().deserialize(native)


def test_json_without_orjson_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("orjson")
    quick = OrjsonSerializer()
    monkeypatch.setitem(sys.modules, "orjson", None)
    standard = OrjsonSerializer()
    for value in PORTABLE:
        one, other = quick.serialize(value), standard.serialize(value)
        assert repr(standard.deserialize(one)) == repr(quick.deserialize(other)) == repr(value)
    for bad in (b"NaN", b"[Infinity]", b"{", b"\xff", b"1 2", b"[" * 100_000):
        for serializer in (quick, standard):
            with pytest.raises(EnvelopeError):
                serializer.deserialize(bad)
    with pytest.raises(ConfigurationError):
        cache(serializer=3)  # type: ignore[call-overload]
    with pytest.raises(ImportError, match=r"pip install 'cachekit\[json\]'"):
        OrjsonSerializer(option=1)


def test_pickle_is_for_what_stays_here() -> None:
    with pytest.raises(ConfigurationError, match="pickle runs what it reads"):
        cache(serializer="pickle")
    with pytest.raises(ConfigurationError, match="pickle runs what it reads"):
        cache.production(serializer=PickleSerializer(), backend="redis://localhost")

    @cache(serializer="pickle", backend=None, isolation="sealed")
    def sealed(cents: int) -> Money:
        return Money(cents)

    assert sealed(3) is not sealed(3)
    assert sealed(3) == Money(3)
    assert sealed.cache_info().l1_hits == 2

    @cache.local(serializer="pickle", isolation="copy")
    def copied(cents: int) -> Any:
        return [Money(cents)]

    assert copied(3) == copied(3)
    assert copied(3)[0] is not copied(3)[0]
    data = PickleSerializer().serialize(Money(4))
    assert pickle.loads(data) == Money(4)


def test_the_settings_name_the_serializer() -> None:
    mine = MoneySerializer()
    assert cache(serializer=mine)(Money.__eq__).cache_settings["serializer"] is mine
    assert cache(serializer="json")(Money.__eq__).cache_settings["serializer"] == "json"


def test_a_loop_runs_while_nothing_of_it_is_awaited(redis: RedisServer, run: Run) -> None:
    @cache(namespace="in the loop", backend=redis.url, l1=False, serializer=MoneySerializer())
    async def function(cents: int) -> Money:
        return Money(cents)

    async def main() -> None:
        assert await function(1) == Money(1)
        assert await asyncio.gather(*(function(1) for _ in range(20))) == [Money(1)] * 20

    run(main())
    assert function.cache_info().misses == 1


def value_of(data: Any) -> Any:
    ((kind, content),) = data.items()
    if kind == "list":
        return [value_of(item) for item in content]
    if kind == "dict":
        return {value_of(key): value_of(value) for key, value in content}
    if kind == "float":
        return struct.unpack(">d", bytes.fromhex(content))[0]
    readers: dict[str, Any] = {"int": int, "bytes": bytes.fromhex}
    return readers.get(kind, lambda content: content)(content)


@pytest.mark.skipif(not VECTORS.exists(), reason="the vectors are not part of a source distribution")
def test_the_vectors_of_rust() -> None:
    rows = [row for group in json.loads(VECTORS.read_text())["testGroups"] for row in group["tests"]]
    assert len(rows) > 40
    serializer = StandardSerializer()
    for row in rows:
        value, encoded = value_of(row["value"]), bytes.fromhex(row["encoded"])
        assert serializer.serialize(value) == encoded, row["comment"]
        assert repr(serializer.deserialize(encoded)) == repr(value), row["comment"]


FORMATS = {1: "plain", 2: "packed", 3: "bare", 5: "slim", 6: "dense"}


@pytest.mark.parametrize(
    ("preset", "options", "expected"),
    [
        ("production", {}, "packed"),
        ("production", {"integrity": True}, "packed"),
        ("production", {"integrity": False}, "slim"),
        ("production", {"serializer": OrjsonSerializer(enable_integrity_checking=False)}, "slim"),
        ("production", {"serializer": OrjsonSerializer()}, "packed"),
        ("production", {"serializer": StandardSerializer(False), "integrity": True}, "packed"),
        ("minimal", {}, "bare"),
        ("minimal", {"integrity": True}, "plain"),
        ("minimal", {"serializer": DefaultSerializer(enable_integrity_checking=True)}, "plain"),
        ("test", {"integrity": False}, "bare"),
        ("production", {"compressor": "zstd"}, "dense"),
        ("production", {"compressor": "none"}, "packed"),
        ("production", {"compressor": "lz4", "integrity": False}, "slim"),
        ("minimal", {"compressor": "lz4"}, "slim"),
        ("minimal", {"compressor": "zstd", "integrity": True}, "dense"),
    ],
    ids=repr,
)
def test_integrity_and_compressor_choose_the_format(
    redis: RedisServer, preset: str, options: dict[str, Any], expected: str
) -> None:
    decorator = getattr(cache, preset)(namespace="integrity", backend=redis.unix_url, l1=False, **options)

    @decorator
    def function() -> str:
        return "text " * 1000

    assert function() == function()
    assert function.cache_info().l2_hits == 1
    stored = redis.command("GET", redis.entries()[0])
    assert FORMATS[stored[2]] == expected
    # Compressed or not is the preset's business, if nobody says.
    compressed = preset == "production" if "compressor" not in options else options["compressor"] != "none"
    assert (len(stored) < 1000) == compressed


def test_a_compressor_must_have_a_place() -> None:
    for decorate, options, why in [
        (cache.minimal, {"compressor": "zstd"}, "give integrity=True"),
        (cache, {"compressor": "zstd", "integrity": False}, "give integrity=True"),
        (cache, {"compressor": "gzip"}, "must be one of 'none', 'lz4', 'zstd'"),
        (cache.secure, {"compressor": "lz4", "master_key": "6b" * 32}, "would tell what is sealed"),
    ]:
        with pytest.raises(ConfigurationError, match=f"compressor=.* is not valid: .*{why}"):
            decorate(**options)(money)


def test_integrity_is_yes_or_no() -> None:
    for wrong in (None, 1, "yes"):
        with pytest.raises(ConfigurationError, match="integrity=.* is not valid: must be True or False"):
            cache(integrity=wrong)
