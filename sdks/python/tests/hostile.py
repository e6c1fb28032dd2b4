"""Objects whose own code does its worst while the cache looks at them, and ways to have it done on many threads."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from typing import Any

import pytest

THREADS = 4


class Acting(threading.local):
    """Whether this thread does what a hostile method does: what that calls behaves."""

    now = False


acting = Acting()


class Act:
    """What a hostile method does."""

    def __init__(self, act: Callable[[], object] | None = None) -> None:
        self.act = act
        self.calls = 0

    def __call__(self) -> None:
        if self.act is None or acting.now:
            return
        acting.now = True
        try:
            self.calls += 1
            self.act()
        finally:
            acting.now = False


class Compared:
    """Acts when it is compared. All hashes are one, so every two are compared."""

    def __init__(self, value: int, act: Callable[[], object]) -> None:
        self.value, self.act = value, act

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        self.act()
        return isinstance(other, Compared) and self.value == other.value


class Hashed(Compared):
    """Acts when it is hashed."""

    def __hash__(self) -> int:
        self.act()
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Hashed) and self.value == other.value


class Named(Compared):
    """Acts when it is asked for its name."""

    __hash__ = None  # type: ignore[assignment]

    def __cache_key__(self) -> list[int]:
        self.act()
        return [self.value]


KINDS = pytest.mark.parametrize("kind", [Compared, Hashed, Named])


def in_threads(work: Callable[[int], object], count: int = THREADS) -> None:
    """Runs `work` on several threads at once; what one raises is raised here, and none may hang."""
    errors: list[BaseException] = []
    begin = threading.Barrier(count, timeout=20)

    def run(number: int) -> None:
        try:
            begin.wait()
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "a thread hangs"
    if errors:
        raise errors[0]


def finished(coroutine: Any) -> Any:
    """What a coroutine returns that never suspends. Leaves no cycle behind."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        return ended.value
    raise AssertionError("it suspends")


def acts_on(function: Any, make: Callable[[int], Any]) -> list[Callable[[], object]]:
    """What code that the cache runs can do to that cache."""

    def fill() -> None:
        for number in range(20):
            function(number)

    def elsewhere() -> None:
        # Nothing that this thread holds may keep another from the cache.
        def work(number: int) -> None:
            acting.now = True
            function(make(1))
            function.invalidate(make(0))
            function.cache_info()

        in_threads(work, 2)

    return [
        lambda: function(make(0)),
        lambda: function(make(1)),
        lambda: function.refresh(make(1)),
        lambda: function.put(1, make(1)),
        lambda: function.peek(make(0)),
        lambda: function.invalidate(make(1)),
        function.cache_clear,
        function._clear_local,
        function.cache_info,
        fill,
        gc.collect,
        elsewhere,
    ]
