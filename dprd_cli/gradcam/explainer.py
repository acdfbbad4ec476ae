"""What in an image a detection's class score comes from: Grad-CAM and its kin (the paper's Fig. 5).

A map belongs to one detection of one network. It is scaled to 0..1 by its own extremes, because gradients of
different networks have no common unit: maps are compared in shape, not in height.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.ops import box_iou

from dprd_cli.data.transforms import prepare
from dprd_cli.errors import UsageError, UserError, did_you_mean
from dprd_cli.gradcam.localization import Localization
from dprd_cli.model.detector import Detector
from dprd_cli.structures.detections import CascadeTrace, Detections
from dprd_cli.structures.sample import Dataset, ImageArray, Sample, without_objects

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
MATCH_IOU = 0.5
_STRIDE = 32
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
        layer: The layer it was read from.
    """

    values: NDArray[np.float32]
    layer: str


@dataclass(frozen=True, slots=True)
class View:
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
        layer: `p2` to `p5` (outputs of the neck), a module of the backbone, or empty: the level that the
            detection's box is pooled from.
        min_score: Leave out detections below this score.

    Raises:
        UsageError: If there is no such layer.

    Source: Fig. 5; Selvaraju et al. 2017.
    """

    def __init__(
        self, loaded: LoadedModel, *, method: str = "gradcam", layer: str = "", min_score: float = 0.0
    ) -> None:
        self.loaded, self.method, self.layer, self.min_score = loaded, method, layer, min_score
        self.detector = loaded.detector.eval().requires_grad_(False)
        self.device = self.detector.device
        if layer:
            self._module(layer)

    @cached_property
    def layers(self) -> dict[str, nn.Module]:
        """The layers that can be asked for by name: those whose output is a feature map."""
        levels = len(self.detector.roi_heads.pooler.strides)
        named: dict[str, nn.Module] = {
            f"p{k + 2}": self.detector.get_submodule(f"neck.output.{k}") for k in range(levels)
        }
        backbone = self.detector.backbone
        seen: set[nn.Module] = set()
        hooks = [module.register_forward_hook(_note_feature_map(seen)) for module in backbone.modules()]
        with torch.no_grad():
            backbone(torch.zeros(1, 3, 2 * _STRIDE, 2 * _STRIDE, device=self.device))
        for hook in hooks:
            hook.remove()
        inside = backbone.named_modules()
        return named | {name.removeprefix("body."): module for name, module in inside if module in seen}

    @torch.no_grad()
    def look(self, image: ImageArray) -> View:
        """Detect in an image. [H, W, 3]."""
        tensor = prepare(without_objects(image), self.loaded.config.data)[0].to(self.device).float()
        output = self.detector.detect([tensor], masks=False)
        kept = output.detections[0].scores >= self.min_score
        found, trace = output.detections[0][kept], output.traces[0][kept]
        return View(tensor, found, trace, found.to("cpu").resize((image.shape[0], image.shape[1])))

    def explain(self, view: View, index: int) -> Heatmap:
        """Return the map of one detection.

        Args:
            view: From `look`.
            index: Which of its detections.

        Raises:
            UserError: If the method is too expensive for the layer.
        """
        row = slice(index, index + 1)
        scores = ClassScores(self.detector, view.found[row], view.trace[row])
        layer = self.layer or self._pooled_from(scores.trace)
        height, width = view.found.image_size
        # The package stretches the layer's map over its input: pad that as the network pads it
        padding = (0, -width % _STRIDE, 0, -height % _STRIDE)
        padded = F.pad(view.image[None], padding).requires_grad_()
        values = self._map(padded, scores, self._module(layer))[:height, :width]
        full_height, full_width = view.shown.image_size
        return Heatmap(rescale(np.asarray(cv2.resize(values, (full_width, full_height)), np.float32)), layer)

    def _pooled_from(self, trace: CascadeTrace) -> str:
        """Return the level from which the last stage pools a detection."""
        return f"p{int(self.detector.roi_heads.pooler.levels(trace.boxes[0, -1])) + 2}"

    def _map(self, padded: Tensor, scores: ClassScores, module: nn.Module) -> NDArray[np.float32]:
        """Return the package's map of one detection over the padded image. [H, W]."""
        import pytorch_grad_cam
        from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

        guard = module.register_forward_hook(_limit_cells) if self.method == "eigengradcam" else None
        cam = getattr(pytorch_grad_cam, METHODS[self.method])(scores, [module])
        try:  # as a context manager the package would swallow an IndexError
            with torch.enable_grad():
                return np.asarray(cam(padded, [ClassifierOutputTarget(0)])[0], dtype=np.float32)
        finally:
            cam.activations_and_grads.release()
            if guard is not None:
                guard.remove()

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


def match_objects(
    boxes: Tensor, names: Sequence[str], other_boxes: Tensor, other_names: Sequence[str]
) -> list[int | None]:
    """Find each object among others: the same class name, and the largest IoU of at least 0.5.

    Args:
        boxes: Objects, which choose in this order. [N, 4]
        names: Their classes; upper and lower case count the same.
        other_boxes: Each is chosen at most once. [M, 4]
        other_names: Their classes.

    Returns:
        For each object the index of the other, or None.
    """
    overlap = box_iou(boxes.float(), other_boxes.float())  # [N, M]
    chosen: list[int | None] = []
    for row, name in zip(overlap.tolist(), names, strict=True):
        fitting = [
            (iou, -index)
            for index, (iou, other) in enumerate(zip(row, other_names, strict=True))
            if iou >= MATCH_IOU and other.casefold() == name.casefold() and index not in chosen
        ]
        chosen.append(-max(fitting)[1] if fitting else None)
    return chosen


@dataclass(frozen=True, slots=True)
class Evidence:
    """One network's detection of an object, and its map."""

    score: float
    box: Tensor
    part_boxes: Tensor | None
    heatmap: Heatmap


@dataclass(frozen=True, slots=True)
class Compared:
    """An object, and the evidence of each network in order; None where it did not find the object."""

    name: str
    evidence: tuple[Evidence | None, ...]


def compare(
    image: ImageArray, explainers: Sequence[Explainer], max_objects: int, *, all_found: bool = False
) -> list[Compared]:
    """Explain the objects that the first network found in an image, by each network.

    Args:
        image: RGB. [H, W, 3]
        explainers: One or two networks.
        max_objects: The first one's best so many detections.
        all_found: Then as many of those that only the second one found.
    """
    views = [explainer.look(image) for explainer in explainers]
    names = [_names(explainer, view) for explainer, view in zip(explainers, views, strict=True)]
    rows: list[tuple[int | None, ...]] = [(index,) for index in range(len(names[0]))]
    only: list[tuple[int | None, ...]] = []
    if len(views) > 1:
        matched = match_objects(views[0].shown.boxes, names[0], views[1].shown.boxes, names[1])
        rows = list(enumerate(matched))
        only = [(None, index) for index in range(len(names[1])) if index not in matched]
    chosen = rows[:max_objects] + (only[:max_objects] if all_found else [])
    return [
        Compared(
            next(names[k][index] for k, index in enumerate(row) if index is not None),
            tuple(
                None if index is None else _evidence(explainer, view, index)
                for explainer, view, index in zip(explainers, views, row, strict=True)
            ),
        )
        for row in chosen
    ]


def measure(
    dataset: Dataset,
    explainers: Sequence[Explainer],
    *,
    titles: Sequence[str],
    limit: int = 0,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Localization:
    """Measure how well maps stay on annotated objects, over the objects that every network found.

    Args:
        dataset: Classes are compared by name.
        explainers: The networks.
        titles: What to call each of them.
        limit: Only the first so many images; 0: all.
        progress: Called with (images done, images).
    """
    found = Localization(tuple(titles))
    total = min(len(dataset), limit or len(dataset))
    for number in range(total):
        sample = dataset[number]
        views = [explainer.look(sample.image) for explainer in explainers]
        names = [dataset.class_names[label] for label in sample.labels.tolist()]
        indices = [
            _find_annotated(sample, names, view, _names(explainer, view))
            for explainer, view in zip(explainers, views, strict=True)
        ]
        for row, chosen in enumerate(zip(*indices, strict=True)):
            if None in chosen:
                found.missed += 1
                continue
            evidence = [
                _evidence(explainer, view, index)
                for explainer, view, index in zip(explainers, views, chosen, strict=True)
            ]
            mask = sample.masks[row] if sample.masks is not None and sample.has_mask[row] else None
            found.add(
                {"image": sample.file_name, "object": row, "class": names[row]},
                [(e.heatmap.values, {"score": e.score, "layer": e.heatmap.layer}) for e in evidence],
                sample.boxes[row],
                mask,
            )
        progress(number + 1, total)
    return found


def _find_annotated(
    sample: Sample, names: Sequence[str], view: View, found_names: Sequence[str]
) -> list[int | None]:
    """Return the detection of each annotated object, or None; the best detections choose first."""
    truth = torch.from_numpy(sample.boxes)
    objects = match_objects(view.shown.boxes, found_names, truth, names)
    return [objects.index(row) if row in objects else None for row in range(len(names))]


def _names(explainer: Explainer, view: View) -> list[str]:
    return [explainer.loaded.class_names[label] for label in view.shown.labels.tolist()]


def _evidence(explainer: Explainer, view: View, index: int) -> Evidence:
    shown = view.shown
    parts = None if shown.part_boxes is None else shown.part_boxes[index]
    heatmap = explainer.explain(view, index)
    return Evidence(float(shown.scores[index]), shown.boxes[index], parts, heatmap)


def _note_feature_map(seen: set[nn.Module]) -> Callable[[nn.Module, object, object], None]:
    def note(module: nn.Module, _: object, output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4:
            seen.add(module)

    return note


def _limit_cells(module: nn.Module, _: object, output: Tensor) -> None:
    del module
    cells = output.shape[-2] * output.shape[-1]
    if cells > _EIGEN_CELLS:
        raise UserError(
            f"--method eigengradcam: {cells} cells are too many for it; choose a coarser --layer such as p5"
        )
