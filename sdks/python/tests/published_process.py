"""What the published package does with the calls and values: run by its own interpreter.

Arguments: the URL of a Redis, a namespace of entries to read, one to write, and a master key if they are encrypted.
Prints JSON: its keys, and what differs from what it should have read.
"""

from __future__ import annotations

import functools
import json
import sys

from cachekit.backends.redis import RedisBackend

import cachekit
from cachekit import cache
from published_cases import CALLS, VALUES, look_up, shown


def decorated(function, namespace, options):
    decorate = cache.secure if "master_key" in options else cache.production
    return decorate(interop="look_up", namespace=namespace, ttl=600, **options)(functools.wraps(look_up)(function))


def main(url: str, read: str, write: str, *master_key: str) -> None:
    options = {"backend": RedisBackend(url)}
    if master_key:
        options["master_key"] = master_key[0]

    def missed(*_, **__):
        raise LookupError("a miss")

    reader = decorated(missed, read, options)
    differences = []
    keys = []
    for (args, kwargs), value in zip(CALLS, VALUES):
        try:
            got = reader(*args, **kwargs)
        except LookupError as error:
            got = error
        if shown(got) != shown(value):
            differences.append([repr(args), repr(got)[:200]])
        writer = decorated(lambda *_, value=value, **__: value, write, options)
        writer(*args, **kwargs)
        keys.append(cachekit.generate_interop_key(write, "look_up", flat(args, kwargs)))
    json.dump({"keys": keys, "differences": differences}, sys.stdout)


def flat(args, kwargs):
    import inspect

    from cachekit.interop import bind_flat_args

    return bind_flat_args(inspect.signature(look_up), args, kwargs)


main(*sys.argv[1:])
