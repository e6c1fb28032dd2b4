"""Which kinds of values are copied for every caller, and how."""

from __future__ import annotations

import collections
import dataclasses
import fractions
import functools
import gc
import pathlib
import weakref
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import pytest

from cachekit import NotCacheableError, _kinds, _native, cache
from support import on_a_small_stack
from test_values import nested

copied: Any = _native._copy
classify: Any = _native._classify

T = TypeVar("T")


@dataclasses.dataclass
class Row:
    name: str
    tags: list[str] = dataclasses.field(default_factory=list)


@dataclasses.dataclass(frozen=True)
class Point:
    x: Any
    y: Any = 0

    def __post_init__(self) -> None:
        made.append(self)


made: list[Any] = []


class Slotted:
    """The base of a dataclass with places of its own."""

    __slots__ = ("__hidden", "shown")

    def hide(self, value: Any) -> None:
        object.__setattr__(self, "_Slotted__hidden", value)

    def hidden(self) -> Any:
        return self.__hidden


@dataclasses.dataclass(frozen=True)
class FrozenSlots(Slotted):
    __slots__ = ("items",)
    items: list[int]


@dataclasses.dataclass
class Box(Generic[T]):
    content: T


class Pair(NamedTuple):
    left: Any
    right: Any


class Opaque:
    def __init__(self, content: Any = None) -> None:
        self.content = content


class DerivedRow(Row):
    pass


class DerivedDeque(collections.deque):  # type: ignore[type-arg]
    pass


class DerivedCounter(collections.Counter):  # type: ignore[type-arg]
    pass


class DerivedOrderedDict(collections.OrderedDict):  # type: ignore[type-arg]
    pass


class DerivedDefaultDict(collections.defaultdict):  # type: ignore[type-arg]
    pass


class DerivedPair(Pair):
    pass


@dataclasses.dataclass
class Listed(list):  # type: ignore[type-arg]
    name: str = ""


@dataclasses.dataclass
class OwnWay:
    name: str

    def __deepcopy__(self, memo: Any) -> OwnWay:
        return self


@dataclasses.dataclass
class Closing:
    handle: int

    def __del__(self) -> None:
        """As if it closed the handle."""


@dataclasses.dataclass(frozen=True)
class Remembering:
    x: int

    @functools.cached_property
    def parts(self) -> list[int]:
        return [self.x]


COLLECTIONS: list[Callable[[Any], Any]] = [
    lambda content: collections.deque([content]),
    lambda content: collections.Counter(a=content),
    lambda content: collections.OrderedDict(a=content),
    lambda content: collections.defaultdict(None, a=content),
]


def linked() -> Row:
    row = Row("a")
    row.tags.append(row)  # type: ignore[arg-type]
    return row


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        (Row("a"), "rich"),
        ([Row("a"), Row("a")], "rich"),
        (Point(1, "a"), "immutable"),
        (Point(1, (2, Point(3))), "immutable"),
        ({Point(1): [Point(2)]}, "tree"),
        (Point([1]), "rich"),
        (Box(1), "rich"),
        (Box[int](1), "rich"),
        (Pair(1, "a"), "immutable"),
        (Pair(1, []), "rich"),
        (collections.namedtuple("Loose", "a b")(1, 2), "immutable"),
        (Remembering(1), "rich"),
        (fractions.Fraction(1, 3), "immutable"),
        (pathlib.Path("/tmp"), "immutable"),
        (Opaque(), "other"),
        (object(), "other"),
        (Row(Opaque()), "other"),  # type: ignore[arg-type]
        (DerivedRow("a"), "other"),
        (DerivedPair(1, 2), "other"),
        (Listed("a"), "other"),
        (OwnWay("a"), "other"),
        (collections.deque([1]), "rich"),
        (collections.Counter("aab"), "rich"),
        (collections.OrderedDict(a=1), "rich"),
        (collections.defaultdict(list, a=[1]), "rich"),
        ([collections.Counter(), collections.deque()], "rich"),
        (collections.deque([Opaque()]), "other"),
        (collections.OrderedDict(a=Opaque()), "other"),
        (collections.OrderedDict({Opaque(): 1}), "other"),
        ([collections.deque()] * 2, "other"),
        (DerivedDeque(), "other"),
        (DerivedCounter(), "other"),
        (DerivedOrderedDict(), "other"),
        (DerivedDefaultDict(), "other"),
        (Closing(1), "other"),
        (linked(), "other"),
        ({Pair(1, 2): [1]}, "tree"),
        ([Point([])] * 2, "other"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_can_be_copied(value: Any, shape: str) -> None:
    assert classify(value) == shape
    if shape == "immutable":
        assert copied(value) is value


def test_a_record_is_copied_field_by_field_without_its_own_code() -> None:
    point = Point([1], Row("a", ["b"]))
    before = len(made)
    again = copied(point)
    assert again == point
    assert type(again) is Point
    assert len(made) == before
    again.x.append(2)
    again.y.tags.append("c")
    assert point == Point([1], Row("a", ["b"]))
    point.__dict__["extra"] = [1]
    assert copied(point).__dict__["extra"] == [1]
    assert copied(point).__dict__["extra"] is not point.__dict__["extra"]


def test_records_nest_as_deep_as_containers() -> None:
    def work() -> None:
        for kind in (Box, FrozenSlots, lambda content: Pair([], content), *COLLECTIONS):
            assert classify(nested(1023, kind)) == "rich"
            copied(nested(1023, kind))
            assert classify(nested(1025, kind)) == "other"

    on_a_small_stack(work)


def test_a_class_that_says_nothing_is_none_that_is_known() -> None:
    class Silent(type):
        @property
        def __module__(cls) -> str:  # type: ignore[override]
            raise AttributeError

    assert classify(Silent("Quiet", (), {})()) == "other"


def test_slots_are_copied_those_of_bases_too() -> None:
    record = FrozenSlots([1])
    record.hide([2])
    again = copied(record)
    assert again == record
    again.items.append(3)
    again.hidden().append(4)
    assert (record.items, record.hidden()) == ([1], [2])
    # What was never set is not set either.
    assert not hasattr(again, "shown")


def test_a_named_tuple_stays_one() -> None:
    pair = Pair([1], "text that is not interned")
    again = copied(pair)
    assert type(again) is Pair
    assert again == pair
    assert again.left is not pair.left
    assert again.right is pair.right


def test_the_containers_of_collections_are_copied_with_what_is_in_them() -> None:
    fixed = ("text", 1.5)
    for value in (
        collections.OrderedDict(a=[1], b={"c": [2]}, d=fixed),
        collections.defaultdict(list, a=[1], b={"c": [2]}, d=fixed),
        collections.Counter({"a": [1], "b": {"c": [2]}, "d": fixed}),  # type: ignore[dict-item]
    ):
        pristine = repr(value)
        again = copied(value)
        assert type(again) is type(value)
        assert again == value
        assert list(again) == list(value)
        assert again["d"] is fixed
        again["a"].append(9)
        again["b"]["c"].append(9)
        again["new"] = 1
        assert repr(value) == pristine


def test_an_ordered_dict_keeps_its_order() -> None:
    value = collections.OrderedDict((number, [number]) for number in range(20))
    value.move_to_end(3)
    value.move_to_end(7, last=False)
    again = copied(value)
    assert list(again.items()) == list(value.items())
    again.move_to_end(7)
    assert again.popitem() == (7, [7])
    assert next(iter(value)) == 7
    assert list(reversed(again)) == [number for number in reversed(value) if number != 7]


def test_a_defaultdict_keeps_what_makes_its_values() -> None:
    def make() -> list[int]:
        return []

    for factory in (make, lambda: [0], None):
        again = copied(collections.defaultdict(factory, a=[1]))
        assert again.default_factory is factory
        assert again == {"a": [1]}
    again = copied(collections.defaultdict(make, a=[1]))
    again["new"].append(1)
    assert again == {"a": [1], "new": [1]}


def test_a_deque_keeps_its_length() -> None:
    for most in (None, 3, 0):
        value = collections.deque([[0], [1], [2], [3]], most)
        again = copied(value)
        assert type(again) is collections.deque
        assert again == value
        assert again.maxlen == most
        assert not {id(item) for item in again} & {id(item) for item in value}
    again.append(1)
    assert not again
    # Nothing to copy in it.
    text = "text that is not interned"
    assert copied(collections.deque([text], 2))[0] is text


def test_a_counter_is_copied_without_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    value = collections.Counter(b=2, a=1)
    monkeypatch.setattr(collections.Counter, "__init__", None)
    monkeypatch.setattr(collections.Counter, "update", None)
    again = copied(value)
    assert (type(again), list(again.items())) == (collections.Counter, [("b", 2), ("a", 1)])
    assert again["none"] == 0


def test_attributes_that_a_copy_would_lack_are_refused() -> None:
    for value in (collections.OrderedDict(a=1), collections.Counter("a")):
        assert classify(value) == "rich"
        value.note = "mine"  # type: ignore[attr-defined]
        assert classify(value) == "other"
    refused = cache(backend=None, strict=True)(lambda: [value])
    with pytest.raises(NotCacheableError, match=r"result\[0\].*Counter.*it has attributes of its own"):
        refused()


def test_a_caller_may_change_the_containers_of_collections() -> None:
    calls = 0

    @cache(backend=None, strict=True)
    def function() -> Any:
        nonlocal calls
        calls += 1
        words = collections.defaultdict(lambda: collections.deque(maxlen=2))
        words["a"].append(collections.Counter("aab"))
        return collections.OrderedDict(words=words, last=collections.deque([[1]], 3))

    for _ in range(3):
        got = function()
        assert list(got) == ["words", "last"]
        assert got["words"] == {"a": collections.deque([{"a": 2, "b": 1}])}
        assert got["last"] == collections.deque([[1]])
        assert got["words"]["new"].maxlen == 2
        got["words"]["a"][0]["a"] += 1
        got["words"]["a"].append(1)
        got["last"][0].append(2)
        got["last"].append(3)
        got.move_to_end("words")
        got["more"] = 1
    assert calls == 1


def test_attrs() -> None:
    attrs = pytest.importorskip("attrs")

    @attrs.define
    class Slots:
        items: list[int]
        name: str = attrs.field(default="a", validator=attrs.validators.instance_of(str))

    @attrs.frozen
    class Frozen:
        items: Any

    @attrs.frozen
    class Computed:
        x: int

        @functools.cached_property
        def parts(self) -> list[int]:
            return [self.x]

    @attrs.define(slots=False)
    class Plain:
        items: list[int]

    for value in (Slots([1]), Plain([1]), Frozen([1]), Frozen({"a": Slots([2])})):
        again = copied(value)
        assert again == value
        assert type(again) is type(value)
        assert again.items is not value.items
    assert classify(Frozen(1)) == "immutable"
    assert classify(Computed(1)) == "rich"

    class Derived(Slots):
        pass

    assert classify(Derived([1])) == "other"


def test_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    if not pydantic.VERSION.startswith("2"):
        pytest.skip("another pydantic")

    class Model(pydantic.BaseModel):  # type: ignore[name-defined, misc]
        model_config = {"extra": "allow"}
        items: list[int]
        inner: Any = None
        _private: list[int] = pydantic.PrivateAttr(default_factory=list)

        @pydantic.field_validator("items")
        @classmethod
        def seen(cls, items: list[int]) -> list[int]:
            validated.append(items)
            return items

    class Child(Model):
        more: dict[str, list[int]] = {}

    validated: list[Any] = []
    model = Child(items=[1], inner=Row("a"), more={"a": [1]}, extra=[2])
    model._private.append(3)
    before = len(validated)
    again = copied(model)
    assert again == model
    assert type(again) is Child
    assert len(validated) == before
    for change in (again.items, again.more["a"], again.extra, again._private, again.inner.tags):
        change.append(9)
    again.model_fields_set.clear()
    assert (model.items, model.inner, model.more, model.extra) == ([1], Row("a"), {"a": [1]}, [2])
    assert model._private == [3]
    assert model.model_fields_set == {"items", "inner", "more", "extra"}


def test_numpy() -> None:
    numpy = pytest.importorskip("numpy")
    array = numpy.asfortranarray(numpy.arange(6.0).reshape(2, 3))
    value = {"a": array, "row": Row("a"), "zero": numpy.array(1.5)}
    again = copied(value)
    assert (again["a"] == array).all()
    assert again["a"].flags.f_contiguous
    again["a"][0, 0] = 9
    assert array[0, 0] == 0
    assert not numpy.shares_memory(again["a"], array)
    assert classify(numpy.array(["a", 1, None], dtype=object)) == "rich"
    assert classify(numpy.array([[], 1], dtype=object)) == "other"
    assert classify(numpy.zeros(2, dtype=[("a", object)])) == "other"
    assert classify(numpy.float64(1.5)) == "immutable"
    assert classify(numpy.zeros(2, dtype=[("a", "f8")])[0]) == "rich"
    assert classify(numpy.zeros(2, dtype=[("a", object)])[0]) == "other"
    assert classify(numpy.ma.array([1])) == "other"

    class Own(numpy.ndarray):  # type: ignore[name-defined, misc]
        pass

    assert classify(array.view(Own)) == "other"

    @cache(backend=None, max_bytes=1_000_000)
    def zeros(n: int) -> Any:
        return numpy.zeros(n, dtype="u1")

    zeros(100_000)
    assert 100_000 <= zeros.cache_info().currbytes < 110_000


def test_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"n": [1.5, 2.5], "t": ["a", "b"], "w": pandas.to_datetime(["2024-01-01", None])})
    frame["o"] = pandas.Series(["x", 1], dtype=object)
    frame["c"] = pandas.Categorical(["a", "b"])
    frame.attrs["source"] = "here"
    expected = frame.copy(deep=True)
    assert classify(frame) == "rich"
    again = copied(frame)
    pandas.testing.assert_frame_equal(again, frame)
    assert again.attrs == {"source": "here"}
    again.iloc[0, 0] = 9.0
    again.loc[1, "t"] = "z"
    again["new"] = 1
    again.index.name = again.columns.name = "changed"
    pandas.testing.assert_frame_equal(frame, expected)
    assert frame.index.name is frame.columns.name is None

    series = copied(frame["n"])
    series.iloc[0] = 7.0
    assert frame["n"].iloc[0] == 1.5
    index = pandas.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["l", "r"])
    assert copied(index).equals(index)
    assert classify(pandas.Timestamp("2024-01-01")) == "immutable"
    assert classify(pandas.NaT) == classify(pandas.NA) == "immutable"
    for holder in (pandas.DataFrame({"o": [[1], [2]]}), pandas.Series([Opaque()]), pandas.Index([Opaque()])):
        assert classify(holder) == "other"
    frame.attrs["list"] = [1]
    assert classify(frame) == "other"

    class Own(pandas.DataFrame):  # type: ignore[name-defined, misc]
        pass

    assert classify(Own({"n": [1]})) == "other"
    large = pandas.DataFrame({"n": range(50_000)})
    weighed = cache(backend=None)(lambda: large)
    weighed()
    assert 400_000 <= weighed.cache_info().currbytes < 1_300_000


def test_text_and_categories_are_not_looked_at_one_by_one() -> None:
    pandas = pytest.importorskip("pandas")
    text = pandas.Series(["a", "b"] * 500, dtype="string")
    category = text.astype("category")
    frame = pandas.DataFrame({"text": text, "category": category}, index=pandas.Index(text))
    parts, size = _kinds._look_at_frame(frame)
    # No more than the labels.
    assert len(parts) <= 2
    assert size > 1000
    for value in (frame, text, category, frame.index, pandas.CategoricalIndex(category)):
        assert classify(value) == "rich"
    opaque = pandas.Categorical.from_codes([0], pandas.Index([Opaque()], dtype=object))
    assert classify(pandas.Series(opaque)) == "other"


def test_polars() -> None:
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"n": [1, 2], "t": ["a", "b"]})
    again = copied({"frame": frame})["frame"]
    assert again.equals(frame)
    again[0, "n"] = 9
    again.insert_column(0, polars.Series("new", [0, 0]))
    assert frame.to_dict(as_series=False) == {"n": [1, 2], "t": ["a", "b"]}
    series = copied(frame["n"])
    series[0] = 7
    assert frame["n"][0] == 1
    assert classify(frame.lazy()) == "immutable"
    assert classify(polars.Series([Opaque()], dtype=polars.Object)) == "other"


def test_what_is_known_of_a_type_goes_with_it() -> None:
    def one(frozen: bool) -> Any:
        return dataclasses.make_dataclass("Made", ["x"], frozen=frozen)

    # Types that are made where another one was are not taken for it.
    for number in range(40):
        kind = one(number % 2 == 0)
        assert classify(kind(1)) == ("immutable" if number % 2 == 0 else "rich")
        watch = weakref.ref(kind)
        del kind
        gc.collect()
        assert watch() is None


def test_a_type_that_was_met_as_garbage_is_not_taken_for_the_next_one_there() -> None:
    met: list[str] = []

    class Meta(type):
        def __del__(cls) -> None:
            met.append(classify(object.__new__(cls)))

    for _ in range(20):
        kind = dataclasses.dataclass(frozen=True)(Meta("Made", (), {"__annotations__": {}}))
        del kind
        gc.collect()
        for _ in range(3):
            other = dataclasses.make_dataclass("Other", ["x"])
            assert classify(other(1)) == "rich"
            del other
            gc.collect()
    assert met == ["immutable"] * 20
