"""The formats of the published protocol: the vectors of an independent encoder, read and written through the extension."""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from cachekit import _native
from cachekit.exceptions import CacheKitError

VECTORS = Path(__file__).parents[3] / "tests" / "vectors" / "published.json"
Entries: Any = _native._Entries
HEAD = (0, None, False, 0, [])

# What a reader of each format may say of an entry; the vectors have each of these.
CODES = {
    "bytestorage": {"envelope_malformed", "envelope_checksum", "envelope_foreign"},
    "interop": {"envelope_malformed"},
    "interop_sealed": {"envelope_malformed", "envelope_tampered"},
}

pytestmark = pytest.mark.skipif(not VECTORS.exists(), reason="the vectors are not part of a source distribution")


def groups() -> list[dict[str, Any]]:
    if not VECTORS.exists():
        return []
    found: list[dict[str, Any]] = json.loads(VECTORS.read_text())["testGroups"]
    return found


def entries(group: dict[str, Any]) -> Any:
    name = group["serializer"]
    # Values are not looked at, so a serializer of Python objects needs no functions.
    serializer = name if name in ("msgpack", "native") else (name, None, None)
    masters = [group["masterKey"], *group["previousMasterKeys"]] if "masterKey" in group else []
    keys = [bytes.fromhex(key) for key in masters]
    return Entries(group["format"], group["maxValueBytes"], serializer=serializer, keys=keys)


@pytest.mark.parametrize("group", groups(), ids=lambda group: f"{group['format']}-{group['serializer']}")
def test_published_entries_open_or_are_refused_as_the_vectors_say(group: dict[str, Any]) -> None:
    reader = entries(group)
    for row in group["tests"]:
        case = f"{group['format']} {row['tcId']}: {row['comment']}"
        key, stored, tenant = bytes.fromhex(row["key"]), bytes.fromhex(row["stored"]), row["tenant"]
        if row["result"] == "invalid":
            with pytest.raises(CacheKitError) as raised:
                reader.open(key, stored, tenant)
            assert raised.value.code == row["error"], f"{case}: {raised.value}"
            continue
        payload = bytes.fromhex(row["payload"])
        assert reader.open(key, stored, tenant) == (HEAD, payload), case
        if "Canonical" in row["flags"]:
            assert reader.wrap(key, HEAD, payload, tenant) == stored, case
        elif "Written" in row["flags"]:
            assert reader.open(key, reader.wrap(key, HEAD, payload, tenant), tenant) == (HEAD, payload), case


def test_every_format_is_refused_for_every_reason() -> None:
    found = defaultdict(set)
    for group in groups():
        found[group["format"]].update(row["error"] for row in group["tests"] if row["result"] == "invalid")
    assert found == CODES
