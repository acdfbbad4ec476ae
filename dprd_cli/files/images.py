"""Reading one image: fully decoded, upright, 8-bit RGB, or one line that says why not."""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
import threading
import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from dprd_cli.errors import DataError, DprdWarning
from dprd_cli.files.atomic import write_bytes
from dprd_cli.ops.arrays import DEEP_GREY, READABLE, scale_deep_grey
from dprd_cli.structures.sample import ImageArray

EXIF_ORIENTATION = 0x0112
_OPENING = threading.Lock()  # Pillow's pixel limit is a global
_DECODING = threading.Lock()  # one large image at a time, because Pillow's copy of it comes on top
_LARGE = 2**24  # pixels
_STRIP = 2**22  # pixels that are converted at once
_BROKEN_EXIF = (SyntaxError, ValueError, KeyError, TypeError, ZeroDivisionError, OSError)
#: How a file begins that Git keeps in place of a large one.
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_warned_deep = False


class ImageError(DataError):
    """An image that cannot be read.

    Args:
        kind: A word for programs; images of one kind are reported together.
        message: One line that names the file.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


def read_image(path: Path | str, max_pixels: int) -> ImageArray:
    """Read an image as it should be seen.

    The first frame is decoded to its last byte, turned upright as its EXIF data says, and converted to
    8-bit RGB: 16-bit grey is divided by 257 (with one warning a process), alpha is dropped, palette, CMYK
    and grey are converted.

    Args:
        path: The file.
        max_pixels: Largest image (width x height) that is decoded.

    Returns:
        RGB. [H, W, 3]

    Raises:
        ImageError: If the file is missing, a folder, empty, not an image, truncated, or too large.
    """
    return _read(Path(path), max_pixels, lightness=False)


def read_lightness(path: Path | str, max_pixels: int) -> NDArray[np.uint8]:
    """Read an image as `read_image` does, to its last byte too, but of a JPEG in colour the lightness alone.

    A JPEG stores that apart, at its full size, so that it is the faster way to see that a file is whole.

    Args:
        path: The file.
        max_pixels: Largest image (width x height) that is decoded.

    Returns:
        The lightness, [H, W], of a JPEG in colour, and RGB, [H, W, 3], of any other image.

    Raises:
        ImageError: As `read_image`.
    """
    return _read(Path(path), max_pixels, lightness=True)


def _read(path: Path, max_pixels: int, *, lightness: bool) -> NDArray[np.uint8]:
    """Read an image; see `read_lightness` and `read_image`."""
    try:
        with _open(path, max_pixels) as image:
            large = image.width * image.height > _LARGE
            alone = lightness and image.mode == "RGB" and image.draft("L", None) is not None
            with _DECODING if large else contextlib.nullcontext():
                image.load()
                upright = _upright(image)
                return np.asarray(upright) if alone else _to_rgb(upright, path)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow's plugins raise nearly anything on broken files
        raise ImageError("corrupt", f"{path}: {_corrupt(error)}") from error


def read_image_bytes(content: bytes, name: str, max_pixels: int) -> ImageArray:
    """Read an image that came from elsewhere as a file of the same content; see `read_image`.

    Args:
        content: The bytes of a file.
        name: What to call it.
        max_pixels: Largest image (width x height) that is decoded.

    Returns:
        RGB. [H, W, 3]

    Raises:
        ImageError: As `read_image`, naming `name`.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "image"
        path.write_bytes(content)
        try:
            return read_image(path, max_pixels)
        except ImageError as error:
            raise ImageError(error.kind, str(error).replace(str(path), name)) from error


def _corrupt(error: Exception) -> str:
    reason = str(error).split("\n")[0] or type(error).__name__
    if "MAX_TEXT_CHUNK" in reason or "MAX_TEXT_MEMORY" in reason:
        return "the image may be sound, but has more text in it than Pillow reads; save it anew without"
    return f"the image is truncated or corrupt ({reason}); replace or remove it"


def read_size(path: Path | str, max_pixels: int) -> tuple[int, int]:
    """Return the (height, width) of the upright image without decoding it.

    Raises:
        ImageError: As `read_image`, for what shows without decoding.
    """
    path = Path(path)
    try:
        with _open(path, max_pixels) as image:
            turned = orientation_of(image) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise ImageError("corrupt", f"{path}: {_corrupt(error)}") from error


def size_fault(path: Path, found: tuple[int, ...], said_in: Path, said: tuple[int, int]) -> str:
    """Say that an image is not of the (height, width) that its annotation file says."""
    text = f"{path}: the image is {found[1]}x{found[0]}, but {said_in} says {said[1]}x{said[0]}"
    turned = exif_orientation(path)
    if turned >= 5 and tuple(found) == said[::-1]:
        return (
            f"{text}: its width and height match the unrotated image, which EXIF orientation {turned} "
            "turns; turn the pixels and drop the EXIF tag, or annotate the upright image"
        )
    return f"{text} (width x height); correct the file, or restore the image that was annotated"


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF orientation of an open image; data too broken to hold one says nothing."""
    try:
        return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except _BROKEN_EXIF:
        return 1


def exif_orientation(path: Path | str) -> int:
    """Return the EXIF orientation of an image, 1..8; 1 (upright) where there is none."""
    try:
        with open_image(path) as image:
            return int(image.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # a message is being written: never replace it by another error
        return 1


def open_image(path: Path | str) -> Image.Image:
    """Open an image of one of `FORMATS` without decoding it; what needs more than NumPy opens images here.

    Pillow's own limit of pixels, which is a global, does not count.

    Raises:
        UnidentifiedImageError: If it is of another format.
        Exception: Whatever Pillow raises on broken files.
    """
    with _OPENING:
        limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
        try:
            return Image.open(path, formats=READABLE)
        finally:
            Image.MAX_IMAGE_PIXELS = limit


def _open(path: Path, max_pixels: int) -> Image.Image:
    """Open an image without decoding it, after every check that needs no pixels."""
    try:
        _check_kind(path)
        image = open_image(path)
    except FileNotFoundError as error:
        raise ImageError("missing", f"{path}: no such file; check the path") from error
    except UnidentifiedImageError as error:
        raise _no_image(path) from error
    except OSError as error:
        if not error.strerror:  # a decoder's, not the system's
            raise
        raise ImageError("file", f"{path}: cannot read the file ({error.strerror})") from error
    except ValueError as error:
        if "\0" not in str(path):  # a decoder's
            raise
        raise ImageError("file", f"{str(path)!r}: no file can have this name") from error
    if image.width * image.height > max_pixels:
        image.close()
        raise ImageError(
            "too large",
            f"{path}: {image.width}x{image.height} are more than {max_pixels} pixels; if you trust the file, "
            f"pass --set data.max_pixels={image.width * image.height}",
        )
    return image


def _no_image(path: Path) -> ImageError:
    """Return the error of a file that is no image: what it is, and what to do."""
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    if start.startswith(LFS_POINTER):
        return ImageError("lfs pointer", f"{path}: a Git LFS pointer, not the image itself: run git lfs pull")
    if start[:5].lower() in (b"<!doc", b"<html"):
        return ImageError("web page", f"{path}: a web page, not an image: fetch it again")
    text = f"{path}: not an image that is read here; remove it or convert it to PNG or JPEG"
    return ImageError("not an image", text)


def _check_kind(path: Path) -> None:
    """Refuse what is no file with something in it."""
    if os.path.isdir(path):
        raise ImageError("folder", f"{path}: a folder, where an image was expected")
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ImageError("file", f"{path}: a device or pipe, where an image was expected")
    if found.st_size == 0:
        raise ImageError("empty", f"{path}: the file is empty; replace or remove it")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF orientation; data too broken to hold one says nothing."""
    if orientation_of(image) == 1:  # as nearly always; Pillow would make a copy
        return image
    try:
        return ImageOps.exif_transpose(image)
    except _BROKEN_EXIF:
        return image


def _to_rgb(image: Image.Image, path: Path) -> ImageArray:
    """Convert any mode to 8-bit RGB, in strips, which take no memory. [H, W, 3]."""
    if image.mode == "F":
        raise ImageError("numbers", f"{path}: an image of floating-point numbers; convert it to 8 or 16 bits")
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    height = max(1, _STRIP // image.width)
    for top in range(0, image.height, height):
        box = (0, top, image.width, min(top + height, image.height))
        strip = image if height >= image.height else image.crop(box)
        pixels[top : top + height] = _strip_to_rgb(strip, path)
    return pixels


def _strip_to_rgb(image: Image.Image, path: Path) -> ImageArray:
    """Convert a few lines. [H, W, 3] or, of grey, [H, W, 1]."""
    if image.mode in DEEP_GREY:
        return _deep_grey(np.asarray(image).astype(np.int64), path)
    if image.mode in ("RGBa", "La"):  # premultiplied alpha has no direct way to RGB
        image = image.convert("RGBA" if image.mode == "RGBa" else "LA")
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _deep_grey(grey: NDArray[np.int64], path: Path) -> ImageArray:
    """Scale grey [H, W] to 8 bits, with one warning a process. [H, W, 1]."""
    global _warned_deep
    scaled = scale_deep_grey(grey)
    if scaled is None:
        raise ImageError(
            "numbers", f"{path}: a grey image with values outside 0..65535; convert it to 8 or 16 bits"
        )
    if not _warned_deep:
        _warned_deep = True
        warnings.warn(
            f"{path}: 16-bit grey is scaled to 8 bits (divided by 257), here and in further images",
            DprdWarning,
            stacklevel=4,
        )
    return scaled


_JPEG = frozenset({".jpg", ".jpeg"})
_LONGEST = {".jpg": 65_500, ".webp": 16_383}  # sides that the formats hold; longer images are shrunk
#: Suffixes of the images that are looked for, the most usual first; a file named on its own may have any.
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".gif"),
    *(".jfif", ".jpe", ".jp2", ".avif"),
)
#: Suffixes of images that are not read here, so that they can be named.
UNREAD_SUFFIXES = (".heic", ".heif", ".jxl", ".dng", ".cr2", ".nef", ".arw", ".psd", ".svg", ".exr", ".tga")
#: Those that an image in full colour can be written with.
WRITABLE_SUFFIXES = IMAGE_SUFFIXES[:7]


def has_image_suffix(name: str) -> bool:
    """Whether a file's name ends like an image's that is read here."""
    return name.lower().endswith(IMAGE_SUFFIXES)


def image_suffix(path: Path) -> str:
    """Return `.jpg` for a JPEG's name and `.png` for any other: the format of images made from it."""
    return ".jpg" if path.suffix.lower() in _JPEG else ".png"


def write_image(path: Path, image: ImageArray) -> None:
    """Write an RGB image [H, W, 3] as its suffix says, one of `WRITABLE_SUFFIXES`.

    Raises:
        ResourceError: If it cannot be written.
    """
    suffix = path.suffix.lower()
    encoded = encode_jpeg(image) if suffix in _JPEG else _encode(image, suffix)
    write_bytes(path, encoded)


def encode_png(image: ImageArray) -> bytes:
    """Return an RGB [H, W, 3] or grey [H, W] image as the bytes of a PNG file."""
    return _encode(image, ".png")


def encode_jpeg(image: ImageArray, quality: int = 93) -> bytes:
    """Return an RGB [H, W, 3] or grey [H, W] image as the bytes of a JPEG file.

    Args:
        image: 8-bit.
        quality: 0..100.
    """
    return _encode(image, ".jpg", (cv2.IMWRITE_JPEG_QUALITY, quality))


def _encode(image: ImageArray, suffix: str, options: tuple[int, ...] = ()) -> bytes:
    pixels = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    shrink = max(pixels.shape) / _LONGEST.get(suffix, max(pixels.shape))
    if shrink > 1:
        height, width = (max(1, int(side / shrink)) for side in pixels.shape[:2])
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return cv2.imencode(suffix, pixels, options)[1].tobytes()
