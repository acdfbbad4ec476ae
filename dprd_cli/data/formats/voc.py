"""Pascal VOC's annotations in COCO's form."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from dprd_cli.data.formats.image_files import check_files
from dprd_cli.data.formats.object_checks import CheckReport, ObjectCounts, count_objects
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.voc_xml import VocFileError, VocImage, VocSizeError, add_masks, read_annotation
from dprd_cli.errors import DataError
from dprd_cli.files.images import read_size
from dprd_cli.files.results import image_ids
from dprd_cli.structures.sample import CocoEntry, CocoTree

#: VOC's classes, in the order of all published results.
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
_IMAGES = "JPEGImages"


class VocIndex(Protocol):
    """Which images there are, and where their annotations lie."""

    @property
    def label(self) -> str:
        """What to call them in messages."""
        ...

    @property
    def places(self) -> tuple[Path, ...]:
        """Folders that the images are in."""
        ...

    def file_names(self, problems: Problems) -> list[str]:
        """Return the images that have an xml, relative to the root; others are problems."""
        ...

    def file_of(self, file_name: str) -> Path:
        """Return the xml of an image."""
        ...


@dataclass(frozen=True, slots=True)
class VocAnnotations:
    """The annotations of some images in a folder.

    Difficult objects are crowds in COCO's form, which evaluation ignores.

    Args:
        root: Folder that the file names are relative to.
        index: Which images, and where their files are.
        classes: Category id of each class name; by default 1..20 in VOC's order if all names are VOC's,
            else 1..K in alphabetical order.
        links: Follow links that lead out of the image folders.
    """

    root: Path
    index: VocIndex
    classes: dict[str, int] | None = None
    links: bool = False
    is_voc = True

    @property
    def name(self) -> str:
        """The folder and which images of it."""
        return f"{self.root} {self.index.label}".rstrip()

    @property
    def images_dir(self) -> Path:
        """The folder that the file names are relative to."""
        return self.root

    def file_of(self, file_name: str) -> Path:
        """Return the xml of an image."""
        return self.index.file_of(file_name)

    def read(self, problems: Problems) -> CocoTree:
        """Read all files but the images into COCO's form; see `Annotations`.

        Annotations also have `difficult`, and `where`: the file and number, for messages. Images have
        `strays`, the numbers of masks that are no object's.
        """
        voc_images = self._voc_images(problems)
        classes = self._classes(voc_images, problems)
        images: list[CocoEntry] = []
        anns: list[CocoEntry] = []
        for ident, (file_name, voc_image) in zip(
            image_ids([Path(name) for name in voc_images]), voc_images.items(), strict=True
        ):
            height, width = voc_image.size or (0, 0)
            image = {"id": ident, "file_name": file_name, "width": width, "height": height}
            images.append(image | {"strays": voc_image.strays})
            anns += [
                {
                    "image_id": ident,
                    "category_id": classes[one.name],
                    "bbox": one.bbox,
                    "iscrowd": int(one.difficult),
                    "difficult": one.difficult,
                    "segmentation": one.segmentation,
                    "where": f"{Path(file_name).stem}.xml object {number}",
                }
                for number, one in enumerate(voc_image.objects, start=1)
                if one.name in classes
            ]
        for ident, ann in enumerate(anns, start=1):
            ann["id"] = ident
        categories = [{"id": ident, "name": name} for name, ident in classes.items()]
        return {"images": images, "annotations": anns, "categories": categories}

    def check(self, tree: CocoTree, problems: Problems, *, missing_ok: bool) -> CheckReport:
        """Check the image files, and count what is odd but can be used."""
        images, anns = tree["images"], tree["annotations"]
        report = CheckReport(problems, len(images), len(anns), sum(ann["difficult"] for ann in anns))
        for place in self.index.places:
            found = Problems(place.parent if place.name == _IMAGES else place)
            here = {
                path.relative_to(place).as_posix(): image
                for image in images
                if place in (path := self.root / image["file_name"]).parents
            }
            advice = "copy the images into the folder, or take them off the image lists"
            bad = check_files(
                list(here), place, found, missing_ok=missing_ok, links=self.links, advice=advice
            )
            report.usable_images += [image for name, image in here.items() if name not in bad]
            problems.extend(found)
        sizes = {image["id"]: (image["height"], image["width"]) for image in images}
        counts = ObjectCounts(report)
        for ann in anns:
            counts.add(ann, sizes[ann["image_id"]], ann["where"])
        counts.summarise()
        strays = [f"{Path(image['file_name']).stem}.png {n}" for image in images for n in image["strays"]]
        stray = "left out: not in the box of the object of that number"
        count_objects(problems, "stray mask", "mask", stray, strays)
        return report

    def _voc_images(self, problems: Problems) -> dict[str, VocImage]:
        """Return file name -> what the files say, of the images whose files are sound."""
        images: dict[str, VocImage] = {}
        without_size: list[str] = []
        for file_name in self.index.file_names(problems):
            path = self.file_of(file_name)
            masks = masks_of(path)
            try:
                image = read_annotation(path)
                if image.size is None:
                    image = replace(image, size=self._size_of(file_name))
                    without_size.append(path.name)
                if masks.is_file():
                    path = masks
                    image = self._with_masks(image, masks, file_name)
                images[file_name] = image
            except VocFileError as error:
                path = error.path or path
                problems.add(error.kind, f"{path}: {error}", path.name, error.advice)
        if without_size:
            text = f"{plural(len(without_size), 'xml file')} without <size>, which is taken from the image"
            problems.count("no size", f"{text} ({first_five(without_size)})", without_size, "note")
        return images

    def _size_of(self, file_name: str) -> tuple[int, int]:
        """Return the (height, width) of an image whose xml has none.

        Raises:
            VocFileError: If the image does not say it either.
        """
        try:
            return read_size(self.root / file_name, sys.maxsize)
        except DataError as error:
            text = f"<size> has no width and height, and they are not to be had from the image: {error}"
            raise VocFileError("size", text) from error

    def _with_masks(self, image: VocImage, masks: Path, file_name: str) -> VocImage:
        """Add the masks; where they have the image's size, but not the xml's, the xml is wrong.

        Raises:
            VocFileError: If they cannot be used.
        """
        try:
            return add_masks(image, masks)
        except VocSizeError as error:
            try:
                actual = read_size(self.root / file_name, sys.maxsize)
            except DataError:
                raise error from None
            if actual != error.found:
                raise
            text = "{1}x{0}, but the image and its masks are {3}x{2} (width x height)"
            text = f"<size> says {text.format(*error.said, *actual)}"
            raise VocFileError("size", text, self.file_of(file_name)) from error

    def _classes(self, images: dict[str, VocImage], problems: Problems) -> dict[str, int]:
        """Return class name -> category id; an object of another class than the given ones is a problem."""
        if self.classes is None:
            names = {found.name for image in images.values() for found in image.objects}
            ordered = CLASSES if names <= set(CLASSES) else sorted(names)
            return {name: ident for ident, name in enumerate(ordered, start=1)}
        for file_name, image in images.items():
            for number, found in enumerate(image.objects, start=1):
                if found.name not in self.classes:
                    text = (
                        f"object {number} is a '{found.name}', which is not a class of the training data or "
                        f"checkpoint ({first_five(self.classes)})"
                    )
                    path, advice = self.file_of(file_name), "use data with the same classes"
                    problems.add("class", f"{path}: {text}", f"{path.name} object {number}", advice)
        return self.classes


def masks_of(xml: Path) -> Path:
    """Return where the instance masks of an xml's image are: `SegmentationObject` for `Annotations`."""
    parts = list(xml.parts)
    places = [index for index, part in enumerate(parts) if part == "Annotations"]
    if not places:
        return xml.parent / "SegmentationObject" / f"{xml.stem}.png"
    parts[places[-1]] = "SegmentationObject"
    return Path(*parts).with_suffix(".png")
