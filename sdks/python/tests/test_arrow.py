"""`serializer="arrow"`: frames and tables come back as what they were, from where their bytes lie."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from cachekit import ConfigurationError, EnvelopeError, NotCacheableError, _native, cache
from cachekit.serializers import ArrowSerializer, DefaultSerializer
from support import RedisServer, run_python

np: Any = pytest.importorskip("numpy")
pd: Any = pytest.importorskip("pandas")
pl: Any = pytest.importorskip("polars")
pa: Any = pytest.importorskip("pyarrow")
pl_testing: Any = pytest.importorskip("polars.testing")


def around(value: Any, **options: Any) -> Any:
    serializer = ArrowSerializer(**options)
    return serializer.deserialize(serializer.serialize(value))


def objects(*values: Any) -> Any:
    return pd.Series(values, dtype=object)


COLUMNS: dict[str, Any] = {
    "ints": np.array([1, -2, 2**62]), "small": np.array([1, 2, 3], "u1"), "halves": np.array([1, 2, 3], "f2"),
    "floats": np.array([np.nan, -0.0, np.inf]), "bools": np.array([True, False, True]),
    "moments": np.array(["2024-01-01", "NaT", "1970-01-01"], "M8[s]"), "fine": np.array([0, 1, 2], "M8[ns]"),
    "spans": np.array([1, 2, 3], "m8[us]"), "zoned": pd.date_range("2024-03-31", periods=3, freq="h", tz="Europe/Paris"),
    "zoned gap": pd.DatetimeIndex(["2024", None, "2025"], tz="UTC"), "text": pd.array(["a", "é", ""], "string"),
    "text gap": pd.array(["a", None, ""], "string"), "nullable": pd.array([1, None, 3], "Int8"),
    "maybe": pd.array([True, None, False], "boolean"), "arrow": pd.array([1, None, 3], "int32[pyarrow]"),
    "categories": pd.Categorical(["b", "a", "b"]), "ordered": pd.Categorical([3, None, 1], [3, 2, 1], ordered=True),
    "days": pd.Categorical(pd.to_datetime(["2024-01-01", None, "2023-01-01"])),
    "object categories": pd.Categorical(["a", "b", "a"], pd.Index(["b", "a"], dtype=object)),
    "months": pd.period_range("2024", periods=3, freq="M"), "bins": pd.interval_range(0, 3),
    "objects": objects("a", "b", "c"), "with None": objects("a", None, "c"), "with NaN": objects("a", np.nan, "c"),
    "all None": objects(None, None, None), "byte strings": objects(b"a", None, b""), "dates": objects(dt.date(2024, 1, 1), None, dt.date.max),
    "decimals": objects(Decimal("1.50"), None, Decimal("-2.25")), "integers": objects(1, None, 3), "flags": objects(True, None, False),
}  # fmt: skip

INDEXES: dict[str, Any] = {
    "range": pd.RangeIndex(10, 16, 2, name="r"), "ints": pd.Index([5, 3, 5]), "text": pd.Index(["x", "y", "z"], name="t"),
    "objects": pd.Index(["x", None, "z"], dtype=object), "days": pd.date_range("2024", periods=3, freq="D", name="when"),
    "gaps": pd.DatetimeIndex(["2024-01-01", "2024-01-05", "2024-01-06"]), "spans": pd.timedelta_range("1h", periods=3, freq="h"),
    "zoned": pd.date_range("2024", periods=3, freq="h", tz="Europe/Paris"), "months": pd.period_range("2024", periods=3, freq="M"),
    "bins": pd.interval_range(0, 3), "categories": pd.CategoricalIndex(["u", "v", "u"]), "single": pd.Index(np.array([1, 2, 3], "f4")),
    "levels": pd.MultiIndex.from_tuples([("a", 1), ("b", 2), ("b", 3)], names=["x", None]), "bools": pd.Index([True, False, True]),
}  # fmt: skip


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_keeps_its_type(name: str) -> None:
    frame = pd.DataFrame({"n": [1, 2, 3], name: pd.Series(COLUMNS[name])})
    for part in (frame, frame[:0], frame[::-1], frame.set_index("n")):
        got = around(part)
        pd.testing.assert_frame_equal(got, part, check_exact=True)
        assert [*map(str, got.dtypes)] == [*map(str, part.dtypes)]
    for got, value in zip(around(frame)[name].tolist(), frame[name].tolist()):
        assert type(got) is type(value)
        assert repr(got) == repr(value)


@pytest.mark.parametrize("name", INDEXES)
def test_rows_and_columns_keep_their_labels(name: str) -> None:
    index = INDEXES[name]
    rows = pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]}, index=index)
    for frame in (rows, rows.T, pd.DataFrame(index=index), pd.DataFrame(columns=index)):
        got = around(frame)
        pd.testing.assert_frame_equal(got, frame, check_freq=True)
        assert got.index.identical(frame.index)
        assert got.columns.identical(frame.columns)
    series = pd.Series([1.5, 2.5, 3.5], index=index, name=("a", 1))
    got = around(series)
    assert type(got) is pd.Series
    pd.testing.assert_series_equal(got, series)


def test_labels_need_not_be_text_nor_differ() -> None:
    for labels in (
        ["a", 1],
        ["a", "a"],
        [1.5, 2.5],
        [True, False],
        [("a", 1), None],
        [0, 1],
        [dt.date(2024, 1, 1), "x"],
    ):
        frame = pd.DataFrame([[1, "x"], [2, "y"]])
        frame.columns = pd.Index(labels, tupleize_cols=False, name="labels")
        got = around(frame)
        pd.testing.assert_frame_equal(got, frame)
        assert [*map(type, got.columns.tolist())] == [*map(type, frame.columns.tolist())]
    frame = pd.DataFrame({"a": [1]})
    frame.attrs["unit"] = ("m", 2)
    assert around(frame).attrs == {"unit": ("m", 2)}
    pd.testing.assert_frame_equal(around(pd.DataFrame()), pd.DataFrame())


def test_frames_can_be_changed_and_change_nothing_else() -> None:
    frame = pd.DataFrame({name: pd.Series(column) for name, column in COLUMNS.items()})
    serializer = ArrowSerializer()
    data = serializer.serialize(frame)
    got = serializer.deserialize(data)
    for name in frame.columns:
        got.loc[0, name] = got.loc[2, name]
        got.loc[1, name] = None if got[name].dtype == object else got.loc[2, name]
    pd.testing.assert_frame_equal(serializer.deserialize(data), frame)


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (objects([1], [2]), "has objects of type list"),
        (objects("a", 1), "has objects of several types"),
        (objects("a", None, np.nan), "has objects of several types"),
        (objects("a", 1.5), "has floats among its objects"),
        (objects(Decimal("1.0"), Decimal("1.00")), "has decimals of several scales"),
        (objects(object()), "has objects of type object"),
        (objects(2**70), "its column 'c'"),
        (np.array([1j]), "is of type complex128"),
        (pd.arrays.SparseArray([0, 1]), "is of type Sparse"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_what_would_not_come_back_is_refused_by_its_column(column: Any, why: str) -> None:
    with pytest.raises(NotCacheableError, match="its column 'c' ") as raised:
        ArrowSerializer().serialize(pd.DataFrame({"c": column}))
    assert why in str(raised.value)


class Derived(pd.DataFrame):  # type: ignore[misc]
    pass


@pytest.mark.parametrize(
    "value", [3, [1], {"a": [1]}, np.array([1]), Derived({"a": [1]}), pl.DataFrame({"a": [1]}).lazy()]
)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(NotCacheableError, match="frames of pandas and polars, and tables"):
        ArrowSerializer().serialize(value)


POLARS = pl.DataFrame(
    {
        "i": [1, None, 3], "f": [0.5, float("nan"), None], "b": [True, None, False], "s": ["a", None, "é" * 40],
        "raw": [b"x", None, b"\xff"], "day": [dt.date(2024, 1, 1), None, dt.date.min], "time": [dt.time(1), None, dt.time(2)],
        "moment": [dt.datetime(2024, 1, 1), None, dt.datetime(2025, 1, 1)], "list": [[1], [], None],
        "struct": [{"x": 1}, {"x": None}, None], "nothing": [None, None, None], "decimal": [Decimal("1.50"), None, Decimal("2.25")],
    }
).with_columns(
    pl.col("s").cast(pl.Categorical).alias("category"), pl.Series("enum", ["x", None, "y"], pl.Enum(["y", "x"])),
    pl.col("moment").dt.replace_time_zone("Europe/Paris").alias("zoned"), pl.Series("small", [1, 2, None], pl.UInt8),
    pl.Series("array", [[1, 2], [3, 4], None], pl.Array(pl.Int16, 2)), pl.Series("span", [dt.timedelta(1), None, dt.timedelta(2)]),
)  # fmt: skip


def test_polars_comes_back_as_it_was() -> None:
    for frame in (POLARS, POLARS[:0], pl.concat([POLARS, POLARS], rechunk=False), pl.DataFrame()):
        got = around(frame)
        assert type(got) is pl.DataFrame
        assert got.schema == frame.schema
        pl_testing.assert_frame_equal(got, frame)
    series = POLARS["category"]
    got = around(series)
    assert type(got) is pl.Series
    pl_testing.assert_series_equal(got, series)
    with pytest.raises(NotCacheableError):
        ArrowSerializer().serialize(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))


def test_tables_and_batches_come_back_as_they_were() -> None:
    table = POLARS.drop("f").to_arrow().replace_schema_metadata({"mine": "kept"})
    for value in (table, pa.concat_tables([table, table]), table.schema.empty_table(), pa.table({})):
        got = around(value)
        assert got.equals(value, check_metadata=True)
        assert type(got) is pa.Table
    for batch in (*table.to_batches(), table.to_batches()[0].slice(0, 0)):
        got = around(batch)
        assert type(got) is pa.RecordBatch
        assert got.equals(batch, check_metadata=True)


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("value", [pd.DataFrame({"a": ["x" * 100] * 1000}), pl.DataFrame({"a": ["x" * 100] * 1000})])
def test_compression_is_arrows_own(compression: Any, value: Any) -> None:
    serializer = ArrowSerializer(compression=compression)
    data = serializer.serialize(value)
    assert (len(data) < 10_000) == (compression is not None)
    # Whoever reads need not say which.
    assert ArrowSerializer().deserialize(data).equals(value)


def test_what_comes_back_can_be_chosen() -> None:
    pandas, polars = pd.DataFrame({"a": [1, 2], "s": ["x", "y"]}), pl.DataFrame({"a": [1, 2], "s": ["x", "y"]})
    table = pa.table({"a": [1, 2], "s": ["x", "y"]})
    for value in (pandas, polars, table, *table.to_batches()):
        pd.testing.assert_frame_equal(around(value, return_format="pandas"), pandas)
        pl_testing.assert_frame_equal(around(value, return_format="polars"), polars)
        assert around(value, return_format="arrow").to_pydict() == table.to_pydict()


@pytest.mark.parametrize("wrong", [{"return_format": "numpy"}, {"compression": "gzip"}])
def test_wrong_arguments_are_told(wrong: Any) -> None:
    with pytest.raises(ConfigurationError, match="must be one of"):
        ArrowSerializer(**wrong)


@pytest.mark.parametrize(
    ("make", "buffer"),
    [
        (lambda: pa.table({"a": np.arange(10_000)}), lambda got: got["a"].chunk(0).buffers()[1]),
        (lambda: pl.DataFrame({"a": np.arange(10_000)}), lambda got: got.to_arrow()["a"].chunk(0).buffers()[1]),
    ],
    ids=["pyarrow", "polars"],
)
def test_columns_lie_in_the_bytes_that_were_read(make: Callable[[], Any], buffer: Callable[[Any], Any]) -> None:
    @cache(serializer="arrow", isolation="sealed", backend=None)
    def function() -> Any:
        return make()

    function()
    one, other = function(), function()
    # Both hits read the same bytes.
    assert buffer(one).address == buffer(other).address
    serializer = ArrowSerializer()
    data = serializer.serialize(make())
    begin = pa.py_buffer(data).address
    assert begin < buffer(serializer.deserialize(data)).address < begin + len(data)


@pytest.mark.parametrize("preset", ["production", "minimal"])
@pytest.mark.parametrize("kind", ["pandas", "polars", "table"])
def test_frames_through_redis(redis: RedisServer, preset: str, kind: str) -> None:
    frame = pd.DataFrame({"a": range(20_000), "s": [f"name {n}" for n in range(20_000)]})
    value = {"pandas": frame, "polars": pl.from_pandas(frame), "table": pa.table({"a": range(20_000)})}[kind]

    @getattr(cache, preset)(serializer="arrow", namespace="frames", backend=redis.unix_url)
    def function() -> Any:
        return value

    function()
    _native.clear_all()
    got = function()
    assert type(got) is type(value)
    assert got.equals(value)
    assert function.cache_info().l2_hits == 1
    # Not compressed, whatever the preset does, since it could not be read in place then.
    assert len(redis.command("GET", redis.entries()[0])) > 160_000
    again = function()
    assert again.equals(value)
    assert function.cache_info().l1_hits == 1
    if kind == "pandas" and preset == "production":
        again.loc[0, "a"] = -1
        assert function().equals(value)


def test_what_is_broken_is_refused() -> None:
    serializer = ArrowSerializer()
    data = serializer.serialize(pl.DataFrame({"s": ["abc", "defghijklmnopqrstuvw"], "c": ["x", "y"]}))
    for wrong in (b"", data[:100], b"x" * 100, pa.ipc.serialize_pandas(pd.DataFrame({"a": [1]})).to_pybytes()):
        with pytest.raises(EnvelopeError):
            serializer.deserialize(wrong)
    broken = 0
    for place in range(0, len(data), 3):
        try:
            got = serializer.deserialize(data[:place] + bytes([data[place] ^ 0x81]) + data[place + 1 :])
        except EnvelopeError:
            broken += 1
        else:
            repr(got)
    assert broken > 50


def test_offsets_are_not_believed() -> None:
    """Text that says it lies where nothing is, in each of the forms that text takes."""
    serializer = ArrowSerializer()
    for array in (pa.array(["abc", "def"] * 50), pa.array(["abc", "def"] * 50, pa.large_string()),
                  pa.array(["abc", "d" * 40] * 50, pa.string_view()), pa.array(["abc", "def"] * 50).dictionary_encode()):  # fmt: skip
        data = serializer.serialize(pa.table({"s": array}))
        buffers = (array.indices if hasattr(array, "indices") else array).buffers()
        offsets = buffers[1].to_pybytes()
        at = data.index(offsets)
        for place in range(at, at + len(offsets), 4):
            wrong = data[:place] + b"\xf0\xf0\xf0\x70" + data[place + 4 :]
            with pytest.raises(EnvelopeError):
                serializer.deserialize(wrong)
    with pytest.raises(EnvelopeError):
        serializer.deserialize(serializer.serialize(pa.table({"s": ["abcdefgh"]})).replace(b"abcdefgh", b"abc\xffefgh"))


def test_categories_have_indices_within_them() -> None:
    serializer = ArrowSerializer()
    for kind in (pa.int8(), pa.uint8(), pa.int64(), pa.uint64()):
        array = pa.DictionaryArray.from_arrays(pa.array([1, None, 0, 77], kind), ["a", "b"], safe=False)
        with pytest.raises(EnvelopeError, match="an index of 77 and 2 categories"):
            serializer.deserialize(serializer.serialize(pa.table({"s": array})))
        for good in ([1, None, 0], [None, None], []):
            array = pa.DictionaryArray.from_arrays(pa.array(good, kind), ["a", "b"])
            table = pa.table({"s": array})
            assert serializer.deserialize(serializer.serialize(table)).equals(table)
    array = pa.DictionaryArray.from_arrays(pa.array([1, -1], pa.int8()), ["a", "b"], safe=False)
    with pytest.raises(EnvelopeError, match="an index of -1"):
        serializer.deserialize(serializer.serialize(pa.table({"s": array})))


def test_what_brings_polars_down_is_a_broken_entry() -> None:
    serializer = ArrowSerializer()
    data = serializer.serialize(pl.DataFrame({"c": pl.Series(["a"], dtype=pl.Categorical)}))
    wrong = data.replace(b"_PL_CATEGORICAL", b"_PL_CATEGORICA\xff")
    assert wrong != data
    with pytest.raises(EnvelopeError, match="polars cannot read it"):
        serializer.deserialize(wrong)


def test_text_beyond_ascii_is_looked_at_by_arrow() -> None:
    for text in (["é"], ["a", "€" * 20], ["x" * 13, "é"], ["x" * 20 + "é"], [None, "é"], ["a", None], []):
        for kind in (pa.string(), pa.large_string(), pa.string_view()):
            table = pa.table({"s": pa.chunked_array([pa.array(text, kind), pa.array(["tail"], kind)])})
            assert around(table).equals(table)
    serializer = ArrowSerializer()
    data = serializer.serialize(pa.table({"s": pa.array(["x" * 20, "y" * 20], pa.string_view())}))
    # The beginning of a text stands in its view too, and must be the same.
    for wrong in (data.replace(b"x" * 20, b"x" * 8 + b"\xff" + b"x" * 11), data.replace(b"x" * 20, b"z" + b"x" * 19)):
        assert wrong != data
        with pytest.raises(EnvelopeError):
            serializer.deserialize(wrong)


def test_a_native_entry_is_none(redis: RedisServer) -> None:
    options: dict[str, Any] = {"namespace": "two", "backend": redis.unix_url, "l1": False}

    def function() -> Any:
        return pa.table({"a": [1]})

    cache(serializer=ArrowSerializer(), **options)(function)()
    reader = cache(serializer=DefaultSerializer(), **options)(function)
    with pytest.warns(UserWarning, match="cannot be stored"):
        assert reader().equals(function())
    assert reader.cache_info().l2_hits == 0


def test_what_is_not_installed_is_told_at_decoration() -> None:
    out = run_python(
        """
        import sys
        sys.modules["pyarrow"] = None
        from cachekit import cache
        try:
            cache(serializer="arrow")
        except ValueError as error:
            print(error.code, error)
        import cachekit.serializers as serializers
        try:
            serializers.ArrowSerializer()
        except ImportError as error:
            print(error)
        """
    )
    first, second = out.splitlines()
    assert first.startswith("option_invalid serializer='arrow' is not valid: it needs pyarrow, which is not installed")
    assert second.endswith("pip install 'cachekit[arrow]'")


def test_nothing_is_imported_that_nobody_needs() -> None:
    out = run_python(
        """
        import sys
        import cachekit.serializers
        print([name for name in ("pyarrow", "pandas", "polars", "numpy", "orjson", "json") if name in sys.modules])
        from cachekit import cache
        cache(serializer="arrow")
        print([name for name in ("pandas", "polars") if name in sys.modules])
        """
    )
    assert out == "[]\n[]\n"


def frame() -> Any:
    return pd.DataFrame({"n": range(100_000), "s": [f"name {n}" for n in range(100_000)]})


HOLDERS: dict[str, tuple[Callable[[], Any], int]] = {
    "array": (lambda: np.arange(100_000), 800_000),
    "view": (lambda: np.arange(200_000)[:100_000], 800_000),
    "objects": (
        lambda: np.array([f"name {n:05}" for n in range(10_000)], dtype=object),
        10_000 * (8 + sys.getsizeof("name 00000")),
    ),
    "pandas": (frame, int(frame().memory_usage(deep=True).sum())),
    "pandas series": (lambda: frame()["n"], 800_000),
    "polars": (lambda: pl.from_pandas(frame()), 1_790_000),
    "polars series": (lambda: pl.Series(range(100_000)), 800_000),
    "table": (lambda: pa.table({"n": range(100_000)}), 800_000),
    "arrow array": (lambda: pa.array(range(100_000)), 800_000),
}


@pytest.mark.parametrize("isolation", ["shared", "copy", "sealed"])
@pytest.mark.parametrize("holder", HOLDERS)
@pytest.mark.parametrize("inside", [False, True])
def test_what_arrays_and_frames_hold_counts(isolation: Any, holder: str, inside: bool) -> None:
    make, size = HOLDERS[holder]

    @cache(backend=None, isolation=isolation, serializer="pickle")
    def function() -> Any:
        return {"inside": [make(), 1]} if inside else make()

    function()
    function()
    assert function.cache_info().l1_hits == 1
    held = function.cache_info().currbytes
    # Bytes take less than objects.
    assert (0.1 if isolation == "sealed" else 0.9) * size < held < 1.5 * size, (held, size)


def test_frames_make_room_by_what_they_hold() -> None:
    @cache.minimal(backend=None, max_bytes=3_000_000)
    def function(number: int) -> Any:
        return pl.DataFrame({"n": np.arange(100_000)})

    for number in range(20):
        function(number)
    assert function.cache_info().currsize in (2, 3)


def test_tables_are_shared_and_weighed() -> None:
    table = pa.table({"a": np.arange(100_000)})

    @cache(backend=None)
    def function() -> Any:
        return [table, table.to_batches()[0], table["a"], table["a"].chunk(0), table.schema, table["a"][0]]

    first, second = function(), function()
    assert function.cache_info().l1_hits == 1
    assert first is not second
    assert all(one is other for one, other in zip(first, second))
    assert 3_200_000 <= function.cache_info().currbytes < 3_300_000
