"""interop/v1 once more, from its description and with packages of others: what cachekit makes is compared with this."""

from __future__ import annotations

import hashlib
import math
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any
from uuid import UUID

import msgpack

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def pack(value: Any) -> bytes:
    return msgpack.packb(value, use_bin_type=True)


def argument(value: Any) -> bytes:
    if isinstance(value, Enum):
        return argument(value.value)
    if isinstance(value, float) and math.isfinite(value) and value.is_integer() and -(2**63) <= value < 2**64:
        return pack(int(value))
    if value is None or isinstance(value, (bool, int, float, str, bytes)):
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(value)
        return pack(value)
    if isinstance(value, (list, tuple)):
        return head(value, 0x90, 0xDC) + b"".join(map(argument, value))
    if isinstance(value, dict):
        items = sorted((key.encode(), argument(item)) for key, item in value.items())
        return head(items, 0x80, 0xDE) + b"".join(pack(key.decode()) + item for key, item in items)
    if isinstance(value, (set, frozenset)):
        elements = sorted({argument(element) for element in value})
        return head(elements, 0x90, 0xDC) + b"".join(elements)
    if isinstance(value, datetime):
        return argument((value - _EPOCH) // timedelta(microseconds=1) / 1_000_000.0)
    if isinstance(value, (UUID, Decimal)):
        return pack(str(value))
    if isinstance(value, PurePath):
        return pack(value.as_posix())
    raise TypeError(value)


def head(items: Any, short: int, long: int) -> bytes:
    count = len(items)
    if count < 16:
        return bytes([short + count])
    return bytes([long]) + count.to_bytes(2, "big") if count < 2**16 else bytes([long + 1]) + count.to_bytes(4, "big")


def key(namespace: str, operation: str, args: Any) -> str:
    return f"{namespace}:{operation}:{hashlib.blake2b(argument(list(args)), digest_size=32).hexdigest()}"


def stored(value: Any) -> Any:
    """A value as msgpack packs it: maps sorted, times as maps."""
    for kind, mark in ((datetime, "__datetime__"), (date, "__date__"), (time, "__time__")):
        if isinstance(value, kind):
            return {mark: True, "value": value.isoformat()}
    if isinstance(value, dict):
        return {key: stored(value[key]) for key in sorted(value)}
    if isinstance(value, (list, tuple)):
        return [stored(item) for item in value]
    return value
