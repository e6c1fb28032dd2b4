"""Which backend and which application name a function uses.

Decided at its first miss and not at its decoration, since `configure` is usually called after the imports; decided
again whenever `configure` was called since.
"""

from __future__ import annotations

import os

from cachekit import _native
from cachekit._keys import configure as configure_keys
from cachekit._options import has_utf8
from cachekit.exceptions import ConfigurationError, make_error

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Union

    from cachekit._native import Backend

    Choice = Union[Backend, str, None]


class Unset:
    """Nothing was said, which is not the same as `None`."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "..."


UNSET = Unset()

# In the order in which they are asked.
URL_VARIABLES = ("CACHEKIT_REDIS_URL", "REDIS_URL")
APPLICATION_VARIABLE = "CACHEKIT_APPLICATION"
DEFAULT_APPLICATION = "default"


class Configuration:
    """What `configure` said, and what a test puts in place of every backend."""

    __slots__ = ("application", "backend", "override")

    def __init__(
        self,
        backend: Backend | Unset | None = UNSET,
        application: str | Unset = UNSET,
        override: Backend | Unset | None = UNSET,
    ) -> None:
        self.backend = backend
        self.application = application
        self.override = override


current = Configuration()
_by_url: dict[str, Backend] = {}


def configure(
    *,
    backend: Choice | Unset = UNSET,
    application: str | Unset = UNSET,
    master_key: str | bytes | Callable[[], object] | Unset = UNSET,
    previous_master_keys: list[str] | list[bytes] | Unset = UNSET,
) -> None:
    """Sets what functions use that were decorated without a `backend` of their own, before and after this call.

    backend: A URL, a `Backend`, or `None` for the in-process tier alone.
    application: First part of every name in the remote tier, so that applications may share one Redis.
    master_key: What the keys that seal and hide entries are derived from: 64 hexadecimal digits or more, 32 bytes, or a
        function that returns either, or a pair of it and a list of previous keys. What runs goes on with the new key.
    previous_master_keys: Keys before it, at most three, which only open what they sealed.
    """
    keys = [None if isinstance(key, Unset) else key for key in (master_key, previous_master_keys)]
    # What is raised from here on must find no key in a frame.
    del master_key, previous_master_keys
    try:
        chosen = backend if isinstance(backend, Unset) else backend_of(backend)
        if not isinstance(application, Unset) and not _is_name(application):
            reason = "must be a str that is not empty and that UTF-8 can encode"
            raise make_error("option_invalid", option="application", value=repr(application), reason=reason)
        if keys != [None, None]:
            configure_keys(keys)
    finally:
        keys.clear()
    if not isinstance(chosen, Unset):
        current.backend = chosen
    if not isinstance(application, Unset):
        current.application = application
    _native.backends_changed()


def _is_name(value: object) -> bool:
    return isinstance(value, str) and value != "" and has_utf8(value)


def replace(configuration: Configuration) -> Configuration:
    """Puts `configuration` in place of the current one, which it returns."""
    global current
    before, current = current, configuration
    _native.backends_changed()
    return before


def backend_of(choice: Choice) -> Backend | None:
    """The backend that `choice` names. One URL is one backend, whose connections its functions share."""
    if choice is None or isinstance(choice, _native.Backend):
        return choice
    if not isinstance(choice, str):
        raise make_error(
            "backend_invalid",
            backend=f"a {type(choice).__name__}",
            reason="a backend is a URL (redis://, unix://, memory://), a cachekit.Backend or None",
        )
    if not has_utf8(choice):
        raise make_error("backend_invalid", backend="a str", reason="it is not text that UTF-8 can encode")
    backend = _by_url.get(choice)
    if backend is None:
        backend = _by_url.setdefault(choice, _native.Backend(choice))
    return backend


def backend_of_environment() -> Backend | None:
    """The backend that the environment names, if it names one."""
    for variable in URL_VARIABLES:
        url = os.environ.get(variable)
        if not url:
            continue
        try:
            return backend_of(url)
        except ConfigurationError as error:
            raise make_error(
                "environment_invalid",
                variable=variable,
                value=error.context.get("backend", "..."),
                reason=error.context.get("reason", "it is not the URL of a backend"),
            ) from None
    return None


def application_name() -> str:
    """First part of every name in the remote tier."""
    if not isinstance(current.application, Unset):
        return current.application
    name = os.environ.get(APPLICATION_VARIABLE) or DEFAULT_APPLICATION
    if not has_utf8(name):
        reason = "it is not text that UTF-8 can encode"
        raise make_error("environment_invalid", variable=APPLICATION_VARIABLE, value=ascii(name), reason=reason)
    return name


def resolver(choice: Choice | Unset, remote: bool) -> Callable[[], tuple[Backend | None, str]]:
    """What the extension asks at a miss: the backend of one function, and the application.

    A wrong URL or name is an error here and now, not at the first call.
    """
    own = choice if isinstance(choice, Unset) else backend_of(choice)
    if remote and isinstance(own, Unset) and isinstance(current.backend, Unset):
        backend_of_environment()
    application_name()

    def resolve() -> tuple[Backend | None, str]:
        if not remote or own is None:
            return None, application_name()
        if not isinstance(current.override, Unset):
            return current.override, application_name()
        if not isinstance(own, Unset):
            return own, application_name()
        if not isinstance(current.backend, Unset):
            return current.backend, application_name()
        return backend_of_environment(), application_name()

    return resolve
