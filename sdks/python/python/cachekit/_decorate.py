"""From a function and options to a cached function: the one thing that every generated decorator calls.

Everything that can be wrong is said here, at decoration, and not at the first call in production.
"""

from __future__ import annotations

import sys

from cachekit import _native
from cachekit._configuration import UNSET, resolver
from cachekit._identity import identify
from cachekit._keys import conceal, source, tenant_of
from cachekit._options import decide, unwrap
from cachekit._signature import CLASS, NO_RECEIVER, plan_of
from cachekit.exceptions import make_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cachekit.exceptions import CacheKitError

GENERATOR = 0x20
COROUTINE = 0x80
ITERABLE_COROUTINE = 0x100
ASYNC_GENERATOR = 0x200


def decorate(function: Any, preset: str, given: dict[str, Any]) -> Any:
    """`function` cached as `preset` and `given` say; without a function, the decorator that does so."""
    conceal(given)
    sealed = unwrap(given)
    options = decide(preset, given, sealed)
    options["keyring"] = source(options, preset)
    options["tenant"], options["tenant_of_call"] = tenant_of(options.get("tenant"), _innermost)
    _check_plain("key", options.get("key"), "is the key")
    _check_plain("copy", options.get("copy"), "is the copy")
    if not isinstance(options["tenant"], (str, type(None))):
        _check_plain("tenant", options["tenant"], "is the tenant's name")
    if function is not None:
        return _wrap(function, options)
    # Here too, so that the error names the line of the decorator.
    resolver(options.get("backend", UNSET), options["remote"])

    def decorator(function: Any) -> Any:
        return _wrap(function, options)

    return decorator


def _wrap(function: Any, options: dict[str, Any]) -> Any:
    if isinstance(function, classmethod):
        return _cached(function.__func__, options, receiver=CLASS)
    if isinstance(function, staticmethod):
        return staticmethod(_cached(function.__func__, options))
    return _cached(function, options)


def _cached(function: Any, options: dict[str, Any], receiver: int | None = None) -> Any:
    is_async = _check(function)
    settings = {name: value for name, value in options.items() if name not in ("namespace", "remote")}
    version = options.get("version")
    plan = plan_of(function, receiver)
    shared = options.get("shared")
    if shared is None:
        identity, reason = identify(function, options.get("namespace"), version)
    elif plan[-1] == NO_RECEIVER:
        identity, reason = ":".join(shared), None
    else:
        why = "other languages have no such object; cache a function, or a static method, that it calls"
        raise _refused(function, f"it is a method, and interop={shared[1]!r} shares its entries: {why}")
    settings.update(
        is_async=is_async,
        identity=identity,
        identity_reason=reason,
        version=version,
        key=options.get("key"),
        backend=resolver(options.get("backend", UNSET), options["remote"]),
        never_remote=not options["remote"] or options.get("backend", UNSET) is None,
        binds_class=receiver == CLASS,
        annotated=function,
    )
    return _native.CachedFunction(function, plan, settings)


def _check(function: Any) -> bool:
    """Whether `function` is an `async def`; an error if it cannot be cached at all."""
    if not callable(function):
        raise _refused(function, _why_not_callable(function))
    if isinstance(function, type):
        raise _refused(function, "it is a class; decorate a function that makes the instance")
    if isinstance(function, (_native.CachedFunction, _native.BoundCachedFunction)):
        raise _refused(function, "it is cached already; give all options to one decorator")
    inner = _innermost(function)
    if isinstance(inner, (_native.CachedFunction, _native.BoundCachedFunction)):
        return inner.is_async
    code = getattr(inner, "__code__", None)
    flags = code.co_flags if code is not None else 0
    if flags & ASYNC_GENERATOR:
        raise _refused(
            function, "it is an async generator, which can be consumed once; collect it into a list and return that"
        )
    if flags & (GENERATOR | ITERABLE_COROUTINE):
        raise _refused(
            function, "it is a generator, which can be consumed once; collect it into a list and return that"
        )
    return bool(flags & COROUTINE) or _is_marked(inner)


def _check_plain(option: str, function: Any, what: str) -> None:
    """An error if the result of `function` would be something to await or to iterate, another one at each call."""
    code = getattr(_innermost(function), "__code__", None)
    flags = code.co_flags if code is not None else 0
    if flags & (GENERATOR | COROUTINE | ITERABLE_COROUTINE | ASYNC_GENERATOR):
        reason = f"it must be a plain function, since its result {what}"
        raise make_error("option_invalid", option=option, value=repr(function), reason=reason)


def _innermost(function: Any) -> Any:
    """The function whose code runs, below `functools.partial`, bound methods and callable instances."""
    for _ in range(100):
        kind = type(function)
        if kind.__name__ == "function":
            return function
        if kind.__name__ == "method":
            function = function.__func__
        elif kind.__module__ == "functools" and hasattr(function, "func"):
            function = function.func
        else:
            call = getattr(kind, "__call__", None)  # noqa: B004 - the method itself is wanted
            if type(call).__name__ != "function":
                return function
            return call
    return function


def _is_marked(function: Any) -> bool:
    """Whether somebody says that what `function` returns is to be awaited; whoever says so has imported the module."""
    inspect = sys.modules.get("inspect")
    asyncio = sys.modules.get("asyncio")
    if inspect is not None and inspect.iscoroutinefunction(function):
        return True
    # Before 3.12 the mark was asyncio's own.
    return asyncio is not None and sys.version_info < (3, 12) and bool(asyncio.iscoroutinefunction(function))


def _why_not_callable(function: Any) -> str:
    if isinstance(function, property):
        return "it is a property; put the decorator below @property, on the function"
    if type(function).__name__ == "cached_property":
        return "it is a cached_property; use @property above the decorator"
    return "it is not a function; options are given by name: @cache(ttl=60)"


def _refused(function: Any, reason: str) -> CacheKitError:
    module = getattr(function, "__module__", None)
    name = getattr(function, "__qualname__", None)
    described = f"{module}.{name}" if module and name else repr(function)
    return make_error("function_unsupported", function=described, reason=reason)
