"""Finding VOC's files: in VOC's own folders, or beside the images, as Roboflow and labelImg write them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.problems import Problems, first_five, plural
from dprd_cli.data.formats.source import Classes, DataSource, Part, by_part, split_folders
from dprd_cli.data.formats.voc import VocAnnotations, VocIndex
from dprd_cli.data.formats.voc_lists import ImageList, ListedImages, choose_lists, find_years
from dprd_cli.errors import DataError
from dprd_cli.files.images import has_image_suffix
from dprd_cli.structures.sample import SPLITS

_HEAD = 4096  # bytes that show whether an xml holds annotations


def find_devkit(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return VOC's folders, with the image lists that are there, or all images where there is no list."""
    years = find_years(root) if root is not None and root.is_dir() else {}
    if root is None or not years:
        return None
    parts: dict[Part, Callable[[Classes], VocAnnotations]] = {}
    missing: dict[Part, str] = {}
    for split in SPLITS:
        named = bool(config.voc_train if split == "train" else config.voc_val)
        try:
            lists = choose_lists(years, config, split)
        except DataError as error:
            if named:
                raise
            missing[split] = str(error)
            continue
        parts[split] = _opener(config, root, ListedImages(root, lists))
    if not parts:
        parts = {part: _opener(config, root, index) for part, index in _other_lists(root, years).items()}
    listed = any((folder / "ImageSets").is_dir() for folder in years.values())
    return DataSource("VOC", root, dict(parts), missing) if parts or listed else None


def _opener(config: DataConfig, root: Path, index: VocIndex) -> Callable[[Classes], VocAnnotations]:
    return partial(VocAnnotations, root, index, links=config.follow_links)


def _other_lists(root: Path, years: dict[str, Path]) -> dict[Part, VocIndex]:
    """Return lists of any name (CVAT's `default`), or else every xml."""
    for year, folder in years.items():
        files = sorted((folder / "ImageSets" / "Main").glob("*.txt"))
        lists = [ImageList(folder, year, path.stem) for path in files if "_" not in path.stem]
        if lists:
            names = by_part([Path(one.name) for one in lists], Path())
            return {
                part: ListedImages(root, tuple(ImageList(folder, year, name.name) for name in found))
                for part, found in names.items()
            }
        if any((folder / "Annotations").glob("**/*.xml")):
            return {"all": XmlFiles(root, folder)}
    return {}


def find_flat(config: DataConfig, root: Path | None) -> DataSource | None:
    """Return xml files that lie in no folders of VOC's: beside the images, or in a folder of their own."""
    if root is None or not root.is_dir():
        return None
    parts = {
        part: _opener(config, root, XmlFiles(root, folder))
        for part, folder in split_folders(root).items()
        if _holds_annotations(folder)
    }
    return DataSource("VOC", root, dict(parts)) if parts else None


def _holds_annotations(folder: Path) -> bool:
    first = next(folder.glob("**/*.xml"), None)
    try:
        return first is not None and b"<annotation" in first.read_bytes()[:_HEAD]
    except OSError:
        return False


@dataclass(frozen=True, slots=True)
class XmlFiles:
    """Every xml below a folder that has an image of its name, beside it or anywhere in the folder.

    Args:
        root: Folder that the file names are relative to.
        folder: Where they are, at or below the root.
    """

    root: Path
    folder: Path
    _files: dict[str, Path] = field(default_factory=dict, compare=False, repr=False)

    @property
    def label(self) -> str:
        """The folder, if it is not the root."""
        return "" if self.folder == self.root else self.folder.name

    @property
    def places(self) -> tuple[Path, ...]:
        """The folder."""
        return (self.folder,)

    def file_of(self, file_name: str) -> Path:
        """Return the xml of an image."""
        if not self._files:
            self.file_names(Problems())
        return self._files[file_name]

    def file_names(self, problems: Problems) -> list[str]:
        """Return the images that have an xml."""
        images: dict[str, list[Path]] = {}
        xml_files: list[Path] = []
        for path in sorted(self.folder.rglob("*")):
            if path.suffix.lower() == ".xml":
                xml_files.append(path)
            elif has_image_suffix(path.name) and "Segmentation" not in path.parent.name:
                images.setdefault(path.stem, []).append(path)
        alone: list[str] = []
        for xml in xml_files:
            found = images.get(xml.stem, [])
            beside = [path for path in found if path.parent == xml.parent] or found
            if len(beside) == 1:
                self._files[beside[0].relative_to(self.root).as_posix()] = xml
            else:
                alone.append(xml.relative_to(self.root).as_posix())
        if alone:
            text = f"{plural(len(alone), 'xml file')} without one image of the same name"
            problems.count("no image", f"{text}, left out ({first_five(alone)})", alone)
        named = {xml.stem for xml in self._files.values()}
        bare = [stem for stem in images if stem not in named]
        if bare:
            text = f"{plural(len(bare), 'image')} without an xml file, left out ({first_five(bare)})"
            problems.count("unlabelled", text, bare, "note")
        return list(self._files)
