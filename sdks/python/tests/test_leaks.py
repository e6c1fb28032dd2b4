"""A million calls and what they leave behind, which is nothing: no memory, no object, no reference, however they end."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import itertools
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cachekit import _native, cache

# Beyond what the allocators keep for themselves; far below what the smallest leak of one kind of call comes to.
BYTES = 384 << 10
BLOCKS = 300
OBJECTS = 20

Work = Callable[[int], object]
Scenario = Callable[[], tuple[Work, list[Any]]]
SCENARIOS: list[Any] = []


def calls(count: int) -> Callable[[Scenario], Scenario]:
    """A scenario gives the work, which is done `count` times, and objects to whom nobody new may refer afterwards."""

    def add(scenario: Scenario) -> Scenario:
        SCENARIOS.append(pytest.param(scenario, count, id=scenario.__name__))
        return scenario

    return add


def resident() -> int:
    """Bytes of this process in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def used() -> tuple[int, int, int]:
    _native.clear_all()
    gc.collect()
    return resident(), sys.getallocatedblocks(), len(gc.get_objects())


def distinct() -> Callable[[int], range]:
    """Numbers that were not given out before."""
    begin = itertools.count(1_000_000, 10_000_000)

    def take(times: int) -> range:
        first = next(begin)
        return range(first, first + times)

    return take


class Key:
    """A key that compares by value, of which every object is another."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __hash__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.value == other.value


@calls(1_000_000)
def hit() -> tuple[Work, list[Any]]:
    key, value = "a key " * 9, object()

    @cache.local(ttl=3600)
    def function(x: object) -> object:
        return value

    def work(times: int) -> None:
        for _ in itertools.repeat(None, times):
            function(key)

    return work, [key, value, function]


@calls(200_000)
def hit_by_keywords() -> tuple[Work, list[Any]]:
    key, default, value = "a key " * 9, "a default " * 9, object()

    @cache.local
    def function(x: object, *, y: object = None, z: object = default) -> object:
        return value

    def work(times: int) -> None:
        for _ in itertools.repeat(None, times // 2):
            function(y=1, x=key)
            function(key)

    return work, [key, value, default, function]


@calls(200_000)
def hit_of_a_method() -> tuple[Work, list[Any]]:
    class Service:
        @cache.local
        def method(self, x: object) -> object:
            return value

    service, key, value = Service(), "a key " * 9, object()

    def work(times: int) -> None:
        bound = service.method
        for _ in itertools.repeat(None, times // 2):
            service.method(key)
            bound(key)

    return work, [service, key, value, Service, Service.method]


@calls(20_000)
def hit_that_is_copied() -> tuple[Work, list[Any]]:
    text = "a text " * 9

    @cache(backend=None)
    def function(x: int) -> Any:
        return {"list": [text, (text, [])], "set": {text}, text: {}, "bytes": bytearray(9)}

    def work(times: int) -> None:
        for _ in range(times):
            function(1)["more"] = []

    return work, [text, function]


@calls(10_000)
def hit_that_is_copied_by_its_kind() -> tuple[Work, list[Any]]:
    @dataclasses.dataclass
    class Record:
        text: str
        items: list[Any]

    class Thing:
        pass

    text, thing = "a text " * 9, Thing()

    @cache(backend=None)
    def record(x: int) -> Record:
        return Record(text, [Record(text, [])])

    @cache(backend=None, isolation="sealed")
    def sealed(x: int) -> list[Any]:
        return [{"a": "text"}]

    @cache(backend=None, immutable=(Thing,))
    def immutable(x: int) -> list[Any]:
        return [thing]

    @cache(backend=None, copy=lambda value: [*value])
    def copied(x: int) -> list[Any]:
        return [thing, Thing]

    def work(times: int) -> None:
        for _ in range(times // 4):
            record(1).items.append(thing)
            sealed(1).append(thing)
            immutable(1).append(thing)
            copied(1).append(thing)

    return work, [text, thing, Thing, Record, record, sealed, immutable, copied]


@calls(10_000)
def hit_by_what_has_no_hash() -> tuple[Work, list[Any]]:
    text, value = "a text " * 9, object()
    thing, argument = Key(1), [text, {"text": (text,)}]

    @cache.local
    def function(x: object, *rest: object, **named: object) -> object:
        return value

    def work(times: int) -> None:
        for _ in range(times):
            function(argument, [thing], named={Key(2)})

    return work, [text, value, argument, thing, Key, function]


@calls(20_000)
def miss_and_eviction() -> tuple[Work, list[Any]]:
    value, numbers = object(), distinct()

    @cache.local(max_entries=64)
    def function(x: Any, *rest: Any) -> Any:
        return [value, x]

    def work(times: int) -> None:
        for number in numbers(times // 4):
            function(number)
            function([number])
            function(Key(number), value)
            function((number, str(number)))

    return work, [value, Key, function]


@calls(6_000)
def objects_that_die() -> tuple[Work, list[Any]]:
    class Service:
        def __init__(self, cycle: bool) -> None:
            self.cycle = self if cycle else None

        @cache.local
        def method(self, x: int) -> object:
            return [value]

        @cache
        @classmethod
        def of_class(cls) -> int:
            return 1

    value = object()

    def work(times: int) -> None:
        for number in range(times):
            service = Service(number % 2 == 0)
            service.method(1)
            service.method(number)
            service.of_class()
            if number % 100 == 0:
                type("Derived", (Service,), {}).of_class()

    return work, [value, Service, Service.method]


@calls(200_000)
def async_hit() -> tuple[Work, list[Any]]:
    value = object()

    @cache.local
    async def function(x: int) -> object:
        return value

    async def main(times: int) -> None:
        for _ in itertools.repeat(None, times):
            await function(1)

    return lambda times: asyncio.run(main(times)), [value, function]


@calls(6_000)
def async_hit_in_tasks() -> tuple[Work, list[Any]]:
    value = object()

    @cache(backend=None)
    async def function(x: int) -> list[Any]:
        return [None]

    @cache.local
    async def shared(x: int) -> object:
        return value

    async def main(times: int) -> None:
        for _ in range(times // 6):
            await asyncio.gather(function(1), shared(1), asyncio.create_task(function(1)), shared(1))
            await asyncio.wait_for(shared(1), 60)
            shared(1)
            function(1)

    return lambda times: asyncio.run(main(times)), [value, function, shared]


@calls(6_000)
def async_miss() -> tuple[Work, list[Any]]:
    value, numbers = object(), distinct()

    @cache.local(max_entries=64)
    async def function(x: Any) -> list[Any]:
        await asyncio.sleep(0)
        return [value]

    async def main(times: int) -> None:
        for number in numbers(times // 3):
            await asyncio.gather(function(number), function(number), function([number]))

    return lambda times: asyncio.run(main(times)), [value, function]


@calls(3_000)
def cancelled_tasks() -> tuple[Work, list[Any]]:
    value, numbers = object(), distinct()

    @cache(backend=None)
    async def function(x: int, value: object) -> None:
        await asyncio.get_running_loop().create_future()

    async def main(times: int) -> None:
        for number in numbers(times // 3):
            tasks = [asyncio.create_task(function(number, value)) for _ in range(3)]
            await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task

    return lambda times: asyncio.run(main(times)), [value, function]


@calls(6_000)
def awaitables_that_are_let_go() -> tuple[Work, list[Any]]:
    value, numbers = object(), distinct()

    @cache(backend=None)
    async def function(x: Any, value: object) -> object:
        await asyncio.sleep(0)
        return value

    def work(times: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for number in numbers(times // 4):
                function(number, value)
                function(number, value).close()
                begun = function(number, value)
                begun.send(None)
                thrown = function(number, value)
                with pytest.raises(ZeroDivisionError):
                    thrown.throw(ZeroDivisionError())

    return work, [value, function]


@calls(10_000)
def functions_that_fail() -> tuple[Work, list[Any]]:
    argument, numbers = "an argument " * 9, distinct()

    class Failure(Exception):
        pass

    failure = Failure("always the same")

    @cache.local
    def function(x: Any, argument: str) -> Any:
        raise Failure(x) if type(x) is int else failure

    @cache.local
    async def coroutine(x: Any, argument: str) -> Any:
        raise Failure(x)

    def work(times: int) -> None:
        for number in numbers(times // 4):
            for key in (number, [number]):
                try:
                    function(key, argument)
                except Failure as error:
                    error.__traceback__ = error.__context__ = None
                try:
                    coroutine(key, argument).send(None)
                except Failure:
                    pass

    return work, [argument, failure, Failure, function, coroutine]


@calls(10_000)
def keys_that_fail() -> tuple[Work, list[Any]]:
    class Failing(Key):
        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

        __hash__ = Key.__hash__

    class Unhashed(Key):
        def __hash__(self) -> int:
            raise ZeroDivisionError

    class Unnamed:
        def __cache_key__(self) -> Any:
            raise ZeroDivisionError

    value = object()
    failing = [Failing(1), Unhashed(1), Unnamed(), [value, Unhashed(1)], {value: Unnamed()}]

    @cache.local
    def function(*keys: object) -> object:
        return value

    function(Failing(1))

    def work(times: int) -> None:
        for _ in range(times // 5):
            for key in failing:
                try:
                    function(key)
                except ZeroDivisionError:
                    pass

    return work, [value, *failing, Failing, Unhashed, Unnamed, function]


@calls(20_000)
def arguments_that_do_not_fit() -> tuple[Work, list[Any]]:
    argument = "an argument " * 9

    @cache.local
    def function(x: object, y: object = 1) -> object:
        return x

    unfit: Any = function

    def work(times: int) -> None:
        for _ in range(times // 4):
            for arguments, named in (
                ((), {}),
                ((argument,) * 3, {}),
                ((argument,), {"x": argument}),
                ((), {"z": argument}),
            ):
                try:
                    unfit(*arguments, **named)
                except TypeError:
                    pass

    return work, [argument, function]


@calls(10_000)
def what_cannot_be_cached() -> tuple[Work, list[Any]]:
    argument, value = bytearray(9), object()

    @cache(backend=None)
    def function(x: object) -> object:
        return [value]

    def work(times: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for _ in range(times // 2):
                function(argument)
                function(1)

    return work, [argument, value, function]


@calls(10_000)
def operations() -> tuple[Work, list[Any]]:
    value, key = object(), Key(1)

    @cache.local(max_entries=16, ttl=60)
    def function(x: Any) -> object:
        return [value]

    def work(times: int) -> None:
        for _ in range(times // 10):
            for x in (1, key):
                function.put([value], x)
                function.peek(x)
                function.refresh(x)
                function.cache_key(1)
                function.invalidate(x)
                function.invalidate(x)
                function(x)
                function.bypass(x)
            _native.advance_clock(61)
            function(1)
            function.cache_clear()
            function.cache_info()

    return work, [value, key, Key, function]


@calls(2_000)
def decorated_functions() -> tuple[Work, list[Any]]:
    value, default = object(), "a default " * 9

    class Service:
        pass

    def work(times: int) -> None:
        for _ in range(times // 4):

            def function(x: object, y: object = default) -> object:
                return value

            async def coroutine(x: object, y: object = default) -> object:
                return value

            for decorated in (cache.local(function), cache(backend=None)(function), cache.local(coroutine)):
                decorated.itself = decorated
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    decorated(1, y=default)
            cache.local(function)([decorated])

    return work, [value, default, Service]


@calls(600)
def threads_that_wait() -> tuple[Work, list[Any]]:
    value, numbers = object(), distinct()

    class Failure(Exception):
        pass

    @cache.local
    def function(x: int, begin: Any) -> object:
        begin.wait()
        if x % 2:
            raise Failure(x)
        return [value]

    def call(number: int, begin: Any) -> None:
        try:
            function(number, begin)
        except Failure:
            pass

    def work(times: int) -> None:
        for number in numbers(times // 3):
            begin = threading.Event()
            threads = [threading.Thread(target=call, args=(number, begin)) for _ in range(3)]
            for thread in threads:
                thread.start()
            begin.set()
            for thread in threads:
                thread.join()

    return work, [value, Failure, function]


@pytest.mark.parametrize(("scenario", "count"), SCENARIOS)
def test_nothing_is_left_of(scenario: Scenario, count: int) -> None:
    work, watched = scenario()
    # What is made once, and what allocators keep.
    work(count // 10)
    growth = []
    for _ in range(3):
        before = used()
        counts = [sys.getrefcount(thing) for thing in watched]
        nothing = sys.getrefcount(None)
        work(count)
        after = used()
        assert [sys.getrefcount(thing) for thing in watched] == counts
        assert sys.getrefcount(None) - nothing < count // 10
        growth.append([now - then for now, then in zip(after, before)])
        # A leak comes again each time; what an allocator takes once does not.
        if all(more < limit for more, limit in zip(growth[-1], (BYTES, BLOCKS, OBJECTS))):
            return
    raise AssertionError(f"bytes, blocks and objects more with {count} calls each: {growth}")
