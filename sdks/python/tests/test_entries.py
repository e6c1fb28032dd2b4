"""Entries as stored bytes: the vectors of an independent encoder, read and written through the extension."""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cachekit import _native
from cachekit.exceptions import CacheKitError

VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "envelope.json"
Entries: Any = _native._Entries


def groups() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())["testGroups"]
    return found


def expected(row: dict[str, Any]) -> tuple[Any, ...]:
    header = row["header"]
    fresh, hard = header["fresh_ms"], header["hard_ms"]
    lifetimes = [lifetime for lifetime in (fresh, hard) if lifetime]
    return (
        header["created_ms"],
        min(lifetimes, default=None),
        bool(fresh) and not hard,
        header["cost_us"],
        [int(generation, 16) for generation in header["generations"]],
    )


@pytest.mark.skipif(not VECTORS.exists(), reason="the vectors are not part of a source distribution")
@pytest.mark.parametrize("group", groups(), ids=lambda group: group["format"])
def test_entries_open_or_are_refused_as_the_vectors_say(group: dict[str, Any]) -> None:
    masters = [group["masterKey"], *group["previousMasterKeys"]] if "masterKey" in group else []
    entries = Entries(group["format"], group["maxValueBytes"], keys=[bytes.fromhex(key) for key in masters])
    results: Counter[str] = Counter()
    for row in group["tests"]:
        case = f"{group['format']} {row['tcId']}: {row['comment']}"
        key, stored = bytes.fromhex(row["key"]), bytes.fromhex(row["stored"])
        tenant = row.get("tenant", "default")
        results[row["result"]] += 1
        try:
            head, payload = entries.open(key, stored, tenant)
        except CacheKitError as error:
            assert row["result"] == "invalid", f"{case}: {error}"
            assert error.code == row["error"], f"{case}: {error}"
            continue
        assert row["result"] == "valid", case
        assert (head, payload.hex()) == (expected(row), row["payload"]), case
        if "Canonical" in row["flags"]:
            assert entries.wrap(key, head, payload, tenant) == stored, case
        elif "Written" in row["flags"]:
            assert entries.open(key, entries.wrap(key, head, payload, tenant), tenant) == (head, payload), case
    assert results["valid"] > 10
    assert results["invalid"] > 10


@pytest.fixture
def no_switches() -> Iterator[None]:
    """Nobody else comes to run unless this thread lets go of the interpreter of its own accord."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)
    yield
    sys.setswitchinterval(interval)


def gives_way(work: Any) -> bool:
    """Whether a thread that waits for the interpreter gets it before the work is over."""
    order: list[str] = []
    begin, begun = threading.Lock(), threading.Lock()
    begin.acquire()
    begun.acquire()

    def other() -> None:
        begun.release()
        begin.acquire()
        order.append("another thread")

    thread = threading.Thread(target=other)
    thread.start()
    begun.acquire()
    begin.release()
    work()
    order.append("this one")
    thread.join()
    return order[0] == "another thread"


@pytest.mark.usefixtures("no_switches")
@pytest.mark.parametrize("load", [False, True], ids=["store", "load"])
def test_only_long_work_gives_way_to_other_threads(load: bool) -> None:
    entries = Entries("packed")

    def work(size: int, times: int) -> Any:
        value = bytes(range(256)) * (size // 256)
        stored = entries.store(value)
        once = (lambda: entries.load(stored)) if load else (lambda: entries.store(value))
        return lambda: [once() for _ in range(times)]

    # Once is proof; a busy machine may wake the other too late.
    assert any(gives_way(work(8 << 20, 1)) for _ in range(20))
    # As much work in all, of which no part is worth a switch.
    assert not any(gives_way(work(10 << 10, 400)) for _ in range(20))
