"""Says once that many parts have fallen back to their reference: no loss would show it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dprd_cli.config.schema import Config
from dprd_cli.runtime.progress import say

#: Share of fallbacks beyond which it is said.
MANY = 0.2


class FallbackWatch:
    """Sees the rows of a run's metrics, as a tracker does.

    Args:
        config: The run's.
    """

    def __init__(self, config: Config) -> None:
        parts = config.model.parts
        # with sigma 1 all fall back by design, and a straight-through gradient frees them
        self._watches = parts.mode == "deformable" and parts.sigma < 1 and not parts.straight_through
        self._sigma, self._rate = parts.sigma, config.train.part_lr_mult

    def add(self, row: Mapping[str, Any]) -> None:
        """Say a line if it is the first row with many fallbacks."""
        share = row.get("part_fallback")
        if not self._watches or share is None or share <= MANY:
            return
        self._watches = False
        say(
            f"warning: {share:.0%} of the parts have left their reference by more than model.parts.sigma="
            f"{self._sigma:g} allows and are back at it, where no gradient frees them: the part layer learns "
            f"too fast; lower train.part_lr_mult ({self._rate:g})"
        )

    def add_image(self, name: str, path: Path, step: int) -> None:
        """Look at no image."""

    def close(self) -> None:
        """Nothing waits."""
