"""COCO `instances` files as a data set: compact in memory, masks decoded when a picture is asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from dprd_cli.config import DataConfig
from dprd_cli.data.base import Sample
from dprd_cli.data.checks import CheckReport, check_coco, clip_box, is_degenerate, read_coco_json
from dprd_cli.data.images import exif_orientation, read_image
from dprd_cli.data.problems import first_five
from dprd_cli.data.segmentation import NO_MASK, MaskStore, decode, encode
from dprd_cli.errors import DataError


class CocoDataset:
    """A split in COCO's format, checked when it is built.

    Category ids become class indices in the order of the ids. Crowds are no objects here, but stay in
    `coco()`. Objects whose box has no area inside the picture are left out.

    Args:
        json_path: The annotation file.
        images_dir: Folder that its `file_name`s are relative to.
        config: `limit`, `skip_empty` (training only), `max_pixels` and `on_bad_image` are used.
        train: Whether this is the training split.
        class_names: Classes to use (those of the training split, or of a checkpoint); the file's own by
            default. The file may lack some of them.
        category_ids: Category id of each class in `class_names`; the file must agree.
        tree: The parsed file, where the caller has it already.

    Attributes:
        report: What the check found; its warnings are lines to print.
        file_names: File name of each picture.
        image_ids: Id of each picture. [N]
        labels: Class index of each object, picture after picture. [G]
        has_mask: Which objects have a mask. [G]

    Raises:
        DataError: If the file cannot be used, or its categories are not the given ones.
    """

    def __init__(
        self,
        json_path: Path | str,
        images_dir: Path | str,
        config: DataConfig,
        train: bool,
        class_names: tuple[str, ...] | None = None,
        category_ids: tuple[int, ...] | None = None,
        tree: dict[str, Any] | None = None,
    ) -> None:
        self.json_path, self.images_dir, self.config = Path(json_path), Path(images_dir), config
        self.name = f"{'train' if train else 'val'} ({self.json_path})"
        tree = tree if tree is not None else read_coco_json(self.json_path)
        skip = config.on_bad_image == "skip"
        self.report: CheckReport = check_coco(tree, self.json_path, self.images_dir, missing_ok=skip)
        self.class_names, self.category_ids = _classes(tree, self.json_path, class_names, category_ids)
        self._collect(tree, skip_empty=train and config.skip_empty)
        self.has_masks = bool(self.has_mask.any())

    def _collect(self, tree: dict[str, Any], skip_empty: bool) -> None:
        """Fill the arrays: pictures in the file's order, objects picture after picture."""
        images = tree["images"][: self.config.limit or None]
        sizes = {image["id"]: (image["height"], image["width"]) for image in images}
        notes: dict[int, list[dict[str, Any]]] = {ident: [] for ident in sizes}
        for note in tree["annotations"]:
            ident = note["image_id"]
            if (
                ident in notes
                and not note.get("iscrowd", 0)
                and not is_degenerate(note["bbox"], sizes[ident])
            ):
                notes[ident].append(note)
        images = [image for image in images if notes[image["id"]] or not skip_empty]
        if not images:
            raise DataError(
                f"{self.json_path}: no picture has an object; train without --set data.skip_empty=true"
            )
        index = {ident: label for label, ident in enumerate(self.category_ids)}
        self.file_names: list[str] = [image["file_name"] for image in images]
        self.image_ids = np.array([image["id"] for image in images], dtype=np.int64)
        self.sizes = np.array([sizes[image["id"]] for image in images], dtype=np.int64).reshape(-1, 2)
        chosen = [(note, sizes[image["id"]]) for image in images for note in notes[image["id"]]]
        boxes = [clip_box(note["bbox"], size) for note, size in chosen]
        self._boxes = np.array(boxes, dtype=np.float32).reshape(-1, 4)
        self.labels = np.array([index[note["category_id"]] for note, _ in chosen], dtype=np.int64)
        self._masks = MaskStore([(note.get("segmentation"), size) for note, size in chosen])
        self.has_mask = self._masks.kinds != NO_MASK
        self._first = np.cumsum([0, *(len(notes[image["id"]]) for image in images)])

    @property
    def objects_per_image(self) -> NDArray[np.int64]:
        """Number of objects of each picture. [N]."""
        return np.diff(self._first)

    def __len__(self) -> int:
        return len(self.file_names)

    def __getitem__(self, index: int) -> Sample:
        """Read one picture and decode its masks.

        Raises:
            DataError: If the file cannot be read, or is not of the size that the annotations say.
        """
        path = self.images_dir / self.file_names[index]
        image = read_image(path, self.config.max_pixels)
        size = (int(self.sizes[index, 0]), int(self.sizes[index, 1]))
        if image.shape[:2] != size:
            raise DataError(self._size_message(path, image.shape[:2], size))
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

    def _size_message(self, path: Path, found: tuple[int, ...], said: tuple[int, int]) -> str:
        text = f"{path}: the picture is {found[1]}x{found[0]}, but {self.json_path} says {said[1]}x{said[0]}"
        turned = exif_orientation(path)
        if turned >= 5 and found == said[::-1]:
            return (
                f"{text}: its width and height match the unrotated picture, which EXIF orientation {turned} "
                "turns; turn the pixels and drop the EXIF tag, or annotate the upright picture"
            )
        return f"{text} (width x height); correct the file, or restore the picture that was annotated"

    def coco(self) -> dict[str, Any]:
        """Return the original file, restricted to the pictures in use, for evaluation.

        It is read again each time, because it is large and rarely needed. A missing `area` or `iscrowd` is
        filled in, and an annotation id of 0, which COCO's evaluator takes for "unmatched", is replaced.
        """
        tree = read_coco_json(self.json_path)
        sizes = dict(zip(self.image_ids.tolist(), self.sizes.tolist(), strict=True))
        tree["images"] = [image for image in tree["images"] if image["id"] in sizes]
        tree["annotations"] = [note for note in tree.get("annotations", []) if note["image_id"] in sizes]
        unused = max((note["id"] for note in tree["annotations"]), default=0) + 1
        for note in tree["annotations"]:
            note["iscrowd"] = int(note.get("iscrowd", 0))
            note["id"] = note["id"] or unused
            if note.get("area") is None:
                note["area"] = _area(note, sizes[note["image_id"]])
        return tree


def _classes(
    tree: dict[str, Any],
    json_path: Path,
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
            f"{json_path}: category '{unknown[0]}' is not a class of the training data or checkpoint "
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
                f"{json_path}: category '{name}' has id {ids[name]}, but id {expected} in the training data "
                "or checkpoint; give the categories the same ids"
            )
    return class_names, category_ids


def _area(note: dict[str, Any], size: tuple[int, int]) -> float:
    """Return the area of an annotation in square pixels: its mask's, or its box's where there is no mask."""
    kind, pieces = encode(note.get("segmentation"), size)
    if kind == NO_MASK:
        return float(note["bbox"][2] * note["bbox"][3])
    return float(rle_masks.area(decode(kind, pieces, size)))
