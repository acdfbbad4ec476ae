"""without_heads.py FROM TO.pt: copy a checkpoint without its RoI heads.

What starts from it (`train.weights`) shares backbone, pyramid and RPN, and learns its heads from nothing:
the start of docs/studies/moving-parts-photographs.toml, where heads with different parts are compared.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from dprd_cli.weights.checkpoint import CheckpointData, read_checkpoint, save_checkpoint
from dprd_cli.weights.find import find_checkpoint


def main() -> None:
    """Copy the tensors and say how many."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("source", help="a run, a checkpoint, or the name of one that comes along")
    parser.add_argument("target", type=Path)
    asked = parser.parse_args()
    if asked.target.exists():
        parser.error(f"{asked.target}: is there already")
    content = read_checkpoint(find_checkpoint(asked.source))
    model = {name: tensor for name, tensor in content["model"].items() if not name.startswith("roi_heads.")}
    trunk: CheckpointData = {
        "config": content["config"],
        "class_names": content["class_names"],
        "category_ids": content["category_ids"],
        "with_masks": content["with_masks"],
        "step": content["step"],
        "model": model,
    }
    save_checkpoint(asked.target, trunk)
    print(f"{asked.target}: {len(model)} of {len(content['model'])} tensors")


if __name__ == "__main__":
    main()
