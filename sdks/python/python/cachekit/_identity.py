"""The name of a function in the remote tier, or why it has none.

A name is only worth something if every process that uses it means the same function. Closures, lambdas and what
`__main__` holds share their names with others, so they need a `namespace` to leave this process; and so does the second
function of a name, since the first one has it already.
"""

from __future__ import annotations

# Not from `weakref`, which takes longer to import than this module.
from _weakref import ref

from cachekit.exceptions import make_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Who has a name in a namespace, by that name and the version, for as long as the function lives.
_given: dict[tuple[str, str | None], ref[Any]] = {}
# What the first function of a module and qualified name does. For ever, since that function is often gone when the
# second one of its name comes, and what it stored is not.
_own: dict[str, object] = {}


def identify(function: Any, namespace: str | None, version: str | None) -> tuple[str | None, str | None]:
    """The identity of `function`, or `None` and the reason, as a clause."""
    module = getattr(function, "__module__", None)
    qualname = getattr(function, "__qualname__", None)
    if not isinstance(module, str) or not isinstance(qualname, str):
        qualname, module = type(function).__qualname__, type(function).__module__
        if namespace is None:
            return None, "it has no name of its own"
    name = f"{module}.{qualname}"
    if namespace is not None:
        name = f"{namespace}/{name}"
        _claim(function, name, namespace, version)
        return name, None
    if "<lambda>" in qualname:
        return None, "it is a lambda"
    if "<" in qualname:
        return None, f"it is defined inside another function ({qualname})"
    if module in ("__main__", "__mp_main__"):
        return None, "it is defined in __main__"
    does = _what_it_does(function)
    if _own.setdefault(name, does) != does:
        return None, f"another function named {name} was decorated before"
    return name, None


def _what_it_does(function: Any) -> object:
    """Equal for two functions of one name that do the same: of a module that was loaded again without a change.

    The code, except where the cells of a closure are a part of it: those may come from another call of the factory.
    """
    code = getattr(function, "__code__", None)
    return function if code is None or function.__closure__ else code


def _claim(function: Any, name: str, namespace: str, version: str | None) -> None:
    """Refuses a name that another lambda has in this namespace: the two would read each other's results."""
    key = (name, version)
    holder = _alive(_given.get(key))
    if holder is not None and _place(holder) != _place(function):
        raise make_error(
            "option_invalid",
            option="namespace",
            value=repr(namespace),
            reason=f"{_described(holder)} has it already, and the two would read each other's results",
        )
    _remember(key, function)


def _place(function: Any) -> tuple[object, ...]:
    """Where a function stands in the source: closures of one factory and a reloaded module stand in one place."""
    code = getattr(function, "__code__", None)
    qualname = getattr(function, "__qualname__", None)
    # Lambdas all have one name, and so their place is their line.
    line = code.co_firstlineno if code is not None and "<lambda>" in str(qualname) else None
    return getattr(function, "__module__", None), qualname or type(function).__qualname__, line


def _described(function: Any) -> str:
    return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__qualname__)}"


def _alive(reference: ref[Any] | None) -> Any:
    return None if reference is None else reference()


def _remember(key: tuple[str, str | None], function: Any) -> None:
    def forget(reference: ref[Any]) -> None:
        if _given.get(key) is reference:
            del _given[key]

    try:
        _given[key] = ref(function, forget)
    except TypeError:
        # Built-in functions of some types take no weak references; nobody redefines those.
        _given.pop(key, None)
