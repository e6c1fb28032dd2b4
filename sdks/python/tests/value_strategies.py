"""Hypothesis strategies of every value that can be stored."""

from __future__ import annotations

import datetime as dt
import zoneinfo

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
