"""Writes docs/guide/types.md: what comes back of a value of each type, by serializer. Each is really stored and loaded.

    python sdks/python/tests/type_matrix.py

It takes every library that a row is of. A test holds the document to it.
"""

from __future__ import annotations

import array
import collections
import datetime as dt
import decimal
import enum
import fractions
import ipaddress
import pathlib
import uuid
import zoneinfo
from dataclasses import dataclass
from typing import Any, NamedTuple

import attrs
import msgspec
import numpy
import pandas
import polars
import pyarrow
import pydantic

from cachekit import NotCacheableError, cache
from cachekit.options import OPTIONS

DOCUMENT = pathlib.Path(__file__).parents[3] / "docs" / "guide" / "types.md"
# With what SDKs of all languages agree on, which is chosen by another option.
SERIALIZERS = (*OPTIONS["serializer"].choices, "interop")


class Colour(enum.Enum):
    RED = 1


class Level(enum.IntEnum):
    LOW = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: int


@dataclass
class Record:
    x: int


@dataclass(frozen=True)
class FrozenRecord:
    x: int


@attrs.define
class Attrs:
    x: int


class Struct(msgspec.Struct):
    x: int


class Model(pydantic.BaseModel):
    x: int


class Own:
    def __eq__(self, other: object) -> bool:
        return type(other) is Own

    def __repr__(self) -> str:
        return "Own()"


class Derived(dict):  # type: ignore[type-arg]
    pass


CLASSES = (Colour, Level, Rights, Point, Record, FrozenRecord, Attrs, Struct, Model)

ROWS: dict[str, dict[str, Any]] = {
    "Built in": {
        "`None`": None,
        "`bool`": True,
        "`int` of 64 bits": 2**63,
        "`int` of any size": -(2**200),
        "`float`": -0.0,
        "`float`, infinite": float("inf"),
        "`complex`": 1 - 0j,
        "`str`": "é",
        "`str` with a lone surrogate": "\udc80",
        "`bytes`": b"\xff",
        "`bytearray`": bytearray(b"x"),
        "`list`": [1, [2]],
        "`tuple`": (1, (2,)),
        "`dict` with `str` keys": {"b": 1, "a": {}},
        "`dict` with any keys": {(1, None): 1},
        "`set`": {1, "a"},
        "`frozenset`": frozenset([1]),
        "`range`": range(1, 9, 2),
        "an instance of a subclass": Derived(a=1),
    },
    "Moments": {
        "`datetime`": dt.datetime(2024, 1, 2, 3, 4, 5, 6),
        "`datetime` in a `timezone`": dt.datetime(2024, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=2), "X")),
        "`datetime` in a `ZoneInfo`, with its `fold`": dt.datetime(
            2024, 10, 27, 2, 30, tzinfo=zoneinfo.ZoneInfo("Europe/Paris"), fold=1
        ),
        "`date`": dt.date(2024, 2, 29),
        "`time`": dt.time(1, 2, 3, 4),
        "`timedelta`": dt.timedelta(microseconds=-1),
    },
    "Of the standard library": {
        "`Decimal`": decimal.Decimal("1.00"),
        "`Fraction`": fractions.Fraction(1, 3),
        "`UUID`": uuid.UUID(int=1),
        "`pathlib.Path`": pathlib.Path("a/b"),
        "`PureWindowsPath`": pathlib.PureWindowsPath("c:/x"),
        "`IPv4Network` and its like": ipaddress.ip_network("10.0.0.0/8"),
        "`OrderedDict`": collections.OrderedDict(a=1),
        "`defaultdict(list)`": collections.defaultdict(list, {"a": [1]}),
        "`defaultdict` of a lambda": collections.defaultdict(lambda: 1),
        "`Counter`": collections.Counter("aab"),
        "`deque` with `maxlen`": collections.deque([1], 3),
        "`array.array`": array.array("d", [1.5]),
    },
    "Classes that the function names": {
        "`Enum`": Colour.RED,
        "`IntEnum`": Level.LOW,
        "`Flag`, combined": Rights.READ | Rights.WRITE,
        "named tuple": Point(1),
        "dataclass": Record(1),
        "frozen dataclass": FrozenRecord(1),
        "attrs": Attrs(1),
        "`msgspec.Struct`": Struct(1),
        "pydantic model": Model(x=1),
        "any other class": Own(),
    },
    "numpy": {
        "`ndarray` of numbers": numpy.arange(6).reshape(2, 3),
        "`ndarray` in Fortran's order": numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
        "`ndarray` of `datetime64`": numpy.array(["2024-01-01"], "M8[ns]"),
        "`ndarray` of text": numpy.array(["é", "ab"]),
        "`ndarray`, structured": numpy.array([(1, 2.0)], [("a", "i4"), ("b", "f8")]),
        "`ndarray` of objects": numpy.array([[], 1], object),
        "scalars": numpy.float32(1.5),
        "`datetime64`": numpy.datetime64("2024-01-01", "s"),
    },
    "Frames and tables": {
        "`pandas.DataFrame`": pandas.DataFrame({"a": [1, 2], "b": ["x", "y"]}),
        "`pandas.Series`": pandas.Series([1.5, 2.5], name="a"),
        "`pandas.Timestamp`": pandas.Timestamp("2024-01-01"),
        "`polars.DataFrame`": polars.DataFrame({"a": [1, 2]}),
        "`polars.Series`": polars.Series("a", [1, 2]),
        "`pyarrow.Table`": pyarrow.table({"a": [1, 2]}),
    },
}

_HEAD = """<!-- Written by `python sdks/python/tests/type_matrix.py`, which stores and loads each value. Do not edit. -->

# Types

What comes back of a value, by [serializer](serializers.md): ✓ is the same value of the same type, "no" is refused when it is
stored. Of a container the same holds for what is in it. With [`interop`](interop.md) a time comes back with its offset, which is
"another" than one with a zone. `pickle` takes it where nobody else can have written it, and where the class can be
imported.
"""


def outcome(serializer: str, value: Any) -> str:
    """What the row says under `serializer`."""
    options: dict[str, Any] = {"l1": False, "backend": "memory://", "namespace": f"types-{uuid.uuid4()}"}
    if serializer == "pickle":
        options = {"backend": None, "isolation": "sealed"}
    if serializer == "interop":
        options["interop"] = "stored"
    elif serializer == "native":
        options["types"] = CLASSES
    else:
        options["serializer"] = serializer

    @cache(strict=True, **options)
    def stored() -> Any:
        return value

    try:
        stored()
    except NotCacheableError:
        return "no"
    back = stored()
    # Without an entry of its own in this process, or with one that is decoded, it comes out of bytes.
    assert stored.cache_info().misses == 1
    if type(back) is not type(value):
        return f"`{type(back).__name__}`"
    return "✓" if _same(back, value) else "another"


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, numpy.ndarray):
        return one.dtype == other.dtype and one.tolist() == other.tolist()
    return bool(one.equals(other) if hasattr(one, "equals") else one == other and repr(one) == repr(other))


def document() -> str:
    """The document's text."""
    parts = [_HEAD]
    for title, rows in ROWS.items():
        parts.append(f"\n## {title}\n\n| | {' | '.join(f'`{name}`' for name in SERIALIZERS)} |\n")
        parts.append(f"|---|{':-:|' * len(SERIALIZERS)}\n")
        for label, value in rows.items():
            parts.append(f"| {label} | {' | '.join(outcome(name, value) for name in SERIALIZERS)} |\n")
    return "".join(parts)


if __name__ == "__main__":
    DOCUMENT.write_text(document(), encoding="utf-8")
