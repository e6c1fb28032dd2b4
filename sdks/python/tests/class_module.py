"""Classes of every kind that can be stored, in a module that others can name."""

from __future__ import annotations

import collections
import enum
import functools
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")

Point = collections.namedtuple("Point", "x y")


class Colour(enum.Enum):
    RED = 1
    GREEN = "g"
    ALSO_RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Colour
    right: object = None


@dataclass
class Address:
    street: str
    colour: Colour = Colour.RED


@dataclass
class User:
    name: str
    address: Address | None = None
    tags: list[str] = field(default_factory=list)
    rights: Rights = Rights.READ

    def __post_init__(self) -> None:
        calls.append("post_init")

    @functools.cached_property
    def length(self) -> int:
        return len(self.name)


class Admin(User):
    """No dataclass itself."""


@dataclass
class Chief(User):
    budget: int = 0


@dataclass(frozen=True)
class Frozen:
    number: int
    made: int = field(init=False, default=3)
    later: str = field(init=False, default_factory=str)


@dataclass
class Box(Generic[T]):
    content: T


class Slotted:
    """A dataclass with slots, as 3.10 makes it of `slots=True`."""

    __slots__ = ("a", "b")
    a: int
    b: Any

    def __init__(self, a: int, b: Any) -> None:
        self.a = a
        self.b = b

    def __eq__(self, other: object) -> bool:
        return type(other) is Slotted and (self.a, self.b) == (other.a, other.b)


Slotted = dataclass(init=False, eq=False)(Slotted)


@dataclass
class Node:
    next: Node | None = None


@dataclass
class Holder:
    lock: object = None


calls: list[str] = []
