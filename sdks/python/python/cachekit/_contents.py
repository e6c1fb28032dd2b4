"""Values of the standard library and of numpy, taken apart into values of the native encoding, and made of them again.

Nothing is imported to take one apart: whoever has one has imported its module. What is read was written by anybody who
can write to the remote tier, so it is looked at before it is used.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    # In place of a content, why there is none.
    Take = Callable[[Any], "tuple[object, ...] | str"]

COMPLEX, RANGE, PATH, BYTE_ARRAY, ARRAY, ORDERED_DICT, DEFAULT_DICT = range(0x0C, 0x13)
COUNTER, DEQUE, ND_ARRAY, ND_SCALAR, FRACTION, ADDRESS = range(0x13, 0x19)

_PATHS = ("PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath")
_ADDRESSES = ("IPv4Address", "IPv4Interface", "IPv4Network", "IPv6Address", "IPv6Interface", "IPv6Network")
_MORE = "its dtype has titles, metadata or numpy.record, which would be lost; return it with one that has not"
_ATTRIBUTES = "it has attributes of its own, which would be lost; return it without them"


def content_of(cls: type) -> tuple[int, Take] | None:
    """The type byte of exactly `cls`, and what takes its values apart."""
    known = _BUILT_IN.get(cls)
    if known is not None:
        return known
    library = cls.__module__.partition(".")[0]
    if library == "numpy":
        return _numpy(cls)
    known = _LIBRARIES.get((library, cls.__name__))
    if known is None or getattr(sys.modules.get(library), cls.__name__, None) is not cls:
        return None
    return known


def _take_array(value: Any) -> tuple[object, ...]:
    if sys.byteorder == "big":
        value = value[:]
        value.byteswap()
    return value.typecode, value.itemsize, value.tobytes()


def _take_ordered(value: Any) -> tuple[object, ...] | str:
    return _ATTRIBUTES if value.__dict__ else (dict(value),)


def _take_counter(value: Any) -> tuple[object, ...] | str:
    return _ATTRIBUTES if value.__dict__ else (dict(value),)


def _take_text(value: Any) -> tuple[object, ...]:
    return type(value).__name__, str(value)


_BUILT_IN: dict[type, tuple[int, Take]] = {
    complex: (COMPLEX, lambda value: (value.real, value.imag)),
    range: (RANGE, lambda value: (value.start, value.stop, value.step)),
    bytearray: (BYTE_ARRAY, lambda value: (bytes(value),)),
}
_LIBRARIES: dict[tuple[str, str], tuple[int, Take]] = {
    ("array", "array"): (ARRAY, _take_array),
    ("collections", "OrderedDict"): (ORDERED_DICT, _take_ordered),
    ("collections", "defaultdict"): (DEFAULT_DICT, lambda value: (value.default_factory, dict(value))),
    ("collections", "Counter"): (COUNTER, _take_counter),
    ("collections", "deque"): (DEQUE, lambda value: (value.maxlen, list(value))),
    ("fractions", "Fraction"): (FRACTION, lambda value: (value.numerator, value.denominator)),
    **{("pathlib", name): (PATH, _take_text) for name in _PATHS},
    **{("ipaddress", name): (ADDRESS, _take_text) for name in _ADDRESSES},
}


def _numpy(cls: type) -> tuple[int, Take] | None:
    numpy = sys.modules["numpy"]
    if cls is numpy.ndarray:
        return ND_ARRAY, _take_nd_array
    if issubclass(cls, numpy.generic) and getattr(numpy, cls.__name__, None) is cls:
        return ND_SCALAR, _take_nd_scalar
    return None


def _take_nd_array(array: Any) -> tuple[object, ...] | str:
    if _holds_objects(array.dtype):
        return "it holds objects; return an array of another dtype, or a list"
    if array.size and not array.dtype.itemsize:
        return "its items take no bytes; return their number"
    if _says_more(array.dtype):
        return _MORE
    return _described(array.dtype), list(array.shape), _bytes_of(array)


def _take_nd_scalar(scalar: Any) -> tuple[object, ...] | str:
    if _holds_objects(scalar.dtype):
        return "it holds objects; return what is in it"
    if _says_more(scalar.dtype):
        return _MORE
    return _described(scalar.dtype), scalar.tobytes() if scalar.dtype.itemsize else b""


def _holds_objects(dtype: Any) -> bool:
    # Text of any length lies outside the array, and its type does not say so.
    return bool(dtype.hasobject or dtype.kind == "T")


def _says_more(dtype: Any) -> bool:
    """Whether a type says what its description does not."""
    if dtype.metadata:
        return True
    if dtype.subdtype is not None:
        return _says_more(dtype.subdtype[0])
    if dtype.names is None:
        return False
    fields = [dtype.fields[name] for name in dtype.names]
    return dtype.type is not sys.modules["numpy"].void or any(
        len(field) > 2 or _says_more(field[0]) for field in fields
    )


def _described(dtype: Any) -> object:
    """A type by its name; one of parts by item and lengths, or by names, types, offsets, size and alignment."""
    if dtype.subdtype is not None:
        item, shape = dtype.subdtype
        return [_described(item), list(shape)]
    if dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    types = [_described(field[0]) for field in fields]
    return [list(dtype.names), types, [field[1] for field in fields], dtype.itemsize, bool(dtype.isalignedstruct)]


def _bytes_of(array: Any) -> object:
    if array.nbytes == 0:
        return b""
    numpy = sys.modules["numpy"]
    # As bytes before it is looked at: not every type of item has a form in Python's buffers.
    return numpy.ascontiguousarray(array).reshape(-1).view(numpy.uint8).data


def _expect(holds: bool) -> None:
    if not holds:
        raise ValueError("a part of it is not what its type consists of")


def _make_complex(real: float, imag: float) -> complex:
    _expect(type(real) is float and type(imag) is float)
    return complex(real, imag)


def _make_range(start: int, stop: int, step: int) -> range:
    _expect(type(start) is type(stop) is type(step) is int)
    return range(start, stop, step)


def _make_path(name: str, path: str) -> object:
    import pathlib

    _expect(name in _PATHS and type(path) is str)
    return getattr(pathlib, name)(path)


def _make_bytearray(data: bytes) -> bytearray:
    _expect(type(data) is bytes)
    return bytearray(data)


def _make_array(typecode: str, itemsize: int, data: bytes) -> object:
    from array import array

    _expect(type(typecode) is str and type(data) is bytes)
    made: Any = array(typecode)
    # How wide they are is the platform's affair.
    _expect(made.itemsize == itemsize)
    made.frombytes(data)
    if sys.byteorder == "big":
        made.byteswap()
    return made


def _make_ordered(items: dict[Any, Any]) -> object:
    from collections import OrderedDict

    _expect(type(items) is dict)
    return OrderedDict(items)


def _make_default(factory: Any, items: dict[Any, Any]) -> object:
    from collections import defaultdict

    _expect((factory is None or isinstance(factory, type)) and type(items) is dict)
    return defaultdict(factory, items)


def _make_counter(items: dict[Any, Any]) -> object:
    from collections import Counter

    _expect(type(items) is dict)
    return Counter(items)


def _make_deque(most: int | None, items: list[Any]) -> object:
    from collections import deque

    _expect((most is None or type(most) is int) and type(items) is list)
    _expect(most is None or len(items) <= most)
    return deque(items, most)


def _numpy_module() -> Any:
    from importlib import import_module

    return import_module("numpy")


def _dtype(described: object) -> Any:
    numpy = _numpy_module()
    if type(described) is str:
        dtype = numpy.dtype(described)
        _expect(dtype.str == described and not _holds_objects(dtype))
        return dtype
    _expect(type(described) is list and len(described) in (2, 5))
    parts: list[Any] = described  # type: ignore[assignment]
    if len(parts) == 2:
        item, shape = parts
        return numpy.dtype((_dtype(item), tuple(shape)))
    names, types, offsets, size, aligned = parts
    _expect(type(aligned) is bool)
    made = {"names": names, "formats": [_dtype(part) for part in types], "offsets": offsets, "itemsize": size}
    return numpy.dtype(made, align=aligned)


def _make_nd_array(described: object, shape: list[int], data: bytes) -> object:
    numpy = _numpy_module()
    dtype = _dtype(described)
    _expect(type(shape) is list and all(type(length) is int and length >= 0 for length in shape))
    _expect(type(data) is bytes)
    if not data:
        # One item of no size is an empty text, which `empty` would make longer, of whatever lies in memory.
        _expect(0 in shape or not (shape or dtype.itemsize))
        return numpy.ndarray(shape, dtype)
    return numpy.frombuffer(data, dtype).reshape(shape).copy()


def _make_nd_scalar(described: object, data: bytes) -> object:
    return _make_nd_array(described, [], data)[()]  # type: ignore[index]


def _make_fraction(numerator: int, denominator: int) -> object:
    from fractions import Fraction

    _expect(type(numerator) is type(denominator) is int)
    made = Fraction(numerator, denominator)
    _expect(made.denominator == denominator)
    return made


def _make_address(name: str, address: str) -> object:
    import ipaddress

    _expect(name in _ADDRESSES and type(address) is str)
    return getattr(ipaddress, name)(address)


# How many values follow a type byte, and what makes one of them.
MAKERS: dict[int, tuple[int, Callable[..., object]]] = {
    COMPLEX: (2, _make_complex),
    RANGE: (3, _make_range),
    PATH: (2, _make_path),
    BYTE_ARRAY: (1, _make_bytearray),
    ARRAY: (3, _make_array),
    ORDERED_DICT: (1, _make_ordered),
    DEFAULT_DICT: (2, _make_default),
    COUNTER: (1, _make_counter),
    DEQUE: (2, _make_deque),
    ND_ARRAY: (3, _make_nd_array),
    ND_SCALAR: (2, _make_nd_scalar),
    FRACTION: (2, _make_fraction),
    ADDRESS: (2, _make_address),
}
