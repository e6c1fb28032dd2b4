"""One load for many callers: who waits, who leads, what each of them gets, and what ends a wait."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from typing import Any

import pytest

from cachekit import cache
from conftest import Run
from support import Gate, in_threads, join, park, python_process, wait_until, wait_until_parked


@pytest.mark.parametrize("backend", [None, "memory://"])
def test_64_threads_and_one_load(backend: str | None) -> None:
    gate = Gate()

    @cache(backend=backend, namespace=f"64 threads {backend}")
    def function(x: int) -> list[int]:
        return [gate()]

    threads, results = in_threads(64, lambda: function(1))
    assert gate.entered.acquire(timeout=20)
    park(threads)
    gate.open.set()
    join(threads)
    assert results == [[1]] * 64
    assert gate.calls == 1
    assert len({id(result) for result in results}) == 64
    info = function.cache_info()
    assert (info.loads, info.hits, info.shared) == (1, 63, 63)


def test_256_tasks_and_one_load(run: Run) -> None:
    calls = 0

    @cache(backend=None)
    async def function(x: int) -> list[int]:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0.01)
        return [calls]

    async def main() -> Any:
        return await asyncio.gather(*(function(1) for _ in range(256)))

    results = run(main())
    assert results == [[1]] * 256
    assert calls == 1
    assert len({id(result) for result in results}) == 256


def test_tasks_on_many_loops_and_one_load() -> None:
    calls = []
    go = threading.Event()

    @cache(backend=None)
    async def function() -> list[int]:
        calls.append(1)
        while not go.is_set():
            await asyncio.sleep(0.001)
        return [len(calls)]

    async def main() -> Any:
        return await asyncio.gather(*(function() for _ in range(8)))

    threads, results = in_threads(4, lambda: asyncio.run(main()))
    wait_until(lambda: calls)
    go.set()
    join(threads)
    assert results == [[[1]] * 8] * 4
    assert len(calls) == 1


def test_two_tasks_that_gather_one_key_and_mutate_what_they_got(run: Run) -> None:
    @cache(backend=None)
    async def function() -> dict[str, list[int]]:
        await asyncio.sleep(0)
        return {"a": []}

    async def caller(x: int) -> dict[str, list[int]]:
        value = await function()
        value["a"].append(x)
        return value

    async def main() -> None:
        for _ in range(2):
            assert await asyncio.gather(caller(1), caller(2)) == [{"a": [1]}, {"a": [2]}]
        one, two = await asyncio.gather(function(), function())
        assert one is not two
        assert await function() == {"a": []}

    run(main())


def test_an_awaitable_of_a_hit_gives_each_await_its_own(run: Run) -> None:
    @cache(backend=None)
    async def function() -> list[int]:
        return [1]

    async def main() -> None:
        await function()
        hit = function()
        first = await hit
        first.append(2)
        assert await function() == [1]
        assert await asyncio.wait_for(function(), 5) == [1]
        assert await asyncio.create_task(function()) == [1]
        assert await asyncio.shield(function()) == [1]

    run(main())


def test_a_cancelled_leader_hands_over(run: Run) -> None:
    started = []

    @cache(backend=None)
    async def function() -> int:
        started.append(asyncio.current_task())
        await asyncio.sleep(0.01)
        return len(started)

    async def main() -> None:
        tasks = [asyncio.create_task(function()) for _ in range(5)]
        while not started:
            await asyncio.sleep(0)
        leader = tasks[0]
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        assert await asyncio.gather(*tasks[1:]) == [2] * 4
        assert len(started) == 2
        assert started[1] is not leader
        assert started[1] in tasks

    run(main())


def test_a_cancelled_waiter_harms_nobody(run: Run) -> None:
    calls = []
    go: asyncio.Event

    @cache(backend=None)
    async def function() -> int:
        calls.append(1)
        await go.wait()
        return len(calls)

    async def main() -> None:
        nonlocal go
        go = asyncio.Event()
        tasks = [asyncio.create_task(function()) for _ in range(4)]
        while not calls:
            await asyncio.sleep(0)
        tasks[2].cancel()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(function(), 0.001)
        go.set()
        assert [await tasks[0], await tasks[1], await tasks[3]] == [1, 1, 1]
        assert tasks[2].cancelled()

    run(main())


def test_a_leader_ended_by_a_base_exception_hands_over() -> None:
    gate = Gate()

    class Stop(BaseException): ...

    @cache(backend=None)
    def function() -> int:
        call = gate()
        if call == 1:
            raise Stop
        return call

    threads, results = in_threads(4, function)
    assert gate.entered.acquire(timeout=20)
    park(threads)
    gate.open.set()
    join(threads)
    assert sorted(map(repr, results)) == sorted([repr(Stop())] + ["2"] * 3)


def test_callers_wait_for_a_refresh_that_began_before() -> None:
    gate = Gate()

    @cache(backend=None)
    def function(x: int) -> int:
        return gate()

    refreshing, refreshed = in_threads(1, lambda: function.refresh(1))
    assert gate.entered.acquire(timeout=20)
    calling, called = in_threads(3, lambda: function(1))
    park(refreshing + calling)
    gate.open.set()
    join(refreshing + calling)
    assert refreshed + called == [1, 1, 1, 1]


def test_more_loads_at_once_than_are_noted() -> None:
    gate = Gate()

    @cache(backend=None)
    def function(x: int) -> tuple[int, int]:
        return x, gate()

    groups = [in_threads(2, lambda x=x: function(x)) for x in range(50)]
    threads = [thread for group, _ in groups for thread in group]
    for _ in range(50):
        assert gate.entered.acquire(timeout=20)
    park(threads)
    gate.open.set()
    join(threads)
    assert gate.calls == 50
    for x, (_, (one, other)) in enumerate(groups):
        assert one == other and one[0] == x


@pytest.mark.parametrize("overtake", ["put", "refresh", "invalidate", "cache_clear"])
def test_what_comes_later_is_not_undone_by_a_load_that_began_before(overtake: str) -> None:
    gate = Gate()

    @cache(backend=None)
    def function(x: int) -> int:
        return gate() if overtake != "refresh" or gate.calls == 0 else -1

    threads, results = in_threads(1, lambda: function(1))
    assert gate.entered.acquire(timeout=20)
    if overtake == "put":
        function.put(-1, 1)
    elif overtake == "refresh":
        assert function.refresh(1) == -1
    elif overtake == "invalidate":
        function.invalidate(1)
    else:
        function.cache_clear()
    gate.open.set()
    join(threads)
    assert results == [1]
    assert function.peek(1) == (-1 if overtake in ("put", "refresh") else None)


@pytest.mark.parametrize("overtake", ["invalidate", "cache_clear"])
def test_who_comes_after_an_invalidation_does_not_get_what_was_loaded_before_it(overtake: str) -> None:
    gate = Gate()

    @cache(backend=None)
    def function(x: int) -> int:
        return gate()

    before, old = in_threads(1, lambda: function(1))
    assert gate.entered.acquire(timeout=20)
    if overtake == "invalidate":
        function.invalidate(1)
    else:
        function.cache_clear()
    after, new = in_threads(3, lambda: function(1))
    assert gate.entered.acquire(timeout=20), "they wait for a load that began before"
    park(before + after)
    gate.open.set()
    join(before + after)
    assert (old, new, gate.calls) == ([1], [2, 2, 2], 2)
    assert function.peek(1) == 2


def test_what_is_invalidated_while_it_is_being_stored_is_not_kept() -> None:
    storing, invalidated = threading.Event(), threading.Event()

    class Mutable:
        pass

    def copy(value: Mutable) -> Mutable:
        storing.set()
        assert invalidated.wait(20)
        return value

    @cache(backend=None, copy=copy)
    def function(x: int) -> Mutable:
        return Mutable()

    threads, _ = in_threads(1, lambda: function(1))
    assert storing.wait(20)
    function.invalidate(1)
    invalidated.set()
    join(threads)
    assert function.peek(1) is None


def test_who_comes_while_a_result_is_being_stored_waits_for_it() -> None:
    storing, go_on = threading.Event(), threading.Event()
    calls = []

    class Mutable:
        pass

    def copy(value: Mutable) -> Mutable:
        storing.set()
        assert go_on.wait(20)
        return value

    @cache(backend=None, copy=copy)
    def function(x: int) -> Mutable:
        calls.append(x)
        return Mutable()

    first, results = in_threads(1, lambda: function(1))
    assert storing.wait(20)
    second, more = in_threads(1, lambda: function(1))
    park(first + second)
    go_on.set()
    join(first + second)
    assert len(results + more) == 2 and calls == [1]


WAITER = """
    import sys, threading, time
    from cachekit import cache

    release = threading.Event()
    loading = threading.Event()

    @cache(backend=None)
    def function():
        loading.set()
        release.wait()
        return 1

    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    loading.wait()
    print("ready", flush=True)
    try:
        function()
    except KeyboardInterrupt:
        print("interrupted", time.monotonic(), flush=True)
    release.set()
    thread.join()
    print("value", function(), flush=True)
"""


def test_ctrl_c_in_a_waiter_is_answered_within_100_ms() -> None:
    best = float("inf")
    for _ in range(3):
        with python_process(WAITER) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            wait_until_parked([process.pid], process.pid)
            sent = time.monotonic()
            process.send_signal(signal.SIGINT)
            word, _, moment = process.stdout.readline().partition(" ")
            assert word == "interrupted"
            assert process.stdout.readline() == "value 1\n"
            assert process.wait(20) == 0
            best = min(best, float(moment) - sent)
    assert best < 0.1


def test_a_value_removed_during_its_load_is_returned_and_not_kept() -> None:
    for forget in ("invalidate", "cache_clear"):
        gate = Gate()

        @cache(backend=None)
        def function() -> int:
            return gate()

        threads, results = in_threads(1, function)
        assert gate.entered.acquire(timeout=20)
        getattr(function, forget)()
        gate.open.set()
        join(threads)
        assert results == [1]
        assert function() == 2, forget
