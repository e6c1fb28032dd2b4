"""Envelopes of other cachekit SDKs: the published vectors, and what packages of others make and read."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cachekit import _native
from cachekit.exceptions import EnvelopeError, TamperedError

Entries: Any = _native._Entries

msgpack = pytest.importorskip("msgpack")

PUBLISHED = Path(__file__).parents[3] / "tests/published"
WIRE = json.loads((PUBLISHED / "wire-format.json").read_text())
SEALED = json.loads((PUBLISHED / "encryption.json").read_text())
MASTER = bytes.fromhex(SEALED["master_key_hex"])
KEY = b"users:get_user:00"
HEAD = (0, None, False, 0, [])


def entries(format: str, *keys: bytes) -> Any:
    return Entries(format, serializer="msgpack", keys=list(keys))


def associated(tenant: str, key: str) -> bytes:
    """Version 3 of the associated data, of a document that is not compressed."""
    parts = [part.encode() for part in (tenant, key, "msgpack", "False")]
    return b"\3" + b"".join(struct.pack(">I", len(part)) + part for part in parts)


def cipher(tenant: str) -> Any:
    pytest.importorskip("cryptography")
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    domain, name = b"encryption", tenant.encode()
    salt = b"cachekit_v1_" + bytes([len(domain)]) + domain + struct.pack(">H", len(name)) + name
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=salt, info=domain).derive(MASTER))


@pytest.mark.parametrize("vector", WIRE["vectors"], ids=lambda vector: vector["name"])
def test_the_published_envelopes(vector: dict[str, Any]) -> None:
    stored, payload = bytes.fromhex(vector["envelope_hex"]), bytes.fromhex(vector["input_hex"])
    assert entries("bytestorage").open(KEY, stored) == (HEAD, payload)
    if vector.get("envelope_encoding") == "bin":
        assert entries("bytestorage").wrap(KEY, HEAD, payload) == stored


@given(payload=st.binary() | st.binary(min_size=1, max_size=8).map(lambda part: part * 500))
def test_envelopes_go_through_other_packages(payload: bytes) -> None:
    block = pytest.importorskip("lz4.block")
    xxhash = pytest.importorskip("xxhash")
    checksum = list(xxhash.xxh3_64_digest(payload))
    packed = block.compress(payload, store_size=False)
    theirs = msgpack.packb([packed, checksum, len(payload), "msgpack"])
    assert entries("bytestorage").open(KEY, theirs) == (HEAD, payload)
    packed, found, size, format = msgpack.unpackb(entries("bytestorage").wrap(KEY, HEAD, payload))
    assert block.decompress(packed, uncompressed_size=size) == payload
    assert (found, size, format) == (checksum, len(payload), "msgpack")


@pytest.mark.parametrize("vector", SEALED["vectors"], ids=lambda vector: vector["name"])
def test_the_published_seals(vector: dict[str, Any]) -> None:
    tenant, key = SEALED["tenant_id"], vector["cache_key"]
    assert associated(tenant, key).hex() == vector["aad_hex"], "the checker itself"
    opened = entries("interop_sealed", MASTER).open(key.encode(), bytes.fromhex(vector["ciphertext_hex"]), tenant)
    assert opened == (HEAD, bytes.fromhex(vector["plaintext_hex"]))


@given(payload=st.binary(), tenant=st.text(max_size=20))
def test_seals_go_through_another_package(payload: bytes, tenant: str) -> None:
    aead, aad = cipher(tenant), associated(tenant, KEY.decode())
    nonce = os.urandom(12)
    theirs = nonce + aead.encrypt(nonce, payload, aad)
    sealed = entries("interop_sealed", MASTER)
    assert sealed.open(KEY, theirs, tenant) == (HEAD, payload)
    ours = sealed.wrap(KEY, HEAD, payload, tenant)
    assert aead.decrypt(ours[:12], ours[12:], aad) == payload


def test_what_was_moved_or_changed_is_tampering() -> None:
    sealed = entries("interop_sealed", MASTER)
    ours = sealed.wrap(KEY, HEAD, b"\xa2hi", "a")
    for key, stored, tenant in [
        (b"users:get_user:01", ours, "a"),
        (KEY, ours, "b"),
        *((KEY, bytes([*ours[:at], ours[at] ^ 1, *ours[at + 1 :]]), "a") for at in range(len(ours))),
    ]:
        with pytest.raises(TamperedError):
            sealed.open(key, stored, tenant)
    for end in range(28):
        with pytest.raises(EnvelopeError):
            sealed.open(KEY, ours[:end], "a")


def test_a_document_is_stored_as_it_is() -> None:
    entry = entries("interop")
    assert entry.wrap(KEY, HEAD, b"\xa2hi") == b"\xa2hi"
    assert entry.open(KEY, b"\xa2hi") == (HEAD, b"\xa2hi")
