"""What predictions have in common, with PyTorch and without; this module needs NumPy alone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray


class ImageDetections(ABC):
    """An image and what was found in it, best score first; fields or properties hold both."""

    if TYPE_CHECKING:  # a property that is there would be the default of a dataclass's field

        @property
        def name(self) -> str:
            """Where the image is from; empty for one that came from memory."""

        @property
        def image(self) -> NDArray[np.uint8]:
            """RGB, upright. [H, W, 3]."""

        @property
        def scores(self) -> NDArray[np.float32]:
            """Class scores in 0..1. [D]."""

        @property
        def labels(self) -> NDArray[np.int64]:
            """Class indices 0..K-1. [D]."""

        @property
        def all_class_names(self) -> tuple[str, ...]:
            """Name of each class index. [K]."""

    def __len__(self) -> int:
        return len(self.scores)

    def __repr__(self) -> str:
        height, width = self.image_size
        return f"{type(self).__name__}({self.name or 'image'!r}, {width}x{height}: {self.summary()})"

    @property
    def image_size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def class_names(self) -> list[str]:
        """Name of each detection's class. [D]."""
        return [self.all_class_names[label] for label in self.labels.tolist()]

    def above(self, score_thresh: float) -> Self:
        """Return the detections from a score on."""
        return self._select(self.scores >= score_thresh)

    def best(self, count: int) -> Self:
        """Return the best so many detections."""
        return self._select(slice(count))

    def summary(self) -> str:
        """Return `2 person, 1 dog`, the most frequent first."""
        counts = Counter(self.class_names)
        return ", ".join(f"{number} {name}" for name, number in counts.most_common()) or "nothing found"

    @abstractmethod
    def _select(self, rows: NDArray[np.bool_] | slice) -> Self:
        """Return the detections of some rows."""
