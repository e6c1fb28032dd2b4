"""The copies that isolate callers from each other, and what entries weigh."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import gc
import sys
import uuid
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings

import native_reference as reference
import value_strategies
from cachekit import CacheKitWarning, cache
from test_values import PARIS, Lock, MyList, Point, classify, copy_tree, nested, weigh


class Colour(enum.Enum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (None, "immutable"),
        ("x", "immutable"),
        (1j, "immutable"),
        (range(3), "immutable"),
        (Colour.RED, "immutable"),
        (int, "immutable"),
        (len, "immutable"),
        (dt.datetime(2024, 1, 1, tzinfo=PARIS), "immutable"),
        (Decimal(1), "immutable"),
        (uuid.UUID(int=1), "immutable"),
        ((), "immutable"),
        ((1, ("a", frozenset([2]))), "immutable"),
        ([], "flat"),
        ({}, "flat"),
        (set(), "flat"),
        (bytearray(), "flat"),
        ({"a": 1.5, "b": (1, ("x",))}, "flat"),
        ([1, Colour.RED], "flat"),
        ([()], "flat"),
        ([[]], "tree"),
        ((1, []), "tree"),
        ({"a": [{1, 2}], (1, 2): ()}, "tree"),
        (Lock(), "other"),
        ([Lock()], "other"),
        ({Lock(): 1}, "other"),
        ((1, Lock()), "other"),
        ({Lock()}, "other"),
        (frozenset([Lock()]), "other"),
        (MyList(), "other"),
        (Point(1, 2), "immutable"),
        (Point(1, [2]), "rich"),
        (collections.OrderedDict(), "rich"),
    ],
)
def test_classification(value: Any, shape: str) -> None:
    assert classify(value) == shape


def test_sharing_and_cycles_are_not_trees() -> None:
    part: list[Any] = []
    assert classify([part, part]) == "other"
    assert classify({"a": part, "b": (part,)}) == "other"
    loop: list[Any] = []
    loop.append(loop)
    assert classify(loop) == "other"
    assert classify([loop]) == "other"
    holder: Any = ([],)
    holder[0].append(holder)
    assert classify(holder) == "other"
    assert classify(([part], [part])) == "other"
    twice = (1, ("a", 2))
    assert classify([twice, twice, {"k": twice}]) == "tree"
    many: list[Any] = [[] for _ in range(100)]
    assert classify(many) == "tree"
    assert classify([*many, many[50]]) == "other"
    wide: Any = ()
    for _ in range(100):
        wide = (wide, wide)
    assert classify(wide) == "immutable"
    assert classify(nested(1024)) == "tree"
    assert classify(nested(1025)) == "other"


def containers(value: Any) -> list[Any]:
    if isinstance(value, (list, tuple)):
        return ([] if isinstance(value, tuple) else [value]) + [part for item in value for part in containers(item)]
    if isinstance(value, dict):
        return [value] + [part for item in value.values() for part in containers(item)]
    return [value] if isinstance(value, set) else []


@settings(max_examples=300, deadline=None)
@given(value_strategies.values)
def test_a_copy_is_equal_and_shares_nothing_that_can_change(value: Any) -> None:
    copied = copy_tree(value)
    assert reference.same(copied, value)
    assert not {id(part) for part in containers(value)} & {id(part) for part in containers(copied)}
    if classify(value) == "immutable":
        assert copied is value


def test_copies_share_immutable_parts() -> None:
    fixed, name = (1, ("a", frozenset([1.5]))), "some text that is not interned"
    value = {"fixed": fixed, "name": name, "rows": [(1, [2]), fixed], "raw": bytearray(b"x")}
    copied = copy_tree(value)
    assert copied == value
    assert copied["fixed"] is fixed
    assert copied["name"] is name
    assert copied["rows"] is not value["rows"]
    assert copied["rows"][0] is not value["rows"][0]  # type: ignore[index]
    assert copied["rows"][1] is fixed
    assert copied["raw"] is not value["raw"]
    assert list(copied) == list(value)


def test_the_dict_of_an_instance_is_copied() -> None:
    thing = Lock()
    thing.items = [1]  # type: ignore[attr-defined]
    copied = copy_tree(vars(thing))
    copied["items"].append(2)
    copied["more"] = 1
    assert vars(thing) == {"items": [1]}


def deep_size(value: Any) -> int:
    if isinstance(value, dict):
        return sys.getsizeof(value) + sum(deep_size(key) + deep_size(item) for key, item in value.items())
    if isinstance(value, (list, tuple, set, frozenset, collections.deque)):
        return sys.getsizeof(value) + sum(map(deep_size, value))
    return sys.getsizeof(value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: "x" * 10000,
        lambda: "é€" * 10000,
        lambda: b"x" * 100000,
        lambda: 3**100000,
        lambda: [float(number) for number in range(10000)],
        lambda: {str(number): float(number) for number in range(3000)},
        lambda: {float(number) for number in range(3000)},
        lambda: [{"a": number + 0.5, "b": "x" * (number % 90)} for number in range(5000)],
        lambda: [[number / 3] * (number % 7) for number in range(30000)],
        lambda: {number: [b"%d" % number * 20] for number in range(400)},
        lambda: collections.OrderedDict((number, [b"%d" % number * 20]) for number in range(4000)),
        lambda: collections.defaultdict(list, {str(number): [number / 3] for number in range(4000)}),
        lambda: collections.Counter(f"the word {number}" for number in range(4000)),
        lambda: collections.deque([number / 3] * 5 for number in range(4000)),
    ],
)
def test_weights_are_close(make: Any) -> None:
    value = make()
    classify(value)
    assert 0.5 < weigh(value) / deep_size(value) < 2


def test_weights_are_bounded_and_see_into_objects() -> None:
    class Row:
        def __init__(self) -> None:
            self.payload = bytearray(50000)

    assert weigh(Row()) > 50000
    assert weigh(Lock) < 1000
    assert weigh(sys) < 1000
    loop: list[Any] = []
    loop.append(loop)
    assert weigh(loop) < 1000
    assert weigh([[0.5] * 300 for _ in range(300)]) > 300 * 300 * 8


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="nothing runs in the middle of an allocation")
def test_a_result_that_changes_while_it_is_copied_still_reaches_its_caller() -> None:
    made: list[list[list[int]]] = []

    def change(phase: str, _: object) -> None:
        if made and phase == "start":
            made[0].clear()

    @cache(backend=None)
    def function(n: int) -> list[list[int]]:
        result = [[number] for number in range(n)]
        made.append(result)
        return result

    gc.callbacks.append(change)
    try:
        with pytest.warns(CacheKitWarning, match="copying it raised RuntimeError"):
            result = function(10_000)
    finally:
        gc.callbacks.remove(change)
    assert result is made[0]
    assert function.cache_info().currsize == 0
