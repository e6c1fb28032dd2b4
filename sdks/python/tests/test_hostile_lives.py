"""Values, keys and receivers that die, come back to life or change what they are while the cache holds them."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from cachekit import _native, cache
from hostile import Act, Compared, acts_on, finished, in_threads
from support import wait_until

pytestmark = pytest.mark.usefixtures("eager_threads")


@pytest.mark.parametrize("leave", ["evicted", "cleared", "invalidated", "replaced", "expired"])
@pytest.mark.parametrize("who", ["a key", "a value", "a weak reference"])
def test_what_leaves_comes_back_into_the_cache(leave: str, who: str) -> None:
    act = Act()

    class Dying:
        def __init__(self, value: int) -> None:
            self.value = value
            if who == "a weak reference":
                watches.append(weakref.ref(self, lambda _: act()))

        def __hash__(self) -> int:
            return hash(self.value)

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Dying) and self.value == other.value

        def __del__(self) -> None:
            if who != "a weak reference":
                act()

    watches: list[Any] = []

    @cache.local(max_entries=4, ttl=60)
    def function(key: Any) -> Any:
        return Dying(key) if who == "a value" else key if type(key) is int else key.value

    def call(number: int) -> int:
        key = number if who == "a value" else Dying(number)
        result = function(key)
        return getattr(result, "value", result)  # type: ignore[no-any-return]

    leaving: dict[str, Callable[[], object]] = {
        "evicted": lambda: [call(number) for number in range(10, 20)],
        "cleared": function.cache_clear,
        "invalidated": lambda: [function.invalidate(1 if who == "a value" else Dying(1)) for _ in range(2)],
        "replaced": lambda: function.put(None, 1 if who == "a value" else Dying(1)),
        "expired": lambda: [_native.advance_clock(61), call(1)],
    }
    for hostile in acts_on(function, lambda value: value):
        act.act = None
        function.cache_clear()
        assert call(1) == 1
        act.act, act.calls = hostile, 0
        leaving[leave]()
        # What has expired may be released by the thread that sweeps.
        wait_until(lambda: act.calls > 0)
        act.act = None
        assert function.cache_info().currsize <= 4
        function.cache_clear()
        assert [call(1), call(2), call(1)] == [1, 2, 1]


def test_values_that_leave_on_many_threads() -> None:
    alive: weakref.WeakSet[Any] = weakref.WeakSet()

    class Value:
        def __init__(self, number: int) -> None:
            self.number = number
            alive.add(self)

        def __del__(self) -> None:
            if self.number < 50:
                function(self.number + 50)
            else:
                function.invalidate(self.number - 50)

    @cache.local(max_entries=8)
    def function(number: int) -> Value:
        return Value(number)

    def work(number: int) -> None:
        for turn in range(150):
            wanted = (turn * 7 + number) % 100
            assert function(wanted).number == wanted
            if turn % 50 == 0:
                function.cache_clear()

    in_threads(work)
    assert function.cache_info().currsize <= 8
    while function.cache_info().currsize:
        function.cache_clear()
    gc.collect()
    function.cache_clear()


def test_the_receiver_of_a_method_is_itself_and_nothing_else() -> None:
    def fail(*arguments: object) -> Any:
        raise AssertionError("nobody asks the receiver")

    class Service:
        __eq__ = __ne__ = __hash__ = __bool__ = __len__ = __reduce__ = __repr__ = __getattr__ = fail  # type: ignore[assignment]

        @cache.local
        def method(self, x: int) -> tuple[int, int]:
            return id(self), x

    class Other(Service):
        def __cache_key__(self) -> str:
            return "other"

    services = [Service() for _ in range(3)]
    for _ in range(2):
        assert [service.method(1) for service in services] == [(id(service), 1) for service in services]
    services[0].__class__ = Other
    assert services[0].method(1) == (id(services[0]), 1)
    services[1].__class__ = Other
    assert services[1].method(1) == (id(services[0]), 1)
    services[1].__class__ = Service
    assert services[1].method(1) == (id(services[1]), 1)
    del services[0]
    services.clear()


def test_the_receiver_dies_during_its_call() -> None:
    class Service:
        @cache.local
        def method(self, x: int) -> int:
            calls.append(x)
            holders.clear()
            gc.collect()
            return x

    calls: list[int] = []
    holders: list[Any] = []

    def call(x: int) -> int:
        holders.append(Service())
        return holders[0].method(x)  # type: ignore[no-any-return]

    assert [call(number % 3) for number in range(30)] == [number % 3 for number in range(30)]
    assert len(calls) == 30
    gc.collect()
    assert Service.method.cache_info().currsize == 0


@pytest.mark.parametrize("way", ["counted", "collected", "collected by another"])
def test_a_finaliser_that_calls_a_method_leaves_nothing_for_the_next_object(way: str) -> None:
    class Service:
        def __init__(self, tag: object) -> None:
            self.tag = tag
            self.held: Any = None

        @cache.local
        def method(self, x: int) -> object:
            return self.tag

        if way != "collected by another":

            def __del__(self) -> None:
                self.last()

        def last(self) -> None:
            assert self.method(1) is self.tag
            Service.method.put("put", self, 2)
            finished(self.later(1))

        @cache.local
        async def later(self, x: int) -> object:
            return self.tag

    class Holder:
        def __init__(self, service: Service) -> None:
            self.service = service

        def __del__(self) -> None:
            self.service.last()

    for number in range(10):
        service = Service(number)
        if way != "counted":
            service.held = Holder(service) if way == "collected by another" else service
        if number % 2:
            service.method(1)
        del service
        gc.collect()
        assert [Service.method.cache_info().currsize, Service.later.cache_info().currsize] == [0, 0]
        # Some of these are where the former was.
        services = [Service(object()) for _ in range(8)]
        for service in services:
            assert service.method(1) is service.tag
            assert Service.method.peek(service, 2) is None
            assert finished(service.later(1)) is service.tag
        services.clear()


def test_receivers_that_come_back_to_life() -> None:
    class Phoenix:
        @cache.local
        def method(self, x: int) -> object:
            return object()

        def __del__(self) -> None:
            self.before = self.method(1)
            risen.append(self)

    risen: list[Any] = []
    for cycle in (False, True):
        phoenix: Any = Phoenix()
        phoenix.itself = phoenix if cycle else None
        first = phoenix.method(1)
        del phoenix
        gc.collect()
        (phoenix,) = risen
        again = phoenix.method(1)
        assert again is phoenix.method(1)
        assert cycle is False or again is not first
        assert Phoenix.method.cache_info().currsize == 1
        risen.clear()
        phoenix.itself = None
        del phoenix
        gc.collect()
        risen.clear()
        assert Phoenix.method.cache_info().currsize == 0


def test_methods_on_many_threads_while_objects_come_and_go() -> None:
    class Service:
        def __init__(self, tag: object) -> None:
            self.tag = tag
            self.cycle = self

        @cache.local(max_entries=32)
        def method(self, x: int) -> tuple[object, int]:
            return self.tag, x

    def work(number: int) -> None:
        for turn in range(150):
            service = Service((number, turn))
            for x in range(3):
                assert service.method(x) == service.method(x=x) == ((number, turn), x)
            if turn % 3 == 0:
                service.cycle = None
            if turn % 20 == 0:
                Service.method.cache_clear()

    in_threads(work)
    gc.collect()
    assert Service.method.cache_info().currsize == 0


def test_a_function_that_is_let_go_by_its_own_key() -> None:
    class Key(Compared):
        pass

    for drop in range(4):

        @cache.local(max_entries=2)
        def function(key: Any) -> int:
            return int(key.value)

        died = weakref.ref(function)
        holder: list[Any] = [function]
        del function
        act = Act()
        for number in range(3):
            holder[0](Key(number, act))
        act.act = (
            holder.clear,
            lambda: holder.clear() or gc.collect(),
            lambda: holder and holder.pop(),
            lambda: holder.__setitem__(0, None),
        )[drop]
        assert holder[0](Key(1, act)) == 1
        gc.collect()
        assert died() is None
