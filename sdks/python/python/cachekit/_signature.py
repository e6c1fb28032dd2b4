"""A function's parameters as the extension binds calls to them.

Read from the code object, since `inspect` takes longer to import than all of cachekit; it is asked only about what has
no code object of its own.
"""

from __future__ import annotations

from cachekit._native import MISSING

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, FunctionType
    from typing import Any

    Plan = tuple[tuple[str, ...], int, int, int, bool, bool, tuple[object, ...], int]

VAR_POSITIONAL = 0x04
VAR_KEYWORD = 0x08

# What the first argument is.
NO_RECEIVER = 0
INSTANCE = 1
CLASS = 2


def plan_of(function: Any, receiver: int | None = None) -> Plan:
    """Names in declared order, how many of each kind, defaults aligned with the names, and what the first argument is.

    The names are those of `*args` and `**kwargs` too; the second count of positional parameters includes the
    positional-only ones.
    """
    function = _under_wrappers(function)
    if type(function).__name__ == "function" and "__signature__" not in function.__dict__:
        return _from_code(function, receiver)
    return _from_inspect(function, receiver)


def _under_wrappers(function: Any) -> Any:
    """What `functools.wraps` says that a wrapper looks like, where the wrapper itself takes anything."""
    seen = set()
    while (
        type(function).__name__ == "function"
        and id(function) not in seen
        and callable(getattr(function, "__wrapped__", None))
        and _takes_anything(function.__code__)
    ):
        seen.add(id(function))
        function = function.__wrapped__
    return function


def _takes_anything(code: CodeType) -> bool:
    both = VAR_POSITIONAL | VAR_KEYWORD
    return code.co_argcount == 0 and code.co_kwonlyargcount == 0 and code.co_flags & both == both


def _from_code(function: FunctionType, receiver: int | None) -> Plan:
    code = function.__code__
    positional = code.co_argcount
    kwonly = code.co_kwonlyargcount
    names = list(code.co_varnames[:positional])
    defaults: list[object] = [MISSING] * positional
    given = function.__defaults__ or ()
    if given:
        defaults[positional - len(given) :] = given
    keyword_names = code.co_varnames[positional : positional + kwonly]
    keyword_defaults = function.__kwdefaults__ or {}
    after = positional + kwonly
    var_positional = bool(code.co_flags & VAR_POSITIONAL)
    var_keyword = bool(code.co_flags & VAR_KEYWORD)
    if var_positional:
        names.append(code.co_varnames[after])
        defaults.append(MISSING)
        after += 1
    names.extend(keyword_names)
    defaults.extend(keyword_defaults.get(name, MISSING) for name in keyword_names)
    if var_keyword:
        names.append(code.co_varnames[after])
        defaults.append(MISSING)
    if receiver is None:
        receiver = _receiver_of(function, names[0] if positional else None)
    return (
        tuple(names),
        code.co_posonlyargcount,
        positional,
        kwonly,
        var_positional,
        var_keyword,
        tuple(defaults),
        receiver,
    )


def _from_inspect(function: Any, receiver: int | None) -> Plan:
    from inspect import Parameter, signature

    try:
        parameters = list(signature(function).parameters.values())
    except ValueError:
        # Some built-in functions do not say what they take.
        return ("args", "kwargs"), 0, 0, 0, True, True, (MISSING, MISSING), NO_RECEIVER
    kinds = [parameter.kind for parameter in parameters]
    posonly = kinds.count(Parameter.POSITIONAL_ONLY)
    return (
        tuple(parameter.name for parameter in parameters),
        posonly,
        posonly + kinds.count(Parameter.POSITIONAL_OR_KEYWORD),
        kinds.count(Parameter.KEYWORD_ONLY),
        Parameter.VAR_POSITIONAL in kinds,
        Parameter.VAR_KEYWORD in kinds,
        tuple(MISSING if parameter.default is Parameter.empty else parameter.default for parameter in parameters),
        NO_RECEIVER if receiver is None else receiver,
    )


def _receiver_of(function: FunctionType, first: str | None) -> int:
    """Told by the names, since a decorator in a class body sees functions and not methods."""
    outer, _, _ = function.__qualname__.rpartition(".")
    if not outer or outer.endswith("<locals>"):
        return NO_RECEIVER
    if first == "self":
        return INSTANCE
    if first in ("cls", "mcs", "metacls"):
        return CLASS
    return NO_RECEIVER
