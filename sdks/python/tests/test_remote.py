"""The remote tier, against a real Redis: hits, round trips, generations, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import threading
import time
import warnings
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

import identity_module
from cachekit import (
    Backend,
    BackendError,
    BackendTimeoutError,
    CacheKitWarning,
    NotCacheableError,
    _native,
    cache,
    configure,
)
from conftest import Run
from support import RedisServer, free_port, run_python, wait_until
from test_metrics import value

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

    failures: list[BaseException] = []

    def worker() -> None:
        async def main() -> None:
            for x in range(50):
                assert await asynchronous(x) == 2 * x
                assert sync(x) == x

        try:
            asyncio.run(main())
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=worker) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert failures == []


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
    entered, leave = threading.Event(), threading.Event()
    calls = []

    @cache(namespace="clear during load", l1=False)
    def function() -> int:
        calls.append(1)
        if len(calls) == 1:
            entered.set()
            assert leave.wait(20)
        return len(calls)

    thread = threading.Thread(target=function)
    thread.start()
    assert entered.wait(20)
    function.cache_clear()
    leave.set()
    thread.join(20)
    assert function() == 2


# What cannot be stored.


def test_a_value_that_cannot_be_stored_is_returned_and_it_is_said_once(backend: RedisServer) -> None:
    class Thing: ...

    @cache(namespace="unstorable", isolation="shared")
    def function(x: int) -> Any:
        return {"a": [Thing()]}

    with pytest.warns(CacheKitWarning, match="Thing") as said:
        function(1)
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


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "other", "type"])
def test_damaged_entries_are_misses(redis: RedisServer, damage: str) -> None:
    configure(backend=redis.unix_url)

    @cache(namespace=f"damaged {damage}", l1=False)
    def function(x: int) -> str:
        return "value" * 1000 + str(x)

    function(1), function(2)
    key, other = function.cache_key(1), function.cache_key(2)
    stored = redis.command("GET", key)
    if damage == "type":
        redis.command("DEL", key)
        redis.command("RPUSH", key, "x")
    else:
        changed = bytes([stored[0]]) + stored[1:20] + bytes([stored[20] ^ 1]) + stored[21:]
        redis.command(
            "SET", key, {"flip": changed, "cut": stored[:-3], "empty": b""}.get(damage, redis.command("GET", other))
        )
    errors = value("cachekit_lookups_total", tier="l2", outcome="error")
    assert function(1) == "value" * 1000 + "1"
    if damage != "type":
        assert value("cachekit_lookups_total", tier="l2", outcome="error") == errors + 1
        assert function(1) == "value" * 1000 + "1"
        assert function.cache_info().l2_hits == 1


# Failures. A cached call never raises for them.


def failing(name: str, **options: Any) -> Any:
    @cache(namespace=name, l1=False, **options)
    def function(x: int) -> int:
        return x * 2

    return function


def failing_async(name: str, **options: Any) -> Any:
    @cache(namespace=name, l1=False, **options)
    async def function(x: int) -> int:
        return x * 2

    return function


def test_nobody_listens(run: Run) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    function, asynchronous = failing("nobody", backend=url), failing_async("nobody async", backend=url)
    errors = value("cachekit_remote_operations_total", outcome="error")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [function(1), function(1)] == [2, 2]
        assert run(asynchronous(1)) == 2
    assert value("cachekit_remote_operations_total", outcome="error") > errors
    assert function.cache_info().remote_errors >= 1
    assert asynchronous.cache_info().remote_errors >= 1
    # Whoever asks for it by name is told.
    for call in (function.invalidate, function.cache_clear):
        with pytest.raises(BackendError) as caught:
            call(*([1] if call == function.invalidate else []))
        assert caught.value.retryable
        assert caught.value.code == "remote_unavailable"

    async def invalidate() -> None:
        await asynchronous.invalidate(1)

    with pytest.raises(BackendError):
        run(invalidate())


def test_no_such_socket_and_no_such_name(run: Run) -> None:
    for index, url in enumerate(["unix:///nowhere/redis.sock", "redis://name.that.does.not.exist.invalid"]):
        assert failing(f"no such {index}", backend=url)(1) == 2
        assert run(failing_async(f"no such async {index}", backend=url)(1)) == 2


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_killed_between_calls_and_started_again(own_redis: RedisServer, kind: str) -> None:
    own_redis.start()
    function = failing(f"killed {kind}", backend=own_redis.url if kind == "tcp" else own_redis.unix_url)
    assert [function(1), function(1)] == [2, 2]
    assert function.cache_info().l2_hits == 1
    own_redis.stop()
    assert [function(1), function(2)] == [2, 4]
    own_redis.start()
    assert [function(3), function(3)] == [6, 6]
    assert function.cache_info().l2_hits == 2


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_killed_between_calls_async(own_redis: RedisServer, kind: str, run: Run) -> None:
    own_redis.start()
    function = failing_async(
        f"killed async {kind} {run}", backend=own_redis.url if kind == "tcp" else own_redis.unix_url
    )

    async def main() -> None:
        assert [await function(1), await function(1)] == [2, 2]
        assert function.cache_info().l2_hits == 1
        own_redis.stop()
        assert [await function(1), await function(2)] == [2, 4]
        own_redis.start()

        async def hit() -> bool:
            before = function.cache_info().l2_hits
            assert await function(3) == 6
            return function.cache_info().l2_hits > before

        for _ in range(3):
            if await hit():
                break
        else:
            raise AssertionError("never reached the new server")

    run(main())


def test_restarted_between_calls_nobody_notices(own_redis: RedisServer) -> None:
    own_redis.start()
    function = failing("restarted", backend=own_redis.url)
    function(1)
    own_redis.stop()
    own_redis.start()
    # A connection that died while it lay idle is replaced without a miss.
    function(1)
    assert function(1) == 2
    assert function.cache_info().l2_hits == 1
    assert function.cache_info().remote_errors == 0


@pytest.mark.parametrize("when", ["connected", "new"])
def test_a_suspended_server_costs_no_more_than_the_timeout(own_redis: RedisServer, when: str) -> None:
    own_redis.start()
    function = failing(f"suspended {when}", backend=own_redis.unix_url, remote_timeout=0.15)
    if when == "connected":
        function(1)
    timeouts = value("cachekit_remote_operations_total", outcome="timeout")
    own_redis.suspend()
    try:
        begun = time.monotonic()
        assert function(1) == 2
        took = time.monotonic() - begun
        # One read and one write, each bounded.
        assert 0.14 < took < 0.15 * 2 + 0.25
        assert value("cachekit_remote_operations_total", outcome="timeout") > timeouts
        with pytest.raises(BackendTimeoutError) as caught:
            function.invalidate(1)
        assert isinstance(caught.value, TimeoutError)
        assert caught.value.retryable
    finally:
        own_redis.resume()
    assert function(5) == 10
    assert function(5) == 10
    assert function.cache_info().l2_hits >= 1


def test_a_suspended_server_async(own_redis: RedisServer, run: Run) -> None:
    own_redis.start()
    function = failing_async(f"suspended async {run}", backend=own_redis.unix_url, remote_timeout=0.15)

    async def main() -> None:
        assert await function(1) == 2
        own_redis.suspend()
        try:
            begun = time.monotonic()
            # All of them wait at once, and other tasks go on meanwhile.
            ticks = 0

            async def ticking() -> None:
                nonlocal ticks
                while True:
                    await asyncio.sleep(0.01)
                    ticks += 1

            ticker = asyncio.create_task(ticking())
            assert await asyncio.gather(*(function(x) for x in range(20))) == [x * 2 for x in range(20)]
            took = time.monotonic() - begun
            ticker.cancel()
            assert 0.14 < took < 0.15 * 2 + 0.4
            assert ticks > 5
        finally:
            own_redis.resume()
        assert await function(50) == 100
        assert await function(50) == 100
        assert function.cache_info().l2_hits >= 1

    run(main())


def test_a_server_that_does_not_speak_redis(run: Run) -> None:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    connection.recv(1000)
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        url = f"redis://127.0.0.1:{listener.getsockname()[1]}"
        assert failing("http", backend=url)(1) == 2
        assert run(failing_async(f"http async {run}", backend=url)(1)) == 2


def test_passwords(own_redis: RedisServer, run: Run) -> None:
    own_redis.password = "hunter2"
    own_redis.start("--requirepass", "hunter2")
    good, bad = (f"redis://:{word}@127.0.0.1:{own_redis.port}/0" for word in ("hunter2", "wrong"))
    function = failing("password", backend=good)
    assert [function(1), function(1)] == [2, 2]
    assert function.cache_info().l2_hits == 1
    asynchronous = failing_async(f"password async {run}", backend=good)

    async def twice() -> None:
        assert [await asynchronous(1), await asynchronous(1)] == [2, 2]

    run(twice())
    assert asynchronous.cache_info().l2_hits == 1
    refused = failing("wrong password", backend=bad)
    assert refused(1) == 2
    with pytest.raises(BackendError) as caught:
        refused.invalidate(1)
    assert "wrong" not in str(caught.value).replace("wrong password", "").replace("wrong number", "")


def test_databases_are_apart(redis: RedisServer) -> None:
    zero, one = failing("database 0", backend=redis.url), failing("database 1", backend=redis.url.replace("/0", "/1"))
    zero(1), one(1)
    assert len(redis.entries()) == 1
    assert redis.command("INFO", "keyspace").count(b"keys=1") == 2


def test_a_cancelled_call_leaves_no_reply_behind_for_another(redis: RedisServer, run: Run) -> None:
    configure(backend=redis.unix_url)

    @cache(namespace=f"cancelled {run}", l1=False)
    async def function(x: int) -> int:
        return x

    async def main() -> None:
        await asyncio.gather(*(function(x) for x in range(50)))
        for round in range(20):
            tasks = [asyncio.create_task(function(x)) for x in range(50)]
            await asyncio.sleep(0)
            for task in tasks[round::3]:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            for x, result in enumerate(results):
                assert result == x or isinstance(result, asyncio.CancelledError)

    run(main())


def test_the_memory_backend_is_a_remote_tier_without_a_server() -> None:
    function = failing("memory", backend="memory://")
    assert [function(1), function(1)] == [2, 2]
    assert function.cache_info().l2_hits == 1
    other = Backend("memory://")
    assert other.kind == "memory"
    apart = failing("memory apart", backend=other)
    apart(1)
    apart.cache_clear()
    assert apart(1) == 2
    assert apart.cache_info().l2_hits == 0
