"""Single operations against the usual implementations: RoIAlign, mask pasting, COCO's evaluation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor
from torchvision.models.detection.roi_heads import paste_masks_in_image
from torchvision.ops import roi_align as torchvision_roi_align

from dprd_cli.benchmark.measure import BenchmarkReport, BenchmarkRow, interleave
from dprd_cli.benchmark.networks import OURS
from dprd_cli.data.coco_results import Kind
from dprd_cli.evaluation.coco import CocoArrays, accumulate
from dprd_cli.ops.masks import encode_rle
from dprd_cli.ops.roi_align import FeatureTable, assign_levels, roi_align
from dprd_cli.runtime.progress import Progress
from dprd_cli.structures.sample import CocoEntry, CocoTree

_STRIDES = (4, 8, 16, 32)
_BINS, _SAMPLES = 7, 2


def roialign(
    image_size: tuple[int, int], rois: int, repetitions: int, device: torch.device, progress: Progress
) -> BenchmarkReport:
    """Time RoIAlign over P2..P5, forward, and with the gradient of features and (ours alone) boxes.

    Args:
        image_size: (height, width)
        rois: Regions.
        repetitions: Timed turns.
        device: Where it runs.
        progress: Called after every call.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = image_size
    maps = [torch.randn(1, 256, height // s, width // s, generator=generator).to(device) for s in _STRIDES]
    corner = torch.rand((rois, 2), generator=generator) * torch.tensor([width * 0.7, height * 0.7])
    side = torch.exp(torch.rand((rois, 2), generator=generator) * 3 + 2.5)
    boxes = torch.cat((corner, corner + side), dim=1).to(device)
    levels = assign_levels(boxes, len(_STRIDES))
    gradient = torch.randn(rois, 256, _BINS, _BINS, generator=generator).to(device)
    nchw = [m.requires_grad_() for m in maps]
    rows = [m.detach().contiguous(memory_format=torch.channels_last).requires_grad_() for m in maps]
    moving = boxes.clone().requires_grad_()
    zeros = torch.zeros(rois, dtype=torch.int64, device=device)

    def theirs() -> Tensor:
        pooled = torch.empty_like(gradient)
        for level, (feature, stride) in enumerate(zip(nchw, _STRIDES, strict=True)):
            index = torch.nonzero(levels == level)[:, 0]
            part = torchvision_roi_align(feature, [boxes[index]], _BINS, 1 / stride, _SAMPLES, aligned=True)
            pooled = pooled.index_copy(0, index, part)
        return pooled

    def ours() -> Tensor:
        return roi_align(
            FeatureTable.build(rows, _STRIDES), moving, zeros, levels, _BINS, sampling_ratio=_SAMPLES
        )

    def backward(forward: Callable[[], Tensor], inputs: list[Tensor]) -> Callable[[], list[Tensor]]:
        return lambda: list(torch.autograd.grad(forward(), inputs, gradient))

    both, own = backward(theirs, nchw), backward(ours, [*rows, moving])
    difference = float((theirs() - ours()).detach().abs().max())
    gradients = max(float((a - b).abs().max()) for a, b in zip(both(), own(), strict=False))
    forward_runs = {"torchvision": torch.no_grad()(theirs), OURS: torch.no_grad()(ours)}
    runs: dict[str, Callable[[], object]] = {f"{n}, forward": run for n, run in forward_runs.items()}
    runs |= {"torchvision, forward+backward": both, f"{OURS}, forward+backward": own}
    timings = interleave(runs, repetitions, device, progress)
    medians = [timing.median for timing in timings.values()]
    targets = (1.0, 1.0) if device.type == "cuda" else (10.0, 8.0)
    against = "torchvision.ops.roi_align, no box gradient"
    return BenchmarkReport(
        "roialign",
        {"image_size": list(image_size), "rois": rois, "channels": 256, "bins": _BINS, "samples": _SAMPLES},
        timings,
        [
            BenchmarkRow(
                f"RoIAlign forward, {rois} RoIs", against, medians[0] / medians[1], targets[0], at_least=True
            ),
            BenchmarkRow(
                f"RoIAlign forward+backward, {rois} RoIs",
                against,
                medians[2] / medians[3],
                targets[1],
                at_least=True,
            ),
        ],
        difference < 1e-4 and gradients < 1e-2,
        f"largest difference of values {difference:.1e}, of feature gradients {gradients:.1e}",
    )


def paste(image_size: tuple[int, int], masks: int, repetitions: int, progress: Progress) -> BenchmarkReport:
    """Time masks from 28x28 probabilities to COCO's run lengths in the image's size."""
    generator = torch.Generator().manual_seed(0)
    height, width = image_size
    noise = torch.rand(masks, 1, 4, 4, generator=generator)
    probabilities = torch.nn.functional.interpolate(noise, (28, 28), mode="bicubic").clamp(0, 1)
    corner = torch.rand((masks, 2), generator=generator) * torch.tensor([width * 0.6, height * 0.6])
    side = torch.rand((masks, 2), generator=generator) * torch.tensor([width * 0.4, height * 0.4]) + 8
    boxes = torch.cat((corner, corner + side), dim=1)

    def theirs() -> list[dict[str, Any]]:
        pasted = paste_masks_in_image(probabilities, boxes, image_size)[:, 0] >= 0.5
        arrays = pasted.to(torch.uint8).numpy()
        return [coco_mask.encode(np.asfortranarray(array)) for array in arrays]

    def ours() -> list[dict[str, Any]]:
        return encode_rle(probabilities[:, 0], boxes, image_size)

    pairs = zip(theirs(), ours(), strict=True)
    ious = [float(coco_mask.iou([a], [b], [0])[0, 0]) for a, b in pairs]
    name = "torchvision's paste + pycocotools' encode"
    timings = interleave({name: theirs, OURS: ours}, repetitions, torch.device("cpu"), progress)
    ratio = timings[name].median / timings[OURS].median
    return BenchmarkReport(
        "paste",
        {"image_size": list(image_size), "masks": masks},
        timings,
        [
            BenchmarkRow(
                f"paste and run lengths of {masks} masks, {height}x{width}", name, ratio, 4.0, at_least=True
            )
        ],
        sum(ious) / len(ious) > 0.9,
        f"mean IoU of the masks {sum(ious) / len(ious):.3f}: torchvision rounds boxes to whole pixels first",
    )


def evaluation(
    images: int, repetitions: int, progress: Progress, per_image: tuple[float, int] = (7.2, 50)
) -> BenchmarkReport:
    """Time COCO's evaluation of boxes and masks on generated objects and detections; compare every number.

    Args:
        images: Images.
        repetitions: Timed turns.
        progress: Called after every call.
        per_image: Objects and detections of an image, in the mean.
    """
    truth, results = generate(images, *per_image)
    image_ids = [image["id"] for image in truth["images"]]
    categories = tuple(category["id"] for category in truth["categories"])
    arrays: dict[tuple[str, Kind], CocoArrays] = {}

    def run(backend: Any) -> Callable[[], None]:
        def both() -> None:
            kind: Kind
            for kind in ("bbox", "segm"):
                arrays[backend, kind] = accumulate(
                    truth, results, kind, image_ids=image_ids, category_ids=categories, backend=backend
                )

        return both

    runs = {"pycocotools": run("pycocotools"), OURS: run("faster")}
    timings = interleave(runs, repetitions, torch.device("cpu"), progress, warm_up=False)
    kinds: tuple[Kind, ...] = ("bbox", "segm")
    same = all(_identical(arrays["pycocotools", kind], arrays["faster", kind]) for kind in kinds)
    stats = ", ".join(f"{kind} AP {100 * arrays['faster', kind].stats[0]:.2f}" for kind in kinds)
    ratio = timings["pycocotools"].median / timings[OURS].median
    what = f"COCO evaluation of boxes and masks, {images} images, {len(results)} detections"
    return BenchmarkReport(
        "eval",
        {"images": images, "objects": len(truth["annotations"]), "detections": len(results)},
        timings,
        [BenchmarkRow(what, "pycocotools", ratio, 5.0, at_least=True)],
        same,
        f"precision, recall and stats are {'equal to the last bit' if same else 'DIFFERENT'}; {stats}",
    )


def _identical(a: CocoArrays, b: CocoArrays) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name)) for name in ("precision", "recall", "stats")
    )


def generate(
    images: int, objects: float, detections: int, image_size: tuple[int, int] = (480, 640)
) -> tuple[CocoTree, list[CocoEntry]]:
    """Return elliptic objects as polygons, and detections near them and elsewhere as run lengths.

    Args:
        images: Number of images.
        objects: Objects of an image, in the mean.
        detections: Detections of an image.
        image_size: (height, width)

    Returns:
        Annotations in COCO's form, without file names, and results.
    """
    random = np.random.default_rng(0)
    (height, width), classes = image_size, 80
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in range(1, images + 1):
        count = int(random.poisson(objects))
        boxes = _boxes(random, count, height, width)
        labels = random.integers(1, classes + 1, count)
        for box, label in zip(boxes, labels, strict=True):
            polygon = _ellipse(box)
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(label),
                    "bbox": box.tolist(),
                    "area": float(np.pi / 4 * box[2] * box[3]),
                    "iscrowd": int(random.random() < 0.01),
                    "segmentation": [polygon],
                }
            )
        near = random.integers(0, max(count, 1), detections)
        loose = _boxes(random, detections, height, width)
        for which, other in zip(near, loose, strict=True):
            hit = count > 0 and random.random() < 0.4
            box = boxes[which] * random.normal(1, 0.06, 4).clip(0.5, 2) if hit else other
            label = labels[which] if hit and random.random() < 0.9 else random.integers(1, classes + 1)
            rle = coco_mask.frPyObjects([_ellipse(box)], height, width)[0]
            results.append(
                {
                    "image_id": image,
                    "category_id": int(label),
                    "bbox": box.tolist(),
                    "score": round(float(random.beta(4, 2) if hit else random.beta(1, 4)), 3),
                    "segmentation": {"size": rle["size"], "counts": rle["counts"].decode("ascii")},
                }
            )
    truth = {
        "images": [{"id": i, "height": height, "width": width} for i in range(1, images + 1)],
        "categories": [{"id": i, "name": str(i)} for i in range(1, classes + 1)],
        "annotations": annotations,
    }
    return truth, results


def _boxes(random: np.random.Generator, count: int, height: int, width: int) -> Any:
    """Return xywh boxes, small ones more often than large ones. [count, 4]."""
    size = np.exp(random.uniform(np.log(8), np.log(height * 0.8), (count, 2)))
    corner = random.uniform(0, 1, (count, 2)) * np.maximum([width, height] - size, 0)
    return np.concatenate((corner, size), axis=1)


def _ellipse(box: Any, points: int = 24) -> list[float]:
    angle = np.linspace(0, 2 * np.pi, points, endpoint=False)
    x, y, w, h = box
    return np.stack((x + w / 2 * (1 + np.cos(angle)), y + h / 2 * (1 + np.sin(angle))), 1).ravel().tolist()
