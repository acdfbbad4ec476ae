"""Shapes that were drawn on images, as annotation programs keep them, in COCO's form."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from dprd_cli.data.formats.image_files import check_files
from dprd_cli.data.formats.names import ImageNames
from dprd_cli.data.formats.object_checks import CheckReport, ObjectCounts
from dprd_cli.data.formats.problems import Problems, first_five
from dprd_cli.data.formats.shapes import DrawnShape, merge_groups, shape_bounds
from dprd_cli.errors import DataError
from dprd_cli.files.images import has_image_suffix, read_size
from dprd_cli.structures.sample import CocoEntry, CocoTree


@dataclass(frozen=True, slots=True)
class DrawnImage:
    """What was drawn on an image.

    Args:
        file_name: The image, relative to the data folder.
        said_in: The annotation file.
        size: (height, width), or None where the file does not say it.
        shapes: In the file's order.
    """

    file_name: str
    said_in: Path
    size: tuple[int, int] | None
    shapes: tuple[DrawnShape, ...]


class ShapeReader(Protocol):
    """Reads a program's files."""

    @property
    def label(self) -> str:
        """What to call the files in messages."""
        ...

    def read(self, names: ImageNames, problems: Problems) -> list[DrawnImage]:
        """Return all images with their shapes.

        Args:
            names: The images of the data folder.
            problems: Gets what is wrong with single files and shapes.
        """
        ...

    def class_names(self) -> tuple[str, ...]:
        """Return the classes in their order, where the files have one; else nothing."""
        ...


@dataclass(frozen=True, slots=True)
class DrawnAnnotations:
    """Annotations of an annotation program.

    Args:
        root: Folder that the file names are relative to.
        reader: Reads the files.
        classes: Category id of each class name; by default 1..K in the reader's or alphabetical order.
        links: Follow links that lead out of the folder.
    """

    root: Path
    reader: ShapeReader
    classes: dict[str, int] | None = None
    links: bool = False
    is_voc = False
    _files: dict[str, Path] = field(default_factory=dict, compare=False, repr=False)

    @property
    def name(self) -> str:
        """The folder and the files."""
        return self.reader.label

    @property
    def images_dir(self) -> Path:
        """The folder that the file names are relative to."""
        return self.root

    def file_of(self, file_name: str) -> Path:
        """Return the annotation file of an image."""
        return self._files.get(file_name, self.root)

    def read(self, problems: Problems) -> CocoTree:
        """Read all files into COCO's form; annotations also have `where`, for messages."""
        drawn = self.reader.read(ImageNames(self.root), problems)
        self._files.update({image.file_name: image.said_in for image in drawn})
        objects = {index: merge_groups(image.shapes) for index, image in enumerate(drawn)}
        classes = self._classes([one for some in objects.values() for one in some], problems)
        images: list[CocoEntry] = []
        anns: list[CocoEntry] = []
        for index, image in enumerate(drawn):
            size = image.size or self._size_of(image, problems)
            if size is None:
                continue
            ident = len(images) + 1
            entry = {"id": ident, "file_name": image.file_name, "width": size[1], "height": size[0]}
            images.append(entry)
            for one in objects[index]:
                if one.name in classes:
                    ann = {"id": len(anns) + 1, "image_id": ident, "category_id": classes[one.name]}
                    anns.append(ann | {"iscrowd": 0, "where": one.where} | _geometry(one))
        if not images:
            raise DataError(f"{self.name}: no image with annotations that can be read")
        categories = [{"id": ident, "name": name} for name, ident in classes.items()]
        return {"images": images, "annotations": anns, "categories": categories}

    def check(self, tree: CocoTree, problems: Problems, *, missing_ok: bool) -> CheckReport:
        """Check the image files, and count what is odd but can be used."""
        images, anns = tree["images"], tree["annotations"]
        report = CheckReport(problems, len(images), len(anns))
        found, names = Problems(self.root), [image["file_name"] for image in images]
        advice = "put the images beside the annotations"
        bad = check_files(names, self.root, found, missing_ok=missing_ok, links=self.links, advice=advice)
        problems.extend(found)
        report.usable_images = [image for image in images if image["file_name"] not in bad]
        sizes = {image["id"]: (image["height"], image["width"]) for image in images}
        counts = ObjectCounts(report)
        for ann in anns:
            counts.add(ann, sizes[ann["image_id"]], ann["where"])
        counts.summarise()
        return report

    def _size_of(self, image: DrawnImage, problems: Problems) -> tuple[int, int] | None:
        """Return the (height, width) of an image whose annotations do not say it."""
        try:
            return read_size(self.root / image.file_name, sys.maxsize)
        except DataError as error:
            problems.add("image", str(error), image.file_name, "or take its annotations away")
            return None

    def _classes(self, shapes: Iterable[DrawnShape], problems: Problems) -> dict[str, int]:
        if self.classes is None:
            names = self.reader.class_names() or sorted({one.name for one in shapes})
            return {name: ident for ident, name in enumerate(names, start=1)}
        for one in shapes:
            if one.name not in self.classes:
                text = (
                    f"{one.where}: '{one.name}' is not a class of the training data or checkpoint "
                    f"({first_five(self.classes)})"
                )
                problems.add("class", text, one.where, "use data with the same classes")
        return self.classes


def _geometry(shape: DrawnShape) -> CocoEntry:
    x1, y1, x2, y2 = map(float, shape_bounds(shape))
    rings = [list(map(float, ring)) for ring in shape.rings]
    return {"bbox": [x1, y1, x2 - x1, y2 - y1], "segmentation": shape.mask or rings or None}


def image_beside(path: Path, said: object, names: ImageNames) -> str:
    """Return the image that an annotation file means, relative to the data folder.

    It is what the file says, seen from its own folder; or a file of that name, or of the file's own.

    Args:
        path: The annotation file.
        said: What it says.
        names: The images of the data folder.
    """
    place = path.parent.relative_to(names.folder)
    text = said.replace("\\", "/") if isinstance(said, str) and "\0" not in said else ""
    tried = [(place / text).as_posix(), text, (place / Path(text).name).as_posix()] if text else []
    for name in tried:
        found = names.find(name)
        if found is not None:
            return found
    own = sorted(
        one.name for one in path.parent.glob(f"{_escaped(path.stem)}.*") if has_image_suffix(one.name)
    )
    return (place / (own[0] if own else Path(text).name or f"{path.stem}.jpg")).as_posix()


def _escaped(stem: str) -> str:
    """Return a name as a pattern that means itself."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in stem)
