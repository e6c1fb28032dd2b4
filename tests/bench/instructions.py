"""How many instructions a call takes, counted by callgrind and held to within 5 % of `instructions.json`.

Times tell little on a busy machine; counts repeat to the last digit. One process makes N and then 2 N calls of every kind, and
the difference is what N calls take. Two figures a kind: `ours`, what the extension itself executes, which the compiler and
the minor version of the interpreter decide; and `whole`, with the interpreter's part, which belongs to one build of it. Each
is held to what was recorded where that means the same, and is only shown elsewhere, as is what `functools.lru_cache` takes.

    python3 tests/bench/instructions.py WHEEL [--python /usr/bin/python3] [--record]
"""

from __future__ import annotations

import argparse
import functools
import gc
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Callable

FIGURES = Path(__file__).with_suffix(".json")
TOLERANCE = 0.05
CALLS = 10_000
FULL = 1_000

# A parameter for each call, and what is called with it.
Kind = tuple[Callable[[int], Iterable[Any]], Callable[[Iterable[Any]], None]]


def loop_over(function: Callable[[Any], object]) -> Callable[[Iterable[Any]], None]:
    def loop(keys: Iterable[Any]) -> None:
        for key in keys:
            function(key)

    return loop


def kinds(decorate: Callable[..., Any]) -> Iterator[tuple[str, Kind]]:
    """The kinds of call that `functools.lru_cache` knows as well."""

    @decorate(FULL)
    def function(key: Any) -> Any:
        return key

    @decorate(FULL)
    def named(a: int, b: int) -> int:
        return a + b

    @decorate(FULL)
    def insertion(key: Any) -> Any:
        return key

    class Service:
        @decorate(FULL)
        def method(self, key: int) -> int:
            return key

    def keywords(keys: Iterable[Any]) -> None:
        for key in keys:
            named(a=key, b=2)

    def call_method(keys: Iterable[Any]) -> None:
        for key in keys:
            service.method(key)

    def repeated(key: Any) -> Callable[[int], Iterable[Any]]:
        return lambda times: itertools.repeat(key, times)

    service = Service()
    numbers = itertools.count()
    text, other_text = (bytes(range(65, 85)).decode() for _ in range(2))
    yield "int", (repeated(1), loop_over(function))
    yield "str", (repeated(text), loop_over(function))
    yield "equal other str", (repeated(other_text), loop_over(function))
    yield "two keywords", (repeated(1), keywords)
    yield "method", (repeated(1), call_method)
    # The first N calls fill it many times over.
    yield "miss, full cache", (lambda times: itertools.islice(numbers, times), loop_over(insertion))


def our_kinds() -> Iterator[tuple[str, Kind]]:
    from cachekit import cache

    def decorate(entries: int) -> Callable[..., Any]:
        return cache.local(max_entries=entries, ttl=3600)

    @cache.local(ttl=3600)
    async def coroutine(key: int) -> int:
        return key

    @cache(backend=None, ttl=3600)
    def fields(key: int) -> dict[str, int]:
        return {f"field {number}": number for number in range(10)}

    async def awaited(keys: Iterable[int]) -> None:
        for key in keys:
            await coroutine(key)

    def await_all(keys: Iterable[int]) -> None:
        try:
            awaited(keys).send(None)
        except StopIteration:
            return
        raise AssertionError("a call that suspends is no hit")

    yield from kinds(decorate)
    yield "async", (lambda times: itertools.repeat(1, times), await_all)
    yield "copy of a dict of ten", (lambda times: itertools.repeat(1, times), loop_over(fields))


def all_kinds() -> list[tuple[str, Kind]]:
    theirs = [(f"lru_cache {name}", kind) for name, kind in kinds(lambda size: functools.lru_cache(maxsize=size))]
    return [*our_kinds(), *theirs]


def be_measured() -> None:
    """What runs under callgrind, which begins a new count at each call of `getppid`."""
    gc.disable()
    for name, (keys, loop) in all_kinds():
        print(name)
        loop(keys(2 * FULL))
        for times in (CALLS, 2 * CALLS):
            these = keys(times)
            os.getppid()
            loop(these)
            os.getppid()


def counts(profile: Path) -> tuple[int, int]:
    """What one profile has counted: in all, and in the extension."""
    whole = ours = 0
    in_ours = skip = False
    names: dict[str, str] = {}
    for line in profile.read_text().splitlines():
        if found := re.match(r"ob=(\(\d+\))(?: (.*))?", line):
            in_ours = "_native" in names.setdefault(found[1], found[2] or "")
        elif line.startswith("cob=") and (found := re.match(r"cob=(\(\d+\)) (.*)", line)):
            names.setdefault(found[1], found[2])
        elif line.startswith("calls="):
            # The next line is what was called, which counts where it is.
            skip = True
        elif re.match(r"[+\-*\d]", line):
            cost = 0 if skip else int(line.split()[1])
            whole, ours, skip = whole + cost, ours + cost * in_ours, False
    return whole, ours


def measure(python: str, wheel: Path) -> dict[str, dict[str, int]]:
    """Instructions of one call of every kind."""
    with tempfile.TemporaryDirectory() as folder:
        zipfile.ZipFile(wheel).extractall(folder)
        command = [
            "valgrind", "--tool=callgrind", "--dump-before=getppid", "--dump-line=no", f"--callgrind-out-file={folder}/profile",
            python, "-s", "-B", __file__, "--be-measured", folder,
        ]  # fmt: skip
        # Addresses are hashes of many an object, and so decide where it lies in a dict.
        setarch = shutil.which("setarch")
        if setarch and subprocess.run([setarch, "-R", "true"], check=False, capture_output=True).returncode == 0:
            command = [setarch, "-R", *command]
        environment = {"PATH": os.environ["PATH"], "PYTHONHASHSEED": "0"}
        done = subprocess.run(command, check=False, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"valgrind failed:\n{done.stdout}\n{done.stderr}")
        parts = sorted(Path(folder).glob("profile.*"), key=lambda part: int(part.suffix[1:]))
        # Every other part is of the preparations.
        found = [counts(part) for part in parts[1::2]]
    figures: dict[str, dict[str, int]] = {}
    for name, once, twice in zip(done.stdout.splitlines(), found[::2], found[1::2]):
        whole, ours = (round((twice[at] - once[at]) / CALLS) for at in range(2))
        theirs = name.partition("lru_cache ")[2]
        figures.setdefault(theirs or name, {}).update(
            {"lru_cache": whole} if theirs else {"ours": ours, "whole": whole}
        )
    return figures


def surroundings(python: str) -> dict[str, str]:
    """What decides how many instructions it takes."""
    say = "import platform, sys; print(platform.machine(), sys.version)"
    machine, _, version = subprocess.check_output([python, "-c", say], text=True).strip().partition(" ")
    compiler = subprocess.check_output(["rustc", "--version"], text=True).strip()
    return {"machine": machine, "compiler": compiler, "interpreter": version}


def comparable(here: dict[str, str], there: dict[str, str]) -> list[str]:
    """The figures that mean the same in both surroundings."""

    def minor(of: dict[str, str]) -> list[str]:
        return of["interpreter"].split(".")[:2]

    if (here["machine"], here["compiler"], minor(here)) != (there["machine"], there["compiler"], minor(there)):
        return []
    return ["whole", "ours"] if here["interpreter"] == there["interpreter"] else ["ours"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument(
        "--python", default=sys.executable, help="the interpreter to run it on, which the wheel must suit"
    )
    parser.add_argument("--record", action="store_true", help=f"write what is counted into {FIGURES.name}")
    options = parser.parse_args()
    here = surroundings(options.python)
    figures = measure(options.python, options.wheel)
    if options.record:
        FIGURES.write_text(json.dumps({"surroundings": here, "figures": figures}, indent=4) + "\n")
    recorded = json.loads(FIGURES.read_text())
    held = comparable(here, recorded["surroundings"])
    for what, value in here.items():
        there = recorded["surroundings"][what]
        print(f"{what}: {value}" + (f"; recorded with {there}" if there != value else ""))
    print("held to what was recorded:", ", ".join(held) or "nothing")
    off = False
    for name in {**figures, **recorded["figures"]}:
        line = f"{name:24}"
        for figure, count in figures.get(name, {}).items():
            before = recorded["figures"].get(name, {}).get(figure, 0)
            line += f" {figure} {count}" + (f" (was {before})" if count != before else "")
            if figure in held and abs(count - before) > TOLERANCE * before:
                line += " <-- OFF"
                off = True
        print(line)
        off |= name not in figures
    if off:
        print(f"more than {TOLERANCE:.0%} off, or not counted: if that is meant, record the figures anew with --record")
    return off


if __name__ == "__main__":
    if sys.argv[1:2] == ["--be-measured"]:
        sys.path.insert(0, sys.argv[2])
        be_measured()
    else:
        sys.exit(main())
