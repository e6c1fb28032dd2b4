"""What calls of an async function give: to await, to resume by hand, to forget."""

from __future__ import annotations

import asyncio
import gc
import sys
import types
import warnings
import weakref
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from cachekit import _native, cache
from conftest import Run


@types.coroutine
def trap(value: object) -> Generator[object, object, object]:
    """Suspends with `value`, and is what it is resumed with."""
    return (yield value)


def finished(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine returns that never suspends."""
    with pytest.raises(StopIteration) as ended:
        coroutine.send(None)
    return ended.value.value


def test_a_raw_coroutine_passes_everything_through() -> None:
    done = []

    @cache.local
    async def function(x: int) -> tuple[object, object]:
        try:
            first = await trap("first")
            try:
                await trap("second")
            except ValueError as error:
                return first, error
            return None, None
        finally:
            done.append(x)

    coroutine = function(1)
    assert coroutine.__name__ == "function"
    with pytest.raises(TypeError, match="just-started"):
        coroutine.send(1)
    assert coroutine.send(None) == "first"
    assert coroutine.send("sent") == "second"
    error = ValueError("thrown")
    with pytest.raises(StopIteration) as ended:
        coroutine.throw(error)
    assert ended.value.value == ("sent", error)
    with pytest.raises(RuntimeError, match="already awaited"):
        coroutine.send(None)
    closed = function(2)
    assert closed.send(None) == "first"
    closed.close()
    dropped = function(3)
    assert dropped.send(None) == "first"
    del dropped
    never = function(4)
    with pytest.warns(RuntimeWarning, match="never awaited"):
        del never
    assert done == [1, 2, 3]


@pytest.mark.parametrize("value", [None, 1, (1, 2), (), KeyError(1), StopIteration(3)], ids=repr)
def test_any_value_travels_through_a_hit(value: object) -> None:
    @cache.local
    async def function() -> object:
        return value

    async def awaited() -> object:
        return await function()

    for _ in range(3):
        assert finished(function()) is value
        assert finished(awaited()) is value
    hit = function()
    assert finished(hit) is value
    assert finished(hit) is value
    with pytest.raises(ZeroDivisionError):
        hit.throw(ZeroDivisionError())
    hit.close()


def test_without_a_loop_only_this_process_is_asked() -> None:
    @cache(backend="memory://", namespace="without a loop")
    async def function(x: int) -> list[int]:
        return [x]

    assert finished(function(1)) == finished(function(1)) == [1]
    assert function.cache_info()[:2] == (1, 1)
    assert finished(function.peek(1)) == [1]
    assert finished(function.invalidate(1)) is True
    assert finished(function.peek(1)) is None


def test_without_a_loop_what_was_invalidated_meanwhile_is_not_kept() -> None:
    @cache(backend=None)
    async def function(x: int) -> list[int]:
        await trap(None)
        return [x]

    overtakes: list[tuple[Callable[[], object], list[int] | None]] = [
        (lambda: finished(function.invalidate(1)), None),
        (function.cache_clear, None),
        (lambda: finished(function.put([2], 1)), [2]),
    ]
    for overtake, left in overtakes:
        call = function(1)
        call.send(None)
        overtake()
        assert finished(call) == [1]
        assert finished(function.peek(1)) == left


def test_its_steps_can_be_yielded_from(run: Run) -> None:
    @cache
    async def function(x: int) -> list[int]:
        await asyncio.sleep(0)
        if x < 0:
            raise ValueError(x)
        return [x]

    class Custom:
        def __init__(self, x: int) -> None:
            self.x = x

        def __await__(self) -> Generator[Any, Any, list[int]]:
            return (yield from function(self.x).__await__())

    async def main() -> None:
        assert [await Custom(1), await Custom(1)] == [[1], [1]]
        with pytest.raises(ValueError):
            await Custom(-1)
        waiting = asyncio.ensure_future(Custom(2))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        for call in (function(1), function(3)):
            with pytest.raises(TypeError, match="not iterable"):
                list(call)  # type: ignore[call-overload]
            call.close()
        hit = asyncio.ensure_future(function(1))
        assert "cached" in repr(hit)
        await hit

    run(main())
    steps = function(1).__await__()
    steps.close()
    with pytest.raises(ZeroDivisionError):
        steps.throw(ZeroDivisionError())


def test_an_awaitable_that_never_began_is_collected() -> None:
    @cache
    async def function(x: object) -> None: ...

    class Argument(list):  # type: ignore[type-arg]
        __hash__ = object.__hash__

    argument = Argument()
    argument.append(function(argument))
    died = weakref.ref(argument)
    del argument
    with pytest.warns(RuntimeWarning, match=r"function' was never awaited"):
        gc.collect()
    assert died() is None


def test_an_awaitable_that_its_function_or_its_own_coroutine_leads_to_is_collected() -> None:
    class Box(list):  # type: ignore[type-arg]
        __hash__ = object.__hash__

    @cache(backend=None)
    async def closed(x: int) -> None: ...

    @cache(backend=None)
    async def suspended(key: int) -> None:
        held = boxes[-1]
        await trap(None)
        held.clear()

    closed.call = closed(1)
    closed.call.close()
    boxes = [Box()]
    boxes[0].append(suspended(1))
    assert boxes[0][0].send(None) is None
    died = [weakref.ref(closed), weakref.ref(boxes[0])]
    del closed
    boxes.clear()
    gc.collect()
    assert [reference() for reference in died] == [None, None]


def test_a_call_is_awaited_once_however_it_ended(run: Run) -> None:
    @cache(backend=None)
    async def function(x: int) -> int:
        return 1 // x

    async def main() -> None:
        ended, failed, thrown, closed = (function(x) for x in (1, 0, 2, 3))
        assert await ended == 1
        with pytest.raises(ZeroDivisionError):
            await failed
        with pytest.raises(KeyError):
            thrown.throw(KeyError())
        closed.close()
        assert (function.cache_info().loads, function.cache_info().load_errors) == (2, 1)
        for call in (ended, failed, thrown, closed):
            for _ in range(3):
                with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
                    await call

    run(main())


def test_who_forgets_to_await_is_told(run: Run) -> None:
    @cache(backend="memory://", namespace=f"forgotten {run}")
    async def function(x: int) -> int:
        return x

    function.__qualname__ = "function"

    def forgotten(make: Callable[[], object]) -> list[tuple[type[Warning], str, str]]:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            make()
        return [(warning.category, str(warning.message), warning.filename) for warning in said]

    for make, name in [
        (lambda: function(1), "function"),
        (lambda: function.refresh(1), "function.refresh"),
        (lambda: function.invalidate(1), "function.invalidate"),
        (lambda: function.put(1, 1), "function.put"),
        (lambda: function.peek(1), "function.peek"),
    ]:
        assert forgotten(make) == [(RuntimeWarning, f"coroutine '{name}' was never awaited", __file__)]
    # As with a coroutine: not when it was closed, nor when it was begun.
    assert forgotten(lambda: function(1).close()) == []
    assert forgotten(lambda: run(function(2))) == []
    # A hit is an answer; nothing is lost with it.
    assert forgotten(lambda: function(2)) == []
    assert function.cache_info().loads == 1


def test_a_cancelled_call_cancels_what_it_awaits(run: Run) -> None:
    seen = []

    @cache
    async def function() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    async def main() -> None:
        task = asyncio.create_task(function())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    run(main())
    assert seen == ["cancelled"]


def test_async_recursion_without_end_is_an_error_and_not_a_crash(run: Run) -> None:
    @cache
    async def endless(n: int) -> int:
        return await endless(n + 1)

    async def main() -> None:
        with pytest.raises(RecursionError):
            await endless(0)

    before = sys.getrecursionlimit()
    try:
        sys.setrecursionlimit(1_000_000)
        run(main())
    finally:
        sys.setrecursionlimit(before)


@pytest.mark.parametrize("kind", [_native.Ready, _native.Awaitable])
def test_awaitables_are_not_made_by_hand(kind: Any) -> None:
    with pytest.raises(TypeError, match="cannot create"):
        kind()
