"""The remote tier, against a real Redis: hits, round trips, generations, and what it cannot hold."""

from __future__ import annotations

import asyncio
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

import identity_module
from cachekit import (
    Backend,
    CacheKitWarning,
    NotCacheableError,
    _native,
    cache,
    configure,
)
from conftest import Run
from support import Gate, RedisServer, in_threads, join, run_python, wait_until

VALUES: list[Any] = [
    None, True, False, 0, -1, 2**63, -(2**63), 2**200, 1.5, float("inf"), "text", "\u00e9\U0001f600", b"\x00\xff", [], [1, [2]],
    (), (1, (2,)), {}, {"a": (1, [2])}, {1: 2, (1, 2): "x", None: 3}, {1, 2}, frozenset({1, (2,)}), Decimal("1.50"),
    UUID(int=5), date(2024, 2, 29), datetime(2024, 1, 1, 12, 30, 15, 123456), datetime(2024, 1, 1, tzinfo=timezone.utc),
    timedelta(days=-1, microseconds=5), "x" * 100_000, [{"id": n, "name": "n" * 10} for n in range(500)],
]  # fmt: skip


@pytest.fixture(params=["tcp", "unix"])
def backend(request: pytest.FixtureRequest, redis: RedisServer) -> RedisServer:
    configure(backend=redis.url if request.param == "tcp" else redis.unix_url)
    return redis


def doubling(name: str, **options: Any) -> Any:
    @cache(namespace=name, l1=False, **options)
    def function(x: int) -> int:
        return x * 2

    return function


def doubling_async(name: str, **options: Any) -> Any:
    @cache(namespace=name, l1=False, **options)
    async def function(x: int) -> int:
        return x * 2

    return function


@pytest.mark.parametrize("preset", ["default", "minimal", "production", "dev", "test"])
def test_values_survive_a_round_trip_with_their_types(redis: RedisServer, preset: str) -> None:
    configure(backend=redis.unix_url)
    decorator: Any = cache if preset == "default" else getattr(cache, preset)

    @decorator(namespace=f"round trip {preset}", l1=False)
    def function(index: int) -> Any:
        return VALUES[index]

    for index, expected in enumerate(VALUES):
        function(index)
        got = function(index)
        assert got == expected
        assert type(got) is type(expected)
        assert repr(got) == repr(expected) or isinstance(expected, (set, frozenset))
    assert function.cache_info().l2_hits == len(VALUES)


def test_async_values_survive_too(redis: RedisServer, run: Run) -> None:
    configure(backend=redis.unix_url)

    @cache(namespace="async round trip", l1=False)
    async def function(index: int) -> Any:
        return VALUES[index]

    async def main() -> None:
        for index, expected in enumerate(VALUES):
            await function(index)
            got = await function(index)
            assert got == expected
            assert type(got) is type(expected)

    run(main())
    assert function.cache_info().l2_hits == len(VALUES)


def test_a_hit_costs_one_round_trip_and_a_miss_two(backend: RedisServer) -> None:
    identity_module.module_level(1)
    _native.clear_all()
    identity_module.module_level(2)  # the connection is there
    before = backend.commands_processed("mget", "get", "set", "psetex", "setex")
    _native.clear_all()
    identity_module.module_level(1)
    assert backend.commands_processed("mget", "get", "set", "psetex", "setex") - before == 1
    identity_module.module_level(3)
    assert backend.commands_processed("mget", "get", "set", "psetex", "setex") - before == 3
    identity_module.module_level(3)
    assert backend.commands_processed("mget", "get", "set", "psetex", "setex") - before == 3


def test_the_same_for_async(backend: RedisServer, run: Run) -> None:
    async def main() -> None:
        await identity_module.asynchronous(1)
        _native.clear_all()
        before = backend.commands_processed("mget", "get", "set", "psetex", "setex")
        await identity_module.asynchronous(1)
        assert backend.commands_processed("mget", "get", "set", "psetex", "setex") - before == 1
        await identity_module.asynchronous(3)
        assert backend.commands_processed("mget", "get", "set", "psetex", "setex") - before == 3
        assert identity_module.asynchronous.cache_info().l2_hits == 1

    run(main())


def test_many_tasks_share_one_connection(redis: RedisServer, run: Run) -> None:
    configure(backend=Backend(redis.url))

    @cache(namespace="one connection", l1=False)
    async def function(x: int) -> int:
        return x

    async def main() -> None:
        before = len(redis.clients())
        for _ in range(2):
            assert await asyncio.gather(*(function(x) for x in range(200))) == list(range(200))
        assert len(redis.clients()) - before == 1

    run(main())
    assert function.cache_info().l2_hits == 200


def test_sync_and_async_functions_of_threads_and_loops_at_once(redis: RedisServer) -> None:
    configure(backend=redis.url)

    @cache(namespace="mixed sync", l1=False)
    def sync(x: int) -> int:
        return x

    @cache(namespace="mixed async", l1=False)
    async def asynchronous(x: int) -> int:
        return x * 2

    async def main() -> None:
        for x in range(50):
            assert await asynchronous(x) == 2 * x
            assert sync(x) == x

    threads, results = in_threads(8, lambda: asyncio.run(main()))
    join(threads, 60)
    assert results == [None] * 8


def test_lifetimes_in_the_remote_tier(redis: RedisServer) -> None:
    configure(backend=redis.unix_url)

    def lifetime(**options: Any) -> int:
        @cache(namespace=f"lifetime {options}", **options)
        def function() -> int:
            return 1

        redis.command("FLUSHALL")
        function()
        (entry,) = redis.entries()
        return int(redis.command("PTTL", entry))

    assert 59_000 < lifetime(ttl=60) <= 60_000
    assert 1_000 < lifetime(ttl=1.5) <= 1_500
    assert 0 < lifetime(ttl=timedelta(milliseconds=900)) <= 900
    assert lifetime(ttl=None) == -1
    assert 1 <= lifetime(ttl=5e-4 + 2) <= 2_001


def test_jitter_gives_a_key_the_same_life_in_every_process(redis: RedisServer) -> None:
    code = """
        from cachekit import cache

        @cache.production(ttl=1000, ttl_jitter=0.5, namespace="jitter")
        def function(x: int) -> int:
            return x

        for x in range(40):
            function(x)
    """

    def lifetimes() -> dict[str, int]:
        redis.command("FLUSHALL")
        run_python(code, REDIS_URL=redis.unix_url)
        return {entry: int(redis.command("PTTL", entry)) for entry in redis.entries()}

    one, other = lifetimes(), lifetimes()
    assert len(one) == 40
    assert all(400_000 < left <= 1_000_000 for left in one.values())
    assert max(one.values()) - min(one.values()) > 250_000
    for entry, left in one.items():
        assert abs(other[entry] - left) < 60_000


@pytest.mark.parametrize("make", [doubling, doubling_async])
def test_a_use_renews_a_sliding_entry_in_one_round_trip(redis: RedisServer, make: Any) -> None:
    configure(backend=redis.unix_url)
    name = f"sliding {make.__name__}"
    function = make(name, ttl=1000, sliding=True)

    def call() -> int:
        result = function(2)
        return int(result if make is doubling else asyncio.run(result))

    def left() -> int:
        return int(redis.command("PTTL", redis.entries()[0]))

    assert call() == 4
    before = redis.commands_processed("eval")
    for _ in range(2):
        redis.command("PEXPIRE", redis.entries()[0], "5000")
        assert call() == 4
        assert left() > 990_000
    info = function.cache_info()
    assert (info.l2_hits, info.loads) == (2, 1)
    assert redis.commands_processed("eval") - before == 2
    # Without sliding it is left as it is.
    plain = doubling(f"plain {name}", ttl=1000)
    plain(2)
    entry = next(entry for entry in redis.entries() if ":plain" in entry)
    redis.command("PEXPIRE", entry, "5000")
    plain(2)
    assert int(redis.command("PTTL", entry)) <= 5000


def test_what_is_left_of_a_lifetime_goes_into_the_process_tier(redis: RedisServer) -> None:
    configure(backend=redis.unix_url)
    calls = []

    @cache(ttl=1.0, namespace="remaining lifetime")
    def function() -> int:
        calls.append(1)
        return len(calls)

    function()
    _native.clear_all()
    wait_until(lambda: int(redis.command("PTTL", redis.entries()[0])) < 700)
    assert function() == 1
    _native.advance_clock(0.8)
    wait_until(lambda: not redis.entries())
    assert function() == 2


def test_clear_reaches_other_processes_by_a_generation_and_not_by_scanning(backend: RedisServer) -> None:
    for x in range(5):
        identity_module.module_level(x)
    entries = backend.entries()
    before = backend.commands_processed("scan", "keys", "flushall", "flushdb", "del", "unlink")
    code = """
        import identity_module as m
        print(m.module_level(1), m.module_level.cache_info().l2_hits)
        {action}
    """
    out = run_python(code.format(action=""), REDIS_URL=backend.unix_url)
    assert out.split()[1] == "1"
    run_python(code.format(action="m.module_level.cache_clear()"), REDIS_URL=backend.unix_url)
    assert backend.commands_processed("scan", "flushall", "flushdb", "del", "unlink") <= before
    assert [key for key in backend.keys() if not key.endswith(":gen")] == entries
    assert any(key == "ck:default:identity_module.module_level:gen" for key in backend.keys())
    # The other process' clear, as a third one sees it, and then this one.
    assert run_python(code.format(action=""), REDIS_URL=backend.unix_url).split()[1] == "0"
    _native.clear_all()
    identity_module.CALLS.clear()
    identity_module.module_level(4)
    assert identity_module.CALLS == [4]


def test_async_clear(backend: RedisServer, run: Run) -> None:
    async def main() -> None:
        await identity_module.asynchronous(1)
        await identity_module.asynchronous.cache_clear()
        identity_module.CALLS.clear()
        await identity_module.asynchronous(1)
        assert identity_module.CALLS == [1]
        identity_module.asynchronous.cache_clear()
        generation = "ck:default:identity_module.asynchronous:gen"
        before = backend.command("GET", generation)
        while backend.command("GET", generation) == before:
            await asyncio.sleep(0.001)

    run(main())


def test_invalidate_put_peek_refresh_reach_the_remote_tier(backend: RedisServer) -> None:
    function = identity_module.versioned
    function.put("mine", 1)
    assert len(backend.entries()) == 1
    _native.clear_all()
    assert function.peek(1) == "mine"
    assert function(1) == "mine"
    assert function.refresh(1) != "mine"
    _native.clear_all()
    assert function.peek(1) != "mine"
    assert function.invalidate(1) is True
    assert backend.entries() == []
    assert function.peek(1) is None


def test_the_same_on_an_async_function(backend: RedisServer, run: Run) -> None:
    function = identity_module.asynchronous

    async def main() -> None:
        await function.put("mine", 1)
        _native.clear_all()
        assert await function.peek(1) == "mine"
        assert await function(1) == "mine"
        assert await function.refresh(1) != "mine"
        assert await function.invalidate(1) is True
        assert backend.entries() == []
        assert await function.ainvalidate(1) is False

    run(main())


def test_a_clear_during_a_load_makes_its_write_dead(backend: RedisServer) -> None:
    gate = Gate()

    @cache(namespace="clear during load", l1=False)
    def function() -> int:
        return gate()

    threads, results = in_threads(1, function)
    assert gate.entered.acquire(timeout=20)
    function.cache_clear()
    gate.open.set()
    join(threads)
    assert results == [1]
    assert function() == 2


# What cannot be stored.


def test_a_value_that_cannot_be_stored_is_returned_and_it_is_said_once(backend: RedisServer) -> None:
    class Thing: ...

    @cache(namespace="unstorable", isolation="shared")
    def function(x: int) -> Any:
        return {"a": [Thing()]}

    with pytest.warns(CacheKitWarning, match="is cached in this process only: .*Thing") as said:
        assert function(1) is function(1)
        function(2)
    assert len(said) == 1
    assert backend.entries() == []


def test_strict_raises_instead(backend: RedisServer) -> None:
    class Thing: ...

    @cache(namespace="unstorable strict", strict=True, isolation="shared")
    def function() -> Any:
        return {"a": [Thing()]}

    with pytest.raises(NotCacheableError, match="Thing") as caught:
        function()
    assert caught.value.code == "value_unsupported"


def test_a_value_that_is_too_large(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    configure(backend=redis.unix_url)
    monkeypatch.setenv("CACHEKIT_MAX_CHUNK_SIZE_MB", "1")

    @cache(namespace="too large", strict=True)
    def strict() -> bytes:
        return bytes(2 * 1024 * 1024)

    with pytest.raises(NotCacheableError, match="CACHEKIT_MAX_CHUNK_SIZE_MB") as caught:
        strict()
    assert caught.value.code == "value_too_large"

    @cache(namespace="too large but fine")
    def lenient() -> bytes:
        return bytes(2 * 1024 * 1024)

    with pytest.warns(CacheKitWarning, match="CACHEKIT_MAX_CHUNK_SIZE_MB"):
        assert len(lenient()) == 2 * 1024 * 1024
    assert redis.entries() == []


# Which tier it is.


def test_databases_are_apart(redis: RedisServer) -> None:
    zero, one = doubling("database 0", backend=redis.url), doubling("database 1", backend=redis.url.replace("/0", "/1"))
    zero(1), one(1)
    assert len(redis.entries()) == 1
    assert redis.command("INFO", "keyspace").count(b"keys=1") == 2


def test_the_memory_backend_is_a_remote_tier_without_a_server() -> None:
    function = doubling("memory", backend="memory://")
    assert [function(1), function(1)] == [2, 2]
    assert function.cache_info().l2_hits == 1
    other = Backend("memory://")
    assert other.kind == "memory"
    apart = doubling("memory apart", backend=other)
    apart(1)
    apart.cache_clear()
    assert apart(1) == 2
    assert apart.cache_info().l2_hits == 0
