"""Entries go from us to the published `cachekit` package and back, through a real Redis, plain and encrypted.

It has the name of ours, so it lives in an environment of its own, whose interpreter `CACHEKIT_PUBLISHED` names.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from cachekit import Backend, cache, encode_interop_value
from published_cases import CALLS, VALUES, look_up, shown
from support import RedisServer, environment

PUBLISHED = os.environ.get("CACHEKIT_PUBLISHED")
KEY = "6b" * 32

pytestmark = pytest.mark.skipif(PUBLISHED is None, reason="CACHEKIT_PUBLISHED names no interpreter with the package")


def decorated(function: Any, namespace: str, options: dict[str, Any]) -> Any:
    decorate = cache.secure if "master_key" in options else cache.production
    wrapped = functools.wraps(look_up)(lambda *args, **kwargs: function(*args, **kwargs))
    return decorate(interop="look_up", namespace=namespace, ttl=600, **options)(wrapped)


def missed(*_: object, **__: object) -> object:
    raise LookupError("a miss")


@pytest.mark.parametrize("master_key", [None, KEY], ids=["plain", "encrypted"])
def test_each_reads_what_the_other_wrote(redis: RedisServer, master_key: str | None) -> None:
    options: dict[str, Any] = {"backend": Backend(redis.url)}
    if master_key:
        options["master_key"] = master_key
    ours = []
    for (args, kwargs), value in zip(CALLS, VALUES):
        writer = decorated(lambda *_, value=value, **__: value, "ours", options)
        assert repr(writer(*args, **kwargs)) == repr(value)
        ours.append(writer.cache_key(*args, **kwargs))
    assert redis.keys() == sorted(ours), "one key for each call, and nothing besides"

    assert PUBLISHED is not None
    theirs = subprocess.run(
        [PUBLISHED, str(Path(__file__).with_name("published_process.py")), redis.url, "ours", "theirs"]
        + ([master_key] if master_key else []),
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(),
    )
    assert theirs.returncode == 0, theirs.stderr
    told = json.loads(theirs.stdout)
    assert told["differences"] == []
    assert told["keys"] == [key.replace("ours:", "theirs:", 1) for key in ours]
    assert set(told["keys"]) <= set(redis.keys())

    for (args, kwargs), value, key in zip(CALLS, VALUES, told["keys"]):
        reader = decorated(missed, "theirs", options)
        assert shown(reader(*args, **kwargs)) == shown(value)
        stored = redis.command("GET", key)
        document = encode_interop_value(value)
        assert stored == document if master_key is None else len(stored) == 12 + len(document) + 16
