"""Encryption as part of the serializer, for programs that are used to it: the preset `secure` by another way in."""

from __future__ import annotations

from cachekit._keys import conceal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Union

    from cachekit.serializers import Serializer

    Key = Union[str, bytes, Callable[[], object], None]


class EncryptionWrapper:
    """As `serializer=`, has entries sealed as those of `@cache.secure` are, whatever the preset says.

    What is sealed is what `serializer` writes. The other arguments are options of the decorator:
    `master_key`, `tenant`, `fail_closed`, `previous_master_keys`. Without a key it is that of `configure` or
    of the environment. It makes no bytes alone, since a seal binds them to the name of their entry.
    """

    __slots__ = ("options",)

    options: dict[str, Any]

    def __init__(
        self,
        serializer: str | Serializer = "msgpack",
        master_key: Key = None,
        tenant_id: str = "default",
        fail_closed: bool = False,
        previous_master_keys: list[str] | list[bytes] | None = None,
    ) -> None:
        options: dict[str, Any] = {"master_key": master_key, "previous_master_keys": previous_master_keys}
        # Nothing that a traceback shows has them from here on.
        del master_key, previous_master_keys
        conceal(options)
        self.options = {**options, "serializer": serializer, "tenant": tenant_id, "fail_closed": fail_closed}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.options['serializer']!r}, ...)"
