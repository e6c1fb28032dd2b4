"""Options: what each accepts, what is refused and how, the environment, and which backend is chosen."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from cachekit import Backend, CacheKitWarning, ConfigurationError, _native, cache, configure


def settings(**options: Any) -> dict[str, Any]:
    @cache(**options)
    def function() -> None: ...

    result: dict[str, Any] = function.cache_settings
    return result


@pytest.mark.parametrize(
    ("given", "seconds"),
    [(60, 60.0), (0.25, 0.25), (timedelta(minutes=2), 120.0), (timedelta(milliseconds=1), 0.001), (None, None)],
)
def test_ttl(given: Any, seconds: float | None) -> None:
    assert settings(ttl=given)["ttl"] == seconds


@pytest.mark.parametrize(
    "given",
    [0, 0.0, -1, -0.5, math.nan, math.inf, -math.inf, timedelta(0), timedelta(seconds=-1), 10**400, 1e300, True, "60", b"1", [], object],
    ids=repr,
)  # fmt: skip
def test_ttl_refused(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="ttl=.* is not valid") as caught:
        cache(ttl=given)
    assert caught.value.code == "option_invalid"
    assert caught.value.retryable is False
    assert isinstance(caught.value, ValueError)


def test_ttl_zero_says_how_to_mean_never() -> None:
    with pytest.raises(ConfigurationError, match="must be more than 0 s; .*None"):
        cache(ttl=0)


@pytest.mark.parametrize(
    ("name", "closest"),
    [("tll", "ttl"), ("TTL", "ttl"), ("name_space", "namespace"), ("maxentries", "max_entries"), ("maxsize", "max_bytes"),
     ("timeout", "remote_timeout"), ("isolate", "isolation")],
)  # fmt: skip
def test_an_unknown_option_names_the_closest(name: str, closest: str) -> None:
    with pytest.raises(ConfigurationError, match=f"unknown option {name}; did you mean") as caught:
        cache(**{name: 1})  # type: ignore[call-overload]
    assert caught.value.code == "option_unknown"
    if name != "maxsize":
        assert caught.value.context["closest"] == closest
    with pytest.raises(ConfigurationError, match="unknown option"):
        cache.production(**{name: 1})  # type: ignore[call-overload]


@pytest.mark.parametrize(
    "options",
    [
        {"namespace": ""}, {"namespace": 3}, {"namespace": None}, {"version": ""}, {"version": 1.5}, {"version": True},
        {"version": None}, {"key": 3}, {"key": "name"}, {"l1": None}, {"l1": 1}, {"l1": {"max_entries": 0}},
        {"l1": {"entries": 1}}, {"max_entries": 0}, {"max_entries": -1}, {"max_entries": 1.5}, {"max_entries": True},
        {"max_entries": 10**9 + 1}, {"max_bytes": 0}, {"max_bytes": "1"}, {"strict": 1}, {"strict": None},
        {"ttl_jitter": 0.6}, {"ttl_jitter": -0.1}, {"ttl_jitter": None}, {"isolation": "deep"}, {"isolation": None}, {"remote_timeout": 0}, {"remote_timeout": 61},
        {"remote_timeout": None}, {"remote_timeout": math.nan}, {"backend": 3}, {"backend": "http://x"},
        {"backend": "redis://host:notaport"}, {"backend": ""}, {"backend": b"redis://x"},
        {"l1": {"max_entries": 3}, "max_entries": 4}, {"compression": True}, {"envelope": "plain"}, {"remote": False},
        {"namespace": "\ud800"}, {"version": "\ud800"}, {"backend": "redis://:hunter2@\ud800"},
    ],
    ids=repr,
)  # fmt: skip
def test_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        cache(**options)
    assert caught.value.code in ("option_invalid", "backend_invalid", "option_unknown")
    assert "hunter2" not in str(caught.value)


def test_a_key_function_is_a_plain_one() -> None:
    async def awaited(x: int) -> int:
        return x

    def generated(x: int) -> Iterator[int]:
        yield x

    for key in (awaited, partial(awaited, 1), generated):
        with pytest.raises(ConfigurationError, match="plain function") as caught:
            cache(key=key)
        assert caught.value.code == "option_invalid"


def test_limits_of_the_process_tier() -> None:
    given = settings(l1={"max_entries": 3, "max_bytes": 1000})
    assert (given["l1"], given["max_entries"], given["max_bytes"]) == (True, 3, 1000)
    assert settings(l1=False)["l1"] is False
    assert settings(l1={})["l1"] is True
    assert settings(max_entries=7)["max_entries"] == 7


def test_entries_are_bounded() -> None:
    @cache(max_entries=10, backend=None)
    def function(x: int) -> int:
        return x

    for x in range(100):
        function(x)
    info = function.cache_info()
    assert info.maxsize == 10
    assert 0 < info.currsize <= 10
    assert info.evictions >= 90
    assert info.misses == 100


def test_bytes_are_bounded() -> None:
    @cache(max_bytes=100_000, backend=None)
    def function(x: int) -> bytes:
        return bytes(10_000)

    for x in range(100):
        function(x)
    assert 0 < function.cache_info().currbytes <= 100_000


def test_without_a_process_tier_and_without_a_backend_nothing_is_kept() -> None:
    calls = []

    @cache(l1=False, backend=None)
    def function() -> int:
        calls.append(1)
        return 1

    with pytest.warns(CacheKitWarning, match="is not cached: it has l1=False") as said:
        assert [function(), function()] == [1, 1]
    assert len(said) == 1
    assert len(calls) == 2
    assert function.cache_info().currsize == 0

    nameless = cache(l1=False, backend="memory://")(lambda: 1)
    with pytest.warns(CacheKitWarning, match="is not cached: it is a lambda"):
        nameless()


def test_entries_expire() -> None:
    calls = []

    @cache(ttl=10, backend=None)
    def function() -> int:
        calls.append(1)
        return len(calls)

    assert [function(), function()] == [1, 1]
    _native.advance_clock(9)
    assert function() == 1
    _native.advance_clock(2)
    assert function() == 2


@pytest.mark.parametrize("result", [7, [7], "seven"])
def test_a_hit_renews_a_sliding_entry(result: Any) -> None:
    @cache(ttl=10, sliding=True, backend=None)
    def function(x: int, y: list[int]) -> Any:
        return result

    @cache(ttl=10, sliding=True, backend=None)
    async def coroutine(x: int) -> Any:
        return result

    async def awaited() -> Any:
        return await coroutine(1)

    for _ in range(4):
        assert function(1, [2]) == result
        assert asyncio.run(awaited()) == result
        _native.advance_clock(9)
    assert function.cache_info().misses == coroutine.cache_info().misses == 1
    _native.advance_clock(2)
    function(1, [2])
    asyncio.run(awaited())
    assert function.cache_info().misses == coroutine.cache_info().misses == 2


def test_what_never_expires_cannot_slide() -> None:
    with pytest.raises(ConfigurationError, match="sliding=True is not valid: .* give a ttl, or leave sliding out"):
        cache(ttl=None, sliding=True)
    assert settings(ttl=60, sliding=True)["sliding"] is True
    assert settings(ttl=None)["sliding"] is False


def test_jitter_shortens_lives_by_at_most_what_it_says() -> None:
    @cache(ttl=100, ttl_jitter=0.5, backend=None)
    def function(x: int) -> str:
        return str(x)

    def left() -> int:
        return sum(function.peek(x) is not None for x in range(200))

    for x in range(200):
        function(x)
    counts = []
    for seconds in (49, 25, 27):
        _native.advance_clock(seconds)
        counts.append(left())
    assert counts[0] == 200
    assert 70 < counts[1] < 140
    assert counts[2] == 0


def test_none_never_expires() -> None:
    @cache(ttl=None, backend=None)
    def function() -> object:
        return object

    function()
    _native.advance_clock(3600 * 24 * 365 * 10)
    function()
    assert function.cache_info().misses == 1


def test_key_function() -> None:
    calls = []

    @cache(key=lambda user, **rest: user["id"], backend=None)
    def function(user: dict[str, Any], verbose: bool = False) -> int:
        calls.append(user)
        return len(calls)

    assert function({"id": 1, "name": "a"}) == 1
    assert function({"id": 1, "name": "b"}, verbose=True) == 1
    assert function({"id": 2}) == 2


def test_version_is_text_either_way() -> None:
    assert settings(version=2)["version"] == settings(version="2")["version"] == "2"


# The environment.


def test_default_ttl_of_the_environment_is_for_the_bare_decorator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEKIT_DEFAULT_TTL", "42.5")
    assert settings()["ttl"] == 42.5
    assert settings(ttl=7)["ttl"] == 7
    assert cache.production(lambda: 1).cache_settings["ttl"] == 600
    assert cache.minimal(lambda: 1).cache_settings["ttl"] == 300


def test_largest_value_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEKIT_MAX_CHUNK_SIZE_MB", "2")
    assert settings()["max_value_bytes"] == 2 * 1024 * 1024
    assert cache.production(lambda: 1).cache_settings["max_value_bytes"] == 2 * 1024 * 1024


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("FALSE", False), ("1", True), ("0", False), (" off ", False)]
)
def test_compression_of_the_environment(monkeypatch: pytest.MonkeyPatch, text: str, value: bool) -> None:
    monkeypatch.setenv("CACHEKIT_ENABLE_COMPRESSION", text)
    assert settings()["compression"] is value


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("CACHEKIT_DEFAULT_TTL", "soon"), ("CACHEKIT_DEFAULT_TTL", "0"), ("CACHEKIT_DEFAULT_TTL", "-1"),
        ("CACHEKIT_DEFAULT_TTL", "nan"), ("CACHEKIT_DEFAULT_TTL", "inf"), ("CACHEKIT_DEFAULT_TTL", ""),
        ("CACHEKIT_MAX_CHUNK_SIZE_MB", "big"), ("CACHEKIT_MAX_CHUNK_SIZE_MB", "0"), ("CACHEKIT_MAX_CHUNK_SIZE_MB", "513"),
        ("CACHEKIT_ENABLE_COMPRESSION", "perhaps"), ("CACHEKIT_ENABLE_COMPRESSION", ""),
        ("CACHEKIT_REDIS_URL", "http://localhost"), ("REDIS_URL", "localhost:6379"), ("CACHEKIT_REDIS_URL", "redis://h:x"),
        ("CACHEKIT_APPLICATION", "caf\udce9"), ("REDIS_URL", "redis://:hunter2@\udce9"),
    ],
)  # fmt: skip
def test_an_environment_variable_that_cannot_be_parsed_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(ConfigurationError, match=f"environment variable {variable}=") as caught:
        cache(lambda: 1)
    assert caught.value.code == "environment_invalid"


def test_a_password_never_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CACHEKIT_REDIS_URL", "redis://user:hunter2@host:notaport/0")
    with pytest.raises(ConfigurationError) as caught:
        cache(lambda: 1)
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(caught.value.context)
    backend = Backend("redis://user:hunter2@host:6379/0")
    assert "hunter2" not in repr(backend) + backend.url
    with pytest.raises(ConfigurationError) as caught:
        cache(backend="redis://user:hunter2@host:6379/zero")
    assert "hunter2" not in str(caught.value) + repr(caught.value.context)


# The choice of the backend: argument, configure, CACHEKIT_REDIS_URL, REDIS_URL, none.


def chosen(function: Any) -> tuple[Any, str]:
    result: tuple[Any, str] = function.cache_settings["backend"]()
    return result


def test_the_order_in_which_a_backend_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    @cache
    def function() -> int:
        return 1

    @cache(backend="redis://argument")
    def with_argument() -> int:
        return 1

    @cache(backend=None)
    def with_none() -> int:
        return 1

    assert chosen(function)[0] is None
    monkeypatch.setenv("REDIS_URL", "redis://last")
    assert chosen(function)[0].url == Backend("redis://last").url
    monkeypatch.setenv("CACHEKIT_REDIS_URL", "redis://first")
    assert chosen(function)[0].url == Backend("redis://first").url
    configure(backend="redis://configured")
    assert chosen(function)[0].url == Backend("redis://configured").url
    assert chosen(with_argument)[0].url == Backend("redis://argument").url
    assert chosen(with_none)[0] is None
    configure(backend=None)
    assert chosen(function)[0] is None
    assert chosen(with_argument)[0] is not None


def test_one_url_is_one_backend() -> None:
    one, two = cache(backend="redis://same")(lambda: 1), cache(backend="redis://same")(lambda: 2)
    assert chosen(one)[0] is chosen(two)[0]
    mine = Backend("redis://same")
    assert chosen(cache(backend=mine)(lambda: 1))[0] is mine


def test_the_local_preset_has_no_backend() -> None:
    configure(backend="memory://")
    assert chosen(cache.local(lambda: 1))[0] is None
    assert chosen(cache.local(backend=None)(lambda: 1))[0] is None
    with pytest.raises(ConfigurationError, match="stays in this process"):
        cache.local(backend="memory://")


def test_configure_after_the_first_call_is_honoured() -> None:
    @cache(namespace="late configure", l1=False)
    def function() -> int:
        return 1

    with pytest.warns(CacheKitWarning, match="no remote tier"):
        function()
    configure(backend="memory://")
    function()
    function()
    assert function.cache_info().l2_hits == 1


def test_the_application(monkeypatch: pytest.MonkeyPatch) -> None:
    @cache(namespace="the application")
    def function() -> int:
        return 1

    assert chosen(function)[1] == "default"
    assert function.cache_key().startswith("ck:default:")
    monkeypatch.setenv("CACHEKIT_APPLICATION", "from the environment")
    _native.backends_changed()
    assert chosen(function)[1] == "from the environment"
    configure(application="configured")
    assert chosen(function)[1] == "configured"
    assert function.cache_key().startswith("ck:configured:")


@pytest.mark.parametrize(
    "options",
    [{"application": ""}, {"application": 3}, {"application": "\ud800"}, {"backend": 3}, {"backend": "ftp://x"}],
)
def test_configure_refuses(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        configure(**options)


def test_nothing_connects_before_the_first_miss() -> None:
    cache(backend="redis://name.that.does.not.exist.invalid:1", namespace="nothing connects")(lambda: 1)
    configure(backend="redis://name.that.does.not.exist.invalid:1")
