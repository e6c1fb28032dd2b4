"""The vectors of values that are of no built-in type, which an independent encoder wrote."""

from __future__ import annotations

import array
import collections
import enum
import fractions
import ipaddress
import json
import pathlib
import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import pytest

from cachekit import _native

encode: Any = _native._encode
decode: Any = _native._decode
VECTORS = pathlib.Path(__file__).parents[3] / "tests" / "vectors" / "native.json"
ROWS = [row for group in json.loads(VECTORS.read_text())["testGroups"] for row in group["tests"]]


class Colour(enum.Enum):
    RED = 1


class Rights(enum.Flag):
    READ = 1
    WRITE = 2


class Pair(NamedTuple):
    left: Any
    right: Any


@dataclass
class User:
    name: Any
    colour: Colour


CLASSES = (Colour, Rights, Pair, User)


@pytest.fixture(autouse=True)
def _in_the_shop(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in CLASSES:
        monkeypatch.setattr(cls, "__module__", "shop.models")


def named(data: Any) -> Any:
    return {cls.__name__: cls for cls in (*CLASSES, list)}[data["qualname"]]


def structured(described: Any) -> Any:
    if isinstance(described, str) or len(described) == 2:
        return described if isinstance(described, str) else (structured(described[0]), tuple(described[1]))
    names, types, offsets, size, _ = described
    return {"names": names, "formats": [structured(part) for part in types], "offsets": offsets, "itemsize": size}


def array_of(described: Any, shape: Any, data: bytes) -> Any:
    numpy = pytest.importorskip("numpy")
    return numpy.frombuffer(data, structured(described)).reshape(shape)


MAKE: dict[str, Any] = {
    "complex": complex,
    "range": range,
    "path": lambda name, path: getattr(pathlib, name)(path),
    "bytearray": bytearray,
    "array": lambda code, _, data: array.array(code, data),
    "ordereddict": collections.OrderedDict,
    "defaultdict": collections.defaultdict,
    "counter": collections.Counter,
    "deque": lambda most, items: collections.deque(items, most),
    "ndarray": array_of,
    "ndscalar": lambda described, data: array_of(described, (), data)[()],
    "fraction": fractions.Fraction,
    "address": lambda name, text: getattr(ipaddress, name)(text),
}


def value_of(data: Any) -> Any:
    ((kind, content),) = data.items()
    if kind in MAKE:
        return MAKE[kind](*map(value_of, content))
    if kind == "list":
        return [value_of(item) for item in content]
    if kind == "tuple":
        return tuple(map(value_of, content))
    if kind == "dict":
        return {value_of(key): value_of(item) for key, item in content}
    if kind == "member":
        name = value_of(content["name"])
        cls = named(content["class"])
        return cls[name] if isinstance(name, str) else cls(name)
    if kind == "record":
        return named(content["class"])(**{name: value_of(part) for name, part in content["fields"]})
    return {
        "none": lambda _: None,
        "bool": bool,
        "int": int,
        "float": lambda text: struct.unpack(">d", bytes.fromhex(text))[0],
        "str": str,
        "bytes": bytes.fromhex,
        "surrogates": lambda points: "".join(map(chr, points)),
        "class": named,
    }[kind](content)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["comment"])
def test_values_have_the_bytes_of_the_vectors(row: Any) -> None:
    encoded = bytes.fromhex(row["encoded"])
    if row["result"] == "valid":
        value = value_of(row["value"])
        assert encode(value, types=CLASSES) == encoded
        back = decode(encoded, CLASSES)
        assert type(back) is type(value)
        assert encode(back, types=CLASSES) == encoded
    else:
        if "array" in row["comment"]:
            pytest.importorskip("numpy")
        with pytest.raises(ValueError) as raised:
            decode(encoded, CLASSES)
        assert raised.value.args[0] == row["error"]
