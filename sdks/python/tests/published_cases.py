"""Calls, and what they return, that two packages of one name are given: ours, and the published one in an environment of its own."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from uuid import UUID


class Colour(Enum):
    RED = "red"


def look_up(user, size=10, *rest, deep=False, **more):
    """The signature that both packages bind calls to."""


CALLS = [
    ((42,), {}),
    ((), {"user": 43, "size": 10}),
    ((44, 11, "a", b"b", None), {"deep": True, "z": 1, "a": [1.5, 2.0]}),
    (("é€😀",), {"size": -(2**63)}),
    ((2**64 - 1,), {"size": -0.0}),
    (({"b": [1, {"d": None, "c": 1e300}], "a": {}},), {}),
    (({3, 1, 2.0, "x"},), {"size": frozenset({"b", "aa"})}),
    ((datetime(1969, 12, 31, 23, 59, 59, 123456, timezone.utc),), {}),
    ((datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=2))),), {}),
    ((UUID("550E8400-E29B-41D4-A716-446655440000"), Decimal("1.00")), {"colour": Colour.RED}),
    ((PurePosixPath("a/b"),), {"size": bytearray(b"x" * 300)}),
]

VALUES = [
    None,
    True,
    -(2**63),
    2**64 - 1,
    [0, 127, 128, 255, 256, 65535, 65536, 2**32, -1, -32, -33, -128, -129, -32769, -(2**31) - 1],
    [2.0, -0.0, 1.5, 1e300],
    "é€😀" * 20,
    b"\x00\xff" * 200,
    {"z": 1, "a": {"é": [], "e": {}}, "": [None, False]},
    {"at": datetime(2024, 2, 29, 12, 0, 0, 250000, timezone.utc), "naive": datetime(2024, 2, 29)},
    [date(2024, 2, 29), time(12, 30), time(12, 30, tzinfo=timezone.utc), {"n" * 300: list(range(70000))}],
]


def shown(value):
    """What a value is, its types included; the order of a dict is not what is stored."""
    if isinstance(value, dict):
        return sorted((key, shown(item)) for key, item in value.items())
    return [shown(item) for item in value] if isinstance(value, list) else repr(value)
