"""Arguments to the bytes that keys are hashed from: what is one entry, what is not, and what stays in the process."""

from __future__ import annotations

import collections
import copy
import datetime as dt
import enum
import gc
import hashlib
import itertools
import json
import os
import pathlib
import struct
import subprocess
import sys
import types
import typing
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

import native_reference as reference
import value_strategies
from cachekit import _native

encode: Any = _native._encode
same_keys: Any = _native._same_keys
VECTORS = pathlib.Path(__file__).parents[3] / "tests" / "vectors" / "key.json"

UTC = dt.timezone.utc
NOON = dt.datetime(2024, 6, 1, 12, tzinfo=UTC)
PARIS = zoneinfo.ZoneInfo("Europe/Paris")


def key(argument: Any) -> bytes:
    data, local = _native._key(argument)
    assert not local
    return bytes(data)


def local_objects(argument: Any) -> list[tuple[Any, bool]]:
    return list(_native._key(argument)[1])


def refusal(argument: Any) -> str:
    with pytest.raises(TypeError) as raised:
        _native._key(argument)
    code, text = raised.value.args
    assert code == "argument_unsupported"
    return str(text)


# Each equal to another one, or mistaken for it by some cache, and none the same.
DIFFERENT = [
    1,
    1.0,
    True,
    Decimal(1),
    Decimal("1.0"),
    Decimal("1.00"),
    1 + 2**64,
    "1",
    b"1",
    0,
    0.0,
    -0.0,
    False,
    Decimal("0"),
    Decimal("-0"),
    None,
    "",
    b"",
    (),
    frozenset(),
    NOON,
    NOON.astimezone(PARIS),
    NOON.astimezone(zoneinfo.ZoneInfo("Europe/Berlin")),
    NOON.astimezone(dt.timezone(dt.timedelta(hours=2))),
    NOON.astimezone(dt.timezone(dt.timedelta(hours=2), "CEST")),
    NOON.astimezone(zoneinfo.ZoneInfo("UTC")),
    NOON.replace(tzinfo=None),
    NOON.replace(tzinfo=None, fold=1),
    NOON.date(),
    NOON.time(),
    NOON.timetz(),
    NOON.time().replace(fold=1),
    dt.timedelta(0),
    dt.timedelta(microseconds=1),
    (1,),
    (1.0,),
    (True,),
    ((1,),),
    (1, 2),
    (2, 1),
    frozenset([1]),
    frozenset([1.0]),
]
UNHASHABLE: list[Any] = [
    [],
    {},
    set(),
    [1],
    [(1,)],
    [[1]],
    {1: 2},
    {1.0: 2},
    {1: 2.0},
    {True: 2},
    {1},
    {1.0},
    {"a": {}},
    {"a": []},
]


def test_what_differs_has_different_keys() -> None:
    everything = DIFFERENT + UNHASHABLE
    wraps: list[Any] = [
        lambda part: part,
        lambda part: [part],
        lambda part: (0, part),
        lambda part: {"k": part},
        lambda part: {"k": [({"l": part},)]},
    ]
    for wrap in wraps:
        assert len({key(wrap(part)) for part in everything}) == len(everything)
    for wrap in (
        lambda part: {part},
        lambda part: frozenset([part]),
        lambda part: {part: 0},
        lambda part: {(part, part): 0},
    ):
        assert len({key(wrap(part)) for part in DIFFERENT}) == len(DIFFERENT)


def test_the_order_of_dicts_and_sets_is_no_part_of_a_key() -> None:
    items: list[tuple[Any, Any]] = [
        ("b", 1),
        ("a", [{"y": 1, "x": 2}]),
        (3, None),
        ((1, "z"), {3, 1, 2}),
        (b"\0", 0),
        (None, True),
    ]
    keys = {key(dict(order)) for order in itertools.permutations(items)}
    assert len(keys) == 1
    numbers = [float(number) for number in range(40)] + ["x", None, (1, 2)]
    assert key(set(numbers)) == key(set(reversed(numbers)))
    assert key(frozenset(numbers)) == reference.encode(frozenset(numbers), key=True)


@settings(max_examples=250, deadline=None)
@given(value_strategies.values, value_strategies.values)
def test_equal_keys_mean_the_same_arguments(one: Any, other: Any) -> None:
    assert key(one) == reference.encode(one, key=True)
    assert key(copy.deepcopy(one)) == key(one)

    def sort(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: sort(value[name]) for name in sorted(value, key=reference.encode)}
        return type(value)(map(sort, value)) if isinstance(value, (list, tuple)) else value

    assert (key(one) == key(other)) == reference.same(sort(one), sort(other))


def test_keys_of_plain_values_are_the_values_bytes() -> None:
    for value in (None, 1, "x", [1, (2, {3})], {"a": 1, "b": 2}):
        assert key(value) == encode(value)


class Colour(enum.Enum):
    RED = 1
    GREEN = 2
    ALIAS = 1


class Other(enum.Enum):
    RED = 1


class Number(enum.IntEnum):
    ONE = 1


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()


def test_members_of_enumerations() -> None:
    members = [
        Colour.RED,
        Colour.GREEN,
        Other.RED,
        Number.ONE,
        1,
        "RED",
        Rights.READ,
        Rights.WRITE,
        Rights.READ | Rights.WRITE,
        Rights(0),
    ]
    assert len({key(member) for member in members}) == len(members)
    assert key(Colour.ALIAS) == key(Colour.RED)
    name = __name__.encode()
    assert key(Colour.RED) == b"\xc1\x21" + bytes([0xA0 | len(name)]) + name + b"\xa6Colour\xa3RED"
    assert key({Colour.RED: [Number.ONE]}) != key({Colour.RED: [1]})


class Point(typing.NamedTuple):
    x: object
    y: object


Other2D = collections.namedtuple("Other2D", "x y")


def test_named_tuples() -> None:
    points = [Point(1, 2), Other2D(1, 2), (1, 2), Point(1.0, 2), Point(2, 1), Point(Point(1, 2), 2)]
    assert len({key(point) for point in points}) == len(points)
    assert key(Point(1, [2])) == key(Point(1, [2]))
    assert 'argument[1]["a"] of function is of type bytearray' in refusal(Point(1, {"a": bytearray()}))


def test_classes_that_can_be_imported() -> None:
    assert key(int) == b"\xc1\x20\xa8builtins\xa3int"
    assert key(dt.datetime) != key(dt.date)
    assert key([Colour, Point, collections.OrderedDict])

    class Inside:
        pass

    class Fake:
        pass

    Fake.__qualname__ = "Colour"
    for found in (Inside, Fake):
        assert local_objects([found]) == [(found, True)]
    made = Inside()
    assert local_objects(made) == [(made, True)]


class Model:
    def __init__(self, identity: Any) -> None:
        self.identity = identity

    def __cache_key__(self) -> Any:
        return self.identity


class SubModel(Model):
    pass


def test_objects_that_name_themselves() -> None:
    assert key(Model(1)) == key(Model(1))
    models = [Model(1), Model(1.0), Model("1"), SubModel(1), 1, Model(Model(1)), Model([1]), [Model(1)]]
    assert len({key(model) for model in models}) == len(models)
    assert key({"m": [Model({"b": 1, "a": 2})]}) == key({"m": [Model({"a": 2, "b": 1})]})
    assert "argument[0].__cache_key__()[1] of function is of type bytearray" in refusal([Model([1, bytearray()])])

    class Local(Model):
        pass

    assert local_objects(Local(1)) == [(Local, True)]
    assert same_keys(Local(1), Local(1))
    assert not same_keys(Local(1), Local(2))


def test_a_class_that_names_itself_does_not_name_its_objects() -> None:
    class Meta(type):
        def __cache_key__(cls) -> str:
            return cls.__name__

        def __getattr__(cls, name: str) -> Any:
            return lambda *_: name

    one: Any = Meta("One", (), {})
    again: Any = Meta("One", (), {})
    two: Any = Meta("Two", (), {})
    assert same_keys(one, again)
    assert not same_keys(one, two)
    thing = one()
    assert local_objects(thing) == [(thing, True)]
    assert not same_keys(thing, one())


def test_a_cache_key_that_fails_or_does_not_end() -> None:
    class Broken:
        def __cache_key__(self) -> Any:
            raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        _native._key([Broken()])
    itself = Model(None)
    itself.identity = itself
    assert "it contains itself" in refusal(itself)
    assert "it contains itself" in refusal([{"a": itself}])

    class Endless:
        def __cache_key__(self) -> Any:
            return Endless()

    assert "it nests more than 1024 containers" in refusal(Endless())
    assert refusal(Endless()).startswith("argument argument.__cache_key__()")


class Money:
    """Compares by value."""

    def __init__(self, amount: int) -> None:
        self.amount = amount

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Money) and other.amount == self.amount

    def __hash__(self) -> int:
        return hash(self.amount)


def test_other_objects_stay_in_the_process() -> None:
    plain = object()
    money = Money(3)
    assert local_objects([1, plain, {"m": money}]) == [(plain, True), (money, False)]
    assert same_keys(plain, plain)
    assert not same_keys(plain, object())
    assert same_keys(Money(3), Money(3))
    assert not same_keys(Money(3), Money(4))
    assert local_objects([test_named_tuples, sys]) == [(test_named_tuples, True), (sys, True)]
    bound = Model(1).__cache_key__
    assert same_keys(bound, bound.__self__.__cache_key__)  # type: ignore[attr-defined]


def test_a_hash_alone_makes_no_two_objects_equal() -> None:
    assert hash(-1) == hash(-2)
    one, two = Money(-1), Money(-2)
    assert _native._key(one)[0] == _native._key(two)[0]
    assert not same_keys(one, two)
    assert same_keys([one, two], [Money(-1), Money(-2)])
    assert not same_keys([one, two], [two, one])


def test_objects_with_one_hash_keep_their_places() -> None:
    one, two = Money(-1), Money(-2)
    written = {"z": one, "a": two, "m": [one, {"q": two, "b": one}]}
    again = {"m": [Money(-1), {"b": Money(-1), "q": Money(-2)}], "a": Money(-2), "z": Money(-1)}
    exchanged = {"a": Money(-1), "z": Money(-2), "m": [Money(-1), {"b": Money(-1), "q": Money(-2)}]}
    assert _native._key(written)[0] == _native._key(exchanged)[0]
    assert same_keys(written, again)
    assert not same_keys(written, exchanged)
    inner = {**again, "m": [Money(-1), {"q": Money(-1), "b": Money(-2)}]}
    assert not same_keys(written, inner)
    assert [thing.amount for thing, _ in local_objects(written)] == [-2, -1, -1, -2, -1]


class Unequal(Money):
    def __eq__(self, other: object) -> bool:
        raise ZeroDivisionError

    __hash__ = Money.__hash__


def test_what_comparing_raises_goes_on() -> None:
    with pytest.raises(ZeroDivisionError):
        same_keys(Unequal(1), Unequal(1))
    itself = Unequal(1)
    assert same_keys(itself, itself)


class NoHash:
    __hash__ = None  # type: ignore[assignment]


class BadHash:
    def __hash__(self) -> int:
        raise ZeroDivisionError


@pytest.mark.parametrize(
    ("argument", "text"),
    [
        (
            bytearray(),
            "argument argument of function is of type bytearray, which cannot be part of a key: it has no hash",
        ),
        ({"rows": [1, NoHash()]}, 'argument["rows"][1] of function is of type test_keys_encoding.NoHash'),
        (collections.OrderedDict(), "is of type collections.OrderedDict"),
        (collections.defaultdict(list), "give its class a __cache_key__ method"),
        ((1, [memoryview(bytearray(1))]), "argument[1][0]"),
    ],
)
def test_what_cannot_be_part_of_a_key(argument: Any, text: str) -> None:
    assert text in refusal(argument)


def test_what_hashing_raises_goes_on() -> None:
    with pytest.raises(ZeroDivisionError):
        _native._key([BadHash()])


def test_containers_that_change_while_they_are_read() -> None:
    victims: list[Any] = []

    class Vandal:
        def __cache_key__(self) -> Any:
            for victim in victims:
                victim.clear()
                gc.collect()
            return 1

    class Grower(Vandal):
        def __cache_key__(self) -> Any:
            for victim in victims:
                if isinstance(victim, list):
                    victim.extend(["x" * 50] * 100)
                elif isinstance(victim, dict):
                    victim.update((str(number) * 9, [number]) for number in range(200))
                else:
                    victim.update(str(number) * 9 for number in range(200))
            return 1

    for kind in (Vandal, Grower):
        for make in (
            lambda: [kind(), *("y%d" % number * 9 for number in range(20))],
            lambda: {"a": kind(), **{"y%d" % number * 9: [number] for number in range(20)}},
            lambda: {kind(): object(), **{"z%d" % number: "y%d" % number * 9 for number in range(20)}},
            lambda: {kind(), *("y%d" % number * 9 for number in range(20))},
        ):
            victim: Any = make()
            victims[:] = [victim]
            assert "it was changed while it was read" in refusal(victim)
            victim = make()
            victims[:] = [victim]
            assert "it was changed while it was read" in refusal([0, {"inner": victim}])
    victims.clear()


def test_keys_are_the_same_in_every_process() -> None:
    program = "\n".join(
        [
            "import sys, enum, collections",
            f"sys.path[:] = {sys.path!r}",
            "import test_keys_encoding as t",
            "print(t.key([t.Colour.RED, t.Point(1, 2), t.Model({'b', 'a', 'c'}), {'x', 'y', 'z', 1.5}, {'k': {b'1', None}}, int, t.NOON]).hex())",
        ]
    )
    seen = set()
    for seed in ("0", "1", "77"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, check=True, capture_output=True, text=True
        )
        seen.add(done.stdout)
    assert len(seen) == 1


def test_the_main_module_is_another_in_every_program() -> None:
    program = "\n".join(
        [
            "import sys",
            f"sys.path[:] = {sys.path!r}",
            "import enum",
            "from cachekit import _native",
            "class Own: pass",
            "class E(enum.Enum): A = 1",
            "assert _native._key(Own)[1] == [(Own, True)]",
            "assert _native._key(E.A)[1] == [(E, True)]",
        ]
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_nothing_leaks() -> None:
    thing, money = object(), Money(5)
    argument = {"thing": thing, "money": [money, Model((thing, Point(1, Colour.RED)))], "class": (int, Money)}
    failing = [argument, bytearray()]

    def run(times: int) -> None:
        for _ in range(times):
            _native._key(argument)
            same_keys(argument, argument)
            for wrong in (failing, BadHash(), {1: [BadHash()]}):
                try:
                    _native._key(wrong)
                except (TypeError, ZeroDivisionError):
                    pass

    run(20)
    gc.collect()
    blocks, objects = sys.getallocatedblocks(), len(gc.get_objects())
    counts = [sys.getrefcount(part) for part in (thing, money, Money, argument)]
    run(500)
    gc.collect()
    assert [sys.getrefcount(part) for part in (thing, money, Money, argument)] == counts
    assert sys.getallocatedblocks() - blocks < 300
    assert len(gc.get_objects()) - objects < 20


def zone_of(data: Any) -> dt.tzinfo | None:
    if data is None:
        return None
    if "zone" in data:
        return zoneinfo.ZoneInfo(data["zone"])
    offset = dt.timedelta(microseconds=data["offset"])
    return dt.timezone(offset) if data["name"] is None else dt.timezone(offset, data["name"])


def class_of(data: Any, base: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A class that can be imported by the names of a vector."""
    module, qualname = data["module"], data["qualname"]
    if module not in sys.modules:
        monkeypatch.setitem(sys.modules, module, types.ModuleType(module))
    scope: Any = sys.modules[module]
    *outer, name = qualname.split(".")
    for part in outer:
        if not hasattr(scope, part):
            setattr(scope, part, type(part, (), {}))
        scope = getattr(scope, part)
    made = base()
    made.__module__, made.__qualname__ = module, qualname
    monkeypatch.setattr(scope, name, made, raising=False)
    return made


def value_of(data: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    ((kind, content),) = data.items()

    def items(of: Any) -> list[Any]:
        return [value_of(item, monkeypatch) for item in of]

    if kind in ("none", "bool", "str"):
        return content
    if kind in ("list", "tuple", "set", "frozenset"):
        return {"list": list, "tuple": tuple, "set": set, "frozenset": frozenset}[kind](items(content))
    if kind == "int":
        return int(content)
    if kind == "float":
        return struct.unpack(">d", bytes.fromhex(content))[0]
    if kind == "bytes":
        return bytes.fromhex(content)
    if kind == "surrogates":
        return "".join(map(chr, content))
    if kind == "dict":
        return dict(items(pair) for pair in content)
    if kind == "decimal":
        return Decimal(content)
    if kind == "uuid":
        return uuid.UUID(content)
    if kind == "date":
        return dt.date(*content)
    if kind == "time":
        return dt.time(*content["time"], tzinfo=zone_of(content["tz"]), fold=content["fold"])
    if kind == "datetime":
        return dt.datetime(*content["date"], *content["time"], tzinfo=zone_of(content["tz"]), fold=content["fold"])
    if kind == "timedelta":
        return dt.timedelta(**content)
    if kind == "class":
        known = getattr(sys.modules.get(content["module"]), content["qualname"], None)
        return known or class_of(content, lambda: type("Made", (), {}), monkeypatch)
    if kind == "enum":
        return class_of(content["class"], lambda: enum.Enum("Made", content["name"]), monkeypatch)[content["name"]]
    if kind == "namedtuple":
        values = items(content["items"])
        fields = [f"field{number}" for number in range(len(values))]
        return class_of(content["class"], lambda: collections.namedtuple("Made", fields), monkeypatch)(*values)
    if kind == "object":
        part = value_of(content["key"], monkeypatch)
        return class_of(content["class"], lambda: type("Made", (), {"__cache_key__": lambda self: part}), monkeypatch)()
    assert kind == "nested", kind
    nested: list[Any] = []
    for _ in range(content):
        nested = [nested]
    return nested


@pytest.mark.skipif(not VECTORS.exists(), reason="the vectors are not part of a source distribution")
def test_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        row
        for group in json.loads(VECTORS.read_text(encoding="utf-8"))["testGroups"]
        if group["type"] == "KeyHash"
        for row in group["tests"]
    ]
    assert len(rows) > 50
    for row in rows:
        with monkeypatch.context() as patch:
            arguments = tuple(value_of(argument, patch) for argument in row["args"])
            if row["result"] == "invalid":
                assert row["error"] == "argument_unsupported"
                refusal(arguments)
            else:
                encoded = key(arguments)
                assert encoded.hex() == row["encoded"], row["comment"]
                assert hashlib.blake2b(encoded, digest_size=32).hexdigest() == row["hash"]
