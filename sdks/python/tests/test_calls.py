"""The callable itself: what a hit and a miss of it do to the interpreter."""

from __future__ import annotations

import gc
import itertools
import pickle
import sys
import threading
import types
import warnings
import weakref
from typing import Any

import pytest

from cachekit import CacheKitWarning, NotCacheableError, _native, cache

numbers = itertools.count()


def test_hits_leave_reference_counts_as_they_were() -> None:
    value, argument = "a value" * 10, "an argument" * 10

    @cache.local
    def function(x: str, y: int = 1, *, z: object = None) -> str:
        return value

    def calls() -> None:
        function(argument)
        function(argument, 1)
        function(x=argument, z=None)
        function.peek(argument)
        function.cache_key(argument)

    calls()
    before = [sys.getrefcount(value), sys.getrefcount(argument), sys.getrefcount(function)]
    for _ in range(1000):
        calls()
    assert [sys.getrefcount(value), sys.getrefcount(argument), sys.getrefcount(function)] == before
    assert function.cache_info()[:2] == (3002, 1)


def test_entries_leave_nothing_behind() -> None:
    class Thing:
        pass

    @cache.local(max_entries=8)
    def function(key: object) -> Thing:
        return Thing()

    things = [weakref.ref(function(number)) for number in range(100)]
    assert sum(thing() is not None for thing in things) == function.cache_info().currsize == 8
    assert function.cache_info().evictions == 92
    function.cache_clear()
    assert not any(thing() for thing in things)


def test_a_cycle_through_an_entry_is_collected() -> None:
    class Thing:
        def __init__(self) -> None:
            self.function: Any = None

    @cache.local
    def function(number: int) -> Thing:
        return Thing()

    thing = function(1)
    thing.function = function
    died = weakref.ref(thing)
    del thing, function
    gc.collect()
    assert died() is None


def test_entries_of_a_method_die_with_the_object() -> None:
    class Service:
        @cache
        def method(self, x: int) -> tuple[int, int]:
            return id(self), x

    services = [Service() for _ in range(3)]
    for service in services:
        for number in range(200):
            assert service.method(number) == (id(service), number)
            assert service.method(number) == (id(service), number)
    assert Service.method.cache_info().currsize == 600
    del service, services[0]
    assert Service.method.cache_info().currsize == 400
    services.clear()
    assert Service.method.cache_info().currsize == 0


def test_what_a_method_is_called_on_is_not_kept_alive_by_its_entries() -> None:
    class Thing:
        @cache
        def same(self, other: Thing) -> bool:
            return self is other

        @cache
        @classmethod
        def name(cls, other: object = None) -> str:
            return cls.__name__

    thing = Thing()
    assert thing.same(thing) is True
    assert thing.same(thing) is True
    derived: Any = type("Derived", (Thing,), {})
    assert derived.name() == derived.name(derived) == derived.name(other=derived) == "Derived"
    assert Thing.same.cache_info()[:2] == (1, 1)
    assert Thing.name.cache_info().currsize == 2
    died = [weakref.ref(thing), weakref.ref(derived)]
    del thing, derived
    gc.collect()
    assert [reference() for reference in died] == [None, None]
    assert Thing.same.cache_info().currsize == Thing.name.cache_info().currsize == 0


def test_a_method_of_objects_without_weak_references_says_what_to_do() -> None:
    class Slots:
        __slots__ = ()

        @cache
        def method(self) -> int:
            return 1

    with pytest.raises(NotCacheableError, match=r"__weakref__.*key="):
        Slots().method()


def test_a_class_that_gets_a_cache_key_later() -> None:
    class Service:
        name = "one"

        @cache
        def method(self) -> object:
            return id(self)

    first, second = Service(), Service()
    assert first.method() != second.method()
    Service.__cache_key__ = lambda self: self.name  # type: ignore[attr-defined]
    assert first.method() == second.method()


@pytest.mark.parametrize("limit", [None, 1_000_000])
def test_recursion_without_end_is_an_error_and_not_a_crash(limit: int | None) -> None:
    @cache
    def endless(n: int) -> int:
        return endless(n + 1)

    errors = []

    def call() -> None:
        try:
            endless(0)
        except RecursionError as error:
            errors.append(error)

    before = sys.getrecursionlimit()
    try:
        if limit is not None:
            sys.setrecursionlimit(limit)
        thread = threading.Thread(target=call)
        thread.start()
        thread.join()
    finally:
        sys.setrecursionlimit(before)
    assert len(errors) == 1


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize(
    "make",
    [lambda: "".join(["a ", "key"]), lambda: b"".join([b"a ", b"key"]), lambda: int("1" * 50)],
    ids=["str", "bytes", "int"],
)
def test_a_hit_takes_no_level_of_recursion(make: Any, kind: str) -> None:
    key, equal = make(), make()

    @cache.local
    def plain(x: Any) -> Any:
        return x

    @cache.local
    async def coroutine(x: Any) -> Any:
        return x

    def at_depth(depth: int, call: Any) -> object:
        if depth > 0:
            return at_depth(depth - 1, call)
        return call and call(equal)

    function: Any = plain if kind == "plain" else coroutine
    if kind == "plain":
        function(key)
    else:
        with pytest.raises(StopIteration):
            function(key).send(None)
    assert key is not equal
    depth = 0
    with pytest.raises(RecursionError):
        while True:
            at_depth(depth, None)
            depth += 1
    at_depth(depth - 1, function)
    assert function.cache_info()[:2] == (1, 1)


def test_a_function_that_calls_itself_400_times() -> None:
    @cache
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(400) % 1_000_003 == 256040
    assert fib.cache_info().misses == 401


class Hostile:
    """Its comparison does whatever `act` does."""

    def __init__(self, value: int, act: Any = None) -> None:
        self.value = value
        self.act = act

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        if self.act is not None:
            self.act()
        return isinstance(other, Hostile) and self.value == other.value


def test_keys_that_change_the_cache_while_they_are_compared() -> None:
    @cache.local
    def function(key: Hostile) -> int:
        return key.value

    for act in (function.cache_clear, lambda: function(Hostile(9)), lambda: function.invalidate(Hostile(1))):
        for number in range(3):
            assert function(Hostile(number)) == number
        for number in range(3):
            assert function(Hostile(number, act)) == number


def test_keys_whose_comparison_or_hash_raises() -> None:
    class Odd:
        def __hash__(self) -> int:
            raise ZeroDivisionError

        __eq__ = object.__eq__

    broken = False

    def act() -> None:
        if broken:
            raise ZeroDivisionError

    @cache.local
    def function(key: object) -> int:
        return 1

    assert function(Hostile(1, act)) == 1
    broken = True
    with pytest.raises(ZeroDivisionError):
        function(Hostile(1, act))
    with pytest.raises(ZeroDivisionError):
        function(Odd())
    broken = False
    assert function(Hostile(1, act)) == 1
    assert function.cache_info().currsize == 1


def test_equal_hashes_are_not_equal_keys_in_flight() -> None:
    both = threading.Barrier(2, timeout=10)

    @cache.local
    def function(key: Hostile) -> int:
        both.wait()
        return key.value

    results: dict[int, int] = {}
    threads = [
        threading.Thread(target=lambda number=number: results.update({number: function(Hostile(number))}))
        for number in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: 0, 1: 1}


def test_time_moves_on() -> None:
    @cache.local(ttl=60)
    def function() -> object:
        return object()

    first = function()
    assert function() is first
    _native.advance_clock(61)
    assert function() is not first


def test_what_cannot_be_copied_is_said_once_where_it_was_called() -> None:
    @cache
    def function(x: int) -> object:
        return {"handle": object()}

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        function(1)
        function(1)
    assert [(warning.category, warning.filename) for warning in said] == [(CacheKitWarning, __file__)]
    assert 'result["handle"]' in str(said[0].message)
    assert function.cache_info().misses == 2


@pytest.mark.parametrize(
    ("make", "what"),
    [
        (lambda: (x for x in "a"), "generator"),
        (lambda: map(str, [1]), "iterator"),
        (lambda: zip([1], [2]), "iterator"),
        (lambda: iter([1]), "iterator"),
        (lambda: iter({1: 2}.items()), "iterator"),
        (lambda: reversed([1]), "iterator"),
        (lambda: enumerate([1]), "iterator"),
        (lambda: len, None),
        # One that never ends may well be shared.
        (lambda: numbers, None),
    ],
)
def test_what_can_be_consumed_once_is_refused(make: Any, what: str | None) -> None:
    function = cache.local(make)
    if what is None:
        assert function() is function() is make()
    else:
        with pytest.raises(NotCacheableError, match=what):
            function()


def test_a_coroutine_of_a_plain_function_is_refused_and_closed() -> None:
    async def inner() -> None: ...

    function = cache(lambda: inner())
    with pytest.raises(NotCacheableError, match="coroutine"):
        function()


def test_a_method_looks_like_a_method() -> None:
    class Service:
        @cache
        def method(self, x: int) -> int:
            """Says x."""
            return x

    service = Service()
    method = service.method
    assert isinstance(method, types.MethodType)
    assert method == service.method
    assert hash(method) == hash(service.method)
    assert method != Service().method
    assert (method.__self__, method.__func__) == (service, Service.__dict__["method"])
    assert (method.__name__, method.__doc__) == ("method", "Says x.")
    again = weakref.WeakMethod(method)
    del method
    assert again()(3) == 3


def test_nothing_is_derived_from_it() -> None:
    class Derived(_native.CachedFunction):  # type: ignore[misc]
        pass

    with pytest.raises(TypeError, match="derived"):
        Derived(print, (), {})


@pytest.mark.skipif(sys.version_info < (3, 10), reason="types that cannot be changed came with 3.10")
def test_nobody_changes_the_type() -> None:
    """The interpreter looks a method up by the short way only then."""
    with pytest.raises(TypeError, match="immutable type"):
        _native.CachedFunction.__call__ = None  # type: ignore[method-assign, assignment]


def test_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(module_level)) is module_level


@cache
def module_level() -> None: ...


def test_a_load_that_a_clear_overtakes_is_not_kept() -> None:
    @cache
    def function(clear: Any) -> int:
        clear()
        return 1

    for clear in ("cache_clear", "_clear_local"):
        assert function(getattr(function, clear)) == 1
        assert function.cache_info().currsize == 0


@pytest.mark.parametrize("operation", ["store", "read"])
def test_other_threads_go_on_during_long_codec_work(operation: str) -> None:
    @cache(backend="memory://", namespace=f"long work, {operation}", l1=False)
    def function(x: int) -> bytes:
        return b"x" * (32 << 20)

    def another_comes_first() -> bool:
        """Whether a thread that waits for the interpreter gets it before the call is over."""
        order: list[str] = []
        begin, begun = threading.Lock(), threading.Lock()
        begin.acquire()
        begun.acquire()

        def other() -> None:
            begun.release()
            begin.acquire()
            order.append("another thread")

        thread = threading.Thread(target=other)
        thread.start()
        begun.acquire()
        begin.release()
        if operation == "store":
            function.refresh(1)
        else:
            function(1)
        order.append("this one")
        thread.join()
        return order[0] == "another thread"

    function(1)
    interval = sys.getswitchinterval()
    # Nobody else comes to run unless this thread lets go of the interpreter of its own accord.
    sys.setswitchinterval(1000)
    try:
        # Once is proof; a busy machine may wake the other too late.
        assert any(another_comes_first() for _ in range(20))
    finally:
        sys.setswitchinterval(interval)
