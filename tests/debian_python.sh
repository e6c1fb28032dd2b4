#!/usr/bin/env bash
# Brings CPython 3.MINOR into FOLDER, or says why it cannot: `bash tests/debian_python.sh MINOR FOLDER`.
#
# From Debian's testing suite, with the C library that it was built for, so that FOLDER/usr/bin/python runs where that is
# older. By an apt with folders of its own, which neither needs root nor changes anything of the system's.
set -euo pipefail

minor=$1
folder=$2
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

without() {
    rm -rf "$folder"
    echo "tested without CPython 3.$minor, which is not on this machine: $*"
    exit 0
}

command -v apt-get dpkg >/dev/null || without 'there is no apt to get it with'
[ -r "$keyring" ] || without "there is no $keyring to check Debian's packages with"
# The machine's own mirror.
mapfile -t mirrors < <(apt-get indextargets --format "\$(REPO_URI)" 'Created-By: Packages' 2>/dev/null)
[ "${#mirrors[@]}" -gt 0 ] || without 'apt knows no mirror'

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# apt downloads as a user of its own.
chmod 755 "$scratch"
mkdir -p "$scratch"/{empty,state/lists/partial,cache/archives/partial}
touch "$scratch/status"
echo "deb [signed-by=$keyring target=Packages] ${mirrors[0]} testing main" >"$scratch/sources.list"
cat >"$scratch/apt.conf" <<EOF
Dir::State "$scratch/state";
Dir::State::status "$scratch/status";
Dir::Cache "$scratch/cache";
Dir::Etc::sourcelist "$scratch/sources.list";
Dir::Etc::sourceparts "$scratch/empty";
Dir::Etc::preferences "$scratch/none";
Dir::Etc::preferencesparts "$scratch/empty";
APT::Install-Recommends "false";
APT::Update::Error-Mode "any";
Acquire::Retries "0";
Acquire::http::Timeout "10";
Acquire::https::Timeout "10";
#clear APT::Default-Release;
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
EOF

apt-get -c "$scratch/apt.conf" -qq update >"$scratch/log" 2>&1 || without "$(head -n 1 "$scratch/log")"
apt-get -c "$scratch/apt.conf" -qq -y --download-only install "python3.$minor-venv" >"$scratch/log" 2>&1 ||
    without "$(head -n 1 "$scratch/log")"

rm -rf "$folder"
mkdir -p "$folder"
for package in "$scratch"/cache/archives/*.deb; do
    dpkg -x "$package" "$folder"
done
libraries=("$folder"/usr/lib/*-linux-gnu)
loader=("${libraries[0]}"/ld-linux*)
cat >"$folder/usr/bin/python" <<EOF
#!/bin/sh
exec $(printf %q "${loader[0]}") --argv0 "\$0" --library-path $(printf %q "${libraries[0]}") $(printf %q "$folder/usr/bin/python3.$minor") "\$@"
EOF
chmod +x "$folder/usr/bin/python"
# Where Debian's `ensurepip` finds pip.
python3 - "$folder" <<'PY'
import pathlib, sys
for file in pathlib.Path(sys.argv[1]).glob("usr/lib/python3.*/_sysconfigdata*.py"):
    text = file.read_text()
    file.write_text(text.replace("'/usr/share/python-wheels/'", repr(sys.argv[1] + "/usr/share/python-wheels/")))
PY
"$folder/usr/bin/python" -c 'import ctypes, ensurepip, sqlite3, ssl, venv' >"$scratch/log" 2>&1 ||
    without "$(head -n 1 "$scratch/log")"
"$folder/usr/bin/python" --version
