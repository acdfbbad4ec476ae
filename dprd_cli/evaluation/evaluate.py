"""Evaluation of a detector on a split: COCO's and VOC's metrics, proposal recall, how far the parts moved."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple

import torch
from torch import Tensor

from dprd_cli.config.schema import Config
from dprd_cli.data.coco_results import Kind
from dprd_cli.data.loading import iterate_eval
from dprd_cli.evaluation.coco import CocoEvaluator
from dprd_cli.evaluation.parts import PartDrift
from dprd_cli.evaluation.recall import ProposalRecall
from dprd_cli.evaluation.voc import POINTS, voc_metrics
from dprd_cli.files.atomic import write_atomically
from dprd_cli.inference.tta import detect_views
from dprd_cli.runtime.device import autocast
from dprd_cli.runtime.distributed import ALONE, Ranks
from dprd_cli.structures.detections import Detections, Target
from dprd_cli.structures.sample import Dataset, Sample

if TYPE_CHECKING:
    from dprd_cli.model.detector import Detector

#: Called with (images done, images in all); may raise to stop.
ProgressCallback = Callable[[int, int], None]


class Detected(NamedTuple):
    """What was found in one image of a split.

    Args:
        number: Orders the images as the split does, over all ranks.
        sample: The image.
        target: Its objects in the frame of the test image.
        detections: On the CPU, in the frame of `sample`.
        proposals: In the frame of `target`, best first; None in multi-scale testing. [R, 4]
    """

    number: int
    sample: Sample
    target: Target
    detections: Detections
    proposals: Tensor | None


def detect_split(
    detector: Detector,
    dataset: Dataset,
    config: Config,
    *,
    limit: int = 0,
    part_offsets: str = "learned",
    tta: bool = False,
    masks: bool = True,
    device: torch.device,
    progress: ProgressCallback | None = None,
    batch_size: int = 0,
    world: Ranks = ALONE,
) -> Iterator[Detected]:
    """Yield what a detector, in eval mode, finds in every image of a split; see `evaluate`.

    With several ranks, each finds what is in its share of the batches. All call `progress` equally often.
    """
    total = min(limit, len(dataset)) if limit else len(dataset)
    size = batch_size or config.train.pass_size
    batches = iterate_eval(dataset, config.data, size, limit, (world.rank, world.size))
    for start in range(0, total, size * world.size):
        images, targets, samples = next(batches, ([], [], []))
        found: list[Detections] = []
        proposals: list[Tensor | None] = [None] * len(samples)
        with autocast(device, config.train.amp):
            if tta:
                found = [
                    detect_views(detector, sample.image, config.data, part_offsets, masks=masks)
                    for sample in samples
                ]
            elif images:
                moved = [image.to(device) for image in images]
                output = detector.detect(moved, part_offsets, masks=masks)
                found, proposals = output.detections, [boxes.float().cpu() for boxes in output.proposals]
        number = start + world.rank * size
        for sample, target, one, boxes in zip(samples, targets, found, proposals, strict=True):
            frame = (sample.image.shape[0], sample.image.shape[1])
            yield Detected(number, sample, target, one.to("cpu").resize(frame), boxes)
            number += 1
        if progress is not None:
            progress(min(start + size * world.size, total), total)


@torch.no_grad()  # not inference mode: what the network caches here, training uses
def evaluate(
    detector: Detector,
    dataset: Dataset,
    config: Config,
    *,
    limit: int = 0,
    part_offsets: str = "learned",
    tta: bool = False,
    save_results: Path | None = None,
    device: torch.device,
    with_masks: bool | None = None,
    progress: ProgressCallback | None = None,
    watch: Callable[[Sample, Detections], None] | None = None,
    batch_size: int = 0,
    world: Ranks = ALONE,
) -> dict[str, Any]:
    """Detect in every image of a split and measure.

    Args:
        detector: On `device`; its training mode is restored afterwards.
        dataset: The split.
        config: ImageArray sizes, batch size, mixed precision.
        limit: Evaluate the first so many images; 0 takes all.
        part_offsets: `learned`, `mean` (one template per part) or `reference` (no offsets).
        tta: Detect at several scales and mirrored.
        save_results: Folder for the detections, in COCO's results format.
        device: Where the images go.
        with_masks: Evaluate masks; where the split has any, by default.
        progress: Called after each batch.
        watch: Called with each image and what was found in it, of this rank.
        batch_size: Images that go through the network at once; by default the config's.
        world: The ranks that share the images. Law: their number does not change a number.

    Returns:
        On the main rank; nothing on the others:
        `metrics` (flat: `bbox_AP` and so on in percent, `recall50` and `recall70` of 100 proposals as
        fractions, None with `tta`, `part_iou` of detected parts with their reference parts, `images`; on VOC
        data also `voc_11_point_AP50` and so on), `results` (COCO's, per class too, and `voc`),
        `seconds_per_image`, and the `evaluator`, for analysis.
    """
    masks = dataset.has_masks if with_masks is None else with_masks
    coco = CocoEvaluator(dataset.coco(), dataset.category_ids, dataset.class_names, masks)
    recall, drift = ProposalRecall(), PartDrift()
    was_training, started = detector.training, time.perf_counter()
    detector.eval()
    try:
        measured = []
        for found in detect_split(
            detector,
            dataset,
            config,
            limit=limit,
            part_offsets=part_offsets,
            tta=tta,
            masks=masks,
            device=device,
            progress=progress,
            batch_size=batch_size,
            world=world,
        ):
            rows = coco.rows(found.sample.image_id, found.detections)
            best = None if found.proposals is None else recall.best(found.proposals, found.target.boxes)
            drifted = drift.of(found.detections)
            measured.append(_Measured(found.number, found.sample.image_id, rows, best, drifted))
            if watch is not None:
                watch(found.sample, found.detections)
    finally:
        detector.train(was_training)
    parts = world.gather(measured)
    if not world.is_main:
        return {}
    for one in sorted((one for part in parts for one in part), key=lambda one: one.number):
        coco.add_rows(one.image_id, one.rows)
        recall.add_best(one.best)
        drift.add(one.drift)
    seconds = (time.perf_counter() - started) / max(len(coco.image_ids), 1)
    if save_results is not None:
        save_results.mkdir(parents=True, exist_ok=True)
        for kind, found_rows in coco.results.items():
            write_atomically(save_results / f"{kind}.json", partial(_write_json, json.dumps(found_rows)))
    result = coco.summarize()
    metrics = {**result.metrics(), **recall.result(), **drift.result(), "images": result.images}
    results = result.to_dict()
    if dataset.is_voc:
        voc = results["voc"] = _voc(coco)
        metrics |= {f"voc_{kind}_{name}": value for kind in POINTS for name, value in voc[kind].items()}
    return {"metrics": metrics, "results": results, "seconds_per_image": seconds, "evaluator": coco}


def _write_json(text: str, file: BinaryIO) -> None:
    file.write(text.encode())


def _voc(coco: CocoEvaluator) -> dict[str, Any]:
    """Return VOC's metrics of the boxes that were collected for COCO's."""
    return voc_metrics(
        coco.ground_truth,
        coco.results["bbox"],
        image_ids=coco.image_ids,
        category_ids=coco.category_ids,
        class_names=coco.class_names,
    )


class _Measured(NamedTuple):
    """What one image adds to the metrics; small enough to be sent to another process."""

    number: int
    image_id: int
    rows: dict[Kind, list[dict[str, Any]]]
    best: Tensor | None
    drift: tuple[float, int]
