"""Classes that any function may store.

In a module of their own, so that naming one imports nothing else.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeVar

    T = TypeVar("T", bound=type[Any])

classes: dict[type, None] = {}
# Grows with them.
version = 0


def register(cls: T) -> T:
    """Lets every cached function store objects of `cls`, and make them again from what was stored. Returns `cls`.

        @cachekit.register
        @dataclass
        class User: ...

    An Enum, a dataclass, a named tuple, an attrs class, a Struct of msgspec or a pydantic model.
    """
    global version
    given: Any = cls
    reason = why_not(given) if isinstance(given, type) else "it is no class"
    if reason:
        from cachekit.exceptions import make_error

        shown = getattr(cls, "__qualname__", repr(cls))
        raise make_error("option_invalid", option="register", value=shown, reason=reason)
    # A module or a cell that runs again defines its classes again.
    for known in [known for known in classes if _name_of(known) == _name_of(cls)]:
        del classes[known]
    classes[cls] = None
    version += 1
    return cls


def _name_of(cls: type) -> tuple[str, str]:
    return cls.__module__, cls.__qualname__


def why_not(cls: type) -> str:
    """Why objects of `cls` cannot be made from what was stored; nothing if they can."""
    from cachekit._classes import describe
    from cachekit._contents import content_of

    reason = describe(cls)
    if not isinstance(reason, str) or content_of(cls) is not None:
        return ""
    return reason or (
        "its objects cannot be made of their fields; it takes an Enum, a dataclass, a named tuple, an attrs class, a "
        "Struct of msgspec or a pydantic model, and none that merely derives from one"
    )
