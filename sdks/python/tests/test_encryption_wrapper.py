"""Entries that are sealed by way of the option `serializer=`."""

from __future__ import annotations

from typing import Any

import pytest

from cachekit import ConfigurationError, _native, cache
from cachekit.serializers import EncryptionWrapper, OrjsonSerializer
from support import RedisServer
from test_serializers import Money, MoneySerializer, money

KEY = "00112233445566778899aabbccddeeff" * 2
MAGIC_OF_SEALED = b"\xc4\x4b\x04"


@pytest.mark.parametrize("preset", ["production", "minimal", "secure", "test"])
@pytest.mark.parametrize("inner", ["msgpack", "pickle", OrjsonSerializer(), MoneySerializer()])
def test_a_wrapper_seals_whatever_the_preset(redis: RedisServer, preset: str, inner: Any) -> None:
    value = Money(1234567) if isinstance(inner, MoneySerializer) else {"plain": [1234567]}
    wrapper = EncryptionWrapper(inner, master_key=KEY)

    @getattr(cache, preset)(namespace="wrapped", backend=redis.unix_url, serializer=wrapper)
    def function() -> Any:
        return value

    for _ in range(2):
        assert function() == function() == value
        _native.clear_all()
    assert (function() == value, function.cache_info().l2_hits) == (True, 1)
    stored = redis.command("GET", redis.entries()[0])
    assert stored.startswith(MAGIC_OF_SEALED)
    assert b"1234567" not in stored
    assert b"plain" not in stored


def test_a_wrapper_is_the_preset_secure_by_another_way(redis: RedisServer) -> None:
    def function() -> Any:
        return {"a": 1}

    options: dict[str, Any] = {"namespace": "wrapped", "backend": redis.unix_url}
    cache(serializer=EncryptionWrapper(master_key=bytes.fromhex(KEY), tenant_id="one"), **options)(function)()

    def hits(decorator: Any) -> int:
        reader = decorator(function)
        assert reader() == {"a": 1}
        return int(reader.cache_info().l2_hits)

    assert hits(cache.secure(serializer="msgpack", master_key=KEY, tenant="one", **options)) == 1
    assert hits(cache.secure(serializer="msgpack", master_key=KEY, tenant="two", **options)) == 0
    rotated = EncryptionWrapper(master_key="ff" * 32, previous_master_keys=[KEY], tenant_id="one")
    assert hits(cache.minimal(serializer=rotated, **options)) == 1


def test_a_wrapper_shows_no_key_and_needs_one(monkeypatch: pytest.MonkeyPatch) -> None:
    wrapper = EncryptionWrapper(OrjsonSerializer(), master_key=KEY)
    assert repr(wrapper) == "EncryptionWrapper(OrjsonSerializer(), ...)"
    decorated = cache(serializer=wrapper, backend=None)(money)
    assert KEY not in repr(decorated.cache_settings) + repr(wrapper.options)
    with pytest.raises(ConfigurationError) as raised:
        EncryptionWrapper(master_key=KEY[:-1] + "x")
    assert KEY[:-1] not in str(raised.value)
    with pytest.raises(ConfigurationError, match="it is given twice"):
        cache(serializer=wrapper, tenant="two")
    with pytest.raises(ConfigurationError, match="isolation='copy'"):
        cache(serializer=wrapper, isolation="copy")
    with pytest.raises(ConfigurationError) as raised:
        cache(serializer=EncryptionWrapper())(money)
    assert raised.value.code == "key_missing"
    monkeypatch.setenv("CACHEKIT_MASTER_KEY", KEY)
    assert cache(serializer=EncryptionWrapper("pickle"), backend=None)(money)(3) == Money(3)


def test_what_is_sealed_is_checked_in_any_case() -> None:
    with pytest.raises(ConfigurationError, match="what is sealed is checked in any case"):
        cache.secure(integrity=False, master_key=KEY)
    with pytest.raises(ConfigurationError, match="what is sealed is checked in any case"):
        cache.secure(serializer=OrjsonSerializer(enable_integrity_checking=False), master_key=KEY)


def test_pickle_goes_where_entries_are_sealed(redis: RedisServer) -> None:
    @cache.secure(serializer="pickle", master_key=KEY, namespace="pickled", backend=redis.unix_url)
    def function(cents: int) -> Money:
        return Money(cents)

    assert function(5) == function(5) == Money(5)
    _native.clear_all()
    assert function(5) == Money(5)
    assert function.cache_info().l2_hits == 1
