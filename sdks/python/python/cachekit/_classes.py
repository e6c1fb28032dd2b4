"""Which classes the values of a function may have, and what their objects consist of.

Only those that its own program named: in the annotation of its result, in `types=`, or by `register`. The extension
asks when it meets a class that it does not know, in a value or in an entry.

All that this takes is imported with this module, at a moment that no fork can fall into.
"""

from __future__ import annotations

import sys

from cachekit import _native, _registered
from cachekit._annotations import Search
from cachekit._contents import content_of
from cachekit._kinds import is_named_tuple, layout_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Union

    Name = tuple[str, str]
    # By class, by name, and how complete that is by nothing.
    Plans = dict[Any, Any]
    Found = Union[_native.Plan, str]

_MODEL_REST = ("__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
# What makes the values of a `defaultdict`.
_FACTORIES = (bool, bytearray, bytes, complex, dict, float, frozenset, int, list, set, str, tuple)
_COLLECTIONS = ("Counter", "OrderedDict", "deque")

# Where attrs notes down a hash that was asked for.
_HASH = "_attrs_cached_hash"


def learn(plans: Plans, cls: type, function: Any, given: Any) -> Found:
    """The plan of `cls`, or why there is none; an empty reason if it is just none of ours."""
    content = content_of(cls)
    if content is not None and cls not in _factories():
        made = plans[cls] = _native.Plan.content(cls, *content)
        return made
    found: Found | None = _gathered(plans, function, given).get(cls)
    if found is not None:
        return found
    described = describe(cls)
    if isinstance(described, str):
        return described
    name = cls.__name__
    return (
        f"nothing says that its class may be made when it is read; annotate the function's result with it, add "
        f"types=({name},), or decorate it with cachekit.register"
    )


def find(plans: Plans, name: Name, function: Any, given: Any) -> Found:
    """The plan of the class that has this name, or why there is none."""
    found: Found | None = _gathered(plans, function, given).get(name)
    return found or f"its class {name[0]}.{name[1]} is not one that the function names"


def name_of(cls: type) -> Name:
    """What an entry says of a class."""
    return cls.__module__, cls.__qualname__


def _gathered(plans: Plans, function: Any, given: Any) -> Plans:
    version = _registered.version
    known, complete = plans.get(None, (version, False))
    if known == version and complete:
        return plans
    if known != version:
        # Classes that were registered may have gone.
        plans.clear()
    search = Search()
    search.function(function)
    for cls in given or ():
        search.cls(cls)
    for cls in _registered.classes:
        search.cls(cls)
    for cls in (*_factories(), *search.found):
        plan = describe(cls) if cls not in plans else ""
        if isinstance(plan, str):
            continue
        other = plans.get(name_of(cls))
        if isinstance(other, _native.Plan) and other.cls is cls:
            # Another thread found it meanwhile.
            plan = other
        elif other is not None:
            # Of two classes with one name, neither can be told from it.
            plan = "another class that the function names has the same name; rename one of them"
            if isinstance(other, _native.Plan):
                plans[other.cls] = plan
        plans[cls] = plans[name_of(cls)] = plan
    # What could not be found yet is looked for again.
    plans[None] = (version, search.complete)
    return plans


def _factories() -> tuple[type, ...]:
    import collections

    return (*_FACTORIES, *(getattr(collections, name) for name in _COLLECTIONS))


def describe(cls: type) -> Found:
    """How objects of exactly `cls` are written and made, or why that is not possible."""
    try:
        return _describe(cls)
    except (AttributeError, LookupError, TypeError):
        # A class that does not even say its name.
        return ""


def _describe(cls: type) -> Found:
    name = name_of(cls)
    if not (type(name[0]) is str and type(name[1]) is str):
        return ""
    if cls in _factories():
        content = content_of(cls)
        return _native.Plan.bare(cls, *name) if content is None else _native.Plan.factory(cls, *name, *content)
    if issubclass(type(cls), getattr(sys.modules.get("enum"), "EnumMeta", ())):
        return _native.Plan.member(cls, *name)
    if is_named_tuple(cls):
        return _native.Plan.named_tuple(cls, *name, list(cls._fields))  # type: ignore[attr-defined]
    fields, rest = _fields(cls)
    if fields is None:
        return ""
    layout = layout_of(cls)
    if layout is None:
        return "it has parts that are no fields, which would be lost; return a class that consists of its fields"
    slots, has_dict = layout
    computed = _computed(cls)
    remembered = [_HASH] if _HASH in slots or _remembers_hash(cls) else []
    return _native.Plan.record(
        cls,
        *name,
        fields,
        has_dict,
        [slot for slot in slots if slot in rest],
        [slot for slot in slots if slot not in (*fields, *rest, *computed, _HASH)],
        remembered,
        ["__orig_class__", *computed, *remembered],
    )


def _fields(cls: Any) -> tuple[list[str] | None, tuple[str, ...]]:
    """The fields of a dataclass, an attrs class, a Struct or a pydantic model, and what else belongs to it."""
    own: dict[str, Any] = dict(vars(cls))
    if "__dataclass_fields__" in own:
        return [field.name for field in sys.modules["dataclasses"].fields(cls)], ()
    if "__attrs_attrs__" in own:
        return [field.name for field in own["__attrs_attrs__"]], ()
    struct = getattr(sys.modules.get("msgspec"), "Struct", None)
    if struct is not None and issubclass(cls, struct):
        return list(cls.__struct_fields__), ()
    model = getattr(sys.modules.get("pydantic.main"), "BaseModel", None)
    if model is not None and issubclass(cls, model) and cls is not model:
        return list(cls.__pydantic_fields__), _MODEL_REST
    return None, ()


def _remembers_hash(cls: type) -> bool:
    """Whether attrs has its objects note down their hash beside the fields, where there is `None` at first."""
    code = getattr(cls.__hash__, "__code__", None)
    return "__attrs_attrs__" in vars(cls) and _HASH in getattr(code, "co_names", ())


def _computed(cls: type) -> list[str]:
    cached_property = getattr(sys.modules.get("functools"), "cached_property", ())
    found = [name for base in cls.__mro__ for name, member in vars(base).items() if isinstance(member, cached_property)]
    for base in cls.__mro__:
        # In a class with slots attrs puts a slot in the place of each, and what computes them here.
        getter: Any = vars(base).get("__getattr__")
        if "cached_properties" in getattr(getattr(getter, "__code__", None), "co_varnames", ())[2:3]:
            found += getter.__defaults__[0]
    return found
