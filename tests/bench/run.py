"""Runs everything, each comparison in a process of its own, and writes down what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bench import machine, memory
from bench.cases import CASES
from bench.compare import installed

SEPARATE = {"memory", "threads"}


@dataclass(frozen=True)
class Plan:
    """How to measure."""

    rounds: int
    seconds: float
    quick: bool
    only: tuple[str, ...]
    published: str | None
    """An interpreter that has the published package."""

    def wants(self, name: str) -> bool:
        """Whether a name was asked for."""
        return not self.only or any(fnmatch(name, pattern) for pattern in self.only)

    def options(self) -> list[str]:
        """The same for a process of one comparison."""
        return ["--rounds", str(self.rounds), "--seconds", str(self.seconds), *(["--quick"] if self.quick else [])]


def _bench(python: str, *arguments: str) -> Any:
    """What a command of this package prints, in a process that has none of our configuration."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith("CACHEKIT_") and name != "REDIS_URL"
    }
    folder = Path(__file__).resolve().parents[1]
    environment["PYTHONPATH"] = str(folder)
    done = subprocess.run(
        [python, "-m", "bench", *arguments], stdout=subprocess.PIPE, text=True, env=environment, cwd=folder, check=False
    )
    if done.returncode:
        raise SystemExit(f"bench {' '.join(arguments)} ended with {done.returncode}")
    return json.loads(done.stdout)


def _case(name: str, plan: Plan) -> dict[str, Any]:
    result: dict[str, Any] = _bench(sys.executable, "case", name, *plan.options())
    if plan.published:
        other = _bench(plan.published, "case", name, "--published", *plan.options())
        known = {entry["contender"] for entry in result["results"]}
        # Beside the reference in its own process, which its ratios are to.
        result["results"] += [entry for entry in other["results"] if entry["contender"] not in known]
        result["failed"].update(other["failed"])
    return result


def _memory(plan: Plan) -> dict[str, Any]:
    entries = 20_000 if plan.quick else memory.ENTRIES
    names = [peer.name for peer in memory.contenders() if installed(peer)]
    return {"entries": entries, "results": [_bench(sys.executable, "memory", name, str(entries)) for name in names]}


def _say(text: str, since: float) -> None:
    print(f"{time.monotonic() - since:7.1f} s  {text}", file=sys.stderr, flush=True)


def run(plan: Plan, out: Path) -> None:
    """Measures what the plan wants and writes it as JSON."""
    since = time.monotonic()
    # At the beginning: who edits meanwhile does not change what is measured.
    commit, load = machine.commit(), os.getloadavg()[0]
    cases: dict[str, Any] = {}
    for name in _wanted(CASES, plan):
        cases[name] = _case(name, plan)
        _say(name, since)
    separate: dict[str, Any] = {}
    if plan.wants("threads"):
        separate["threads"] = _bench(sys.executable, "threads", *plan.options())
        _say("threads", since)
    if plan.wants("memory"):
        separate["memory"] = _memory(plan)
        _say("memory", since)
    versions = machine.versions()
    if plan.published:
        versions["cachekit (PyPI)"] = _bench(plan.published, "versions")["cachekit"]
    result = {
        "date": machine.today(),
        "commit": commit,
        "machine": machine.machine() | {"load": [round(load, 2), round(os.getloadavg()[0], 2)]},
        "interpreter": machine.interpreter(),
        "versions": versions,
        "plan": {
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "quick": plan.quick,
            "took": round(time.monotonic() - since),
        },
        "cases": cases,
        **separate,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def _wanted(names: Iterable[str], plan: Plan) -> list[str]:
    return [name for name in names if plan.wants(name)]
