"""Hypothesis strategies of every value that can be stored."""

from __future__ import annotations

import collections
import datetime as dt
import enum
import pathlib
import zoneinfo
from dataclasses import dataclass
from typing import Any, NamedTuple

from hypothesis import strategies as st

ZONES = [zoneinfo.ZoneInfo(name) for name in ("UTC", "Europe/Paris", "America/New_York", "Asia/Kolkata")]

offsets = st.timedeltas(dt.timedelta(hours=-24, microseconds=1), dt.timedelta(hours=24, microseconds=-1))
timezones = (
    st.none()
    | st.just(dt.timezone.utc)
    | offsets.map(dt.timezone)
    | st.builds(dt.timezone, offsets, st.text(st.characters(exclude_categories=["Cs"]), max_size=8))
    | st.sampled_from(ZONES)
)
folds = st.integers(0, 1)
datetimes = st.builds(
    lambda moment, zone, fold: moment.replace(tzinfo=zone, fold=fold), st.datetimes(), timezones, folds
)
times = st.builds(lambda time, zone, fold: time.replace(tzinfo=zone, fold=fold), st.times(), timezones, folds)

integers = (
    st.integers() | st.integers(-(2**64) - 2, 2**64 + 2) | st.integers(-40000, 70000) | st.integers(-(2**300), 2**300)
)
texts = st.text(st.characters(), max_size=40) | st.text("abc", max_size=300)
leaves = (
    st.none()
    | st.booleans()
    | integers
    | st.floats()
    | texts
    | st.binary(max_size=40)
    | datetimes
    | st.dates()
    | times
    | st.timedeltas()
    | st.decimals()
    | st.uuids()
)
# A signalling NaN has no hash.
hashable_leaves = leaves.filter(lambda value: not (hasattr(value, "is_snan") and value.is_snan()))
hashables = st.recursive(
    hashable_leaves,
    lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4),
    max_leaves=8,
)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(hashables, inner, max_size=5)
        | st.sets(hashables, max_size=5)
        | st.frozensets(hashables, max_size=5)
    ),
    max_leaves=20,
)


class Colour(enum.Enum):
    RED = 1
    GREEN = None


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class Record:
    first: Any
    second: Any


@dataclass(frozen=True)
class Frozen:
    only: Any


CLASSES = (Colour, Rights, Pair, Record, Frozen)

rich_hashables = (
    st.complex_numbers()
    | st.builds(range, integers, integers, integers.filter(bool))
    | st.builds(pathlib.PurePosixPath, texts)
    | st.builds(pathlib.PureWindowsPath, texts)
    | st.fractions()
    | st.sampled_from([*Colour, *Rights, Rights.READ | Rights.WRITE, Rights(0), Colour, int, collections.Counter])
)
rich_values = st.recursive(
    leaves | rich_hashables | st.binary(max_size=20).map(bytearray),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.sets(rich_hashables | hashables, max_size=5)
        | st.dictionaries(rich_hashables | hashables, inner, max_size=5).map(collections.OrderedDict)
        | st.builds(
            collections.defaultdict,
            st.sampled_from([None, list, int, Record, collections.deque]),
            st.dictionaries(hashables, inner, max_size=5),
        )
        | st.builds(collections.deque, st.lists(inner, max_size=5), st.none() | st.integers(0, 7))
        | st.dictionaries(hashables, st.integers(), max_size=5).map(collections.Counter)
        | st.builds(Pair, inner, inner)
        | st.builds(Record, inner, inner)
        | st.builds(Frozen, inner)
    ),
    max_leaves=20,
)
