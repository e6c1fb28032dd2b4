"""The pytest plugin, in test runs of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support import RedisServer, environment

MODULE = """
from cachekit import cache, configure

calls = []

@cache
def function(x):
    calls.append(x)
    return len(calls)

@cache(backend="redis://127.0.0.1:1")
def with_server(x):
    calls.append(x)
    return len(calls)

# What runs while tests are collected is not theirs.
function(0)
"""

TESTS = """
import pytest
import cachekit
from cachekit import configure
from cachekit._configuration import current
import shop

@pytest.fixture(autouse=True)
def no_calls():
    shop.calls.clear()

@pytest.mark.parametrize("round", [1, 2])
def test_each_test_begins_empty(caches, round):
    assert list(caches.used()) == []
    assert caches.info.misses == 0
    assert shop.function(1) == shop.function(1) == 1
    assert caches.used().keys() == {"shop.function"}
    assert caches.used()["shop.function"].hits == 1
    assert caches.info[:2] == (1, 1)
    assert shop.function in list(caches)

@pytest.mark.parametrize("round", [1, 2])
def test_no_server_is_needed_and_the_remote_tier_is_the_tests_own(caches, round):
    assert shop.with_server(1) == 1
    caches.forget_process()
    assert shop.with_server(1) == 1
    assert caches.info.l2_hits == 1
    assert caches.backend.kind == "memory"

@pytest.mark.parametrize("round", [1, 2])
def test_configure_ends_with_the_test(round):
    from cachekit import _configuration
    assert isinstance(_configuration.current.application, _configuration.Unset)
    configure(application="a test's")

def test_time_moves(caches):
    assert shop.function(1) == 1
    caches.advance(3599)
    caches.forget_process()
    assert shop.function(1) == shop.function(1) == 1
    caches.advance(1)
    assert shop.function(1) == 2

@pytest.mark.cachekit(backend=None)
def test_no_remote_tier(caches):
    shop.with_server(1)
    caches.forget_process()
    assert shop.with_server(1) == 2
    assert caches.backend is None

@pytest.mark.cachekit(backend=URL)
def test_a_server(caches):
    shop.with_server(1)
    caches.forget_process()
    assert shop.with_server(1) == 1
    assert caches.backend.kind == "redis"
    caches.advance(3600)
    assert shop.with_server(1) == 2

@pytest.mark.cachekit(backend=...)
def test_as_each_function_says(caches):
    shop.with_server(1)
    assert caches.info.remote_errors > 0
"""


def test_the_plugin(tmp_path: Path, redis: RedisServer) -> None:
    (tmp_path / "shop.py").write_text(MODULE)
    (tmp_path / "test_shop.py").write_text(f"URL = {redis.unix_url!r}\n{TESTS}")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "cachekit.testing", "-p", "no:cacheprovider", "--strict-markers", "-q"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        env=environment(PYTHONPATH=os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "10 passed" in result.stdout
    assert redis.entries() != []
