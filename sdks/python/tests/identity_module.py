"""Functions with identities, imported by tests in this process and in others."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

from cachekit import cache

CALLS: list[Any] = []


@cache
def module_level(x: int) -> str:
    CALLS.append(x)
    return f"{os.getpid()}:{x}"


@cache(version=2)
def versioned(x: int) -> str:
    return f"{os.getpid()}:{x}"


@cache
async def asynchronous(x: int) -> str:
    CALLS.append(x)
    return f"{os.getpid()}:{x}"


class Keyed:
    def __init__(self, number: int) -> None:
        self.number = number

    def __cache_key__(self) -> int:
        return self.number

    @cache
    def method(self, x: int) -> str:
        return f"{self.number}:{x}"

    @cache
    @classmethod
    def made(cls, x: int) -> str:
        return f"{cls.__name__}:{x}"


class Unkeyed:
    @cache
    def method(self, x: int) -> int:
        return x

    @cache(key=lambda self, x: x)
    def with_key(self, x: int) -> int:
        return x


def make(factor: int, **options: Any) -> Callable[[int], int]:
    @cache(**options)
    def inner(x: int) -> int:
        return x * factor

    return inner


def plain() -> int:
    return 1


def twice(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs) * 2

    return wrapper


@cache
def redefined(x: int) -> int:
    return x


first_of_two = redefined


@cache  # type: ignore[no-redef]
def redefined(x: int) -> int:
    return x + 1
