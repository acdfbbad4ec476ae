"""Exports a detector and says how far the file is from PyTorch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dprd_cli.errors import UserError
from dprd_cli.export.check import ExportDifference, compare_exported, open_exported
from dprd_cli.export.write import SUFFIXES, ExportMetadata, ExportOptions, write_export
from dprd_cli.files.output_folder import OutputChoice, output_file
from dprd_cli.runtime.progress import progress
from dprd_cli.weights.load import LoadedModel


@dataclass(frozen=True, slots=True)
class ExportResult:
    """A file that a detector was exported to.

    Args:
        file: The file.
        kind: One of `FORMATS`.
        checkpoint: The file that the detector comes from.
        metadata: What the exported file says of itself.
        differences: How far it is from PyTorch, on each image that was asked for.
    """

    file: Path
    kind: str
    checkpoint: Path
    metadata: ExportMetadata
    differences: tuple[ExportDifference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return it as plain containers."""
        return {
            "checkpoint": str(self.checkpoint),
            "out": str(self.file),
            "format": self.kind,
            "metadata": self.metadata.to_json(),
            "check": [difference.to_json() for difference in self.differences],
        }

    def raise_for_differences(self) -> None:
        """Raise if the file says something else than PyTorch.

        Raises:
            UserError: If it does, on any of the images.
        """
        wrong = sum(not difference.agrees for difference in self.differences)
        if wrong:
            raise UserError(f"{self.file}: differs from PyTorch on {wrong} of {len(self.differences)} images")


def export_detector(
    model: LoadedModel,
    output: OutputChoice | None = None,
    options: ExportOptions | None = None,
    *,
    check: Sequence[Path] = (),
) -> ExportResult:
    """Write a detector as one file that describes itself.

    Args:
        model: What is exported, on the CPU.
        output: Where it goes; by default a file in the current folder, named after the preset, or the next
            free one of such a name.
        options: The form of the file; by default ONNX with any number and size of images.
        check: Images on which the file is compared with PyTorch.

    Raises:
        UsageError: If the model cannot be exported, or what ONNX needs is not installed.
        DataError: If an image cannot be read.
        ResourceError: If the file cannot be written.
    """
    options = options or ExportOptions()
    file = output_file(output or OutputChoice(), Path(f"{model.config.preset}{SUFFIXES[options.kind]}"))
    metadata = write_export(model, file, options)
    differences: list[ExportDifference] = []
    if check:
        with progress("compare with PyTorch") as show:
            for found in compare_exported(model, open_exported(file, options.kind), check, options):
                differences.append(found)
                show(len(differences), len(check))
    return ExportResult(file, options.kind, model.source, metadata, tuple(differences))
