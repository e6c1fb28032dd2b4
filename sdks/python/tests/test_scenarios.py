"""The scenario file that every driver passes, through Python's event loops."""

from __future__ import annotations

import asyncio
import contextvars
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cachekit import Backend, _native, cache, metrics_text
from conftest import Run
from support import RedisServer

FILE = Path(__file__).resolve().parents[3] / "tests" / "scenarios" / "backbone.json"
SCENARIOS = json.loads(FILE.read_text())["scenarios"] if FILE.exists() else []
SOURCES = {"l1": "l1_hits", "l2": "l2_hits", "flight": "shared"}
caller_of_context: contextvars.ContextVar[Caller] = contextvars.ContextVar("caller")


class Refused(Exception):
    """How a caller's function fails."""


class Caller:
    def __init__(self, load: Any) -> None:
        self.load = load
        self.loading = asyncio.Event()
        self.released = asyncio.Event()
        self.started = False
        self.task: asyncio.Task[Any]

    async def run(self, function: Any, key: str) -> Any:
        caller_of_context.set(self)
        self.started = True
        return await function(key)


def process(name: str, backend: Backend, timeout: float) -> Any:
    """One process of a scenario: a tier and flights of its own, and the identity that all of them share."""

    @cache(namespace=name, backend=backend, remote_timeout=timeout)
    async def function(key: str) -> str:
        caller = caller_of_context.get()
        caller.loading.set()
        if caller.load == "held":
            await caller.released.wait()
        if "error" in caller.load:
            raise Refused(caller.load["error"])
        return str(caller.load["value"])

    return function


def counters() -> Counter[str]:
    """Every series that only grows."""
    series = (line.rpartition(" ") for line in metrics_text().splitlines() if not line.startswith("#"))
    return Counter({name: int(float(value)) for name, _, value in series if "_total" in name})


async def until(condition: Any) -> None:
    async def turn() -> None:
        while not condition():
            await asyncio.sleep(0.001)

    await asyncio.wait_for(turn(), 20)


class Stage:
    """Interprets the steps of one scenario."""

    def __init__(self, scenario: dict[str, Any], server: RedisServer, name: str) -> None:
        self.scenario = scenario
        self.server = server
        timeout = scenario.get("remote_timeout_ms", 5000) / 1000
        self.processes = {one: process(name, Backend(server.unix_url), timeout) for one in ("one", "two")}
        self.callers: dict[str, tuple[str, Caller]] = {}
        self.sources: Counter[tuple[str, str]] = Counter()
        observed = process(name, Backend(server.unix_url), timeout)
        settings = {**observed.cache_settings, "monitoring": "off", "l1": False}
        plan = (("key",), 0, 1, 0, False, False, (_native.MISSING,), 0)
        self.observer = _native.CachedFunction(observed.__wrapped__, plan, settings)

    async def play(self) -> None:
        before = counters()
        for step in self.scenario["steps"]:
            await getattr(self, "do_" + step["do"])(step)
        for name, function in self.processes.items():
            info = function.cache_info()
            for source, field in SOURCES.items():
                assert getattr(info, field) >= self.sources[name, source], (name, source, info)
        added = counters()
        added.subtract(before)
        assert {name: count for name, count in added.items() if count} == self.scenario["counters"]

    async def do_call(self, step: dict[str, Any]) -> None:
        caller = Caller(step["load"])
        caller.task = asyncio.create_task(caller.run(self.processes[step["process"]], step["key"]))
        self.callers[step["caller"]] = step["process"], caller
        await until(lambda: caller.started)

    async def do_loading(self, step: dict[str, Any]) -> None:
        await asyncio.wait_for(self.callers[step["caller"]][1].loading.wait(), 20)

    async def do_waiting(self, step: dict[str, Any]) -> None:
        def count() -> int:
            return sum(name == step["process"] and not caller.task.done() for name, caller in self.callers.values())

        await until(lambda: count() == step["callers"])

    async def do_release(self, step: dict[str, Any]) -> None:
        caller = self.callers[step["caller"]][1]
        caller.load = step["load"]
        caller.released.set()

    async def do_cancel(self, step: dict[str, Any]) -> None:
        self.callers[step["caller"]][1].task.cancel()

    async def do_result(self, step: dict[str, Any]) -> None:
        name, caller = self.callers[step["caller"]]
        expected = step["is"]
        await asyncio.wait([caller.task], timeout=20)
        if "cancelled" in expected:
            assert caller.task.cancelled()
        elif "error" in expected:
            error = caller.task.exception()
            assert isinstance(error, Refused)
            assert error.args == (expected["error"],)
        else:
            assert caller.task.result() == expected["value"]
            assert caller.loading.is_set() == (expected["from"] == "load")
            self.sources[name, expected["from"]] += 1

    async def do_server(self, step: dict[str, Any]) -> None:
        if step["is"] == "silent":
            self.server.suspend()
        elif step["is"] == "dead":
            self.server.stop()
        elif self.server.process is None:
            self.server.start()
        else:
            self.server.resume()

    async def do_clear(self, step: dict[str, Any]) -> None:
        await self.processes[step["process"]].cache_clear()

    async def do_remove(self, step: dict[str, Any]) -> None:
        await self.processes[step["process"]].invalidate(step["key"])

    async def do_stored(self, step: dict[str, Any]) -> None:
        assert (await self.observer.peek(step["key"]) is not None) == step["is"], step


@pytest.mark.skipif(not SCENARIOS, reason="the scenario file belongs to the repository and not to the package")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["name"])
def test_scenario(scenario: dict[str, Any], own_redis: RedisServer, run: Run, request: pytest.FixtureRequest) -> None:
    own_redis.start()

    async def main() -> None:
        await Stage(scenario, own_redis, request.node.name).play()

    run(main())
