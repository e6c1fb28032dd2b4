"""What importing costs, and what is in the package."""

from __future__ import annotations

import ctypes
import importlib.metadata
import itertools
import sys
import sysconfig
from pathlib import Path

import pytest

import cachekit
from cachekit import _native
from cachekit._spec import SPEC_HASH
from support import run_python

HEAVY = (
    "typing", "inspect", "asyncio", "dataclasses", "redis", "numpy", "pandas", "pydantic", "datetime", "decimal", "uuid",
    "difflib", "warnings.catch", "importlib.metadata", "contextlib", "logging", "re", "enum", "threading", "socket",
    "weakref", "json", "hashlib",
)  # fmt: skip


def test_nothing_heavy_is_imported() -> None:
    out = run_python(
        """
        import sys
        before = set(sys.modules)
        from cachekit import cache
        after_import = set(sys.modules)

        @cache(ttl=60)
        def function(x: int, *, y: str = "") -> int:
            return x

        function(1); function(1)
        print(" ".join(sorted(after_import - before)))
        print(" ".join(sorted(set(sys.modules) - before)))
        """
    )
    imported, used = (set(line.split()) for line in out.splitlines())
    assert not imported & set(HEAVY)
    assert {name for name in imported if not name.startswith("cachekit")} <= {"__future__", "atexit"}
    assert not used & {"typing", "inspect", "asyncio", "dataclasses", "redis", "difflib", "importlib.metadata"}


def test_import_takes_at_most_8_ms(tmp_path: Path) -> None:
    out = run_python(
        """
        import subprocess, sys, time
        code = (
            "import time; begun = time.process_time(); import cachekit; "
            "print(time.process_time() - begun)"
        )
        print(min(float(subprocess.check_output([sys.executable, "-c", code])) for _ in range(15)))
        """,
        # As installed: with bytecode, which the first of them writes.
        PYTHONPYCACHEPREFIX=str(tmp_path),
        PYTHONDONTWRITEBYTECODE="",
    )
    assert float(out) < 0.008


def test_the_files_and_the_extension_are_of_one_spec() -> None:
    assert _native.spec_hash == SPEC_HASH
    assert len(SPEC_HASH) == 64
    out = run_python(
        """
        import sys, types
        fake = types.ModuleType("cachekit._spec")
        fake.SPEC_HASH = "0" * 63 + "f"
        sys.modules["cachekit._spec"] = fake
        try:
            import cachekit
        except ValueError as error:
            print(type(error).__name__, error.code, "reinstall cachekit" in str(error))
        """
    )
    assert out == "ConfigurationError spec_mismatch True\n"


def test_no_thread_and_no_connection_before_the_first_miss() -> None:
    out = run_python(
        """
        import os
        from cachekit import cache, configure
        configure(backend="redis://127.0.0.1:1")
        @cache(namespace="x")
        def function(): ...
        sockets = [fd for fd in os.listdir("/proc/self/fd") if "socket" in os.path.realpath(f"/proc/self/fd/{fd}")]
        print(len(os.listdir("/proc/self/task")), len(sockets))
        """
    )
    assert out.split()[0] == "1"
    assert out.split()[1] == "0"


def test_the_package_is_complete_and_small() -> None:
    folder = Path(cachekit.__file__).parent
    names = {path.name for path in folder.iterdir()}
    assert {"py.typed", "_native.pyi", "presets.py", "options.py", "exceptions.py", "testing.py", "_spec.py"} <= names
    assert sum(path.stat().st_size for path in folder.glob("_native*")) < 64 * 1024 * 1024
    distribution = importlib.metadata.distribution("cachekit")
    assert not [need for need in distribution.requires or [] if "extra ==" not in need]
    assert distribution.metadata["Requires-Python"] == ">=3.9"
    this = "Programming Language :: Python :: {}.{}".format(*sys.version_info)
    assert this in (distribution.metadata.get_all("Classifier") or [])
    assert distribution.version == cachekit.__version__


def test_other_interpreters_are_told() -> None:
    out = run_python(
        """
        import sys
        sys.implementation.name = "pypy"
        try:
            import cachekit
        except ImportError as error:
            print(error)
        """
    )
    assert out == "cachekit needs CPython: its extension does not run on pypy\n"
    assert "cachekit" in sys.modules


class ModuleSlot(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_int), ("value", ctypes.c_void_p)]


class ModuleDefinition(ctypes.Structure):
    _fields_ = [
        ("base", ctypes.c_void_p * 5),
        ("name", ctypes.c_char_p),
        ("doc", ctypes.c_char_p),
        ("size", ctypes.c_ssize_t),
        ("methods", ctypes.c_void_p),
        ("slots", ctypes.POINTER(ModuleSlot)),
    ]


@pytest.mark.skipif(sys.version_info[:2] not in ((3, 13), (3, 14)), reason="told in another way, or not at all")
def test_free_threaded_builds_are_asked_for_their_lock() -> None:
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert sys._is_gil_enabled()  # type: ignore[attr-defined]
        return
    py_mod_gil, used = 4, None
    initialise = ctypes.PyDLL(_native.__file__).PyInit__native
    initialise.restype = ctypes.POINTER(ModuleDefinition)
    slots = initialise().contents.slots
    told = itertools.takewhile(lambda slot: slot.kind, map(slots.__getitem__, itertools.count()))
    assert {slot.kind: slot.value for slot in told}[py_mod_gil] is used
