"""What an entry costs: how much the process grows, in a process of its own, when a cache takes a million of them.

Keys and values are made beforehand, so that the growth is the cache's own. It is the resident memory that is read, since what
extensions allocate shows nowhere else.
"""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Any

from bench.cases import FIRST
from bench.peers import PEERS, Peer, Setting, peers

ENTRIES = 1_000_000
NEEDS = frozenset({"sync", "bounded", "large"})


def resident() -> int:
    """Bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def contenders() -> list[Peer]:
    """Those that are measured."""
    return peers(NEEDS, published=False)


def measure(name: str, entries: int) -> dict[str, Any]:
    """Bytes an entry of one peer in this process."""
    (peer,) = [peer for peer in PEERS if peer.name == name]
    keys = list(range(FIRST, FIRST + entries))
    values = list(range(2 * FIRST, 2 * FIRST + entries))
    runs = 0

    def function(x: int) -> int:
        nonlocal runs
        runs += 1
        return values[x - FIRST]

    cached = peer.decorator(Setting(entries))(function)
    cached(FIRST)
    gc.collect()
    before = resident()
    for key in keys:
        cached(key)
    gc.collect()
    grown = resident() - before
    runs = 0
    for key in keys:
        cached(key)
    # A cache that keeps fewer than it was given is measured by those that it has kept.
    held = max(1, entries - runs)
    return {"contender": name, "settings": peer.settings, "bytes": round(grown / held, 1), "held": held}
