"""Every way to write the decorator, on everything that can carry it, and what is refused."""

from __future__ import annotations

import asyncio
import functools
import json
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

import cachekit
from cachekit import NotCacheableError, cache
from cachekit.options import PRESETS

VECTORS = pathlib.Path(__file__).parents[3] / "tests" / "vectors" / "preset.json"
NAMES = [name for name in PRESETS if name != "default"]
FORMS: list[Any] = [
    pytest.param(lambda: cache, id="@cache"),
    pytest.param(lambda: cache(), id="@cache()"),
    pytest.param(lambda: cache(ttl=60), id="@cache(ttl=60)"),
    *(pytest.param(lambda name=name: getattr(cache, name), id=f"@cache.{name}") for name in NAMES),
    *(pytest.param(lambda name=name: getattr(cache, name)(), id=f"@cache.{name}()") for name in NAMES),
    *(pytest.param(lambda name=name: getattr(cache, name)(ttl=60), id=f"@cache.{name}(ttl=60)") for name in NAMES),
]


@pytest.fixture(autouse=True)
def master_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source of keys for the preset that needs one; it turns nothing on for the others."""
    monkeypatch.setenv("CACHEKIT_MASTER_KEY", "5a" * 32)


class Calls(list[Any]):
    """What a function was called with."""


@pytest.mark.parametrize("form", FORMS)
def test_a_function_runs_once_for_equal_arguments(form: Callable[[], Any]) -> None:
    calls = Calls()

    @form()
    def double(x: int) -> int:
        calls.append(x)
        return x * 2

    assert [double(1), double(1), double(x=1), double(2)] == [2, 2, 2, 4]
    assert calls == [1, 2]


@pytest.mark.parametrize("form", FORMS)
def test_an_async_function_runs_once_for_equal_arguments(form: Callable[[], Any]) -> None:
    calls = Calls()

    @form()
    async def double(x: int) -> int:
        calls.append(x)
        await asyncio.sleep(0)
        return x * 2

    async def main() -> list[int]:
        return [await double(1), await double(1), await double(x=1), await double(2)]

    assert asyncio.run(main()) == [2, 2, 2, 4]
    assert calls == [1, 2]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_decides_what_its_spec_says(name: str) -> None:
    decorator: Any = cache if name == "default" else getattr(cache, name)

    @decorator
    def function() -> None: ...

    for option, value in PRESETS[name].items():
        if option != "remote":
            assert function.cache_settings[option] == value, option


@pytest.mark.skipif(not VECTORS.exists(), reason="the vectors are not part of a source distribution")
def test_presets_decide_what_the_vectors_say() -> None:
    groups = json.loads(VECTORS.read_text(encoding="utf-8"))["testGroups"]
    rows = {row["preset"]: row["options"] for group in groups for row in group["tests"]}
    assert list(rows) == list(PRESETS)
    for name, options in rows.items():
        decorator: Any = cache if name == "default" else getattr(cache, name)
        settings = decorator(lambda: None).cache_settings
        for option in options.keys() - {"remote"}:
            assert settings[option] == options[option], (name, option)


class Shop:
    """Methods of every kind, in both orders of decorators."""

    def __init__(self, factor: int = 1) -> None:
        self.factor = factor
        self.calls = Calls()

    class_calls = Calls()

    @cache(backend=None)
    def price(self, item: str, count: int = 1) -> int:
        """The price."""
        self.calls.append(item)
        return self.factor * len(item) * count

    @cache(backend=None)
    async def stock(self, item: str) -> int:
        self.calls.append(item)
        return self.factor * len(item)

    @cache(backend=None)
    @classmethod
    def above_class(cls, item: str) -> str:
        cls.class_calls.append(item)
        return f"{cls.__name__} {item}"

    @classmethod
    @cache(backend=None)
    def below_class(cls, item: str) -> str:
        cls.class_calls.append(item)
        return f"{cls.__name__} {item}"

    @cache(backend=None)
    @staticmethod
    def above_static(item: str) -> str:
        Shop.class_calls.append(item)
        return item.upper()

    @staticmethod
    @cache(backend=None)
    def below_static(item: str) -> str:
        Shop.class_calls.append(item)
        return item.upper()

    @property
    @cache(backend=None)
    def total(self) -> int:
        self.calls.append("total")
        return self.factor


class Market(Shop):
    class_calls = Calls()


@pytest.fixture(autouse=True)
def no_calls() -> None:
    Shop.class_calls.clear()
    Market.class_calls.clear()


def test_methods_are_cached_for_each_instance() -> None:
    one, two = Shop(1), Shop(2)
    assert [one.price("ab"), one.price("ab"), one.price(item="ab", count=1)] == [2, 2, 2]
    assert [two.price("ab"), Shop.price(two, "ab")] == [4, 4]
    assert one.calls == ["ab"]
    assert two.calls == ["ab"]


def test_equal_instances_do_not_share_unless_they_say_so() -> None:
    class Point:
        def __init__(self, x: int) -> None:
            self.x = x

        @cache(backend=None)
        def area(self) -> int:
            return self.x

        def __cache_key__(self) -> int:
            return self.x

    assert Point(1).area() == 1
    assert Point(2).area() == 2
    assert Point(1).area() == 1
    assert Point.area.cache_info().misses == 2


def test_async_methods() -> None:
    shop = Shop(3)

    async def main() -> list[int]:
        return [await shop.stock("ab"), await shop.stock(item="ab")]

    assert asyncio.run(main()) == [6, 6]
    assert shop.calls == ["ab"]


@pytest.mark.parametrize("name", ["above_class", "below_class"])
def test_classmethods_in_both_orders(name: str) -> None:
    function = getattr(Shop, name)
    assert [function("a"), function("a"), getattr(Shop(), name)(item="a")] == ["Shop a"] * 3
    assert Shop.class_calls == ["a"]
    assert getattr(Market, name)("a") == "Market a"
    assert getattr(Market(), name)("a") == "Market a"
    assert Market.class_calls == ["a"]


@pytest.mark.parametrize("name", ["above_static", "below_static"])
def test_staticmethods_in_both_orders(name: str) -> None:
    function = getattr(Shop, name)
    assert [function("a"), function("a"), getattr(Shop(), name)(item="a")] == ["A"] * 3
    assert Shop.class_calls == ["a"]
    assert function.invalidate("a") is True
    assert function("a") == "A"
    assert Shop.class_calls == ["a", "a"]


def test_below_property() -> None:
    shop = Shop(7)
    assert [shop.total, shop.total] == [7, 7]
    assert shop.calls == ["total"]


def test_attributes_of_bound_methods_know_their_instance() -> None:
    one, two = Shop(1), Shop(2)
    one.price("ab")
    two.price("ab")
    assert one.price.peek("ab") == 2
    assert one.price.invalidate("ab") is True
    assert one.price.peek("ab") is None
    assert two.price.peek("ab") == 4
    one.price.put(9, "ab")
    assert one.price("ab") == 9
    assert one.price.refresh("ab") == 2
    assert one.price.bypass("abc") == 3
    assert one.price.peek("abc") is None
    assert one.price.__doc__ == "The price."
    assert one.price.__name__ == "price"
    assert one.price.__self__ is one
    # As with plain methods, two views of one method are equal.
    assert one.price == one.price
    assert one.price != two.price
    assert len({one.price, one.price, two.price}) == 2


def test_attributes_of_bound_classmethods_know_their_class() -> None:
    Shop.above_class("a")
    assert Shop.above_class.peek("a") == "Shop a"
    assert Market.above_class.peek("a") is None
    assert Shop.above_class.invalidate("a") is True
    assert Shop.above_class.peek("a") is None


def test_attributes_of_a_classmethod_above_the_decorator() -> None:
    Shop.below_class("a")
    if sys.version_info < (3, 13):
        assert Shop.below_class.invalidate("a") is True  # type: ignore[attr-defined]
        return
    # Python binds the class itself from 3.13 on, and only for calls.
    for operation in ("invalidate", "bypass"):
        with pytest.raises(TypeError, match="put @cache above @classmethod"):
            getattr(Shop.below_class, operation)("a")
    assert Shop.below_class.invalidate(Shop, "a") is True  # type: ignore[attr-defined]


def test_super_reaches_a_cached_method() -> None:
    class Child(Shop):
        def price(self, item: str, count: int = 1) -> int:  # type: ignore[override]
            return super().price(item, count) + 100

    child = Child(1)
    assert [child.price("ab"), child.price("ab")] == [102, 102]
    assert child.calls == ["ab"]


def shout(function: Callable[..., str]) -> Callable[..., str]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> str:
        return function(*args, **kwargs) + "!"

    return wrapper


def test_below_another_decorator() -> None:
    calls = Calls()

    @shout
    @cache
    def greet(name: str) -> str:
        calls.append(name)
        return name

    assert [greet("a"), greet(name="a")] == ["a!", "a!"]
    assert calls == ["a"]
    assert greet.__wrapped__.invalidate("a") is True  # type: ignore[attr-defined]


def test_above_another_decorator_the_inner_signature_counts() -> None:
    calls = Calls()

    @cache
    @shout
    def greet(name: str, loud: bool = False) -> str:
        calls.append(name)
        return name

    assert [greet("a"), greet(name="a"), greet("a", False), greet("a", loud=False)] == ["a!"] * 4
    assert calls == ["a"]


def test_functools_partial_below_and_above() -> None:
    calls = Calls()

    def add(a: int, b: int, c: int = 0) -> int:
        calls.append((a, b, c))
        return a + b + c

    one = cache(functools.partial(add, 1))
    assert [one(2), one(b=2), one(2, c=0)] == [3, 3, 3]
    assert calls == [(1, 2, 0)]
    calls.clear()
    two = functools.partial(cache(add), 1)
    assert [two(2), two(b=2)] == [3, 3]
    assert calls == [(1, 2, 0)]


def test_callable_instances_and_builtins() -> None:
    class Adder:
        calls = 0

        def __call__(self, a: int, b: int = 1) -> int:
            self.calls += 1
            return a + b

    adder = Adder()
    cached = cache(adder)
    assert [cached(1), cached(1, 1), cached(a=1, b=1)] == [2, 2, 2]
    assert adder.calls == 1
    assert [cache(len)("abc"), cache(max)(1, 2)] == [3, 2]


def test_one_decorator_serves_many_functions() -> None:
    short = cache(ttl=5)
    one = short(lambda: 1)
    two = short(lambda: 2)
    assert [one(), two(), one(), two()] == [1, 2, 1, 2]


def generator() -> Any:
    yield 1


async def async_generator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("target", "part"),
    [
        pytest.param(generator, "is a generator, .* collect it into a list", id="generator"),
        pytest.param(async_generator, "is an async generator, .* collect it into a list", id="async generator"),
        pytest.param(functools.partial(generator), "generator", id="partial of a generator"),
        pytest.param(Shop, "is a class", id="class"),
        pytest.param(property(lambda self: 1), "below @property", id="property"),
        pytest.param(functools.cached_property(lambda self: 1), "cached_property", id="cached_property"),
        pytest.param(60, r"@cache\(ttl=60\)", id="number"),
        pytest.param("name", "options are given by name", id="string"),
        pytest.param(cache(lambda: 1), "cached already", id="cached"),
        pytest.param(classmethod(generator), "generator", id="classmethod of a generator"),
        pytest.param(staticmethod(generator), "generator", id="staticmethod of a generator"),
    ],
)
def test_refused_at_decoration(target: Any, part: str) -> None:
    with pytest.raises(NotCacheableError, match=part) as caught:
        cache(target)
    assert caught.value.code == "function_unsupported"


def test_what_a_plain_function_must_not_return_is_refused_at_the_first_call() -> None:
    async def inner() -> int:
        return 1

    @cache
    def returns_coroutine() -> Any:
        return inner()

    @cache
    def returns_generator() -> Any:
        return (x for x in [1])

    @cache
    def returns_async_generator() -> Any:
        return async_generator()

    for function in (returns_coroutine, returns_generator, returns_async_generator):
        with pytest.raises(NotCacheableError, match="cannot be cached"):
            function()


def test_the_public_names_are_there() -> None:
    for name in cachekit.__all__:
        assert getattr(cachekit, name) is not None
        assert name in dir(cachekit)
    assert cachekit.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        cachekit.nothing  # type: ignore[attr-defined]
