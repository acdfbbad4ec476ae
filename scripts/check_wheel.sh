#!/bin/sh
# check_wheel.sh VENV [--download]: builds the wheel with VENV's Python, installs it into a fresh virtual environment,
# detects with it outside the checkout, and shares models with it (check_share.py). The packages that it depends on are
# VENV's, unless --download installs them anew as constraints.txt pins them.
set -eu
python=$(cd "${1:-.venv}/bin" && pwd)/python
root=$(cd "$(dirname "$0")/.." && pwd)
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1
unset PYTHONPATH
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

printf '==> building the wheel\n'
(cd "$root" && "$python" -m hatchling build -t wheel -d "$place/dist" >/dev/null)
printf '==> a fresh environment with %s\n' "$(basename "$place"/dist/*.whl)"
"$python" -m venv --without-pip "$place/venv"
fresh=$place/venv/bin
pip() { "$python" -m pip --python "$fresh/python" "$@"; }
if [ "${2:-}" = --download ]; then
    pip install --quiet --require-hashes -r "$root/constraints.txt"
else
    # Lines of a .pth file in that folder are not followed, so that an editable install there stays out of sight.
    there=$("$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    "$fresh/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))' |
        while read -r here; do printf '%s\n' "$there" >"$here/dependencies.pth"; done
fi
pip install --quiet --no-deps --no-index "$place"/dist/*.whl
pip check

cp "$root/assets/images/val_000000.png" "$place/image.png"
cd "$place"
case $("$fresh/python" -c 'import dprd_cli; print(dprd_cli.__file__)') in
"$place"/venv/*) ;;
*) printf 'error: the wheel is not what runs\n' >&2 && exit 1 ;;
esac
printf '==> dprd predict image.png --weights demo\n'
"$fresh/dprd" env
"$fresh/dprd" predict image.png --weights demo --save-parts --json >found.json
"$fresh/python" - <<'END'
import json
from pathlib import Path

found = json.loads(Path("found.json").read_text())
names = [one["class"] for one in found["images"][0]["objects"]]
assert names, "nothing was found"
for name in ("image.png", "results.json", "results.csv"):
    assert Path("predictions", name).stat().st_size, name
print(f"==> found: {', '.join(names)}")
END
printf '==> dprd gradcam image.png --weights demo --compare cascade-mrcnn\n'
"$fresh/dprd" gradcam image.png --weights demo --compare cascade-mrcnn
test -s gradcam/image.png
printf '==> what is packed and published outside of it is loaded in it\n'
"$python" "$root/scripts/check_share.py" "$fresh/python"
