"""An exception like another one, for a caller who waited for the call that raised it.

Not by `copy.copy`, which calls the class with `args`: those are seldom what an `__init__` of its own takes, so it
fails, or makes a message out of a message. Here the built-in base makes the exception, and its state is copied.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# Of a class that Python code made, in `type.__flags__`.
HEAP_TYPE = 1 << 9


def like(error: BaseException) -> BaseException:
    """Another exception of the same class, text and attributes; `error` itself if its class allows no other."""
    try:
        made = _made(error)
    except Exception:
        made = _copied(error)
    return made if type(made) is type(error) else error


def _made(error: BaseException) -> BaseException:
    kind = type(error)
    base: Any = next(known for known in kind.__mro__ if not known.__flags__ & HEAP_TYPE)
    made: BaseException = base.__new__(kind, *error.args)
    base.__init__(made, *error.args)
    made.__dict__.update(error.__dict__)
    if "__notes__" in made.__dict__:
        # A list, to which each of them may add.
        made.__dict__["__notes__"] = list(made.__dict__["__notes__"])
    for known in kind.__mro__:
        for name, attribute in vars(known).items():
            if type(attribute).__name__ == "member_descriptor" and not name.startswith("__"):
                _copy_member(attribute, error, made)
    return made


def _copy_member(member: Any, error: BaseException, made: BaseException) -> None:
    """Copies what is in no `__dict__`: of `__slots__`, and what a built-in class was given by name."""
    try:
        value = member.__get__(error)
        # An `OSError` whose second file name is set to `None` shows it.
        if value is not None:
            member.__set__(made, value)
    except (AttributeError, TypeError):
        # It has no value, or cannot be set; then the base has set it.
        pass


def _copied(error: BaseException) -> BaseException:
    """Of an extension's class, which makes its objects in a way of its own."""
    from copy import copy

    try:
        return copy(error)
    except Exception:
        return error
