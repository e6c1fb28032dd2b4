"""A load in which the same function is called again: nobody waits for what waits for it."""

from __future__ import annotations

import asyncio
import signal
import threading
from typing import Any

import pytest

from cachekit import cache
from conftest import Run
from support import in_threads, join


def test_recursion_calls_through() -> None:
    @cache(backend=None)
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(80) == 23416728348467685

    depth = 0

    @cache(backend=None)
    def same_key() -> int:
        nonlocal depth
        depth += 1
        return 1 if depth == 3 else same_key() + 1

    assert same_key() == 3
    assert same_key() == 3
    assert depth == 3


def test_async_recursion_calls_through(run: Run) -> None:
    depth = 0

    @cache(backend=None)
    async def same_key() -> int:
        nonlocal depth
        depth += 1
        await asyncio.sleep(0)
        return 1 if depth == 3 else await same_key() + 1

    assert run(same_key()) == 3


def test_two_functions_that_wait_for_each_other_do_not_hang() -> None:
    barrier = threading.Barrier(2, timeout=10)
    first_time = threading.local()

    def meet() -> None:
        if not getattr(first_time, "met", False):
            first_time.met = True
            barrier.wait()

    @cache(backend=None)
    def one() -> int:
        meet()
        return 1 if getattr(first_time, "inner", None) == "two" else _inner("one", two)

    @cache(backend=None)
    def two() -> int:
        meet()
        return 1 if getattr(first_time, "inner", None) == "one" else _inner("two", one)

    def _inner(name: str, other: Any) -> int:
        first_time.inner = name
        return int(other()) + 1

    threads, results = in_threads(1, one)
    more, more_results = in_threads(1, two)
    join(threads + more)
    assert all(isinstance(result, int) for result in results + more_results)


def test_a_task_that_awaits_a_task_of_its_own_key_does_not_hang(run: Run) -> None:
    @cache(backend=None)
    async def outer(n: int) -> int:
        return n if n == 0 else await asyncio.create_task(outer(n - 1)) + 1

    assert run(outer(20)) == 20


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
def test_a_signal_handler_may_call_the_function_that_it_interrupts() -> None:
    calls = []

    @cache(backend=None)
    def function(x: int) -> int:
        calls.append(x)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGUSR1)
        return x

    results = []
    before = signal.signal(signal.SIGUSR1, lambda *_: results.append(function(1)))
    try:
        assert function(1) == 1
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert results == [1]
    assert calls == [1, 1]


def test_a_destructor_may_call_any_cached_function() -> None:
    @cache(backend=None, max_entries=2, isolation="shared")
    def function(x: int) -> Any:
        return Loud(x)

    class Loud:
        def __init__(self, x: int) -> None:
            self.x = x

        def __del__(self) -> None:
            if self.x < 50:
                function(self.x + 100)

    for x in range(50):
        function(x)
    function.cache_clear()


def test_greenlets_of_one_thread_do_not_wait_for_each_other() -> None:
    greenlet = pytest.importorskip("greenlet").greenlet
    calls = []

    @cache(backend=None)
    def function() -> int:
        calls.append(1)
        if len(calls) == 1:
            second.switch()
        return len(calls)

    results: list[int] = []
    second = greenlet(lambda: results.append(function()))
    first = greenlet(lambda: results.append(function()))
    first.switch()
    while not (first.dead and second.dead):
        for one in (first, second):
            if not one.dead:
                one.switch()
    assert len(results) == 2
    assert len(calls) == 2
