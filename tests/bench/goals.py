"""What is to come out, as a list, and how it did."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

from bench.cases import CONSTANT, DEEPCOPY
from bench.hit_ratios import judged as hit_ratios_judged
from bench.peers import CACHEBOX, CACHEKIT, CACHEKIT_COPY, LRU_CACHE

Limits = tuple[tuple[str, float], ...]
"""The first whose pattern an interpreter's label fits is its limit."""


@dataclass(frozen=True)
class Goal:
    """At most so many times what the reference takes in the same case."""

    work: str
    case: str
    reference: str
    most: Limits
    contender: str = CACHEKIT


@dataclass(frozen=True)
class Judgement:
    """A goal, beside what was measured."""

    work: str
    reference: str
    goal: str
    measured: str
    medians: str
    met: bool | None
    """`None` where there is nothing to judge by."""


_HIT: Limits = (("cpython-3.11-pyenv", 0.60), ("*", 0.85))
_AWAITED: Limits = (("cpython-3.9-*", 0.60), ("cpython-3.1[01]-*", 0.60), ("*", 0.80))

GOALS = (
    Goal("sync hit, one int, remote configured", "sync-int", LRU_CACHE, _HIT),
    Goal("sync hit, one str, remote configured", "sync-str", LRU_CACHE, _HIT),
    Goal("sync hit, 1 000 ints in random order, remote configured", "sync-1000", LRU_CACHE, _HIT),
    Goal("sync hit, an equal but other str", "sync-equal-str", LRU_CACHE, (("*", 1.0),)),
    Goal("sync hit, two keywords", "sync-keywords", LRU_CACHE, (("*", 0.40),)),
    Goal("sync hit, method", "sync-method", LRU_CACHE, (("*", 0.65),)),
    Goal("sync hit, dict of ten, copied", "sync-dict", DEEPCOPY, (("*", 0.04),), CACHEKIT_COPY),
    Goal("async hit, one int", "async-int", CONSTANT, _AWAITED),
    Goal("async hit, one str", "async-str", CONSTANT, _AWAITED),
    Goal("miss and insertion into a full cache of 100 000", "miss-100000", LRU_CACHE, (("*", 1.2),)),
    Goal("hit in a working set of 1 000 000 keys", "sync-1000000", LRU_CACHE, (("*", 1.2),)),
)
MEMORY = 1.0
THREADS = 1.7


def limit(limits: Limits, label: str) -> float:
    """What holds for an interpreter."""
    return next(value for pattern, value in limits if fnmatch(label, pattern))


def entry(results: list[dict[str, Any]], contender: str) -> dict[str, Any] | None:
    """What one contender did."""
    return next((result for result in results if result["contender"] == contender), None)


def _timed(goal: Goal, result: dict[str, Any]) -> Judgement:
    most = limit(goal.most, result["interpreter"]["label"])
    case = result["cases"].get(goal.case)
    found = entry(case["results"], goal.contender) if case else None
    if found is None:
        return Judgement(goal.work, goal.reference, f"≤ {most:.2f}", "not measured", "", None)
    ratio = found["ratio_of_minima"]
    return Judgement(
        goal.work, goal.reference, f"≤ {most:.2f}", f"{ratio:.3f}", f"{found['ratio_of_medians']:.3f}", ratio <= most
    )


def _memory(result: dict[str, Any]) -> Judgement:
    results = result.get("memory", {}).get("results", [])
    ours, theirs = entry(results, CACHEKIT), entry(results, CACHEBOX)
    work, goal = "memory of a small entry at 1 000 000", f"≤ {MEMORY:.2f}"
    if ours is None or theirs is None:
        return Judgement(work, CACHEBOX, goal, "not measured", "", None)
    ratio = ours["bytes"] / theirs["bytes"]
    return Judgement(work, CACHEBOX, goal, f"{ratio:.3f}", "", ratio <= MEMORY)


def _threads(result: dict[str, Any]) -> Judgement:
    found = entry(result.get("threads", []), CACHEKIT)
    work, goal = "two threads with keys of their own, free-threaded build", f"≥ {THREADS:.2f}"
    if not result["interpreter"]["free_threaded"] or found is None:
        return Judgement(work, "one thread", goal, "no such build", "", None)
    medians = found["median"]["2"] / found["median"]["1"]
    ratio = found["ratio_of_best"]
    return Judgement(work, "one thread", goal, f"{ratio:.3f}", f"{medians:.3f}", ratio >= THREADS)


def judge(result: dict[str, Any]) -> list[Judgement]:
    """Every goal that an interpreter can meet."""
    return [*(_timed(goal, result) for goal in GOALS), _memory(result), _threads(result)]


def judge_hit_ratios(rates: dict[str, Any] | None) -> list[Judgement]:
    """Those that no interpreter has a part in."""
    return [
        Judgement(work, reference, goal, measured, "", met)
        for work, reference, goal, measured, met in hit_ratios_judged(rates)
    ]
