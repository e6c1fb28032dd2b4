"""No change that a caller makes to its value reaches anybody, however many get one at once."""

from __future__ import annotations

import asyncio
import collections
import copy
import gc
import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import native_reference as reference
import value_strategies
from cachekit import cache
from conftest import Run
from support import Gate, in_threads, join, park
from test_copies import COLLECTIONS, Box, Opaque, Pair, Point, Row, copied


def change(value: Any) -> None:
    """Changes whatever can be changed in a value."""
    if isinstance(value, list):
        for item in value:
            change(item)
        value.append("changed")
    elif isinstance(value, tuple):
        for item in value:
            change(item)
    elif isinstance(value, collections.deque):
        for item in value:
            change(item)
        value.append("changed")
    elif isinstance(value, dict):
        for item in value.values():
            change(item)
        value["changed"] = 1
    elif isinstance(value, set):
        value.add("changed")
    elif isinstance(value, (Row, Box, Point)):
        for item in vars(value).values():
            change(item)
        if not isinstance(value, Point):
            vars(value)["changed"] = 1


rich = st.recursive(
    value_strategies.leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(Row, st.text(max_size=3), st.lists(inner, max_size=2))
        | st.builds(Point, inner, inner)
        | st.builds(Box, inner)
        | st.builds(Pair, inner, inner)
        | st.lists(inner, max_size=3).map(collections.deque)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3).map(collections.OrderedDict)
        | st.builds(collections.defaultdict, st.just(list), st.dictionaries(st.text(max_size=3), inner, max_size=3))
        | st.dictionaries(st.text(max_size=3), st.integers(), max_size=3).map(collections.Counter)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(rich)
def test_a_change_reaches_no_other_caller(value: Any) -> None:
    pristine = repr(value)
    decorated = cache(backend=None)(lambda: value)
    loaded = decorated()
    assert loaded is value
    change(loaded)
    for _ in range(3):
        got = decorated()
        assert repr(got) == pristine
        change(got)
    assert decorated.cache_info().misses == 1


@settings(max_examples=100, deadline=None)
@given(value_strategies.values)
def test_a_change_reaches_no_other_caller_of_what_is_sealed(value: Any) -> None:
    pristine = copied(value)
    decorated = cache(backend=None, isolation="sealed")(lambda: value)
    change(decorated())
    for _ in range(2):
        got = decorated()
        assert reference.same(got, pristine)
        change(got)


@pytest.mark.parametrize(
    "options", [{}, {"copy": copy.deepcopy}, {"isolation": "sealed"}], ids=["copy", "own", "sealed"]
)
def test_tasks_that_gather_one_key_share_nothing(options: Any, run: Run) -> None:
    async def main() -> None:
        begin = asyncio.Event()

        @cache(backend=None, **options)
        async def function() -> Any:
            await begin.wait()
            return {"rows": [[1], [2]]}

        async def call() -> Any:
            return await function()

        tasks = [asyncio.ensure_future(call()) for _ in range(4)]
        await asyncio.sleep(0)
        begin.set()
        flown = await asyncio.gather(*tasks)
        found = await asyncio.gather(function(), function(), function())
        info = function.cache_info()
        assert (info.loads, info.shared, info.l1_hits) == (1, 3, 3)
        values = [*flown, *found]
        parts = [id(part) for value in values for part in (value, value["rows"], *value["rows"])]
        assert len(set(parts)) == len(parts)

    run(main())


def test_threads_that_wait_for_one_load_share_no_record() -> None:
    gate = Gate()

    @cache(backend=None)
    def function() -> Row:
        return Row("a", ["b"] * gate())

    threads, got = in_threads(3, function)
    assert gate.entered.acquire(timeout=20)
    park(threads)
    gate.open.set()
    join(threads)
    got.append(function())
    assert len({id(row) for row in got}) == len({id(row.tags) for row in got}) == 4
    assert function.cache_info().loads == 1


def test_references_are_balanced() -> None:
    shared = [object(), "text that is not interned", Opaque()]
    value = {"row": Row(shared[1], [shared[1]]), "pair": Pair([1], shared[1]), "point": Point([shared[1]])}  # type: ignore[list-item, arg-type]
    value["collections"] = [make([shared[1]]) for make in COLLECTIONS]
    decorated = cache(backend=None, immutable=Opaque)(lambda: [value, shared[2]])
    decorated()
    gc.collect()
    before = [sys.getrefcount(thing) for thing in (*shared, Row, Pair, Point)]
    for _ in range(100):
        decorated()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in (*shared, Row, Pair, Point)] == before
