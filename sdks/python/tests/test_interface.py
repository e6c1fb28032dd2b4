"""What a decorated function has: its own methods, and everything that the function below it had."""

from __future__ import annotations

import abc
import asyncio
import copy
import functools
import gc
import inspect
import pickle
import sys
import types
import warnings
import weakref
from typing import Any, get_type_hints

import pytest

import cachekit
import identity_module
from cachekit import CacheInfo, _native, cache


def make() -> tuple[Any, list[int]]:
    calls: list[int] = []

    @cache(backend=None)
    def function(x: int, flag: bool = False) -> list[int]:
        """What it does."""
        calls.append(x)
        return [x, len(calls)]

    return function, calls


def make_async() -> tuple[Any, list[int]]:
    calls: list[int] = []

    @cache(backend=None)
    async def function(x: int, flag: bool = False) -> list[int]:
        calls.append(x)
        await asyncio.sleep(0)
        return [x, len(calls)]

    return function, calls


def test_cache_info_begins_as_functools_does() -> None:
    function, _ = make()
    function(1), function(1), function(2)
    info = function.cache_info()
    assert isinstance(info, CacheInfo)
    assert isinstance(info, tuple)
    assert info[:4] == (info.hits, info.misses, info.maxsize, info.currsize) == (1, 2, 10000, 2)
    assert (info.l1_hits, info.l2_hits, info.shared, info.loads, info.load_errors) == (1, 0, 0, 2, 0)
    assert info.currbytes > 0
    assert info._fields[:4] == ("hits", "misses", "maxsize", "currsize")
    assert info._asdict()["evictions"] == 0


def test_cache_clear_forgets_and_zeroes() -> None:
    function, calls = make()
    function(1)
    assert function.cache_clear() is None
    assert function.cache_info()[:4] == (0, 0, 10000, 0)
    assert function(1) == [1, 2]
    assert calls == [1, 1]


def test_invalidate_peek_put_refresh_bypass() -> None:
    function, calls = make()
    assert function.peek(1) is None
    assert calls == []
    assert function.invalidate(1) is False
    assert function(1) == [1, 1]
    assert function.peek(1) == function.peek(x=1, flag=False) == [1, 1]
    assert function.invalidate(x=1) is True
    assert function.peek(1) is None
    assert function.invalidate_cache(1) is False
    assert function.put([9], 1) is None
    assert function(1) == [9]
    assert calls == [1]
    assert function.refresh(1) == [1, 2]
    assert function(1) == [1, 2]
    assert function.bypass(1) == [1, 3]
    assert function(1) == [1, 2]
    function.put("other", 1, flag=True)
    assert function(1) == [1, 2]
    assert function(1, True) == "other"


def test_put_takes_parameters_of_any_name() -> None:
    @cache(backend=None)
    def function(value: int, function: int = 0, self: int = 0) -> int:
        return value

    function.put(5, value=1, function=2, self=3)
    assert function(1, 2, 3) == 5
    assert function(value=1, function=2, self=3) == 5


def test_none_is_a_value() -> None:
    calls = []

    @cache(backend=None)
    def function() -> None:
        calls.append(1)

    assert [function(), function()] == [None, None]
    assert len(calls) == 1


def test_ainvalidate_of_a_plain_function() -> None:
    function, _ = make()
    function(1)

    async def main() -> list[bool]:
        return [await function.ainvalidate(1), await function.ainvalidate_cache(1)]

    assert asyncio.run(main()) == [True, False]


def test_the_same_on_an_async_function() -> None:
    function, calls = make_async()

    async def main() -> None:
        assert await function.peek(1) is None
        assert await function.invalidate(1) is False
        assert await function(1) == [1, 1]
        assert await function.peek(x=1) == [1, 1]
        assert await function.invalidate(1) is True
        assert await function.ainvalidate(1) is False
        assert await function.invalidate_cache(1) is False
        assert await function.ainvalidate_cache(1) is False
        assert await function.put([9], 1) is None
        assert await function(1) == [9]
        assert await function.refresh(1) == [1, 2]
        assert await function(1) == [1, 2]
        assert await function.bypass(1) == [1, 3]
        assert isinstance(function.cache_key(1), str)
        assert function.cache_info().currsize == 1
        await function.cache_clear()
        assert function.cache_info()[:4] == (0, 0, 10000, 0)
        await function(5)
        function.cache_clear()
        assert function.cache_info().currsize == 0

    asyncio.run(main())
    assert calls == [1, 1, 1, 5]


def test_cache_key_is_text_also_without_a_remote() -> None:
    function, _ = make()
    assert isinstance(function.cache_key(1), str)
    assert function.cache_key(1) == function.cache_key(x=1, flag=False)
    assert len({function.cache_key(1), function.cache_key(1.0), function.cache_key(True)}) == 3


def test_metadata() -> None:
    def plain(x: int, /, y: list[str] | None = None, *, z: bool = False) -> dict[str, int]:
        """The documentation."""
        return {}

    plain.extra = [1]  # type: ignore[attr-defined]
    cached = cache(plain)
    for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
        assert getattr(cached, name) == getattr(plain, name), name
    assert cached.__wrapped__ is plain
    assert cached.extra == [1]  # type: ignore[attr-defined]
    assert "extra" in cached.__dict__
    assert inspect.signature(cached) == inspect.signature(plain)
    assert inspect.unwrap(cached) is plain
    assert inspect.getdoc(cached) == "The documentation."
    assert get_type_hints(identity_module.module_level) == {"x": int, "return": str}
    assert callable(cached)
    assert "plain" in repr(cached)
    cached.more = 2  # type: ignore[attr-defined]
    assert cached.more == 2  # type: ignore[attr-defined]
    assert inspect.getsource(cached).lstrip().startswith("def plain")


@pytest.mark.parametrize("kind", ["function", "coroutine", "method"])
@pytest.mark.skipif(sys.version_info < (3, 14), reason="annotations were evaluated at once")
def test_annotations_are_evaluated_when_they_are_asked_for(kind: str) -> None:
    import annotationlib

    source = f"""
class Holder:
    @cache
    {"async " * (kind == "coroutine")}def function({"self, " * (kind == "method")}x: Later) -> list[Later]: ...
"""
    namespace: dict[str, Any] = {"cache": cache}
    # Without the `from __future__` of this module.
    exec(compile(source, "<source>", "exec", dont_inherit=True), namespace)
    function = namespace["Holder"].function
    with pytest.raises(NameError, match="Later"):
        _ = function.__annotations__
    text = annotationlib.Format.STRING
    assert annotationlib.get_annotations(function, format=text) == {"x": "Later", "return": "list[Later]"}
    assert str(inspect.signature(function, annotation_format=text)).endswith("x: 'Later') -> 'list[Later]'")
    unresolved = annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)
    assert isinstance(unresolved["x"], annotationlib.ForwardRef)
    namespace["Later"] = int
    expected = {"x": int, "return": list[int]}
    assert function.__annotations__ is function.__wrapped__.__annotations__
    assert function.__annotations__ == get_type_hints(function) == annotationlib.get_annotations(function) == expected
    assert inspect.signature(function).return_annotation == list[int]
    assert function.__annotate__ is function.__wrapped__.__annotate__
    if kind == "method":
        method = namespace["Holder"]().function
        assert method.__annotations__ == get_type_hints(method) == expected
        assert str(inspect.signature(method)) == "(x: int) -> list[int]"


def test_annotations_can_be_replaced() -> None:
    def below(x: int) -> int:
        return x

    def other(y: str) -> str:
        return y

    cached: Any = cache(below)
    functools.update_wrapper(cached, other)
    assert cached.__annotations__ == other.__annotations__
    cached.__annotations__ = {"z": bytes}
    assert cached.__annotations__ == {"z": bytes}
    assert get_type_hints(cached) == {"z": bytes}
    if sys.version_info >= (3, 14):
        assert cached.__annotate__ is None
        cached.__annotations__ = None
        assert cached.__annotations__ == {}
        del cached.__annotations__
        assert cached.__annotations__ == {}
    functools.update_wrapper(cached, other)
    assert cached.__annotations__ == other.__annotations__
    assert below.__annotations__ == {"x": "int", "return": "int"}


def test_what_has_no_annotations_shows_none() -> None:
    assert not hasattr(cache(len), "__annotations__")
    assert cache(lambda x: x).__annotations__ == {}


def test_a_method_shows_its_signature_without_self() -> None:
    class Thing:
        @cache
        def method(self, x: int) -> int:
            return x

    assert str(inspect.signature(Thing().method)) == "(x: 'int') -> 'int'"
    assert str(inspect.signature(Thing.method)) == "(self, x: 'int') -> 'int'"


def test_coroutine_functions_are_known_as_such() -> None:
    function, _ = make_async()
    plain, _ = make()

    class Thing:
        @cache
        async def method(self) -> int:
            return 1

    for candidate in (function, Thing.method, Thing().method, functools.partial(function, 1)):
        assert inspect.iscoroutinefunction(candidate)
        # Deprecated since 3.14.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            assert asyncio.iscoroutinefunction(candidate) if hasattr(asyncio, "iscoroutinefunction") else True
    assert not inspect.iscoroutinefunction(plain)
    assert not inspect.isgeneratorfunction(function)
    assert not inspect.isasyncgenfunction(function)
    assert function.is_async
    assert not plain.is_async


def test_weak_references() -> None:
    function, _ = make()
    function(1)
    reference = weakref.ref(function)
    assert reference() is function
    del function
    gc.collect()
    assert reference() is None


def test_instances_are_held_weakly() -> None:
    class Thing:
        @cache(backend=None)
        def method(self, x: int) -> int:
            return x

    one = Thing()
    one.method(1)
    reference = weakref.ref(one)
    del one
    gc.collect()
    assert reference() is None


def test_a_cache_that_holds_itself_is_collected() -> None:
    @cache.local
    def function(x: object) -> object:
        return x

    function([function])
    reference = weakref.ref(function)
    del function
    gc.collect()
    assert reference() is None

    class Holder:
        held: object = None

    holder = Holder()

    @cache.local
    def by_default(x: object = holder) -> object:
        return x

    holder.held = by_default
    by_default()
    reference = weakref.ref(by_default)
    del by_default, holder
    gc.collect()
    assert reference() is None


def test_pickling_goes_by_name() -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        assert pickle.loads(pickle.dumps(identity_module.module_level, protocol)) is identity_module.module_level
        assert pickle.loads(pickle.dumps(identity_module.Keyed.method, protocol)) is identity_module.Keyed.method
    assert copy.copy(identity_module.module_level) is identity_module.module_level
    assert copy.deepcopy(identity_module.module_level) is identity_module.module_level
    bound = pickle.loads(pickle.dumps(identity_module.Keyed(3).method))
    assert bound(1) == "3:1"
    local, _ = make()
    with pytest.raises((pickle.PicklingError, AttributeError)):
        pickle.dumps(local)


def test_abstract_methods_in_both_orders() -> None:
    class Base(abc.ABC):
        @abc.abstractmethod
        @cache
        def above(self) -> int: ...

        @cache
        @abc.abstractmethod
        def below(self) -> int: ...

        @classmethod
        @cache
        @abc.abstractmethod
        def of_class(cls) -> int: ...

    assert Base.__abstractmethods__ == {"above", "below", "of_class"}
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]

    class Child(Base):
        @cache
        def above(self) -> int:
            return 1

        @cache
        def below(self) -> int:
            return 2

        @cache
        @classmethod
        def of_class(cls) -> int:
            return 3

    assert [Child().above(), Child().below(), Child.of_class()] == [1, 2, 3]


def test_partial_methods_and_update_wrapper() -> None:
    class Thing:
        @cache(backend=None)
        def add(self, a: int, b: int) -> int:
            return a + b

        add_one = functools.partialmethod(add, 1)

    assert Thing().add_one(2) == 3
    function, _ = make()

    @functools.wraps(function)
    def wrapper(*args: Any) -> Any:
        return function(*args)

    assert wrapper.__name__ == "function"
    assert wrapper(1) == [1, 1]


def test_annotations_work_at_run_time() -> None:
    assert isinstance(cachekit.CachedFunction[[int], str], types.GenericAlias)
    assert isinstance(cachekit.AsyncCachedFunction[[int], str], types.GenericAlias)
    function, _ = make()
    assert isinstance(function, cachekit.CachedFunction)


def test_errors_of_the_function_come_out_unchanged_and_are_not_kept() -> None:
    calls = []

    class Problem(Exception): ...

    @cache(backend=None)
    def function() -> None:
        calls.append(1)
        raise Problem(len(calls))

    for expected in (1, 2):
        with pytest.raises(Problem) as caught:
            function()
        assert caught.value.args == (expected,)
        assert caught.value.__cause__ is None
        assert caught.value.__context__ is None
    assert function.cache_info().load_errors == 2


def test_values_are_isolated_or_shared() -> None:
    @cache(backend=None)
    def copied() -> dict[str, list[int]]:
        return {"a": [1]}

    copied()["a"].append(2)
    copied()["a"].append(3)
    assert copied() == {"a": [1]}
    assert copied() is not copied()

    @cache(backend=None, isolation="shared")
    def shared() -> list[int]:
        return []

    assert shared() is shared()
    shared().append(1)
    assert shared() == [1]

    @cache(backend=None)
    def immutable() -> tuple[int, str]:
        return (1000, "a")

    assert immutable() is immutable()


def test_what_the_first_caller_got_is_isolated_too() -> None:
    kept: list[Any] = []

    @cache(backend=None)
    def function() -> list[int]:
        result = [1]
        kept.append(result)
        return result

    first = function()
    first.append(2)
    kept[0].append(3)
    assert function() == [1]


def test_caches_can_be_listed() -> None:
    function, _ = make()
    assert any(known is function for known in _native.caches())
