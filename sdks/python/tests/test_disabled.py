"""Switching caching off: for a thread, for a task and what it starts, for the process."""

from __future__ import annotations

import asyncio
import contextvars
import gc
from typing import Any

import pytest

import cachekit
from cachekit import cache, is_disabled
from support import in_threads, join


def counter() -> Any:
    calls: list[int] = []

    @cache(backend=None)
    def function() -> int:
        calls.append(1)
        return len(calls)

    return function


def test_calls_go_straight_through() -> None:
    function = counter()
    assert function() == 1
    with cachekit.disabled():
        assert is_disabled()
        assert [function(), function()] == [2, 3]
    assert not is_disabled()
    assert function() == 1


def test_blocks_nest() -> None:
    function = counter()
    block = cachekit.disabled()
    with block, block, cachekit.disabled():
        assert [function(), function()] == [1, 2]
    assert [function(), function()] == [3, 3]


def test_an_exception_ends_the_block() -> None:
    with pytest.raises(KeyError), cachekit.disabled():
        raise KeyError
    assert not is_disabled()


def test_another_thread_is_not_concerned_unless_the_process_is() -> None:
    function = counter()
    function()

    def in_thread(call: Any) -> Any:
        threads, results = in_threads(1, call)
        join(threads)
        return results[0]

    with cachekit.disabled():
        assert in_thread(function) == 1
        assert in_thread(lambda: contextvars.copy_context().run(is_disabled)) is False
        context = contextvars.copy_context()
        assert in_thread(lambda: context.run(function)) == 2
    with cachekit.disabled(process=True):
        assert in_thread(function) == 3
        assert function() == 4
    assert in_thread(function) == 1


def test_tasks_inherit_it_and_keep_it() -> None:
    @cache(backend=None)
    async def function() -> int:
        function.calls += 1
        return function.calls

    function.calls = 0

    async def main() -> None:
        assert await function() == 1
        go = asyncio.Event()

        async def later() -> tuple[int, bool]:
            await go.wait()
            return await function(), is_disabled()

        with cachekit.disabled():
            inherited = asyncio.create_task(later())
            assert await function() == 2
        outside = asyncio.create_task(later())
        go.set()
        assert await inherited == (3, True)
        assert await outside == (1, False)

    asyncio.run(main())
    gc.collect()
    assert not is_disabled()


def test_methods_pass_through_as_well() -> None:
    class Thing:
        @cache(backend=None, isolation="shared")
        def method(self) -> object:
            return object()

    thing = Thing()
    assert thing.method() is thing.method()
    with cachekit.disabled():
        assert thing.method() is not thing.method()
