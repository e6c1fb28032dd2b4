"""What is sealed: nothing plain in either tier, tenants that share nothing, keys that nothing shows, and what tampering does."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import logging
import pickle
import sys
import threading
import traceback
import types
from typing import Any

import pytest

import cachekit
from cachekit import Backend, ConfigurationError, NotCacheableError, TamperedError, cache
from conftest import Run
from support import RedisServer

KEY = "00112233445566778899aabbccddeeff" * 2
OTHER = "ff" * 32
THIRD = "ee" * 32
SECRET = "the-secret-of-4711"


class Calls:
    """A function that counts its calls and returns what is to be kept secret."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, user: object) -> dict[str, object]:
        self.count += 1
        return {"secret": SECRET, "user": user, "call": self.count}


def secured(calls: Calls, **options: Any) -> Any:
    options.setdefault("namespace", "tests")

    @cache.secure(**options)
    def account(user: object) -> dict[str, object]:
        return calls(user)

    return account


def values(redis: RedisServer) -> dict[bytes, bytes]:
    """All that the server holds."""
    names = [name for name in redis.command("KEYS", "*") if isinstance(name, bytes)]
    return {name: redis.command("GET", name.decode()) for name in names}


@pytest.fixture
def elsewhere(redis: RedisServer) -> Backend:
    return Backend(redis.url)


# Keys, and where they come from.


def test_without_a_key_it_is_an_error_at_decoration() -> None:
    for decorate in (lambda: cache.secure, lambda: cache.secure(ttl=60), lambda: cache(hide_keys=True)):
        with pytest.raises(ConfigurationError, match="master_key=.*configure.*CACHEKIT_MASTER_KEY") as caught:
            decorate()(lambda: None)
        assert caught.value.code == "key_missing"


@pytest.mark.parametrize(
    "key", [KEY, KEY.upper(), KEY * 2, bytes(range(32)), bytearray(range(32)), lambda: KEY, lambda: bytes(32)]
)
def test_a_key_is_text_bytes_or_a_function(key: Any) -> None:
    calls = Calls()
    account = secured(calls, master_key=key, backend=None)
    assert account(1) == account(1)
    assert calls.count == 1


@pytest.mark.parametrize("source", ["environment", "configuration", "function"])
def test_a_key_for_all_comes_from_the_environment_or_the_configuration(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if source == "environment":
        monkeypatch.setenv("CACHEKIT_MASTER_KEY", KEY)
        monkeypatch.setenv("CACHEKIT_PREVIOUS_MASTER_KEYS", f"{OTHER}, {THIRD}")
    elif source == "configuration":
        cachekit.configure(master_key=KEY, previous_master_keys=[OTHER])
    else:
        cachekit.configure(master_key=lambda: (KEY, [OTHER]))
    calls = Calls()
    account = secured(calls, backend=None)
    assert account(1) == account(1)
    assert calls.count == 1


def test_the_environment_turns_nothing_on(
    monkeypatch: pytest.MonkeyPatch, elsewhere: Backend, redis: RedisServer
) -> None:
    monkeypatch.setenv("CACHEKIT_MASTER_KEY", KEY)
    plain = cache(lambda: SECRET, backend=elsewhere, namespace="tests")
    assert plain() == SECRET
    assert any(SECRET.encode() in stored for stored in values(redis).values())


@pytest.mark.parametrize(
    ("key", "said"),
    [
        (KEY[1:], "odd"),
        (KEY[2:], "fewer than 64"),
        (KEY[:-1] + "g", "no hexadecimal digits"),
        ("+" + KEY[1:], "no hexadecimal digits"),
        (bytes(31), "exactly 32"),
        (bytes(64), "exactly 32"),
        (12, "must be a str"),
        ("\ud800" * 64, "hexadecimal"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(key: Any, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match=said) as caught:
        secured(Calls(), master_key=key)
    with pytest.raises(ConfigurationError, match=said) as of_configuration:
        cachekit.configure(master_key=key)
    for error in (caught, of_configuration):
        assert str(key) not in f"{error.value} {error.value!r} {error.value.context}"
    if isinstance(key, str) and key.isascii():
        monkeypatch.setenv("CACHEKIT_MASTER_KEY", key)
        with pytest.raises(ConfigurationError, match=f"CACHEKIT_MASTER_KEY.*{said}") as of_environment:
            secured(Calls())
        assert key not in f"{of_environment.value} {of_environment.value.context}"


def test_too_many_previous_keys_and_lonely_ones_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="three"):
        secured(Calls(), master_key=KEY, previous_master_keys=[f"{n:02x}" * 32 for n in range(4)])
    with pytest.raises(ConfigurationError, match="give master_key too"):
        secured(Calls(), previous_master_keys=[KEY])
    with pytest.raises(ConfigurationError, match="give master_key too"):
        cachekit.configure(previous_master_keys=[KEY])
    with pytest.raises(ConfigurationError, match="a pair of it"):
        secured(Calls(), master_key=lambda: KEY, previous_master_keys=[OTHER])
    with pytest.raises(ConfigurationError, match="seals no entries"):
        cache(lambda: 1, master_key=KEY)


def test_a_function_that_gives_no_key_fails_the_call() -> None:
    def unreachable() -> str:
        raise OSError("the service that has the key is down")

    account = secured(Calls(), master_key=unreachable, backend=None)
    with pytest.raises(OSError, match="has the key"):
        account(1)
    account = secured(Calls(), master_key=lambda: 7, backend=None)
    with pytest.raises(ConfigurationError, match="master_key"):
        account(1)


def test_nothing_shows_a_key() -> None:
    account = secured(Calls(), master_key=KEY, previous_master_keys=[OTHER], backend=None)
    account(1)
    shown = [repr(account), str(account.cache_settings), repr(vars(cachekit._keys)), repr(gc.get_referents(account))]
    frames = []
    for wrong in ({"ttl": -1}, {"isolation": "copy"}, {"no_such": 1}, {"backend": "ftp://x"}):
        try:
            options: dict[str, Any] = {"master_key": [KEY], "previous_master_keys": [[OTHER]], **wrong}
            # The test's own frame is the user's; taken from lists, no local of it is the key.
            cache.secure(**{name: value[0] if isinstance(value, list) else value for name, value in options.items()})
        except Exception as error:
            told = traceback.TracebackException.from_exception(error, capture_locals=True)
            frames += [frame for frame in told.stack if frame.filename != __file__]
            shown += [str(error), repr(error)]
    try:
        cachekit.configure(master_key=KEY[1:], previous_master_keys=[OTHER])
    except ConfigurationError as error:
        told = traceback.TracebackException.from_exception(error, capture_locals=True)
        frames += [frame for frame in told.stack if frame.filename != __file__]
    assert len(frames) >= 10
    shown += [str(frame.locals) for frame in frames]
    for key in (KEY, KEY[1:], OTHER):
        for text in shown:
            assert key not in text and str(bytes.fromhex(OTHER)) not in text
    ring = account.cache_settings["keyring"]
    for secret in (ring, ring()):
        with pytest.raises(TypeError):
            pickle.dumps(secret)
        assert KEY not in repr(secret)


# Nothing plain in either tier.


def test_the_remote_tier_sees_nothing_plain(elsewhere: Backend, redis: RedisServer) -> None:
    calls = Calls()
    account = secured(calls, master_key=KEY, backend=elsewhere)
    assert account(4711)["secret"] == SECRET
    assert account.cache_info().l1_hits == 0
    stored = values(redis)
    assert len(stored) == 1
    for name, value in stored.items():
        assert SECRET.encode() not in value and b"secret" not in value
        assert len(value) <= 96 + len(SECRET) + 40
        assert b"account" in name
    elsewhere_too = secured(calls, master_key=KEY, backend=Backend(redis.url))
    assert elsewhere_too(4711)["call"] == 1


def test_a_sealed_entry_is_small(elsewhere: Backend, redis: RedisServer) -> None:
    @cache.secure(master_key=KEY, backend=elsewhere, namespace="small")
    def small() -> dict[str, int]:
        return {"x": 5}

    @cache(backend=elsewhere, namespace="small")
    def plain() -> dict[str, int]:
        return {"x": 5}

    assert small() == plain() == {"x": 5}
    sizes = {name.rpartition(b".")[2].split(b":")[0]: len(value) for name, value in values(redis).items()}
    encoded = 4
    assert sizes[b"small"] - encoded <= 96
    assert sizes[b"plain"] - encoded <= 40


class Seen:
    """An object that has no encoding."""


def held_by(function: Any) -> list[str | bytes]:
    """Every text that is reached from a decorated function by way of its entries."""
    texts: list[str | bytes] = []
    seen = {id(sys.modules)}
    todo: list[Any] = [function]
    while todo:
        item = todo.pop()
        if id(item) in seen or issubclass(type(item), (type, types.ModuleType, types.FunctionType)):
            continue
        seen.add(id(item))
        if isinstance(item, (str, bytes)):
            texts.append(item)
        todo += gc.get_referents(item)
    return texts


@pytest.mark.parametrize("remote", [False, True])
@pytest.mark.parametrize("awaited", [False, True])
def test_this_process_keeps_nothing_plain_not_even_keys(remote: bool, awaited: bool, redis: RedisServer) -> None:
    backend = Backend(redis.url) if remote else None

    def decorated(preset: Any, **options: Any) -> Any:
        if awaited:

            @preset(backend=backend, namespace="tests", **options)
            async def account(user: str) -> list[str]:
                return [user[::-1]]
        else:

            @preset(backend=backend, namespace="tests", **options)
            def account(user: str) -> list[str]:
                return [user[::-1]]

        return account

    async def awaiting(function: Any, user: str) -> Any:
        return await function(user)

    for function, kept in ((decorated(cache.secure, master_key=KEY), False), (decorated(cache), True)):
        for _ in range(3):
            user = "".join(["user-", "4711", "-of-", "tests"])
            found = asyncio.run(awaiting(function, user)) if awaited else function(user)
            assert found == [user[::-1]]
        assert (function.cache_info().l1_hits, function.cache_info().currsize) == (2, 1)
        texts = [text.decode("latin-1") if isinstance(text, bytes) else text for text in held_by(function)]
        assert any("4711" in text for text in texts) is kept, "the argument"
        assert any("1174" in text for text in texts) is kept, "the result"


def test_every_hit_is_opened_and_decoded_anew() -> None:
    calls = Calls()
    account = secured(calls, master_key=KEY, backend=None)
    first, second = account(1), account(1)
    assert first == second and first is not second
    first["secret"] = "changed"
    assert account(1)["secret"] == SECRET
    assert calls.count == 1
    assert account.peek(1) == second
    assert account.invalidate(1) and account.peek(1) is None
    account.put({"secret": "put"}, 1)
    assert account(1) == {"secret": "put"}
    assert account.refresh(1)["call"] == 2


def test_awaited_values_are_sealed_too(run: Run) -> None:
    calls = Calls()

    @cache.secure(master_key=KEY, backend=None)
    async def account(user: int) -> dict[str, object]:
        await asyncio.sleep(0)
        return calls(user)

    async def main() -> None:
        first = await account(1)
        second = await account(1)
        assert first == second and first is not second
        both = await asyncio.gather(account(2), account(2))
        assert both[0] == both[1]

    run(main())
    assert calls.count == 2
    assert account.cache_info().currsize == 2


def test_sealed_functions_share_no_objects() -> None:
    with pytest.raises(ConfigurationError, match="nothing plain"):
        cache.secure(master_key=KEY, isolation="shared")

    @cache.secure(master_key=KEY, backend=None, strict=True)
    def of_object(value: object) -> int:
        return 1

    # It would have to be kept to be recognised.
    with pytest.raises(NotCacheableError, match="kept as it is"):
        of_object(Seen())


# Tenants.


def test_two_tenants_in_one_process_share_nothing(elsewhere: Backend, redis: RedisServer) -> None:
    who = contextvars.ContextVar[str]("who")
    calls = Calls()
    account = secured(calls, master_key=KEY, backend=elsewhere, tenant=who, fail_closed=True)

    def of(tenant: str, user: int) -> object:
        who.set(tenant)
        return account(user)["call"]

    assert [of("a", 1), of("b", 1), of("a", 1), of("b", 1), of("default", 1)] == [1, 2, 1, 2, 3]
    assert account.cache_info().l1_hits == 2
    assert len(values(redis)) == 3
    # Another process of theirs, whose own tier is empty.
    again = secured(calls, master_key=KEY, backend=Backend(redis.url), tenant=who, fail_closed=True)
    for tenant, call in (("b", 2), ("a", 1)):
        who.set(tenant)
        assert again(1)["call"] == call
    who.set("a")
    assert account.invalidate(1)
    assert [of("b", 1), of("a", 1)] == [2, 4]


def test_an_entry_that_was_given_to_another_tenant_does_not_open(elsewhere: Backend, redis: RedisServer) -> None:
    calls = Calls()
    of = {tenant: secured(calls, master_key=KEY, backend=elsewhere, tenant=tenant, l1=False) for tenant in "ab"}
    of["a"](1)
    (mine,) = values(redis)
    of["b"](1)
    (theirs,) = [name for name in values(redis) if name != mine]
    redis.command("COPY", mine.decode(), theirs.decode(), "REPLACE")
    assert of["b"](1)["call"] == 3


def test_tenants_in_threads_and_tasks_are_told_apart(run: Run) -> None:
    who = contextvars.ContextVar[str]("who")

    @cache.secure(master_key=KEY, backend=None, tenant=who)
    async def account(user: int) -> str:
        await asyncio.sleep(0)
        return who.get()

    async def one(tenant: str) -> list[str]:
        who.set(tenant)
        return [await account(1) for _ in range(5)]

    async def main() -> list[list[str]]:
        return await asyncio.gather(*(one(tenant) for tenant in "abcabc"))

    assert run(main()) == [[tenant] * 5 for tenant in "abcabc"]

    @cache(tenant=who, backend=None)
    def plain(user: int) -> str:
        return who.get()

    seen: dict[str, set[str]] = {}

    def thread(tenant: str) -> None:
        who.set(tenant)
        seen[tenant] = {plain(1) for _ in range(1000)}

    threads = [threading.Thread(target=thread, args=(tenant,)) for tenant in "abcd"]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert seen == {tenant: {tenant} for tenant in "abcd"}


def test_a_tenant_comes_from_a_name_a_function_or_the_calls_arguments() -> None:
    for tenant in ("acme", lambda: "acme", lambda user: f"of-{user}", lambda *args, **named: "acme"):
        calls = Calls()
        account = secured(calls, master_key=KEY, backend=None, tenant=tenant)
        assert [account(1)["call"], account(1)["call"], account(2)["call"]] == [1, 1, 2]

    class Service:
        def __init__(self, tenant: str) -> None:
            self.tenant = tenant

        def who(self) -> str:
            return self.tenant

        @cache(backend=None, tenant=lambda self, user: self.tenant)
        def account(self, user: int) -> str:
            return f"{self.tenant} {user}"

    assert [Service(name).account(1) for name in "ab"] == ["a 1", "b 1"]
    calls = Calls()
    account = secured(calls, master_key=KEY, backend=None, tenant=Service("bound").who)
    assert account(1) == account(1)


@pytest.mark.parametrize("tenant", [lambda: None, lambda: 7, lambda: "", lambda: "\ud800", lambda: "x" * 65536])
def test_a_call_of_nobody_is_an_error(tenant: Any) -> None:
    calls = Calls()
    account = secured(calls, master_key=KEY, backend=None, tenant=tenant)
    with pytest.raises(ConfigurationError, match="tenant"):
        account(1)
    unset = secured(calls, master_key=KEY, backend=None, tenant=contextvars.ContextVar("nobody"))
    with pytest.raises(ConfigurationError, match="context variable nobody has no value"):
        unset(1)
    assert calls.count == 0
    with pytest.raises(ConfigurationError, match="tenant"):
        secured(calls, master_key=KEY, tenant=7)
    with pytest.raises(ConfigurationError, match="tenant"):
        secured(calls, master_key=KEY, tenant="")


# Tampering.


def _flipped(stored: bytes) -> bytes:
    return stored[:-1] + bytes([stored[-1] ^ 1])


CORRUPTIONS = {
    "a flipped bit at its end": _flipped,
    "a flipped bit in its header": lambda stored: stored[:6] + bytes([stored[6] ^ 1]) + stored[7:],
    "another format": lambda stored: stored[:2] + b"\x01" + stored[3:],
    "no magic": lambda stored: b"xx" + stored[2:],
    "its first half": lambda stored: stored[: len(stored) // 2],
    "one byte more": lambda stored: stored + b"\0",
    "nothing": lambda stored: b"",
    "something else": lambda stored: b"{}",
    "a header without an end": lambda stored: b"\xc4\x4b\x04\xff\x1f" + stored,
    "zeros": lambda stored: bytes(len(stored)),
}


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_tampering_is_a_miss_or_an_error(
    what: str, elsewhere: Backend, redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    calls = Calls()
    served = {
        closed: secured(calls, master_key=KEY, backend=elsewhere, l1=False, fail_closed=closed)
        for closed in (False, True)
    }
    assert served[False](1) == served[True](1)
    (name,) = values(redis)
    redis.command("SET", name, CORRUPTIONS[what](values(redis)[name]))
    with caplog.at_level(logging.WARNING, "cachekit"), pytest.raises(TamperedError) as caught:
        served[True](1)
    assert caught.value.code == "envelope_tampered"
    assert calls.count == 1
    assert served[False](1)["call"] == 2
    assert len(caplog.records) == 2
    assert "account" in caplog.text and SECRET not in caplog.text
    tampered = [
        line for line in cachekit.metrics_text().splitlines() if 'outcome="tampered"' in line and '"l2"' in line
    ]
    assert tampered and float(tampered[0].split()[-1]) >= 2
    assert served[True](1)["call"] == 2, "stored anew"


@pytest.mark.parametrize("what", CORRUPTIONS)
def test_what_is_not_sealed_is_a_miss_where_it_is_broken(what: str, elsewhere: Backend, redis: RedisServer) -> None:
    calls = Calls()

    @cache(namespace="tests", backend=elsewhere, l1=False)
    def account(user: object) -> dict[str, object]:
        return calls(user)

    assert account(1)["call"] == account(1)["call"] == 1
    (name,) = values(redis)
    redis.command("SET", name, CORRUPTIONS[what](values(redis)[name]))
    assert [account(1)["call"], account(1)["call"]] == [2, 2]


def test_what_fails_without_being_tampered_with_is_never_raised(elsewhere: Backend, redis: RedisServer) -> None:
    calls = Calls()
    newer = secured(calls, master_key=OTHER, previous_master_keys=[KEY], backend=elsewhere, l1=False)
    older = secured(calls, master_key=KEY, backend=elsewhere, l1=False, fail_closed=True)
    newer(1)
    assert older(1)["call"] == 2, "sealed under a key that this process does not have yet"
    assert newer(1)["call"] == 2, "and what it wrote is read"


# Rotation.


def test_keys_are_rotated_while_it_runs(elsewhere: Backend, redis: RedisServer) -> None:
    cachekit.configure(master_key=KEY)
    calls = Calls()
    account = secured(calls, backend=elsewhere)
    assert account(1)["call"] == 1
    cachekit.configure(master_key=OTHER, previous_master_keys=[KEY])
    assert account(1)["call"] == 1
    assert account.cache_info().l2_hits == 1, "found anew in the remote tier"
    assert account(1)["call"] == 1
    assert account.cache_info().l1_hits == 1
    assert account(2)["call"] == 2
    cachekit.configure(master_key=OTHER)
    fresh = secured(calls, backend=Backend(redis.url))
    assert fresh(2)["call"] == 2, "sealed under the new key"
    assert fresh(1)["call"] == 3, "its key is gone"


def test_a_function_that_gives_keys_is_asked_again_after_a_change(elsewhere: Backend) -> None:
    asked = []
    keys: list[Any] = [KEY]

    def of_service() -> Any:
        asked.append(keys[0])
        return keys[0]

    calls = Calls()
    account = secured(calls, master_key=of_service, backend=elsewhere)
    assert not asked, "at the first call, and not at import"
    account(1), account(2)
    assert asked == [KEY]
    keys[0] = (OTHER, [KEY])
    cachekit.configure()
    assert account(1)["call"] == 1
    assert asked == [KEY, (OTHER, [KEY])]
    assert account.cache_info().l2_hits == 1


# Hidden names.


def test_hidden_names_show_neither_functions_nor_arguments(elsewhere: Backend, redis: RedisServer) -> None:
    calls = Calls()
    account = secured(calls, master_key=KEY, backend=elsewhere, hide_keys=True)
    account(1)
    account.cache_clear()
    account(2)
    open_names = secured(calls, master_key=KEY, backend=elsewhere)
    open_name = open_names.cache_key(1)
    assert len(values(redis)) == 3
    for name in values(redis):
        assert len(name) == 67 and name.startswith(b"ck:")
        assert b"account" not in name and b"tests" not in name
        assert open_name.rpartition(":")[2].encode() not in name
    assert account.cache_key(2).encode() in values(redis)


def test_hidden_names_survive_a_rotation(elsewhere: Backend, redis: RedisServer) -> None:
    cachekit.configure(master_key=KEY)
    calls = Calls()
    account = cache(calls, hide_keys=True, backend=elsewhere, namespace="tests", l1=False)
    account(1), account(2)
    before = set(values(redis))
    cachekit.configure(master_key=OTHER, previous_master_keys=[KEY])
    assert account(1)["call"] == 1 and account(2)["call"] == 2
    assert set(values(redis)) == before
    assert account.invalidate(1)
    assert len(values(redis)) == 1
    account.refresh(2)
    assert len(values(redis)) == 1 and set(values(redis)) - before
    assert account(2)["call"] == 3


def test_logs_and_streams_are_free_of_what_is_secret(elsewhere: Backend, redis: RedisServer) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    logger = logging.getLogger("cachekit")
    logger.addHandler(handler)
    try:
        account = secured(Calls(), master_key=KEY, backend=elsewhere, l1=False)
        account(SECRET)
        (name,) = values(redis)
        redis.command("SET", name, b"x")
        account(SECRET)
    finally:
        logger.removeHandler(handler)
    assert "does not open" in stream.getvalue()
    assert SECRET not in stream.getvalue() and name.decode() not in stream.getvalue()
