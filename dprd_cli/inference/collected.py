"""Files that hold the detections of many images: COCO's results, and a table."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

from dprd_cli.files.atomic import GrowingFile, csv_text
from dprd_cli.files.output_folder import OutputFolder
from dprd_cli.inference.drawings import DrawingFiles, VideoFiles
from dprd_cli.inference.entry import DisplayStyle, OutputEntry

_XYXY = ("x1", "y1", "x2", "y2")
_TOLD = ("share", "fall")
CsvRow = dict[str, str | float]


class CocoResultsFile:
    """`results.json`, COCO's results with the class's name, and `images.json`, the images of its ids."""

    def __init__(
        self, folder: OutputFolder, images: Sequence[DrawingFiles | VideoFiles], style: DisplayStyle
    ) -> None:
        self.folder, self.images, self.style = folder, images, style
        self._files: list[GrowingFile] = []

    def open(self) -> None:
        """Begin both files."""
        names = ("results.json", "images.json")
        self._files = [GrowingFile(self.folder.claim(name), b"[\n", b"\n]\n", b",\n") for name in names]

    def content(self, entry: OutputEntry) -> tuple[bytes, bytes]:
        """Return one image's detections, and the image."""
        prediction, style = entry.prediction, self.style
        records = prediction.to_coco(entry.image_id, masks=style.masks, parts=style.parts)
        for record, name in zip(records, prediction.class_names, strict=True):
            record["category_name"] = name  # other annotations of the same classes may have other ids
        height, width = prediction.image_size
        image = {"id": entry.image_id, "file_name": prediction.name, "width": width, "height": height}
        if prediction.moment:
            image |= {"frame": prediction.moment.index, "seconds": prediction.moment.seconds}
        drawn = next((path for kind in self.images if (path := kind.path(entry))), None)
        if drawn:
            image["drawing"] = drawn.relative_to(self.folder.path).as_posix()
        return ",\n".join(map(json.dumps, records)).encode(), json.dumps(image).encode()

    def write(self, content: tuple[bytes, bytes]) -> None:
        """Append one image and its detections."""
        records, image = content
        if records:
            self._files[0].append(records)
        self._files[1].append(image)

    def close(self) -> list[str]:
        """Close both files."""
        for file in self._files:
            file.close()
        return ["results.json", "images.json"]


class CsvTable:
    """`results.csv`: a row for every detection."""

    def __init__(self, folder: OutputFolder, style: DisplayStyle, *, frames: bool) -> None:
        self.folder, self.style = folder, style
        self._columns = ["file", "image_id", "class", "score", "mask_score", *_XYXY]
        self._columns += ["frame", "seconds"] if frames else []
        self._file: GrowingFile | None = None

    def open(self) -> None:
        """Nothing yet: the first image says which columns there are."""

    def content(self, entry: OutputEntry) -> tuple[list[str], list[CsvRow]]:
        """Return the columns of the parts, and one image's rows."""
        return self._part_columns(entry) if self.style.parts else [], list(self._rows(entry))

    def _part_columns(self, entry: OutputEntry) -> list[str]:
        found = entry.prediction.detections
        if found.part_boxes is None:
            return []
        told = found.part_shares is not None and found.part_falls is not None
        names = [f"part{number}" for number in range(1, found.part_boxes.shape[1] + 1)]
        columns = [f"{name}_{end}" for name in names for end in (*_XYXY, *(_TOLD if told else ()))]
        return columns + ([f"whole_{end}" for end in _TOLD] if told else [])

    def write(self, content: tuple[list[str], list[CsvRow]]) -> None:
        """Append the rows of one image; the first says what is known of parts."""
        columns, rows = content
        if self._file is None:
            self._start(columns)
        assert self._file is not None
        if rows:
            self._file.append(csv_text(self._columns, rows))

    def close(self) -> list[str]:
        """Close the file."""
        if self._file is None:
            self._start([])
        assert self._file is not None
        self._file.close()
        return ["results.csv"]

    def _start(self, part_columns: Sequence[str]) -> None:
        self._columns += part_columns
        names = dict(zip(self._columns, self._columns, strict=True))
        self._file = GrowingFile(self.folder.claim("results.csv"), csv_text(self._columns, [names]))

    def _rows(self, entry: OutputEntry) -> Iterator[CsvRow]:
        found, style = entry.prediction, self.style
        at = {"frame": found.moment.index, "seconds": found.moment.seconds} if found.moment else {}
        records = found.to_coco(entry.image_id, masks=False, parts=style.parts)
        scores = found.detections.mask_scores
        if style.masks and found.detections.masks is not None:
            scores = found.detections.scores if scores is None else scores
            for record, score in zip(records, scores.tolist(), strict=True):
                record["mask_score"] = score
        for name, record in zip(found.class_names, records, strict=True):
            row: CsvRow = {
                "file": found.name,
                "image_id": entry.image_id,
                "class": name,
                "score": record["score"],
            }
            row |= {"mask_score": record.get("mask_score", ""), **_xyxy("", record["bbox"]), **at}
            for number, part in enumerate(record.get("part_boxes", []), start=1):
                row |= _xyxy(f"part{number}_", part)
            told = (record.get("part_shares", []), record.get("part_falls", []))
            for end, values in zip(_TOLD, told, strict=True):
                for number, value in enumerate(values, start=1):
                    row[f"part{number}_{end}" if number < len(values) else f"whole_{end}"] = value
            yield row


def _xyxy(prefix: str, box: Sequence[float]) -> dict[str, float]:
    x, y, w, h = box
    return dict(zip((prefix + name for name in _XYXY), (x, y, x + w, y + h), strict=True))
