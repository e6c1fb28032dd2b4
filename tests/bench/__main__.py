"""The command, in the folder `tests`: `python -m bench run RESULTS.json`, then `python -m bench report FOLDER`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def _timing(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rounds", type=int, default=30, help="how often each contender's turn comes in a process")
    parser.add_argument("--seconds", type=float, default=0.001, help="how long a turn is")
    parser.add_argument("--quick", action="store_true", help="few entries, for a look at whether it runs")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (("run", "caches"), ("values", "what values cost")):
        run = commands.add_parser(name, help=f"measure {what}, and write what came out")
        run.add_argument("out", type=Path)
        run.add_argument("--only", action="append", default=[], metavar="PATTERN", help="cases, `threads`, `memory`")
        run.add_argument("--processes", type=int, default=5, help="how often each case is run")
        run.add_argument("--commit", help="what was built")
        run.add_argument("--published", metavar="PYTHON", help="an interpreter that has the published package")
        run.add_argument("--seal", type=Path, metavar="FILE", help="what `cargo bench --bench seal` printed")
        _timing(run)
    report = commands.add_parser("report", help="write pages and plots from FOLDER/results")
    report.add_argument("folder", type=Path)
    rates = commands.add_parser("hit-ratio", help="take what `cargo bench` measured into FOLDER/results")
    rates.add_argument("csv", type=Path)
    rates.add_argument("folder", type=Path)
    # What `run` has others do.
    case = commands.add_parser("case", help="one comparison in this process")
    case.add_argument("name")
    case.add_argument("--published", action="store_true")
    _timing(case)
    value = commands.add_parser("value", help="one row of values in this process")
    value.add_argument("name")
    _timing(value)
    commands.add_parser("value-overheads", help="bytes of an entry beside its value")
    _timing(commands.add_parser("value-threads", help="what threads do with values at once"))
    _timing(commands.add_parser("threads", help="hits a second of one thread and of two"))
    memory = commands.add_parser("memory", help="bytes an entry of one peer")
    memory.add_argument("peer")
    memory.add_argument("entries", type=int)
    commands.add_parser("label", help="name of this interpreter in files")
    commands.add_parser("commit", help="that this checkout is at, with + after it if it is not quite")
    commands.add_parser("versions", help="of the peers that are installed")
    return parser.parse_args()


def _run(given: argparse.Namespace) -> None:
    from bench import run

    plan = run.Plan(
        processes=given.processes,
        rounds=given.rounds,
        seconds=given.seconds,
        quick=given.quick,
        only=tuple(given.only),
        published=given.published,
        commit=given.commit,
        seal=given.seal,
    )
    (run.run_values if given.command == "values" else run.run)(plan, given.out)


def _answer(given: argparse.Namespace) -> Any:
    from bench import compare, machine, memory, threads, values

    if given.command == "case":
        return compare.run(given.name, given.rounds, given.seconds, given.published, given.quick)
    if given.command == "value":
        return values.run(given.name, given.rounds, given.seconds)
    if given.command == "value-overheads":
        return values.overheads()
    if given.command == "value-threads":
        return values.threads(given.rounds, given.quick)
    if given.command == "threads":
        return threads.run(given.rounds, given.seconds * 20)
    if given.command == "memory":
        return memory.measure(given.peer, given.entries)
    return machine.versions()


def main() -> None:
    given = _arguments()
    if given.command in ("run", "values"):
        _run(given)
    elif given.command == "report":
        from bench import report

        report.write(given.folder)
    elif given.command == "hit-ratio":
        from bench import hit_ratios

        hit_ratios.take(given.csv, given.folder)
    elif given.command in ("label", "commit"):
        from bench import machine

        print(machine.label() if given.command == "label" else machine.commit())
    else:
        json.dump(_answer(given), sys.stdout)


main()
