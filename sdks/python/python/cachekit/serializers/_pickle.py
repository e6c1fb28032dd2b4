"""Pickle, which runs what it reads: only where nobody else can have written that."""

from __future__ import annotations

import pickle

from cachekit.serializers._ours import Ours


class PickleSerializer(Ours):
    """`serializer="pickle"`."""

    __slots__ = ()

    def __init__(self, enable_integrity_checking: bool | None = None) -> None:
        super().__init__(("pickle", _dumps, pickle.loads), enable_integrity_checking)


def _dumps(value: object) -> bytes:
    return pickle.dumps(value, protocol=5)
