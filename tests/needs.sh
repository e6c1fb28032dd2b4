# shellcheck shell=bash
# What a machine must have to build cachekit, or an error that says what to install: `. tests/needs.sh PYTHON`.

need() {
    echo "cachekit needs $*" >&2
    exit 1
}

# A container may have none.
if [ -z "${HOME:-}" ]; then
    unset HOME
    export HOME=~
fi
# Where rustup puts Rust, which a shell that is older than it does not know.
export PATH="$PATH:$HOME/.cargo/bin"

command -v "$1" >/dev/null || need "CPython 3.9 or newer, and there is no $1: install python3 and python3-venv"
"$1" -c 'import sys; sys.exit(sys.version_info < (3, 9) or sys.implementation.name != "cpython")' ||
    need "CPython 3.9 or newer, and $1 is $("$1" --version 2>&1 | head -n 1): install it, and name it with PYTHON=..."
"$1" -c 'import ensurepip, venv' 2>/dev/null ||
    need "Python's modules venv and ensurepip, which $1 lacks: on Debian and Ubuntu, install python3-venv"
command -v cc >/dev/null || need "a C compiler to link with: install gcc or clang"
rust=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)
command -v cargo >/dev/null || need "Rust $rust or newer: install it with rustup, from https://rustup.rs"
cargo=$(cargo --version | cut -d ' ' -f 2)
printf '%s\n' "$rust" "$cargo" | sort -V -C ||
    need "Rust $rust or newer, and cargo is $cargo: install it with rustup, from https://rustup.rs"

# Builds go to $CARGO_TARGET_DIR, which all checkouts share. cargo would take what was built of another one for this one's,
# since it looks at nothing but the age of their files.
target_of_this_checkout() {
    mkdir -p "$CARGO_TARGET_DIR"
    local built="$CARGO_TARGET_DIR/checkout"
    if [ -e "$built" ] && [ "$(cat "$built")" != "$PWD" ]; then
        find Cargo.toml Cargo.lock codegen runtime sdks tests -type f -exec touch {} +
    fi
    pwd >"$built"
}
