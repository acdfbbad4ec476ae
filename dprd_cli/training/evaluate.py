"""Evaluation of a detector on a split: COCO's and VOC's metrics, proposal recall, how far the parts moved."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from dprd_cli.boxes import paired_iou
from dprd_cli.config import Config
from dprd_cli.data.base import Dataset
from dprd_cli.data.loading import iterate_eval
from dprd_cli.device import autocast
from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.evaluation.recall import ProposalRecall
from dprd_cli.evaluation.voc import POINTS, voc_metrics
from dprd_cli.model.parts import decompose
from dprd_cli.structures import Detections

if TYPE_CHECKING:
    from dprd_cli.model.detector import Detector

#: Called with (pictures done, pictures in all); may raise to stop.
ProgressCallback = Callable[[int, int], None]


@torch.no_grad()  # not inference mode: what the network caches here, training uses
def evaluate(
    detector: Detector,
    dataset: Dataset,
    config: Config,
    *,
    limit: int = 0,
    part_offsets: str = "learned",
    device: torch.device,
    with_masks: bool | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, Any]:
    """Detect in every picture of a split and measure.

    Args:
        detector: On `device`; its training mode is restored afterwards.
        dataset: The split.
        config: Picture sizes, batch size, mixed precision.
        limit: Evaluate the first so many pictures; 0 takes all.
        part_offsets: `learned`, `mean` (one template per part) or `reference` (no offsets).
        device: Where the pictures go.
        with_masks: Evaluate masks; where the split has any, by default.
        progress: Called after each batch.

    Returns:
        `metrics` (flat: `bbox_AP` and so on in percent, `recall50` and `recall70` of 100 proposals as
        fractions, `part_iou` of detected parts with their reference parts, `images`; on VOC data also
        `voc_11_point_AP50` and so on), `results` (COCO's, per class too, and `voc`) and `seconds_per_image`.
    """
    total = min(limit, len(dataset)) if limit else len(dataset)
    masks = dataset.has_masks if with_masks is None else with_masks
    coco = CocoEvaluator(dataset.coco(), dataset.category_ids, dataset.class_names, masks)
    recall, drift = ProposalRecall(), PartDrift()
    was_training, started, done = detector.training, time.perf_counter(), 0
    detector.eval()
    try:
        batches = iterate_eval(dataset, config.data, batch_size=config.train.batch_size, limit=limit)
        for images, targets, samples in batches:
            with autocast(device, config.train.amp):
                output = detector.detect([image.to(device) for image in images], part_offsets=part_offsets)
            for found, proposals, target, sample in zip(
                output.detections, output.proposals, targets, samples, strict=True
            ):
                coco.add(sample.image_id, found.resize(sample.image.shape[:2]).to("cpu"))
                recall.add(proposals.float().cpu(), target.boxes)
                drift.add(found)
            done += len(images)
            if progress is not None:
                progress(done, total)
    finally:
        detector.train(was_training)
    seconds = (time.perf_counter() - started) / max(done, 1)
    result = coco.summarize()
    metrics = {**result.metrics(), **recall.result(), **drift.result(), "images": result.images}
    results = result.to_dict()
    if dataset.is_voc:
        voc = results["voc"] = _voc(coco)
        metrics |= {f"voc_{kind}_{name}": value for kind in POINTS for name, value in voc[kind].items()}
    return {"metrics": metrics, "results": results, "seconds_per_image": seconds}


def _voc(coco: CocoEvaluator) -> dict[str, Any]:
    """Return VOC's metrics of the boxes that were collected for COCO's."""
    return voc_metrics(
        coco.ground_truth,
        coco.results["bbox"],
        image_ids=coco.image_ids,
        category_ids=coco.category_ids,
        class_names=coco.class_names,
    )


class PartDrift:
    """Mean IoU of detected parts with the reference parts of their boxes: 1 where nothing moved."""

    def __init__(self) -> None:
        self._sum, self._count = 0.0, 0

    def add(self, detections: Detections) -> None:
        """Count one picture's detections; none where the detector has no parts."""
        parts = detections.part_boxes
        if parts is None or not parts.shape[1]:
            return
        overlap = paired_iou(parts.float(), decompose(detections.boxes.float(), parts.shape[1]))
        self._sum += overlap.sum().item()
        self._count += overlap.numel()

    def result(self) -> dict[str, float]:
        """Return `{"part_iou": ...}`, or nothing where there were no parts."""
        return {"part_iou": self._sum / self._count} if self._count else {}
