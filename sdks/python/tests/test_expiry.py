"""Expired entries that nobody asks for: their memory comes back, by one thread that leaves forks and exits alone."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from cachekit import _native, cache
from support import run_python, wait_until


class Value:
    """Something that can be seen to go."""


def sweepers() -> list[str]:
    names = (Path(f"/proc/self/task/{task}/comm") for task in os.listdir("/proc/self/task"))
    return [name for name in (path.read_text().strip() for path in names) if name == "cachekit-sweepe"]


def test_memory_of_expired_entries_comes_back_without_access() -> None:
    @cache.local(ttl=10, max_entries=1000)
    def short(x: int) -> Value:
        return Value()

    @cache.local(ttl=1000)
    def long(x: int) -> Value:
        return Value()

    values = [weakref.ref(short(x)) for x in range(100)]
    kept = weakref.ref(long(1))
    assert short.cache_info().currsize == 100
    _native.advance_clock(11)
    wait_until(lambda: short.cache_info().currsize == 0)
    assert [value for value in values if value() is not None] == []
    assert kept() is long(1)
    info = short.cache_info()
    assert (info.evictions, info.currbytes) == (0, 0)


def test_what_is_due_first_is_swept_first_whoever_came_first() -> None:
    gone: list[int] = []

    class Told:
        def __init__(self, x: int) -> None:
            self.x = x

        def __del__(self) -> None:
            gone.append(self.x)

    functions: list[Any] = []
    for number, ttl in enumerate((50, 5, 500)):

        @cache.local(ttl=ttl)
        def function(x: int, number: int = number) -> Told:
            return Told(number)

        function(0)
        functions.append(function)
    for seconds, expected in ((6, [1]), (46, [1, 0]), (460, [1, 0, 2])):
        _native.advance_clock(seconds)
        wait_until(lambda expected=expected: gone == expected)
    del functions


def test_a_destructor_may_use_the_cache_it_is_swept_from() -> None:
    class Meddler:
        def __del__(self) -> None:
            function(2)
            function.cache_clear()
            done.set()

    done = threading.Event()

    @cache.local(ttl=5)
    def function(x: int) -> object:
        return Meddler() if x == 1 else x

    function(1)
    _native.advance_clock(6)
    assert done.wait(20)
    assert function.cache_info().currsize == 0


def test_a_function_that_dies_with_entries_is_not_kept_for_the_sweep() -> None:
    @cache.local(ttl=5)
    def function(x: int) -> Value:
        return Value()

    value = weakref.ref(function(1))
    dead = weakref.ref(function)
    del function
    gc.collect()
    assert dead() is None and value() is None
    _native.advance_clock(6)


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="needs /proc")
def test_one_thread_serves_every_cache() -> None:
    def decorated() -> Any:
        @cache.local(ttl=100)
        def function(x: int) -> int:
            return x

        return function

    functions = [decorated() for _ in range(10)]
    for function in functions:
        function(1)
    assert len(sweepers()) == 1


PROGRAM = """
import os, sys, threading, time, warnings
from cachekit import _native, cache

warnings.simplefilter("error")

@cache.local(ttl=10)
def function(x):
    return object()

def swept():
    deadline = time.monotonic() + 20
    while function.cache_info().currsize:
        assert time.monotonic() < deadline, "nobody sweeps"
        time.sleep(0.001)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_meets_no_thread_and_both_sides_sweep_on() -> None:
    body = """
function(1)
pid = os.fork()
function(2)
assert function.cache_info().currsize == 2
_native.advance_clock(11)
swept()
if pid == 0:
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
print("done")
"""
    assert run_python(PROGRAM + body) == "done\n"


def test_an_exit_with_entries_that_are_due_is_quiet() -> None:
    body = """
class Late:
    def __del__(self):
        time.sleep(0.001)

@cache.local(ttl=10, max_entries=1000)
def late(x):
    return Late()

for x in range(1000):
    late(x)
_native.advance_clock(11)
print("done")
"""
    assert run_python(PROGRAM + body) == "done\n"
