"""What type checkers make of the public names: every use in `typing/good.py`, every mistake in `typing/misuse.py`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="older interpreters get older checkers")

HERE = Path(__file__).parent / "typing"
GOOD, MISUSE = HERE / "good.py", HERE / "misuse.py"
MODULE = re.compile(r"(?:cachekit\._native|good)\.")


def mypy(file: Path, tmp_path: Path, *options: str) -> list[tuple[int, str, str]]:
    """Line, severity and text of everything that mypy --strict says."""
    (tmp_path / file.name).write_text(file.read_text())
    result = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--show-error-codes", "--no-error-summary",
         "--cache-dir", str(tmp_path / "mypy"), *options, file.name],
        capture_output=True, text=True, timeout=300, cwd=tmp_path,
    )  # fmt: skip
    said = []
    for line in result.stdout.splitlines():
        match = re.match(rf"{re.escape(file.name)}:(\d+): (error|note): (.*)", line)
        assert match or "note:" in line, result.stdout + result.stderr
        if match:
            said.append((int(match[1]), match[2], match[3]))
    assert result.returncode in (0, 1), result.stderr
    return said


def pyright(file: Path, tmp_path: Path) -> list[tuple[int, str, str]]:
    """The same of pyright, strict."""
    # It reads only what is below its configuration.
    (tmp_path / file.name).write_text(file.read_text())
    (tmp_path / "pyrightconfig.json").write_text(
        json.dumps({"typeCheckingMode": "strict", "include": [file.name], "reportUnusedExpression": False,
                    "reportUnusedVariable": False,
                    # Of the parameters of a lambda nobody says the type.
                    "reportUnknownLambdaType": False, "reportUnknownArgumentType": False,
                    "reportUnknownVariableType": False, "reportMissingModuleSource": False})
    )  # fmt: skip
    result = subprocess.run(
        [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(tmp_path)],
        capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert result.returncode in (0, 1), result.stdout + result.stderr
    report = json.loads(result.stdout)
    return [
        (entry["range"]["start"]["line"] + 1, entry["severity"], entry["message"])
        for entry in report["generalDiagnostics"]
    ]


CHECKERS = [pytest.param(mypy, "mypy", id="mypy"), pytest.param(pyright, "pyright", id="pyright")]


@pytest.mark.parametrize(("checker", "name"), CHECKERS)
def test_every_public_name_has_its_type(checker: object, name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    said = checker(GOOD, tmp_path)  # type: ignore[operator]
    assert [entry for entry in said if entry[1] in ("error", "warning")] == []
    revealed = {line: MODULE.sub("", text) for line, _, text in said if "eveal" in text or "Type of" in text}
    expected = 0
    for number, line in enumerate(GOOD.read_text().splitlines(), start=1):
        match = re.search(rf"reveal_type.*# (?:.*\| )?{name}: ([^|]*)", line)
        if match:
            expected += 1
            assert f' is "{match[1].strip()}"' in revealed[number], revealed[number]
    assert expected == len(revealed) == 11


def test_methods_are_seen_through_their_class_where_none_is_of_every_type(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    said = mypy(GOOD, tmp_path, "--no-strict-optional")
    assert [entry for entry in said if entry[1] == "error"] == []


@pytest.mark.parametrize(("checker", "name"), CHECKERS)
def test_every_mistake_is_reported(checker: object, name: str, tmp_path: Path) -> None:
    pytest.importorskip(name)
    said = checker(MISUSE, tmp_path)  # type: ignore[operator]
    reported = {line for line, severity, _ in said if severity == "error"}
    wrong = {number for number, line in enumerate(MISUSE.read_text().splitlines(), start=1) if "  # wrong: " in line}
    assert len(wrong) >= 10
    assert reported == wrong
