"""Foreign weights: pretrained backbones under torchvision's key names."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.parse import urlparse

import torch
from torch import Tensor

from dprd_cli.checkpoint import read_tensors
from dprd_cli.errors import UsageError, UserError
from dprd_cli.model.backbone import IMAGENET_WEIGHTS
from dprd_cli.model.detector import Detector

#: Prefixes that a backbone file may carry, and the classifiers that a detector has no use for.
_PREFIXES = ("", "module.", "backbone.", "body.", "backbone.body.")
_CLASSIFIERS = ("fc.", "classifier.")
_SHOWN = 3


def load_backbone_weights(detector: Detector, spec: str) -> list[str]:
    """Load pretrained weights into the backbone; every tensor must fit.

    Args:
        detector: The detector whose backbone is filled.
        spec: `imagenet` (torchvision's, downloaded to torch.hub's cache) or a file with torchvision's keys.

    Returns:
        Lines that say what was loaded and what was left out.

    Raises:
        UserError: If the download fails, or the file is unreadable or fits another backbone.
    """
    name = detector.backbone.name
    state = _download(name) if spec == "imagenet" else read_tensors(Path(spec))
    wanted = detector.backbone.body.state_dict()
    state = _strip(state, wanted)
    unused = [key for key in state if key not in wanted and not key.endswith("num_batches_tracked")]
    classifier = [key for key in unused if key.startswith(_CLASSIFIERS)]
    missing = [key for key in wanted if key not in state and not key.endswith("num_batches_tracked")]
    wrong = [key for key in wanted if key in state and state[key].shape != wanted[key].shape]
    surplus = [key for key in unused if key not in classifier]
    for problem, keys in (("missing", missing), ("of another shape", wrong), ("unknown", surplus)):
        if keys:
            raise UserError(
                f"{spec}: not the weights of {name}: {len(keys)} tensors {problem} "
                f"({', '.join(keys[:_SHOWN])}{', ...' if len(keys) > _SHOWN else ''}); "
                "choose the backbone that they belong to with --backbone, or --backbone-weights none"
            )
    detector.backbone.body.load_state_dict({k: v for k, v in state.items() if k in wanted}, strict=False)
    left = f"; left out the classifier's {len(classifier)}" if classifier else ""
    return [f"backbone {name}: {len(wanted)} tensors from {spec}{left}"]


def _strip(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix under which most keys are the backbone's."""

    def stripped(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in state.items()}

    return max((stripped(prefix) for prefix in _PREFIXES), key=lambda tree: len(wanted.keys() & tree.keys()))


def _download(name: str) -> dict[str, Any]:
    if name not in IMAGENET_WEIGHTS:
        raise UsageError(f"there are no ImageNet weights for {name}; pass --backbone-weights FILE or none")
    weights = IMAGENET_WEIGHTS[name]
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    file = folder / Path(urlparse(weights.url).path).name
    try:
        return dict(weights.get_state_dict(progress=True, check_hash=True))
    except (URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", error)
        raise UserError(
            f"cannot download {weights.url} ({reason}); put the file {file.name} into {folder}, "
            "or pass --backbone-weights FILE or none"
        ) from error
