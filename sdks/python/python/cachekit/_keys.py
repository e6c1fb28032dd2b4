"""Where master keys come from, and the keyrings that are made of them.

A key is handed to the extension at once, which keeps it where it is wiped; from then on no object here has it. So
neither the settings of a function nor the frames of a traceback show one.
"""

from __future__ import annotations

import os
import sys

from cachekit import _native
from cachekit.exceptions import ConfigurationError, make_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable

    from cachekit._native import Keyring
    from cachekit.exceptions import CacheKitError

OPTIONS = ("master_key", "previous_master_keys")

MASTER_KEY_VARIABLE = "CACHEKIT_MASTER_KEY"
PREVIOUS_MASTER_KEYS_VARIABLE = "CACHEKIT_PREVIOUS_MASTER_KEYS"

ALONE = "they are nothing without the current one; give master_key too"

# The keyring of every function that was given none of its own.
_shared: Keyring | None = None


class Keys:
    """The keyring of one function, where its decorator gave keys."""

    __slots__ = ("_ask", "_ring")

    def __init__(self, ring: Keyring | None, ask: Callable[[], object] | None = None) -> None:
        self._ring = ring
        self._ask = ask

    def __call__(self) -> Keyring:
        """The keyring. A function that gives keys is asked at the first call, and again after each `configure`."""
        if self._ask is not None:
            self._ring = _made_of([self._ask()], self._ring)
        assert self._ring is not None
        return self._ring

    def __repr__(self) -> str:
        return "..."

    def __reduce__(self) -> str:
        raise TypeError("keys cannot be pickled")


def conceal(given: dict[str, Any]) -> None:
    """Puts a keyring in place of the keys in the options that a caller gave."""
    if all(given.get(name) is None for name in OPTIONS):
        for name in OPTIONS:
            given.pop(name, None)
        return
    # Taken out first: what is raised from here on must find no key in a frame.
    taken = [given.pop("master_key", None), given.pop("previous_master_keys", None)]
    try:
        given["master_key"] = _keys(taken)
    finally:
        taken.clear()


def _keys(taken: list[Any]) -> Keys:
    if taken[0] is None:
        raise _refused("previous_master_keys", ALONE)
    if callable(taken[0]):
        if taken[1] is not None:
            reason = (
                "a function that gives the master key gives the ones before it too: a pair of it and a list of them"
            )
            raise _refused("previous_master_keys", reason)
        return Keys(None, taken[0])
    return Keys(_made_of(taken, None))


def configure(taken: list[Any]) -> None:
    """Sets the keys of every function that was given none of its own. What runs goes on with the new ones."""
    global _shared
    try:
        if taken[0] is None:
            raise _refused("previous_master_keys", ALONE)
        if callable(taken[0]):
            taken[0] = taken[0]()
        _shared = _made_of(taken, _shared)
    finally:
        taken.clear()


def shared() -> Keyring | None:
    """The keyring that `configure` or the environment gave, if either did."""
    global _shared
    if _shared is None and os.environ.get(MASTER_KEY_VARIABLE):
        previous = os.environ.get(PREVIOUS_MASTER_KEYS_VARIABLE, "")
        taken = [os.environ[MASTER_KEY_VARIABLE].strip(), [key.strip() for key in previous.split(",") if key.strip()]]
        del previous
        try:
            _shared = _made_of(taken, None)
        except ConfigurationError as error:
            reason = error.context.get("reason", "it is no key")
            variables = f"{MASTER_KEY_VARIABLE}, {PREVIOUS_MASTER_KEYS_VARIABLE}"
            raise make_error("environment_invalid", variable=variables, value="...", reason=reason) from None
        finally:
            taken.clear()
    return _shared


def ask_shared() -> Keyring:
    """The same, for the extension, which asks again after each change."""
    ring = shared()
    if ring is None:
        raise make_error("key_missing", what="a function that seals or hides its entries")
    return ring


def source(options: dict[str, Any], preset: str) -> Callable[[], Keyring] | None:
    """What gives a function its keyring; `None` where it needs none. Without any key it is an error."""
    keys = options.pop("master_key", None)
    seals = options["envelope"] in ("sealed", "interop_sealed")
    if not seals and not options["hide_keys"]:
        if keys is not None:
            reason = f"the preset {preset} seals no entries; take the preset secure, or give hide_keys=True"
            raise make_error("option_invalid", option="master_key", value="...", reason=reason)
        return None
    if keys is not None:
        return keys  # type: ignore[no-any-return]
    if shared() is None:
        what = f"the preset {preset}" if seals else "hide_keys=True"
        raise make_error("key_missing", what=what)
    return ask_shared


def _made_of(taken: list[Any], ring: Keyring | None) -> Keyring:
    """A keyring of the current key and previous ones, or of a pair of them; `ring`, if it is one, with other keys."""
    try:
        if isinstance(taken[0], tuple) and len(taken[0]) == 2:
            taken[:] = taken[0]
        if not isinstance(taken[0], (str, bytes, bytearray)):
            raise _refused(
                "master_key", "must be a str of hexadecimal digits, 32 bytes, or a function that returns either"
            )
        if len(taken) < 2 or taken[1] is None:
            taken[1:] = [[]]
        if not isinstance(taken[1], (list, tuple)):
            raise _refused("previous_master_keys", "must be a list of keys")
        if ring is None:
            return _native.Keyring(taken[0], taken[1])
        ring.rotate(taken[0], taken[1])
        return ring
    finally:
        taken.clear()


def _refused(option: str, reason: str) -> CacheKitError:
    return make_error("option_invalid", option=option, value="...", reason=reason)


def tenant_of(given: Any, innermost: Callable[[Any], Any]) -> tuple[Any, bool]:
    """Whose entries: a name or a function that says it, and whether that takes the arguments of the call."""
    if given is None or isinstance(given, str):
        return given, False
    contextvars = sys.modules.get("contextvars") or sys.modules.get("_contextvars")
    if contextvars is not None and isinstance(given, contextvars.ContextVar):
        return _in_context(given), False
    code = getattr(innermost(given), "__code__", None)
    if code is None:
        return given, False
    bound = 1 if innermost(given) is not given and code.co_argcount else 0
    takes = code.co_argcount + code.co_kwonlyargcount - bound > 0 or bool(code.co_flags & 0x0C)
    return given, takes


def _in_context(variable: Any) -> Callable[[], object]:
    def tenant() -> object:
        try:
            return variable.get()
        except LookupError:
            reason = (
                f"the context variable {variable.name} has no value here; set it before the call, or give it a default"
            )
            raise make_error("option_invalid", option="tenant", value="...", reason=reason) from None

    return tenant
