"""Runs everything, each comparison in a process of its own, and writes down what came out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from bench import machine, memory, values
from bench.cases import CASES
from bench.compare import installed
from bench.measure import figures
from bench.peers import peers

MANY = 100_000
"""Entries from which on a case has one process, since it takes longer to fill the caches than to measure them."""


@dataclass(frozen=True)
class Plan:
    """How to measure."""

    processes: int
    rounds: int
    seconds: float
    quick: bool
    only: tuple[str, ...]
    published: str | None
    """An interpreter that has the published package."""
    commit: str | None
    """What was built, where that was not only now."""
    seal: Path | None
    """What `cargo bench --bench seal` printed."""

    def wants(self, name: str) -> bool:
        """Whether a name was asked for."""
        return not self.only or any(fnmatch(name, pattern) for pattern in self.only)

    def options(self, times: int = 1) -> list[str]:
        """The same for a process of one comparison that has so many times the rounds."""
        return [
            "--rounds",
            str(self.rounds * times),
            "--seconds",
            str(self.seconds),
            *(["--quick"] if self.quick else []),
        ]


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
    case = CASES[name]
    # Where code and objects lie is another in each process, and moves a hit by some nanoseconds for as long as it lives.
    times = plan.processes if case.entries < MANY else 1
    options = plan.options(plan.processes // times)
    runs = [_bench(sys.executable, "case", name, *options) for _ in range(times)]
    results = figures([run["measured"] for run in runs], case.reference)
    failed = {contender: why for run in runs for contender, why in run["failed"].items()}
    if plan.published and any(peer.published for peer in peers(case.needs, published=True)):
        others = [_bench(plan.published, "case", name, "--published", *options) for _ in range(times)]
        known = {entry["contender"] for entry in results}
        beside = figures([run["measured"] for run in others], case.reference)
        # Their ratios are to the reference in their own processes.
        results += [entry for entry in beside if entry["contender"] not in known]
        failed.update({contender: why for run in others for contender, why in run["failed"].items()})
    results = [entry for entry in results if entry["contender"] not in failed]
    return {
        "title": case.title,
        "entries": runs[0]["entries"],
        "reference": case.reference,
        "results": results,
        "failed": failed,
    }


def _memory(plan: Plan) -> dict[str, Any]:
    entries = 20_000 if plan.quick else memory.ENTRIES
    names = [peer.name for peer in memory.contenders() if installed(peer)]
    return {"entries": entries, "results": [_bench(sys.executable, "memory", name, str(entries)) for name in names]}


def _say(text: str, since: float) -> None:
    print(f"{time.monotonic() - since:7.1f} s  {text}", file=sys.stderr, flush=True)


def _work(name: str, plan: Plan) -> dict[str, Any]:
    work = values.WORKS[name]
    runs = [_bench(sys.executable, "value", name, *plan.options()) for _ in range(plan.processes)]
    measured = [run["measured"] for run in runs]
    is_there = any(entry["contender"] == work.reference for entry in measured[0])
    return {
        "title": work.title,
        "reference": work.reference,
        "results": figures(measured, work.reference) if is_there else [],
        "failed": {contender: why for run in runs for contender, why in run["failed"].items()},
    }


def run(plan: Plan, out: Path) -> None:
    """Measures what the plan wants and writes it as JSON."""
    since = time.monotonic()
    cases: dict[str, Any] = {}
    with _written(plan, out, since, machine.PACKAGES) as result:
        for name in _wanted(CASES, plan):
            cases[name] = _case(name, plan)
            _say(name, since)
        result["cases"] = cases
        if plan.wants("threads"):
            result["threads"] = _bench(sys.executable, "threads", *plan.options(2))
            _say("threads", since)
        if plan.wants("memory"):
            result["memory"] = _memory(plan)
            _say("memory", since)


def run_values(plan: Plan, out: Path) -> None:
    """Measures what the plan wants of values and writes it as JSON."""
    since = time.monotonic()
    works: dict[str, Any] = {}
    with _written(plan, out, since, values.PACKAGES) as result:
        for name in _wanted(values.WORKS, plan):
            works[name] = _work(name, plan)
            _say(name, since)
        result["works"] = works
        if plan.wants("overheads"):
            result["overheads"] = _bench(sys.executable, "value-overheads")
        if plan.seal:
            result["seal"] = values.sealed(plan.seal.read_text())
        if plan.wants("threads"):
            result["threads"] = _bench(sys.executable, "value-threads", *plan.options())
            _say("threads", since)


@contextmanager
def _written(plan: Plan, out: Path, since: float, packages: Iterable[str]) -> Iterator[dict[str, Any]]:
    """What is measured within, written with what it holds for."""
    commit, load = plan.commit or machine.commit(), os.getloadavg()[0]
    found: dict[str, Any] = {}
    yield found
    versions = machine.versions(packages)
    if plan.published:
        versions["cachekit (PyPI)"] = _bench(plan.published, "versions")["cachekit"]
    result = {
        "date": machine.today(),
        "commit": commit,
        "machine": machine.machine() | {"load": [round(load, 2), round(os.getloadavg()[0], 2)]},
        "interpreter": machine.interpreter(),
        "versions": versions,
        "plan": {
            "processes": plan.processes,
            "rounds": plan.rounds,
            "seconds": plan.seconds,
            "quick": plan.quick,
            "took": round(time.monotonic() - since),
        },
        **found,
    }
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def _wanted(names: Iterable[str], plan: Plan) -> list[str]:
    return [name for name in names if plan.wants(name)]
