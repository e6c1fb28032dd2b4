"""The option `serializer=` as the extension takes it."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from cachekit.serializers._ours import Codec

NATIVE = "native"
# What the extension does by itself.
_ITS_OWN = (NATIVE, "msgpack")


def chosen(choice: Any) -> Any:
    """The serializer that a name stands for, and any other as it is."""
    if not isinstance(choice, str) or choice in _ITS_OWN:
        return choice
    from cachekit import serializers

    return {
        "arrow": serializers.ArrowSerializer,
        "json": serializers.OrjsonSerializer,
        "pickle": serializers.PickleSerializer,
    }[choice]()


def codec_of(serializer: Any) -> Codec:
    """How the extension calls it. A class that somebody derives from one of ours is theirs, whatever it overrides."""
    if isinstance(serializer, str):
        return serializer
    if type(serializer).__module__.startswith("cachekit.serializers."):
        codec: Codec = serializer.codec
        return codec
    return ("custom", serializer.serialize, serializer.deserialize)
