"""Any value of the type table goes to a real Redis and comes back with its types, whichever preset wrote it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

import native_reference as reference
import value_strategies
from cachekit import cache
from support import RedisServer

through_redis = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.mark.parametrize("preset", ["production", "minimal"])
def test_sync(redis: RedisServer, preset: str) -> None:
    source: list[Any] = [None]

    @getattr(cache, preset)(backend=redis.unix_url, namespace="round trip", l1=False)
    def function(number: int) -> Any:
        return source[0]

    @through_redis
    @given(value_strategies.values)
    def round_trip(value: Any) -> None:
        source[0] = value
        number = function.cache_info().misses
        function(number)
        source[0] = "never asked for"
        before = function.cache_info().l2_hits
        assert reference.same(function(number), value)
        assert function.cache_info().l2_hits == before + 1

    round_trip()


def test_async(redis: RedisServer) -> None:
    source: list[Any] = [None]

    @cache.production(backend=redis.url, namespace="round trip", l1=False)
    async def function(number: int) -> Any:
        return source[0]

    async def twice(value: Any) -> Any:
        source[0] = value
        number = function.cache_info().misses
        await function(number)
        source[0] = "never asked for"
        return await function(number)

    loop = asyncio.new_event_loop()

    @through_redis
    @given(value_strategies.values)
    def round_trip(value: Any) -> None:
        before = function.cache_info().l2_hits
        assert reference.same(loop.run_until_complete(twice(value)), value)
        assert function.cache_info().l2_hits == before + 1

    try:
        round_trip()
        loop.run_until_complete(loop.shutdown_asyncgens())
    finally:
        loop.close()
