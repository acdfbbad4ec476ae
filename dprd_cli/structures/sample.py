"""What every data set gives, before augmentation: numpy arrays at the image's own size."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import NDArray

#: RGB. [H, W, 3]
ImageArray: TypeAlias = NDArray[np.uint8]
Split: TypeAlias = Literal["train", "val"]
SPLITS: tuple[Split, Split] = ("train", "val")
#: A COCO `instances` file as parsed: `images`, `annotations`, `categories`.
CocoTree: TypeAlias = dict[str, Any]
#: One entry of COCO's json: an image, an annotation, a category or a result.
CocoEntry: TypeAlias = dict[str, Any]
#: A mask as COCO's run lengths: `size` [height, width] and `counts`.
Rle: TypeAlias = dict[str, Any]
LONGEST_NAME = 200


#: Unicode's control characters, halves of pairs and line ends, and what turns the reading direction.
_NO_NAMES = frozenset(("Cc", "Cs", "Zl", "Zp"))
_TURNS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def is_class_name(name: object) -> TypeGuard[str]:
    """Whether something can be a class's name: a text that is no novel, and holds no control character.

    Joiners (U+200C, U+200D) and wide blanks (U+3000) are parts of words and emoji.
    """
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_NAME or not name.strip():
        return False
    return name.isprintable() or not any(c in _TURNS or unicodedata.category(c) in _NO_NAMES for c in name)


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its objects (crowds left out), in the image's own pixels.

    Args:
        image: RGB, uint8. [H, W, 3]
        boxes: xyxy in pixels, float32. [G, 4]
        labels: Class indices 0..K-1, int64. [G]
        masks: Instance masks, bool, or None where the data set has none. [G, H, W]
        has_mask: Which objects carry a mask, bool. [G]
        image_id: Id in the annotation file.
        file_name: Path relative to the image folder (or a made-up name), for messages and outputs.
        cues: A point (x, y) of each object, where its class can be read, float32; None where the data does
            not tell (only the built-in signposts do). [G, 2]
    """

    image: ImageArray
    boxes: NDArray[np.float32]
    labels: NDArray[np.int64]
    masks: NDArray[np.bool_] | None
    has_mask: NDArray[np.bool_]
    image_id: int
    file_name: str
    cues: NDArray[np.float32] | None = None

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Sample:
        """Return the image with some of its objects: those that are marked, or those numbered. [G] or [g]."""
        return replace(
            self,
            boxes=self.boxes[rows],
            labels=self.labels[rows],
            masks=None if self.masks is None else self.masks[rows],
            has_mask=self.has_mask[rows],
            cues=None if self.cues is None else self.cues[rows],
        )


def without_objects(image: ImageArray) -> Sample:
    """Return an image [H, W, 3], of which nothing else is known, as a sample."""
    return Sample(
        image=image,
        boxes=np.zeros((0, 4), dtype=np.float32),
        labels=np.zeros(0, dtype=np.int64),
        masks=None,
        has_mask=np.zeros(0, dtype=bool),
        image_id=-1,
        file_name="",
    )


class Dataset(Protocol):
    """A split.

    Attributes:
        name: What to call it in messages.
        class_names: Name of each class index 0..K-1.
        category_ids: Original category id of each class index (results files use these).
        has_masks: Whether any object of the split has a mask.
        is_voc: Whether it is Pascal VOC's, so that VOC's AP is measured too.
    """

    name: str
    class_names: tuple[str, ...]
    category_ids: tuple[int, ...]
    has_masks: bool
    is_voc: bool

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Return one image with its objects."""
        ...

    def labels_of(self, index: int) -> NDArray[np.int64]:
        """Return the class indices of an image's objects, without reading the image. [G]."""
        ...

    def coco(self) -> CocoTree:
        """Return the ground truth as a COCO `instances` dict, crowds (VOC: difficult objects) included."""
        ...
