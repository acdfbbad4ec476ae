"""SplitStatistics of a split's objects: classes, sizes, shapes, and how the anchors fit them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dprd_cli.config.model_schema import RPNConfig
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.anchor_fit import best_ious
from dprd_cli.data.build import build_dataset
from dprd_cli.data.formats.object_checks import clip_box, is_degenerate
from dprd_cli.data.formats.segmentation import has_mask as is_masked
from dprd_cli.data.transforms import resize_shape
from dprd_cli.structures.sample import Dataset, Split

Floats = NDArray[np.float64]

#: COCO's sizes: areas in square pixels of the original image, lower bound inclusive.
SIZES = {"small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2), "large": (96.0**2, np.inf)}
_QUANTILES = {"5%": 0.05, "median": 0.5, "95%": 0.95}


@dataclass(frozen=True, slots=True)
class ClassStatistics:
    """What the objects of one class are like.

    Args:
        name: Class name.
        objects: How many there are.
        images: Images that show any.
        masks: Objects that have a mask.
        median_side: Square root of their median area, pixels of the original image; None without any.
    """

    name: str
    objects: int
    images: int
    masks: int
    median_side: float | None


@dataclass(frozen=True, slots=True)
class SplitStatistics:
    """What a split's objects are like; crowds are left out.

    Args:
        split: `train` or `val`.
        class_names: Name of each class.
        num_images: Images.
        num_crowds: Annotations that are crowds, or difficult in evaluation.
        labels: Class of each object. [G]
        image_index: Number of the image of each object. [G]
        areas: Area of the mask, or of the box where there is none, in square pixels. [G]
        sides: (width, height) of each box, pixels of the image as it is tested. [G, 2]
        centres: Centre of each box, in shares of the image's width and height. [G, 2]
        has_mask: Which objects have a mask. [G]
        anchor_sizes: Square roots of the anchors' areas, pixels.
        aspect_ratios: Height over width of the anchors.
    """

    split: Split
    class_names: tuple[str, ...]
    num_images: int
    num_crowds: int
    labels: NDArray[np.int64]
    image_index: NDArray[np.int64]
    areas: Floats
    sides: Floats
    centres: Floats
    has_mask: NDArray[np.bool_]
    anchor_sizes: tuple[float, ...]
    aspect_ratios: tuple[float, ...]

    @property
    def per_image(self) -> NDArray[np.int64]:
        """Objects of each image. [N]."""
        return np.bincount(self.image_index, minlength=self.num_images)

    @property
    def ratios(self) -> Floats:
        """Height over width of each box. [G]."""
        return np.asarray(self.sides[:, 1] / self.sides[:, 0])

    @property
    def scales(self) -> Floats:
        """Square root of each box's area, pixels of the image as it is tested. [G]."""
        return np.asarray(np.sqrt(self.sides.prod(axis=1)))

    def classes(self) -> list[ClassStatistics]:
        """Return what the objects of every class are like, the most frequent class first."""
        rows = []
        for label, name in enumerate(self.class_names):
            mine = self.labels == label
            row = ClassStatistics(
                name,
                objects=int(mine.sum()),
                images=len(np.unique(self.image_index[mine])),
                masks=int(self.has_mask[mine].sum()),
                median_side=round(float(np.sqrt(np.median(self.areas[mine]))), 1) if mine.any() else None,
            )
            rows.append(row)
        return sorted(rows, key=lambda row: -row.objects)

    def size_counts(self) -> dict[str, int]:
        """Return how many objects are small, medium and large in COCO's sense."""
        return {
            name: int(((self.areas >= low) & (self.areas < high)).sum())
            for name, (low, high) in SIZES.items()
        }

    def anchor_ious(self) -> Floats:
        """Return the IoU of each box with the anchor of the most similar shape, laid over its centre. [G].

        It is what the best-placed anchor could reach; anchors at or above 0.7 are objects to the RPN.
        """
        return best_ious(self.sides, np.array(self.anchor_sizes), np.array(self.aspect_ratios))

    def to_json(self) -> dict[str, Any]:
        """Return what `--json` prints."""
        best = self.anchor_ious()
        return {
            "split": self.split,
            "images": self.num_images,
            "without_objects": int((self.per_image == 0).sum()),
            "objects": len(self.labels),
            "crowds": self.num_crowds,
            "with_masks": int(self.has_mask.sum()),
            "per_image": _quantiles(self.per_image),
            "sizes": self.size_counts(),
            "aspect_ratio": _quantiles(self.ratios),
            "side_at_test_size": _quantiles(self.scales),
            "anchors": {
                "sizes": list(self.anchor_sizes),
                "aspect_ratios": list(self.aspect_ratios),
                "mean_best_iou": round(float(best.mean()), 4) if len(best) else None,
                "share_above_0.5": round(float((best >= 0.5).mean()), 4) if len(best) else None,
                "share_above_0.7": round(float((best >= 0.7).mean()), 4) if len(best) else None,
            },
            "classes": [asdict(row) for row in self.classes()],
        }


def _quantiles(values: NDArray[Any]) -> dict[str, float | None]:
    return {
        name: round(float(np.quantile(values, share)), 3) if len(values) else None
        for name, share in _QUANTILES.items()
    }


def split_statistics(dataset: Dataset, split: Split, config: DataConfig, rpn: RPNConfig) -> SplitStatistics:
    """Measure the objects of a split.

    Args:
        dataset: The split.
        split: Which split it is.
        config: The size that images are tested at.
        rpn: The anchors.
    """
    tree = dataset.coco()
    images = {image["id"]: (number, image) for number, image in enumerate(tree["images"])}
    label = {ident: number for number, ident in enumerate(dataset.category_ids)}
    rows, has_mask, crowds = [], [], 0
    for ann in tree["annotations"]:
        number, image = images[ann["image_id"]]
        size = image["height"], image["width"]
        if ann["iscrowd"]:
            crowds += 1
        elif not is_degenerate(ann["bbox"], size):
            x1, y1, x2, y2 = clip_box(ann["bbox"], size)
            tested = resize_shape(*size, config.test_min_size, config.max_size)
            across, down = tested[1] / size[1], tested[0] / size[0]
            box = ((x2 - x1) * across, (y2 - y1) * down, (x1 + x2) / 2 / size[1], (y1 + y2) / 2 / size[0])
            rows.append((label[ann["category_id"]], number, ann["area"], *box))
            has_mask.append(is_masked(ann))
    table = np.array(rows, dtype=np.float64).reshape(-1, 7)
    return SplitStatistics(
        split=split,
        class_names=dataset.class_names,
        num_images=len(images),
        num_crowds=crowds,
        labels=table[:, 0].astype(np.int64),
        image_index=table[:, 1].astype(np.int64),
        areas=table[:, 2],
        sides=table[:, 3:5],
        centres=table[:, 5:],
        has_mask=np.array(has_mask, dtype=bool),
        anchor_sizes=tuple(float(size) for size in rpn.anchor_sizes),
        aspect_ratios=tuple(float(ratio) for ratio in rpn.aspect_ratios),
    )


def dataset_statistics(data: DataConfig, rpn: RPNConfig) -> list[SplitStatistics]:
    """Build both splits and measure their objects.

    Args:
        data: Where the data is, and the size that images are tested at.
        rpn: The anchors.

    Raises:
        DataError: If a split is missing or broken.
    """
    train = build_dataset(data, "train")
    val = build_dataset(data, "val", training=train)
    return [split_statistics(train, "train", data, rpn), split_statistics(val, "val", data, rpn)]
