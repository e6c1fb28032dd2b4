"""The exposition, and what calls add to it."""

from __future__ import annotations

import re

import pytest

from cachekit import cache, metrics_text


def value(name: str, **labels: str) -> float:
    """The sum of all series of a metric that have these labels."""
    total = 0.0
    for line in metrics_text().splitlines():
        match = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
        if (
            match
            and match[1] == name
            and all(f'{label}="{text}"' in (match[2] or "") for label, text in labels.items())
        ):
            total += float(match[3])
    return total


def test_every_metric_has_help_and_type() -> None:
    text = metrics_text()
    for name in ("lookups_total", "loads_total", "load_duration_seconds", "remote_operations_total",
                 "remote_operation_duration_seconds", "l1_entries", "l1_bytes"):  # fmt: skip
        assert f"# HELP cachekit_{name} " in text
        assert f"# TYPE cachekit_{name} " in text
    assert text.endswith("\n")


def test_calls_are_counted() -> None:
    @cache(backend="memory://", namespace="metrics")
    def function(x: int) -> int:
        if x < 0:
            raise ValueError
        return x

    def figures() -> dict[str, float]:
        return {
            "l1 hit": value("cachekit_lookups_total", tier="l1", outcome="hit"),
            "l1 miss": value("cachekit_lookups_total", tier="l1", outcome="miss"),
            "l2 miss": value("cachekit_lookups_total", tier="l2", outcome="miss"),
            "ok": value("cachekit_loads_total", outcome="ok"),
            "error": value("cachekit_loads_total", outcome="error"),
            "set": value("cachekit_remote_operations_total", operation="set", outcome="ok"),
            "durations": value("cachekit_load_duration_seconds_count"),
        }

    before = figures()
    function(1), function(1), function(1)
    with pytest.raises(ValueError):
        function(-1)
    after = figures()
    assert {name: after[name] - before[name] for name in after} == {
        "l1 hit": 2, "l1 miss": 2, "l2 miss": 2, "ok": 1, "error": 1, "set": 1, "durations": 2,
    }  # fmt: skip


def test_the_test_preset_measures_nothing() -> None:
    before = metrics_text()

    @cache.test(backend=None)
    def function(x: int) -> int:
        return x

    function(1), function(1)
    assert function.cache_info().hits == 1
    after = metrics_text()
    for name in ("cachekit_lookups_total", "cachekit_loads_total"):
        lines = [line for line in before.splitlines() if line.startswith(name)]
        assert lines == [line for line in after.splitlines() if line.startswith(name)]


def test_entries_and_bytes_go_up_and_down() -> None:
    @cache(backend=None)
    def function(x: int) -> bytes:
        return bytes(1000)

    entries, size = value("cachekit_l1_entries"), value("cachekit_l1_bytes")
    for x in range(10):
        function(x)
    assert value("cachekit_l1_entries") == entries + 10
    assert value("cachekit_l1_bytes") >= size + 10_000
    function.cache_clear()
    assert value("cachekit_l1_entries") == entries
    assert value("cachekit_l1_bytes") == size
