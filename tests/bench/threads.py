"""How many hits a second one thread gets, and two at once, each with keys of its own."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.cases import FIRST, tens
from bench.compare import installed
from bench.measure import UNROLLED, Call, compiled
from bench.peers import Setting, peers

NEEDS = frozenset({"sync", "bounded", "threads"})
KEYS = 1000
MOST = 2


@dataclass
class _Contender:
    name: str
    settings: str
    cached: Callable[[int], Any]
    turns: int = 0
    rates: dict[int, list[float]] = field(default_factory=lambda: {1: [], MOST: []})

    def rate(self, threads: int) -> float:
        """Calls a second of so many threads."""
        spans: list[tuple[int, int]] = []
        barrier = threading.Barrier(threads)

        def work(number: int) -> None:
            run = compiled(Call("f({k})", {"f": self.cached}, keys=lambda turns: ()))
            orders = tens(range(FIRST + number * KEYS, FIRST + (number + 1) * KEYS))
            barrier.wait()
            start = time.perf_counter_ns()
            for _ in range(self.turns):
                run(orders, time.perf_counter_ns, self.cached)
            spans.append((start, time.perf_counter_ns()))

        workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        took = max(end for _, end in spans) - min(start for start, _ in spans)
        return threads * self.turns * KEYS // UNROLLED * UNROLLED / took * 1e9


def run(rounds: int, seconds: float) -> list[dict[str, Any]]:
    """What came out, best and median calls a second by number of threads."""
    found = [
        _Contender(peer.name, peer.settings, peer.decorator(Setting(2 * MOST * KEYS))(lambda x: x))
        for peer in peers(NEEDS, published=False)
        if installed(peer)
    ]
    for contender in found:
        contender.turns = 1
        # The first call fills the cache.
        rate = max(contender.rate(MOST) for _ in range(3))
        contender.turns = max(1, int(rate * seconds / KEYS))
    gc.collect()
    gc.disable()
    for _ in range(rounds):
        for contender in found:
            for threads, rates in contender.rates.items():
                rates.append(contender.rate(threads))
    gc.enable()
    return [
        {
            "contender": contender.name,
            "settings": contender.settings,
            "best": {str(threads): round(max(rates)) for threads, rates in contender.rates.items()},
            "median": {str(threads): round(median(rates)) for threads, rates in contender.rates.items()},
            "ratio_of_best": round(max(contender.rates[MOST]) / max(contender.rates[1]), 3),
        }
        for contender in found
    ]
