#!/usr/bin/env bash
# Measures cachekit beside other caches and writes docs/benchmarks: `bash tests/bench/run.sh`, about ten minutes.
#
#   --python INTERPRETER   in place of Debian's python3, or the first on the path; may be given again for more of them
#   --out FOLDER           in place of docs/benchmarks
#   --quick                few entries and rounds, to see that everything runs; with --out
#   --only CASE            one case, or some by a pattern, or `threads` or `memory`; may be given again; with --out
#   --trace FILE           a trace for the hit ratios beside those that are made, one key a line; may be given again
#   --values               what storing and loading a value costs, and nothing else: some minutes
#   --report               measure nothing, write the pages anew
#   whatever else          goes to `python -m bench run`: --processes N, --rounds N, --seconds N
#
# Builds the release wheel of this checkout, and installs it with its peers into environments under $CACHEKIT_WORK/bench.
# Needs what tests/run.sh needs, and redis-server. Nothing else should run on the machine meanwhile.
set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/../.."
. tests/needs.sh python3

CACHEKIT_WORK=${CACHEKIT_WORK:-${XDG_CACHE_HOME:-$HOME/.cache}/cachekit}
mkdir -p "$CACHEKIT_WORK/bench"
CACHEKIT_WORK=$(cd "$CACHEKIT_WORK" && pwd)
export CACHEKIT_WORK CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$CACHEKIT_WORK/target}"
export CARGO_TERM_COLOR=never PIP_DISABLE_PIP_VERSION_CHECK=1

here=tests/bench
work=$CACHEKIT_WORK/bench
pythons=()
options=()
traces=()
out=docs/benchmarks
what=run
packages=requirements
measure=yes
partly=
while [ $# -gt 0 ]; do
    case $1 in
        --python) pythons+=("$2") && shift ;;
        --out) out=$2 && shift ;;
        --trace) traces+=(--trace "$(realpath "$2")") && shift ;;
        --values) what=values && packages=values ;;
        --report) measure= ;;
        --quick) partly=yes && options+=(--quick --processes 2 --rounds 3 --seconds 0.0005) ;;
        --only) partly=yes && options+=(--only "$2") && shift ;;
        *) options+=("$1") ;;
    esac
    shift
done
if [ "$partly" ] && [ "$out" = docs/benchmarks ]; then
    need 'a folder for what is not measured in full: --out FOLDER'
fi
if [ "${#pythons[@]}" = 0 ]; then
    pythons=("$(PATH=/usr/bin:$PATH command -v python3)")
fi

say() { printf '\n== %s (%ss)\n' "$*" "$SECONDS"; }

# A virtual environment, made once and when its interpreter has gone: its interpreter.
environment() {
    local at="$work/$1"
    "$at/bin/python" -m pip --version >/dev/null 2>&1 || "$2" -m venv --clear "$at"
    echo "$at/bin/python"
}

install() {
    local python=$1
    shift
    "$python" -m pip install --quiet --only-binary :all: "$@" >&2
}

bench() {
    local python=$1
    shift
    PYTHONPATH=tests "$python" -m bench "$@"
}

# Rust's part, where it is there: the hit ratios of the eviction policy.
hit_ratios() {
    grep -q 'name = "hit_ratio"' tests/Cargo.toml || { echo 'no hit ratios: cachekit-tests has no such bench'; return; }
    mkdir -p "$work/hit-ratio"
    cargo bench --quiet --package cachekit-tests --bench hit_ratio -- --out "$work/hit-ratio" "${traces[@]}"
    bench "$1" hit-ratio "$work/hit-ratio/hit_ratio.csv" "$out"
}

# Rust's part of values. Where code and memory lie is another in each process, and counts.
seals() {
    for _ in 1 2 3 4 5; do
        cargo bench --quiet --package cachekit-runtime --bench seal
    done >"$work/seal.txt"
    options+=(--seal "$work/seal.txt")
}

measure() {
    local given=$1 label python published wheels line
    label=$(bench "$given" label)
    say "$label: $given"
    wheels="$work/wheels-$label"
    rm -rf "$wheels"
    "$maturin" build --quiet --release --manifest-path sdks/python/Cargo.toml --interpreter "$given" --out "$wheels"
    python=$(environment "$label" "$given")
    install "$python" --force-reinstall --no-deps "$wheels"/*.whl
    # One by one: a peer that this interpreter cannot have keeps out no other.
    grep -v '^#' "$here/$packages.txt" | while read -r line; do
        install "$python" "$line" 2>"$work/pip.log" || echo "$label is measured without $line: $(tail -n 1 "$work/pip.log")"
    done
    if [ "$what" = values ]; then
        bench "$python" values "$out/results/values-$label.json" "${options[@]}"
        return
    fi
    published=$(environment "$label-published" "$given")
    line=cachekit==$(sed -n 's/^PUBLISHED = "\(.*\)"$/\1/p' "$here/peers.py")
    if install "$published" "$line" 2>"$work/pip.log"; then
        options+=(--published "$published")
    else
        echo "$label is measured without $line: $(tail -n 1 "$work/pip.log")"
    fi
    bench "$python" run "$out/results/$label.json" "${options[@]}"
}

# The tests build into the same folder, and would be measured too.
exec 9<"$CACHEKIT_WORK"
flock -n 9 || {
    echo "another run is in $CACHEKIT_WORK: waiting for its end"
    flock 9
}
command -v redis-server >/dev/null || need 'redis-server to measure with: install it'
plots=$(environment plots python3)
install "$plots" 'matplotlib>=3.9' || echo 'no plots: there is no matplotlib for python3'
if [ "$measure" ]; then
    # Before anything is built: who edits meanwhile does not change what is measured.
    options+=(--commit "$(bench python3 commit)")
    target_of_this_checkout
    maturin=$(dirname "$(environment build python3)")/maturin
    install "$(dirname "$maturin")/python" 'maturin>=1.9,<2'
    [ "$what" = run ] || [ "$partly" ] || seals
    for python in "${pythons[@]}"; do
        (measure "$python") 9<&-
    done
    [ "$partly" ] || [ "$what" = values ] || hit_ratios "$plots"
fi
bench "$plots" report "$out"
say "written: $out"
