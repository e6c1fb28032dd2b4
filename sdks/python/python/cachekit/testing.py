"""A pytest plugin that isolates and inspects caches: `-p cachekit.testing`, or `pytest_plugins = ["cachekit.testing"]`.

Loaded by name and not through an entry point, for which every test run of every project that has cachekit installed
would pay.

Each test begins with empty caches and zero counters. Functions that would use a remote tier use a store in memory that
is the test's own, whatever backend they name, so no test reads what another one wrote and none needs a server.
`configure` called in a test ends with it. `@pytest.mark.cachekit(backend=...)` gives a test another backend: a URL, a
`Backend`, or `None` for the in-process tier alone; the ellipsis itself leaves every function the backend
that it names.
"""

from __future__ import annotations

import pytest

from cachekit import _configuration, _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from cachekit._native import AsyncCachedFunction, Backend, CachedFunction, CacheInfo


class Caches:
    """What a test may ask and do: every cache of the process, as this test left it."""

    def __init__(self, backend: Backend | None) -> None:
        self.backend = backend
        """What stands for the remote tier of every function in this test."""

    def __iter__(self) -> Iterator[CachedFunction[..., Any] | AsyncCachedFunction[..., Any]]:
        return iter(_native.caches())

    @property
    def info(self) -> CacheInfo:
        """The counters and sizes of all caches, added up."""
        make: Any = _native.CacheInfo
        total = [0] * len(make()._fields)
        for function in self:
            total = [mine + its for mine, its in zip(total, function.cache_info())]
        info: CacheInfo = make()(*total)
        return info

    def used(self) -> dict[str, CacheInfo]:
        """The caches that this test called, by the qualified names of their functions."""
        infos = ((function, function.cache_info()) for function in self)
        return {
            f"{function.__module__}.{function.__qualname__}": info
            for function, info in infos
            if info.hits + info.misses
        }

    def forget_process(self) -> None:
        """Empties the in-process tiers and leaves the remote one: what the next process would find."""
        _native.clear_all()

    def advance(self, seconds: float) -> None:
        """Moves the time by which entries expire, in either tier."""
        _native.advance_clock(seconds)


def pytest_configure(config: pytest.Config) -> None:
    """Tells pytest of the marker."""
    config.addinivalue_line("markers", "cachekit(backend): the backend of every cached function in this test")


@pytest.fixture(autouse=True)
def caches(request: pytest.FixtureRequest) -> Iterator[Caches]:
    """Isolates the caches for this test, and inspects them."""
    marker = request.node.get_closest_marker("cachekit")
    choice = marker.kwargs.get("backend", ...) if marker is not None else "memory://"
    override: Backend | _configuration.Unset | None
    if choice is ...:
        override = _configuration.UNSET
    elif choice == "memory://":
        # Not through the table of URLs, in which one URL is one store.
        override = _native.Backend("memory://")
    else:
        override = _configuration.backend_of(choice)
    before = _configuration.replace(
        _configuration.Configuration(_configuration.current.backend, _configuration.current.application, override)
    )
    _native.clear_all()
    yield Caches(None if isinstance(override, _configuration.Unset) else override)
    _configuration.replace(before)
    _native.clear_all()
