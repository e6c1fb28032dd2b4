"""Every Python example in the README and the guides runs, each in an interpreter of its own; what is a test, in pytest."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
FENCE = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
IMPORT = re.compile(r"^import (\w+)$", re.MULTILINE)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)[^)]*\)")

EXAMPLES = [
    pytest.param(match.group(1), id=f"{document.stem}-{document.read_text()[: match.start()].count(chr(10)) + 2}")
    for document in DOCUMENTS
    for match in FENCE.finditer(document.read_text())
]


@pytest.mark.parametrize("source", EXAMPLES)
def test_example_runs(source: str, tmp_path: Path) -> None:
    for module in IMPORT.findall(source):
        pytest.importorskip(module)
    script = tmp_path / "example.py"
    script.write_text(source)
    environment = {name: value for name, value in os.environ.items() if not name.endswith("REDIS_URL")}
    pytest_options = ["-m", "pytest", "-p", "cachekit.testing"] if "\ndef test_" in source else []
    done = subprocess.run(
        [sys.executable, "-W", "error", *pytest_options, str(script)],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.stem)
def test_links_lead_somewhere(document: Path) -> None:
    broken = [link for link in LINK.findall(document.read_text()) if not (document.parent / link).exists()]
    assert broken == []
