"""What a figure holds for: the machine, the interpreter with the flags it was built with, the versions, the date."""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench.peers import PEERS

PACKAGES = {peer.package for peer in PEERS if peer.package}
"""Of the peers."""
ROOT = Path(__file__).resolve().parents[2]


def processor() -> str:
    """As the kernel names it."""
    try:
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def origin() -> str:
    """Who built the interpreter: a distribution, pyenv, or nobody known."""
    if ".pyenv" in Path(sys.base_prefix).parts:
        return "pyenv"
    # Also where a package of Debian's was unpacked into a folder.
    return "debian" if "/usr/share/python-wheels" in str(sysconfig.get_config_var("CONFIG_ARGS")) else "custom"


def optimised() -> bool:
    """Whether profile and link-time optimisation made it. Debian's rules ask for both and take the flags out of `sysconfig`."""
    return "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS")) or origin() == "debian"


def label() -> str:
    """Name of the interpreter in files: `cpython-3.11-debian`."""
    free = "t" if sysconfig.get_config_var("Py_GIL_DISABLED") else ""
    return f"{sys.implementation.name}-{sys.version_info[0]}.{sys.version_info[1]}{free}-{origin()}"


def interpreter() -> dict[str, Any]:
    """The interpreter that runs this."""
    return {
        "label": label(),
        "version": platform.python_version(),
        "origin": origin(),
        "optimised": optimised(),
        "free_threaded": bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        "compiler": platform.python_compiler(),
        "configured_with": str(sysconfig.get_config_var("CONFIG_ARGS")),
        "compiled_with": " ".join(str(sysconfig.get_config_var("PY_CFLAGS")).split()),
    }


def _output(*command: str) -> str:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> dict[str, Any]:
    """The machine that runs this."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "kernel": f"{platform.system()} {platform.release()}",
        "rust": _output("rustc", "--version"),
        "redis": _output("redis-server", "--version"),
    }


def today() -> str:
    """The date, in UTC."""
    return datetime.datetime.now(datetime.timezone.utc).date().isoformat()


def commit() -> str:
    """Of this checkout; `+` after it if something was changed since."""
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", "--", ".", ":!docs")
    return _output("git", "rev-parse", "--short", "HEAD") + ("+" if changed else "")


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """Of every one that is installed here."""
    found = {}
    for package in sorted(packages):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
