"""Caching for functions: in this process, and in a Redis that processes share.

    from cachekit import cache

    @cache(ttl=60)
    def area(width: int, height: int) -> int: ...

Importing it opens no connection and starts no thread, and what only some programs need is imported when it is used.
"""

from __future__ import annotations

import sys

if sys.implementation.name != "cpython":
    raise ImportError(f"cachekit needs CPython: its extension does not run on {sys.implementation.name}")

from cachekit import _fork as _fork
from cachekit import _native
from cachekit._configuration import configure
from cachekit._disabled import disabled
from cachekit._native import (
    Backend,
    CachedFunction,
    decode_interop_value,
    encode_interop_value,
    generate_interop_key,
    is_disabled,
    metrics_text,
)
from cachekit._registered import register
from cachekit._spec import SPEC_HASH
from cachekit._warnings import CacheKitWarning
from cachekit.exceptions import (
    BackendError,
    BackendTimeoutError,
    CacheKitError,
    ConfigurationError,
    EnvelopeError,
    InternalError,
    InteropError,
    NotCacheableError,
    TamperedError,
    make_error,
)
from cachekit.presets import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cachekit._native import AsyncCachedFunction, CacheInfo

    __version__: str

if _native.spec_hash != SPEC_HASH:
    raise make_error("spec_mismatch", extension=_native.spec_hash[:12], package=SPEC_HASH[:12])

__all__ = [
    "AsyncCachedFunction",
    "Backend",
    "BackendError",
    "BackendTimeoutError",
    "CacheInfo",
    "CacheKitError",
    "CacheKitWarning",
    "CachedFunction",
    "ConfigurationError",
    "EnvelopeError",
    "InternalError",
    "InteropError",
    "NotCacheableError",
    "TamperedError",
    "cache",
    "configure",
    "decode_interop_value",
    "disabled",
    "encode_interop_value",
    "generate_interop_key",
    "is_disabled",
    "metrics_text",
    "register",
]


def __getattr__(name: str) -> object:
    if name == "AsyncCachedFunction":
        value: object = CachedFunction
    elif name == "CacheInfo":
        # At run time a function that makes the class, when it is first needed.
        make: Any = _native.CacheInfo
        value = make()
    elif name == "__version__":
        from importlib.metadata import version

        value = version("cachekit")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, "__version__"})
