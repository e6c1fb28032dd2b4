"""What the options `copy=`, `immutable=` and `isolation="sealed"` make of a value."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from cachekit import CacheKitWarning, ConfigurationError, NotCacheableError, _native, cache
from conftest import Run
from test_copies import Opaque, Row


def kept(function: Callable[..., Any], **options: Any) -> tuple[Any, Any, Any]:
    """What two calls give, and the function."""
    decorated = cache(backend=None, **options)(function)
    return decorated(), decorated(), decorated


def test_types_that_nobody_changes_are_shared() -> None:
    class Derived(Opaque):
        pass

    thing, row = Derived([1]), Row("a")
    one, two, function = kept(lambda: {"thing": thing, "list": [row]}, immutable=(Opaque, Row))
    assert one["thing"] is two["thing"] is thing
    assert one["list"] is not two["list"]
    assert one["list"][0] is two["list"][0] is row
    assert function.cache_info().misses == 1
    one, two, _ = kept(lambda: Opaque(), immutable=Opaque)
    assert one is two


def test_copy_is_called_at_the_store_and_at_each_hit() -> None:
    seen: list[Any] = []

    def duplicate(value: Opaque) -> Opaque:
        seen.append(value)
        return Opaque(list(value.content))

    one, two, function = kept(lambda: Opaque([1]), copy=duplicate)
    assert one.content == two.content == [1]
    assert len(seen) == 2
    assert seen[0] is one
    for value in (one, two):
        value.content.append(2)
    assert function().content == [1]
    assert len(seen) == 3
    assert function.cache_info().misses == 1
    # Nobody needs a copy of what cannot change.
    assert kept(lambda: "text", copy=duplicate)[:2] == ("text", "text")
    assert len(seen) == 3


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_copy_that_raises_has_the_function_called(asynchronous: bool, run: Run) -> None:
    calls: list[int] = []
    fail = False

    def duplicate(value: list[int]) -> list[int]:
        if fail:
            raise LookupError("not now")
        return copy.copy(value)

    def function(number: int = 0) -> list[int]:
        calls.append(1)
        return [len(calls)]

    async def coroutine(number: int = 0) -> list[int]:
        return function(number)

    decorated = cache(backend=None, copy=duplicate)(coroutine if asynchronous else function)

    async def call(*args: Any, **named: Any) -> Any:
        result = decorated(*args, **named)
        return await result if asynchronous else result

    async def main() -> None:
        nonlocal fail
        assert await call() == [1]
        assert await call() == [1]
        fail = True
        with pytest.warns(CacheKitWarning, match="copying it raised LookupError") as said:
            assert await call() == [2]
            assert await call(number=0) == [3]
            assert await call(1) == [4]
        assert len(said) == 1
        fail = False
        assert await call() == [1]
        assert await call(1) == [5]

    run(main())


def test_strict_says_so_instead() -> None:
    def failing(value: Any) -> Any:
        raise LookupError

    strict = cache(backend=None, strict=True, copy=failing)(lambda: [1])
    with pytest.raises(NotCacheableError, match="copying it raised LookupError") as caught:
        strict()
    assert isinstance(caught.value.__cause__, LookupError)
    other = cache(backend=None, strict=True)(lambda: {"a": [Row(Opaque())]})  # type: ignore[arg-type]
    with pytest.raises(NotCacheableError) as refused:
        other()
    for word in ('result["a"][0].name', "Opaque", 'isolation="shared"', "immutable=", "copy="):
        assert word in str(refused.value)


def test_interruptions_are_not_swallowed() -> None:
    def interrupted(value: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache(backend=None, copy=interrupted)(lambda: [1])()


def test_what_is_not_copied_is_said_once() -> None:
    decorated = cache(backend=None)(lambda n: Opaque())
    with pytest.warns(CacheKitWarning, match=r"name types that nobody changes in immutable=") as said:
        assert decorated(1) is not decorated(1)
        decorated(2)
    assert len(said) == 1
    assert decorated.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"immutable": 3}, "must be a type or a tuple of types"),
        ({"immutable": (int, 3)}, "must be a type or a tuple of types"),
        ({"immutable": [int]}, "must be a type or a tuple of types"),
        ({"immutable": (Opaque, list)}, "list can be changed; share the whole result"),
        ({"copy": 3}, "must be a function"),
        ({"copy": None}, "must be a function"),
        ({"copy": copy.copy, "isolation": "shared"}, "isolation is 'shared'; add isolation='copy'"),
        ({"immutable": Opaque, "isolation": "sealed"}, "isolation is 'sealed'; add isolation='copy'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_at_decoration(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        cache(**options)


def test_a_preset_that_shares_needs_to_be_told() -> None:
    with pytest.raises(ConfigurationError, match="add isolation='copy'"):
        cache.local(copy=copy.copy)
    one, two = (cache.local(isolation="copy", copy=list)(lambda: [1]) for _ in range(2))
    assert one() == two() == [1]


def test_copy_is_a_plain_function() -> None:
    async def awaited(value: Any) -> Any:
        return value

    with pytest.raises(ConfigurationError, match="plain function, since its result is the copy"):
        cache(copy=awaited)


def test_what_the_options_refer_to_can_be_collected() -> None:
    def build() -> Any:
        class Inner:
            pass

        holder: list[Any] = []

        def duplicate(value: Any) -> Any:
            return (value, holder)[0]

        decorated = cache(backend=None, immutable=Inner, copy=duplicate)(lambda: [Inner()])
        holder.append(decorated)
        decorated()
        return weakref.ref(decorated)

    watch = build()
    gc.collect()
    assert watch() is None


# Sealed.


def test_sealed_keeps_bytes_and_decodes_for_each_caller() -> None:
    text = "x" * 1000
    one, two, function = kept(lambda: {"text": text, "list": [1]}, isolation="sealed")
    assert one == two
    assert one["text"] is text
    assert two["text"] is not text
    one["list"].append(2)
    two["list"].append(3)
    assert function()["list"] == [1]
    assert function.cache_info().misses == 1
    assert 1000 < function.cache_info().currbytes < 1200
    # Immutable or not: nothing of a value stays but its encoding.
    first, second, _ = kept(lambda: "y" * 1000, isolation="sealed")
    assert first == second
    assert first is not second


def test_sealed_refuses_what_has_no_encoding() -> None:
    decorated = cache(backend=None, isolation="sealed")(lambda: {"row": Row("a")})
    with pytest.warns(CacheKitWarning, match=r'not cached: result\["row"\] is of type test_copies\.Row'):
        decorated()
    assert decorated.cache_info().currsize == 0


def test_sealed_goes_to_the_remote_tier_and_comes_back() -> None:
    backend = _native.Backend("memory://")
    value = {"a": [1, (2, "b")], "b": {3}}
    options: Any = {"backend": backend, "namespace": "sealed", "isolation": "sealed"}

    def function() -> Any:
        return value

    first = cache(**options)(function)
    first()
    again = cache(**options)(function)
    got = [again(), again()]
    assert got == [value, value]
    assert got[0]["a"] is not got[1]["a"]
    info = again.cache_info()
    assert (info.l1_hits, info.l2_hits, info.loads) == (1, 1, 0)
