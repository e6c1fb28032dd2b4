"""How values become bytes: what the option `serializer=` takes besides a name.

Each class here stands for one of the names, for those who want to say more, and works by itself as well. Anything else
with the two methods of `Serializer` serves too.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from cachekit.serializers._arrow import ArrowSerializer
from cachekit.serializers._encryption import EncryptionWrapper
from cachekit.serializers._json import OrjsonSerializer
from cachekit.serializers._ours import AutoSerializer, DefaultSerializer, StandardSerializer
from cachekit.serializers._pickle import PickleSerializer

__all__ = [
    "ArrowSerializer",
    "AutoSerializer",
    "DefaultSerializer",
    "EncryptionWrapper",
    "OrjsonSerializer",
    "PickleSerializer",
    "Serializer",
    "StandardSerializer",
]


@runtime_checkable
class Serializer(Protocol):
    """Values to bytes and back.

    What it raises when it writes is a value that cannot be stored, and when it reads a miss.
    """

    def serialize(self, value: Any, /) -> bytes:
        """The bytes of `value`."""
        ...

    def deserialize(self, data: bytes, /) -> Any:
        """The value of `data`, which `serialize` made."""
        ...
