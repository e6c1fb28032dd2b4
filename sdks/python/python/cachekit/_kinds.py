"""How values of a type that is not built in can be given to several callers, who must not see what others do to theirs.

Asked once a type. Nothing is imported for it: whoever has an array has imported numpy, so its module is where every
import leaves it. A type counts if it is that very type; what a subclass adds is known to its author alone.
"""

from __future__ import annotations

import sys
from types import GetSetDescriptorType, MemberDescriptorType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Union

    # Members of a frozen or changeable record; a look at one object and the function that copies it; or a word.
    Kind = Union[tuple[tuple[str, ...], bool, bool], tuple[Callable[[Any], Any], Callable[[Any], Any]], str, None]

IMMUTABLE = "immutable"
NAMED_TUPLE = "named tuple"

_IMMUTABLE = {
    "attr._make": ("_CacheHashWrapper",),
    "fractions": ("Fraction",),
    "ipaddress": ("IPv4Address", "IPv4Interface", "IPv4Network", "IPv6Address", "IPv6Interface", "IPv6Network"),
    "pathlib": ("PosixPath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "re": ("Pattern",),
    "types": ("GenericAlias",),
    "typing": ("_GenericAlias",),
}

_COLLECTIONS = ("Counter", "OrderedDict", "defaultdict", "deque")

# Who defines one of these has said how it is to be copied, or that it must not be.
_OWN_WAYS = ("__copy__", "__deepcopy__", "__reduce__", "__reduce_ex__", "__del__")
_HEAP_TYPE = 1 << 9
_POINTER = tuple.__itemsize__


def kind_of(cls: type) -> Kind:
    """What is known of exactly `cls`; nothing if its objects cannot be given to several callers."""
    try:
        return _kind_of(cls)
    except (AttributeError, LookupError, TypeError):
        # A class that does not even say its name.
        return None


def _kind_of(cls: type) -> Kind:
    library = _LIBRARIES.get(cls.__module__.partition(".")[0])
    known = library(cls) if library is not None else None
    if known is not None:
        return known
    if _is_one_of(cls, "collections", _COLLECTIONS):
        return cls.__name__
    if any(_is_one_of(cls, module, names) for module, names in _IMMUTABLE.items()):
        return IMMUTABLE
    if is_named_tuple(cls):
        return NAMED_TUPLE
    return _record(cls)


def _is_one_of(cls: type, module: str, names: tuple[str, ...]) -> bool:
    return cls.__name__ in names and getattr(sys.modules.get(module), cls.__name__, None) is cls


def is_named_tuple(cls: type) -> bool:
    """Whether it consists of its items, which have names."""
    own = vars(cls)
    plain = cls.__bases__[:1] == (tuple,) and cls.__dictoffset__ == 0
    return plain and "_fields" in own and "_make" in own and own.get("__slots__") == ()


def _record(cls: Any) -> Kind:
    """The members of a dataclass, an attrs class, a Struct of msgspec or a pydantic model."""
    own = vars(cls)
    model = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    struct = getattr(sys.modules.get("msgspec"), "Struct", None)
    fields: Iterable[str] = ()
    if "__dataclass_fields__" in own:
        fields = own["__dataclass_fields__"]
        frozen = own["__dataclass_params__"].frozen
    elif "__attrs_attrs__" in own:
        fields = [field.name for field in own["__attrs_attrs__"]]
        frozen = getattr(cls.__setattr__, "__name__", None) == "_frozen_setattrs"
    elif struct is not None and issubclass(cls, struct):
        fields = cls.__struct_fields__
        frozen = cls.__struct_config__.frozen
    elif model is not None and issubclass(cls, model):
        # Its private attributes can be changed whatever it says.
        frozen = False
    else:
        return None
    layout = layout_of(cls)
    if layout is None or not _copies_as_usual(cls, model, struct):
        return None
    slots, has_dict = layout
    return slots, has_dict, frozen and not _remembers(cls.__mro__[:-1], slots, fields)


def layout_of(cls: type) -> tuple[tuple[str, ...], bool] | None:
    """The members that have a place of their own, and whether there is a `__dict__`; nothing if there is more to it."""
    if type(cls).__getattribute__ is not type.__getattribute__:
        return None
    bases = cls.__mro__[:-1]
    places = [name for base in bases for name, member in vars(base).items() if type(member) is MemberDescriptorType]
    # A root model hides those of its base that it has no use for.
    slots = [name for name in places if getattr(cls, name) is not None]
    if len(set(slots)) < len(slots) or any(type(getattr(cls, name)) is not MemberDescriptorType for name in slots):
        return None
    holder = next((base for base in bases if "__dict__" in vars(base)), None)
    if holder is not None and type(vars(holder)["__dict__"]) is not GetSetDescriptorType:
        return None
    # What a base in C keeps beside that, nobody can see.
    known = object.__basicsize__ + _POINTER * (len(places) + (cls.__dictoffset__ > 0) + (cls.__weakrefoffset__ > 0))
    opaque = any(not base.__flags__ & _HEAP_TYPE and base.__basicsize__ > object.__basicsize__ for base in bases)
    if cls.__itemsize__ or cls.__basicsize__ > known or opaque:
        return None
    return tuple(slots), cls.__dictoffset__ != 0


def _copies_as_usual(cls: type, model: type | None, struct: type | None) -> bool:
    usual = (object, model, *(struct.__mro__ if struct is not None else ()))
    definers = [next((base for base in cls.__mro__ if name in vars(base)), object) for name in _OWN_WAYS]
    return all(definer in usual for definer in definers)


def _remembers(bases: tuple[type, ...], slots: tuple[str, ...], fields: Iterable[str]) -> bool:
    """Whether its objects note down what they compute, though nobody can set their fields."""
    cached_property = getattr(sys.modules.get("functools"), "cached_property", ())
    if not {*slots} <= {*fields, "_attrs_cached_hash"}:
        return True
    return any(isinstance(member, cached_property) for base in bases for member in vars(base).values())


# Of the libraries: a look at one object gives the objects in it, which must be immutable since a copy shares them, and
# how many bytes it holds; or nothing, if it has a part that cannot be seen.


def _method(cls: Any, name: str) -> Callable[[Any], Any]:
    return getattr(cls, name)  # type: ignore[no-any-return]


def _numpy(cls: type) -> Kind:
    numpy = sys.modules["numpy"]
    if cls is numpy.ndarray:
        return _look_at_array, _method(cls, "__copy__")
    if cls is numpy.void:
        return _look_at_array, _method(cls, "copy")
    if issubclass(cls, numpy.generic) and cls is not numpy.object_:
        return IMMUTABLE if cls.__module__ == "numpy" else None
    return None


def _look_at_array(array: Any) -> Any:
    if not array.dtype.hasobject:
        return [], array.nbytes
    if array.dtype.kind != "O":
        return None
    parts = array.ravel().tolist()
    return parts, array.nbytes + sum(map(sys.getsizeof, parts))


def _pandas(cls: type) -> Kind:
    pandas = sys.modules["pandas"]
    if cls is pandas.DataFrame:
        return _look_at_frame, _copy_frame
    if cls is pandas.Series:
        return _look_at_series, _copy_series
    if issubclass(cls, pandas.Index):
        return _look_at_index, _copy_index
    scalars = (pandas.Timestamp, pandas.Timedelta, pandas.Period, pandas.Interval, type(pandas.NaT), type(pandas.NA))
    return IMMUTABLE if cls in scalars else None


def _look_at_frame(frame: Any) -> Any:
    parts = _attributes(frame) + _objects(frame.index) + _objects(frame.columns)
    for position, dtype in enumerate(frame.dtypes.tolist()):
        if dtype.kind == "O":
            parts += _objects(frame.iloc[:, position])
    return parts, int(frame.memory_usage(index=True, deep=True).sum())


def _look_at_series(series: Any) -> Any:
    parts = [*_attributes(series), series.name, *_objects(series.index), *_objects(series)]
    return parts, int(series.memory_usage(index=True, deep=True))


def _look_at_index(index: Any) -> Any:
    return [*index.names, *_objects(index)], int(index.memory_usage(deep=True))


def _attributes(frame: Any) -> list[Any]:
    return [part for pair in frame.attrs.items() for part in pair]


def _objects(column: Any) -> list[Any]:
    pandas, dtype = sys.modules["pandas"], column.dtype
    if dtype.kind != "O" or isinstance(dtype, (pandas.StringDtype, getattr(pandas, "ArrowDtype", ()))):
        # Text, and what Arrow holds, nobody can change.
        return []
    if isinstance(dtype, pandas.CategoricalDtype):
        return _objects(dtype.categories)
    return list(column.tolist())


def _copy_frame(frame: Any) -> Any:
    copy = frame.copy(deep=True)
    # Some versions have a copy share the bytes of its labels.
    copy.index = frame.index.copy(deep=True)
    copy.columns = frame.columns.copy(deep=True)
    return copy


def _copy_series(series: Any) -> Any:
    copy = series.copy(deep=True)
    copy.index = series.index.copy(deep=True)
    return copy


def _copy_index(index: Any) -> Any:
    return index.copy(deep=True)


def _polars(cls: type) -> Kind:
    polars = sys.modules["polars"]
    if cls is polars.LazyFrame:
        return IMMUTABLE
    if cls is polars.DataFrame:
        return _look_at_columns, _method(cls, "clone")
    if cls is polars.Series:
        return _look_at_column, _method(cls, "clone")
    return None


def _look_at_columns(frame: Any) -> Any:
    opaque = sys.modules["polars"].Object
    return None if any(dtype == opaque for dtype in frame.dtypes) else ([], int(frame.estimated_size()))


def _look_at_column(series: Any) -> Any:
    return None if series.dtype == sys.modules["polars"].Object else ([], int(series.estimated_size()))


def _pyarrow(cls: type) -> Kind:
    arrow = sys.modules["pyarrow"]
    if cls.__module__ != "pyarrow.lib":
        return None
    if issubclass(cls, (arrow.Table, arrow.RecordBatch, arrow.Array, arrow.ChunkedArray)):
        return _look_at_arrow, _the_same
    return IMMUTABLE if issubclass(cls, (arrow.Schema, arrow.DataType, arrow.Field, arrow.Scalar)) else None


def _look_at_arrow(array: Any) -> Any:
    return [], int(array.nbytes)


def _the_same(value: Any) -> Any:
    return value


def _array(cls: type) -> Kind:
    known = cls is sys.modules["array"].array
    return (lambda array: ([], array.buffer_info()[1] * array.itemsize), _method(cls, "__copy__")) if known else None


_LIBRARIES: dict[str, Callable[[type], Kind]] = {
    "array": _array,
    "numpy": _numpy,
    "pandas": _pandas,
    "polars": _polars,
    "pyarrow": _pyarrow,
}
