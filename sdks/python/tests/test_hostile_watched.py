"""The tests of hostile objects once more, while the interpreter's debug allocator and its development mode watch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from support import environment

HERE = Path(__file__).parent


def test_hostile_objects_while_the_interpreter_watches() -> None:
    result = subprocess.run(
        [
            sys.executable, "-X", "dev", "-X", "faulthandler", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist",
            "test_hostile_keys.py", "test_hostile_lives.py",
        ],
        capture_output=True,
        text=True,
        timeout=300,
        env=environment(PYTHONMALLOC="debug"),
        cwd=HERE,
    )  # fmt: skip
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
