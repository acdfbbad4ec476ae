"""Annotations in COCO's form as a data set: compact in memory, masks decoded when an image is asked for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.annotations import Annotations
from dprd_cli.data.formats.coco_checks import check_coco, read_coco_json
from dprd_cli.data.formats.names import repair_names
from dprd_cli.data.formats.object_checks import CheckReport, clip_box, is_degenerate
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.segmentation import NO_MASK, MaskStore, decode, encode
from dprd_cli.errors import DataError
from dprd_cli.files.images import read_image, size_fault
from dprd_cli.structures.sample import CocoEntry, CocoTree, Sample, Split

_MASKS = 8  # as many masks of the largest image fit into a GiB


@dataclass(frozen=True, slots=True)
class CocoAnnotations:
    """An annotation file in COCO's format.

    Args:
        path: The file.
        images_dir: Folder that its `file_name`s are relative to.
        links: Follow links that lead out of it.
        crowds_are_objects: Take `iscrowd` annotations for objects.
        parsed: What is in the file, where the caller has read it already: it is given away once.
    """

    path: Path
    images_dir: Path
    links: bool = False
    crowds_are_objects: bool = False
    parsed: list[CocoTree] = field(default_factory=list, compare=False, repr=False)
    is_voc = False

    @property
    def name(self) -> str:
        """The file's path."""
        return str(self.path)

    def read(self, problems: Problems) -> CocoTree:
        """Parse the file, and give the images the names that they have; see `repair_names`."""
        problems.file = self.path  # what is wrong with entries shows in the check
        tree = self.parsed.pop() if self.parsed else read_coco_json(self.path)
        repair_names(tree, self.images_dir, problems)
        strip_class_names(tree, problems)
        anns = tree.get("annotations")
        if self.crowds_are_objects and isinstance(anns, list):
            for ann in (ann for ann in anns if isinstance(ann, dict)):
                ann["iscrowd"] = 0
        return tree

    def check(self, tree: CocoTree, problems: Problems, *, missing_ok: bool) -> CheckReport:
        """Check the format and the image folder; see `check_coco`."""
        problems.file = self.path
        return check_coco(tree, self.path, self.images_dir, problems, missing_ok=missing_ok, links=self.links)

    def file_of(self, file_name: str) -> Path:
        """Return the one file."""
        del file_name  # all images are in it
        return self.path


def strip_class_names(tree: CocoTree, problems: Problems) -> None:
    """Drop white space around the categories' names, with a note."""
    entries = tree.get("categories")
    changed = []
    for entry in (one for one in entries if isinstance(one, dict)) if isinstance(entries, list) else ():
        name = entry.get("name")
        if isinstance(name, str) and name != name.strip():
            entry["name"] = name.strip()
            changed.append(repr(name))
    if changed:
        text = f"{plural(len(changed), 'category')} with white space around the name, which is dropped"
        problems.count("blank name", f"{text} ({first_five(changed)})", changed, "note")


class CocoDataset:
    """A split in COCO's form, checked when it is built.

    Category ids become class indices in the order of the ids. Crowds are no objects here, but stay in
    `coco()`. Objects whose box has no area inside the image are left out.

    Args:
        annotations: The split's annotation files.
        config: `limit`, `skip_empty` (training only), `max_pixels` and `on_bad_image` are used.
        split: Which split this is.
        class_names: Classes to use (those of the training split, or of a checkpoint); the file's own by
            default. The file may lack some of them.
        category_ids: Category id of each class in `class_names`; the file must agree.
        tree: What `annotations.read()` returned, where the caller has it already, or has changed it.
        problems: What was found in reading it.

    Attributes:
        report: What the check found; its warnings are lines to print.
        num_skipped: Images without objects that were left out.
        file_names: File name of each image.
        image_ids: Id of each image. [N]
        labels: Class index of each object, image after image. [G]
        has_mask: Which objects have a mask. [G]

    Raises:
        DataError: If the annotations cannot be used, or their categories are not the given ones.
    """

    def __init__(
        self,
        annotations: Annotations,
        config: DataConfig,
        split: Split,
        *,
        class_names: tuple[str, ...] | None = None,
        category_ids: tuple[int, ...] | None = None,
        tree: CocoTree | None = None,
        problems: Problems | None = None,
    ) -> None:
        self.annotations, self.images_dir, self.config = annotations, annotations.images_dir, config
        self.name, self.is_voc = f"{split} ({annotations.name})", annotations.is_voc
        self.split = split
        problems = problems if problems is not None else Problems()
        tree = tree if tree is not None else annotations.read(problems)
        self.report: CheckReport = annotations.check(tree, problems, missing_ok=config.on_bad_image == "skip")
        check_masks(annotations, tree, self.report.usable_images[: config.limit or None], config, problems)
        problems.stop()
        self.class_names, self.category_ids = match_classes(tree, annotations.name, class_names, category_ids)
        self._collect(tree, skip_empty=split == "train" and config.skip_empty)
        self.has_masks = bool(self.has_mask.any())

    def _collect(self, tree: CocoTree, *, skip_empty: bool) -> None:
        """Fill the arrays: images in the file's order, objects image after image."""
        images = tree["images"][: self.config.limit or None]
        sizes = {image["id"]: (image["height"], image["width"]) for image in images}
        anns: dict[int, list[CocoEntry]] = {ident: [] for ident in sizes}
        for ann in tree["annotations"]:
            ident = ann["image_id"]
            if ident in anns and not ann.get("iscrowd", 0) and not is_degenerate(ann["bbox"], sizes[ident]):
                anns[ident].append(ann)
        kept = [image for image in images if anns[image["id"]] or not skip_empty]
        self.num_skipped, images = len(images) - len(kept), kept
        if not images:
            raise DataError(
                f"{self.annotations.name}: no image has an object; --set data.skip_empty=false trains on them"
            )
        index = {ident: label for label, ident in enumerate(self.category_ids)}
        self.file_names: list[str] = [image["file_name"] for image in images]
        self.image_ids = np.array([image["id"] for image in images], dtype=np.int64)
        self.sizes = np.array([sizes[image["id"]] for image in images], dtype=np.int64).reshape(-1, 2)
        chosen = [(ann, sizes[image["id"]]) for image in images for ann in anns[image["id"]]]
        boxes = [clip_box(ann["bbox"], size) for ann, size in chosen]
        self._boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        self.labels = np.array([index[ann["category_id"]] for ann, _ in chosen], dtype=np.int64)
        self._masks = MaskStore([(ann.get("segmentation"), size) for ann, size in chosen])
        self.has_mask = self._masks.kinds != NO_MASK
        self._first = np.cumsum([0, *(len(anns[image["id"]]) for image in images)])

    @property
    def boxes(self) -> NDArray[np.float32]:
        """Box of each object, xyxy in pixels, image after image. [G, 4]."""
        return self._boxes

    @property
    def objects_per_image(self) -> NDArray[np.int64]:
        """Number of objects of each image. [N]."""
        return np.diff(self._first)

    def paths(self) -> set[Path]:
        """Return the images' files."""
        return {self.images_dir / name for name in self.file_names}

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Sample:
        """Read one image and decode its masks.

        Raises:
            DataError: If the file cannot be read, or is not of the size that the annotations say.
        """
        path = self.images_dir / self.file_names[index]
        image = read_image(path, self.config.max_pixels)
        size = (int(self.sizes[index, 0]), int(self.sizes[index, 1]))
        if image.shape[:2] != size:
            said_in = self.annotations.file_of(self.file_names[index])
            raise DataError(size_fault(path, image.shape[:2], said_in, size))
        objects = slice(int(self._first[index]), int(self._first[index + 1]))
        masks = self._masks.decode(objects, size) if self.has_masks else None
        has_mask = self.has_mask[objects].copy()
        if masks is not None:  # a sliver can miss every pixel centre: its mask would teach "nothing here"
            has_mask &= masks.any(axis=(1, 2))
        return Sample(
            image=image,
            boxes=self._boxes[objects].copy(),
            labels=self.labels[objects].copy(),
            masks=masks,
            has_mask=has_mask,
            image_id=int(self.image_ids[index]),
            file_name=self.file_names[index],
        )

    def labels_of(self, index: int) -> NDArray[np.int64]:
        """Return the class indices of an image's objects. [G]."""
        return self.labels[self._first[index] : self._first[index + 1]]

    def coco(self) -> CocoTree:
        """Return the original annotations, restricted to the images in use, for evaluation.

        They are read again each time, because they are large and rarely needed. A missing `area` or `iscrowd`
        is filled in, and an annotation id of 0, which COCO's evaluator takes for "unmatched", is replaced.
        """
        problems = Problems()
        tree = self.annotations.read(problems)
        problems.stop()
        sizes = dict(zip(self.image_ids.tolist(), self.sizes.tolist(), strict=True))
        tree["images"] = [image for image in tree["images"] if image["id"] in sizes]
        tree["annotations"] = [ann for ann in tree.get("annotations", []) if ann["image_id"] in sizes]
        unused = max((ann["id"] for ann in tree["annotations"]), default=0) + 1
        for ann in tree["annotations"]:
            ann["iscrowd"] = int(ann.get("iscrowd", 0))
            ann["id"] = ann["id"] or unused
            if ann.get("area") is None:
                ann["area"] = annotation_area(ann, sizes[ann["image_id"]])
        return tree


def check_masks(
    annotations: Annotations,
    tree: CocoTree,
    images: Sequence[CocoEntry],
    config: DataConfig,
    problems: Problems,
) -> None:
    """Refuse images with so many masks that they take gigabytes once they are decoded, all at once.

    Args:
        annotations: Where they come from, for the message.
        tree: What was read.
        images: Those that are used.
        config: `max_pixels` times `_MASKS` is the most pixels that all masks of an image may have.
        problems: Gets what is found.
    """
    masks = Counter(
        ann["image_id"]
        for ann in tree["annotations"]
        if type(ann.get("image_id")) is int and ann.get("segmentation") and not ann.get("iscrowd", 0)
    )
    found = Problems(Path(annotations.name))
    for image in images:
        count, size = masks[image["id"]], image["width"] * image["height"]
        if count * size > _MASKS * config.max_pixels:
            name, least = image["file_name"], -(-count * size // _MASKS)
            text = (
                f"'{name}' has {count} masks of {image['width']}x{image['height']} pixels, which are decoded"
            )
            advice = f"cut it into tiles or, if you trust the file, pass --set data.max_pixels={least}"
            found.add("masks", f"{text} together", name, advice)
    problems.extend(found)


def match_classes(
    tree: CocoTree,
    annotations_name: str,
    class_names: tuple[str, ...] | None,
    category_ids: tuple[int, ...] | None,
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return names and category ids of the classes 0..K-1, after comparing them with the given ones."""
    ids = {category["name"]: category["id"] for category in sorted(tree["categories"], key=lambda c: c["id"])}
    if class_names is None:
        return tuple(ids), tuple(ids.values())
    unknown = [name for name in ids if name not in class_names]
    if unknown:
        raise DataError(
            f"{annotations_name}: category '{unknown[0]}' is not a class of the training data or checkpoint "
            f"({first_five(class_names)}); use data with the same classes"
        )
    if category_ids is None:
        free = max(ids.values()) + 1  # classes that the file lacks still need an id of their own
        absent = [name for name in class_names if name not in ids]
        ids.update({name: free + number for number, name in enumerate(absent)})
        return class_names, tuple(ids[name] for name in class_names)
    for name, expected in zip(class_names, category_ids, strict=True):
        if ids.get(name, expected) != expected:
            raise DataError(
                f"{annotations_name}: category '{name}' has id {ids[name]}, but id {expected} in the "
                "training data or checkpoint; give the categories the same ids"
            )
    return class_names, category_ids


def annotation_area(ann: CocoEntry, size: tuple[int, int]) -> float:
    """Return the area of an annotation in square pixels: its mask's, or its box's where there is no mask.

    Args:
        ann: An annotation whose box and segmentation are sound.
        size: (height, width) of its image.
    """
    kind, pieces = encode(ann.get("segmentation"), size)
    if kind == NO_MASK:
        return float(ann["bbox"][2] * ann["bbox"][3])
    return float(rle_masks.area(decode(kind, pieces, size)))
