"""Writes `docs/benchmarks` from what was measured: the goals, a page for each interpreter, and plots."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bench import hit_ratios, plots, values, values_page
from bench.cases import CASES, GROUPS
from bench.goals import judge, judge_hit_ratios
from bench.markdown import (
    HEAD,
    MET,
    Result,
    caption,
    circumstances,
    details,
    facts,
    goals,
    number,
    ratio,
    table,
    title,
)

PRIMARY = "cpython-3.11-debian"
"""What the goals are judged on: an interpreter that was built with profile and link-time optimisation."""

LEAD = """Nanoseconds for one call, the loop's share included, and the ratio to the reference of the same process.
The [overview](README.md) says how this was measured.
"""
HIT_RATIO_LEAD = """Percent of a trace's lookups that hit, in a cache that has room for 1 or 10 percent of its distinct keys.
Belady's is the bound: it knows the future.
"""


def _overview(cases: Sequence[tuple[str, Result]]) -> str:
    names = list(dict.fromkeys(entry["contender"] for _, case in cases for entry in case["results"]))
    rows = []
    for name in names:
        cells = []
        for _, case in cases:
            found = next((entry for entry in case["results"] if entry["contender"] == name), None)
            cells.append(f"{number(found['minimum'])} ({ratio(found['ratio_of_minima'])})" if found else "")
        rows.append([name, *cells])
    return table(["ns (ratio)", *(case["title"] for _, case in cases)], rows)


def page(result: Result) -> str:
    """Everything of one interpreter."""
    label = result["interpreter"]["label"]
    parts = [
        HEAD.format(sources=f"results/{label}.json"),
        f"# {title(result['interpreter'])}\n",
        LEAD,
        facts(result),
        "## Goals\n",
        goals(judge(result)),
    ]
    for group, heading in GROUPS.items():
        cases = [(name, result["cases"][name]) for name in CASES if name in result["cases"] and name.startswith(group)]
        if not cases:
            continue
        parts += [f"## {heading}\n", f"![{heading}](plots/{label}-{group}.svg)\n"]
        parts += ["Least time of a call, and its ratio to the reference's.\n", _overview(cases)]
        for _, case in cases:
            parts += [f"### {heading}: {case['title']}\n", f"Reference: {case['reference']}.\n", details(case)]
    if "threads" in result:
        parts += ["## Two threads\n", f"![Two threads](plots/{label}-threads.svg)\n", _threads(result["threads"])]
    if "memory" in result:
        parts += ["## Memory\n", f"![Memory](plots/{label}-memory.svg)\n", _memory(result["memory"])]
    parts += ["## Settings\n", _settings(result)]
    return "\n".join(parts)


def _settings(result: Result) -> str:
    lists = [case["results"] for case in result["cases"].values()]
    lists += [result.get("threads", []), result.get("memory", {}).get("results", [])]
    found = {entry["contender"]: entry["settings"] for results in lists for entry in results}
    return table(["", "as it is used, with room for N entries"], ([name, f"`{text}`"] for name, text in found.items()))


def _threads(results: Sequence[Result]) -> str:
    text = "Hits a second, of one of 1 000 keys that each thread has to itself; the best round, and the median.\n\n"
    rows = [
        [
            entry["contender"],
            *(f"{number(entry['best'][threads])} ({number(entry['median'][threads])})" for threads in ("1", "2")),
            ratio(entry["ratio_of_best"]),
        ]
        for entry in sorted(results, key=lambda entry: -float(entry["best"]["1"]))
    ]
    return text + table(["", "one thread", "two threads", "ratio"], rows)


def _memory(memory: Result) -> str:
    text = (
        f"Growth of a process in which a cache takes {number(memory['entries'])} entries, for each that it then holds. Keys and"
        " values are\nintegers that were there before.\n\n"
    )
    rows = [
        [entry["contender"], f"{entry['bytes']:.1f}", number(entry["held"])]
        for entry in sorted(memory["results"], key=lambda entry: float(entry["bytes"]))
    ]
    return text + table(["", "bytes an entry", "entries held"], rows)


def hit_ratio_page(rates: Result) -> str:
    """Hit ratios of every trace and policy."""
    names = hit_ratios.policies(rates["rows"])
    parts = [
        HEAD.format(sources="results/hit-ratio.json"),
        "# Hit ratio\n",
        HIT_RATIO_LEAD,
        f"{circumstances(rates)}\n",
        goals(judge_hit_ratios(rates), medians=False),
        "![Hit ratio](plots/hit-ratio.svg)\n",
    ]
    places = list(hit_ratios.by_trace(rates["rows"]))
    for capacity in sorted({capacity for _, capacity, _ in places}):
        rows = [
            [trace, *(f"{ratios[name] * 100:.2f}" if name in ratios else "" for name in names)]
            for trace, at, ratios in places
            if at == capacity
        ]
        parts += [f"## {capacity:g} % of the keys\n", table(["trace", *names], rows)]
    return "\n".join(parts)


INTRODUCTION = """# Benchmarks

cachekit beside the other caches for Python, and beside the goals that it was built to.
`bash tests/bench/run.sh` measures everything anew and writes these pages; [the guide](../guide/benchmarks.md) says how.
"""

METHOD = """## How it is measured

- Each comparison runs in a process of its own, which all contenders share, in turns: round after round, a millisecond each.
  What else the machine does falls on all of them. The published cachekit has the same import name, so it runs in a process
  beside the reference, and its ratios are to what that takes there.
- Where code and objects lie in memory differs from process to process, and moves a hit by some nanoseconds: each comparison is
  run in several, and their rounds are taken together. Caches of 100 000 entries and more take long to fill, and have one.
- A turn is a loop over ten calls, compiled for each contender by itself; the loop's own time is left in. The garbage collector
  is off meanwhile.
- The ratio of the least times is what goals are judged by: interruptions only ever add. That of the medians stands beside it.
- cachekit has a lifetime, statistics, the check of `cachekit.disabled()` and invalidation on, and in hits, methods and the set of
  a million keys aside, a real Redis as its remote tier. The others have the settings that their documentation says are best.
- Whether a hit was one is counted: who ran the function in more than one of a thousand calls takes no part, and is named.
"""


def index(results: dict[str, Result], rates: Result | None, of_values: dict[str, Result]) -> str:
    """The first page: the goals, and where the rest is."""
    parts = [HEAD.format(sources="results"), INTRODUCTION]
    first = results.get(PRIMARY) or next(iter(results.values()))
    label = first["interpreter"]["label"]
    judgements = judge(first)
    where = f"{title(first['interpreter'])}: {circumstances(first).split(' - ', 1)[1]}"
    parts += [
        "## Goals\n",
        f"On {where}. A ratio of times, unless it says otherwise.\n",
        goals([*judgements, *judge_hit_ratios(rates)]),
    ]
    others = {name: judge(result) for name, result in results.items() if name != label}
    if others:
        header = ["work", *others]
        rows = [
            [
                first_goal.work,
                *(f"{found[at].measured} ({found[at].goal}: {MET[found[at].met]})" for found in others.values()),
            ]
            for at, first_goal in enumerate(judgements)
        ]
        parts += ["## On other interpreters\n", table(header, rows)]
    if of_values:
        parts += ["## Values\n", values_page.summary(of_values)]
    links = [f"- [{title(result['interpreter'])}]({name}.md)\n" for name, result in results.items()]
    if rates:
        links.append("- [Hit ratio](hit-ratio.md) of the eviction policy, beside others\n")
    if of_values:
        links.append(f"- [Values]({values.NAME}.md): what storing and loading one costs\n")
    parts += ["## Pages\n", "".join(links), METHOD]
    return "\n".join(parts)


def pages(folder: Path) -> dict[str, str]:
    """The text of every page, by file name, from the results in a folder."""
    results, rates = read(folder)
    found = {f"{label}.md": page(result) for label, result in results.items()}
    if rates:
        found["hit-ratio.md"] = hit_ratio_page(rates)
    of_values = values_page.read(folder)
    if of_values:
        found[f"{values.NAME}.md"] = values_page.page(of_values)
    if results:
        found["README.md"] = index(results, rates, of_values)
    return found


def read(folder: Path) -> tuple[dict[str, Result], Result | None]:
    """What was measured, by interpreter, and the hit ratios."""
    paths = sorted(path for path in (folder / "results").glob("*.json") if not path.stem.startswith(values.NAME))
    results = {path.stem: json.loads(path.read_text()) for path in paths}
    rates = results.pop(hit_ratios.NAME, None)
    ordered = sorted(results, key=lambda label: (label != PRIMARY, [int(part) for part in _version(results[label])]))
    return {label: results[label] for label in ordered}, rates


def _version(result: Result) -> list[str]:
    return [part for part in result["interpreter"]["version"].split(".")[:2] if part.isdigit()]


def write(folder: Path) -> None:
    """Writes the pages and the plots of a folder anew."""
    for name, text in pages(folder).items():
        (folder / name).write_text(text)
    results, rates = read(folder)
    plots.write(folder / "plots", results, rates, values_page.read(folder), caption)
