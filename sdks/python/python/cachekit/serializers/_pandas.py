"""Frames of pandas as columns of Arrow and back, each with the type, the index and the labels that it had.

pyarrow's own conversion gives text of type `object` back as another type, integers beside None as floats, and labels as
text; here a frame that would not come back as it was is refused. It is also slower.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    # The arrays of an index, and what they do not say.
    Parts = tuple[list[Any], dict[str, Any]]


def table_of(value: Any) -> tuple[str, Any, dict[str, Any]] | None:
    """What it is, its columns, and what they do not say; nothing if it is neither a frame nor a series."""
    pandas = sys.modules["pandas"]
    if type(value) is pandas.DataFrame:
        table, details = _table(value)
        return "pandas", table, details
    if type(value) is pandas.Series:
        name = value.name
        table, details = _table(value.to_frame(name="value"))
        return "pandas series", table, {**details, "name": name}
    return None


def frame_of(table: Any, details: dict[str, Any]) -> Any:
    """The frame; of a table that was none, what pyarrow makes of it."""
    if not details:
        return table.to_pandas()
    pandas = sys.modules["pandas"]
    columns, dtypes = table.columns, details["dtypes"]
    arrays = [_restored(column, dtype) for column, dtype in zip(columns, dtypes)]
    index = _index_of(columns[len(dtypes) :], details["index"])
    frame = pandas.DataFrame(dict(enumerate(arrays)))
    frame.index = index
    frame.columns = _labels_of(details["columns"])
    if details["attrs"]:
        frame.attrs.update(details["attrs"])
    return frame


def series_of(table: Any, details: dict[str, Any]) -> Any:
    """The series."""
    series = frame_of(table, details).iloc[:, 0]
    series.name = details["name"]
    return series


def _table(frame: Any) -> tuple[Any, dict[str, Any]]:
    arrow = sys.modules["pyarrow"]
    arrays: list[Any] = []
    dtypes: list[Any] = []
    for position, label in enumerate(frame.columns):
        try:
            array, dtype = _stored(frame.iloc[:, position])
        except (TypeError, OverflowError, arrow.ArrowException) as reason:
            raise TypeError(f"its column {label!r} {reason}") from None
        arrays.append(array)
        dtypes.append(dtype)
    names = [str(label) for label in frame.columns]
    of_index, index = _parts(frame.index)
    names += [f"__index_level_{level}__" for level in range(len(of_index))]
    table = arrow.Table.from_arrays([*arrays, *of_index], names=names)
    details = {"dtypes": dtypes, "index": index, "columns": _labels(frame.columns), "attrs": dict(frame.attrs)}
    return table, details


# A column: an array of Arrow, and what says how to make of it what it was.


def _stored(column: Any) -> tuple[Any, Any]:
    """Of a series or an index, whose type is not that of the objects in it."""
    arrow, dtype = sys.modules["pyarrow"], column.dtype
    kind = getattr(dtype, "kind", "O") if type(dtype).__module__.startswith("numpy") else None
    if kind == "O":
        return _stored_objects(column)
    if kind is not None:
        if kind not in "biufMm" or not dtype.isnative:
            raise _refused(dtype)
        return arrow.array(column.to_numpy(), from_pandas=False), dtype.str
    pandas = sys.modules["pandas"]
    if isinstance(dtype, pandas.CategoricalDtype):
        codes = column.array.codes
        missing = codes < 0
        values, of_values = _stored(dtype.categories)
        indices = arrow.array(codes, mask=missing if missing.any() else None)
        array = arrow.DictionaryArray.from_arrays(indices, values, ordered=dtype.ordered)
        return array, {"categories": of_values, "ordered": dtype.ordered}
    name = _name(dtype)
    if isinstance(dtype, pandas.DatetimeTZDtype):
        moments = arrow.array(column.array.tz_convert(None).to_numpy())
        return moments.view(arrow.timestamp(dtype.unit, str(dtype.tz))), name
    return arrow.array(column.array), name


def _restored(column: Any, dtype: Any) -> Any:
    """What `_stored` was given, as something that pandas takes for that."""
    pandas = sys.modules["pandas"]
    if isinstance(dtype, dict):
        if "objects" in dtype:
            return _restored_objects(column, dtype["objects"])
        column = column.combine_chunks()
        codes = column.indices
        codes = codes.fill_null(-1) if codes.null_count else codes
        categories = pandas.Index(
            _restored(sys.modules["pyarrow"].chunked_array([column.dictionary]), dtype["categories"])
        )
        known = pandas.CategoricalDtype(categories, dtype["ordered"])
        return pandas.Categorical.from_codes(codes.to_numpy(), dtype=known)
    if dtype[0] in "<|":
        return column.to_numpy()
    known = pandas.api.types.pandas_dtype(dtype)
    if isinstance(known, pandas.DatetimeTZDtype):
        arrow = sys.modules["pyarrow"]
        moments = column.cast(arrow.int64()).cast(arrow.timestamp(known.unit)).to_numpy()
        return pandas.Series(moments).dt.tz_localize("UTC").dt.tz_convert(known.tz).array
    return known.__from_arrow__(column)


def _name(dtype: Any) -> str:
    """The name by which pandas knows a type of its own, or of an extension that can be read from Arrow."""
    pandas = sys.modules["pandas"]
    if hasattr(dtype, "__from_arrow__") or isinstance(dtype, pandas.DatetimeTZDtype):
        # Which store of text a name means is for the installation to say.
        for name in (str(dtype), f"string[{getattr(dtype, 'storage', '')}]"):
            if dtype == name:
                return name
    raise _refused(dtype)


def _refused(dtype: Any) -> TypeError:
    return TypeError(
        f"is of type {dtype}, which does not come back as it was; give it another, or leave serializer out"
    )


def _stored_objects(column: Any) -> tuple[Any, Any]:
    """Objects of one type, which Arrow has, and of one kind of missing ones."""
    arrow = sys.modules["pyarrow"]
    values = column.to_numpy()
    kinds = {*map(type, values.tolist())}
    missing = kinds & {type(None), float}
    [*rest] = kinds - missing
    if len(missing) > 1 or len(rest) > 1:
        raise TypeError("has objects of several types; give it one type, or leave serializer out")
    known = rest[0] if rest else type(None)
    # A float is nothing if it is NaN.
    if float in missing and any(value == value for value in values.tolist() if type(value) is float):
        raise TypeError("has floats among its objects; give it one type, or leave serializer out")
    if known is str:
        array = arrow.array(values, arrow.large_string(), from_pandas=True)
    elif known in (bytes, int, bool, type(None)) or (known.__module__, known.__name__) in _OBJECTS:
        array = arrow.array(values, from_pandas=True)
    else:
        raise TypeError(f"has objects of type {known.__name__}; give it a type of pandas, or leave serializer out")
    if known.__name__ == "Decimal" and any(map(_differ, values.tolist(), array.to_pylist())):
        raise TypeError("has decimals of several scales, to which Arrow gives one; leave serializer out")
    return array, {"objects": "nan" if float in missing else "none"}


_OBJECTS = {("datetime", "date"), ("datetime", "time"), ("decimal", "Decimal")}


def _differ(one: object, other: object) -> bool:
    return other is not None and str(one) != str(other)


def _restored_objects(column: Any, missing: str) -> Any:
    pandas = sys.modules["pandas"]
    arrow = sys.modules["pyarrow"]
    if arrow.types.is_large_string(column.type):
        objects = column.to_numpy()
    else:
        objects = import_module("numpy").empty(len(column), dtype=object)
        objects[:] = column.to_pylist()
    if missing == "nan" and column.null_count:
        objects[column.is_null().to_numpy()] = float("nan")
    return pandas.Series(objects, dtype=object)


# An index: the arrays of its levels, and what they do not say.


def _parts(index: Any) -> Parts:
    pandas = sys.modules["pandas"]
    names = list(index.names)
    if isinstance(index, pandas.RangeIndex):
        return [], {"names": names, "range": [index.start, index.stop, index.step]}
    if isinstance(index, pandas.MultiIndex):
        levels = [_stored(index.get_level_values(level)) for level in range(index.nlevels)]
        return [array for array, _ in levels], {"names": names, "levels": [dtype for _, dtype in levels]}
    array, dtype = _stored(index)
    return [array], {"names": names, "dtype": dtype, "freq": getattr(index, "freqstr", None)}


def _index_of(columns: list[Any], details: dict[str, Any]) -> Any:
    pandas = sys.modules["pandas"]
    names = details["names"]
    if "range" in details:
        start, stop, step = details["range"]
        return pandas.RangeIndex(start, stop, step, name=names[0])
    if "levels" in details:
        levels = [_restored(column, dtype) for column, dtype in zip(columns, details["levels"])]
        return pandas.MultiIndex.from_arrays(levels, names=names)
    values = _restored(columns[0], details["dtype"])
    index = pandas.Index(values, name=names[0], dtype=getattr(values, "dtype", None))
    if details["freq"] is not None and not isinstance(index, pandas.PeriodIndex):
        index.freq = details["freq"]
    return index


def _labels(columns: Any) -> dict[str, Any]:
    """The index of a frame's columns: objects as they are, others as a stream."""
    arrow, pandas = sys.modules["pyarrow"], sys.modules["pandas"]
    if columns.dtype == object and not isinstance(columns, pandas.MultiIndex):
        return {"names": list(columns.names), "labels": columns.tolist()}
    arrays, details = _parts(columns)
    if not arrays:
        return details
    table = arrow.Table.from_arrays(arrays, names=[str(level) for level in range(len(arrays))])
    sink = arrow.BufferOutputStream()
    with arrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return {**details, "stream": sink.getvalue().to_pybytes()}


def _labels_of(details: dict[str, Any]) -> Any:
    if "labels" in details:
        return sys.modules["pandas"].Index(details["labels"], name=details["names"][0], dtype=object)
    if "stream" not in details:
        return _index_of([], details)
    from cachekit.serializers._arrow import validate

    table = sys.modules["pyarrow"].ipc.open_stream(details["stream"]).read_all()
    validate(table)
    return _index_of(table.columns, details)
