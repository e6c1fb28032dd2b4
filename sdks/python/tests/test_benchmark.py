"""The benchmark runs, on few entries and with the peers that are installed, and judges what comes out of it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from support import REDIS, environment

TESTS = Path(__file__).resolve().parents[3] / "tests"
sys.path.insert(0, str(TESTS))

from bench import goals, hit_ratios, machine, report, values, values_page  # noqa: E402
from bench.cases import CASES  # noqa: E402
from bench.compare import missing  # noqa: E402
from bench.measure import Call, Contender, figures, interleave, measured  # noqa: E402


def bench(*arguments: object) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench", *map(str, arguments)],
        env=environment(PYTHONPATH=str(TESTS)),
        cwd=TESTS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def results(folder: Path) -> Path:
    return folder / "results" / f"{machine.label()}.json"


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a quick run measured, and its pages."""
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    folder = tmp_path_factory.mktemp("benchmarks")
    bench("run", results(folder), "--quick", "--processes", 1, "--rounds", 2, "--seconds", 0.0001)
    bench("report", folder)
    return folder


def test_every_case_has_cachekit_beside_its_reference(written: Path) -> None:
    result = json.loads(results(written).read_text())
    assert list(result["cases"]) == list(CASES)
    for name, case in result["cases"].items():
        found = {entry["contender"]: entry for entry in case["results"]}
        assert found[case["reference"]]["ratio_of_minima"] == 1, name
        ours = [entry for contender, entry in found.items() if contender.startswith("cachekit")]
        assert ours, name
        assert all(0 < entry["minimum"] <= entry["median"] for entry in found.values()), name
        assert set(case["failed"].values()) <= {"not installed"}, name
    assert {entry["contender"] for entry in result["threads"]} >= {"cachekit", "functools.lru_cache"}
    assert all(rate > 0 for entry in result["threads"] for rate in entry["best"].values())
    assert {entry["contender"]: entry["held"] for entry in result["memory"]["results"]}["cachekit"] == 20_000


def test_every_goal_is_judged(written: Path) -> None:
    result = json.loads(results(written).read_text())
    judged = {judgement.work: judgement for judgement in goals.judge(result)}
    assert set(judged) >= {goal.work for goal in goals.GOALS}
    assert all(judged[goal.work].met is not None for goal in goals.GOALS)
    page = (written / "README.md").read_text()
    assert all(work in page for work in judged)
    for name, case in CASES.items():
        assert case.title in (written / f"{machine.label()}.md").read_text(), name


@pytest.fixture(scope="module")
def written_values(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same for values."""
    folder = tmp_path_factory.mktemp("values")
    path = folder / "results" / f"values-{machine.label()}.json"
    seal = folder / "seal.txt"
    seal.write_text("".join(f"seal and open   1024 bytes: 9 ns, ratio {n}, median 1.2\n" for n in (1.1, 1.4, 1.25)))
    bench("values", path, "--quick", "--processes", 1, "--rounds", 2, "--seconds", 0.0001, "--seal", seal)
    bench("report", folder)
    return folder


def test_every_work_on_values_is_measured_beside_its_reference(written_values: Path) -> None:
    (result,) = values_page.read(written_values).values()
    assert list(result["works"]) == list(values.WORKS)
    for name, work in result["works"].items():
        assert set(work["failed"].values()) <= {"not installed"}, name
        found = {entry["contender"]: entry for entry in work["results"]}
        if work["reference"] in work["failed"]:
            assert found == {}
            continue
        assert found[work["reference"]]["ratio_of_minima"] == 1, name
        assert 0 < found["cachekit"]["minimum"] <= found["cachekit"]["median"], name
    assert 8 < result["overheads"]["plain"] < result["overheads"]["sealed"]
    assert result["seal"] == {"runs": 3, "ratio_of_minima": 1.25, "ratio_of_medians": 1.2}
    threads = result["threads"]
    assert all(threads[kind][0] >= threads[kind][1] > 0 for kind in ("one", "two"))
    assert all(0 < threads[kind][0] <= threads[kind][1] for kind in ("alone", "beside"))


def test_every_goal_of_values_is_on_their_page(written_values: Path) -> None:
    (result,) = values_page.read(written_values).values()
    judged = list(values_page.judge(result))
    assert len(judged) == 5 + sum(work.goal is not None for work in values.WORKS.values())
    page = (written_values / "values.md").read_text()
    assert all(judgement.work in page for judgement in judged)
    assert all(work.title in page for work in values.WORKS.values())


@pytest.mark.parametrize(
    ("ratio", "both", "beside", "met"),
    [(1.1, 1.7, 2.0, True), (1.101, 1.699, 2.001, False), (None, 1.7, 2.0, None)],
)
def test_goals_of_values_are_met_up_to_their_limits(
    ratio: float | None, both: float, beside: float, met: bool | None
) -> None:
    found = [{"contender": "cachekit", "ratio_of_minima": ratio, "ratio_of_medians": ratio}] if ratio else []
    threads = {"ratio_of_best": both, "ratio_of_medians": both, "ratio_beside": beside}
    judged = {
        judgement.work: judgement.met
        for judgement in values_page.judge(
            {
                "works": {"encode-dict": {"results": found}},
                "overheads": {"plain": 40 if met is not False else 41},
                "threads": threads,
            }
        )
    }
    assert judged.pop("encode a dict of ten") is met
    assert judged.pop('an entry of {"x": 5} beside the value, plain') is (met is not False)
    assert judged.pop("two threads compress 1 MB each") is (met is not False)
    assert judged.pop("store 10 KB beside a thread that computes") is (met is not False)
    assert set(judged.values()) == {None}


def test_a_goal_is_met_up_to_its_limit_and_no_further() -> None:
    (goal,) = [goal for goal in goals.GOALS if goal.case == "sync-int"]

    def judged(ratio: float, label: str) -> bool | None:
        entry = {"contender": goal.contender, "ratio_of_minima": ratio, "ratio_of_medians": 1.0}
        interpreter = {"label": label, "free_threaded": False}
        found = goals.judge({"interpreter": interpreter, "cases": {"sync-int": {"results": [entry]}}})
        return next(judgement.met for judgement in found if judgement.work == goal.work)

    assert judged(0.85, "cpython-3.11-debian") is True
    assert judged(0.851, "cpython-3.11-debian") is False
    assert judged(0.85, "cpython-3.11-pyenv") is False
    assert judged(0.60, "cpython-3.11-pyenv") is True


def rates(**ratios: dict[str, float]) -> dict[str, Any]:
    return {
        "rows": [
            {
                "trace": trace,
                "source": "made",
                "capacity_percent": 1.0,
                "capacity": 10,
                "policy": policy,
                "hit_ratio": ratio,
            }
            for trace, policies in ratios.items()
            for policy, ratio in policies.items()
        ]
    }


@pytest.mark.parametrize(
    ("ratios", "met"),
    [
        ({"zipf": {"cachekit": 0.50, "LRU": 0.51, "ARC": 0.52, "Belady": 0.9}}, [True, True, None, False]),
        ({"zipf": {"cachekit": 0.50, "LRU": 0.53, "ARC": 0.52, "Belady": 0.9}}, [False, True, None, False]),
        ({"zipf": {"cachekit": 0.50, "LRU": 0.40, "ARC": 0.54, "Belady": 0.9}}, [True, False, None, False]),
        ({"loop": {"cachekit": 0.50, "LRU": 0.40, "ARC": 0.535, "Belady": 0.9}}, [True, None, True, False]),
        (
            {
                "loop": {"cachekit": 0.5, "LRU": 0.1, "ARC": 0.2, "Belady": 0.9},
                "zipf": {"cachekit": 0.5, "LRU": 0.5, "ARC": 0.52, "Belady": 0.9},
            },
            [True, True, True, True],
        ),
    ],
)
def test_hit_ratios_are_held_against_lru_the_best_and_the_mean(
    ratios: dict[str, dict[str, float]], met: list[bool | None]
) -> None:
    assert [verdict for *_, verdict in hit_ratios.judged(rates(**ratios))] == met


def test_what_passes_for_a_hit_and_is_none_takes_no_part() -> None:
    runs = count()
    cached = Contender("caches", "", Call("f()", {"f": int}))
    calling = Contender("calls", "", Call("f()", {"f": runs.__next__}, runs=lambda: int(repr(runs)[6:-1])))
    assert interleave([cached, calling], rounds=3, seconds=0.0001) == {}
    assert calling.missed == 3 * (calling.calls // 10) * 10
    assert set(missing([cached, calling])) == {"calls"}
    assert [entry["contender"] for entry in figures([measured([cached, calling])], "caches")] == ["caches"]


def test_the_rounds_of_all_processes_count() -> None:
    def process(reference: list[float], other: list[float]) -> list[dict[str, Any]]:
        both = {"reference": reference, "other": other}
        return [{"contender": name, "settings": "", "calls": 10, "nanoseconds": taken} for name, taken in both.items()]

    _, other = figures([process([20, 30, 40], [11, 12, 13]), process([10, 50, 60], [90, 91, 92])], "reference")
    assert (other["minimum"], other["median"], other["rounds"]) == (11, 51.5, 6)
    assert (other["ratio_of_minima"], other["ratio_of_medians"]) == (1.1, round(51.5 / 35, 4))


def test_a_contender_that_raises_is_named_and_the_others_go_on() -> None:
    def broken() -> None:
        raise LookupError("no")

    able = Contender("able", "", Call("f()", {"f": int}))
    unable = Contender("unable", "", Call("f()", {"f": broken}))
    assert interleave([unable, able], rounds=2, seconds=0.0001) == {"unable": "LookupError: no"}
    assert [entry["contender"] for entry in figures([measured([unable, able])], "able")] == ["able"]


def test_contenders_take_turns_and_keys_go_on_where_they_ended() -> None:
    seen: list[tuple[str, int]] = []

    def contender(name: str) -> Contender:
        fresh = count()

        def keys(turns: int) -> list[tuple[int, ...]]:
            return [tuple(next(fresh) for _ in range(10)) for _ in range(turns)]

        return Contender(name, "", Call("f({k})", {"f": lambda key: seen.append((name, key))}, keys=keys))

    a, b = contender("a"), contender("b")
    interleave([a, b], rounds=3, seconds=0.0001)
    for name in "ab":
        keys = [key for who, key in seen if who == name]
        assert keys == list(range(len(keys)))
    blocks = [who for at, (who, _) in enumerate(seen) if at == 0 or seen[at - 1][0] != who]
    # Each is tried by itself first.
    assert blocks == ["a", "b"] + ["a", "b"] * 3


def test_the_pages_say_what_their_results_do() -> None:
    folder = TESTS.parent / "docs" / "benchmarks"
    pages = report.pages(folder)
    assert "README.md" in pages
    assert {path.name: path.read_text() for path in folder.glob("*.md")} == pages
    plots = {f"plots/{path.name}" for path in folder.glob("plots/*.svg")}
    shown = {plot for text in pages.values() for plot in re.findall(r"\]\((plots/[^)]+)\)", text)}
    assert shown == plots


def test_results_are_of_whole_runs_of_what_was_committed() -> None:
    results, _ = report.read(TESTS.parent / "docs" / "benchmarks")
    for label, result in results.items():
        assert result["interpreter"]["label"] == label
        assert not result["plan"]["quick"], label
        assert list(result["cases"]) == list(CASES), label
        assert {"threads", "memory"} <= set(result), label
        assert not result["commit"].endswith("+"), f"{label}: what was measured is no commit"
    for label, result in values_page.read(TESTS.parent / "docs" / "benchmarks").items():
        assert not result["plan"]["quick"], label
        # Another row of the table waits for the next run.
        assert set(result["works"]) <= set(values.WORKS), label
        assert "threads" in result, label
        assert all(work["results"] for work in result["works"].values()), label
        assert not result["commit"].endswith("+"), f"{label}: what was measured is no commit"
