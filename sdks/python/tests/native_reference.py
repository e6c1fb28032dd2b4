"""The native encoding and the identity of values, written a second time and plainly: what the extension is tested against."""

from __future__ import annotations

import collections
import dataclasses
import datetime as dt
import enum
import fractions
import pathlib
import struct
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any


def _length(short: int | None, limit: int, tag: int, size: int) -> bytes:
    if short is not None and size < limit:
        return bytes([short | size])
    for width, offset in ((2, 0), (4, 1)):
        if size < 1 << 8 * width:
            return bytes([tag + offset]) + size.to_bytes(width, "big")
    raise OverflowError(size)


def _array(size: int) -> bytes:
    return _length(0x90, 16, 0xDC, size)


def _bin(value: bytes) -> bytes:
    head = bytes([0xC4, len(value)]) if len(value) < 256 else _length(None, 0, 0xC5, len(value))
    return head + value


def _str(value: str) -> bytes:
    data = value.encode()
    head = bytes([0xD9, len(data)]) if 32 <= len(data) < 256 else _length(0xA0, 32, 0xDA, len(data))
    return head + data


def _int(value: int) -> bytes:
    if -32 <= value < 128:
        return struct.pack("b", value)
    for tag, form in (
        ((0xCC, "B"), (0xCD, ">H"), (0xCE, ">I"), (0xCF, ">Q"))
        if value > 0
        else ((0xD0, "b"), (0xD1, ">h"), (0xD2, ">i"), (0xD3, ">q"))
    ):
        try:
            return bytes([tag]) + struct.pack(form, value)
        except struct.error:
            continue
    return b"\xc1\x04" + _bin(
        value.to_bytes((value if value > 0 else ~value).bit_length() // 8 + 1, "big", signed=True)
    )


def _micros(delta: dt.timedelta) -> int:
    return delta // dt.timedelta(microseconds=1)


def _zone(zone: dt.tzinfo | None) -> bytes:
    if zone is None:
        return b"\xc0"
    if type(zone) is zoneinfo.ZoneInfo:
        return _str(zone.key)
    offset, *name = zone.__getinitargs__()  # type: ignore[attr-defined]
    return _array(2) + _int(_micros(offset)) + (_str(name[0]) if name else b"\xc0")


def encode(value: Any, key: bool = False) -> bytes:
    kind = type(value)
    if value is None:
        return b"\xc0"
    if kind is bool:
        return b"\xc3" if value else b"\xc2"
    if kind is int:
        return _int(value)
    if kind is float:
        return b"\xcb" + struct.pack(">d", value)
    if kind is str:
        try:
            return _str(value)
        except UnicodeEncodeError:
            return b"\xc1\x0b" + _bin(value.encode("utf-8", "surrogatepass"))
    if kind is bytes:
        return _bin(value)
    if kind in (list, tuple):
        return (
            (b"\xc1\x01" if kind is tuple else b"") + _array(len(value)) + b"".join(encode(item, key) for item in value)
        )
    if kind in (set, frozenset):
        return (
            (b"\xc1\x02" if kind is set else b"\xc1\x03")
            + _array(len(value))
            + b"".join(sorted(encode(item, key) for item in value))
        )
    if kind is dict:
        items = [encode(name, key) + encode(item, key) for name, item in value.items()]
        return _length(0x80, 16, 0xDE, len(value)) + b"".join(sorted(items) if key else items)
    if kind is Decimal:
        return b"\xc1\x05" + _str(str(value).replace("e", "E"))
    if kind is uuid.UUID:
        return b"\xc1\x06" + value.bytes
    if kind is dt.date:
        return b"\xc1\x07" + _int(value.toordinal())
    if kind is dt.time:
        since = dt.timedelta(
            hours=value.hour, minutes=value.minute, seconds=value.second, microseconds=value.microsecond
        )
        return b"\xc1\x08" + _int(_micros(since)) + encode(bool(value.fold)) + _zone(value.tzinfo)
    if kind is dt.datetime:
        since = value.replace(tzinfo=None) - dt.datetime(1, 1, 1)
        return b"\xc1\x09" + _int(_micros(since)) + encode(bool(value.fold)) + _zone(value.tzinfo)
    if kind is dt.timedelta:
        return b"\xc1\x0a" + _int(value.days) + _int(value.seconds) + _int(value.microseconds)
    if not key:
        return b"\xc1" + _ours(value)
    raise TypeError(kind)


def _class(cls: type) -> bytes:
    return _str(cls.__module__) + _str(cls.__qualname__)


def _ours(value: Any) -> bytes:
    kind = type(value)
    if isinstance(value, enum.Enum):
        # Before 3.11 a combination of flags has no name.
        alone = value.name is not None and "|" not in value.name
        return b"\x19" + _class(kind) + encode(value.name if alone else value.value)
    if isinstance(value, type):
        return b"\x20" + _class(value)
    if dataclasses.is_dataclass(kind):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return b"\x1a" + _class(kind) + encode(fields) + b"\xc0"
    if hasattr(value, "_fields"):
        return b"\x1a" + _class(kind) + encode(dict(zip(value._fields, value))) + b"\xc0"
    type_byte, *parts = {
        complex: lambda: (0x0C, value.real, value.imag),
        range: lambda: (0x0D, value.start, value.stop, value.step),
        pathlib.PurePosixPath: lambda: (0x0E, "PurePosixPath", str(value)),
        pathlib.PureWindowsPath: lambda: (0x0E, "PureWindowsPath", str(value)),
        bytearray: lambda: (0x0F, bytes(value)),
        collections.OrderedDict: lambda: (0x11, dict(value)),
        collections.defaultdict: lambda: (0x12, value.default_factory, dict(value)),
        collections.Counter: lambda: (0x13, dict(value)),
        collections.deque: lambda: (0x14, value.maxlen, list(value)),
        fractions.Fraction: lambda: (0x17, value.numerator, value.denominator),
    }[kind]()
    return bytes([type_byte]) + b"".join(map(encode, parts))


def same(one: Any, other: Any) -> bool:
    """Equality that tells types apart at every depth, order of dicts included."""
    if type(one) is not type(other):
        return False
    if isinstance(one, complex):
        return same(one.real, other.real) and same(one.imag, other.imag)
    if isinstance(one, collections.deque):
        return one.maxlen == other.maxlen and same(list(one), list(other))
    if isinstance(one, collections.defaultdict) and one.default_factory is not other.default_factory:
        return False
    if dataclasses.is_dataclass(one):
        return same(vars(one), vars(other))
    if isinstance(one, float):
        return struct.pack("d", one) == struct.pack("d", other)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, (set, frozenset)):
        return len(one) == len(other) and all(map(same, sorted(one, key=encode), sorted(other, key=encode)))
    if isinstance(one, dict):
        return len(one) == len(other) and all(
            same(a, b) for pair in zip(one.items(), other.items()) for a, b in zip(*pair)
        )
    if isinstance(one, Decimal):
        return str(one) == str(other)
    if isinstance(one, (dt.datetime, dt.time)):
        plain_one, plain_other = one.replace(tzinfo=None), other.replace(tzinfo=None)
        zones = type(one.tzinfo) is type(other.tzinfo) and repr(one.tzinfo) == repr(other.tzinfo)
        return zones and one.fold == other.fold and plain_one == plain_other
    return bool(one == other)
