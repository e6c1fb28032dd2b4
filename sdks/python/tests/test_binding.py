"""Which calls are one entry: those that bind the same values to the same parameters, by value and by type."""

from __future__ import annotations

import ctypes
import enum
from collections import namedtuple
from collections.abc import AsyncIterator, Iterator
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import Any
from uuid import UUID

import pytest

from cachekit import CacheKitWarning, NotCacheableError, cache

Both = [pytest.param(None, id="in process"), pytest.param("memory://", id="by encoding")]


def recorder(backend: str | None, name: str) -> Any:
    @cache(backend=backend, namespace=name, l1=backend is None)
    def function(x: Any) -> Any:
        function.calls += 1
        return function.calls

    function.calls = 0
    return function


@pytest.mark.parametrize("backend", Both)
def test_strings_of_every_length(backend: str | None) -> None:
    one = recorder(backend, f"strings {backend}")
    letters = "abcdefghijklmnopqrstuvwxyz" * 3
    texts = [letters[:length] for length in range(70)]
    texts += [text + end for text in texts for end in ("\xe9", "\u20ac", "\U0001f600")]
    first = [one(text) for text in texts]
    assert first == list(range(1, len(texts) + 1))
    assert [one(text.encode().decode()) for text in texts] == first, "equal, but other objects"


def test_strings_with_one_hash_are_told_apart() -> None:
    """Nobody finds such strings, so one is made: its hash is written where the interpreter keeps it."""
    one = recorder(None, "strings with one hash")
    place = 3 * ctypes.sizeof(ctypes.c_void_p)

    def with_hash(text: str, wanted: int) -> str:
        made = text.encode().decode()
        ctypes.c_ssize_t.from_address(id(made) + place).value = wanted
        assert hash(made) == wanted
        return made

    for length in (*range(2, 26), 63, 64, 65):
        text = "x" * length
        assert (one(text), one.peek(text)) == (one.calls, one.calls)
        for at in range(length):
            other = with_hash(text[:at] + "y" + text[at + 1 :], hash(text))
            assert one(other) == one.calls > one(text), (length, at)
            assert one.peek(other) == one.calls


@pytest.mark.parametrize("backend", Both)
def test_integers_of_every_length(backend: str | None) -> None:
    one = recorder(backend, f"integers {backend}")
    ends = [0, *(1 << bits for bits in (1, 15, 29, 30, 31, 32, 59, 60, 61, 62, 63, 64, 89, 90, 91, 120))]
    values = sorted({sign * (end + near) for end in ends for near in (-1, 0, 1) for sign in (1, -1)})
    first = [one(value) for value in values]
    assert first == list(range(1, len(values) + 1))
    assert [one(int(str(value))) for value in values] == first, "equal, but other objects"
    assert [one(value) for value in values] == first


@pytest.mark.parametrize("backend", Both)
def test_calls_that_bind_the_same(backend: str | None) -> None:
    calls = []

    @cache(backend=backend, l1=backend is None, namespace=f"binding {backend}")
    def function(a: int, b: int = 2, *rest: int, c: int = 3, d: int | None = None, **more: int) -> int:
        calls.append((a, b, rest, c, d, more))
        return len(calls)

    same = [
        function(1), function(a=1), function(1, 2), function(1, b=2), function(a=1, b=2), function(b=2, a=1),
        function(1, c=3), function(1, 2, c=3, d=None), function(d=None, c=3, b=2, a=1), function(*[1], b=2),
    ]  # fmt: skip
    assert same == [1] * len(same)
    assert function(1, 2, 3) == 2
    assert function(1, 2, x=3) == 3
    assert function(1, 2, x=3, y=4) == function(1, 2, y=4, x=3) == 4
    assert function(1, 2, c=4) == 5
    assert len(calls) == 5


def test_positional_only_and_keyword_of_the_same_name() -> None:
    calls = []

    @cache(backend=None)
    def function(a: int, /, **more: int) -> int:
        calls.append((a, more))
        return len(calls)

    assert [function(1), function(1, a=2), function(1, a=3), function(1, a=2)] == [1, 2, 3, 2]


def test_arguments_and_keywords_do_not_run_into_each_other() -> None:
    calls = []

    @cache(backend=None)
    def function(*args: Any, **kwargs: Any) -> int:
        calls.append((args, kwargs))
        return len(calls)

    variants = [
        function(), function(1), function((1,)), function(("a", 1)), function(a=1), function("a", 1), function({"a": 1}),
        function(1, 2), function((1, 2)), function(1, (2,)),
    ]  # fmt: skip
    assert variants == list(range(1, len(variants) + 1))


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    RED = 1


Point = namedtuple("Point", "x y")
UTC = timezone.utc
PARIS = timezone(timedelta(hours=1))

DISTINCT: list[tuple[Any, ...]] = [
    (1, 1.0, True, "1", b"1", Decimal(1), Fraction(1), Colour.RED, Level.RED, (1,), [1], {1}, frozenset({1}), None),
    (0, 0.0, -0.0, False, "", b"", None, (), [], {}, set(), frozenset(), Decimal(0), Decimal("-0"), timedelta(0)),
    ([1], [1.0], [True], (1,), (1.0,), (True,), [[1]], [(1,)], ([1],)),
    ({"a": 1}, {"a": 1.0}, {"a": True}, {"a": [1]}, {"a": (1,)}, {"b": 1}, [("a", 1)]),
    ({1: 2}, {1.0: 2}, {True: 2}),
    ({1}, {1.0}, {True}, frozenset({1}), frozenset({1.0})),
    (Decimal("1.0"), Decimal("1.00"), Decimal("1"), 1.0),
    (datetime(2024, 1, 1, 12, tzinfo=UTC), datetime(2024, 1, 1, 13, tzinfo=PARIS), datetime(2024, 1, 1, 12), date(2024, 1, 1)),
    (datetime(2024, 1, 1, 12, fold=0), datetime(2024, 1, 1, 12, fold=1)),
    (time(12), time(12, tzinfo=UTC), time(12, fold=1)),
    (UUID(int=1), str(UUID(int=1)), UUID(int=1).bytes, 1),
    (Point(1, 2), (1, 2), [1, 2]),
    (2**63, 2.0**63, -(2**63), 2**64, 2**64 + 1, 2**200, -(2**200)),
    ("a", "A", "\u00e9", "e\u0301"),
    (int, float, str, list, Colour),
]  # fmt: skip


@pytest.mark.parametrize("backend", Both)
@pytest.mark.parametrize("values", DISTINCT, ids=lambda values: repr(values[0]))
def test_values_that_are_different_entries(backend: str | None, values: tuple[Any, ...]) -> None:
    function = recorder(backend, f"distinct {backend} {values[0]!r}")
    if backend is not None:
        # What has no encoding is known in this process only.
        values = tuple(value for value in values if not isinstance(value, Fraction))
    first = [function(value) for value in values]
    assert first == list(range(1, len(values) + 1))
    assert [function(value) for value in values] == first


@pytest.mark.parametrize("backend", Both)
@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}), ({1, 2, 3}, {3, 2, 1}), ("abc", "".join(["a", "bc"])), (10**20, 10**19 * 10),
        ([1, [2, {"x": (3,)}]], [1, [2, {"x": (3,)}]]), (1.5, 3 / 2), (Decimal("1.50"), Decimal("1.50")), (b"ab", bytes([97, 98])),
    ],
    ids=repr,
)  # fmt: skip
def test_values_that_are_one_entry(backend: str | None, one: Any, two: Any) -> None:
    function = recorder(backend, f"one entry {backend} {one!r}")
    assert function(one) == function(two) == 1


def test_nan_is_one_entry_by_encoding() -> None:
    function = recorder("memory://", "nan")
    assert function(float("nan")) == function(float("nan")) == 1


def test_an_argument_that_changes_after_the_call_does_not_change_the_entry() -> None:
    function = recorder(None, "mutable argument")
    argument = [1]
    assert function(argument) == 1
    argument.append(2)
    assert function(argument) == 2
    assert function([1]) == 1
    assert function([1, 2]) == 2


def test_objects_with_a_key_of_their_own() -> None:
    class User:
        def __init__(self, number: int) -> None:
            self.number = number

        def __cache_key__(self) -> Any:
            return self.number

    function = recorder(None, "own key")
    assert function(User(1)) == function(User(1)) == 1
    assert function(User(2)) == 2


def test_objects_with_neither_are_told_apart_by_identity() -> None:
    class Thing: ...

    function = recorder(None, "identity")
    one, two = Thing(), Thing()
    assert [function(one), function(two), function(one)] == [1, 2, 1]


def test_a_call_that_does_not_fit_the_signature_raises_the_functions_own_error() -> None:
    @cache(backend=None)
    def function(a: int, *, b: int = 0) -> int:
        return a

    def plain(a: int, *, b: int = 0) -> int:
        return a

    plain.__qualname__ = function.__qualname__
    for args, kwargs in [((), {}), ((1, 2), {}), ((1,), {"c": 1}), ((1,), {"a": 1})]:
        with pytest.raises(TypeError) as expected:
            plain(*args, **kwargs)
        with pytest.raises(TypeError) as got:
            function(*args, **kwargs)
        assert str(got.value) == str(expected.value).replace("plain()", got.value.args[0].split("(")[0] + "()")
    for name in ("invalidate", "peek", "cache_key", "refresh"):
        with pytest.raises(TypeError):
            getattr(function, name)(1, 2, 3)


def test_a_parameter_that_is_given_twice_is_an_error_although_the_call_would_be_a_hit() -> None:
    @cache(backend=None)
    def function(first: int, second: int = 0) -> int:
        return first

    @cache(backend=None)
    def takes_more(first: int, **more: int) -> int:
        return first

    assert function(1) == function(first=1) == takes_more(1) == 1
    # Keywords that this place gave last, and others.
    with pytest.raises(TypeError, match="multiple values"):
        function(2, first=1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="multiple values"):
        function(2, second=0, first=1)  # type: ignore[misc]
    with pytest.raises(TypeError, match="multiple values"):
        takes_more(2, first=1)  # type: ignore[misc]


def test_a_keyword_is_known_by_its_letters() -> None:
    @cache(backend=None)
    def named(value: int) -> int:
        return value

    made = "".join(["va", "lue"])
    assert named(1) == named(**{made: 1})
    assert named.cache_info()[:2] == (1, 1)


def test_an_argument_that_cannot_be_part_of_a_key() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __eq__(self, other: object) -> bool:
            return True

    @cache(backend=None, strict=True)
    def strict(x: object) -> int:
        return 1

    with pytest.raises(NotCacheableError, match="argument x") as caught:
        strict(Unhashable())
    assert caught.value.code == "argument_unsupported"


@pytest.mark.parametrize("by_key", [False, True])
def test_what_a_call_uses_up_is_no_key(by_key: bool) -> None:
    async def unused() -> None: ...

    async def unused_too() -> AsyncIterator[int]:
        yield 1

    @cache(**({"key": lambda x: x} if by_key else {}))
    def function(x: object) -> list[int]:
        return list(x) if isinstance(x, Iterator) else []

    numbers = (number for number in [1, 2])
    with pytest.warns(CacheKitWarning, match="can be used only once"):
        assert function(numbers) == [1, 2]
    assert function(numbers) == []
    assert function(iter([1])) == function(map(int, "1")) == [1]
    coroutine = unused()
    function(coroutine)
    coroutine.close()
    function(unused_too())
    assert function.cache_info().currsize == 0


@pytest.mark.parametrize("count", [7, 8, 9, 40])
def test_any_number_of_parameters(count: int) -> None:
    names = [f"p{index}" for index in range(count)]
    scope: dict[str, Any] = {}
    exec(f"def function({', '.join(names)}): return ({', '.join(names)},)", scope)
    function = cache(backend=None)(scope["function"])
    values = list(range(count))
    assert function(*values) == tuple(values)
    assert function(**dict(zip(names, values))) == tuple(values)
    assert function(*values[:5], **dict(zip(names[5:], values[5:]))) == tuple(values)
    assert function.cache_info().misses == 1
    assert function(*values[:-1], **{names[-1]: None}) == (*values[:-1], None)
