"""Write a run's best checkpoint as a small safetensors file, with the command, commit and AP that made it.

Usage: python scripts/export_demo.py RUN assets/demo.safetensors
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from dprd_cli.checkpoint import export_safetensors, read_checkpoint


def main(run: Path, out: Path) -> None:
    """Export `run`/best.pt in half precision; AP is that of `run`/eval.json (`dprd eval RUN --out`)."""
    environment = json.loads((run / "environment.json").read_text())
    results = json.loads((run / "eval.json").read_text())
    provenance = {
        "command": environment["command"],
        "commit": environment["git_commit"],
        "bbox_AP": results["bbox"]["AP"],
        "segm_AP": results["segm"]["AP"],
        "data": results["data"],
    }
    export_safetensors(read_checkpoint(run / "best.pt"), out, provenance, dtype=torch.float16)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {json.dumps(provenance)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
