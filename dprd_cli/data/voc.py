"""Pascal VOC's annotations in COCO's form."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.data.checks import CheckReport, check_files, clip_box, is_degenerate
from dprd_cli.data.problems import Problems, first_five, plural
from dprd_cli.data.voc_files import FileError, VocPicture, add_masks, read_annotation
from dprd_cli.data.voc_lists import ImageList, read_names
from dprd_cli.errors import DataError

#: VOC's classes, in the order of all published results.
CLASSES = (
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train"),
    "tvmonitor",
)
_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")  # where two fit, the first is taken


@dataclass(frozen=True, slots=True)
class VocAnnotations:
    """The annotations of the pictures that some lists name.

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
        """Return the xml of a picture."""
        path = self.root / file_name
        return path.parents[1] / "Annotations" / f"{path.stem}.xml"

    def read(self) -> dict[str, Any]:
        """Read all files but the pictures into COCO's form.

        Annotations also have `difficult`, and `where`: the file and number, for messages. Images have
        `strays`, the numbers of masks that are no object's.

        Raises:
            DataError: One line that names the first problem's file, and counts the others.
        """
        pictures = self._pictures()
        classes = self._classes(pictures)
        images: list[dict[str, Any]] = []
        notes: list[dict[str, Any]] = []
        for ident, (file_name, picture) in zip(_image_ids(list(pictures)), pictures.items(), strict=True):
            height, width = picture.size
            image = {"id": ident, "file_name": file_name, "width": width, "height": height}
            images.append(image | {"strays": picture.strays})
            notes += [
                {
                    "image_id": ident,
                    "category_id": classes[found.name],
                    "bbox": found.bbox,
                    "iscrowd": int(found.difficult),
                    "difficult": found.difficult,
                    "segmentation": found.segmentation,
                    "where": f"{Path(file_name).stem}.xml object {number}",
                }
                for number, found in enumerate(picture.objects, start=1)
            ]
        for ident, note in enumerate(notes, start=1):
            note["id"] = ident
        categories = [{"id": ident, "name": name} for name, ident in classes.items()]
        return {"images": images, "annotations": notes, "categories": categories}

    def check(self, tree: dict[str, Any], *, missing_ok: bool) -> CheckReport:
        """Check the picture files, and count what is odd but can be used."""
        images, notes = tree["images"], tree["annotations"]
        report = CheckReport(len(images), len(notes), sum(note["difficult"] for note in notes))
        for folder in dict.fromkeys(one.folder for one in self.lists):
            place, problems = folder / "JPEGImages", Problems(folder)
            paths = (self.root / image["file_name"] for image in images)
            check_files(
                [path.name for path in paths if path.parent == place], place, problems, report, missing_ok
            )
            problems.stop("copy the pictures into the folder, or take them off the image lists")
        sizes = {image["id"]: (image["height"], image["width"]) for image in images}
        thin: list[str] = []
        cut: list[str] = []
        for note in notes:
            size = sizes[note["image_id"]]
            if is_degenerate(note["bbox"], size):
                report.degenerate.append(note["id"])
                thin.append(note["where"])
            elif _reaches_out(note["bbox"], size):
                cut.append(note["where"])
        strays = [f"{Path(image['file_name']).stem}.png {n}" for image in images for n in image["strays"]]
        for found, what, text in (
            (thin, "object", "left out: the box, clipped to the picture, has no area"),
            (cut, "box", "clipped to the picture"),
            (strays, "mask", "left out: not in the box of the object of that number"),
        ):
            if found:
                report.warnings.append(f"{plural(len(found), what)} {text} ({first_five(found)})")
        return report

    def _pictures(self) -> dict[str, VocPicture]:
        """Return file name -> what the files say."""
        problems = Problems()
        pictures: dict[str, VocPicture] = {}
        for file_name in self._file_names():
            path = self.file_of(file_name)
            masks = path.parents[1] / "SegmentationObject" / f"{path.stem}.png"
            try:
                pictures[file_name] = read_annotation(path)
                if masks.is_file():
                    path = masks
                    pictures[file_name] = add_masks(pictures[file_name], masks)
            except FileError as error:
                problems.add(error.kind, f"{path}: {error}", path.name)
        problems.stop()
        return pictures

    def _file_names(self) -> list[str]:
        """Return the pictures of all lists; each has an xml."""
        problems = Problems()
        file_names: dict[str, None] = {}
        for one in self.lists:
            place = one.folder.relative_to(self.root) / "JPEGImages"
            files = _list_pictures(self.root / place)
            for name in read_names(one.path):
                if re.search(r"[\\/\0]", name):
                    problems.add("name", f"{one.path}: '{name}': expected a name without folders", name)
                    continue
                file_name = (place / files.get(name, f"{name}.jpg")).as_posix()
                path = self.file_of(file_name)
                if file_name in file_names:
                    problems.add("twice", f"{one.path}: '{name}' is listed twice", name)
                elif not path.is_file():
                    text = f"no such annotation file, but {one.path} lists '{name}'"
                    problems.add("missing", f"{path}: {text}", name)
                file_names[file_name] = None
        problems.stop("correct the list, or restore what is missing")
        return list(file_names)

    def _classes(self, pictures: dict[str, VocPicture]) -> dict[str, int]:
        """Return class name -> category id.

        Raises:
            DataError: If an object's class is not among the given ones.
        """
        if self.classes is None:
            names = {found.name for picture in pictures.values() for found in picture.objects}
            ordered = CLASSES if names <= set(CLASSES) else sorted(names)
            return {name: ident for ident, name in enumerate(ordered, start=1)}
        problems = Problems()
        for file_name, picture in pictures.items():
            for number, found in enumerate(picture.objects, start=1):
                if found.name not in self.classes:
                    text = (
                        f"object {number} is a '{found.name}', which is not a class of the training data or "
                        f"checkpoint ({first_five(self.classes)})"
                    )
                    path = self.file_of(file_name)
                    problems.add("class", f"{path}: {text}", f"{path.name} object {number}")
        problems.stop("use data with the same classes")
        return self.classes


def _list_pictures(folder: Path) -> dict[str, str]:
    """Return name without suffix -> file name of the pictures in a folder."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such picture folder; copy the pictures there")
    files = (path for path in folder.iterdir() if path.suffix.lower() in _SUFFIXES)
    ranked = sorted(files, key=lambda path: _SUFFIXES.index(path.suffix.lower()), reverse=True)
    return {path.stem: path.name for path in ranked}


def _image_ids(file_names: list[str]) -> list[int]:
    """Return an id for each picture: the name's digits if these all differ (`2007_000027` is 2007000027).

    Else pictures are numbered from 1, in the order of the lists.
    """
    stems = [Path(name).stem for name in file_names]
    if all(re.fullmatch(r"[0-9]{1,9}|[0-9]{4}_[0-9]{6}", stem) for stem in stems):
        ids = [int(stem.replace("_", "")) for stem in stems]
        if len(set(ids)) == len(ids):
            return ids
    return list(range(1, len(stems) + 1))


def _reaches_out(bbox: list[float], size: tuple[int, int]) -> bool:
    """Whether [x, y, w, h] is not all inside a picture of (height, width)."""
    x, y, w, h = bbox
    return clip_box(bbox, size) != (x, y, x + w, y + h)
