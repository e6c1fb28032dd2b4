"""The table of types says what is true."""

from __future__ import annotations

import importlib
import platform

import pytest


def test_the_table_of_types_is_what_the_values_do() -> None:
    for library in ("attrs", "msgspec", "numpy", "orjson", "pandas", "polars", "pyarrow", "pydantic"):
        pytest.importorskip(library)
    if platform.system() == "Windows":
        pytest.skip("it has paths of its own")
    matrix = importlib.import_module("type_matrix")
    assert matrix.document() == matrix.DOCUMENT.read_text(encoding="utf-8")
