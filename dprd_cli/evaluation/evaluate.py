"""Evaluation of a detector on a split: COCO's and VOC's metrics, proposal recall, how far the parts moved."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from dprd_cli.config import registry
from dprd_cli.config.schema import Config
from dprd_cli.data.coco_results import Kind
from dprd_cli.data.loading import EvalBatch, iterate_eval
from dprd_cli.evaluation.coco import CocoEvaluator, CocoMetrics
from dprd_cli.evaluation.cues import CueReading
from dprd_cli.evaluation.metric import DetectionRecord, MetricSet
from dprd_cli.evaluation.parts import PartDeformation, PartDrift, PartStatistics
from dprd_cli.evaluation.recall import ProposalRecall
from dprd_cli.evaluation.threshold import ScoreThresholds, score_thresholds
from dprd_cli.evaluation.voc import VocMetrics, voc_metrics
from dprd_cli.inference.tiling import Tiling, detect_tiles
from dprd_cli.inference.tta import detect_views
from dprd_cli.ops.masks import encode_rle
from dprd_cli.runtime.precision import autocast
from dprd_cli.runtime.process_group import SINGLE_PROCESS, ProcessGroup
from dprd_cli.runtime.progress import Progress, stage
from dprd_cli.structures.detections import Detections
from dprd_cli.structures.sample import Dataset, Sample

if TYPE_CHECKING:
    from dprd_cli.model.detector import Detector

registry.metric.update(recall=ProposalRecall, part_drift=PartDrift, cues=CueReading)


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """How a split is evaluated.

    Args:
        limit: Number of images, the split's first ones; 0 takes all.
        tta: Detect at several scales and mirrored.
        tiling: Detect in the tiles of large images too.
        masks: Evaluate masks, where the split has any.
        batch_size: Images that go through the network at once; 0 takes the config's.
        progress: Called with (images done, images in all) after each batch, equally often in all processes;
            may raise to stop.
        watch: Called with each image and its detections, in the process that detected them.
        parts_from: Also measure how the parts of detections of at least this score deform, and, where each
            image is looked at once, which of them decided; None: neither.
    """

    limit: int = 0
    tta: bool = False
    tiling: Tiling | None = None
    masks: bool = True
    batch_size: int = 0
    progress: Progress | None = None
    watch: Callable[[Sample, Detections], None] | None = None
    parts_from: float | None = None

    @property
    def evidence_from(self) -> float | None:
        """From which score it is asked which part decided: never where detections are merged."""
        return None if self.tta or self.tiling is not None else self.parts_from


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an evaluation measured.

    Args:
        coco: COCO's metrics of boxes and masks, over all classes and for each.
        voc: VOC's, on its data.
        diagnostics: `recall50` and `recall70` of 100 proposals as fractions, None with multi-scale testing;
            `part_iou` of detected parts with their reference parts, where the detector has parts; what
            `CueReading` measures, where the data tells of cues; and what plugins measure.
        thresholds: Scores of the best F1, over all classes and for each.
        seconds_per_image: Time of detection and measuring.
        evaluator: All detections, for analysis.
        parts: How parts deform, and which decided; None where that was not asked for.
    """

    coco: CocoMetrics
    voc: VocMetrics | None
    diagnostics: dict[str, float | None]
    thresholds: ScoreThresholds
    seconds_per_image: float
    evaluator: CocoEvaluator = field(repr=False, compare=False)
    parts: PartDeformation | None = None

    @property
    def metrics(self) -> dict[str, float | None]:
        """All totals, flat, as a row of a run's metrics file: `bbox_AP`, `recall50`, `voc_11_point_AP50`."""
        voc = {} if self.voc is None else self.voc.metrics()
        return {**self.coco.metrics(), **self.diagnostics, "images": self.coco.images, **voc}

    def to_json(self) -> dict[str, Any]:
        """Return what results files hold: COCO's and VOC's tables, diagnostics, the parts and the time."""
        voc = {} if self.voc is None else {"voc": self.voc.to_json()}
        parts = {} if self.parts is None or self.parts.total is None else {"parts": self.parts.to_json()}
        return {
            "seconds_per_image": self.seconds_per_image,
            **self.diagnostics,
            **self.coco.to_json(),
            **voc,
            "thresholds": self.thresholds.to_json(),
            **parts,
        }


def evaluate(
    detector: Detector, dataset: Dataset, config: Config, options: EvaluationOptions | None = None
) -> Evaluation:
    """Detect in every image of a split and measure.

    Args:
        detector: On its device, in bfloat16 from `for_inference`; its training mode is restored afterwards.
        dataset: The split.
        config: Image sizes, batch size.
        options: Number of images, part offsets, what is called on the way; by default all of the split.
    """
    evaluation = evaluate_in_group(detector, dataset, config, options or EvaluationOptions(), SINGLE_PROCESS)
    assert evaluation is not None  # a process alone is the main one
    return evaluation


@torch.no_grad()  # not inference mode: what the network caches here, training uses
def evaluate_in_group(
    detector: Detector, dataset: Dataset, config: Config, options: EvaluationOptions, group: ProcessGroup
) -> Evaluation | None:
    """Do what `evaluate` does, with the images shared among the processes of a job.

    Law: the number of processes does not change a number.

    Args:
        detector: The same in all processes.
        dataset: The split, whole in all processes.
        config: Image sizes, batch size.
        options: The same in all processes, but for what is called.
        group: The processes.

    Returns:
        The evaluation on the main process, None on the others.
    """
    options = replace(options, masks=options.masks and dataset.has_masks)
    coco = CocoEvaluator(dataset.coco(), dataset.category_ids, dataset.class_names, with_masks=options.masks)
    metrics, parts = MetricSet(), PartStatistics(dataset.class_names, detector.place_shifts)
    was_training, started = detector.training, time.perf_counter()
    detector.eval()
    try:
        own = []
        for record in detect_split(detector, dataset, config, options, group):
            own.append(_contribution(record, coco, metrics, options.parts_from))
            if options.watch is not None:
                options.watch(record.sample, record.detections)
    finally:
        detector.train(was_training)
    shares = group.gather(own)
    if not group.is_main:
        return None
    images = sorted((one for share in shares for one in share), key=lambda one: one.number)
    for one in images:
        coco.add_rows(one.image_id, one.rows)
        if one.parts is not None:
            parts.add(one.parts)
    seconds = (time.perf_counter() - started) / max(len(coco.image_ids), 1)
    with stage("compute the metrics"):
        return Evaluation(
            coco=coco.summarize(),
            voc=_voc(coco) if dataset.is_voc else None,
            diagnostics=metrics.result([one.metrics for one in images]),
            thresholds=score_thresholds(coco),
            seconds_per_image=seconds,
            evaluator=coco,
            parts=None if options.parts_from is None else parts.result(),
        )


def detect_split(
    detector: Detector,
    dataset: Dataset,
    config: Config,
    options: EvaluationOptions,
    group: ProcessGroup = SINGLE_PROCESS,
) -> Iterator[DetectionRecord]:
    """Yield this process's share of a split's images, each with its detections.

    Args:
        detector: On its device, in eval mode.
        dataset: The split, whole in all processes.
        config: Image sizes, batch size.
        options: As for `evaluate`; `masks` are predicted whether the split has any or not.
        group: The processes that share the batches.
    """
    total = min(options.limit, len(dataset)) if options.limit else len(dataset)
    size = options.batch_size or config.train.pass_size
    batches = iterate_eval(dataset, config.data, size, options.limit, (group.rank, group.size))
    for start in range(0, total, size * group.size):
        batch = next(batches, EvalBatch([], [], []))
        with autocast(detector.device, detector.precision):
            found = _detect_batch(detector, config, options, batch)
        number = start + group.rank * size
        for target, sample, (one, boxes) in zip(*batch[1:], found, strict=True):
            frame = (sample.image.shape[0], sample.image.shape[1])
            runs = _encoded(one, frame) if options.masks else None
            yield DetectionRecord(number, sample, target, one.to("cpu").resize(frame), boxes, runs)
            number += 1
        if options.progress is not None:
            options.progress(min(start + size * group.size, total), total)


def _encoded(found: Detections, frame: tuple[int, int]) -> list[dict[str, Any]] | None:
    """Return run lengths of masks on a GPU, made there; on a CPU None: who wants them encodes."""
    if found.masks is None or found.masks.device.type == "cpu":
        return None
    return encode_rle(found.masks, found.resize(frame).boxes, frame)


def _detect_batch(
    detector: Detector,
    config: Config,
    options: EvaluationOptions,
    batch: EvalBatch,
) -> list[tuple[Detections, Tensor | None]]:
    """Return the detections in each image of a batch, and its proposals; None with `tta` and in tiles."""
    tiling, data = options.tiling, config.data
    found: dict[int, tuple[Detections, Tensor | None]] = {}
    for number, sample in enumerate(batch.samples):
        if tiling is not None and tiling.cuts(sample.image.shape[:2]):
            tiles = detect_tiles(detector, sample.image, data, tiling, masks=options.masks, tta=options.tta)
            found[number] = tiles, None
        elif options.tta:
            found[number] = detect_views(detector, sample.image, data, masks=options.masks), None
    rest = [number for number in range(len(batch.samples)) if number not in found]
    if rest:
        moved = [batch.images[number].to(detector.device) for number in rest]
        targets = [batch.targets[number] for number in rest] if detector.needs_targets else None
        output = detector.detect(
            moved, masks=options.masks, targets=targets, evidence_from=options.evidence_from
        )
        proposals = (boxes.float().cpu() for boxes in output.proposals)
        found |= zip(rest, zip(output.detections, proposals, strict=True), strict=True)
    return [found[number] for number in range(len(batch.samples))]


class _ImageContribution(NamedTuple):
    """What one image adds to the metrics; small enough to be sent to another process."""

    number: int
    image_id: int
    rows: dict[Kind, list[dict[str, Any]]]
    metrics: dict[str, object]
    parts: Detections | None


def _contribution(
    record: DetectionRecord, coco: CocoEvaluator, metrics: MetricSet, parts_from: float | None
) -> _ImageContribution:
    image_id, found = record.sample.image_id, record.detections
    with_parts = None if parts_from is None else replace(found, masks=None)[found.scores >= parts_from]
    rows = coco.rows(image_id, found, record.segmentations)
    return _ImageContribution(record.number, image_id, rows, metrics.of(record), with_parts)


def _voc(coco: CocoEvaluator) -> VocMetrics:
    """Return VOC's metrics of the boxes that were collected for COCO's."""
    return voc_metrics(
        coco.ground_truth,
        coco.results["bbox"],
        image_ids=coco.image_ids,
        category_ids=coco.category_ids,
        class_names=coco.class_names,
    )
