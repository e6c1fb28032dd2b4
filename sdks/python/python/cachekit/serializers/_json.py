"""JSON, by `orjson` where it is installed and else by the standard library.

Both write what the extension has looked through, and which they therefore agree on: `orjson` alone would write NaN as
null and a dataclass as a dict.
"""

from __future__ import annotations

from importlib import import_module

from cachekit.serializers._ours import Ours

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


class OrjsonSerializer(Ours):
    """`serializer="json"`. `option` is of `orjson`, and needs it."""

    __slots__ = ()

    def __init__(self, option: int | None = None, enable_integrity_checking: bool | None = None) -> None:
        super().__init__(("json", *_functions(option)), enable_integrity_checking)


def _functions(option: int | None) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    try:
        orjson: Any = import_module("orjson")
    except ImportError:
        if option is None:
            return _standard()
        raise ImportError("option= is for orjson, which is not installed: pip install 'cachekit[json]'") from None
    if option is None:
        return orjson.dumps, orjson.loads
    return lambda value: orjson.dumps(value, option=option), orjson.loads


def _standard() -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    import json

    encoder = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))
    decoder = json.JSONDecoder(parse_constant=_refuse)
    return lambda value: encoder.encode(value).encode(), lambda data: decoder.decode(data.decode())


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not JSON")
