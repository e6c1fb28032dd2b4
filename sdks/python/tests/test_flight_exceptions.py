"""A load that raises: each of those who wait for it gets an exception of its own."""

from __future__ import annotations

import asyncio
import builtins
import json
import subprocess
import sys
import traceback
from typing import Any

import pytest

from cachekit import _raised, cache
from conftest import Run
from support import Gate, in_threads, join, park


class Problem(Exception):
    pass


def test_each_waiter_gets_an_exception_of_its_own_chained_to_the_first() -> None:
    gate = Gate()

    @cache(backend=None)
    def function() -> None:
        gate()
        raise Problem("why", 7)

    threads, results = in_threads(16, function)
    assert gate.entered.acquire(timeout=20)
    park(threads)
    gate.open.set()
    join(threads)
    assert [type(result) for result in results] == [Problem] * 16
    assert {result.args for result in results} == {("why", 7)}
    assert len({id(result) for result in results}) == 16
    leaders = [result for result in results if result.__cause__ is None]
    assert len(leaders) == gate.calls == 1
    for result in results:
        assert result.__cause__ is None or result.__cause__ in leaders
        # Nobody's traceback grew by the others'.
        assert len(traceback.extract_tb(result.__traceback__)) <= 4


def test_each_task_gets_an_exception_of_its_own(run: Run) -> None:
    @cache(backend=None)
    async def function() -> None:
        await asyncio.sleep(0.01)
        raise Problem("why")

    async def main() -> Any:
        return await asyncio.gather(*(function() for _ in range(8)), return_exceptions=True)

    results = run(main())
    assert [type(result) for result in results] == [Problem] * 8
    assert len({id(result) for result in results}) == 8
    leaders = [result for result in results if result.__cause__ is None]
    assert len(leaders) == 1
    assert all(result.__cause__ is leaders[0] for result in results if result is not leaders[0])


class Detailed(Exception):
    """Of which `copy.copy` would fail: its `__init__` does not take its `args`."""

    __slots__ = ("code",)

    def __init__(self, one: int, *, code: int) -> None:
        super().__init__(f"text {one}")
        self.code = code
        self.details = [one]


def raised_exceptions() -> list[BaseException]:
    """Of every way in which classes keep what makes their exceptions."""
    try:
        raise Detailed(1, code=2) from KeyError("the cause")
    except Detailed as error:
        detailed = error
    try:
        json.loads("{")
    except ValueError as error:
        decoding = error
    errors: list[BaseException] = [
        detailed,
        decoding,
        Problem("why", 7),
        KeyError("k"),
        OSError(2, "none", "here", None, "there"),
        FileNotFoundError(2, "none", "here"),
        UnicodeDecodeError("utf-8", b"x", 0, 1, "why"),
        ImportError("no", name="module", path="here"),
        subprocess.CalledProcessError(3, ["command"], b"output"),
        StopAsyncIteration(),
    ]
    if sys.version_info >= (3, 11):
        detailed.add_note("a note")
        errors.append(builtins.ExceptionGroup("several", [ValueError(1), Problem(2)]))
    return errors


@pytest.mark.parametrize("error", raised_exceptions(), ids=lambda error: type(error).__name__)
def test_an_exception_for_another_caller_is_equal(error: BaseException) -> None:
    made = _raised.like(error)
    assert made is not error
    assert type(made) is type(error)
    assert (str(made), made.args, made.__dict__) == (str(error), error.args, error.__dict__)
    for name in dir(error):
        if not name.startswith("__") and not callable(getattr(error, name, None)):
            assert getattr(made, name, None) == getattr(error, name, None)
    if hasattr(error, "__notes__"):
        made.add_note("another")
        assert error.__notes__ == ["a note"]


def test_waiters_get_exceptions_whose_classes_take_other_arguments(run: Run) -> None:
    @cache(backend=None)
    async def function() -> None:
        await asyncio.sleep(0.01)
        raise Detailed(1, code=2)

    async def main() -> Any:
        return await asyncio.gather(*(function() for _ in range(4)), return_exceptions=True)

    results = run(main())
    assert [(type(result), str(result), result.code) for result in results] == [(Detailed, "text 1", 2)] * 4
    assert len({id(result) for result in results}) == 4


def test_an_exception_of_which_there_is_but_one_is_still_raised() -> None:
    class Only(Exception):
        made = 0

        def __new__(cls, *args: object) -> Only:
            if cls.made:
                raise TypeError("there is one already")
            return super().__new__(cls, *args)

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError(name)

        def __reduce__(self) -> Any:
            raise TypeError("no copies")

    only = Only("text")
    Only.made = 1
    assert str(_raised.like(only)) == "text"
