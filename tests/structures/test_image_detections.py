"""What predictions have in common."""

import subprocess
import sys
from dataclasses import dataclass, replace

import numpy as np

from dprd_cli.structures.image_detections import ImageDetections
from paths import ROOT


@dataclass(frozen=True, eq=False, repr=False)
class Scored(ImageDetections):
    name: str
    image: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    all_class_names: tuple[str, ...] = ("cat", "dog")

    def _select(self, rows):
        return replace(self, scores=self.scores[rows], labels=self.labels[rows])


FOUND = Scored("", np.zeros((4, 6, 3), np.uint8), np.array([0.9, 0.5, 0.4], np.float32), np.array([1, 0, 1]))


def test_detections_are_told_and_chosen():
    assert (len(FOUND), FOUND.image_size, FOUND.class_names) == (3, (4, 6), ["dog", "cat", "dog"])
    assert repr(FOUND) == "Scored('image', 6x4: 2 dog, 1 cat)"
    assert FOUND.above(0.5).class_names == ["dog", "cat"]  # from 0.5 on: it counts too
    assert FOUND.best(1).class_names == ["dog"]
    assert repr(replace(FOUND.above(1), name="a.jpg")) == "Scored('a.jpg', 6x4: nothing found)"


def test_it_comes_without_pytorch():
    code = "import sys, dprd_cli.structures.image_detections; assert not {'torch', 'cv2'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
