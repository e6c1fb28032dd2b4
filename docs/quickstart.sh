#!/usr/bin/env bash
# Installs cachekit into .venv of this checkout and runs the quickstart. Needs Rust (rustup or a distribution's), a C
# linker and Python 3.9 or newer; PYTHON chooses the interpreter, CARGO_TARGET_DIR where Rust builds.
set -euo pipefail
cd "$(dirname "$0")/.."

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/cachekit/target}"

"${PYTHON:-python3}" -m venv .venv
.venv/bin/python -m pip install --quiet --upgrade pip
.venv/bin/python -m pip install ./sdks/python
.venv/bin/python docs/examples/quickstart.py
