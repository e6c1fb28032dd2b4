"""A remote tier that is away, slow, wrong or damaged: a cached call never raises for it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
import warnings

import pytest

from cachekit import BackendError, BackendTimeoutError, cache, configure
from conftest import Run
from support import RedisServer, free_port
from test_metrics import value
from test_remote import doubling, doubling_async


def test_nobody_listens(run: Run) -> None:
    url = f"redis://127.0.0.1:{free_port()}"
    function, asynchronous = doubling("nobody", backend=url), doubling_async("nobody async", backend=url)
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


def test_operations_do_their_part_in_this_process_and_say_that_the_other_failed(own_redis: RedisServer) -> None:
    own_redis.start()

    @cache(namespace="operations", backend=own_redis.url)
    def function(x: int) -> int:
        return x

    function(1), function(2)
    own_redis.stop()
    with pytest.raises(BackendError):
        function.invalidate(1)
    assert [function.peek(1), function.peek(2)] == [None, 2]
    with pytest.raises(BackendError):
        function.put(30, 3)
    assert function(3) == 30
    with pytest.raises(BackendError):
        function.cache_clear()
    assert [function.peek(2), function.peek(3)] == [None, None]
    assert function.refresh(4) == function.peek(4) == 4


def test_no_such_socket_and_no_such_name(run: Run) -> None:
    for index, url in enumerate(["unix:///nowhere/redis.sock", "redis://name.that.does.not.exist.invalid"]):
        assert doubling(f"no such {index}", backend=url)(1) == 2
        assert run(doubling_async(f"no such async {index}", backend=url)(1)) == 2


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_killed_between_calls_and_started_again(own_redis: RedisServer, kind: str) -> None:
    own_redis.start()
    function = doubling(f"killed {kind}", backend=own_redis.url if kind == "tcp" else own_redis.unix_url)
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
    function = doubling_async(
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
    function = doubling("restarted", backend=own_redis.url)
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
    function = doubling(f"suspended {when}", backend=own_redis.unix_url, remote_timeout=0.15)
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
    function = doubling_async(f"suspended async {run}", backend=own_redis.unix_url, remote_timeout=0.15)

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
        assert doubling("http", backend=url)(1) == 2
        assert run(doubling_async(f"http async {run}", backend=url)(1)) == 2


def test_passwords(own_redis: RedisServer, run: Run) -> None:
    own_redis.password = "hunter2"
    own_redis.start("--requirepass", "hunter2")
    good, bad = (f"redis://:{word}@127.0.0.1:{own_redis.port}/0" for word in ("hunter2", "wrong"))
    function = doubling("password", backend=good)
    assert [function(1), function(1)] == [2, 2]
    assert function.cache_info().l2_hits == 1
    asynchronous = doubling_async(f"password async {run}", backend=good)

    async def twice() -> None:
        assert [await asynchronous(1), await asynchronous(1)] == [2, 2]

    run(twice())
    assert asynchronous.cache_info().l2_hits == 1
    refused = doubling("wrong password", backend=bad)
    assert refused(1) == 2
    with pytest.raises(BackendError) as caught:
        refused.invalidate(1)
    assert "wrong" not in str(caught.value).replace("wrong password", "").replace("wrong number", "")


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
