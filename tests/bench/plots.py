"""Draws what was measured, as SVG whose text stays text."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench import hit_ratios, values
from bench.cases import CASES
from bench.peers import CACHEKIT, LRU_CACHE, PEERS

Result = dict[str, Any]
MARKERS = "D^v<>phX*Pd"


def write(
    folder: Path,
    results: dict[str, Result],
    rates: Result | None,
    of_values: dict[str, Result],
    caption: Callable[[Result], str],
) -> None:
    """Every plot anew; none where matplotlib is not installed, which is said."""
    try:
        import matplotlib
    except ImportError:
        print("no plots: matplotlib is not installed", file=sys.stderr)
        return
    matplotlib.use("svg")
    # One figure gives one file, whenever it is drawn.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "cachekit", "font.size": 8, "axes.grid": True})
    matplotlib.rcParams.update({"grid.alpha": 0.3, "axes.axisbelow": True})
    folder.mkdir(parents=True, exist_ok=True)
    for label, result in results.items():
        for name, draw in (("sync", _hits), ("async", _hits), ("miss", _misses)):
            cases = [case for at, case in _cases(result) if at.startswith(name)]
            if cases:
                _save(folder / f"{label}-{name}.svg", draw(cases), caption(result))
        if "threads" in result:
            _save(folder / f"{label}-threads.svg", _threads(result["threads"]), caption(result))
        if "memory" in result:
            _save(folder / f"{label}-memory.svg", _memory(result["memory"]["results"]), caption(result))
    for label, result in of_values.items():
        _save(folder / f"{label}-{values.NAME}.svg", _values(list(result["works"].values())), caption(result))
    if rates:
        _save(folder / "hit-ratio.svg", _hit_ratios(rates["rows"]), caption(rates))


def _cases(result: Result) -> list[tuple[str, Result]]:
    return [(name, result["cases"][name]) for name in CASES if name in result["cases"]]


def _figure(width: float, height: float, columns: int = 1) -> tuple[Any, Any]:
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, columns, figsize=(width, height), layout="constrained", squeeze=False)
    return figure, axes


def _save(path: Path, figure: Any, caption: str) -> None:
    from matplotlib import pyplot

    width = int(figure.get_figwidth() * 18)
    lines = [part for line in caption.splitlines() for part in textwrap.wrap(line, width)]
    figure.supxlabel("\n".join(lines), fontsize=6, color="0.4")
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def _styles(names: list[str]) -> dict[str, dict[str, Any]]:
    """cachekit stands out, `lru_cache` is black, and the others have colours of their own."""
    from matplotlib import colormaps

    colours = colormaps["tab20"].colors
    known = [peer.name for peer in PEERS]
    styles: dict[str, dict[str, Any]] = {
        CACHEKIT: {"color": "red", "marker": "s", "markersize": 8},
        LRU_CACHE: {"color": "black", "marker": "o", "markersize": 4, "zorder": 3},
    }
    for at, name in enumerate(names):
        # A peer looks the same in every plot.
        place = known.index(name) if name in known else len(known) + at
        other = {"color": colours[place % 20], "marker": MARKERS[place % len(MARKERS)], "markersize": 5}
        styles.setdefault(name, other)
    return {name: styles[name] for name in names}


def _contenders(cases: list[Result]) -> list[str]:
    return list(dict.fromkeys(entry["contender"] for case in cases for entry in case["results"]))


def _hits(cases: list[Result]) -> Any:
    figure, ((axes,),) = _figure(9, 1.2 + 0.45 * len(cases))
    for name, style in _styles(_contenders(cases)).items():
        points = [
            (entry["minimum"], row)
            for row, case in enumerate(cases)
            for entry in case["results"]
            if entry["contender"] == name
        ]
        axes.plot(*zip(*points), label=name, linestyle="none", **style)
    axes.set_xscale("log")
    axes.set_xlabel("ns a call, least")
    axes.set_yticks(
        range(len(cases)), [case["title"].replace(", of which each caller gets its own", ", copied") for case in cases]
    )
    axes.invert_yaxis()
    figure.legend(loc="outside right upper", fontsize=7)
    return figure


def _misses(cases: list[Result]) -> Any:
    figure, ((axes,),) = _figure(7, 4)
    for name, style in _styles(_contenders(cases)).items():
        points = [
            (case["entries"], entry["minimum"])
            for case in cases
            for entry in case["results"]
            if entry["contender"] == name
        ]
        axes.plot(*zip(*points), label=name, **style)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("entries that fit")
    axes.set_ylabel("ns a miss with an insertion, least")
    figure.legend(loc="outside right upper", fontsize=7)
    return figure


def _threads(results: list[Result]) -> Any:
    figure, ((axes,),) = _figure(7, 1.2 + 0.35 * len(results))
    ordered = sorted(results, key=lambda entry: float(entry["best"]["1"]))
    for shift, threads, colour in ((0.2, "1", "0.6"), (-0.2, "2", "tab:blue")):
        rates = [entry["best"][threads] / 1e6 for entry in ordered]
        places = [place + shift for place in range(len(ordered))]
        axes.barh(places, rates, height=0.38, color=colour, label=f"{threads} thread{'s' if threads != '1' else ''}")
    axes.set_yticks(range(len(ordered)), [entry["contender"] for entry in ordered])
    axes.set_xlabel("million hits a second, best")
    axes.legend()
    return figure


def _memory(results: list[Result]) -> Any:
    figure, ((axes,),) = _figure(7, 1 + 0.3 * len(results))
    ordered = sorted(results, key=lambda entry: -float(entry["bytes"]))
    names = [entry["contender"] for entry in ordered]
    bars = axes.barh(names, [entry["bytes"] for entry in ordered], color=[_bar(name) for name in names])
    axes.bar_label(bars, fmt="%.0f", padding=2)
    axes.set_xlabel("bytes an entry, keys and values not counted")
    return figure


def _bar(name: str) -> str:
    return "red" if name == CACHEKIT else "0.6"


def _values(works: list[Result]) -> Any:
    figure, ((axes,),) = _figure(9, 1.2 + 0.35 * len(works))
    for name, style in _styles(_contenders(works)).items():
        points = [
            (entry["ratio_of_minima"], row)
            for row, work in enumerate(works)
            for entry in work["results"]
            if entry["contender"] == name
        ]
        axes.plot(*zip(*points), label=name, linestyle="none", **style)
    axes.axvline(1, color="0.4", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("times what the reference takes, of least times")
    axes.set_yticks(range(len(works)), [work["title"] for work in works])
    axes.invert_yaxis()
    figure.legend(loc="outside right upper", fontsize=7)
    return figure


def _hit_ratios(rows: list[Result]) -> Any:
    places = list(hit_ratios.by_trace(rows))
    capacities = sorted({capacity for _, capacity, _ in places})
    traces = list(dict.fromkeys(trace for trace, _, _ in places))
    figure, (panels,) = _figure(9, 1.2 + 0.35 * len(traces), len(capacities))
    styles = _styles([hit_ratios.OURS, *(name for name in hit_ratios.policies(rows) if name != hit_ratios.OURS)])
    for axes, capacity in zip(panels, capacities):
        for name, style in styles.items():
            points = [
                (ratios[name] * 100, traces.index(trace))
                for trace, at, ratios in places
                if at == capacity and name in ratios
            ]
            shown = {**style, "marker": "|", "markersize": 12} if name == hit_ratios.BOUND else style
            axes.plot(*zip(*points), label=name if axes is panels[0] else None, linestyle="none", **shown)
        axes.set_title(f"room for {capacity:g} % of the keys")
        axes.set_xlabel("% hits")
        axes.set_yticks(range(len(traces)), traces if axes is panels[0] else [""] * len(traces))
        axes.set_ylim(len(traces) - 0.5, -0.5)
    figure.legend(loc="outside right upper", fontsize=7)
    return figure
