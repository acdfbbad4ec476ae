"""Simple Copy-Paste: objects of another image, laid over an image where they hide what was there.

Source: Ghiasi et al. 2021, "Simple Copy-Paste is a Strong Data Augmentation Method for Instance
Segmentation".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dprd_cli.data.transforms import crop, mask_box, pad
from dprd_cli.structures.sample import Sample


@dataclass(frozen=True, slots=True)
class Donor:
    """Another image, whose objects are pasted.

    Args:
        sample: The image with its objects, as the data set gives it.
        rng: Source of the randomness of changing and pasting it.
    """

    sample: Sample
    rng: np.random.Generator


def copy_paste(sample: Sample, donor: Sample, rng: np.random.Generator) -> Sample:
    """Paste some objects of another image.

    How many is drawn, from one to all that have a mask, then which. They come to where they were in their
    own image, which is laid over this one first: in each direction the smaller of the two lies at random
    inside the larger. Nothing is blended at their edges, in which the paper finds no gain.

    Args:
        sample: An image with its objects.
        donor: The other image, changed at random as this one was.
        rng: Source of all randomness.

    Returns:
        The image with what is left of its objects, then those pasted (see `paste`).
    """
    candidates = np.flatnonzero(donor.has_mask)
    if not len(candidates):
        return sample
    number = int(rng.integers(1, len(candidates), endpoint=True))
    chosen = donor.take(np.sort(rng.choice(candidates, number, replace=False)))
    return paste(sample, _lay_over(chosen, sample.image.shape[:2], rng))


def _lay_over(donor: Sample, shape: tuple[int, ...], rng: np.random.Generator) -> Sample:
    """Cut or pad an image to `shape` (height, width), at random places."""
    before, after = np.array(donor.image.shape[:2]), np.array(shape)
    window = np.minimum(before, after)
    y, x = (int(v) for v in rng.integers(0, before - window, endpoint=True))
    top, left = (int(v) for v in rng.integers(0, after - window, endpoint=True))
    cut = crop(donor, (x, y, x + int(window[1]), y + int(window[0])))
    return pad(cut, (int(after[0]), int(after[1])), (top, left))


def paste(sample: Sample, donor: Sample) -> Sample:
    """Paste all objects of an image over those of another of the same size.

    A pixel is the donor's where one of its masks is, and the sample's elsewhere; so are the masks. What is
    left of the objects below is what `hide` says.
    """
    assert donor.masks is not None
    over = np.asarray(donor.masks.any(axis=0))  # [H, W]
    below = hide(sample, over)
    masks = below.masks if below.masks is not None else np.zeros((len(below.boxes), *over.shape), dtype=bool)
    drawn = np.asarray(donor.masks.any(axis=(1, 2)))  # one that lies outside its box can be cut away
    cues = None
    if below.cues is not None and donor.cues is not None:
        cues = np.concatenate([below.cues, donor.cues[drawn]])
    return replace(
        below,
        image=np.where(over[..., None], donor.image, below.image),
        boxes=np.concatenate([below.boxes, donor.boxes[drawn]]),
        labels=np.concatenate([below.labels, donor.labels[drawn]]),
        masks=np.concatenate([masks, donor.masks[drawn]]),
        has_mask=np.concatenate([below.has_mask, donor.has_mask[drawn]]),
        cues=cues,
    )


def hide(sample: Sample, over: NDArray[np.bool_]) -> Sample:
    """Take away what is hidden of an image's objects.

    A mask loses the hidden pixels, and its box becomes the tight one around the rest. Objects of which
    nothing is left are dropped: those without a mask, whose box stays as it is, where all of it is hidden.

    Args:
        sample: An image with its objects.
        over: Which pixels are hidden. [H, W]
    """
    boxes, masks = sample.boxes.copy(), None
    keep = np.ones(len(boxes), dtype=bool)
    if sample.masks is not None:
        masks = sample.masks & ~over
        for row in np.flatnonzero((masks != sample.masks).any(axis=(1, 2))):
            boxes[row] = mask_box(masks[row])
            keep[row] = masks[row].any()
    for row in np.flatnonzero(~sample.has_mask):
        x1, y1 = np.floor(boxes[row, :2]).astype(int)
        x2, y2 = np.ceil(boxes[row, 2:]).astype(int)
        keep[row] = not over[y1:y2, x1:x2].all()
    return replace(sample, boxes=boxes, masks=masks).take(keep)
