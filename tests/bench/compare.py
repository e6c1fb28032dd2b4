"""Runs one case in this process: all contenders of one environment, in turns."""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import ExitStack
from importlib.util import find_spec
from typing import Any

from bench import server
from bench.cases import CASES, Case
from bench.measure import Contender, interleave, measured
from bench.peers import Peer, Setting, peers

QUICK = 5_000
"""Most entries in a quick run."""
FEW = 0.001
"""Most misses, of all calls, of what passes for a hit."""

MODULES = {"async-lru": "async_lru", "moka-py": "moka_py"}


def installed(peer: Peer) -> bool:
    """Whether its package is here."""
    if peer.package is None:
        return True
    name = MODULES.get(peer.package, peer.package)
    return find_spec(name.partition(".")[0]) is not None and find_spec(name) is not None


def contenders(case: Case, setting: Setting, entries: int, published: bool) -> tuple[list[Contender], dict[str, str]]:
    """Those that take part, and what kept the others from it."""
    found = [Contender(name, settings, build()) for name, settings, build in case.extra]
    failed: dict[str, str] = {}
    for peer in peers(case.needs, published):
        if not installed(peer):
            failed[peer.name] = "not installed"
            continue
        try:
            found.append(Contender(peer.name, peer.settings, case.build(peer.decorator(setting), entries)))
        except Exception as error:  # noqa: BLE001, whatever a peer raises is why it takes no part
            failed[peer.name] = f"{type(error).__name__}: {error}"
    return found, failed


def missing(found: list[Contender]) -> dict[str, str]:
    """Those that often ran the function where a hit was measured; their times are taken away."""
    failed = {}
    for contender in found:
        share = contender.missed / max(1, contender.calls * len(contender.nanoseconds))
        if share > FEW:
            failed[contender.name] = f"runs the function in {share:.1%} of the calls"
            contender.nanoseconds.clear()
    return failed


def run(name: str, rounds: int, seconds: float, published: bool, quick: bool) -> dict[str, Any]:
    """What each took in this process, and why some took no part."""
    case = CASES[name]
    entries = min(case.entries, QUICK) if quick else case.entries
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="ckbench", dir=_memory()))
        tempfile.tempdir = folder
        url = stack.enter_context(server.redis()) if case.remote else None
        if url is not None and published:
            os.environ["REDIS_URL"] = url
        found, failed = contenders(case, Setting(case.size(entries), url), entries, published)
        failed.update(interleave(found, rounds, seconds))
        failed.update(missing(found))
        return {"entries": entries, "measured": measured(found), "failed": failed}


def _memory() -> str | None:
    """A folder in memory, so that what is written to files is not measured by the disk."""
    return "/dev/shm" if sys.platform == "linux" and os.access("/dev/shm", os.W_OK) else None
