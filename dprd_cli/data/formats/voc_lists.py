"""A Pascal VOC folder's years, and the image lists of a split."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.paths import is_absolute, is_file, leaves_folder
from dprd_cli.data.formats.problems import Problems
from dprd_cli.errors import DataError
from dprd_cli.files.images import IMAGE_SUFFIXES
from dprd_cli.structures.sample import Split

#: What an image list holds, for messages.
LINES = "one image's name, without suffix, a line"
_LISTS = Path("ImageSets", "Main")


@dataclass(frozen=True, slots=True)
class ImageList:
    """A file that names images.

    Args:
        folder: The year's folder, with `JPEGImages`, `Annotations` and `ImageSets/Main`.
        year: Four digits, or "" where the folder's name has none.
        name: `trainval`, `test` and so on.
    """

    folder: Path
    year: str
    name: str

    @property
    def path(self) -> Path:
        """The file."""
        return self.folder / _LISTS / f"{self.name}.txt"

    @property
    def label(self) -> str:
        """Year and name, such as `2007_trainval`."""
        return f"{self.year}_{self.name}" if self.year else self.name


@dataclass(frozen=True, slots=True)
class ListedImages:
    """The images that some lists name, in VOC's folders.

    Args:
        root: Folder that the lists' folders are in, or are.
        lists: The image lists, of one or more years.
    """

    root: Path
    lists: tuple[ImageList, ...]

    @property
    def label(self) -> str:
        """The lists."""
        return "+".join(one.label for one in self.lists)

    @property
    def places(self) -> tuple[Path, ...]:
        """The years' image folders."""
        return tuple(dict.fromkeys(one.folder / "JPEGImages" for one in self.lists))

    def file_of(self, file_name: str) -> Path:
        """Return the xml of an image: `Annotations` for `JPEGImages`, and the same folders below."""
        path = self.root / file_name
        place = next(place for place in self.places if place in path.parents)
        return (place.parent / "Annotations" / path.relative_to(place)).with_suffix(".xml")

    def file_names(self, problems: Problems) -> list[str]:
        """Return the images of all lists; each has an xml."""
        advice = "correct the list, or restore what is missing"
        file_names: dict[str, None] = {}
        for one in self.lists:
            place = one.folder.relative_to(self.root) / "JPEGImages"
            files = _list_images(self.root / place)
            for name in read_names(one):
                if is_absolute(name) or leaves_folder(name) or re.search(r"[\\\0]", name):
                    text = f"{one.path}: '{name}': expected a name inside the folder"
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


def _list_images(folder: Path) -> dict[str, str]:
    """Return name without suffix -> name of the images below a folder; of two, the usual suffix's."""
    if not folder.is_dir():
        raise DataError(f"{folder}: no such image folder; copy the images there")
    files = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    ranked = sorted(files, key=lambda path: IMAGE_SUFFIXES.index(path.suffix.lower()), reverse=True)
    names = [path.relative_to(folder) for path in ranked]
    return {name.with_suffix("").as_posix(): name.as_posix() for name in names}


def find_years(root: Path) -> dict[str, Path]:
    """Return year -> folder: of `root` itself, or of `VOC2007` and so on in it; none if it is not VOC's.

    A folder whose name does not end in a year has the year "".
    """
    if _is_year(root):
        return {(re.findall(r"\d{4}$", root.resolve().name) or [""])[0]: root}
    inside = sorted(root.glob("VOC[0-9][0-9][0-9][0-9]"))
    return {folder.name[3:]: folder for folder in inside if _is_year(folder)}


def _is_year(folder: Path) -> bool:
    return (folder / "JPEGImages").is_dir() or (folder / _LISTS).is_dir()


def choose_lists(years: dict[str, Path], config: DataConfig, split: Split) -> tuple[ImageList, ...]:
    """Return the image lists of a split: those named in the config, or by what there is.

    Reading: with a `test` list of 2007 (the only year whose test annotations are public) or of no year, all
    `trainval` lists are for training and `test` for evaluation, as in Table 5. Without one it is `train` and
    `val`, because `trainval` holds the images of `val`.

    Raises:
        DataError: If there is no list; the line says what to add.
    """
    named = config.voc_train if split == "train" else config.voc_val
    if named:
        return tuple(one for label in named for one in _named(years, label, f"data.voc_{split}"))
    tested = {
        year: folder
        for year, folder in years.items()
        if year in ("2007", "") and ImageList(folder, year, "test").path.is_file()
    }
    if split == "val":
        places, names = (tested, ("test",)) if tested else (years, ("val", "test"))
    else:
        places, names = years, ("trainval", "train") if tested else ("train", "trainval")
    lists = [[ImageList(folder, year, name) for name in names] for year, folder in places.items()]
    chosen = tuple(there[0] for some in lists if (there := [one for one in some if one.path.is_file()]))
    if not chosen:
        raise DataError(
            f"{lists[0][0].path}: no such image list, nor {names[-1]}.txt; write one ({LINES}), or choose "
            f"others with --set data.voc_{split}=LIST"
        )
    return chosen


def _named(years: dict[str, Path], label: str, key: str) -> list[ImageList]:
    """Return what `2007_trainval`, or `trainval` of every year that has one, stands for."""
    dated = re.fullmatch(r"(\d{4})_(.*)", label, re.DOTALL)
    year, name = dated.groups() if dated else (None, label)
    lists = [ImageList(folder, other, name) for other, folder in years.items() if year in (None, other)]
    found = [one for one in lists if one.name == Path(one.name).name and one.path.is_file()]
    if not found:
        known = [
            ImageList(folder, other, path.stem).label
            for other, folder in years.items()
            for path in sorted((folder / _LISTS).glob("*.txt"))
            if "_" not in path.stem  # those of one class
        ]
        raise DataError(f"{key}: no image list '{label}'; there are: {', '.join(known) or 'none'}")
    return found


def read_names(one: ImageList) -> list[str]:
    """Return the lines of an image list.

    Raises:
        DataError: If it cannot be read or is empty, or is a list of one class.
    """
    path = one.path
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the image list ({error})") from error
    names = [line.strip() for line in lines if line.strip()]
    if not names:
        raise DataError(f"{path}: lists no image; write {LINES}")
    if all(re.fullmatch(r"\S+\s+(-1|0|1)", name) for name in names):
        base = one.name.rpartition("_")[2]
        known = ImageList(one.folder, one.year, base)
        take = f"'{known.label}'" if known.path.is_file() else "the list without a class in its name"
        raise DataError(
            f"{path}: says which images show one class (-1, 0 or 1 after each name), and all of these are "
            f"in {take}; take that"
        )
    return names
