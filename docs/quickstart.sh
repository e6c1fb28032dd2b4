#!/usr/bin/env bash
# Installs cachekit into .venv of this checkout and runs the quickstart. Needs Rust (rustup or a distribution's), a C
# linker and Python 3.9 or newer; PYTHON chooses the interpreter, CARGO_TARGET_DIR where Rust builds.
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
. tests/needs.sh "$python"

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/cachekit/target}"

# One at a time: a second one would install what the first one runs.
exec 9<docs/quickstart.sh
flock 9

version=$("$python" --version)
if [ -e .venv ] && [ "$(.venv/bin/python --version 2>&1)" != "$version" ]; then
    need "a .venv of $version, and the one that is here is not: remove it"
fi
target_of_this_checkout
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --upgrade pip
.venv/bin/python -m pip install ./sdks/python
.venv/bin/python docs/examples/quickstart.py
