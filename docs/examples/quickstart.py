"""Analyse every module of this interpreter's standard library, twice, and say what the cache did.

Without ``REDIS_URL`` everything stays in this process. With it, run the file a second time and its first pass
is served from Redis.
"""

from __future__ import annotations

import ast
import sysconfig
import time
from pathlib import Path

import cachekit
from cachekit import cache


@cache.production(namespace="quickstart.analyse", ttl=3600)
def analyse(path: str, size: int) -> dict[str, int]:
    """Counts what a module defines. Its size is an argument so that another version is another entry."""
    tree = ast.parse(Path(path).read_bytes())
    nodes = list(ast.walk(tree))
    return {
        "functions": sum(isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) for node in nodes),
        "classes": sum(isinstance(node, ast.ClassDef) for node in nodes),
        "nodes": len(nodes),
    }


def analyse_all(modules: list[tuple[str, int]]) -> dict[str, int]:
    """Adds up the analyses of all modules."""
    total = {"functions": 0, "classes": 0, "nodes": 0}
    for path, size in modules:
        for name, count in analyse(path, size).items():
            total[name] += count
    return total


def main() -> None:
    """Runs both passes."""
    root = Path(sysconfig.get_path("stdlib"))
    left_out = {"site-packages", "dist-packages", "test", "tests", "lib2to3"}
    files = [path for path in root.rglob("*.py") if path.is_file() and not left_out & set(path.relative_to(root).parts)]
    modules = sorted((str(path), path.stat().st_size) for path in files)
    print(f"cachekit {cachekit.__version__}: {len(modules)} modules below {root}")
    for run in ("first pass", "second pass"):
        before, start = analyse.cache_info(), time.perf_counter()
        total = analyse_all(modules)
        seconds, after = time.perf_counter() - start, analyse.cache_info()
        print(
            f"{run:>11}: {seconds:8.4f} s, {after.l1_hits - before.l1_hits:5} L1 hits,"
            f" {after.l2_hits - before.l2_hits:5} L2 hits, {after.misses - before.misses:5} misses"
            f" -> {total['functions']} functions, {total['classes']} classes, {total['nodes']} nodes"
        )


if __name__ == "__main__":
    main()
