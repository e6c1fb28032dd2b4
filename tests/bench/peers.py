"""The caches that are compared, each in the way its own documentation says is best for what is measured.

None is imported before it is measured. What a peer can do are its traits; a case names those that it needs.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

HOUR = 3600
SERIAL = itertools.count()
PUBLISHED = "0.24.1"


@dataclass(frozen=True)
class Setting:
    """What a case decides for all: how many entries fit, and the remote tier of those that have one."""

    size: int
    remote: str | None = None


@dataclass(frozen=True)
class Peer:
    """A way to cache a function."""

    name: str
    package: str | None
    """Its distribution; `None` for what comes with Python."""
    settings: str
    decorator: Callable[[Setting], Decorator]
    traits: frozenset[str]
    """`sync`, `async`, `keywords`, `method`; `unhashable` arguments; `isolates`, where mutating a result harms nobody; `bounded`
    by a number of entries; `large`, fit for a million of them; `threads`, safe in several."""
    only: str = ""
    """The trait without whose need it takes no part."""
    published: bool = False
    """Needs the published package, which is imported by cachekit's name."""


def _traits(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _lru_cache(setting: Setting) -> Decorator:
    return functools.lru_cache(maxsize=setting.size)


def _cachekit(isolation: str) -> Callable[[Setting], Decorator]:
    def decorator(setting: Setting) -> Decorator:
        from cachekit import cache

        made: Decorator = cache.minimal(
            ttl=HOUR,
            isolation=isolation,
            backend=setting.remote,
            namespace=f"bench.{next(SERIAL)}",
            max_entries=setting.size,
            max_bytes=10**12,
        )
        return made

    return decorator


def _cachetools(setting: Setting) -> Decorator:
    import cachetools

    made: Decorator = cachetools.cached(cachetools.LRUCache(setting.size), lock=threading.Lock())
    return made


def _cachetools_ttl(setting: Setting) -> Decorator:
    import cachetools.func

    made: Decorator = cachetools.func.ttl_cache(setting.size, HOUR)
    return made


def _cachebox(setting: Setting) -> Decorator:
    import cachebox

    made: Decorator = cachebox.cached(
        cachebox.LRUCache(setting.size, capacity=setting.size), lock=None, postprocess=None
    )
    return made


def _cachebox_ttl(setting: Setting) -> Decorator:
    import cachebox

    made: Decorator = cachebox.cached(cachebox.TTLCache(setting.size, HOUR), lock=None, postprocess=None)
    return made


def _cachebox_deepcopy(setting: Setting) -> Decorator:
    import cachebox

    made: Decorator = cachebox.cached(
        cachebox.LRUCache(setting.size), lock=None, postprocess=cachebox.postprocess_deepcopy
    )
    return made


def _theine(setting: Setting) -> Decorator:
    import theine

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        cached: Any = theine.Memoize(setting.size, timedelta(seconds=HOUR))(function)
        if len(inspect.signature(function).parameters) == 1:
            cached.key(lambda key: key)
        made: Callable[..., Any] = cached
        return made

    return decorate


def _onecache(setting: Setting) -> Decorator:
    import onecache

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        is_async = inspect.iscoroutinefunction(function)
        kind = onecache.AsyncCacheDecorator if is_async else onecache.CacheDecorator
        made: Callable[..., Any] = kind(maxsize=setting.size)(function)
        return made

    return decorate


def _onecache_threads(setting: Setting) -> Decorator:
    import onecache

    made: Decorator = onecache.CacheDecorator(maxsize=setting.size, thread_safe=True)
    return made


def _moka(setting: Setting) -> Decorator:
    import moka_py

    made: Decorator = moka_py.cached(maxsize=setting.size)
    return made


def _dogpile(backend: str) -> Callable[[Setting], Decorator]:
    def decorator(setting: Setting) -> Decorator:
        from dogpile.cache import make_region
        from dogpile.cache.util import kwarg_function_key_generator

        region = make_region(function_key_generator=kwarg_function_key_generator)
        made: Decorator = region.configure(backend, expiration_time=HOUR).cache_on_arguments()
        return made

    return decorator


def _diskcache(setting: Setting) -> Decorator:
    import diskcache

    # In memory where there is such a folder. The cache removes none, so the run does, with the folder that holds it.
    made: Decorator = diskcache.Cache(tempfile.mkdtemp(prefix="diskcache")).memoize(expire=HOUR)
    return made


def _async_lru(setting: Setting) -> Decorator:
    from async_lru import alru_cache

    made: Decorator = alru_cache(maxsize=setting.size)
    return made


def _aiocache(setting: Setting) -> Decorator:
    from aiocache import SimpleMemoryCache, cached

    made: Decorator = cached(ttl=HOUR, cache=SimpleMemoryCache, timeout=0)
    return made


def _cashews(setting: Setting) -> Decorator:
    from cashews import Cache

    cache = Cache()
    cache.setup(f"mem://?size={setting.size}")

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        names = [name for name in inspect.signature(function).parameters if name != "self"]
        made: Callable[..., Any] = cache(ttl=HOUR, key=":".join(["f", *(f"{{{name}}}" for name in names)]))(function)
        return made

    return decorate


def _published_local(setting: Setting) -> Decorator:
    from cachekit import cache

    made: Decorator = cache.local(ttl=HOUR, max_entries=setting.size)
    return made


def _published_alone(setting: Setting) -> Decorator:
    from cachekit import cache

    made: Decorator = cache.minimal(ttl=HOUR, backend=None)
    return made


def _published_remote(setting: Setting) -> Decorator:
    from cachekit import cache

    # Its backend is found by the variable REDIS_URL.
    made: Decorator = cache.minimal(ttl=HOUR, namespace=f"bench{next(SERIAL)}")
    return made


LRU_CACHE = "functools.lru_cache"
CACHEKIT = "cachekit"
CACHEKIT_COPY = "cachekit, copy"
CACHEBOX = "cachebox LRUCache"

PEERS = (
    Peer(
        LRU_CACHE, None, "lru_cache(maxsize=N)", _lru_cache,
        _traits("sync keywords method bounded large threads"),
    ),
    Peer(
        CACHEKIT, "cachekit", "cache.minimal(ttl=3600, max_entries=N), values shared", _cachekit("shared"),
        _traits("sync async keywords method unhashable bounded large threads"),
    ),
    Peer(
        CACHEKIT_COPY, "cachekit", 'cache.minimal(ttl=3600, isolation="copy")', _cachekit("copy"),
        _traits("sync async keywords method unhashable isolates"),
    ),
    Peer(
        "onecache", "onecache", "CacheDecorator(maxsize=N), compiled, no ttl", _onecache,
        _traits("sync async keywords method unhashable bounded large"),
    ),
    Peer(
        "onecache, thread-safe", "onecache", "CacheDecorator(maxsize=N, thread_safe=True)", _onecache_threads,
        _traits("sync bounded large threads"), only="threads",
    ),
    Peer(
        CACHEBOX, "cachebox", "cached(LRUCache(N, capacity=N), lock=None, postprocess=None)", _cachebox,
        _traits("sync async keywords method bounded large threads"),
    ),
    Peer(
        "cachebox TTLCache", "cachebox", "cached(TTLCache(N, 3600), lock=None, postprocess=None)", _cachebox_ttl,
        _traits("sync async keywords method bounded"),
    ),
    Peer(
        "cachebox, deepcopy", "cachebox", "cached(LRUCache(N), postprocess=postprocess_deepcopy)", _cachebox_deepcopy,
        _traits("sync async isolates"), only="isolates",
    ),
    Peer(
        "cachetools cached", "cachetools", "cached(LRUCache(N), lock=Lock())", _cachetools,
        _traits("sync keywords method bounded large threads"),
    ),
    Peer(
        "cachetools ttl_cache", "cachetools", "func.ttl_cache(N, 3600)", _cachetools_ttl,
        _traits("sync keywords method bounded"),
    ),
    Peer(
        "moka-py", "moka-py", "cached(maxsize=N)", _moka,
        _traits("sync async keywords method bounded large threads"),
    ),
    Peer(
        "theine", "theine", "Memoize(N, ttl), with locks, and a key function where there is one argument", _theine,
        _traits("sync async keywords method bounded large threads"),
    ),
    Peer(
        "async-lru", "async-lru", "alru_cache(maxsize=N)", _async_lru,
        _traits("async keywords method bounded"),
    ),
    Peer(
        "aiocache", "aiocache", "cached(ttl=3600, cache=SimpleMemoryCache, timeout=0)", _aiocache,
        _traits("async keywords method unhashable"),
    ),
    Peer(
        "cashews", "cashews", 'cache(ttl=3600, key="f:{x}") on mem://?size=N', _cashews,
        _traits("async keywords method unhashable bounded"),
    ),
    Peer(
        "dogpile memory", "dogpile.cache", "cache_on_arguments() with keyword keys", _dogpile("dogpile.cache.memory"),
        _traits("sync keywords method unhashable"),
    ),
    Peer(
        "dogpile memory_pickle", "dogpile.cache", "cache_on_arguments()", _dogpile("dogpile.cache.memory_pickle"),
        _traits("sync isolates"), only="isolates",
    ),
    Peer(
        "diskcache", "diskcache", "Cache(folder).memoize(expire=3600)", _diskcache,
        _traits("sync keywords unhashable isolates"),
    ),
    Peer(
        f"cachekit {PUBLISHED} local", "cachekit", "cache.local(ttl=3600, max_entries=N)", _published_local,
        _traits("sync async keywords unhashable bounded"), published=True,
    ),
    Peer(
        f"cachekit {PUBLISHED} minimal", "cachekit", "cache.minimal(ttl=3600, backend=None)", _published_alone,
        _traits("sync async keywords unhashable"), published=True,
    ),
    Peer(
        f"cachekit {PUBLISHED} Redis", "cachekit", "cache.minimal(ttl=3600) with REDIS_URL: L1 and Redis",
        _published_remote, _traits("sync async keywords unhashable isolates"), published=True,
    ),
)  # fmt: skip


def peers(needs: frozenset[str], published: bool) -> list[Peer]:
    """Those that can do what is needed, in one of the two environments; `lru_cache` where it can is in both."""
    return [
        peer
        for peer in PEERS
        if needs <= peer.traits
        and (not peer.only or peer.only in needs)
        and (peer.package is None or peer.published == published)
    ]
