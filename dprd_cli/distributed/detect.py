"""What a worker does: reads images ahead of the network, detects, and gives a row for each, read or not."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dprd_cli.config.plugins import load_plugins
from dprd_cli.distributed.pieces import ImageItem
from dprd_cli.distributed.storage import is_url, read_file
from dprd_cli.distributed.table import CONTENT_COLUMNS, NAME_COLUMNS, ImageRow, to_table
from dprd_cli.errors import DataError
from dprd_cli.files.images import read_image_bytes
from dprd_cli.inference.prediction import Prediction
from dprd_cli.inference.predictor import ImageInput, Predictor, ReadFailure
from dprd_cli.inference.sources import Source
from dprd_cli.inference.tiling import Tiling
from dprd_cli.inference.url import MAX_BYTES
from dprd_cli.runtime.ahead import ahead
from dprd_cli.weights.load import DetectionChoice, LoadedModel, load_model

if TYPE_CHECKING:
    import pyarrow

_NOT_OF_ROWS = ("weights", "device", "readers")  # the checkpoint is known by its digest


@dataclass(frozen=True, slots=True)
class DetectOptions:
    """How a worker detects.

    Args:
        weights: As for `load_model`; a file that every worker sees.
        device: `auto`, `cpu` or `cuda`.
        precision: `auto`, `fp32` or `bf16`; see `LoadedModel.with_precision`.
        choice: What is detected; see `DetectionChoice`.
        overrides: `data.KEY=VALUE` pairs.
        plugins: Python files and modules that register what the detector is made of.
        part_offsets: `learned`, `mean` or `reference`.
        min_score: Rows hold detections from this score.
        masks: Whether rows have masks.
        parts: Whether rows have part boxes, and which part decided.
        tta: Detect at several scales and mirrored.
        tiling: Detect in the tiles of large images too.
        batch_size: Images that go through the network together.
        readers: Threads that read ahead of the network.
        folder: Where relative names are looked for.
    """

    weights: str
    device: str = "auto"
    precision: str = "auto"
    choice: DetectionChoice = field(default_factory=DetectionChoice)
    overrides: Sequence[str] = ()
    plugins: Sequence[str] = ()
    part_offsets: str = "learned"
    min_score: float = 0.0
    masks: bool = True
    parts: bool = False
    tta: bool = False
    tiling: Tiling | None = None
    batch_size: int = 1
    readers: int = 2
    folder: str = field(default_factory=os.getcwd)

    def to_json(self) -> dict[str, Any]:
        """Return what rows depend on."""
        return {key: value for key, value in asdict(self).items() if key not in _NOT_OF_ROWS}

    def load(self) -> LoadedModel:
        """Load the detector.

        Raises:
            UserError: If there is none, or something does not fit it.
        """
        load_plugins(self.plugins)
        model = load_model(self.weights, self.device).with_precision(self.precision)
        model = model.with_choice(**self.choice)
        return model.with_data(overrides=self.overrides).with_part_offsets(self.part_offsets)


class ImageDetector:
    """Detects in images by name; made once in a worker. With Ray Data it is what `map_batches` takes.

        names.map_batches(ImageDetector, fn_constructor_args=(DetectOptions("demo"),), batch_size=64,
                          compute=ray.data.ActorPoolStrategy(size=8))

    Args:
        options: How.
        model: The detector; by default what the options name.
    """

    def __init__(self, options: DetectOptions, model: LoadedModel | None = None) -> None:
        self.options = options
        alone = options.tta or options.tiling is not None
        self._predictor = Predictor(
            model or options.load(),
            min_score=options.min_score,
            tta=options.tta,
            masks=options.masks,
            tiling=options.tiling,
            evidence=options.parts and not alone,
        )

    def __call__(self, batch: Mapping[str, Sequence[Any]]) -> pyarrow.Table:
        """Return a table with a row for each image of a batch, with the columns of the job's results.

        Args:
            batch: Columns: one of `NAME_COLUMNS`, one of `CONTENT_COLUMNS` (bytes of files) or both, and
                `image_id`, where ids are wanted.
        """
        names = next((batch[key] for key in NAME_COLUMNS if key in batch), None)
        contents = next((batch[key] for key in CONTENT_COLUMNS if key in batch), None)
        some = names if names is not None else contents
        if some is None:
            expected = ", ".join((*NAME_COLUMNS, *CONTENT_COLUMNS))
            raise ValueError(f"expected one of the columns {expected}, but got {', '.join(batch)}")
        ids = batch.get("image_id", [0] * len(some))
        items = [
            ImageItem(
                "" if names is None else str(names[row]),
                int(ids[row]),
                None if contents is None else bytes(contents[row]),
            )
            for row in range(len(some))
        ]
        return to_table(list(self.rows(items)))

    def rows(self, items: Iterable[ImageItem]) -> Iterator[ImageRow]:
        """Yield a row for each image, in order; one that cannot be read has its error.

        Law: the rows of some images depend on nothing else.

        Args:
            items: The images; taken as they are needed.
        """
        size, readers = self.options.batch_size, self.options.readers
        tasks = (partial(self._read, item) for item in items)
        read = ahead(tasks, readers, readers + size)
        while chunk := list(islice(read, size)):
            images = [one for _, one in chunk if isinstance(one, ImageInput)]
            found = iter(self._predictor.predict_inputs(images, size) if images else ())
            for item, one in chunk:
                if isinstance(one, ImageInput):
                    yield self._row(item, next(found))
                else:
                    yield ImageRow(item.name, item.image_id, error=one)

    def _row(self, item: ImageItem, found: Prediction) -> ImageRow:
        records = found.to_coco(item.image_id, masks=self.options.masks, parts=self.options.parts)
        for record, kind in zip(records, found.class_names, strict=True):
            record["category_name"] = kind
        height, width = found.image_size
        return ImageRow(item.name, item.image_id, width, height, "", records)

    def _read(self, item: ImageItem) -> tuple[ImageItem, ImageInput | str]:
        """Return an image with what the network sees, or with why it cannot be read."""
        if item.error:
            return item, item.error
        try:
            content = item.content
            if content is None and is_url(item.name) and not item.name.startswith(("http://", "https://")):
                content = read_file(item.name, MAX_BYTES)
            if content is not None:
                image = read_image_bytes(content, item.name, self._predictor.config.data.max_pixels)
                return item, self._predictor.prepare(image, item.name)
        except DataError as error:
            return item, str(error)
        web = is_url(item.name)
        name = item.name if web else str(Path(self.options.folder, item.name))
        read = self._predictor.read(Source("url" if web else "image", name))
        return item, read.message if isinstance(read, ReadFailure) else read
