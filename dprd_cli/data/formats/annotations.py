"""What annotations of any format give: themselves in COCO's form, and what is wrong with them."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from dprd_cli.data.formats.object_checks import CheckReport
from dprd_cli.data.formats.problems import Problems
from dprd_cli.structures.sample import CocoTree


class Annotations(Protocol):
    """A split's annotations, in whatever format; `read` gives them in COCO's form."""

    @property
    def name(self) -> str:
        """What to call them in messages."""
        ...

    @property
    def images_dir(self) -> Path:
        """Folder that the `file_name`s are relative to."""
        ...

    @property
    def is_voc(self) -> bool:
        """Whether they are Pascal VOC's."""
        ...

    def read(self, problems: Problems) -> CocoTree:
        """Return them as a COCO `instances` dict.

        Args:
            problems: Gets the errors of single images, which are left out, and of single objects.

        Raises:
            DataError: If they cannot be read at all.
        """
        ...

    def check(self, tree: CocoTree, problems: Problems, *, missing_ok: bool) -> CheckReport:
        """Check what `read` returned, and the image files; see `check_coco`."""
        ...

    def file_of(self, file_name: str) -> Path:
        """Return the annotation file of an image."""
        ...
