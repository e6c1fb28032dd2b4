"""A row of the table of what values cost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from bench.measure import Call

CACHEKIT = "cachekit"
PICKLE = "pickle 5"

Contenders = Iterator[tuple[str, str, Callable[[], Call]]]
"""Name, how it is used, and what makes the call: an ImportError where its package is missing."""


@dataclass(frozen=True)
class Work:
    """One row of the table."""

    name: str
    title: str
    reference: str
    goal: float | None
    """At most so many times what the reference takes; `None` where that is only shown."""
    contenders: Callable[[], Contenders]


def call(function: Callable[[Any], Any], argument: Any) -> Call:
    return Call("f(x)", {"f": function, "x": argument})
