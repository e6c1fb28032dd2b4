"""How many hits the eviction gets out of a cache that is too small: what the bench `hit_ratio` of `cachekit-tests` measured.

It is Rust's, since it runs traces through the runtime's own table; here it is only judged and kept beside the rest.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from statistics import mean
from typing import Any

OURS = "cachekit"
LEAST = "LRU"
BOUND = "Belady"
NAME = "hit-ratio"

Rows = list[dict[str, Any]]


def take(source: Path, folder: Path) -> None:
    """Keeps a CSV of the bench as `results/hit-ratio.json` of a folder."""
    from bench import machine

    with source.open(newline="") as file:
        rows = [
            {
                "trace": row["trace"],
                "source": row["source"],
                "capacity_percent": float(row["capacity_percent"]),
                "capacity": int(row["capacity"]),
                "policy": row["policy"],
                "hit_ratio": float(row["hit_ratio"]),
            }
            for row in csv.DictReader(file)
        ]
    if not any(row["policy"] == OURS for row in rows):
        raise SystemExit(f"{source} has no policy {OURS!r}")
    kept = {"date": machine.today(), "commit": machine.commit(), "machine": machine.machine(), "rows": rows}
    path = folder / "results" / f"{NAME}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")


def policies(rows: Rows) -> list[str]:
    """Ours first, the bound last, the others as they came."""
    found = list(dict.fromkeys(row["policy"] for row in rows))
    return sorted(found, key=lambda name: (name != OURS, name == BOUND))


def by_trace(rows: Rows) -> Iterator[tuple[str, float, dict[str, float]]]:
    """Trace, capacity in percent, and the hit ratio of every policy."""
    places = dict.fromkeys((row["trace"], row["capacity_percent"]) for row in rows)
    for trace, capacity in places:
        yield (
            trace,
            capacity,
            {
                row["policy"]: row["hit_ratio"]
                for row in rows
                if row["trace"] == trace and row["capacity_percent"] == capacity
            },
        )


def points(difference: float) -> float:
    """Of a hundred, to a hundredth of one, as they are written."""
    return round(difference * 100, 2)


def judged(rates: dict[str, Any] | None) -> Iterator[tuple[str, str, str, str, bool | None]]:
    """Work, reference, goal, what was measured and whether that is enough; distances in points of a hundred."""
    works = {
        "lru": ("hit ratio, each trace and size", LEAST, "≥ -2 points"),
        "best": ("hit ratio, each trace and size but loops", "the best peer", "≥ -3 points"),
        "loop": ("hit ratio, loops", "the best peer", "≥ -4 points"),
        "mean": ("hit ratio, mean over all", "the best peer's mean", "> 0 points"),
    }
    if rates is None:
        for work, reference, goal in works.values():
            yield work, reference, goal, "not measured", None
        return
    distances: dict[str, list[tuple[float, str]]] = {"lru": [], "best": [], "loop": []}
    per_policy: dict[str, list[float]] = {}
    for trace, capacity, ratios in by_trace(rates["rows"]):
        ours = ratios[OURS]
        peers = {name: ratio for name, ratio in ratios.items() if name not in (OURS, BOUND)}
        where = f"{trace}, {capacity:g} %"
        distances["lru"].append((points(ours - ratios[LEAST]), where))
        kind = "loop" if "loop" in trace.lower() else "best"
        distances[kind].append((points(ours - max(peers.values())), where))
        for name, ratio in ratios.items():
            per_policy.setdefault(name, []).append(ratio)
    for key, allowed in (("lru", -2), ("best", -3), ("loop", -4)):
        if distances[key]:
            worst, where = min(distances[key])
            yield *works[key], f"{worst:+.2f} at worst ({where})", worst >= allowed
        else:
            yield *works[key], "not measured", None
    means = {name: mean(ratios) for name, ratios in per_policy.items() if name != BOUND}
    ours = means.pop(OURS)
    best = max(means, key=lambda name: means[name])
    ahead = points(ours - means[best])
    yield *works["mean"], f"{ahead:+.2f} ({best})", ahead > 0
