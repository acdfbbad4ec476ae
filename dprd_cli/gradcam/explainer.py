"""What in an image a detection's class score comes from: Grad-CAM and its kin (the paper's Fig. 5).

A map belongs to one detection of one network. It is scaled to 0..1 by its own extremes, because gradients of
different networks have no common unit: maps are compared in shape, not in height.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dprd_cli.data.transforms import prepare
from dprd_cli.errors import UsageError, UserError, did_you_mean
from dprd_cli.model.detector import STRIDE, Detector
from dprd_cli.structures.detections import CascadeTrace, Detections
from dprd_cli.structures.sample import ImageArray, without_objects

if TYPE_CHECKING:
    from dprd_cli.weights.load import LoadedModel

#: `--method` -> class of the grad-cam package; those that need one backward pass and no second forward.
METHODS: dict[str, str] = {
    "gradcam": "GradCAM",
    "gradcam++": "GradCAMPlusPlus",
    "xgradcam": "XGradCAM",
    "layercam": "LayerCAM",
    "hirescam": "HiResCAM",
    "elementwise": "GradCAMElementWise",
    "eigengradcam": "EigenGradCAM",
}
_EIGEN_CELLS = 8000  # eigengradcam makes a matrix of (cells x cells)


class ClassScores(nn.Module):
    """A detector as the classifier that the grad-cam package expects: image -> scores of given detections.

    Args:
        detector: In eval mode.
        found: What it found in the image. [D]
        trace: Way of these detections through the cascade. [D]

    Reading: a score is the detection's class logit, averaged over the stages as the probabilities of its
    score are. The boxes are constants.
    """

    def __init__(self, detector: Detector, found: Detections, trace: CascadeTrace) -> None:
        super().__init__()
        self.detector, self.found, self.trace = detector, found, trace

    def forward(self, images: Tensor) -> Tensor:
        """Return the class scores [1, D] in one image, padded at right and bottom. [1, 3, H, W]."""
        height, width = self.found.image_size
        logits = self.detector.class_logits(images[0, :, :height, :width], self.trace).mean(dim=1)
        return logits.gather(1, self.found.labels[:, None]).T


@dataclass(frozen=True, slots=True)
class Heatmap:
    """A map in the image's frame.

    Args:
        values: 0..1; 0 everywhere if the layer does not matter to the score. [H, W]
        layer: The layer it was read from, or several, with `+` between them.
    """

    values: NDArray[np.float32]
    layer: str


@dataclass(frozen=True, slots=True)
class NetworkView:
    """An image as a network sees it, and what it found there.

    Args:
        image: Resized for the network, RGB in 0..255. [3, h, w]
        found: In the frame of `image`, on the network's device.
        trace: Way of `found` through the cascade.
        shown: The same in the frame of the image, on the CPU.
    """

    image: Tensor
    found: Detections
    trace: CascadeTrace
    shown: Detections


class Explainer:
    """Detects in images, and maps what single detections come from.

    Args:
        loaded: The model. Its parameters lose `requires_grad`: only the gradient of features is wanted.
        method: A key of `METHODS`.
        layer: `p2` to `p5` (outputs of the neck), a module of the backbone, or empty: all levels that the
            detection's box and parts are pooled from.
        min_score: Leave out detections below this score.

    Raises:
        UsageError: If there is no such layer.

    Source: Fig. 5; Selvaraju et al. 2017; hirescam: Draelos and Carin 2020.
    """

    def __init__(
        self, loaded: LoadedModel, *, method: str = "hirescam", layer: str = "", min_score: float = 0.0
    ) -> None:
        self.loaded, self.method, self.layer, self.min_score = loaded, method, layer, min_score
        self.detector = loaded.detector.eval().requires_grad_(requires_grad=False)
        self.device = self.detector.device
        if layer:
            self._module(layer)

    @property
    def levels(self) -> list[str]:
        """The levels that boxes and parts are pooled from."""
        return [f"p{k + 2}" for k in range(len(self.detector.roi_heads.pooler.strides))]

    @cached_property
    def layers(self) -> dict[str, nn.Module]:
        """The layers that can be asked for by name: those whose output is a feature map."""
        named: dict[str, nn.Module] = {
            name: self.detector.get_submodule(f"neck.output.{k}") for k, name in enumerate(self.levels)
        }
        backbone = self.detector.backbone
        seen: set[nn.Module] = set()
        hooks = [module.register_forward_hook(_note_feature_map(seen)) for module in backbone.modules()]
        with torch.no_grad():
            backbone(torch.zeros(1, 3, 2 * STRIDE, 2 * STRIDE, device=self.device))
        for hook in hooks:
            hook.remove()
        inside = backbone.named_modules()
        return named | {name.removeprefix("body."): module for name, module in inside if module in seen}

    def class_names(self, view: NetworkView) -> list[str]:
        """Return the name of each detection's class. [D]."""
        return [self.loaded.class_names[label] for label in view.shown.labels.tolist()]

    @torch.no_grad()
    def look(self, image: ImageArray) -> NetworkView:
        """Detect in an image. [H, W, 3]."""
        tensor = prepare(without_objects(image), self.loaded.config.data)[0].to(self.device).float()
        output = self.detector.detect([tensor], masks=False)
        kept = output.detections[0].scores >= self.min_score
        found, trace = output.detections[0][kept], output.traces[0][kept]
        return NetworkView(tensor, found, trace, found.to("cpu").resize((image.shape[0], image.shape[1])))

    def explain(self, view: NetworkView, index: int) -> Heatmap:
        """Return the map of one detection.

        Args:
            view: From `look`.
            index: Which of its detections.

        Raises:
            UserError: If the method is too expensive for the layer.
        """
        row = slice(index, index + 1)
        scores = ClassScores(self.detector, view.found[row], view.trace[row])
        height, width = view.found.image_size
        # A layer's cells tile the padded image: pad as the network does
        padding = (0, -width % STRIDE, 0, -height % STRIDE)
        padded = F.pad(view.image[None], padding).requires_grad_()
        names = [self.layer] if self.layer else self.levels
        maps = self._maps(padded, scores, names)
        total = sum(_spread(cells, padded) for cells in maps.values())
        values = np.asarray(total, np.float32).clip(min=0)[:height, :width]
        full_height, full_width = view.shown.image_size
        values = rescale(np.asarray(cv2.resize(values, (full_width, full_height)), np.float32))
        return Heatmap(values, "+".join(name for name in names if maps[name].any()) or names[0])

    def pooled_from(self, trace: CascadeTrace) -> str:
        """Return the level from which the last stage pools a detection's box."""
        return self.levels[int(self.detector.roi_heads.pooler.levels(trace.boxes[0, -1]))]

    def _maps(self, padded: Tensor, scores: ClassScores, names: list[str]) -> dict[str, NDArray[np.float32]]:
        """Return the package's map [h, w] of one detection at each layer, signed; zeros where none counts."""
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        modules = [self._module(name) for name in names]
        outputs: dict[nn.Module, Tensor] = {}
        hooks = [module.register_forward_hook(_keep_output(outputs)) for module in modules]
        try:
            with torch.enable_grad():
                score = scores(padded)[0, 0]
        finally:
            for hook in hooks:
                hook.remove()
        if self.method == "eigengradcam":
            _limit_cells(max(output[0, 0].numel() for output in outputs.values()))
        features = [outputs[module] for module in modules]
        gradients = torch.autograd.grad(score, features, allow_unused=True)
        cam = getattr(pytorch_grad_cam, METHODS[self.method])(scores, modules)
        cam.activations_and_grads.release()  # only its formula is wanted
        targets, maps = [ClassifierOutputTarget(0)], {}
        for name, module, feature, gradient in zip(names, modules, features, gradients, strict=True):
            maps[name] = np.zeros(feature.shape[-2:], np.float32)
            if gradient is not None and gradient.any():
                arrays = (feature.detach().cpu().numpy(), gradient.cpu().numpy())
                cells = cam.get_cam_image(padded, module, targets, *arrays, eigen_smooth=False)
                maps[name] = np.asarray(cells[0], np.float32)
        return maps

    def _module(self, name: str) -> nn.Module:
        if name in self.layers:
            return self.layers[name]
        top = [layer for layer in self.layers if layer.count(".") == 0 or layer.startswith("features.")]
        shown = ", ".join(layer for layer in top if layer.count(".") <= 1)
        near = did_you_mean(name, self.layers)
        raise UsageError(f"--layer {name}: {self.loaded.source} has no such layer{near}; it has {shown}")


def rescale(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a map of values >= 0 divided by its maximum; zeros and what is not finite stay zero."""
    finite = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0).clip(min=0)
    return np.asarray(finite / max(float(finite.max(initial=0.0)), np.finfo(np.float32).tiny), np.float32)


def _note_feature_map(seen: set[nn.Module]) -> Callable[[nn.Module, object, object], None]:
    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            seen.add(module)

    return note


def _keep_output(outputs: dict[nn.Module, Tensor]) -> Callable[[nn.Module, object, Tensor], None]:
    def keep(module: nn.Module, _: object, output: Tensor) -> None:
        outputs[module] = output

    return keep


def _spread(cells: NDArray[np.float32], image: Tensor) -> NDArray[np.float32]:
    """Spread a layer's cells [h, w] over an image [1, 3, H, W] and keep their sum. Returns [H, W]."""
    height, width = image.shape[-2:]
    return np.asarray(cv2.resize(cells, (width, height)) * (cells.size / (height * width)), np.float32)


def _limit_cells(cells: int) -> None:
    if cells > _EIGEN_CELLS:
        raise UserError(
            f"--method eigengradcam: {cells} cells are too many for it; choose a coarser --layer such as p5"
        )
