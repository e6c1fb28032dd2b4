"""Functions whose entries the SDKs of all languages share: what a call is named and stored as, and what is refused."""

from __future__ import annotations

import contextvars
from datetime import datetime, time, timedelta, timezone, tzinfo
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from uuid import UUID

import pytest

import cachekit
from cachekit import (
    Backend,
    ConfigurationError,
    InteropError,
    NotCacheableError,
    TamperedError,
    cache,
    decode_interop_value,
    encode_interop_value,
    generate_interop_key,
)
from cachekit.serializers import EncryptionWrapper
from conftest import Run
from support import RedisServer

KEY = "6b" * 32
OTHER = "6c" * 32


@pytest.fixture
def elsewhere(redis: RedisServer) -> Backend:
    backend = Backend(redis.url)
    cachekit.configure(backend=backend)
    return backend


def users(function: Any = None, decorate: Any = cache, **options: Any) -> Any:
    options = {"interop": "get_user", "namespace": "users"} | options
    return decorate(**options)(function or (lambda user, flag=False: {"name": user}))


def test_a_call_is_stored_as_other_sdks_store_it(redis: RedisServer, elsewhere: Backend) -> None:
    get_user = users()
    assert get_user("alice") == {"name": "alice"}
    key = generate_interop_key("users", "get_user", ["alice", False])
    assert redis.keys() == [key]
    assert redis.command("GET", key) == encode_interop_value({"name": "alice"})
    assert 3400 <= redis.command("TTL", key) <= 3600
    assert get_user.cache_key(user="alice") == key


def test_what_others_wrote_is_read(redis: RedisServer, elsewhere: Backend) -> None:
    calls: list[object] = []
    get_user = users(lambda user: calls.append(user))
    key = generate_interop_key("users", "get_user", [7])
    # Not in the form that we write.
    redis.command("SET", key, bytes.fromhex("de0001a46e616d65d903626f62"))
    assert get_user(7) == {"name": "bob"}
    assert get_user(7.0) == {"name": "bob"}
    assert calls == []
    redis.command("SET", generate_interop_key("users", "get_user", [8]), b"\x01\x01")
    assert get_user(8) is None, "more than one document is a miss"
    assert calls == [8]


def test_both_kinds_of_functions_share_entries(redis: RedisServer, elsewhere: Backend, run: Run) -> None:
    async def asked(user: int) -> int:
        raise AssertionError("a miss")

    assert users(lambda user: user * 2)(21) == 42
    assert run(users(asked)(21)) == 42
    assert run(users(asked)(21.0)) == 42


class Level(IntEnum):
    HIGH = 3


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (3, 3.0),
        (3, Level.HIGH),
        ("red", Colour.RED),
        (0, -0.0),
        (b"x", bytearray(b"x")),
        ((1, 2), [1, 2]),
        ([1, "a"], (1.0, "a")),
        ({1, 2}, [1, 2]),
        ("a/b", PurePosixPath("a/b")),
        (60, datetime(1970, 1, 1, 0, 1, tzinfo=timezone.utc)),
        ("550e8400-e29b-41d4-a716-446655440000", UUID(int=0x550E8400E29B41D4A716446655440000)),
    ],
)
@pytest.mark.parametrize("isolation", ["shared", "copy", "sealed"])
def test_what_is_one_call_to_others_is_one_here(elsewhere: Backend, isolation: str, one: Any, other: Any) -> None:
    calls: list[object] = []

    def count(argument: object) -> int:
        calls.append(argument)
        return len(calls)

    count = users(count, isolation=isolation)
    assert (count(one), count(other), count(one), count(other)) == (1, 1, 1, 1)
    assert count.cache_info().l1_hits == 3, "in this process too"
    count.invalidate(other)
    assert (count(one), count(other)) == (2, 2)
    count.put(5, other)
    assert (count(one), count.peek(one)) == (5, 5)


def test_without_a_backend_arguments_mean_the_same() -> None:
    calls: list[object] = []
    get_user = users(lambda user: calls.append(user))
    for argument in (1.0, 1, 1.0, Level(3), 3.0):
        get_user(argument)
    assert calls == [1.0, Level.HIGH]
    with pytest.raises(InteropError, match="user is of type object"):
        get_user(object())
    get_user.invalidate(1)
    get_user(1.0)
    assert calls == [1.0, Level.HIGH, 1.0]


def test_what_differs_for_others_differs_here(elsewhere: Backend) -> None:
    same = users(lambda argument: repr(argument))
    arguments = [1, True, None, "1", b"1", 1.5, [1], {"a": 1}, [], {}, ""]
    assert [same(argument) for argument in arguments] == [repr(argument) for argument in arguments]
    assert [same(argument) for argument in arguments] == [repr(argument) for argument in arguments]


@pytest.mark.parametrize("strict", [False, True])
@pytest.mark.parametrize(
    ("argument", "says"),
    [
        (object(), "user is of type object.*arguments in interop/v1 are"),
        ({"a": [float("nan")]}, r'user\["a"\]\[0\] is of type float'),
        (datetime(2024, 1, 1), "no time zone"),
        (2**64, "outside"),
        ("\ud800", "surrogate"),
        ({1: 2}, r"user\.keys\(\) is of type int"),
    ],
)
def test_an_argument_that_others_cannot_make_raises(elsewhere: Backend, strict: bool, argument: Any, says: str) -> None:
    get_user = users(strict=strict)
    for call in (get_user, get_user.invalidate, get_user.cache_key):
        with pytest.raises(InteropError, match=says):
            call(argument)
    with pytest.raises(InteropError, match=r"more\[\"a\"\] is of type object"):
        users(lambda **more: more)(a=object())


def test_arguments_that_do_not_fit_are_the_function_s_own_error(elsewhere: Backend) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        users()()


class Name(str):
    pass


class Nowhere(tzinfo):
    """As a zone of the database is for a time without a date."""

    def utcoffset(self, _: object) -> None:
        return None


class Pair(NamedTuple):
    a: int


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ((1, 2), "a tuple would come back as a list"),
        ([Pair(1)], r"result\[0\] is of type .*Pair"),
        ({"level": Level.HIGH}, r'result\["level"\] is of type .*Level'),
        ({1: 2}, "must be str"),
        (float("inf"), "infinities"),
        ({1}, "return|give one of those"),
        (type("Moment", (datetime,), {})(2024, 1, 1), "Moment"),
        ({Name("a"): 1}, r"result\.keys\(\) is of type .*Name"),
        ([{"__date__": True, "value": "yesterday"}], r"result\[0\] is of type dict.*what stands for a time"),
        ({"at": time(12, tzinfo=Nowhere())}, r'result\["at"\] is of type datetime.time.*its time zone says no offset'),
        ([datetime(2024, 10, 27, 2, 30, fold=1)], r"result\[0\] is of type datetime.datetime.*which of two times"),
    ],
)
def test_a_value_that_would_come_back_as_another_is_said_once(
    redis: RedisServer, elsewhere: Backend, value: Any, says: str
) -> None:
    get = users(lambda user: value)
    with pytest.warns(cachekit.CacheKitWarning, match=says):
        assert get(1) is value
    assert redis.keys() == []
    with pytest.raises(NotCacheableError, match=says):
        users(lambda user: value, strict=True)(1)


def test_times_come_back_as_times(elsewhere: Backend) -> None:
    value = {
        "at": datetime(2024, 2, 29, tzinfo=timezone(timedelta(hours=2))),
        "on": datetime(2024, 2, 29).date(),
        "daily": [time(12), time(12, tzinfo=timezone.utc)],
        "no time": [{"__date__": 1, "value": "x"}, {"__date__": True, "value": 1}, {"__date__": True}],
    }
    users(lambda user: value)(1)
    assert users(lambda user: None)(1) == value


def test_a_function_is_cleared_here_and_says_that_others_keep_theirs(redis: RedisServer, elsewhere: Backend) -> None:
    calls: list[object] = []
    get_user = users(lambda user: len(calls) or calls.append(user))
    get_user(1)
    with pytest.raises(InteropError, match="users:get_user in the remote tier cannot be cleared"):
        get_user.cache_clear()
    assert get_user.cache_info().currsize == 0
    assert redis.keys() == [get_user.cache_key(1)]
    assert get_user.invalidate(1) is True
    assert redis.keys() == []


# Encrypted.


def test_an_encrypted_entry_shows_nothing(redis: RedisServer, elsewhere: Backend) -> None:
    get_user = users(decorate=cache.secure, master_key=KEY)
    assert get_user("alice") == get_user("alice") == {"name": "alice"}
    assert get_user.cache_info().l1_hits == 1
    [key] = redis.keys()
    assert key == generate_interop_key("users", "get_user", ["alice", False])
    stored = redis.command("GET", key)
    assert len(stored) == 12 + len(encode_interop_value({"name": "alice"})) + 16
    assert b"alice" not in stored


def test_keys_rotate(elsewhere: Backend) -> None:
    users(lambda user: "old", cache.secure, master_key=KEY)(1)
    rotated = users(lambda user: "new", cache.secure, master_key=OTHER, previous_master_keys=[KEY])
    assert rotated(1) == "old"
    assert users(lambda user: "new", cache.secure, master_key=OTHER)(1) == "new"


def test_a_tenant_has_keys_of_its_own(elsewhere: Backend) -> None:
    users(lambda user: "a", cache.secure, master_key=KEY, tenant="a")(1)
    with pytest.raises(TamperedError):
        users(lambda user: "b", cache.secure, master_key=KEY, tenant="b", fail_closed=True)(1)
    assert users(lambda user: "b", cache.secure, master_key=KEY, tenant="a")(1) == "a"


def test_a_moved_entry_is_a_miss_or_an_error(redis: RedisServer, elsewhere: Backend) -> None:
    get_user = users(decorate=cache.secure, master_key=KEY)
    get_user("alice")
    redis.command("SET", get_user.cache_key("bob"), redis.command("GET", get_user.cache_key("alice")))
    with pytest.raises(TamperedError):
        users(decorate=cache.secure, master_key=KEY, fail_closed=True)("bob")
    assert get_user("bob") == {"name": "bob"}


def test_a_plain_entry_is_not_read_by_who_encrypts(redis: RedisServer, elsewhere: Backend) -> None:
    users(lambda user: "plain")(1)
    assert users(lambda user: "sealed", cache.secure, master_key=KEY)(1) == "sealed"
    # The other way round, what is there is no document.
    assert users(lambda user: "plain")(1) == "plain"
    [key] = redis.keys()
    assert decode_interop_value(redis.command("GET", key)) == "plain"


# What is refused at decoration.


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"namespace": None}, "namespace"),
        ({"interop": None}, "must be a str"),
        ({"interop": 1}, "must be a str"),
        ({"interop": "Get"}, "operation=.*1 to 64 of a-z"),
        ({"interop": "get\n"}, "operation="),
        ({"interop": "a..b"}, "operation="),
        ({"interop": "a" * 65}, "operation="),
        ({"namespace": "a:b"}, "namespace="),
        ({"namespace": "ns"}, "keeps it to itself"),
        ({"namespace": "nsapi"}, "keeps it to itself"),
        ({"key": lambda user: user}, "the key is made of the arguments"),
        ({"version": 2}, "keys have no version"),
        ({"serializer": "json"}, "leave serializer out"),
        ({"serializer": "msgpack"}, "leave serializer out"),
        ({"serializer": EncryptionWrapper(master_key=KEY)}, "the preset secure to encrypt"),
        ({"types": Pair}, "leave types out"),
        ({"integrity": True}, "leave integrity out"),
        ({"compressor": "lz4"}, "leave compressor out"),
        ({"backend": None}, "backend=None"),
        ({"hide_keys": True, "master_key": KEY}, "plain names"),
        ({"tenant": "a"}, "does not tell tenants apart"),
        ({"decorate": cache.local}, "the preset local keeps entries in this process"),
        ({"decorate": cache.secure, "master_key": KEY, "tenant": lambda: "a"}, "does not tell tenants apart"),
        (
            {"decorate": cache.secure, "master_key": KEY, "tenant": contextvars.ContextVar("tenant")},
            "does not tell tenants apart",
        ),
        ({"decorate": cache.secure}, "master key"),
        ({"master_key": KEY}, "seals no entries"),
    ],
    ids=lambda part: None if isinstance(part, dict) else part,
)
def test_what_others_cannot_follow_is_refused(options: dict[str, Any], says: str) -> None:
    options = {"interop": "get_user", "namespace": "users"} | options
    decorate = options.pop("decorate", cache)
    if options["namespace"] is None:
        del options["namespace"]
    with pytest.raises((ConfigurationError, InteropError), match=says):
        decorate(**options)


def test_methods_are_refused() -> None:
    class Users:
        def one(self, user: int) -> None: ...

        @classmethod
        def two(cls, user: int) -> None: ...

        @staticmethod
        def three(user: int) -> None: ...

    for method in (Users.one, Users.__dict__["two"]):
        with pytest.raises(NotCacheableError, match="it is a method, and interop='get_user'"):
            users(method)
    users(Users.__dict__["three"])
