"""Every test begins with empty caches, no configuration and no environment of ours."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from typing import Any

import pytest

from cachekit import _configuration, _keys, _native
from support import REDIS, RedisServer

Run = Callable[[Coroutine[Any, Any, Any]], Any]

# A shell has what it runs in the background ignore it, and so would the processes that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for variable in list(os.environ):
        if variable.startswith("CACHEKIT_") or variable == "REDIS_URL":
            monkeypatch.delenv(variable)
    monkeypatch.setattr(_keys, "_shared", None)
    before = _configuration.replace(_configuration.Configuration())
    yield
    _configuration.replace(before)
    _native.clear_all()


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Threads switch as often as they can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.fixture(scope="session")
def shared_redis() -> Iterator[RedisServer]:
    """One server for a whole worker; tests take `redis`, which empties it."""
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer()
    try:
        yield server.start()
    finally:
        server.remove()


@pytest.fixture
def redis(shared_redis: RedisServer) -> RedisServer:
    shared_redis.command("FLUSHALL")
    return shared_redis


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A server that the test may stop, suspend and start again."""
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer()
    try:
        yield server
    finally:
        server.remove()


async def _bounded(main: Coroutine[Any, Any, Any]) -> Any:
    """A test that waits for what never comes fails, and does not hang."""
    return await asyncio.wait_for(main, 60)


def _asyncio_run(main: Coroutine[Any, Any, Any]) -> Any:
    return asyncio.run(_bounded(main))


def _uvloop_run(main: Coroutine[Any, Any, Any]) -> Any:
    import uvloop

    loop = uvloop.new_event_loop()
    try:
        return loop.run_until_complete(_bounded(main))
    finally:
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Runs a coroutine to its end on each event loop."""
    if request.param == "uvloop":
        # Here, where the test has made no coroutine yet.
        pytest.importorskip("uvloop")
    return _asyncio_run if request.param == "asyncio" else _uvloop_run
