"""The serializers that the extension has: the native encoding, and plain MessagePack."""

from __future__ import annotations

from cachekit import _native

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Union

    # As the extension takes it: a name of its own, or a name of the envelope's and two functions.
    Codec = Union[str, tuple[str, Callable[[Any], Any], Callable[[Any], Any]]]


class Ours:
    """What our serializers have in common."""

    __slots__ = ("codec", "integrity")

    codec: Codec
    integrity: bool | None

    def __init__(self, codec: Codec, integrity: bool | None) -> None:
        self.codec = codec
        self.integrity = integrity

    def serialize(self, value: Any, /) -> bytes:
        """The bytes of `value`. A `NotCacheableError` names the part of it that has none."""
        return _native.serialize(self.codec, value)

    def deserialize(self, data: bytes, /) -> Any:
        """The value of `data`. An `EnvelopeError` if it is none."""
        return _native.deserialize(self.codec, data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class DefaultSerializer(Ours):
    """`serializer="native"`: what comes back has the types that went in."""

    __slots__ = ()

    def __init__(self, enable_integrity_checking: bool | None = None) -> None:
        super().__init__("native", enable_integrity_checking)


class AutoSerializer(DefaultSerializer):
    """The same by another name."""

    __slots__ = ()


class StandardSerializer(Ours):
    """`serializer="msgpack"`: what other languages read too."""

    __slots__ = ()

    def __init__(self, enable_integrity_checking: bool | None = None) -> None:
        super().__init__("msgpack", enable_integrity_checking)
