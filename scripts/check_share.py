"""Share two models with another environment through a hub, and compare what both detect.

    python scripts/check_share.py PYTHON     # PYTHON: of an environment with the package and its extra `hub`

This environment trains a small run, packs it and the demo (`dprd weights pack`), and publishes both (`dprd
weights push`) on a server of this machine that speaks the hub's protocol. The other environment, with a home
and a cache of its own, detects with `--weights hf:ORG/NAME`. Its `results.json`, and the arrays of `load` and
`predict`, must be those of what was packed, byte for byte; ends with 1 where they are not.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tests"))

from hub_server import TOKEN, serve_hub  # noqa: E402

IMAGES = [str(ROOT / "assets" / "images" / f"val_00000{number}.png") for number in range(3)]
VERSIONS = "import sys, torch, dprd_cli; print(sys.version.split()[0], torch.__version__, dprd_cli.__file__)"
ARRAYS = """
import hashlib, sys
from dprd_cli import load
model = load(sys.argv[1], device="cpu")
for image in sys.argv[2:]:
    found = model.predict(image, score_thresh=0.0)
    for name in ("boxes", "scores", "labels", "masks", "part_boxes"):
        value = getattr(found, name)
        print(name, value.dtype, value.shape, hashlib.sha256(value.tobytes()).hexdigest())
"""


class Machine(NamedTuple):
    """An environment's Python, in a home of its own."""

    python: str
    home: Path
    variables: dict[str, str]

    def run(self, *arguments: str) -> str:
        """Return what Python prints; what it says of errors is shown."""
        variables = self.variables | {"HOME": str(self.home)}
        command = [self.python, *arguments]
        done = subprocess.run(
            command, env=variables, cwd=self.home, stdout=subprocess.PIPE, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"error: {self.python}: {' '.join(arguments)} ended with {done.returncode}")
        return done.stdout

    def dprd(self, line: str, *more: str) -> None:
        """Run a command line of `dprd`."""
        self.run("-m", "dprd_cli", *line.split(), "--quiet", *more)

    def detect(self, weights: str) -> tuple[bytes, str]:
        """Return the bytes of results.json, and a checksum of each array of detections."""
        self.dprd(
            f"predict --weights {weights} --score-thresh 0 --save-parts --device cpu --overwrite", *IMAGES
        )
        return (self.home / "predictions" / "results.json").read_bytes(), self.run(
            "-c", ARRAYS, weights, *IMAGES
        )


def main() -> None:
    """Share both models; say what is the same."""
    if len(sys.argv) != 2:
        sys.exit("usage: check_share.py PYTHON")
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "XDG_", "PYTHON"))
    }
    with tempfile.TemporaryDirectory() as folder, serve_hub() as hub:
        kept |= {
            "HF_ENDPOINT": hub.endpoint,
            "HF_HUB_DISABLE_XET": "1",
            "HF_HUB_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "*",
            "OMP_NUM_THREADS": "1",
        }
        here = Machine(sys.executable, Path(folder, "here"), kept | {"HF_TOKEN": TOKEN})
        there = Machine(os.path.abspath(sys.argv[1]), Path(folder, "there"), kept)
        for machine in (here, there):
            machine.home.mkdir()
            print(f"==> {machine.run('-c', VERSIONS)}", end="", flush=True)
        here.dprd("train --out trained", "--config", str(ROOT / "tests" / "tiny.toml"))
        for weights in ("trained", "demo"):
            here.dprd(f"weights pack {weights} packed-{weights}")
            here.dprd(f"weights push packed-{weights} org/{weights}")
            own, theirs = here.detect(weights), there.detect(f"hf:org/{weights}")
            if own != theirs:
                sys.exit(f"error: {weights}: other detections there than here")
            count = own[0].count(b'"bbox"')
            if not count:
                sys.exit(f"error: {weights}: no detections to compare")
            print(
                f"==> {weights}: {count} detections in {len(IMAGES)} images, the same to the bit", flush=True
            )


if __name__ == "__main__":
    main()
