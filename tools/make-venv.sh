#!/bin/sh
# Make .venv from requirements.lock, with the newest suitable Python this machine has.
#
# Does nothing when .venv already matches the lock, so that every Makefile target may call it.
# ansible-core 2.21 wants Python 3.12 or newer on the controller; distributions in support still
# ship older ones, hence the search. Written in sh because there may be no Python to run it with.
set -eu

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
venv=$root/.venv
state=$root/.slipway
lock=$root/requirements.lock

say() { printf '%s\n' "$*" >&2; }

# True if $1 is a Python that ansible-core runs on and that can make a virtual environment.
suits() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 12) <= sys.version_info[:2] <= (3, 14))' \
        >/dev/null 2>&1
}

# Print every place a Python may be, the preferred first. pyenv's shims answer for versions that
# are not active only with an error, so its real programs are listed too.
candidates() {
    for minor in 13 12 14; do
        command -v "python3.$minor" || true
        for program in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3."$minor"*/bin/python3; do
            [ -x "$program" ] && printf '%s\n' "$program"
        done
        if command -v uv >/dev/null; then
            uv python find --no-python-downloads "3.$minor" 2>/dev/null || true
        fi
    done
    command -v python3 || true
}

find_python() {
    for program in ${SLIPWAY_PYTHON:-} $(candidates); do
        if suits "$program"; then
            printf '%s\n' "$program"
            return 0
        fi
    done
    return 1
}

# Debian cuts ensurepip out of its Python into a package of its own.
install_debian_venv() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    python3 -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || return 1
    say 'Installing python3-venv for the system Python ...'
    DEBIAN_FRONTEND=noninteractive apt-get -qq update >&2 &&
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends python3-venv >&2
}

# Last resort: uv brings a Python of its own, kept below .slipway.
make_python() {
    uv=$(command -v uv || true)
    if [ -z "$uv" ]; then
        python3 -m venv "$state/uv" >&2 && "$state/uv/bin/python" -m pip --quiet install uv >&2 || return 1
        uv=$state/uv/bin/uv
    fi
    UV_PYTHON_INSTALL_DIR=$state/python "$uv" python install --no-bin 3.13 >&2 || return 1
    UV_PYTHON_INSTALL_DIR=$state/python "$uv" python find --managed-python 3.13
}

mkdir -p "$state"
# Two targets at once (make -j, two shells) must not build the same folder.
if [ -z "${SLIPWAY_VENV_LOCKED:-}" ] && command -v flock >/dev/null; then
    SLIPWAY_VENV_LOCKED=1 exec flock "$state/venv.lock" sh "$0" "$@"
fi

wanted=$(cksum <"$lock")
if [ -x "$venv/bin/python" ] && [ "$(cat "$venv/.slipway-lock" 2>/dev/null)" = "$wanted" ] &&
    "$venv/bin/python" -c '' 2>/dev/null; then
    exit 0
fi

python=$(find_python) || { install_debian_venv && python=$(find_python); } || python=$(make_python) || {
    say 'No Python >= 3.12 found, and none could be made: install one (with venv) or set SLIPWAY_PYTHON.'
    exit 1
}
say "Making .venv with $("$python" --version) ($python) ..."
"$python" -m venv --clear "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check --no-input install \
    --require-hashes -r "$lock"
printf '%s\n' "$wanted" >"$venv/.slipway-lock"
