"""Values of classes: which are stored, what comes back, and what is refused on either side."""

from __future__ import annotations

import collections
import enum
import functools
import pathlib
import sys
import threading
import types
import typing
from dataclasses import dataclass, field, make_dataclass
from typing import Any, Callable

import pytest

import class_module as module
from cachekit import Backend, CacheKitWarning, NotCacheableError, _classes, _native, cache, metrics_text, register
from cachekit.exceptions import CacheKitError
from class_module import (
    Address,
    Admin,
    Box,
    Chief,
    Colour,
    Frozen,
    Holder,
    Level,
    Node,
    Pair,
    Point,
    Rights,
    Slotted,
    User,
)
from support import on_a_small_stack

encode: Any = _native._encode
decode: Any = _native._decode
LIMIT = 256 << 20


def there_and_back(value: Any, *classes: type) -> Any:
    return decode(encode(value, LIMIT, classes), classes)


def refusal(value: Any, *classes: type) -> str:
    with pytest.raises(TypeError) as raised:
        encode(value, LIMIT, classes)
    code, text = raised.value.args
    assert code == "value_unsupported"
    return str(text)


def corruption(data: bytes, *classes: type) -> str:
    with pytest.raises(ValueError) as raised:
        decode(data, classes)
    code, text = raised.value.args
    assert code == "value_corrupt"
    return str(text)


VALUES = [
    Colour.RED,
    Colour.ALSO_RED,
    Level.LOW,
    Rights.READ,
    Rights.READ | Rights.WRITE,
    Rights(0),
    Point(1, [2]),
    Pair(Colour.GREEN, {"a": (1,)}),
    Address("x", Colour.GREEN),
    User("ada", Address("y"), ["t"], Rights.WRITE),
    Chief("bob", None, [], budget=3),
    Frozen(1),
    Slotted(1, [Slotted(2, None)]),
    Box(Box(1)),
    Node(Node(Node())),
    {"users": [User("a"), User("b")], Colour.RED: {Frozen(2)}},
]
NAMED = (Colour, Level, Rights, Point, Pair, Address, User, Chief, Frozen, Slotted, Box, Node)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_what_is_named_comes_back_as_itself(value: Any) -> None:
    module.calls.clear()
    back = there_and_back(value, *NAMED)
    assert type(back) is type(value)
    assert back == value
    assert module.calls == []


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_what_is_not_named_is_neither_written_nor_read(value: Any) -> None:
    refusal(value)
    assert "is not one that the function names" in corruption(encode(value, LIMIT, NAMED))


def test_a_refusal_names_the_place_and_what_to_do() -> None:
    value = {"users": [User("a"), User("b"), User("c"), Holder(threading.Lock())]}
    assert refusal(value, User, Holder).startswith('result["users"][3].lock is of type _thread.lock, which cannot be')
    assert refusal([Holder(User("a"))], Holder) == (
        "result[0].lock is of type class_module.User, which cannot be stored: nothing says that its class may be made when "
        "it is read; annotate the function's result with it, add types=(User,), or decorate it with cachekit.register"
    )


def test_a_subclass_is_not_stored_as_its_base() -> None:
    assert "types=(Chief,)" in refusal(Chief("x"), User)
    assert refusal(Admin("x"), User, Admin)
    with pytest.raises(CacheKitError, match="none that merely derives from one"):
        register(Admin)


def test_what_is_no_field_is_not_lost_in_silence() -> None:
    user = User("ada")
    assert user.length == 3
    assert "length" not in vars(there_and_back(user, User))
    user.extra = Colour  # type: ignore[attr-defined]
    assert "result.extra is of type enum.Enum" in refusal(user, User)
    assert "it is no field of its class" in refusal(user, User)


def test_a_field_that_is_not_set() -> None:
    user = User("ada")
    del user.name
    assert "its field name is not set; set it" in refusal(user, User)


def fields(**named: Any) -> type:
    made = make_dataclass("Changing", list(named.items()))
    made.__module__ = "class_module"
    return made


@pytest.mark.parametrize(
    "now", [{"a": int}, {"a": int, "b": int, "c": int}, {"a": int, "c": int}, {"b": int, "a": int}]
)
def test_a_class_whose_fields_changed_is_a_miss(now: dict[str, Any]) -> None:
    before = fields(a=int, b=int)
    data = encode(before(1, 2), LIMIT, (before,))
    assert decode(data, (before,)) == before(1, 2)
    assert "its class has other fields now" in corruption(data, fields(**now))


def test_a_class_that_became_something_else_is_a_miss() -> None:
    class Changing(enum.Enum):
        A = 1

    Changing.__module__, Changing.__qualname__ = "class_module", "Changing"
    before = fields(a=int)
    data = encode(before(1), LIMIT, (before,))
    member = encode(Changing.A, LIMIT, (Changing,))
    assert "its class has no fields" in corruption(data, Changing)
    assert "its class is no enumeration" in corruption(member, before)
    assert "KeyError" not in corruption(member.replace(b"\xa1A", b"\xa1B"), Changing)


def test_two_classes_of_one_name_are_told_apart_by_neither() -> None:
    one, other = fields(a=int), fields(a=int)
    assert "has the same name" in refusal(one(1), one, other)
    assert "has the same name" in refusal(other(1), one, other)
    assert "has the same name" in corruption(encode(one(1), LIMIT, (one,)), one, other)


def test_damaged_entries_are_refused() -> None:
    data = encode([User("ada", Address("x"))], LIMIT, NAMED)
    for length in range(len(data)):
        corruption(data[:length], *NAMED)
    for position in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[position] ^= 1 << bit
            try:
                decode(bytes(damaged), NAMED)
            except ValueError as error:
                assert error.args[0] == "value_corrupt"


def test_depth_and_cycles() -> None:
    node = Node()
    for _ in range(1023):
        node = Node(node)
    assert there_and_back(node, Node).next.next is not None
    assert "it nests more than 1024 containers" in refusal(Node(node), Node)
    ring = Node()
    ring.next = ring
    assert "result.next is of type" in refusal(ring, Node)
    assert "it contains itself; break the cycle" in refusal(ring, Node)
    deep: Any = collections.OrderedDict()
    deep["me"] = deep
    assert "it contains itself; break the cycle" in refusal(deep)
    line: Any = collections.deque()
    line.append([line])
    assert "it contains itself; break the cycle" in refusal(line)


def test_depth_on_a_small_stack() -> None:
    def body() -> None:
        node = Node()
        for _ in range(1023):
            node = Node(node)
        back = decode(encode(node, LIMIT, (Node,)), (Node,))
        depth = 0
        while back.next is not None:
            back, depth = back.next, depth + 1
        assert depth == 1023

    on_a_small_stack(body)


# What annotations name.


def named_by(function: Callable[..., Any], value: Any) -> bool:
    cached = cache(isolation="sealed", backend=None, strict=True)(function)
    try:
        cached()
    except NotCacheableError:
        return False
    assert cached() == value
    assert cached.cache_info().misses == 1
    return True


class Outer:
    class Inner(enum.Enum):
        A = 1

    def __init__(self) -> None:
        pass


@dataclass
class Tree:
    children: typing.List[Tree] = field(default_factory=list)
    kind: typing.Optional[Outer.Inner] = None

    @staticmethod
    def grown() -> Tree:
        return Tree([Tree()], Outer.Inner.A)


HINTS: list[tuple[Any, Any]] = [
    (User, User("a", Address("x"))),
    (typing.List[User], [User("a")]),
    ("list[User]", [User("a")]),
    ("dict[str, User | None]", {"a": User("a")}),
    ("module.User | Missing", User("a")),
    ("typing.Annotated['User', 1]", User("a")),
    (typing.Annotated[User, Address], User("a")),
    (typing.Dict[str, typing.Optional["User"]], {"a": User("a")}),
    (typing.Literal[Colour.RED], Colour.RED),
    ("typing.Literal[Colour.RED]", Colour.RED),
    (typing.NewType("UserId", User), User("a")),
    (typing.TypeVar("U", bound=User), User("a")),
    (Box[User], Box(User("a"))),
    ("Tree", Tree([Tree()], Outer.Inner.A)),
]


@pytest.mark.parametrize(("hint", "value"), HINTS, ids=lambda hint: repr(hint)[:40])
def test_what_the_annotation_names_comes_back(hint: Any, value: Any) -> None:
    def function() -> Any:
        return value

    function.__annotations__ = {"return": hint}
    assert named_by(function, value)


@pytest.mark.parametrize(
    "hint", [Any, "Any", None, "typing.Literal['User']", "list[", "Missing", Chief, "object", dict]
)
def test_what_it_does_not_name_is_refused(hint: Any) -> None:
    def function() -> Any:
        return User("a")

    function.__annotations__ = {"return": hint}
    assert named_by(function, User("a")) is (hint is Chief and False)


def test_names_are_looked_up_when_they_are_needed() -> None:
    @cache(isolation="sealed", backend=None)
    def function() -> Later:  # type: ignore[name-defined] # noqa: F821
        return value

    value: Any = User("a")
    with pytest.warns(CacheKitWarning, match="nothing says that its class may be made"):
        function()
    later = make_dataclass("Later", ["a"])
    function.__wrapped__.__globals__["Later"] = later
    try:
        value = later(1)
        assert function() == later(1)
        assert function() == later(1)
        assert function.cache_info().misses == 2
    finally:
        del function.__wrapped__.__globals__["Later"]


def test_a_closed_over_class_is_found() -> None:
    @dataclass
    class Local:
        a: int

    def function() -> list[Local]:
        return [Local(1)]

    assert named_by(function, [Local(1)])


def test_self_is_the_class_of_the_method() -> None:
    if sys.version_info < (3, 11):
        pytest.skip("typing.Self is of 3.11")

    def grown() -> Any:
        return Tree()

    grown.__annotations__ = {"return": "typing.Self"}
    grown.__qualname__ = "Tree.grown"
    assert named_by(grown, Tree())
    assert named_by(Tree.grown, Tree.grown())


def test_types_and_registration() -> None:
    def function() -> Any:
        return made

    @register
    @dataclass
    class Registered:
        a: int

    made: Any = Registered(1)
    assert named_by(function, Registered(1))
    made = User("a", Address("x"))
    cached = cache(isolation="sealed", backend=None, strict=True, types=User)(function)
    assert cached() == cached() == made
    assert cached.cache_info().misses == 1


@pytest.mark.parametrize("types_", [(threading.Thread,), (object,), (Admin,), threading.Thread])
def test_types_that_cannot_be_made_are_refused_at_decoration(types_: Any) -> None:
    with pytest.raises(CacheKitError, match="its objects cannot be made of their fields"):
        cache(types=types_)
    with pytest.raises(CacheKitError):
        cache(types=[User])  # type: ignore[arg-type]
    with pytest.raises(CacheKitError, match="only serializer='native'"):
        cache(types=User, serializer="msgpack")


def test_reading_imports_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    other = types.ModuleType("not_imported_yet")
    made = make_dataclass("Thing", ["a"])
    made.__module__ = "not_imported_yet"
    data = encode(made(1), LIMIT, (made,))
    monkeypatch.setitem(sys.modules, "not_imported_yet", other)
    other.Thing = made  # type: ignore[attr-defined]
    assert "is not one that the function names" in corruption(data)


# Of libraries.


def test_attrs() -> None:
    attrs = pytest.importorskip("attrs")

    @attrs.define
    class Slots:
        a: int
        b: Any = None

    @attrs.frozen(cache_hash=True)
    class Hashed:
        a: int

    @attrs.frozen(cache_hash=True, slots=False)
    class HashedPlain:
        a: int

    @attrs.define(slots=False)
    class Plain:
        a: int

        def __attrs_post_init__(self) -> None:
            raise AssertionError

    plain = Plain.__new__(Plain)
    plain.a = 1
    for value in (Slots(1, [Slots(2)]), Hashed(1), plain):
        back = there_and_back(value, Slots, Hashed, Plain)
        assert type(back) is type(value)
        assert back == value
    for cls in (Hashed, HashedPlain):
        asked = cls(1)
        for value in (cls(1), asked):
            back = there_and_back(value, cls)
            assert (back, hash(back)) == (asked, hash(asked))
            here = cache(backend=None, strict=True)(lambda value=value: value)
            assert hash(here()) == hash(here()) == hash(asked)
            assert here.cache_info().hits == 1

    @attrs.define
    class Computing:
        a: int

        @functools.cached_property
        def twice(self) -> int:
            module.calls.append("twice")
            return self.a * 2

    @attrs.define
    class Deriving(Computing):
        b: int = 0

    for computing in (Computing(2), Deriving(2)):
        assert computing.twice == 4
        back = there_and_back(computing, Computing, Deriving)
        module.calls.clear()
        assert back.twice == 4
        assert module.calls == ["twice"]


def test_msgspec() -> None:
    msgspec = pytest.importorskip("msgspec")

    class Plain(msgspec.Struct):  # type: ignore[misc, name-defined]
        a: int
        b: list[Any] = []

        def __post_init__(self) -> None:
            module.calls.append("struct")

    class Cold(msgspec.Struct, frozen=True, gc=False):  # type: ignore[misc, call-arg, name-defined]
        a: int

    module.calls.clear()
    value = [Plain(1, [Cold(2)]), Cold(3)]
    module.calls.clear()
    for _ in range(100):
        assert there_and_back(value, Plain, Cold) == value
    assert module.calls == []
    assert hash(there_and_back(Cold(1), Cold)) == hash(Cold(1))

    @cache(backend=None, strict=True)
    def shelf() -> Any:
        return value

    shelf()[0].b.append(1)
    assert shelf()[0].b == [Cold(2)]


def test_pydantic() -> None:
    pydantic = pytest.importorskip("pydantic")
    K = typing.TypeVar("K")

    class Inner(pydantic.BaseModel):  # type: ignore[misc, name-defined]
        a: int = 0
        _hidden: int = pydantic.PrivateAttr(default=0)

        @pydantic.field_validator("a")
        @classmethod
        def check(cls, a: int) -> int:
            module.calls.append("validator")
            return a

    class Open(pydantic.BaseModel, extra="allow", frozen=True):  # type: ignore[misc, call-arg, name-defined]
        inner: typing.Optional[Inner] = None

    class Page(pydantic.BaseModel, typing.Generic[K]):  # type: ignore[misc, name-defined]
        items: typing.List[K]

    class Root(pydantic.RootModel[typing.List[int]]):  # type: ignore[misc, name-defined]
        pass

    inner = Inner(a=1)
    inner._hidden = 5
    opened = Open(inner=inner, more=[1])
    module.calls.clear()
    for value in (inner, opened, Inner(), Root([1]), Page[Inner](items=[inner])):
        back = there_and_back(value, Open, Root, Page[Inner])
        assert type(back) is type(value)
        assert back == value
        assert back.model_fields_set == value.model_fields_set
    assert module.calls == []
    assert there_and_back(opened, Open).inner._hidden == 5
    assert there_and_back(opened, Open).model_extra == {"more": [1]}
    data = encode(Inner(a=1), LIMIT, (Inner,))
    forged = [(b"\xc1\x02\x91\xa1a", b"\x91\xa1a"), (b"\x93\xc0", b"\x93\x05"), (b"\x81\xa7_hidden\x00", b"\x05")]
    for right, wrong in forged:
        assert data.count(right) == 1
        assert "own notes are of another type" in corruption(data.replace(right, wrong), Inner)
    inner._hidden = threading.Lock()
    assert '.inner.__pydantic_private__["_hidden"] is of type _thread.lock' in refusal(opened, Open)


def test_path_inside_everything_is_told_once_and_the_call_succeeds() -> None:
    @cache(isolation="sealed", backend=None)
    def users() -> dict[str, list[Holder]]:
        return {"users": [Holder(), Holder(pathlib.Path("x")), Holder(threading.Lock())]}

    with pytest.warns(CacheKitWarning, match=r'result\["users"\]\[2\]\.lock is of type _thread\.lock') as caught:
        assert len(users()["users"]) == 3
        assert len(users()["users"]) == 3
    assert len(caught) == 1
    strict = cache(isolation="sealed", backend=None, strict=True)(users.__wrapped__)
    with pytest.raises(NotCacheableError, match=r'result\["users"\]\[2\]\.lock'):
        strict()


def test_an_entry_of_a_changed_class_is_a_miss_and_counted() -> None:
    backend = Backend("memory://")
    before, now = fields(a=int, b=int), fields(a=int)

    def cached(cls: type, *content: int) -> Any:
        @cache(namespace="changing", backend=backend, l1=False, types=cls)
        def made() -> Any:
            return cls(*content)

        return made

    old, new = cached(before, 1, 2), cached(now, 1)
    counted = 'cachekit_lookups_total{outcome="error",tier="l2"} '

    def errors() -> int:
        lines = [line for line in metrics_text().splitlines() if line.startswith(counted)]
        return sum(int(line.rpartition(" ")[2]) for line in lines)

    old()
    assert old() == before(1, 2)
    assert old.cache_info().l2_hits == 1
    before_that = errors()
    assert new() == now(1)
    assert errors() == before_that + 1
    assert new() == now(1)
    assert (new.cache_info().misses, new.cache_info().l2_hits) == (1, 1)


def test_threads_that_look_at_once_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    plans: dict[Any, Any] = {}
    describe = _classes.describe

    def meanwhile(cls: type) -> Any:
        if cls is User and cls not in plans:
            monkeypatch.setattr(_classes, "describe", describe)
            _classes.learn(plans, User, None, (User,))
        return describe(cls)

    monkeypatch.setattr(_classes, "describe", meanwhile)
    assert isinstance(_classes.learn(plans, User, None, (User,)), _native.Plan)
    assert isinstance(_classes.find(plans, ("class_module", "User"), None, (User,)), _native.Plan)


def test_a_class_that_is_defined_and_registered_again_takes_the_place_of_the_old_one() -> None:
    first = register(fields(a=int))

    def function() -> Any:
        return made

    made: Any = first(1)
    cached = cache(isolation="sealed", backend=None, strict=True)(function)
    assert cached() == first(1)
    second = register(fields(a=int, b=int))
    made = second(1, 2)
    cached.cache_clear()
    assert cached() == cached() == second(1, 2)
    made = first(1)
    cached.cache_clear()
    with pytest.raises(NotCacheableError, match="nothing says that its class may be made"):
        cached()
