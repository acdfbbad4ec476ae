#!/bin/sh
# resolve_platforms.sh: asks for each system and Python which versions would be installed, from wheels alone (grad-cam
# has none: it is plain Python), and prints the main ones. Installs nothing; needs uv.
set -eu
cd "$(dirname "$0")/.."
command -v uv >/dev/null || {
    echo "error: uv is needed to find the versions (pip install uv)" >&2
    exit 2
}
export MACOSX_DEPLOYMENT_TARGET="${MACOSX_DEPLOYMENT_TARGET:-14.0}"
failed=0
for system in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin x86_64-pc-windows-msvc; do
    for python in 3.11 3.12 3.13 3.14; do
        if found=$(uv pip compile pyproject.toml --extra export --extra timm --quiet --no-header --no-annotate \
            --no-emit-index-url --only-binary :all: --no-binary grad-cam --python-version "$python" \
            --python-platform "$system" 2>&1); then
            found=$(printf '%s\n' "$found" | grep -E '^(torch|torchvision|numpy|opencv-python-headless|onnxruntime)==')
        else
            failed=1
        fi
        printf '%-24s %s  %s\n' "$system" "$python" "$(printf '%s' "$found" | tr '\n' ' ')"
    done
done
exit "$failed"
