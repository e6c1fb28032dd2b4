"""Every caller's own value: what is copied and how, the options that say otherwise, and that no change reaches anybody."""

from __future__ import annotations

import asyncio
import collections
import copy
import dataclasses
import fractions
import functools
import gc
import pathlib
import sys
import threading
import weakref
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import native_reference as reference
import value_strategies
from cachekit import CacheKitWarning, ConfigurationError, NotCacheableError, _native, cache
from conftest import Run
from test_values import STACK

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
    def chain(length: int, kind: Any) -> Any:
        value: Any = 1
        for _ in range(length):
            value = kind(value)
        return value

    failures: list[BaseException] = []

    def work() -> None:
        try:
            for kind in (Box, FrozenSlots, lambda content: Pair([], content)):
                assert classify(chain(1023, kind)) == "rich"
                copied(chain(1023, kind))
                assert classify(chain(1025, kind)) == "other"
        except BaseException as error:
            failures.append(error)

    before = threading.stack_size(STACK)
    try:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    finally:
        threading.stack_size(before)
    assert failures == []


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
    assert classify(numpy.zeros(2, dtype=[("a", "f8")])[0]) == "other"
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


# The options.


def kept(function: Callable[..., Any], **options: Any) -> tuple[Any, Any, Any]:
    """What two calls give, and the function."""
    decorated = cache(backend=None, **options)(function)
    return decorated(), decorated(), decorated


def test_types_that_nobody_changes_are_shared() -> None:
    class Derived(Opaque):
        pass

    thing, row = Derived([1]), Row("a")
    one, two, function = kept(lambda: {"thing": thing, "list": [row]}, immutable=(Opaque, Row))
    assert one["thing"] is two["thing"] is thing
    assert one["list"] is not two["list"]
    assert one["list"][0] is two["list"][0] is row
    assert function.cache_info().misses == 1
    one, two, _ = kept(lambda: Opaque(), immutable=Opaque)
    assert one is two


def test_copy_is_called_at_the_store_and_at_each_hit() -> None:
    seen: list[Any] = []

    def duplicate(value: Opaque) -> Opaque:
        seen.append(value)
        return Opaque(list(value.content))

    one, two, function = kept(lambda: Opaque([1]), copy=duplicate)
    assert one.content == two.content == [1]
    assert len(seen) == 2
    assert seen[0] is one
    for value in (one, two):
        value.content.append(2)
    assert function().content == [1]
    assert len(seen) == 3
    assert function.cache_info().misses == 1
    # Nobody needs a copy of what cannot change.
    assert kept(lambda: "text", copy=duplicate)[:2] == ("text", "text")
    assert len(seen) == 3


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_copy_that_raises_has_the_function_called(asynchronous: bool, run: Run) -> None:
    calls: list[int] = []
    fail = False

    def duplicate(value: list[int]) -> list[int]:
        if fail:
            raise LookupError("not now")
        return copy.copy(value)

    def function(number: int = 0) -> list[int]:
        calls.append(1)
        return [len(calls)]

    async def coroutine(number: int = 0) -> list[int]:
        return function(number)

    decorated = cache(backend=None, copy=duplicate)(coroutine if asynchronous else function)

    async def call(*args: Any, **named: Any) -> Any:
        result = decorated(*args, **named)
        return await result if asynchronous else result

    async def main() -> None:
        nonlocal fail
        assert await call() == [1]
        assert await call() == [1]
        fail = True
        with pytest.warns(CacheKitWarning, match="copying it raised LookupError") as said:
            assert await call() == [2]
            assert await call(number=0) == [3]
            assert await call(1) == [4]
        assert len(said) == 1
        fail = False
        assert await call() == [1]
        assert await call(1) == [5]

    run(main())


def test_strict_says_so_instead() -> None:
    def failing(value: Any) -> Any:
        raise LookupError

    strict = cache(backend=None, strict=True, copy=failing)(lambda: [1])
    with pytest.raises(NotCacheableError, match="copying it raised LookupError") as caught:
        strict()
    assert isinstance(caught.value.__cause__, LookupError)
    other = cache(backend=None, strict=True)(lambda: {"a": [Row(Opaque())]})  # type: ignore[arg-type]
    with pytest.raises(NotCacheableError) as refused:
        other()
    for word in ('result["a"][0].name', "Opaque", 'isolation="shared"', "immutable=", "copy="):
        assert word in str(refused.value)


def test_interruptions_are_not_swallowed() -> None:
    def interrupted(value: Any) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache(backend=None, copy=interrupted)(lambda: [1])()


def test_what_is_not_copied_is_said_once() -> None:
    decorated = cache(backend=None)(lambda n: Opaque())
    with pytest.warns(CacheKitWarning, match=r"name types that nobody changes in immutable=") as said:
        assert decorated(1) is not decorated(1)
        decorated(2)
    assert len(said) == 1
    assert decorated.cache_info().currsize == 0


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"immutable": 3}, "must be a type or a tuple of types"),
        ({"immutable": (int, 3)}, "must be a type or a tuple of types"),
        ({"immutable": [int]}, "must be a type or a tuple of types"),
        ({"immutable": (Opaque, list)}, "list can be changed; share the whole result"),
        ({"copy": 3}, "must be a function"),
        ({"copy": None}, "must be a function"),
        ({"copy": copy.copy, "isolation": "shared"}, "isolation is 'shared'; add isolation='copy'"),
        ({"immutable": Opaque, "isolation": "sealed"}, "isolation is 'sealed'; add isolation='copy'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_refused_at_decoration(options: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        cache(**options)


def test_a_preset_that_shares_needs_to_be_told() -> None:
    with pytest.raises(ConfigurationError, match="add isolation='copy'"):
        cache.local(copy=copy.copy)
    one, two = (cache.local(isolation="copy", copy=list)(lambda: [1]) for _ in range(2))
    assert one() == two() == [1]


def test_copy_is_a_plain_function() -> None:
    async def awaited(value: Any) -> Any:
        return value

    with pytest.raises(ConfigurationError, match="plain function, since its result is the copy"):
        cache(copy=awaited)


def test_what_the_options_refer_to_can_be_collected() -> None:
    def build() -> Any:
        class Inner:
            pass

        holder: list[Any] = []

        def duplicate(value: Any) -> Any:
            return (value, holder)[0]

        decorated = cache(backend=None, immutable=Inner, copy=duplicate)(lambda: [Inner()])
        holder.append(decorated)
        decorated()
        return weakref.ref(decorated)

    watch = build()
    gc.collect()
    assert watch() is None


# Sealed.


def test_sealed_keeps_bytes_and_decodes_for_each_caller() -> None:
    text = "x" * 1000
    one, two, function = kept(lambda: {"text": text, "list": [1]}, isolation="sealed")
    assert one == two
    assert one["text"] is text
    assert two["text"] is not text
    one["list"].append(2)
    two["list"].append(3)
    assert function()["list"] == [1]
    assert function.cache_info().misses == 1
    assert 1000 < function.cache_info().currbytes < 1200
    # Immutable or not: nothing of a value stays but its encoding.
    first, second, _ = kept(lambda: "y" * 1000, isolation="sealed")
    assert first == second
    assert first is not second


def test_sealed_refuses_what_has_no_encoding() -> None:
    decorated = cache(backend=None, isolation="sealed")(lambda: {"row": Row("a")})
    with pytest.warns(CacheKitWarning, match=r'not cached: result\["row"\] is of type test_copies\.Row'):
        decorated()
    assert decorated.cache_info().currsize == 0


def test_sealed_goes_to_the_remote_tier_and_comes_back() -> None:
    backend = _native.Backend("memory://")
    value = {"a": [1, (2, "b")], "b": {3}}
    options: Any = {"backend": backend, "namespace": "sealed", "isolation": "sealed"}

    def function() -> Any:
        return value

    first = cache(**options)(function)
    first()
    again = cache(**options)(function)
    got = [again(), again()]
    assert got == [value, value]
    assert got[0]["a"] is not got[1]["a"]
    info = again.cache_info()
    assert (info.l1_hits, info.l2_hits, info.loads) == (1, 1, 0)


# No change reaches anybody.


def change(value: Any) -> None:
    """Changes whatever can be changed in a value."""
    if isinstance(value, list):
        for item in value:
            change(item)
        value.append("changed")
    elif isinstance(value, tuple):
        for item in value:
            change(item)
    elif isinstance(value, dict):
        for item in value.values():
            change(item)
        value["changed"] = 1
    elif isinstance(value, set):
        value.add("changed")
    elif isinstance(value, (Row, Box, Point)):
        for item in vars(value).values():
            change(item)
        if not isinstance(value, Point):
            vars(value)["changed"] = 1


rich = st.recursive(
    value_strategies.leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
        | st.builds(Row, st.text(max_size=3), st.lists(inner, max_size=2))
        | st.builds(Point, inner, inner)
        | st.builds(Box, inner)
        | st.builds(Pair, inner, inner)
        | st.sets(st.integers(), max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=100, deadline=None)
@given(rich)
def test_a_change_reaches_no_other_caller(value: Any) -> None:
    pristine = repr(value)
    decorated = cache(backend=None)(lambda: value)
    loaded = decorated()
    assert loaded is value
    change(loaded)
    for _ in range(3):
        got = decorated()
        assert repr(got) == pristine
        change(got)
    assert decorated.cache_info().misses == 1


@settings(max_examples=100, deadline=None)
@given(value_strategies.values)
def test_a_change_reaches_no_other_caller_of_what_is_sealed(value: Any) -> None:
    pristine = copied(value)
    decorated = cache(backend=None, isolation="sealed")(lambda: value)
    change(decorated())
    for _ in range(2):
        got = decorated()
        assert reference.same(got, pristine)
        change(got)


@pytest.mark.parametrize(
    "options", [{}, {"copy": copy.deepcopy}, {"isolation": "sealed"}], ids=["copy", "own", "sealed"]
)
def test_tasks_that_gather_one_key_share_nothing(options: Any, run: Run) -> None:
    async def main() -> None:
        begin = asyncio.Event()

        @cache(backend=None, **options)
        async def function() -> Any:
            await begin.wait()
            return {"rows": [[1], [2]]}

        async def call() -> Any:
            return await function()

        tasks = [asyncio.ensure_future(call()) for _ in range(4)]
        await asyncio.sleep(0)
        begin.set()
        flown = await asyncio.gather(*tasks)
        found = await asyncio.gather(function(), function(), function())
        info = function.cache_info()
        assert (info.loads, info.shared, info.l1_hits) == (1, 3, 3)
        values = [*flown, *found]
        parts = [id(part) for value in values for part in (value, value["rows"], *value["rows"])]
        assert len(set(parts)) == len(parts)

    run(main())


def test_threads_that_wait_for_one_load_share_no_record() -> None:
    entered, go = threading.Event(), threading.Event()

    @cache(backend=None)
    def function() -> Row:
        entered.set()
        go.wait(10)
        return Row("a", ["b"])

    got: list[Row] = []
    threads = [threading.Thread(target=lambda: got.append(function())) for _ in range(3)]
    threads[0].start()
    entered.wait(10)
    for thread in threads[1:]:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    got.append(function())
    assert len({id(row) for row in got}) == len({id(row.tags) for row in got}) == 4
    assert function.cache_info().loads == 1


def test_references_are_balanced() -> None:
    shared = [object(), "text that is not interned", Opaque()]
    value = {"row": Row(shared[1], [shared[1]]), "pair": Pair([1], shared[1]), "point": Point([shared[1]])}  # type: ignore[list-item, arg-type]
    decorated = cache(backend=None, immutable=Opaque)(lambda: [value, shared[2]])
    decorated()
    gc.collect()
    before = [sys.getrefcount(thing) for thing in (*shared, Row, Pair, Point)]
    for _ in range(100):
        decorated()
    gc.collect()
    assert [sys.getrefcount(thing) for thing in (*shared, Row, Pair, Point)] == before
