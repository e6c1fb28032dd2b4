"""What is measured: one call in one situation, with what it is held against."""

from __future__ import annotations

import copy
import functools
import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from bench.measure import UNROLLED, Call, Ten
from bench.peers import LRU_CACHE, Decorator

FIRST = 1_000_000_000
"""Where keys begin: from here on the interpreter keeps no integer."""

TEN = dict(
    zip(
        ["id", "name", "mail", "active", "score", "city", "note", "count", "data", "state"],
        [4711, "Ada Lovelace", "ada@example.org", True, 0.75, "London", None, 10**6, b"bytes", "new"],
    )
)
KILOBYTE = {
    "user": dict(TEN),
    "orders": [{"number": n, "article": f"article {n}", "price": n * 1.25, "tags": ["new", "sale"]} for n in range(10)],
    "limits": {"daily": 100, "monthly": 2500, "kinds": {"read": [1, 2, 3], "write": [4, 5, 6]}},
}

Build = Callable[[Decorator, int], Call]


@dataclass(frozen=True)
class Case:
    """One comparison. `build` prepares the call of a function that a peer decorates; its number is that of the entries."""

    name: str
    title: str
    needs: frozenset[str]
    build: Build
    entries: int = 1
    full: bool = False
    """Whether no more entries fit than there are."""
    remote: bool = False
    """Whether those that can have a remote tier have one."""
    reference: str = LRU_CACHE
    extra: tuple[tuple[str, str, Callable[[], Call]], ...] = ()
    """What is compared beside the peers: name, settings, call."""

    def size(self, entries: int) -> int:
        """The room of each cache. Some caches make room before they are full."""
        return entries if self.full else max(1000, entries + entries // 4)


def _counted(value: Any, awaited: bool) -> tuple[Callable[..., Any], Callable[[], int]]:
    """A function of one argument, which is its result unless there is a value; and how often it has run."""
    runs: list[None] = []

    def function(x: Any) -> Any:
        runs.append(None)
        return x if value is None else value

    async def coroutine(x: Any) -> Any:
        return function(x)

    return (coroutine if awaited else function), runs.__len__


def one(stored: Any, found: Any = None, value: Any = None, awaited: bool = False) -> Build:
    """The same call again and again, of a result that was stored with one argument and is found by another object."""

    def build(decorate: Decorator, entries: int) -> Call:
        function, runs = _counted(value, awaited)
        cached = decorate(function)
        first = Call("f(x)", {"f": cached, "x": stored}, awaited)
        second = {"f": cached, "x": stored if found is None else found}
        return Call("f(x)", second, awaited, runs=runs, before=(first, UNROLLED))

    return build


def keywords(awaited: bool) -> Build:
    """Two arguments, both by name."""

    def build(decorate: Decorator, entries: int) -> Call:
        counted, runs = _counted(None, False)

        def function(left: Any, right: Any) -> Any:
            return counted(left)

        async def coroutine(left: Any, right: Any) -> Any:
            return counted(left)

        names = {"f": decorate(coroutine if awaited else function), "x": FIRST, "y": FIRST + 1}
        return Call("f(left=x, right=y)", names, awaited, runs=runs)

    return build


def method(awaited: bool) -> Build:
    """A method of one instance, with one integer."""

    def build(decorate: Decorator, entries: int) -> Call:
        counted, runs = _counted(None, False)

        class Owner:
            if awaited:

                @decorate
                async def method(self, x: Any) -> Any:
                    return counted(x)

            else:

                @decorate
                def method(self, x: Any) -> Any:
                    return counted(x)

        return Call("o.method(x)", {"o": Owner(), "x": FIRST}, awaited, runs=runs)

    return build


def tens(keys: Sequence[Any]) -> list[Ten]:
    """As many keys as the loop takes at once, in each."""
    return list(zip(*[iter(keys)] * UNROLLED))


def many(awaited: bool) -> Build:
    """As many keys as there are entries, in random order, all of them stored; each round goes on where the last one ended."""

    def build(decorate: Decorator, entries: int) -> Call:
        function, runs = _counted(None, awaited)
        names = {"f": decorate(function)}
        keys = list(range(FIRST, FIRST + entries))
        fill = iter(tens(keys))
        shuffled: list[Ten] = []
        # Several orders, where one would be short enough to be learnt.
        for turn in range(max(1, 10_000 // entries)):
            random.Random(turn).shuffle(keys)
            shuffled += tens(keys)
        endless = itertools.cycle(shuffled)
        first = Call("f({k})", names, awaited, keys=lambda turns: list(itertools.islice(fill, turns)))
        return Call(
            "f({k})",
            names,
            awaited,
            keys=lambda turns: list(itertools.islice(endless, turns)),
            runs=runs,
            before=(first, entries),
        )

    return build


def insertion(decorate: Decorator, entries: int) -> Call:
    """A key at each call that there never was, into a cache that is full."""

    def function(x: Any) -> Any:
        return x

    fresh: Iterator[int] = itertools.count(FIRST)
    # Kept, so that no contender is the one that has to free them.
    kept: list[list[Ten]] = []

    def keys(turns: int) -> list[Ten]:
        kept.append(tens(list(itertools.islice(fresh, turns * UNROLLED))))
        return kept[-1]

    first = Call("f({k})", {"f": decorate(function)}, keys=keys)
    return Call("f({k})", first.names, keys=keys, before=(first, entries + entries // 4))


def _constant() -> Call:
    value = FIRST

    async def constant(x: Any) -> Any:
        return value

    return Call("f(x)", {"f": constant, "x": FIRST}, awaited=True)


def _copied() -> Call:
    async def copied(x: Any) -> Any:
        return copy.deepcopy(x)

    return Call("f(x)", {"f": copied, "x": KILOBYTE}, awaited=True)


def _deepcopy(value: Any) -> Callable[[], Call]:
    return lambda: Call("f(x)", {"f": copy.deepcopy, "x": value})


def _as_tuple() -> Call:
    return Call("f(tuple(x))", {"f": functools.lru_cache(maxsize=1000)(lambda x: x), "x": [1, 2, 3]})


def _needs(text: str) -> frozenset[str]:
    return frozenset(text.split())


CONSTANT = "async def, a constant"
DEEPCOPY = "copy.deepcopy"
TUPLE = "lru_cache of a tuple"

_WORD = "article 4711 of 2026"


def _other(word: str) -> str:
    """An equal string that is another object."""
    return "".join(list(word))


def _sync() -> Iterator[Case]:
    yield Case("sync-int", "one int", _needs("sync"), one(FIRST), remote=True)
    yield Case("sync-str", "one str, the same object", _needs("sync"), one(_WORD), remote=True)
    yield Case(
        "sync-equal-str", "one str, equal to the stored one", _needs("sync"), one(_WORD, _other(_WORD)), remote=True
    )
    yield Case("sync-keywords", "two keywords", _needs("sync keywords"), keywords(False), remote=True)
    yield Case("sync-method", "a method with one int", _needs("sync method"), method(False))
    yield Case(
        "sync-list", "one list of three ints", _needs("sync unhashable"), one([1, 2, 3], [1, 2, 3]), remote=True,
        reference=TUPLE, extra=((TUPLE, "called as f(tuple(x))", _as_tuple),),
    )  # fmt: skip
    yield Case(
        "sync-dict", "a dict of ten, of which each caller gets its own", _needs("sync isolates"), one(FIRST, value=TEN),
        remote=True, reference=DEEPCOPY, extra=((DEEPCOPY, "of the value, without any cache", _deepcopy(TEN)),),
    )  # fmt: skip
    yield Case(
        "sync-kilobyte", "1 KB of nested dicts and lists, of which each caller gets its own", _needs("sync isolates"),
        one(FIRST, value=KILOBYTE), remote=True,
        reference=DEEPCOPY, extra=((DEEPCOPY, "of the value, without any cache", _deepcopy(KILOBYTE)),),
    )  # fmt: skip
    yield Case(
        "sync-1000", "1 000 ints in random order", _needs("sync bounded"), many(False), entries=1000, remote=True
    )
    yield Case(
        "sync-1000000", "1 000 000 ints in random order", _needs("sync bounded large"), many(False), entries=1_000_000
    )


def _async() -> Iterator[Case]:
    constant = {
        "reference": CONSTANT,
        "extra": ((CONSTANT, "returns a constant", _constant),),
    }
    listed: dict[str, Any] = {**constant, "remote": True}
    yield Case("async-int", "one int", _needs("async"), one(FIRST, awaited=True), **listed)
    yield Case("async-str", "one str, the same object", _needs("async"), one(_WORD, awaited=True), **listed)
    yield Case(
        "async-equal-str", "one str, equal to the stored one", _needs("async"),
        one(_WORD, _other(_WORD), awaited=True), **listed,
    )  # fmt: skip
    yield Case("async-keywords", "two keywords", _needs("async keywords"), keywords(True), **listed)
    yield Case(
        "async-method", "a method with one int", _needs("async method"), method(True), **{**listed, "remote": False}
    )
    yield Case(
        "async-list",
        "one list of three ints",
        _needs("async unhashable"),
        one([1, 2, 3], [1, 2, 3], awaited=True),
        **listed,
    )
    yield Case(
        "async-kilobyte", "1 KB of nested dicts and lists, of which each caller gets its own", _needs("async isolates"),
        one(FIRST, value=KILOBYTE, awaited=True), remote=True,
        reference=DEEPCOPY, extra=((DEEPCOPY, "in an async def, without any cache", _copied),),
    )  # fmt: skip
    yield Case("async-1000", "1 000 ints in random order", _needs("async bounded"), many(True), entries=1000, **listed)


def _miss() -> Iterator[Case]:
    for entries in (256, 10_000, 100_000, 1_000_000):
        needs = _needs("sync bounded large" if entries > 10_000 else "sync bounded")
        yield Case(
            f"miss-{entries}", "a new int into a full cache of " + f"{entries:,}".replace(",", " "), needs, insertion,
            entries=entries, full=True,
        )  # fmt: skip


CASES = {case.name: case for case in itertools.chain(_sync(), _async(), _miss())}
GROUPS = {
    "sync": "Hit, sync",
    "async": "Hit, async",
    "miss": "Miss, with an insertion into a full cache",
}
