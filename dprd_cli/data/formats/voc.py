"""Pascal VOC's annotations in COCO's form."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from dprd_cli.data.formats.coco_checks import CheckReport, ObjectCounts, count_objects
from dprd_cli.data.formats.paths import check_files, is_file
from dprd_cli.data.formats.problems import Problems, first_five
from dprd_cli.data.formats.voc_lists import ImageList, read_names
from dprd_cli.data.formats.voc_xml import VocFileError, VocImage, VocSizeError, add_masks, read_annotation
from dprd_cli.errors import DataError
from dprd_cli.files.images import IMAGE_SUFFIXES, read_size
from dprd_cli.files.results import image_ids
from dprd_cli.structures.sample import CocoEntry, CocoTree

#: VOC's classes, in the order of all published results.
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)


@dataclass(frozen=True, slots=True)
class VocAnnotations:
    """The annotations of the images that some lists name.

    Difficult objects are crowds in COCO's form, which evaluation ignores.

    Args:
        root: Folder that the lists' folders are in, or are.
        lists: The image lists, of one or more years.
        classes: Category id of each class name; by default 1..20 in VOC's order if all names are VOC's,
            else 1..K in alphabetical order.
    """

    root: Path
    lists: tuple[ImageList, ...]
    classes: dict[str, int] | None = None
    is_voc = True

    @property
    def name(self) -> str:
        """The folder and the lists."""
        return f"{self.root} {'+'.join(one.label for one in self.lists)}"

    @property
    def images_dir(self) -> Path:
        """The folder that the file names are relative to."""
        return self.root

    def file_of(self, file_name: str) -> Path:
        """Return the xml of an image."""
        path = self.root / file_name
        return path.parents[1] / "Annotations" / f"{path.stem}.xml"

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
            height, width = voc_image.size
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
        for folder in dict.fromkeys(one.folder for one in self.lists):
            place, found = folder / "JPEGImages", Problems(folder)
            here = [image for image in images if (self.root / image["file_name"]).parent == place]
            names = [Path(image["file_name"]).name for image in here]
            advice = "copy the images into the folder, or take them off the image lists"
            bad = check_files(names, place, found, missing_ok=missing_ok, advice=advice)
            report.usable_images += [
                image for image, name in zip(here, names, strict=True) if name not in bad
            ]
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
        names = self._file_names(problems)
        images: dict[str, VocImage] = {}
        for file_name in names:
            path = self.file_of(file_name)
            masks = path.parents[1] / "SegmentationObject" / f"{path.stem}.png"
            try:
                image = read_annotation(path)
                if masks.is_file():
                    path = masks
                    image = self._with_masks(image, masks, file_name)
                images[file_name] = image
            except VocFileError as error:
                path = error.path or path
                problems.add(error.kind, f"{path}: {error}", path.name)
        return images

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
            text = f"<size> says {text.format(*image.size, *actual)}"
            raise VocFileError("size", text, self.file_of(file_name)) from error

    def _file_names(self, problems: Problems) -> list[str]:
        """Return the images of all lists; each has an xml."""
        advice = "correct the list, or restore what is missing"
        file_names: dict[str, None] = {}
        for one in self.lists:
            place = one.folder.relative_to(self.root) / "JPEGImages"
            files = _list_images(self.root / place)
            for name in read_names(one):
                if re.search(r"[\\/\0]", name):
                    text = f"{one.path}: '{name}': expected a name without folders"
                    problems.add("name", text, name, advice)
                    continue
                file_name = (place / files.get(name, f"{name}.jpg")).as_posix()
                path = self.file_of(file_name)
                if file_name in file_names:
                    problems.add("twice", f"{one.path}: '{name}' is listed twice", name, advice)
                elif not is_file(path):
                    text = f"no such annotation file, but {one.path} lists '{name}'"
                    problems.add("no xml", f"{path}: {text}", name, advice)
                else:
                    file_names[file_name] = None
        return list(file_names)

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


def _list_images(folder: Path) -> dict[str, str]:
    """Return name without suffix -> file name of the images in a folder; of two, the usual suffix's."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such image folder; copy the images there")
    files = (path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    ranked = sorted(files, key=lambda path: IMAGE_SUFFIXES.index(path.suffix.lower()), reverse=True)
    return {path.stem: path.name for path in ranked}
