"""The end of the interpreter with calls in flight: no crash, no hang, and nothing is said."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest

from cachekit import cache
from support import RedisServer, environment

PROGRAM = """
import asyncio, os, sys, threading
from cachekit import cache

url = sys.argv[1]
begun = threading.Semaphore(0)

@cache(namespace="function", backend=url)
def function(x):
    return [x]

@cache(namespace="coroutine", backend=url)
async def coroutine(x):
    return [x]

def daemons(target, count=4):
    for _ in range(count):
        threading.Thread(target=target, daemon=True).start()
    for _ in range(count):
        begun.acquire()
"""

IN_FLIGHT = {
    "threads that call": """
        def call():
            for number in range(10**9):
                function(number % 100)
                function.invalidate(number % 100)
                if number == 50:
                    begun.release()

        daemons(call)
    """,
    "loops that call": """
        def call():
            async def main():
                for number in range(10**9):
                    await coroutine(number % 100)
                    await coroutine.invalidate(number % 100)
                    if number == 50:
                        begun.release()

            asyncio.run(main())

        daemons(call)
    """,
    "waiters": """
        @cache
        def never():
            begun.release()
            threading.Event().wait()

        daemons(never, 1)
        for _ in range(3):
            threading.Thread(target=never, daemon=True).start()
        sys.path.insert(0, os.getcwd())
        from support import wait_until_parked
        wait_until_parked(thread.native_id for thread in threading.enumerate() if thread.daemon)
    """,
    "at exit": """
        import atexit

        @atexit.register
        def late():
            assert function(1) == [1]
            assert asyncio.run(coroutine(1)) == [1]
            function.invalidate(1)

        class Late:
            def __del__(self, function=function):
                function(2)

        sys.late = Late()
    """,
}


@pytest.mark.parametrize("kind", IN_FLIGHT)
def test_the_end_with_calls_in_flight(redis: RedisServer, kind: str) -> None:
    program = PROGRAM + textwrap.dedent(IN_FLIGHT[kind])
    # What goes wrong here goes wrong now and then, and more often with the checks of `-X dev`.
    for _ in range(6 if "call" in kind else 1):
        ended = subprocess.run(
            [sys.executable, "-X", "dev", "-W", "ignore", "-c", program, redis.unix_url],
            capture_output=True,
            text=True,
            timeout=60,
            env=environment(PYTHONASYNCIODEBUG="0"),
            cwd=__file__.rpartition("/")[0],
        )
        assert ended.returncode == 0, ended.stderr
        for word in ("panic", "Fatal", "FATAL", "Traceback", "Exception ignored"):
            assert word not in ended.stderr, ended.stderr


def test_stacks_that_are_switched_inside_of_it() -> None:
    greenlet = pytest.importorskip("greenlet")
    main = greenlet.getcurrent()

    class Key:
        def __cache_key__(self) -> object:
            return main.switch()

    @cache
    def function(key: Key) -> object:
        return main.switch()

    first, second = greenlet.greenlet(function), greenlet.greenlet(function)
    first.switch(Key()), second.switch(Key())
    # The second begins and ends while the first is in the function.
    first.switch("key of the first"), second.switch("key of the second")
    assert second.switch(2) == 2
    assert first.switch(1) == 1
    assert function.cache_info().currsize == 2
