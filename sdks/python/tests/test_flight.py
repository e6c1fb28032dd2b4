"""One load for many callers: who waits, who leads, what each of them gets, and what ends a wait."""

from __future__ import annotations

import asyncio
import builtins
import json
import signal
import subprocess
import sys
import threading
import time
import traceback
from typing import Any

import pytest

from cachekit import _raised, cache
from conftest import Run
from support import python_process, wait_until, wait_until_parked


class Gate:
    """A load that goes on when it is told to."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.open = threading.Event()
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self) -> int:
        with self._lock:
            self.calls += 1
            mine = self.calls
        self.entered.release()
        assert self.open.wait(20)
        return mine


def in_threads(count: int, call: Any) -> tuple[list[threading.Thread], list[Any]]:
    """`count` threads that call, and what came out of each: a result or an exception."""
    results: list[Any] = []

    def body() -> None:
        try:
            results.append(call())
        except BaseException as error:
            results.append(error)

    threads = [threading.Thread(target=body, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads, results


def park(threads: list[threading.Thread]) -> None:
    """Until every thread stands in a wait, the leader in its gate."""
    wait_until_parked([thread.native_id for thread in threads if thread.native_id is not None])


def join(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.join(20)
        assert not thread.is_alive(), "a thread hangs"


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


class Problem(Exception):
    pass


def test_each_waiter_gets_an_exception_of_its_own_chained_to_the_first() -> None:
    gate = Gate()

    @cache(backend=None)
    def function() -> None:
        gate()
        raise Problem("why", 7)

    threads, results = in_threads(16, function)
    assert gate.entered.acquire(timeout=20)
    park(threads)
    gate.open.set()
    join(threads)
    assert [type(result) for result in results] == [Problem] * 16
    assert {result.args for result in results} == {("why", 7)}
    assert len({id(result) for result in results}) == 16
    leaders = [result for result in results if result.__cause__ is None]
    assert len(leaders) == gate.calls == 1
    for result in results:
        assert result.__cause__ is None or result.__cause__ in leaders
        # Nobody's traceback grew by the others'.
        assert len(traceback.extract_tb(result.__traceback__)) <= 4


def test_each_task_gets_an_exception_of_its_own(run: Run) -> None:
    @cache(backend=None)
    async def function() -> None:
        await asyncio.sleep(0.01)
        raise Problem("why")

    async def main() -> Any:
        return await asyncio.gather(*(function() for _ in range(8)), return_exceptions=True)

    results = run(main())
    assert [type(result) for result in results] == [Problem] * 8
    assert len({id(result) for result in results}) == 8
    leaders = [result for result in results if result.__cause__ is None]
    assert len(leaders) == 1
    assert all(result.__cause__ is leaders[0] for result in results if result is not leaders[0])


class Detailed(Exception):
    """Of which `copy.copy` would fail: its `__init__` does not take its `args`."""

    __slots__ = ("code",)

    def __init__(self, one: int, *, code: int) -> None:
        super().__init__(f"text {one}")
        self.code = code
        self.details = [one]


def raised_exceptions() -> list[BaseException]:
    """Of every way in which classes keep what makes their exceptions."""
    try:
        raise Detailed(1, code=2) from KeyError("the cause")
    except Detailed as error:
        detailed = error
    try:
        json.loads("{")
    except ValueError as error:
        decoding = error
    errors: list[BaseException] = [
        detailed,
        decoding,
        Problem("why", 7),
        KeyError("k"),
        OSError(2, "none", "here", None, "there"),
        FileNotFoundError(2, "none", "here"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
        ImportError("no", name="module", path="here"),
        subprocess.CalledProcessError(3, ["command"], b"output"),
        StopAsyncIteration(),
    ]
    if sys.version_info >= (3, 11):
        detailed.add_note("a note")
        errors.append(builtins.ExceptionGroup("several", [ValueError(1), Problem(2)]))
    return errors


@pytest.mark.parametrize("error", raised_exceptions(), ids=lambda error: type(error).__name__)
def test_an_exception_for_another_caller_is_equal(error: BaseException) -> None:
    made = _raised.like(error)
    assert made is not error
    assert type(made) is type(error)
    assert (str(made), made.args, made.__dict__) == (str(error), error.args, error.__dict__)
    for name in dir(error):
        if not name.startswith("__") and not callable(getattr(error, name, None)):
            assert getattr(made, name, None) == getattr(error, name, None)
    if hasattr(error, "__notes__"):
        made.add_note("another")
        assert error.__notes__ == ["a note"]


def test_waiters_get_exceptions_whose_classes_take_other_arguments(run: Run) -> None:
    @cache(backend=None)
    async def function() -> None:
        await asyncio.sleep(0.01)
        raise Detailed(1, code=2)

    async def main() -> Any:
        return await asyncio.gather(*(function() for _ in range(4)), return_exceptions=True)

    results = run(main())
    assert [(type(result), str(result), result.code) for result in results] == [(Detailed, "text 1", 2)] * 4
    assert len({id(result) for result in results}) == 4


def test_an_exception_of_which_there_is_but_one_is_still_raised() -> None:
    class Only(Exception):
        made = 0

        def __new__(cls, *args: object) -> Only:
            if cls.made:
                raise TypeError("there is one already")
            return super().__new__(cls, *args)

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

        def __reduce__(self) -> Any:
            raise TypeError("no copies")

    only = Only("text")
    Only.made = 1
    assert str(_raised.like(only)) == "text"


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
