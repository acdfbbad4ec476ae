"""COCO's metrics for boxes and masks, over all classes and for each.

The numbers come from faster-coco-eval, and are pycocotools' numbers to the last digit: tests compare the
whole `precision`, `recall` and `stats` arrays of the two.
"""

from __future__ import annotations

import contextlib
import gc
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dprd_cli.data.coco_results import Kind, to_coco_results
from dprd_cli.evaluation.coco_index import index_coco
from dprd_cli.structures.detections import Detections

#: The order of COCO's `stats`.
METRICS = ("AP", "AP50", "AP75", "APS", "APM", "APL", "AR1", "AR10", "AR100", "ARS", "ARM", "ARL")


@dataclass(frozen=True, slots=True)
class CocoArrays:
    """What COCO's evaluation accumulates; -1 marks cells without ground truth.

    Args:
        precision: [T=10 IoUs, R=101 recalls, K classes, A=4 areas (all, S, M, L), M=3 limits (1, 10, 100)]
        recall: [T, K, A, M]
        stats: The twelve numbers that `METRICS` names, as fractions. [12]
    """

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    stats: NDArray[np.float64]


def accumulate(
    ground_truth: dict[str, Any],
    results: list[dict[str, Any]],
    kind: Kind,
    *,
    image_ids: list[int],
    category_ids: tuple[int, ...],
    backend: Literal["faster", "pycocotools"] = "faster",
) -> CocoArrays:
    """Match detections with the ground truth and accumulate precision and recall, silently.

    Law: both backends give the same arrays, bit by bit.

    Args:
        ground_truth: A COCO `instances` dict; left unchanged. Objects without a mask are ignored
            regions for `segm` (neither missed nor false).
        results: From `to_coco_results`; left unchanged. May be empty.
        kind: What overlaps: `bbox` or `segm`.
        image_ids: Images that count.
        category_ids: Categories that count, ascending along the arrays' class axis.
        backend: `pycocotools` is the reference.
    """
    if backend == "faster":
        from faster_coco_eval import COCO
        from faster_coco_eval import COCOeval_faster as COCOeval
    else:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    pause = _no_garbage_collection() if backend == "faster" else contextlib.nullcontext()
    with pause, contextlib.redirect_stdout(io.StringIO()):
        truth, found = index_coco(COCO, ground_truth, results, kind)
        evaluation = COCOeval(truth, found, iouType=kind)
        evaluation.params.imgIds = sorted(image_ids)
        evaluation.params.catIds = sorted(category_ids)
        recalls = evaluation.params.recThrs
        second = _second_recalls(truth.dataset["annotations"], evaluation.params)
        if backend == "faster":
            evaluation.params.recThrs = np.unique(np.concatenate((recalls, second.ravel())))
        evaluation.evaluate()
        evaluation.accumulate()
        if backend == "faster":
            evaluation.eval["precision"] = _as_pycocotools(evaluation, recalls, second)
        evaluation.summarize()
    arrays = evaluation.eval
    return CocoArrays(
        precision=np.asarray(arrays["precision"]),
        recall=np.asarray(arrays["recall"]),
        stats=np.asarray(evaluation.stats[: len(METRICS)], dtype=np.float64),
    )


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Pause Python's collector, which spends a quarter of the time on walking millions of live dicts."""
    before = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if before:
            gc.enable()


def _second_recalls(annotations: list[dict[str, Any]], params: Any) -> NDArray[np.float64]:
    """Return recalls that the second object found reaches and the first does not. [K, A]."""
    areas: dict[int, list[float]] = {category_id: [] for category_id in params.catIds}
    images = set(params.imgIds)
    for row in annotations:
        if row["image_id"] in images and row["category_id"] in areas and not row["iscrowd"]:
            areas[row["category_id"]].append(row["area"])
    counts = [
        [sum(low <= area <= high for area in areas[category_id]) for low, high in params.areaRng]
        for category_id in params.catIds
    ]
    return np.asarray(1.5 / np.maximum(counts, 1))


def _as_pycocotools(
    evaluation: Any, recalls: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return faster-coco-eval's precision at `recalls`, as pycocotools rounds it. [T, R, K, A, M].

    pycocotools adds 2^-52 to the denominator tp + fp, which changes only tp + fp = 1: a precision of 1 that
    rests on the best detection alone, the next one being false, is 1 / (1 + 2^-52). Where the next one is
    true the precision is 1 when the second object is found, too.

    Args:
        evaluation: After `accumulate`, at the recalls that both arrays hold.
        recalls: COCO's. [R]
        second: From `_second_recalls`. [K, A]
    """
    precision = np.array(evaluation.eval["precision"])
    grid = evaluation.params.recThrs
    index = np.searchsorted(grid, second)[None, None, :, :, None]
    alone = np.take_along_axis(precision, index, axis=1) < 1  # [T, 1, K, A, M]
    precision = precision[:, np.searchsorted(grid, recalls)]
    precision[alone & (precision == 1)] = 1 / (1 + np.spacing(1))
    return precision


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """AP and AP50 of one class, in percent; None where the class has no ground truth (or no masks).

    Args:
        name: Class name.
        category_id: Original category id.
        objects: Objects in the evaluated images, crowds left out.
        bbox_ap: Box AP.
        bbox_ap50: Box AP at IoU 0.5.
        segm_ap: Mask AP.
        segm_ap50: Mask AP at IoU 0.5.
    """

    name: str
    category_id: int
    objects: int
    bbox_ap: float | None
    bbox_ap50: float | None
    segm_ap: float | None = None
    segm_ap50: float | None = None


@dataclass(frozen=True, slots=True)
class CocoMetrics:
    """COCO's metrics in percent (0..100, as papers print them); None where there is no ground truth.

    Args:
        bbox: Box metrics by the names in `METRICS`.
        segm: Mask metrics, or None without masks.
        classes: Per class, in the order of the class indices.
        images: Number of evaluated images.
    """

    bbox: dict[str, float | None]
    segm: dict[str, float | None] | None
    classes: tuple[ClassMetrics, ...]
    images: int

    def metrics(self) -> dict[str, float | None]:
        """Return the metrics flat, as a row of the training's metrics file: `bbox_AP`, `segm_AP50`, ..."""
        kinds = {"bbox": self.bbox, "segm": self.segm or {}}
        return {f"{kind}_{name}": value for kind, values in kinds.items() for name, value in values.items()}

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain containers; None stays None (null)."""
        classes = [{name: getattr(row, name) for name in ClassMetrics.__slots__} for row in self.classes]
        return {
            "images": self.images,
            "unit": "percent",
            "bbox": self.bbox,
            "segm": self.segm,
            "classes": classes,
        }


def show(value: float | None) -> str:
    """Write a metric for a table: one decimal, and `-` where there is nothing to measure."""
    return "-" if value is None else f"{value:.1f}"


class CocoEvaluator:
    """Collects detections image by image and computes COCO's metrics over the images added.

    Args:
        ground_truth: A COCO `instances` dict of the whole split, crowds included; left unchanged.
        category_ids: Original category id of each class index. [K]
        class_names: Name of each class index. [K]
        with_masks: Evaluate masks too.
    """

    def __init__(
        self,
        ground_truth: dict[str, Any],
        category_ids: tuple[int, ...],
        class_names: tuple[str, ...],
        *,
        with_masks: bool,
    ) -> None:
        self.ground_truth = ground_truth
        self.category_ids = tuple(category_ids)
        self.class_names = tuple(class_names)
        self.kinds: tuple[Kind, ...] = ("bbox", "segm") if with_masks else ("bbox",)
        self.results: dict[Kind, list[dict[str, Any]]] = {kind: [] for kind in self.kinds}
        self.image_ids: list[int] = []
        self._arrays: dict[tuple[str, str], CocoArrays] = {}
        self._known = {image["id"] for image in ground_truth["images"]}

    def add(self, image_id: int, detections: Detections) -> None:
        """Add one image's detections, in the frame of the original image; masks are kept as RLE.

        Raises:
            ValueError: If the image is not in the ground truth, or was added before.
        """
        self.add_rows(image_id, self.rows(image_id, detections))

    def rows(
        self, image_id: int, detections: Detections, segmentations: list[dict[str, Any]] | None = None
    ) -> dict[Kind, list[dict[str, Any]]]:
        """Return what `add_rows` takes: COCO results of one image; see `to_coco_results`."""
        ids = self.category_ids
        return {kind: to_coco_results(detections, image_id, ids, kind, segmentations) for kind in self.kinds}

    def add_rows(self, image_id: int, rows: Mapping[Kind, list[dict[str, Any]]]) -> None:
        """Do what `add` does, with one image's results, perhaps of another process."""
        if image_id not in self._known:
            raise ValueError(f"image_id: {image_id} is not in the ground truth (or was added before)")
        self._known.remove(image_id)
        self.image_ids.append(image_id)
        self._arrays.clear()
        for kind in self.kinds:
            self.results[kind] += rows[kind]

    def arrays(self, kind: Kind, backend: Literal["faster", "pycocotools"] = "faster") -> CocoArrays:
        """Return the accumulated arrays of what was added so far; classes by ascending category id."""
        if (kind, backend) not in self._arrays:
            self._arrays[kind, backend] = accumulate(
                self.ground_truth,
                self.results[kind],
                kind,
                image_ids=self.image_ids,
                category_ids=self.category_ids,
                backend=backend,
            )
        return self._arrays[kind, backend]

    def summarize(self) -> CocoMetrics:
        """Return the metrics of what was added so far."""
        arrays = {kind: self.arrays(kind) for kind in self.kinds}
        totals: dict[Kind, dict[str, float | None]] = {
            kind: dict(zip(METRICS, map(_percent, values.stats), strict=True))
            for kind, values in arrays.items()
        }
        return CocoMetrics(totals["bbox"], totals.get("segm"), self._classes(arrays), len(self.image_ids))

    def _classes(self, arrays: dict[Kind, CocoArrays]) -> tuple[ClassMetrics, ...]:
        images = set(self.image_ids)
        counted = [
            annotation["category_id"]
            for annotation in self.ground_truth.get("annotations", [])
            if annotation["image_id"] in images and not annotation.get("iscrowd")
        ]
        column = {category_id: index for index, category_id in enumerate(sorted(self.category_ids))}
        rows = []
        for name, category_id in zip(self.class_names, self.category_ids, strict=True):
            values = {}
            for kind, accumulated in arrays.items():
                precision = accumulated.precision[:, :, column[category_id], 0, -1]  # [T, R]
                values[f"{kind}_ap"] = _mean_percent(precision)
                values[f"{kind}_ap50"] = _mean_percent(precision[0])
            rows.append(ClassMetrics(name, category_id, counted.count(category_id), **values))
        return tuple(rows)


def _percent(fraction: float) -> float | None:
    return None if fraction < 0 else 100 * float(fraction)


def _mean_percent(values: NDArray[np.float64]) -> float | None:
    valid = values[values > -1]
    return 100 * float(valid.mean()) if valid.size else None
