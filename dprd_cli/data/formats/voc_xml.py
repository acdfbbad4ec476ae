"""One image's files in Pascal VOC's format: its xml, and its instance masks."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as rle_masks

from dprd_cli.errors import short_repr
from dprd_cli.files.images import open_image
from dprd_cli.structures.sample import Rle, is_class_name

#: Value of the pixels around objects that belong to none.
VOID = 255
_SIDES = ("xmin", "ymin", "xmax", "ymax")
_LARGE = 2**24  # pixels
_LEAST_INSIDE = 0.5  # a mask with a smaller share inside the box of its number is another object's


class VocFileError(Exception):
    """What is wrong with a file.

    Args:
        kind: Faults of one kind are reported together.
        text: What is wrong, in words, without the file's name.
        path: The file, where it is another than the one that was read.
        advice: What to do about it.
    """

    def __init__(
        self, kind: str, text: str, path: Path | None = None, advice: str = "correct the file"
    ) -> None:
        super().__init__(text)
        self.kind, self.path, self.advice = kind, path, advice


class VocSizeError(VocFileError):
    """Masks of another size than the xml says.

    Args:
        found: (height, width) of the masks.
        said: (height, width) in the xml.
    """

    def __init__(self, found: tuple[int, int], said: tuple[int, int]) -> None:
        super().__init__("mask size", f"{found[1]}x{found[0]} pixels, but the xml says {said[1]}x{said[0]}")
        self.found, self.said = found, said


@dataclass(frozen=True, slots=True)
class VocObject:
    """An object as its xml describes it.

    Args:
        name: Class name.
        bbox: [x, y, w, h] in pixels, from the image's corner: VOC's pixel columns `xmin` to `xmax`, counted
            from 1 and both included, are the span from xmin - 1 to xmax.
        difficult: Whether it is marked as hard to recognise.
        segmentation: Its mask as COCO's compressed RLE, or None.
    """

    name: str
    bbox: list[float]
    difficult: bool
    segmentation: Rle | None = None


@dataclass(frozen=True, slots=True)
class VocImage:
    """What the files say of an image.

    Args:
        size: (height, width), or None where the xml does not say it.
        objects: In the order of the xml.
        strays: Numbers of the masks that are no object's.
    """

    size: tuple[int, int] | None
    objects: tuple[VocObject, ...]
    strays: tuple[int, ...] = ()


def read_annotation(path: Path) -> VocImage:
    """Read an image's xml.

    Raises:
        VocFileError: If it cannot be read or does not say what it should.
    """
    root = _parse(path)
    if root.tag != "annotation":
        raise VocFileError("root", f"not VOC: the root is <{root.tag}>, expected <annotation>")
    objects = (_object(entry, number) for number, entry in enumerate(root.findall("object"), start=1))
    return VocImage(_size(root), tuple(objects))


def _parse(path: Path) -> Element:
    """Parse an xml file that holds no document type, because entities can read files and fill the memory."""
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.buffer_text = True
    handlers: dict[str, Callable[..., Any]] = {
        "StartDoctypeDeclHandler": _refuse_doctype,
        "StartElementHandler": builder.start,
        "EndElementHandler": builder.end,
        "CharacterDataHandler": builder.data,
    }
    for name, handler in handlers.items():
        setattr(parser, name, handler)
    try:
        with path.open("rb") as file:
            parser.ParseFile(file)
    except OSError as error:
        raise VocFileError("file", f"cannot read the annotation file ({error.strerror})") from error
    except (expat.ExpatError, LookupError, ValueError) as error:
        raise VocFileError("xml", f"not XML ({error})") from error
    return builder.close()


def _refuse_doctype(*_: object) -> NoReturn:
    raise VocFileError("doctype", "has a DOCTYPE, which VOC's files do not: it may hold harmful entities")


def _text(element: Element, name: str) -> str:
    """Return the text of a child on one line, empty where there is none."""
    return " ".join((element.findtext(name) or "").split())


def _size(root: Element) -> tuple[int, int] | None:
    """Return (height, width), or None where they are missing or 0, as some programs write them."""
    texts = [_text(root, f"size/{name}") for name in ("height", "width")]
    if all(text in ("", "0", "0.0") for text in texts):
        return None
    for name, text in zip(("height", "width"), texts, strict=True):
        if not re.fullmatch(r"0*[1-9][0-9]{0,6}(\.0*)?", text):
            raise VocFileError("size", f"<size> has {name} '{text}', expected a positive integer")
    height, width = (int(float(text)) for text in texts)
    return height, width


def _object(entry: Element, number: int) -> VocObject:
    name, difficult = _text(entry, "name"), _text(entry, "difficult") or "0"
    if not name:
        raise VocFileError("name", f"object {number} has no <name>")
    if not is_class_name(name):
        raise VocFileError("name", f"object {number} has <name> {short_repr(name)}, expected a word")
    if difficult not in ("0", "1"):
        raise VocFileError(
            "difficult", f"object {number} ({name}) has difficult '{difficult}', expected 0 or 1"
        )
    sides = [_text(entry, f"bndbox/{side}") for side in _SIDES]
    try:
        xmin, ymin, xmax, ymax = map(float, sides)
    except ValueError:
        xmin = ymin = xmax = ymax = math.nan
    if not math.isfinite(xmin + ymin + xmax + ymax):
        found = ", ".join(f"{side} '{text}'" for side, text in zip(_SIDES, sides, strict=True))
        raise VocFileError("bndbox", f"object {number} ({name}) has {found}, expected four numbers")
    return VocObject(name, [xmin - 1, ymin - 1, xmax - xmin + 1, ymax - ymin + 1], difficult == "1")


def add_masks(image: VocImage, path: Path) -> VocImage:
    """Read an image's instance masks: pixels of value i belong to the i-th object, `VOID` to none.

    A mask is a stray where there is no object of its number, or most of it is outside that object's box.

    Args:
        image: The image without masks.
        path: Palette or 8-bit grey image of the same size, or one in the colours of VOC's palette.

    Raises:
        VocFileError: If it cannot be read, or is not of the image's size.
    """
    size = image.size or (0, 0)
    values = _read_values(path, size)
    objects, strays = list(image.objects), []
    for number in np.flatnonzero(np.bincount(values.ravel(), minlength=VOID)[:VOID])[1:].tolist():
        mask = values == number
        if number > len(objects) or not _is_inside(mask, objects[number - 1].bbox):
            strays.append(number)
            continue
        rle = rle_masks.encode(np.asfortranarray(mask.view(np.uint8)))
        rle = {"size": list(size), "counts": rle["counts"].decode()}
        objects[number - 1] = replace(objects[number - 1], segmentation=rle)
    return VocImage(size, tuple(objects), tuple(strays))


def _read_values(path: Path, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the palette indices, or grey values, of an image. [H, W]."""
    try:
        with open_image(path) as image:
            if (image.height, image.width) != size:
                raise VocSizeError((image.height, image.width), size)
            if image.mode in ("RGB", "RGBA"):
                return _palette_numbers(np.asarray(image)[:, :, :3])
            if image.mode not in ("P", "L"):
                raise VocFileError(
                    "mask mode", f"an image of mode {image.mode}, expected palette or 8-bit grey"
                )
            return np.asarray(image)
    except VocFileError:
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on broken files
        if isinstance(error, MemoryError) and math.prod(size) > _LARGE:
            raise  # else a length in the file is a lie
        reason = str(error).split("\n")[0] or type(error).__name__
        raise VocFileError("mask file", f"truncated, corrupt or not an image ({reason})") from error


def palette() -> NDArray[np.uint8]:
    """Return VOC's palette: bits 3b, 3b + 1, 3b + 2 of a number are bit 7 - b of R, G, B. [256, 3]."""
    numbers, colours = np.arange(256), np.zeros((256, 3), dtype=np.uint8)
    for bit in range(8):
        for channel in range(3):
            colours[:, channel] |= ((numbers >> (3 * bit + channel) & 1) << (7 - bit)).astype(np.uint8)
    return colours


def _palette_numbers(colours: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Turn colours of VOC's palette [H, W, 3] back into their numbers. [H, W]."""
    keys = colours.astype(np.int64) @ (65536, 256, 1)
    known = palette().astype(np.int64) @ (65536, 256, 1)
    order = np.argsort(known)
    place = np.minimum(np.searchsorted(known[order], keys), 255)
    numbers = order[place]
    strange = np.argwhere(known[numbers] != keys)
    if len(strange):
        colour = tuple(colours[tuple(strange[0])].tolist())
        raise VocFileError(
            "mask colour",
            f"a mask in colours, of which {colour} is none of VOC's palette",
            advice="save the number of each pixel's object, as a palette or 8-bit grey image",
        )
    return numbers.astype(np.uint8)


def _is_inside(mask: NDArray[np.bool_], bbox: list[float]) -> bool:
    x, y, w, h = bbox
    rows, columns = np.nonzero(mask)  # of pixels whose centres are half a pixel further
    inside = (rows + 0.5 >= y) & (rows + 0.5 <= y + h) & (columns + 0.5 >= x) & (columns + 0.5 <= x + w)
    return bool(inside.mean() >= _LEAST_INSIDE)
