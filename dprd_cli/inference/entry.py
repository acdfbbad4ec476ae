"""An image or frame whose outputs are written: how they are named, and what is shown."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from dprd_cli.files.images import image_suffix
from dprd_cli.inference.prediction import Prediction
from dprd_cli.structures.sample import ImageArray
from dprd_cli.weights.load import USUAL_SCORE


@dataclass(frozen=True, slots=True)
class DisplayStyle:
    """What is shown of detections, in all kinds of output but the COCO results and the table.

    Args:
        score_thresh: Least score; None is the detector's own, where there is one, else 0.5.
        masks: Masks too, where there are any.
        parts: Part boxes too, where there are any.
        part_style: How part boxes are drawn; one of `drawing.parts.STYLES`.
        color_by: `class` or `instance`; empty: by instance where there is one class.
    """

    score_thresh: float | None = None
    masks: bool = True
    parts: bool = False
    part_style: str = "tones"
    color_by: str = ""


@dataclass(frozen=True)
class OutputEntry:
    """An image or frame, and how its outputs are named.

    Args:
        prediction: All its detections.
        image_id: Its id in the COCO results.
        path: The file that it comes from, or a path like one; its suffix decides the format of drawings.
        is_file: Whether there is such an image file.
        stem: Name of its outputs without suffix, no two alike; frames share their video's.
        style: What is shown.
    """

    prediction: Prediction
    image_id: int
    path: Path
    is_file: bool
    stem: str
    style: DisplayStyle

    @property
    def place(self) -> str:
        """`STEM`, or `STEM/FRAME`, such as `clip/000012`."""
        moment = self.prediction.moment
        return f"{self.stem}/{moment.index:06d}" if moment else self.stem

    @property
    def suffix(self) -> str:
        """Ending of the names of images that are made from it."""
        return image_suffix(self.path)

    @cached_property
    def shown(self) -> Prediction:
        """The detections that are shown."""
        least = self.style.score_thresh
        return self.prediction.above(USUAL_SCORE if least is None else least)

    @cached_property
    def drawing(self) -> ImageArray:
        """The annotated image."""
        style = self.style
        return self.shown.plot(
            masks=style.masks, parts=style.parts, part_style=style.part_style, color_by=style.color_by
        )


def counted(number: int, what: str) -> list[str]:
    """Return `["3 crops"]`, or nothing for none."""
    return [f"{number} {what}{'' if number == 1 else 's'}"] if number else []
