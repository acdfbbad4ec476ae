#!/bin/sh
# test_versions.sh lowest|newest [pytest arguments]: runs the tests with the lowest versions of all that pyproject.toml
# names, or with the newest, in an environment of its own: $VENV, by default build/venv-lowest or build/venv-newest,
# made from $PYTHON (python3). Needs uv; an environment that is there is brought up to date.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || {
    echo "error: uv is needed to find the versions (pip install uv)" >&2
    exit 2
}
case ${1:-} in
lowest) resolution=lowest-direct ;;
newest) resolution=highest ;;
*)
    echo "usage: test_versions.sh lowest|newest [pytest arguments]" >&2
    exit 2
    ;;
esac
venv=${VENV:-build/venv-$1}
shift
[ -x "$venv/bin/python" ] || uv venv --quiet --python "${PYTHON:-python3}" "$venv"
uv pip compile pyproject.toml --all-extras --quiet --no-header --no-emit-index-url \
    --resolution "$resolution" --python "$venv/bin/python" --output-file "$venv/versions.txt" >/dev/null
uv pip sync --quiet --python "$venv/bin/python" "$venv/versions.txt"
uv pip install --quiet --no-deps --no-build-isolation --python "$venv/bin/python" --editable .
"$venv/bin/python" -c 'import sys, torch, torchvision, numpy
print(f"==> Python {sys.version.split()[0]}, torch {torch.__version__}, torchvision {torchvision.__version__}, "
      f"numpy {numpy.__version__}")'
PATH=$(cd "$venv/bin" && pwd):$PATH OMP_NUM_THREADS=1 exec "$venv/bin/python" -m pytest "$@"
