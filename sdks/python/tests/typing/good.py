"""Every public name, used well. Checked by mypy --strict and pyright; each `reveal_type` states what is expected."""

from __future__ import annotations

import asyncio
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar, overload

from typing_extensions import Concatenate, ParamSpec, Self, assert_type, reveal_type

import cachekit
from cachekit import (
    AsyncCachedFunction,
    Backend,
    BackendError,
    BackendTimeoutError,
    CachedFunction,
    CacheInfo,
    CacheKitError,
    CacheKitWarning,
    ConfigurationError,
    EnvelopeError,
    InternalError,
    NotCacheableError,
    cache,
    configure,
    disabled,
    is_disabled,
    metrics_text,
)
from cachekit.serializers import EncryptionWrapper, OrjsonSerializer, Serializer


@cache
def bare(x: int, flag: bool = False) -> str:
    return str((x, flag))


@cache(ttl=60, namespace="n", version=2, backend=None, key=lambda x: x, l1={"max_entries": 3}, strict=True)
def options(x: int) -> list[int]:
    return [x]


@cache.production
def preset(*items: int, **named: str) -> dict[str, int]:
    return dict.fromkeys(named, sum(items))


@cache.minimal(ttl=timedelta(minutes=1), version="2", max_entries=5, max_bytes=1_000, isolation="copy")
def preset_with_options(x: int, /, *, y: bytes) -> tuple[int, bytes]:
    return x, y


@cache(immutable=(Backend, str), copy=lambda value: value, ttl_jitter=0.1, sliding=True)
def isolated(x: int) -> list[int]:
    return [x]


@cache.test(immutable=Backend)
def shared_instances(x: int) -> list[int]:
    return [x]


@cache.local(isolation="sealed")
async def sealed(x: int) -> list[int]:
    return [x]


class Reversed:
    def serialize(self, value: str) -> bytes:
        return value[::-1].encode()

    def deserialize(self, data: bytes) -> str:
        return data.decode()[::-1]


chosen: Serializer = Reversed()


@cache(serializer=chosen)
def reversed_text(x: int) -> str:
    return str(x)


@cache.production(serializer=OrjsonSerializer(option=1))
def written_as_json(x: int) -> list[int]:
    return [x]


@cache(serializer=EncryptionWrapper(OrjsonSerializer(), master_key=bytes(32), tenant_id="one"))
def sealed_json(x: int) -> list[int]:
    return [x]


@cache.dev(serializer="msgpack")
async def written_for_others(x: int) -> list[int]:
    return [x]


@cache
async def async_bare(x: int) -> str:
    return str(x)


@cache.dev(ttl=None, l1=False, backend="redis://localhost", remote_timeout=0.2)
async def async_options(x: int) -> set[int]:
    return {x}


@cache.local
async def async_preset(x: int) -> None: ...


@cache.test()
def no_options() -> float:
    return 1.0


T = TypeVar("T")
P = ParamSpec("P")
Number = TypeVar("Number", bound=float)


@cache
def any_result(x: int) -> Any:
    return x


@cache
async def async_any_result(x: dict[str, Any]) -> Any:
    return x


@cache
def generic(x: T) -> T:
    return x


@cache(ttl=5)
def generic_with_options(items: list[T], default: T) -> T:
    return items[0] if items else default


@cache
def generic_list(x: T) -> list[T]:
    return [x]


@cache
async def async_generic(x: T) -> T:
    return x


@cache
def bounded(x: Number) -> Number:
    return x


@overload
def overloaded(x: int) -> int: ...
@overload
def overloaded(x: str) -> str: ...
@cache
def overloaded(x: Any) -> Any:
    return x


@cache
async def maybe(x: int) -> str | None:
    return str(x) if x else None


@cache
async def job(x: int) -> Coroutine[Any, Any, str]:
    return async_bare(x)


def without_first(function: Callable[Concatenate[int, P], T]) -> Callable[P, T]:
    return functools.partial(function, 1)


@cache
@without_first
def shortened(x: int, name: str) -> bytes:
    return name.encode() * x


def join(x: int, name: str) -> str:
    return name * x


class Instance:
    def __call__(self, x: int) -> str:
        return str(x)


@dataclass(frozen=True)
class Box(Generic[T]):
    item: T
    convert: Callable[[int], str]
    cached: CachedFunction[[int], str]

    @cache
    def opened(self, times: int) -> list[T]:
        return [self.item] * times

    @cache
    async def async_opened(self, times: int) -> T:
        return self.item


class Shop:
    @cache
    def price(self, item: str, count: int = 1) -> float:
        return len(item) * float(count)

    @cache.production(ttl=5)
    async def stock(self, item: str) -> int:
        return len(item)

    @cache
    @classmethod
    def above_class(cls, item: str) -> int:
        return len(item)

    @classmethod
    @cache
    def below_class(cls, item: str) -> int:
        return len(item)

    @cache
    @staticmethod
    def above_static(item: str) -> int:
        return len(item)

    @staticmethod
    @cache
    def below_static(item: str) -> int:
        return len(item)

    @property
    @cache
    def total(self) -> int:
        return 1

    @cache
    def itself(self, item: str) -> Self:
        return self

    @cache
    async def async_itself(self, item: str) -> Self:
        return self

    @cache
    @classmethod
    def above_made(cls, item: str) -> Self:
        return cls()

    @classmethod
    @cache
    def below_made(cls, item: str) -> Self:
        return cls()


class Base(ABC):
    @abstractmethod
    @cache
    def area(self, scale: int) -> int: ...

    @cache
    def scales(self, largest: int) -> Sequence[int]:
        return range(largest)

    @cache
    async def stored(self, scale: int) -> Sequence[int]:
        return range(scale)


class Square(Base):
    # pyright compares the parameters of cached methods with `self` among them.
    @cache
    def area(self, scale: int) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        return scale * scale

    @cache
    def scales(self, largest: int, step: int = 1) -> list[int]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return [*super().scales(largest), step]

    @cache
    async def stored(self, scale: int) -> list[int]:  # pyright: ignore[reportIncompatibleVariableOverride]
        return [*await super().stored(scale)]


narrower: CachedFunction[[int], Sequence[int]] = options


reveal_type(bare)  # mypy: CachedFunction[[x: int, flag: bool =], str] | pyright: CachedFunction[(x: int, flag: bool = False), str]
reveal_type(async_bare)  # mypy: AsyncCachedFunction[[x: int], str] | pyright: AsyncCachedFunction[(x: int), str]
reveal_type(preset_with_options)  # mypy: CachedFunction[[int, *, y: bytes], tuple[int, bytes]] | pyright: CachedFunction[(x: int, /, *, y: bytes), tuple[int, bytes]]
reveal_type(any_result)  # mypy: Any | pyright: CachedFunction[(x: int), Any]
reveal_type(async_any_result)  # mypy: AsyncCachedFunction[[x: dict[str, Any]], Any] | pyright: AsyncCachedFunction[(x: dict[str, Any]), Any]
reveal_type(generic(1))  # mypy: Any | pyright: int
reveal_type(generic_with_options([1], 2))  # mypy: Any | pyright: int

assert_type(bare(1), str)
assert_type(bare(x=1, flag=True), str)
assert_type(options(1), list[int])
assert_type(preset(1, 2, a="b"), dict[str, int])
assert_type(preset_with_options(1, y=b""), tuple[int, bytes])
assert_type(no_options(), float)
assert_type(generic.invalidate(1), bool)
assert_type(generic_list(1), list[int])

assert_type(bounded(1), int)
assert_type(bounded(1.5), float)
assert_type(overloaded(1), int)
assert_type(overloaded("a"), str)
assert_type(shortened("a"), bytes)
assert_type(shortened.invalidate(name="a"), bool)
assert_type(without_first(cache(join))("a"), str)
assert_type(cache(functools.partial(join, 1))("a"), str)
assert_type(cache(Instance())(1), str)
assert_type(cache(Instance()).peek(1), "str | None")
assert_type(cache(lambda: 1)(), int)
box = Box(1, cache(Instance()), cache(Instance()))
assert_type(box.convert(1), str)
assert_type(box.cached.peek(1), "str | None")
assert_type(box.opened(2), list[int])
assert_type(Box[int].opened(box, 2), list[int])

assert_type(bare.invalidate(1, flag=True), bool)
assert_type(bare.invalidate_cache(1), bool)
assert_type(bare.refresh(x=1), str)
assert_type(bare.peek(1), "str | None")
assert_type(bare.put("value", 1, flag=True), None)
assert_type(bare.bypass(1), str)
assert_type(bare.cache_key(1), str)
assert_type(bare.cache_info(), CacheInfo)
assert_type(bare.cache_info().l2_hits, int)
assert_type(bare.cache_clear(), None)
assert_type(bare.__name__, str)
assert_type(bare.__wrapped__(1), str)
assert_type(bare.is_async, bool)

shop = Shop()
assert_type(shop.price("a"), float)
assert_type(shop.price.invalidate("a", count=2), bool)
assert_type(shop.price.put(1.5, "a"), None)
assert_type(shop.price.peek(item="a"), "float | None")
assert_type(Shop.price(shop, "a"), float)
assert_type(Shop.price.refresh(shop, "a"), float)
assert_type(Shop.above_class("a"), int)
assert_type(Shop.above_class.invalidate("a"), bool)
assert_type(shop.above_class("a"), int)
assert_type(Shop.below_class("a"), int)
assert_type(shop.below_class("a"), int)
assert_type(Shop.above_static("a"), int)
assert_type(Shop.above_static.peek("a"), "int | None")
assert_type(shop.above_static("a"), int)
assert_type(Shop.below_static("a"), int)
assert_type(shop.below_static("a"), int)
assert_type(shop.total, int)
reveal_type(shop.itself("a"))  # mypy: Any | pyright: Shop
reveal_type(Shop.above_made("a"))  # mypy: Any | pyright: Shop
reveal_type(shop.below_made("a"))  # mypy: Any | pyright: Shop
assert_type(shop.itself.invalidate("a"), bool)
assert_type(Square().area(2), int)
assert_type(Square().scales(2, step=3), list[int])


async def run() -> None:
    assert_type(await async_bare(1), str)
    assert_type(await async_bare.invalidate(1), bool)
    assert_type(await async_bare.ainvalidate(x=1), bool)
    assert_type(await async_bare.ainvalidate_cache(1), bool)
    assert_type(await async_bare.refresh(1), str)
    assert_type(await async_bare.peek(1), "str | None")
    assert_type(await async_bare.put("value", 1), None)
    assert_type(await async_bare.bypass(1), str)
    assert_type(await async_bare.cache_clear(), None)
    assert_type(async_bare.cache_key(1), str)
    assert_type(await async_options(1), set[int])
    assert_type(await bare.ainvalidate(1), bool)
    assert_type(await shop.stock("a"), int)
    assert_type(await shop.stock.invalidate("a"), bool)
    assert_type(await shop.stock.put(3, "a"), None)
    both = await asyncio.gather(async_bare(1), async_options(2))
    assert_type(both, tuple[str, set[int]])
    task = asyncio.create_task(async_bare(1))
    assert_type(await task, str)
    assert_type(await asyncio.create_task(async_bare.refresh(1)), str)
    assert_type(await asyncio.create_task(bare.ainvalidate(1)), bool)
    await async_preset(1)
    reveal_type(await shop.async_itself("a"))  # mypy: Any | pyright: Shop
    assert_type(await async_generic(1), int)
    assert_type(await maybe(1), "str | None")
    assert_type(await (await job(1)), str)
    assert_type(await box.async_opened(1), int)


def takes(sync: CachedFunction[[int], str], asynchronous: AsyncCachedFunction[[int], str]) -> str:
    assert_type(asynchronous.is_async, bool)
    return sync(1)


configure(backend="redis://localhost", application="app")
configure(backend=Backend("memory://"))
configure(backend=None)
assert_type(Backend("memory://").url, str)
assert_type(metrics_text(), str)
assert_type(is_disabled(), bool)
assert_type(cachekit.__version__, str)

with disabled():
    bare(1)
with disabled(process=True):
    bare(1)

try:
    bare.invalidate(1)
except (BackendTimeoutError, BackendError, EnvelopeError, InternalError) as error:
    assert_type(error.retryable, bool)
except (ConfigurationError, NotCacheableError) as error:
    assert_type(error.code, "str | None")
except CacheKitError as error:
    assert_type(error.context["reason"], str)

category: type[UserWarning] = CacheKitWarning
anything: Any = cache
