"""Frames and tables, as a stream of Arrow's IPC format.

What is read is not copied: its columns lie in the bytes that came from the store. Those may be anybody's, so they are
validated before anything believes an offset in them. The schema says which library's it was, so that it comes back as
that.
"""

from __future__ import annotations

import sys
from importlib import import_module

from cachekit import _native
from cachekit.exceptions import make_error
from cachekit.serializers._ours import Ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, Optional

    Format = Optional[Literal["arrow", "pandas", "polars"]]
    Compression = Optional[Literal["lz4", "zstd"]]

_KEY = b"cachekit"
_EXPECTED = "frames of pandas and polars, and tables and record batches of pyarrow, are what serializer='arrow' takes"


class ArrowSerializer(Ours):
    """`serializer="arrow"`.

    `return_format` has whatever was stored come back as "arrow", "pandas" or "polars", in place of what it was.
    `compression` is Arrow's own, "lz4" or "zstd": each column is compressed by itself, and no longer read in place.
    """

    __slots__ = ("compression", "return_format")

    return_format: Format
    compression: Compression

    def __init__(
        self,
        return_format: Format = None,
        enable_integrity_checking: bool | None = None,
        compression: Compression = None,
    ) -> None:
        _check("return_format", return_format, ("arrow", "pandas", "polars"))
        _check("compression", compression, ("lz4", "zstd"))
        if not hasattr(_library("pyarrow"), "string_view"):
            raise ImportError("it needs pyarrow 18 or later: pip install 'cachekit[arrow]'")
        if return_format in ("pandas", "polars"):
            _library(return_format)
        self.return_format = return_format
        self.compression = compression
        super().__init__(("arrow", self._write, self._read), enable_integrity_checking)

    def deserialize(self, data: bytes, /) -> Any:
        """The value of `data`, which keeps `data` alive. An `EnvelopeError` if it is none."""
        return super().deserialize(data)

    def _write(self, value: Any) -> Any:
        arrow = sys.modules["pyarrow"]
        kind, table, details = _table_of(value)
        description = _native.serialize("native", {"kind": kind, **details})
        schema = table.schema
        table = table.replace_schema_metadata({**(schema.metadata or {}), _KEY: description})
        options = arrow.ipc.IpcWriteOptions(compression=self.compression, use_threads=False)

        def write(sink: Any) -> None:
            with arrow.ipc.new_stream(sink, table.schema, options=options) as writer:
                if table.num_rows or any(column.num_chunks != 1 for column in table.columns):
                    writer.write_table(table)
                else:
                    # As a table without rows it would be written as nothing, and so would what its categories are.
                    writer.write_batch(_empty(table))

        if self.compression is not None:
            sink = arrow.BufferOutputStream()
            write(sink)
            return sink.getvalue()
        # To know the size costs nothing, and to grow a buffer does.
        measure = arrow.MockOutputStream()
        write(measure)
        buffer = arrow.allocate_buffer(measure.size())
        write(arrow.FixedSizeBufferWriter(buffer))
        return buffer

    def _read(self, data: Any) -> Any:
        arrow = sys.modules["pyarrow"]
        options = arrow.ipc.IpcReadOptions(use_threads=False)
        table = arrow.ipc.open_stream(arrow.py_buffer(data), options=options).read_all()
        validate(table)
        metadata = dict(table.schema.metadata or {})
        details = _native.deserialize("native", metadata.pop(_KEY))
        table = table.replace_schema_metadata(metadata or None)
        kind = details["kind"]
        if self.return_format in (None, _LIBRARY_OF[kind]):
            return _READERS[kind](table, details)
        return _READERS[_AS[self.return_format]](table, {})


def validate(table: Any) -> None:
    """Raises if the table reaches out of its bytes, or has text that is none.

    Arrow looks at one text after another for that. Most are ASCII, which is seen of all of them at once.
    """
    types = sys.modules["pyarrow"].types
    for column in table.columns:
        kind = column.type
        for chunk in column.chunks:
            rest = chunk
            if types.is_dictionary(kind):
                _validate_categories(chunk)
                continue
            if types.is_string_view(kind):
                _, views, *data = chunk.buffers()
                if _native.is_ascii(views, data):
                    continue
            elif types.is_large_string(kind):
                _, _, data = chunk.buffers()
                if data is None or _native.is_ascii(None, [data]):
                    rest = chunk.view(sys.modules["pyarrow"].large_binary())
            rest.validate(full=True)


def _validate_categories(chunk: Any) -> None:
    """The same of a column of categories, all of whose indices are looked at at once."""
    chunk.validate()
    chunk.dictionary.validate(full=True)
    bounds = import_module("pyarrow.compute").min_max(chunk.indices)
    least, most = bounds["min"].as_py(), bounds["max"].as_py()
    if least is not None and not 0 <= least <= most < len(chunk.dictionary):
        raise ValueError(f"it has an index of {least if least < 0 else most} and {len(chunk.dictionary)} categories")


def _check(name: str, value: object, known: tuple[str, ...]) -> None:
    if value is not None and value not in known:
        expected = "must be one of " + ", ".join(map(repr, known)) + ", or None"
        raise make_error("option_invalid", option=name, value=repr(value), reason=expected)


def _library(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError:
        extra = "cachekit[arrow]" if name == "pyarrow" else name
        raise ImportError(f"it needs {name}, which is not installed: pip install '{extra}'") from None


def _table_of(value: Any) -> tuple[str, Any, dict[str, Any]]:
    """What it is, its columns, and what they do not say."""
    cls = type(value)
    library = cls.__module__.partition(".")[0]
    if library == "pandas":
        from cachekit.serializers import _pandas

        known = _pandas.table_of(value)
        if known is not None:
            return known
    elif library == "polars":
        polars = sys.modules["polars"]
        if cls is polars.DataFrame:
            return "polars", _of_polars(value), {}
        if cls is polars.Series:
            return "polars series", _of_polars(value.to_frame()), {}
    elif library == "pyarrow":
        arrow = sys.modules["pyarrow"]
        if cls is arrow.Table:
            return "table", value, {}
        if cls is arrow.RecordBatch:
            return "batch", arrow.Table.from_batches([value]), {}
    raise TypeError(_EXPECTED)


def _empty(table: Any) -> Any:
    arrow = sys.modules["pyarrow"]
    columns = [column.combine_chunks() for column in table.columns]
    return arrow.RecordBatch.from_arrays(columns, schema=table.schema)


def _of_polars(frame: Any) -> Any:
    polars = sys.modules["polars"]
    table = frame.to_arrow(compat_level=polars.CompatLevel.newest())
    if polars.from_arrow(table.slice(0, 1)).schema != frame.schema:
        raise TypeError("it has a column of a type that Arrow gives back as another")
    return table


def _to_table(table: Any, _: dict[str, Any]) -> Any:
    return table


def _to_batch(table: Any, _: dict[str, Any]) -> Any:
    batches = table.combine_chunks().to_batches()
    return batches[0] if batches else _empty(table)


def _to_polars(table: Any, _: dict[str, Any]) -> Any:
    polars = _library("polars")
    try:
        return polars.from_arrow(table)
    except polars.exceptions.PanicException as panic:
        # What polars takes for granted of a table, and these bytes do not keep to.
        raise ValueError(f"polars cannot read it: {panic}") from None


def _to_polars_series(table: Any, _: dict[str, Any]) -> Any:
    return _to_polars(table, {}).to_series()


def _to_pandas(table: Any, details: dict[str, Any]) -> Any:
    _library("pandas")
    from cachekit.serializers import _pandas

    return _pandas.frame_of(table, details)


def _to_pandas_series(table: Any, details: dict[str, Any]) -> Any:
    from cachekit.serializers import _pandas

    return _pandas.series_of(table, details)


_READERS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "batch": _to_batch,
    "pandas": _to_pandas,
    "pandas series": _to_pandas_series,
    "polars": _to_polars,
    "polars series": _to_polars_series,
    "table": _to_table,
}
_LIBRARY_OF = {kind: "arrow" if kind in ("batch", "table") else kind.partition(" ")[0] for kind in _READERS}
_AS = {"arrow": "table", "pandas": "pandas", "polars": "polars"}
