"""The page of what values cost: `docs/benchmarks/values.md`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from bench import values
from bench.goals import Judgement, entry
from bench.markdown import HEAD, Result, circumstances, details, facts, goals, number, ratio, table, title

LEAD = """What it takes to make bytes of a value and a value of bytes, beside what else does it.
Nanoseconds of one call, the loop's share included; the [overview](README.md) says how this was measured.
"""
THREADS = """Two threads that compress a megabyte of text each, beside one that does: how many megabytes they do in the time of one.
A thread stands aside only for what takes long: ten kilobytes, stored beside a thread that never stops computing, would each wait for
that thread's turn to end (the switch interval, 5 ms) if they did.
"""


def read(folder: Path) -> dict[str, Result]:
    """What was measured, by interpreter; the optimised ones first."""
    paths = sorted((folder / "results").glob(f"{values.NAME}-*.json"))
    found = [json.loads(path.read_text()) for path in paths]
    found.sort(key=lambda result: not result["interpreter"]["optimised"])
    return {result["interpreter"]["label"]: result for result in found}


def judge(result: Result) -> Iterator[Judgement]:
    """Every goal."""
    for work in values.WORKS.values():
        if work.goal is None:
            continue
        case = result["works"].get(work.name)
        found = entry(case["results"], values.CACHEKIT) if case else None
        most = f"≤ {work.goal:.2f}"
        if found is None:
            yield Judgement(work.title, work.reference, most, "not measured", "", None)
            continue
        least = found["ratio_of_minima"]
        yield Judgement(
            work.title, work.reference, most, ratio(least), ratio(found["ratio_of_medians"]), least <= work.goal
        )
    for name, most in values.OVERHEAD.items():
        bytes_ = result.get("overheads", {}).get(name)
        yield Judgement(
            f'an entry of {{"x": 5}} beside the value, {name}', "", f"≤ {most} bytes",
            "not measured" if bytes_ is None else f"{bytes_} bytes", "", None if bytes_ is None else bytes_ <= most,
        )  # fmt: skip
    sealed = result.get("seal")
    yield Judgement(
        "seal and open an entry of 1 KB", "aes-gcm, with its keys and random bytes", f"≤ {values.SEAL:.2f}",
        "not measured" if sealed is None else ratio(sealed["ratio_of_minima"]),
        "" if sealed is None else ratio(sealed["ratio_of_medians"]),
        None if sealed is None else sealed["ratio_of_minima"] <= values.SEAL,
    )  # fmt: skip
    threads = result.get("threads")
    if threads is None:
        return
    both, beside = threads["ratio_of_best"], threads["ratio_beside"]
    yield Judgement(
        "two threads compress 1 MB each", "one thread", f"≥ {values.OVERLAP:.2f}", ratio(both),
        ratio(threads["ratio_of_medians"]), both >= values.OVERLAP,
    )  # fmt: skip
    yield Judgement(
        "store 10 KB beside a thread that computes", "the same alone", f"≤ {values.BESIDE:.2f}", ratio(beside), "",
        beside <= values.BESIDE,
    )  # fmt: skip


def summary(results: dict[str, Result]) -> str:
    """The goals on the first interpreter."""
    first = next(iter(results.values()))
    where = f"{title(first['interpreter'])}: {circumstances(first).split(' - ', 1)[1]}"
    return f"On {where}; more on [their page]({values.NAME}.md).\n\n" + goals(list(judge(first)))


def page(results: dict[str, Result]) -> str:
    """Everything, interpreter by interpreter."""
    parts = [HEAD.format(sources=f"results/{values.NAME}-*.json"), "# Values\n", LEAD]
    for label, result in results.items():
        parts += [f"## {title(result['interpreter'])}\n", facts(result), goals(list(judge(result)))]
        parts.append(f"![Values](plots/{label}-{values.NAME}.svg)\n")
        for name, work in values.WORKS.items():
            if name in result["works"]:
                case = result["works"][name]
                parts += [f"### {work.title}\n", f"Reference: {work.reference}.\n", details(case)]
        if "threads" in result:
            parts += ["### Threads\n", THREADS, _threads(result["threads"])]
        used = {e["contender"]: e["settings"] for case in result["works"].values() for e in case["results"]}
        parts.append(table(["", "as it is used"], ([name, f"`{text}`"] for name, text in used.items())))
    return "\n".join(parts)


def _threads(threads: Result) -> str:
    rows = [
        ["1 MB of text stored a second, one thread: best, median", *map(number, threads["one"])],
        ["the same, two threads", *map(number, threads["two"])],
        ["10 KB stored, alone: median, 90 % below; microseconds", *map(number, threads["alone"])],
        ["the same, beside a thread that computes", *map(number, threads["beside"])],
    ]
    return table(["", "", ""], rows)
