#!/bin/sh
# setup.sh VENV: makes VENV from Python 3.11 to 3.13 ($PYTHON, or the first one found) and installs into it
# what constraints.txt pins, and then this project, editable.
set -eu
venv=$1
fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'
whole='import ensurepip, venv'
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

fail() {
    printf 'error: %s\n' "$1" >&2
    exit 2
}

# Prints the Python to use.
choose() {
    if [ -n "${PYTHON:-}" ]; then
        "$PYTHON" -c '' 2>/dev/null || fail "PYTHON=$PYTHON does not run"
        "$PYTHON" -c "$fits" || fail "PYTHON=$PYTHON is $("$PYTHON" -V 2>&1); 3.11, 3.12 or 3.13 is needed"
        "$PYTHON" -c "$whole" 2>/dev/null || fail "PYTHON=$PYTHON has no venv module (Debian: python3-venv)"
        printf '%s' "$PYTHON"
        return
    fi
    for python in python3 python3.13 python3.12 python3.11; do
        if "$python" -c "$fits" 2>/dev/null && "$python" -c "$whole" 2>/dev/null; then
            printf '%s' "$python"
            return
        fi
    done
    fail "Python 3.11, 3.12 or 3.13 with venv is needed (Debian: python3 and python3-venv); name one with PYTHON=..."
}

# Installs the pinned packages, and of pip's output shows the large downloads and when unpacking starts.
install_pinned() {
    rm -f "$venv/.failed"
    { "$venv/bin/python" -m pip install --progress-bar off --require-hashes -r constraints.txt ||
        : >"$venv/.failed"; } |
        while read -r line; do
            case $line in
            Downloading*MB\) | Downloading*GB\)) printf '    %s\n' "$line" ;;
            "Installing collected packages"*) printf '    Unpacking; this takes a while\n' ;;
            esac
        done
    [ ! -e "$venv/.failed" ]
}

if "$venv/bin/python" -c "$fits" 2>/dev/null && "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    printf '==> %s: bringing it up to date\n' "$venv"
else
    python=$(choose)
    printf '==> %s: making it with %s\n' "$venv" "$("$python" -V 2>&1)"
    "$python" -m venv --clear "$venv"
fi
printf '==> installing what constraints.txt pins, PyTorch among it\n'
install_pinned
printf '==> installing dprd-cli, editable\n'
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e .
printf '==> ready: %s/bin/dprd --help\n' "$venv"
