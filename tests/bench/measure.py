"""Times calls: the same generated loop for every contender, round after round in turns.

The loop is unrolled ten times, and is compiled anew for each contender, since the interpreter specialises the instructions of
a loop to what it has called there. Its own cost is left in: it is the same for all, and every ratio is the worse for it.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

UNROLLED = 10
Turns = Iterable[Any]
Ten = tuple[Any, ...]
Measured = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """What is timed: an expression over names; `{k}` in it is another key at each call, and they are taken from `keys`."""

    expression: str
    names: dict[str, Any]
    awaited: bool = False
    keys: Callable[[int], Sequence[Ten]] | None = None
    runs: Callable[[], int] = lambda: 0
    """How often the cached function has run so far."""
    before: tuple[Call, int] | None = None
    """What is called first, and how often."""


@dataclass
class Contender:
    """One cache in one case, with what came out."""

    name: str
    settings: str
    call: Call
    calls: int = 0
    nanoseconds: list[float] = field(default_factory=list)
    missed: int = 0


def compiled(call: Call) -> Callable[..., Any]:
    """A function that takes turns and the names, and returns the nanoseconds that the calls took."""
    keys = [f"k{place}" for place in range(UNROLLED)]
    one = ("await " if call.awaited else "") + call.expression
    body = [f"        {one.format(k=key)}" for key in keys]
    target = ", ".join(keys) if call.keys else "_"
    source = [
        f"{'async ' if call.awaited else ''}def run(turns, clock, {', '.join(call.names)}):",
        "    start = clock()",
        f"    for {target} in turns:",
        *body,
        "    return clock() - start",
    ]
    scope: dict[str, Any] = {}
    exec(compile("\n".join(source), "<timed loop>", "exec"), scope)  # noqa: S102, of lines made above
    run: Callable[..., Any] = scope["run"]
    return run


class Timer:
    """Runs the loop of one contender."""

    def __init__(self, call: Call, loop: asyncio.AbstractEventLoop) -> None:
        self._call = call
        self._loop = loop
        self._run = compiled(call)

    def nanoseconds(self, calls: int) -> float:
        """For each of so many calls, rounded to whole turns."""
        turns = max(1, calls // UNROLLED)
        call = self._call
        order: Turns = itertools.repeat(None, turns) if call.keys is None else call.keys(turns)
        took = self._run(order, time.perf_counter_ns, **call.names)
        if call.awaited:
            took = self._loop.run_until_complete(took)
        return float(took) / (turns * UNROLLED)


def interleave(contenders: Sequence[Contender], rounds: int, seconds: float) -> dict[str, str]:
    """Fills in what each took in each of the rounds, which take about `seconds` for each of them. Gives those that failed."""
    loop = asyncio.new_event_loop()
    timers: list[tuple[Contender, Timer]] = []
    failed: dict[str, str] = {}
    gc.disable()
    try:
        for contender in contenders:
            timer = Timer(contender.call, loop)
            try:
                if contender.call.before:
                    before, times = contender.call.before
                    Timer(before, loop).nanoseconds(times)
                contender.calls = _calls(timer, seconds)
            except Exception as error:  # noqa: BLE001, whatever a peer raises is why it takes no part
                failed[contender.name] = f"{type(error).__name__}: {error}"
                continue
            contender.missed = contender.call.runs()
            timers.append((contender, timer))
        gc.collect()
        gc.freeze()
        for _ in range(rounds):
            for contender, timer in timers:
                contender.nanoseconds.append(timer.nanoseconds(contender.calls))
        for contender, _ in timers:
            contender.missed = contender.call.runs() - contender.missed
        return failed
    finally:
        gc.enable()
        gc.unfreeze()
        loop.close()


def _calls(timer: Timer, seconds: float) -> int:
    """How many take that long. The least of several tries: what interrupts one makes a call look long."""
    calls = UNROLLED
    while (each := min(timer.nanoseconds(calls) for _ in range(3))) * calls < seconds * 1e8 and calls < 1_000_000:
        calls *= 4
    return max(UNROLLED, int(seconds * 1e9 / each))


def measured(contenders: Sequence[Contender]) -> list[Measured]:
    """What each took, as it goes from process to process."""
    return [
        {
            "contender": contender.name,
            "settings": contender.settings,
            "calls": contender.calls,
            "nanoseconds": [round(each, 3) for each in contender.nanoseconds],
        }
        for contender in contenders
        if contender.nanoseconds
    ]


def figures(runs: Sequence[Sequence[Measured]], reference: str) -> list[dict[str, Any]]:
    """Minimum and median of each over the rounds of all runs, and their ratios to those of the reference."""
    rounds: dict[str, list[float]] = {}
    last: dict[str, Measured] = {}
    for run in runs:
        for entry in run:
            rounds.setdefault(entry["contender"], []).extend(entry["nanoseconds"])
            last[entry["contender"]] = entry
    least, middle = min(rounds[reference]), median(rounds[reference])
    return [
        {
            "contender": name,
            "settings": last[name]["settings"],
            "minimum": round(min(taken), 2),
            "median": round(median(taken), 2),
            "ratio_of_minima": round(min(taken) / least, 4),
            "ratio_of_medians": round(median(taken) / middle, 4),
            "rounds": len(taken),
            "calls": last[name]["calls"],
        }
        for name, taken in rounds.items()
    ]
