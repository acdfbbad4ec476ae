#!/bin/sh
# setup.sh VENV: makes VENV from Python 3.11 or later ($PYTHON, or the first one found) and installs into it
# what constraints.txt pins, and then this project, editable. With $CPU, PyTorch comes without CUDA: the same
# versions from PyTorch's own index of wheels for CPUs, which have other hashes than those that are pinned.
set -eu
venv=$1
cpu_wheels=https://download.pytorch.org/whl/cpu
fits='import sys; sys.exit(sys.version_info < (3, 11))'
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
        "$PYTHON" -c "$fits" || fail "PYTHON=$PYTHON is $("$PYTHON" -V 2>&1); 3.11 or later is needed"
        "$PYTHON" -c "$whole" 2>/dev/null || fail "PYTHON=$PYTHON has no venv module (Debian: python3-venv)"
        printf '%s' "$PYTHON"
        return
    fi
    for python in python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c "$fits" 2>/dev/null && "$python" -c "$whole" 2>/dev/null; then
            printf '%s' "$python"
            return
        fi
    done
    fail "Python 3.11 or later with venv is needed (Debian: python3 and python3-venv); name one with PYTHON=..."
}

# Prints the entries of constraints.txt whose names match a pattern, or with -v all others.
entries() {
    awk -v wanted="$1" -v turned="${2:-}" '/^[^ ]/ { shown = ($0 ~ wanted) != (turned == "-v") } shown' constraints.txt
}

# Installs what it is told to, and of pip's output shows the large downloads and when unpacking starts.
install() {
    rm -f "$venv/.failed"
    { "$venv/bin/python" -m pip install --progress-bar off "$@" || : >"$venv/.failed"; } |
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
if [ -n "${CPU:-}" ]; then
    entries '^(torch|torchvision|triton|nvidia-|cuda-)' -v >"$venv/pins.txt"
    install --no-deps --require-hashes -r "$venv/pins.txt"
    entries '^(torch|torchvision)==' | sed -n 's/^\(torch[a-z]*==[^ ;]*\).*/\1/p' >"$venv/torch.txt"
    install --no-deps --index-url "$cpu_wheels" -r "$venv/torch.txt"
else
    install --require-hashes -r constraints.txt
fi
printf '==> installing dprd-cli, editable\n'
"$venv/bin/python" -m pip install --quiet --no-deps --no-build-isolation -e .
printf '==> ready: %s/bin/dprd --help\n' "$venv"
