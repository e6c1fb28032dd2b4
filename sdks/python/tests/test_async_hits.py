"""A hit of an `async def`, in everything that takes a coroutine."""

from __future__ import annotations

import asyncio
import collections.abc
import gc
import inspect
import threading
import traceback
import types
import warnings
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from cachekit import cache
from conftest import Run
from support import in_threads, join

Make = Callable[[], Any]
Way = Callable[[Make], Coroutine[Any, Any, Any]]
WAYS: list[Any] = []


def way(function: Way) -> Way:
    WAYS.append(pytest.param(function, id=function.__name__))
    return function


@way
async def awaited(make: Make) -> Any:
    return await make()


@way
async def gathered(make: Make) -> Any:
    one, two, three = await asyncio.gather(make(), make(), make(), return_exceptions=True)
    assert one == two == three
    return one


@way
async def waited_for(make: Make) -> Any:
    return await asyncio.wait_for(make(), 60)


@way
async def waited(make: Make) -> Any:
    tasks = [asyncio.create_task(make()) for _ in range(3)]
    done, pending = await asyncio.wait(tasks)
    assert (len(done), len(pending)) == (3, 0)
    return done.pop().result()


@way
async def as_a_task(make: Make) -> Any:
    task = asyncio.create_task(make())
    assert not task.done()
    assert repr(task)
    return await task


@way
async def as_an_eager_task(make: Make) -> Any:
    factory = getattr(asyncio, "eager_task_factory", None)
    loop = asyncio.get_running_loop()
    if factory is None or not isinstance(loop, asyncio.BaseEventLoop):
        pytest.skip("eager tasks came with 3.12, and are asyncio's own")
    loop.set_task_factory(factory)
    task = asyncio.create_task(make())
    assert task.done()
    return await task


@way
async def in_a_group(make: Make) -> Any:
    group = getattr(asyncio, "TaskGroup", None)
    if group is None:
        pytest.skip("groups of tasks came with 3.11")
    async with group() as tasks:
        task = tasks.create_task(make())
        tasks.create_task(make())
    return task.result()


@way
async def under_a_timeout(make: Make) -> Any:
    timeout = getattr(asyncio, "timeout", None)
    if timeout is None:
        pytest.skip("timeouts as contexts came with 3.11")
    async with timeout(60):
        return await make()


@way
async def shielded(make: Make) -> Any:
    return await asyncio.shield(make())


@way
async def as_completed(make: Make) -> Any:
    (result,) = [await next_one for next_one in asyncio.as_completed([make()])]
    return result


@way
async def ensured(make: Make) -> Any:
    return await asyncio.ensure_future(make())


@way
async def from_another_thread(make: Make) -> Any:
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: asyncio.run_coroutine_threadsafe(make(), loop).result(60))


@way
async def by_an_async_generator(make: Make) -> Any:
    async def generate() -> Any:
        yield await make()

    (result,) = [item async for item in generate()]
    return result


@way
async def by_steps(make: Make) -> Any:
    class Custom:
        def __await__(self) -> Any:
            return (yield from make().__await__())

    return await Custom()


@way
async def by_a_generator(make: Make) -> Any:
    @types.coroutine
    def generator() -> Any:
        return (yield from make().__await__())

    return await generator()


@way
async def by_anyio(make: Make) -> Any:
    anyio = pytest.importorskip("anyio")
    results = []

    async def keep() -> None:
        results.append(await make())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(make)
        tasks.start_soon(keep)
    return results[0]


# What all may share, what each gets a copy of, and what a hit could be taken for.
VALUES = pytest.mark.parametrize(
    "value",
    [1, None, [1, [2]], (), ValueError("a value"), StopIteration(1)],
    ids=["int", "none", "list", "tuple", "error", "stop"],
)


@VALUES
@pytest.mark.parametrize("way", WAYS)
def test_a_hit_is_awaited_as_a_coroutine_is(way: Way, value: object, run: Run) -> None:
    isolation: Any = "shared" if isinstance(value, Exception) else "copy"

    @cache(backend=None, isolation=isolation)
    async def function() -> object:
        return value

    async def main() -> None:
        await function()
        result = await way(function)
        assert result == value
        assert (result is value) == (not isinstance(value, list))

    run(main())
    assert function.cache_info().loads == 1


def test_a_miss_is_a_coroutine_too() -> None:
    @cache.local
    async def function() -> None: ...

    miss = function()
    assert inspect.iscoroutine(miss)
    assert asyncio.iscoroutine(miss)
    assert isinstance(miss, collections.abc.Coroutine)
    miss.close()


@VALUES
def test_what_a_hit_is(value: object) -> None:
    @cache.local
    async def function() -> object:
        return value

    with pytest.raises(StopIteration):
        function().send(None)
    hit = function()
    for kind in (Awaitable, Coroutine, collections.abc.Coroutine):
        assert isinstance(hit, kind)
    assert not isinstance(hit, (collections.abc.Iterable, collections.abc.AsyncIterable, collections.abc.Generator))
    assert inspect.isawaitable(hit)
    assert inspect.iscoroutine(hit)
    assert isinstance(hit, types.CoroutineType)
    assert asyncio.iscoroutine(hit)
    assert inspect.iscoroutinefunction(function)
    assert hit.__name__
    assert hit.__qualname__
    # Sent, thrown at and closed in any order, it ends with its value whenever it is resumed.
    for _ in range(2):
        for sent in (None, 1):
            with pytest.raises(StopIteration) as ended:
                hit.send(sent)
            assert ended.value.value is value
        for thrown in ((KeyError,), (KeyError("text"),), (KeyError, "text", None), (KeyError, KeyError("text"))):
            with warnings.catch_warnings():
                # As exceptions were thrown before 3.12.
                warnings.simplefilter("ignore", DeprecationWarning)
                with pytest.raises(KeyError):
                    hit.throw(*thrown)
        hit.close()


def test_a_hit_on_any_loop_on_several_at_once_and_without_one() -> None:
    value = object()

    @cache.local
    async def function() -> object:
        return value

    assert asyncio.run(function()) is value
    hit = function()
    for _ in range(2):
        loop = asyncio.new_event_loop()
        try:
            assert loop.run_until_complete(hit) is value
            assert loop.run_until_complete(loop.create_task(hit)) is value
        finally:
            loop.close()
    assert asyncio.run(hit) is value

    async def made_here_and_awaited_there() -> None:
        made = function()
        loop = asyncio.get_running_loop()
        assert await loop.run_in_executor(None, lambda: asyncio.run(made)) is await made is value

    asyncio.run(made_here_and_awaited_there())
    begin = threading.Barrier(4, timeout=20)

    async def many() -> list[bool]:
        return [await hit is value is (await asyncio.create_task(hit)) for _ in range(200)]

    def run() -> list[bool]:
        begin.wait()
        return asyncio.run(many())

    threads, results = in_threads(4, run)
    join(threads)
    assert results == [[True] * 200] * 4
    assert function.cache_info().loads == 1


def test_one_hit_in_many_tasks_of_which_some_are_cancelled(run: Run) -> None:
    value = object()

    @cache.local
    async def function() -> object:
        return value

    async def main() -> None:
        await function()
        hit = function()
        tasks = [asyncio.create_task(hit) for _ in range(10)]
        for task in tasks[::2]:
            task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(result) for result in ended] == [asyncio.CancelledError, object] * 5
        assert await hit is await hit is value

    run(main())


def test_a_hit_leaves_nothing_behind_but_keeps_its_value() -> None:
    class Value:
        pass

    @cache.local
    async def function() -> Value:
        return Value()

    asyncio.run(function())
    gc.collect()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            function()
        gc.collect()
    hit = function()
    died = weakref.ref(asyncio.run(hit))
    function.cache_clear()
    # It was a hit when it was asked for, whatever comes after.
    assert asyncio.run(hit) is died()
    del hit
    gc.collect()
    assert died() is None


def test_tracebacks_of_hits_do_not_grow() -> None:
    """Where a value travels in an exception, nobody sees what another has done to that."""

    @cache.local
    async def function() -> int:
        return 1

    asyncio.run(function())
    hit = function()
    seen = []
    for _ in range(5):
        for resume in (lambda: hit.send(None), lambda: next(hit.__await__())):
            try:
                resume()
            except StopIteration as ended:
                seen.append((_frames(ended), ended.__context__, ended.__cause__, ended.value))
                ended.__cause__ = KeyError()
                ended.value = 2
    assert set(seen) == {(2, None, None, 1)}


def _frames(error: BaseException) -> int:
    return sum(1 for _ in traceback.walk_tb(error.__traceback__))


SPOILS: dict[str, Callable[[StopIteration], object]] = {
    "caught": lambda end: None,
    "kept": lambda end: KEPT.append(end),
    "kept without its traceback": lambda end: KEPT.append(end.with_traceback(None)),
    "without its traceback": lambda end: end.with_traceback(None),
    "value": lambda end: (end.with_traceback(None), setattr(end, "value", 2)),
    "arguments": lambda end: (end.with_traceback(None), setattr(end, "args", (2,))),
    "more arguments": lambda end: (end.with_traceback(None), setattr(end, "args", (1, 2))),
    "cause": lambda end: (end.with_traceback(None), setattr(end, "__cause__", KeyError())),
    "cause, not shown": lambda end: (
        end.with_traceback(None),
        setattr(end, "__cause__", KeyError()),
        setattr(end, "__suppress_context__", False),
    ),
    "context": lambda end: (end.with_traceback(None), setattr(end, "__context__", KeyError())),
    "suppressed": lambda end: (end.with_traceback(None), setattr(end, "__suppress_context__", True)),
    "attribute": lambda end: (end.with_traceback(None), setattr(end, "mine", 2)),
    "note": lambda end: (end.with_traceback(None), setattr(end, "__notes__", ["mine"])),
}
KEPT: list[StopIteration] = []


@pytest.mark.parametrize("spoil", SPOILS.values(), ids=SPOILS)
@pytest.mark.parametrize("value", [1, (1, 2), (), KeyError(1), StopIteration(1)], ids=repr)
def test_nobody_sees_what_was_done_to_the_end_of_a_hit(value: Any, spoil: Callable[[StopIteration], object]) -> None:
    """Where an awaitable ends with an exception, it may be the same one each time, as long as nobody can tell."""

    @cache.local
    async def function() -> Any:
        return value

    async def often() -> None:
        for _ in range(3):
            assert await function() is value

    asyncio.run(often())
    KEPT.clear()
    for _ in range(4):
        try:
            next(function())  # type: ignore[call-overload]
        except StopIteration as end:
            state = (
                end.value,
                end.args,
                end.__cause__,
                end.__context__,
                end.__suppress_context__,
                hasattr(end, "mine"),
            )
            assert state == (value, (value,), None, None, False, False)
            assert (_frames(end), getattr(end, "__notes__", [])) == (1, [])
            assert not any(end is kept for kept in KEPT)
            spoil(end)
        asyncio.run(often())
    KEPT.clear()


def test_an_end_that_is_used_again_keeps_nothing_alive() -> None:
    class Value:
        pass

    @cache.local
    async def function() -> Value:
        return Value()

    async def often() -> None:
        for _ in range(5):
            await function()

    asyncio.run(often())
    died = weakref.ref(asyncio.run(function()))
    asyncio.run(often())
    function.cache_clear()
    gc.collect()
    assert died() is None


def test_trio() -> None:
    trio = pytest.importorskip("trio")

    @cache.local
    async def function(x: int) -> int:
        return x

    async def main() -> None:
        assert await function(1) == await function(1) == 1
        async with trio.open_nursery() as nursery:
            nursery.start_soon(function, 1)

    trio.run(main)
    assert trio.run(function, 1) == 1
    assert function.cache_info().loads == 1
