#!/bin/sh
# constraints.sh [--upgrade]: writes constraints.txt, the exact versions and hashes that `make setup` installs.
# Pins that still fit pyproject.toml stay, unless --upgrade is given.
set -eu
command -v uv >/dev/null || {
    echo "error: uv is needed to pin the dependencies (pip install uv)" >&2
    exit 2
}
new=$(mktemp)
trap 'rm -f "$new"' EXIT
cp constraints.txt "$new"
# without the extra `ray`, of some 500 MB, which neither the tests nor the developer tools need
extras="--extra dev --extra export --extra onnx --extra timm --extra hub --extra docs"
uv pip compile pyproject.toml $extras --generate-hashes --universal --python-version 3.11 \
    --no-emit-index-url --no-header --quiet --output-file "$new" "$@" >/dev/null
{
    echo "# Exact versions with hashes for Python 3.11 or later, all extras but ray included. Made by \`make constraints\`:"
    echo "#   uv pip compile pyproject.toml $extras"
    echo "#     --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-header"
    grep -v '^#' "$new"
} >constraints.txt
