"""Which functions have a name in the remote tier, what it is, and what is said about those that have none."""

from __future__ import annotations

import gc
import importlib
import sys
import warnings
from typing import Any

import pytest

import identity_module
from cachekit import CacheKitWarning, ConfigurationError, _identity, _native, cache, configure
from support import RedisServer, run_python


@pytest.fixture
def backend(redis: RedisServer) -> RedisServer:
    configure(backend=redis.unix_url)
    return redis


def test_a_module_level_function_is_named_by_where_it_is(backend: RedisServer) -> None:
    identity_module.module_level(1)
    identity_module.versioned(1)
    entries = backend.entries()
    assert [entry.rpartition(":")[0] for entry in entries] == [
        "ck:default:identity_module.module_level",
        "ck:default:identity_module.versioned@2",
    ]
    assert identity_module.module_level.cache_key(1) == entries[0]
    assert identity_module.module_level.cache_key(x=1) == entries[0]
    assert identity_module.module_level.cache_key(2) != entries[0]
    assert all(len(entry.rpartition(":")[2]) == 64 for entry in entries)


def test_methods_and_classmethods_are_named_by_their_class(backend: RedisServer) -> None:
    assert identity_module.Keyed(1).method(1) == "1:1"
    assert identity_module.Keyed(2).method(1) == "2:1"
    assert identity_module.Keyed.made(1) == "Keyed:1"
    names = [entry.rpartition(":")[0] for entry in backend.entries()]
    assert names == ["ck:default:identity_module.Keyed.made"] + ["ck:default:identity_module.Keyed.method"] * 2
    _native.clear_all()
    assert identity_module.Keyed(1).method(1) == "1:1"
    assert identity_module.Keyed.method.cache_info().l2_hits == 1


def test_a_self_without_a_key_stays_in_this_process_and_it_is_said_once(backend: RedisServer) -> None:
    one = identity_module.Unkeyed()
    with pytest.warns(CacheKitWarning, match="__cache_key__") as said:
        assert [one.method(1), one.method(1), one.method(2), identity_module.Unkeyed().method(1)] == [1, 1, 2, 1]
    assert len(said) == 1
    assert backend.entries() == []
    assert identity_module.Unkeyed.method.cache_info().misses == 3
    assert one.with_key(3) == 3
    assert len(backend.entries()) == 1


def without_identity() -> dict[str, tuple[Any, str]]:
    return {
        "lambda": (cache(lambda x: x), "it is a lambda"),
        "closure": (identity_module.make(2), r"it is defined inside another function \(make\.<locals>\.inner\)"),
        "__main__": (_in_main(), "it is defined in __main__"),
        "redefinition": (identity_module.redefined, "another function named identity_module.redefined"),
    }


def _in_main() -> Any:
    def function(x: int) -> int:
        return x

    function.__module__, function.__qualname__ = "__main__", "function"
    return cache(function)


@pytest.mark.parametrize("kind", ["lambda", "closure", "__main__", "redefinition"])
def test_without_an_identity_the_remote_is_not_used_and_it_is_said_once(backend: RedisServer, kind: str) -> None:
    function, reason = without_identity()[kind]
    with pytest.warns(CacheKitWarning, match=reason) as said:
        function(1)
    assert "namespace" in str(said[0].message)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        function(1)
        function(2)
    assert len(said) == 1
    assert backend.keys() == []
    assert function.cache_info().hits == 1


def test_without_a_backend_nothing_is_said() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert cache(lambda x: x)(1) == 1
        assert cache(backend=None)(lambda x: x)(1) == 1


def test_the_first_of_a_redefined_name_keeps_it(backend: RedisServer) -> None:
    assert identity_module.first_of_two(1) == 1
    assert [entry.rpartition(":")[0] for entry in backend.entries()] == ["ck:default:identity_module.redefined"]


def test_a_redefinition_is_one_also_when_the_first_is_gone() -> None:
    def define(body: str) -> Any:
        scope: dict[str, Any] = {"__name__": "somewhere.defined"}
        exec(body, scope)
        return cache(scope["function"])

    first = define("def function(x): return x").cache_settings["identity"]
    again = define("def function(x): return x").cache_settings["identity"]
    other = define("def function(x): return -x").cache_settings["identity"]
    assert (first, again, other) == ("somewhere.defined.function",) * 2 + (None,)


def test_what_is_known_of_namespaces_goes_with_their_functions() -> None:
    gc.collect()
    before = len(_identity._given)
    for number in range(100):
        cache(namespace=f"short-lived {number}")(lambda: 1)
    gc.collect()
    assert len(_identity._given) <= before + 1


def test_two_closures_of_one_factory(backend: RedisServer) -> None:
    two, three = identity_module.make(2), identity_module.make(3)
    with pytest.warns(CacheKitWarning):
        assert [two(5), three(5), two(5), three(5)] == [10, 15, 10, 15]
    assert backend.entries() == []
    two, three = identity_module.make(2, namespace="times two"), identity_module.make(3, namespace="times three")
    assert [two(5), three(5)] == [10, 15]
    names = [entry.rpartition(":")[0] for entry in backend.entries()]
    inner = "identity_module.make.<locals>.inner"
    assert names == [f"ck:default:times%20three/{inner}", f"ck:default:times%20two/{inner}"]


def test_lambdas_with_a_namespace(backend: RedisServer) -> None:
    one, two = cache(namespace="lambda one")(lambda x: x), cache(namespace="lambda two")(lambda x: -x)
    assert [one(1), two(1)] == [1, -1]
    _native.clear_all()
    assert [one(1), two(1)] == [1, -1]
    assert one.cache_info().l2_hits == two.cache_info().l2_hits == 1


def test_functions_of_one_namespace_keep_their_own_names(backend: RedisServer) -> None:
    @cache(namespace="group")
    def one(x: int) -> int:
        return x

    @cache(namespace="group")
    def two(x: int) -> int:
        return -x

    assert [one(1), two(1)] == [1, -1]
    _native.clear_all()
    assert [one(1), two(1)] == [1, -1]
    assert one.cache_info().l2_hits == two.cache_info().l2_hits == 1


def test_two_lambdas_cannot_have_one_namespace() -> None:
    first = cache(namespace="taken")(lambda x: x)
    with pytest.raises(
        ConfigurationError, match=r"<lambda> has it already, and the two would read each other's results"
    ):
        cache(namespace="taken")(lambda x: -x)
    cache(namespace="taken", version=2)(lambda x: -x)
    # Closures of one factory do one thing, as far as anybody can tell: who names them answers for it.
    identity_module.make(1, namespace="same place")
    identity_module.make(1, namespace="same place")
    del first
    cache(namespace="taken")(lambda x: -x)


def test_a_reloaded_module_keeps_its_names() -> None:
    before = identity_module.module_level.cache_key(1)
    importlib.reload(identity_module)
    assert identity_module.module_level.cache_key(1) == before
    assert identity_module.module_level.cache_settings["identity"] == "identity_module.module_level"


def test_a_wrapper_that_looks_like_another_function_has_the_name_once() -> None:
    def plain(x: int) -> int:
        return x

    plain.__module__, plain.__qualname__ = "somewhere", "plain"
    one, two = cache(identity_module.twice(plain)), cache(identity_module.twice(plain))
    assert one.cache_settings["identity"] == "somewhere.plain"
    assert two.cache_settings["identity"] is None


def test_names_are_escaped_so_that_parts_cannot_run_together(backend: RedisServer) -> None:
    configure(application="app:one")
    cache(namespace="a:b@1")(identity_module.plain)()
    cache(namespace="a", version="b@1:c")(identity_module.plain)()
    assert [entry.rpartition(":")[0] for entry in backend.entries()] == [
        "ck:app%3Aone:a%3Ab%401/identity_module.plain",
        "ck:app%3Aone:a/identity_module.plain@b%401%3Ac",
    ]


def test_two_applications_on_one_redis(backend: RedisServer) -> None:
    configure(application="one")
    first = identity_module.module_level(7)
    _native.clear_all()
    configure(application="two")
    identity_module.module_level(7)
    assert identity_module.module_level.cache_info().l2_hits == 0
    assert [entry.split(":")[1] for entry in backend.entries()] == ["one", "two"]
    _native.clear_all()
    configure(application="one")
    assert identity_module.module_level(7) == first
    assert identity_module.module_level.cache_info().l2_hits == 1


SCRIPT = """
    import sys, warnings
    from cachekit import cache

    calls = []

    @cache({options})
    def function(x):
        calls.append(x)
        return x + {offset}

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        print(function(1), function(1), len(calls), [str(w.message) for w in said])
"""


def test_main_of_two_programs(redis: RedisServer) -> None:
    for offset in (1, 100):
        out = run_python(SCRIPT.format(options="", offset=offset), CACHEKIT_REDIS_URL=redis.unix_url)
        assert out.startswith(f"{1 + offset} {1 + offset} 1 ")
        assert "it is defined in __main__" in out
    assert redis.keys() == []
    for offset, result in ((1, 2), (100, 2)):
        out = run_python(SCRIPT.format(options="namespace='program'", offset=offset), CACHEKIT_REDIS_URL=redis.unix_url)
        assert out.startswith(f"{result} {result} ")
        assert out.strip().endswith("[]")
    assert len(redis.entries()) == 1


def test_another_process_reads_what_this_one_wrote(backend: RedisServer) -> None:
    mine = identity_module.module_level(3)
    out = run_python(
        """
        import identity_module as m
        print(m.module_level(3), m.module_level.cache_info().l2_hits)
        """,
        REDIS_URL=backend.unix_url,
    )
    assert out.split() == [mine, "1"]
    assert sys.modules["identity_module"] is identity_module
