"""What it takes to store and to load a frame of 100 000 rows: of numbers, truth values, moments, categories and text."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from typing import Any

from bench.measure import Call
from bench.work import CACHEKIT, PICKLE, Contenders, Work, call

PYARROW = "pyarrow to_pandas"
PICKLE_LZ4 = "pickle 5 and lz4"
ROWS = 100_000


def frame(kind: str) -> Any:
    """The same of each library."""
    import numpy
    import pandas

    draw = numpy.random.default_rng(4711)
    made = pandas.DataFrame(
        {
            "small": draw.integers(0, 1000, ROWS),
            "large": draw.integers(0, 2**40, ROWS),
            "normal": draw.normal(size=ROWS),
            "price": numpy.round(draw.normal(size=ROWS) * 100, 2),
            "flag": draw.random(ROWS) > 0.5,
            "when": pandas.Timestamp("2024-01-01") + pandas.to_timedelta(draw.integers(0, 10**8, ROWS), unit="s"),
            "colour": pandas.Categorical(draw.choice(["red", "green", "blue", "black"], ROWS)),
            "name": draw.choice([f"name {n}" for n in range(1000)], ROWS),
        }
    )
    if kind == "pandas":
        return made
    if kind == "polars":
        import polars

        return polars.from_pandas(made)
    import pyarrow

    return pyarrow.Table.from_pandas(made)


def _ours(kind: str, load: bool, compression: Any) -> Call:
    from cachekit.serializers import ArrowSerializer

    serializer, value = ArrowSerializer(compression=compression), frame(kind)
    return call(serializer.deserialize, serializer.serialize(value)) if load else call(serializer.serialize, value)


def _pickle(kind: str, load: bool) -> Call:
    value = frame(kind)
    if load:
        return call(pickle.loads, pickle.dumps(value, 5))
    return Call("f(x, 5)", {"f": pickle.dumps, "x": value})


def _pickle_lz4(load: bool) -> Call:
    from lz4.block import compress, decompress

    value = frame("pandas")
    if load:
        names = {"f": pickle.loads, "g": decompress, "x": compress(pickle.dumps(value, 5))}
        return Call("f(g(x))", names)
    return Call("f(g(x, 5))", {"f": compress, "g": pickle.dumps, "x": value})


def _pyarrow() -> Call:
    import pyarrow

    table, sink = frame("pyarrow"), pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return Call("f(x).read_all().to_pandas()", {"f": pyarrow.ipc.open_stream, "x": sink.getvalue()})


def plain(kind: str, load: bool) -> Callable[[], Contenders]:
    """Beside a pickle of the frame of pandas, whose ever the frame is."""

    def contenders() -> Contenders:
        yield CACHEKIT, "ArrowSerializer()", lambda: _ours(kind, load, None)
        yield PICKLE, "dumps(frame, 5), loads", lambda: _pickle("pandas", load)
        if kind == "pandas" and load:
            yield PYARROW, "ipc.open_stream(data).read_all().to_pandas()", _pyarrow
        if kind != "pandas":
            yield f"{PICKLE} of {kind}", "the same of what is stored", lambda: _pickle(kind, load)

    return contenders


def compressed(load: bool) -> Callable[[], Contenders]:
    """The same with LZ4."""

    def contenders() -> Contenders:
        yield CACHEKIT, 'ArrowSerializer(compression="lz4")', lambda: _ours("pandas", load, "lz4")
        yield PICKLE_LZ4, "lz4.block of dumps(frame, 5), loads", lambda: _pickle_lz4(load)

    return contenders


def works() -> Iterator[Work]:
    """The rows."""
    title = f"a frame of {ROWS:,} x 8".replace(",", " ")
    for kind, goal in (("pandas", 2.5), ("polars", 1.0), ("pyarrow", 1.0)):
        yield Work(f"load-{kind}", f"load {title}, {kind}", PICKLE, goal, plain(kind, True))
        yield Work(f"store-{kind}", f"store {title}, {kind}", PICKLE, None, plain(kind, False))
    yield Work("store-lz4", f"store {title}, pandas, LZ4", PICKLE_LZ4, 1.1, compressed(False))
    yield Work("load-lz4", f"load {title}, pandas, LZ4", PICKLE_LZ4, 1.1, compressed(True))
