"""Switching caching off for a while.

A context variable says where: it follows into tasks, and into threads that run in a copy of the context. What a hit
pays for is a count of the marks that are alive, and a mark lives as long as some context holds it, so a task that
outlives the block in which it was started stays as it was.
"""

from __future__ import annotations

from cachekit import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType


class _Mark:
    __slots__ = ()

    def __init__(self) -> None:
        _native.disabled_add(1)

    # Bound here, since the module's globals may be gone when the last context is.
    def __del__(self, add: object = _native.disabled_add) -> None:
        add(-1)  # type: ignore[operator]


class disabled:  # noqa: N801 - used as a statement: `with cachekit.disabled():`
    """While it is open, cached functions are called straight through and nothing is looked up or stored.

    It covers this thread or task and the tasks that it starts; with `process=True` every thread of the process.
    """

    __slots__ = ("_process", "_tokens")

    def __init__(self, *, process: bool = False) -> None:
        self._process = process
        self._tokens: list[Token[object]] = []

    def __enter__(self) -> None:
        if self._process:
            _native.disabled_process(1)
        else:
            self._tokens.append(_native.DISABLED.set(_Mark()))

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._process:
            _native.disabled_process(-1)
        else:
            _native.DISABLED.reset(self._tokens.pop())
