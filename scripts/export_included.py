"""Write a run's last checkpoint as a small safetensors file, with the command, commit and AP that made it.

Usage: python scripts/export_included.py RUN assets/NAME.safetensors [NOTE]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from dprd_cli.weights.checkpoint import export_safetensors, read_checkpoint


def main(run: Path, out: Path, note: str = "") -> None:
    """Export `run`/last.pt in eight bits; AP is that of its results.json."""
    environment = json.loads((run / "environment.json").read_text())
    results = json.loads((run / "results.json").read_text())
    provenance = {
        "command": environment["command"],
        "commit": environment["commit"],
        **{f"{kind}_AP": results[kind]["AP"] for kind in ("bbox", "segm") if results.get(kind)},
        "data": results["data"],
        **({"note": note} if note else {}),
    }
    export_safetensors(read_checkpoint(run / "last.pt"), out, provenance, packed=True)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB, {json.dumps(provenance)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:])
