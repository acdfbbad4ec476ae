"""Pretrained weights of a backbone: torchvision's, timm's, Caffe2's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from dprd_cli.config.backbone_names import TIMM
from dprd_cli.errors import UsageError, UserError
from dprd_cli.model.detector import Detector
from dprd_cli.model.timm_backbones import fetch_timm
from dprd_cli.model.torchvision_backbones import IMAGENET_WEIGHTS
from dprd_cli.weights.checkpoint import read_tensors
from dprd_cli.weights.fetch import fetch_file
from dprd_cli.weights.foreign import identify, read_foreign
from dprd_cli.weights.names import translate
from dprd_cli.weights.zoo import PublishedWeights, is_published, published

_SHOWN = 3
_COUNTER = "num_batches_tracked"
#: Prefixes that a backbone file may carry.
_PREFIXES = ("", "module.", "backbone.", "body.", "backbone.body.")


def load_backbone_weights(detector: Detector, spec: str) -> list[str]:
    """Load pretrained weights into the backbone; every tensor must fit.

    Args:
        detector: The detector whose backbone is filled.
        spec: `imagenet` (torchvision's, downloaded to torch.hub's cache), a published backbone's name such as
            `detectron2:MSRA/R-50`, or a file with torchvision's or Caffe2's names.

    Returns:
        Lines that say what was loaded and what was left out.

    Raises:
        UserError: If the download fails, or the file is unreadable or fits another backbone.
    """
    name = detector.backbone.name
    state = _backbone_state(detector, spec)
    wanted = detector.backbone.body.state_dict()
    if name.startswith(TIMM):
        state = _as_features(state, wanted)
    state = _strip(state, wanted)
    unused = [key for key in state if key not in wanted and not key.endswith(_COUNTER)]
    classifier = [key for key in unused if key.startswith(detector.backbone.left_out)]
    missing = [key for key in wanted if key not in state and not key.endswith(_COUNTER)]
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


def _backbone_state(detector: Detector, spec: str) -> dict[str, Tensor]:
    """Return the tensors that `spec` stands for, Caffe2's under our names."""
    if spec == "imagenet":
        name = detector.backbone.name
        return read_foreign(Path(fetch_timm(name))) if name.startswith(TIMM) else _imagenet(name)
    if is_published(spec):
        file = published(spec)
        if file.preset:
            raise UsageError(f"{spec}: the weights of a detector; pass them to --weights")
        path = fetch_file(file.url, file.file_name)
    else:
        path = Path(spec)
    state = read_foreign(path)
    if identify(state) != "caffe2":
        return state
    wanted = [name for name in detector.state_dict() if name.startswith("backbone.")]
    found = translate(state, "caffe2", wanted)
    return found.state | {name: state[name] for name in found.unused}


def _as_features(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one of timm's models by the names that they have in its extractor of features."""

    def name(key: str) -> str:
        names = (key, key.replace(".", "_", 1), f"model.{key}")
        return next((one for one in names if one in wanted), key)

    return {name(key): value for key, value in state.items()}


def _strip(state: dict[str, Tensor], wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """Remove the prefix under which most keys are the backbone's."""

    def stripped(prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): value for key, value in state.items()}

    return max((stripped(prefix) for prefix in _PREFIXES), key=lambda tree: len(wanted.keys() & tree.keys()))


def imagenet_file(name: str) -> PublishedWeights:
    """Return torchvision's ImageNet weights of a backbone.

    Raises:
        UsageError: If there are none.
    """
    if name not in IMAGENET_WEIGHTS:
        raise UsageError(f"there are no ImageNet weights for {name}; pass --backbone-weights FILE or none")
    url: str = IMAGENET_WEIGHTS[name].url
    sha256 = url.removesuffix(".pth").rpartition("-")[2]
    return PublishedWeights(url, "torchvision", model={"backbone": {"name": name}}, sha256=sha256)


def _imagenet(name: str) -> dict[str, Any]:
    file = imagenet_file(name)
    try:
        path = fetch_file(file.url, file.file_name, file.sha256)
    except UserError as error:
        raise UserError(f"{error}, or pass --backbone-weights FILE or none") from error
    return read_tensors(path)
