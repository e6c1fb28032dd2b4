"""What it takes to store and to load a value, beside what else makes bytes of one: a row of the table is a `Work`."""

from __future__ import annotations

import gc
import random
import re
import threading
import time
from collections.abc import Callable, Iterator
from statistics import median, quantiles
from typing import Any

from bench import frames
from bench.measure import Call, Contender, interleave, measured
from bench.work import CACHEKIT, PICKLE, Contenders, Work, call

NAME = "values"
"""How files of results begin."""
PACKAGES = ("lz4", "msgpack", "msgspec", "pandas", "polars", "pyarrow", "xxhash")
"""What it is compared with."""
MSGSPEC = "msgspec msgpack"
MSGPACK = "msgpack"
COPY = "memcpy and XXH3"

TEN = {
    "id": 4711, "name": "Ada Lovelace", "mail": "ada@example.org", "active": True, "score": 0.75, "city": "London", "note": None,
    "count": 10**6, "about": "mathematician", "state": "new",
}  # fmt: skip


def orders(count: int) -> list[dict[str, Any]]:
    """Rows as an interface gives them, each with a list and a dict in it."""
    return [
        {
            "number": 100_000 + n,
            "article": f"article {n % 97}",
            "price": n * 1.25,
            "paid": n % 3 == 0,
            "tags": ["new", "sale"],
            "buyer": {"id": n * 7919 % 10_007, "city": "Zürich" if n % 5 == 0 else "London"},
        }
        for n in range(count)
    ]


KILOBYTE = {
    "user": TEN,
    "orders": orders(6),
    "limits": {"daily": 100, "kinds": {"read": [1, 2, 3], "write": [4, 5, 6]}},
}
HUNDRED = orders(730)
MEGABYTE = 1 << 20
NOISE = random.Random(4711).randbytes(MEGABYTE)
TEXT = " ".join(random.Random(4711).choices([f"word{n}" for n in range(2000)], k=MEGABYTE // 8)).encode()
OVERHEAD = {"plain": 40, "sealed": 96}
"""By format, how many bytes an entry takes beside its value, at most."""
SEAL = 1.3
"""How much longer it takes to seal and open an entry of a kilobyte than its cipher, keys and random bytes do, at most."""
OVERLAP = 1.7
"""How much more two threads do than one, at least."""
BESIDE = 2.0
"""How much longer it takes beside a thread that computes, at most: without a share of its own core."""


def _native(value: Any, decode: bool) -> Call:
    from cachekit import _native

    return call(_native._decode, _native._encode(value)) if decode else call(_native._encode, value)


def _msgspec(value: Any, decode: bool) -> Call:
    import msgspec

    encode = msgspec.msgpack.Encoder().encode
    return call(msgspec.msgpack.Decoder().decode, encode(value)) if decode else call(encode, value)


def _msgpack(value: Any, decode: bool) -> Call:
    import msgpack

    return call(msgpack.unpackb, msgpack.packb(value)) if decode else call(msgpack.packb, value)


def _pickle(value: Any, decode: bool) -> Call:
    import pickle

    if decode:
        return call(pickle.loads, pickle.dumps(value, 5))
    return Call("f(x, 5)", {"f": pickle.dumps, "x": value})


def codecs(value: Any, decode: bool) -> Callable[[], Contenders]:
    """The native encoding beside others."""

    def contenders() -> Contenders:
        yield CACHEKIT, "the native encoding", lambda: _native(value, decode)
        yield MSGSPEC, "one Encoder, one Decoder", lambda: _msgspec(value, decode)
        yield MSGPACK, "packb, unpackb", lambda: _msgpack(value, decode)
        yield PICKLE, "dumps(value, 5), loads", lambda: _pickle(value, decode)

    return contenders


def _entries(format: str, value: Any, load: bool) -> Call:
    from cachekit import _native

    entries = _native._Entries(format)
    return call(entries.load, entries.store(value)) if load else call(entries.store, value)


def _copied(value: bytes) -> Call:
    from xxhash import xxh3_64_intdigest

    return Call("f(bytes(x))", {"f": xxh3_64_intdigest, "bytes": bytes, "x": memoryview(value)})


def entries(value: bytes, load: bool) -> Callable[[], Contenders]:
    """Whole entries beside a copy of the bytes and its digest, which is the least that they need."""

    def contenders() -> Contenders:
        yield CACHEKIT, "format packed", lambda: _entries("packed", value, load)
        yield COPY, "xxh3_64_intdigest(bytes(view))", lambda: _copied(value)

    return contenders


def _works() -> Iterator[Work]:
    for name, title, value, goals in (
        ("dict", "a dict of ten", TEN, (1.1, 1.1)),
        ("kilobyte", "1 KB of nested JSON", KILOBYTE, (1.1, 1.1)),
        ("hundred", "100 KB of dicts and lists", HUNDRED, (None, 1.0)),
    ):
        yield Work(f"encode-{name}", f"encode {title}", MSGSPEC, goals[0], codecs(value, False))
        yield Work(f"decode-{name}", f"decode {title}", MSGSPEC, goals[1], codecs(value, True))
    title = "1 MB of bytes that do not shrink, packed"
    yield Work("store-bytes", f"store {title}", COPY, 3, entries(NOISE, False))
    yield Work("load-bytes", f"load {title}", COPY, 3, entries(NOISE, True))
    yield from frames.works()


WORKS = {work.name: work for work in _works()}


def run(name: str, rounds: int, seconds: float) -> dict[str, Any]:
    """What each took in this process, and why some took no part."""
    found, failed = [], {}
    for contender, settings, make in WORKS[name].contenders():
        try:
            found.append(Contender(contender, settings, make()))
        except ImportError:
            failed[contender] = "not installed"
    failed.update(interleave(found, rounds, seconds))
    return {"measured": measured(found), "failed": failed}


def overheads() -> dict[str, int]:
    """By format, how many bytes the entry of a small dict takes beside it."""
    from cachekit import _native

    payload = _native._encode({"x": 5})
    # A value that took 1.5 ms just now and lives for an hour, of a function that was never cleared.
    head = (time.time_ns() // 1_000_000, 3_600_000, False, 1500, [])
    return {
        name: len(_native._Entries(name, keys=[bytes(32)]).wrap(b"", head, payload)) - len(payload) for name in OVERHEAD
    }


def sealed(printed: str) -> dict[str, float]:
    """What some runs of `cargo bench --bench seal` printed of a kilobyte: the median of their ratios."""
    found = re.findall(r" 1024 bytes: .* ratio ([\d.]+), median ([\d.]+)", printed)
    minima, medians = zip(*((float(one), float(other)) for one, other in found))
    return {"runs": len(found), "ratio_of_minima": median(minima), "ratio_of_medians": median(medians)}


def _store(count: int, barrier: threading.Barrier, spans: list[tuple[int, int]], value: bytes) -> None:
    from cachekit import _native

    store = _native._Entries("packed").store
    barrier.wait()
    start = time.perf_counter_ns()
    for _ in range(count):
        store(value)
    spans.append((start, time.perf_counter_ns()))


def _rate(threads: int, count: int) -> float:
    """Values stored a second by so many threads at once."""
    spans: list[tuple[int, int]] = []
    barrier = threading.Barrier(threads)
    workers = [threading.Thread(target=_store, args=(count, barrier, spans, TEXT)) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return threads * count / (max(end for _, end in spans) - min(start for start, _ in spans)) * 1e9


def _each(count: int) -> list[float]:
    """Microseconds of each of so many values of 10 KB."""
    from cachekit import _native

    store, value, clock = _native._Entries("packed").store, TEXT[:10_240], time.perf_counter_ns
    taken = []
    for _ in range(count):
        start = clock()
        store(value)
        taken.append((clock() - start) / 1000)
    return taken


def _beside(count: int) -> list[float]:
    """The same, beside a thread that never stops computing."""
    over = False

    def compute() -> None:
        while not over:
            pass

    other = threading.Thread(target=compute)
    other.start()
    try:
        return _each(count)
    finally:
        over = True
        other.join()


def threads(rounds: int, quick: bool) -> dict[str, Any]:
    """What two threads do at once, and what one does beside another that computes."""
    _rate(2, 2)
    gc.collect()
    gc.disable()
    rates: dict[int, list[float]] = {1: [], 2: []}
    alone: list[float] = []
    beside: list[float] = []
    turns, count = (1, 40) if quick else (40, 400)
    for _ in range(rounds):
        # Short turns, and many of them: in some nobody else wants the other core.
        for _ in range(turns):
            for number, found in rates.items():
                found.append(_rate(number, 3))
        alone += _each(count)
        beside += _beside(count)
    gc.enable()
    one, two = [(max(found), median(found)) for found in rates.values()]
    return {
        "one": [round(each, 1) for each in one],
        "two": [round(each, 1) for each in two],
        "ratio_of_best": round(two[0] / one[0], 3),
        "ratio_of_medians": round(two[1] / one[1], 3),
        "alone": [round(each, 2) for each in (median(alone), quantiles(alone, n=10)[-1])],
        "beside": [round(each, 2) for each in (median(beside), quantiles(beside, n=10)[-1])],
        "ratio_beside": round(median(beside) / median(alone), 3),
    }
