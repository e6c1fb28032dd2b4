"""Keys whose own code raises, lies, comes back into the cache or changes it while the cache looks at them."""

from __future__ import annotations

import asyncio
import gc
import itertools
import weakref
from typing import Any

import pytest

from cachekit import CacheKitWarning, cache
from hostile import KINDS, Act, Compared, acts_on, in_threads

pytestmark = pytest.mark.usefixtures("eager_threads")


@KINDS
def test_keys_that_come_back_into_the_cache(kind: Any) -> None:
    act = Act()

    @cache.local(max_entries=8)
    def function(key: Any, more: object = None) -> int:
        return getattr(key, "value", key)

    for hostile in acts_on(function, lambda value: kind(value, act)):
        act.act = None
        for number in range(3):
            assert function(kind(number, act)) == number
        act.act, act.calls = hostile, 0
        for number in range(3):
            assert function(kind(number, act)) == number
            for _ in range(2):
                assert function(kind(number, act), more=[kind(number, act), {"in": (kind(2, act),)}]) == number
        assert act.calls > 0
        assert function.cache_info().currsize <= 8


@KINDS
def test_keys_that_come_back_into_the_cache_on_many_threads(kind: Any) -> None:
    act = Act()

    @cache.local(max_entries=8)
    def function(key: Any) -> int:
        return getattr(key, "value", key)

    # Threads of their own are what the test above is about.
    *acts, _, _ = acts_on(function, lambda value: kind(value, act))
    turns = itertools.cycle(acts)
    act.act = lambda: next(turns)()

    def work(number: int) -> None:
        for turn in range(60):
            value = (number + turn) % 3
            assert function(kind(value, act)) == value
            assert function(value) == value

    in_threads(work)
    assert act.calls > 0
    act.act = None
    function.cache_clear()
    assert function(kind(1, act)) == function(kind(1, act)) == 1
    assert function.cache_info()[:2] == (1, 1)


@KINDS
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt, SystemExit, RecursionError, MemoryError])
def test_keys_that_raise(kind: Any, error: type[BaseException]) -> None:
    def fail() -> None:
        raise error("mine")

    act = Act()
    calls = []

    @cache.local
    def function(key: Any, *more: Any) -> int:
        calls.append(key)
        return int(key.value)

    assert function(kind(1, act)) == 1
    act.act = fail
    refused = kind(1, act)
    operations = [function, function.peek, function.invalidate, function.refresh, function.cache_key]
    for operation in [*operations, lambda key: function.put(2, key)]:
        if kind is Compared and operation is function.cache_key:
            # Names are told by hashes, and nobody asks which of them are equal but to find an entry.
            act.act = None
        with pytest.raises(error, match="mine"):
            act.act = fail
            operation(refused)
        with pytest.raises(error, match="mine"):
            operation(kind(1, act))
    assert len(calls) == 1
    act.act = None
    assert function(kind(1, act)) == 1
    assert function.cache_info()[:4] == (1, 1, 256, 1)
    # Nothing is in flight either: another thread does not wait.
    in_threads(lambda number: function.refresh(kind(1, act)), 2)


def test_a_hash_that_is_no_number_is_no_key() -> None:
    class Odd:
        def __init__(self, hash_: Any) -> None:
            self.hash = hash_

        def __hash__(self) -> int:
            return self.hash  # type: ignore[no-any-return]

        def __eq__(self, other: object) -> bool:
            return True

    @cache.local
    def function(key: Odd) -> int:
        return 1

    with pytest.warns(CacheKitWarning, match="has no hash"):
        assert function(Odd("text")) == 1
    for number in (-1, -2, 0, 2**61 - 1, 2**61, 2**200, True):
        assert function(Odd(number)) == function(Odd(number)) == 1


def test_equality_that_is_none() -> None:
    """What compares badly is an entry too many or too few, as its comparison says, and never a crash."""
    answers: list[Any] = []

    class Fickle:
        def __init__(self, value: object) -> None:
            self.value = value

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> Any:
            return answers[0] if len(answers) == 1 else answers.pop()

    @cache.local(max_entries=4)
    def function(key: Fickle) -> object:
        return key.value

    itself = Fickle("itself")
    for answer in (False, NotImplemented):
        answers[:] = [answer]
        # An object is itself, whatever it says, and nothing else where it says so.
        assert function(itself) == function(itself) == "itself"
        assert [function(Fickle(number)) for number in range(9)] == list(range(9))
        assert function.cache_info().currsize == 4
    answers[:] = [True]
    function.cache_clear()
    assert [function(Fickle(number)) for number in range(9)] == [0] * 9
    answers[:] = [True, False] * 500 + [False]
    assert {function(Fickle(number)) for number in range(500)} <= set(range(500))
    assert function.cache_info().currsize <= 4

    class NoTruth:
        def __bool__(self) -> bool:
            raise ZeroDivisionError

    answers[:] = [NoTruth()]
    with pytest.raises(ZeroDivisionError):
        function(Fickle(1))
    answers[:] = [True]

    def work(number: int) -> None:
        for turn in range(100):
            answers[:] = [turn % 2 == 0]
            function(Fickle(turn))

    in_threads(work)
    assert function.cache_info().currsize <= 4


def test_a_hash_that_changes() -> None:
    class Key:
        def __init__(self) -> None:
            self.hash = 1

        def __hash__(self) -> int:
            return self.hash

        def __eq__(self, other: object) -> bool:
            return self is other

    @cache.local(max_entries=16)
    def function(key: Key) -> object:
        return object()

    key = Key()
    first = function(key)
    key.hash = 2
    second = function(key)
    assert second is function(key) is not first
    key.hash = 1
    assert function(key) is first
    for key.hash in range(100):
        assert function(key) is function(key)
    assert function.cache_info().currsize == 16
    key.hash = 99
    assert function.invalidate(key) is True
    died = weakref.ref(key)
    function.cache_clear()
    del key
    assert died() is None


class Meta(type):
    """A class of classes that lets nothing be asked of them."""

    armed = False

    def __getattribute__(cls, name: str) -> Any:
        if Meta.armed:
            raise ZeroDivisionError(name)
        return super().__getattribute__(name)

    def __instancecheck__(cls, instance: object) -> bool:
        if Meta.armed:
            raise ZeroDivisionError
        return True

    def __eq__(cls, other: object) -> bool:
        if Meta.armed:
            raise ZeroDivisionError
        return True

    def __hash__(cls) -> int:
        if Meta.armed:
            raise ZeroDivisionError
        return 1


class OfMeta(metaclass=Meta):
    @cache.local
    def method(self, x: int) -> tuple[int, int]:
        return id(self), x


def test_classes_that_answer_nothing() -> None:
    @cache.local
    def function(key: object) -> int:
        return id(key)

    one, two = OfMeta(), OfMeta()
    keys: list[Any] = [OfMeta, one]
    for _ in range(2):
        assert [function(key) for key in keys] == [id(key) for key in keys]
        assert one.method(1) == (id(one), 1)
    Meta.armed = True
    try:
        # Nobody asks the class of the class about an object.
        assert function(one) == id(one)
        assert one.method(1) == (id(one), 1)
        with pytest.raises(ZeroDivisionError):
            function(OfMeta)
    finally:
        Meta.armed = False
    # Entries belong to one object, whatever its class says of equality.
    assert two.method(1) == (id(two), 1)
    assert [function(key) for key in keys] == [id(key) for key in keys]


def test_objects_that_lie_about_what_they_are() -> None:
    class Liar:
        def __init__(self, claims: Any) -> None:
            self.claims = claims

        @property
        def __class__(self) -> Any:
            if self.claims is None:
                raise ZeroDivisionError
            return self.claims

        @__class__.setter
        def __class__(self, value: Any) -> None: ...

        def __reduce__(self) -> Any:
            raise ZeroDivisionError

        __reduce_ex__ = __sizeof__ = __copy__ = __deepcopy__ = __iter__ = __len__ = __index__ = __reduce__  # type: ignore[assignment]

        def __getattr__(self, name: str) -> Any:
            raise ZeroDivisionError(name)

        def __hash__(self) -> int:
            return hash(1)

        def __eq__(self, other: object) -> bool:
            return True

    @cache.local
    def function(key: Any) -> Any:
        return key

    @cache(backend=None)
    def isolated(key: Any) -> list[Any]:
        return [Liar(str), key]

    for claims in (int, str, tuple, dict, list, type, None):
        liar = Liar(claims)
        assert function(1) == 1
        assert type(function(1)) is int
        assert type(function(liar)) is Liar
        with pytest.warns(CacheKitWarning):
            isolated.cache_clear()
            function.cache_clear()
            isolated = cache(backend=None)(isolated.__wrapped__)
            assert type(isolated(liar)[0]) is Liar


@pytest.mark.parametrize("base", [str, int, float, bytes, tuple, frozenset])
def test_subclasses_are_never_taken_for_what_they_derive_from(base: Any) -> None:
    made: Any = base() if base is not tuple else (1, 2)

    class Same(base):  # type: ignore[misc]
        def __eq__(self, other: object) -> bool:
            return True

        def __hash__(self) -> int:
            return hash(made)

        def __len__(self) -> int:
            raise ZeroDivisionError

        __iter__ = __index__ = __int__ = __float__ = __str__ = __bytes__ = __bool__ = __len__  # type: ignore[assignment]

    @cache.local
    def function(key: Any, more: int = 0) -> type:
        return type(key)

    same = Same(made)
    for _ in range(2):
        for more in range(2):
            assert function(made, more) is base
            assert function(same, more) is Same
            assert function(more=more, key=same) is Same
            assert function((made,), more) is tuple
            assert function((same,), more) is tuple
    assert function.cache_info()[:2] == (12, 8)


def test_names_of_arguments_that_are_not_plain_text() -> None:
    class Name(str):
        def __eq__(self, other: object) -> bool:
            act()
            return str(self) == other

        def __hash__(self) -> int:
            return hash(str(self))

    def fail() -> None:
        raise ZeroDivisionError

    act = Act()

    @cache.local
    def function(first: int, second: int = 2) -> tuple[int, int]:
        return first, second

    @cache.local
    def any_name(**named: int) -> dict[str, int]:
        return dict(named)

    for hostile in (None, function.cache_clear, lambda: function(first=9, second=8), gc.collect):
        act.act = hostile
        for number in range(3):
            assert function(**{Name("first"): number}) == (number, 2)
            assert function(**{Name("second"): number, Name("first"): 0}) == (0, number)
            assert any_name(**{Name("x"): number})["x"] == number
    act.act = fail
    with pytest.raises(ZeroDivisionError):
        function(**{Name("first"): 1})
    act.act = None
    assert function(first=1) == (1, 2)


@KINDS
def test_hostile_keys_of_async_functions(kind: Any) -> None:
    act = Act()

    @cache.local(max_entries=8)
    async def function(key: Any) -> int:
        await asyncio.sleep(0)
        return int(key.value)

    async def main() -> None:
        acts = [
            function.cache_clear,
            function._clear_local,
            lambda: tasks.append(asyncio.ensure_future(function(kind(1, act)))),
            lambda: tasks.append(asyncio.ensure_future(function.invalidate(kind(1, act)))),
            lambda: function(kind(2, act)).close(),
            gc.collect,
        ]
        for hostile in acts:
            tasks: list[Any] = []
            act.act = hostile
            for _ in range(2):
                calls = (function(kind(number % 3, act)) for number in range(6))
                assert await asyncio.gather(*calls) == [0, 1, 2, 0, 1, 2]
            act.act = None
            await asyncio.gather(*tasks)

    def fail() -> None:
        raise ZeroDivisionError

    asyncio.run(asyncio.wait_for(main(), 60))
    act.act = fail
    with pytest.raises(ZeroDivisionError):
        function(kind(1, act))
        function(kind(1, act))


@KINDS
def test_equal_keys_meet_while_they_load(kind: Any) -> None:
    @cache.local
    async def function(key: Any) -> int:
        await asyncio.sleep(0)
        return int(key.value)

    async def main() -> None:
        calls = (function(kind(number % 2, Act())) for number in range(8))
        assert await asyncio.gather(*calls) == [0, 1] * 4

    asyncio.run(main())
    assert function.cache_info().loads == 2


def test_a_function_that_key_gives_back_to_the_cache() -> None:
    act = Act()

    def name(x: int) -> int:
        act()
        return x % 3

    @cache.local(key=name, max_entries=8)
    def function(x: int) -> int:
        return x % 3

    for hostile in acts_on(function, lambda value: value):
        act.act = hostile
        assert [function(number) for number in range(9)] == [number % 3 for number in range(9)]
