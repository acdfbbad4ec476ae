"""Writing Pascal VOC's format: xml files, image lists, and instance masks as palette images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pycocotools import mask as rle_masks

from dprd_cli.data.formats.conversion_split import ConversionSplit
from dprd_cli.data.formats.object_checks import is_degenerate
from dprd_cli.data.formats.segmentation import NO_MASK, decode, encode
from dprd_cli.data.formats.voc_xml import VOID, palette
from dprd_cli.errors import DataError
from dprd_cli.files.images import IMAGE_SUFFIXES
from dprd_cli.runtime.progress import Progress
from dprd_cli.structures.sample import CocoEntry


@dataclass(frozen=True, slots=True)
class VocWriter:
    """Writes `JPEGImages/`, `Annotations/`, `ImageSets/Main/SPLIT.txt` and `SegmentationObject/`.

    Args:
        folder: Folder that is written to.
    """

    folder: Path

    def image_path(self, split: ConversionSplit, file_name: str) -> Path:
        """Return where an image goes.

        Raises:
            DataError: If it has a suffix that VOC's readers do not look for.
        """
        name = split.names[file_name]
        if Path(name).suffix.lower() not in IMAGE_SUFFIXES:
            raise DataError(f"{file_name}: VOC's images end in {', '.join(IMAGE_SUFFIXES)}; convert it first")
        return self.folder / "JPEGImages" / name

    def write(self, split: ConversionSplit, progress: Progress) -> None:
        """Write a split's files, and its list."""
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        names = {one["id"]: one["name"] for one in split.tree["categories"]}
        total, stems = len(split.tree["images"]), []
        absent = set(names) - {ann["category_id"] for ann in split.tree["annotations"]}
        if absent and split.name == "train":
            split.changes["classes without an object, which are lost: VOC has no list of classes"] = len(
                absent
            )
        for done, (image, anns) in enumerate(split.by_image(), start=1):
            file_name = split.names[image["file_name"]]
            size = image["height"], image["width"]
            kept = [ann for ann in anns if _is_kept(ann, size, split)]
            stems.append(Path(file_name).stem)
            values = _draw_masks(kept, size, split)
            if values is not None:
                self._save_masks(values, stems[-1])
            root = _xml(
                file_name,
                size,
                [(names[ann["category_id"]], ann) for ann in kept],
                segmented=values is not None,
            )
            ElementTree.indent(root)
            path = self.folder / "Annotations" / f"{stems[-1]}.xml"
            if path.exists():
                split.changes["images of both splits, whose annotations here replace those of training"] += 1
            path.write_text(ElementTree.tostring(root, encoding="unicode") + "\n", encoding="utf-8")
            progress(done, total)
        listed = self.folder / "ImageSets" / "Main" / f"{split.name}.txt"
        listed.write_text("".join(f"{stem}\n" for stem in stems), encoding="utf-8")

    def _save_masks(self, values: NDArray[np.uint8], stem: str) -> None:
        palette_image = Image.fromarray(values, mode="P")
        palette_image.putpalette(palette().ravel().tolist())
        place = self.folder / "SegmentationObject" / f"{stem}.png"
        place.parent.mkdir(exist_ok=True)
        palette_image.save(place)


def _is_kept(ann: CocoEntry, size: tuple[int, int], split: ConversionSplit) -> bool:
    """Whether an annotation becomes an object; what is left out or changed is counted."""
    if is_degenerate(ann["bbox"], size):
        split.changes["objects left out: the box, clipped to the image, has no area"] += 1
        return False
    if ann.get("iscrowd", 0) and not ann.get("difficult"):
        if split.name == "train":
            split.changes["crowds left out: VOC has none, and would train on them"] += 1
            return False
        split.changes["crowds marked as difficult, which evaluation ignores too"] += 1
    return True


def _draw_masks(
    anns: list[CocoEntry], size: tuple[int, int], split: ConversionSplit
) -> NDArray[np.uint8] | None:
    """Paint the masks of an image, each in its object's number, small ones last; None if there are none."""
    encoded = [encode(ann.get("segmentation"), size) for ann in anns]
    rles = {n: decode(*one, size) for n, one in enumerate(encoded, start=1) if one[0] != NO_MASK}
    if not rles:
        return None
    values = np.zeros(size, dtype=np.uint8)
    sizes = {number: int(rle_masks.area(rle)) for number, rle in rles.items()}
    for number in sorted(rles, key=lambda n: -sizes[n]):
        if number >= VOID:
            split.changes[f"masks left out: VOC has room for {VOID - 1} in an image"] += 1
            continue
        values[rle_masks.decode(rles[number]).astype(bool)] = number
    shown = np.bincount(values.ravel(), minlength=VOID + 1)
    hidden = sum(int(shown[number]) < area for number, area in sizes.items() if number < VOID)
    if hidden:
        split.changes["masks partly under a smaller one: a pixel of VOC's belongs to one object"] += hidden
    return values


def _xml(
    file_name: str, size: tuple[int, int], objects: list[tuple[str, CocoEntry]], *, segmented: bool
) -> ElementTree.Element:
    root = ElementTree.Element("annotation")
    height, width = size
    _add(root, {"folder": "VOC", "filename": file_name})
    _add(ElementTree.SubElement(root, "size"), {"width": width, "height": height, "depth": 3})
    _add(root, {"segmented": int(segmented)})
    for name, ann in objects:
        entry = ElementTree.SubElement(root, "object")
        difficult = int(bool(ann.get("difficult") or ann.get("iscrowd", 0)))
        _add(entry, {"name": name, "pose": "Unspecified", "truncated": 0, "difficult": difficult})
        x, y, w, h = ann["bbox"]
        sides = {"xmin": x + 1, "ymin": y + 1, "xmax": x + w, "ymax": y + h}
        texts = {side: f"{value:.2f}".rstrip("0").rstrip(".") for side, value in sides.items()}
        _add(ElementTree.SubElement(entry, "bndbox"), texts)
    return root


def _add(parent: ElementTree.Element, texts: dict[str, Any]) -> None:
    for tag, text in texts.items():
        ElementTree.SubElement(parent, tag).text = str(text)
