"""Figures as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from bench.goals import Judgement

HEAD = "<!-- Written by `bash tests/bench/run.sh` from {sources}. Do not edit. -->\n"
MET = {True: "met", False: "**missed**", None: "-"}

Result = dict[str, Any]


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """As Markdown has it."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def number(value: float) -> str:
    """With three digits that say something."""
    if value >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def ratio(value: float) -> str:
    """To a hundredth, unless it is small."""
    return number(value) if value >= 0.1 else f"{value:.3f}"


def title(interpreter: Result) -> str:
    """`CPython 3.11.2, optimised (debian)`."""
    kind = "optimised" if interpreter["optimised"] else "not optimised"
    threads = ", free-threaded" if interpreter["free_threaded"] else ""
    return f"CPython {interpreter['version']}, {kind} ({interpreter['origin']}){threads}"


def circumstances(result: Result) -> str:
    """In one line, for plots."""
    machine = result["machine"]
    where = f"{machine['processor']}, {machine['cores']} cores, {machine['kernel']}"
    what = title(result["interpreter"]) if "interpreter" in result else machine["rust"]
    return f"{what} - {where} - {result['date']}, {result['commit']}"


def versions(result: Result) -> str:
    """In one line."""
    return ", ".join(f"{name} {version}" for name, version in result["versions"].items())


def caption(result: Result) -> str:
    """What stands under a plot."""
    return circumstances(result) + (f"\n{versions(result)}" if "versions" in result else "")


def goals(judgements: Sequence[Judgement], medians: bool = True) -> str:
    """The table of goals."""
    header = ["work", "reference", "goal", "measured", *(["of medians"] if medians else []), ""]
    return table(
        header,
        ([j.work, j.reference, j.goal, j.measured, *([j.medians] if medians else []), MET[j.met]] for j in judgements),
    )


def details(case: Result) -> str:
    """Everybody's figures in one comparison."""
    rows = [
        [
            entry["contender"],
            number(entry["minimum"]),
            number(entry["median"]),
            ratio(entry["ratio_of_minima"]),
            ratio(entry["ratio_of_medians"]),
        ]
        for entry in sorted(case["results"], key=lambda entry: float(entry["minimum"]))
    ]
    text = table(["", "least ns", "median ns", "ratio of least", "of medians"], rows)
    for name, why in case["failed"].items():
        text += f"\n{name} takes no part: {why}.\n"
    return text


def facts(result: Result) -> str:
    """What the figures hold for."""
    machine, interpreter, plan = result["machine"], result["interpreter"], result["plan"]
    rows = [
        ["processor", f"{machine['processor']}, {machine['cores']} cores"],
        ["kernel", machine["kernel"]],
        ["load before and after", " and ".join(map(str, machine["load"]))],
        ["interpreter", f"{title(interpreter)}, {interpreter['compiler']}"],
        ["configured with", f"`{_no_paths(interpreter['configured_with'])}`"],
        ["compiled with", f"`{_no_paths(interpreter['compiled_with'])}`"],
        ["versions", versions(result)],
        ["built by, beside", f"{machine['rust']}; {machine['redis'].split(' sha=')[0]}"],
        [
            "rounds",
            f"{plan['processes']} processes of {plan['rounds']}, {plan['seconds'] * 1000:g} ms each; {plan['took']} s in all",
        ],
        ["date and commit", f"{result['date']}, {result['commit']}"],
    ]
    return table(["", ""], rows)


def _no_paths(flags: str) -> str:
    """Build flags without what names a folder of the machine that built it."""
    return " ".join(word for word in flags.replace("'", "").split() if "/" not in word)
