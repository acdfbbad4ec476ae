"""Batches: endless, shuffled and changed at random for training; in order for evaluation."""

from __future__ import annotations

import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import cv2
import torch
from torch import Tensor

from dprd_cli.config.plugins import load_plugins, loaded_plugins
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.train_items import OR_SKIP, PackedItems, TrainItem, TrainReader, pack, unpack
from dprd_cli.data.transforms import prepare
from dprd_cli.errors import DataError, DprdWarning
from dprd_cli.runtime.cores import available_cores
from dprd_cli.runtime.ranks import local_size, rank_slice
from dprd_cli.runtime.workers import WorkerPool
from dprd_cli.structures.detections import Target
from dprd_cli.structures.sample import Dataset, Sample


class TrainBatch(NamedTuple):
    """Images of a step, after augmentation.

    Attributes:
        images: RGB, uint8. Each [3, h, w]
        targets: The objects of each, in its frame.
    """

    images: list[Tensor]
    targets: list[Target]


class EvalBatch(NamedTuple):
    """Images for evaluation.

    Attributes:
        images: RGB, uint8, at test size. Each [3, h, w]
        targets: The objects of each, in its frame.
        samples: What they come from, at the images' own size.
    """

    images: list[Tensor]
    targets: list[Target]
    samples: list[Sample]


class TrainLoader:
    """The batches of a training run, a pure function of (dataset, config, batch size, seed, step).

    Neither the number of loader processes, nor the loss of one, nor where the run resumes changes a batch:
    position p of the endless order is image `permutation(seed, epoch)[p mod N]` of epoch p // N, and its
    augmentation is drawn from (seed, epoch, image), and so is the image whose objects are pasted. Where
    images with rare classes are repeated (`ImageOrder`), N is the length of an epoch, and the number of the
    repeat is drawn from too. The global random state is neither read nor changed.

    Args:
        dataset: The training split.
        config: Augmentation, `copy_paste`, `repeat_threshold`, `workers` and `on_bad_image`.
        batch_size: Images a step.
        seed: Seed of the order and the augmentation.
        steps: Last step, exclusive.
        start_step: First step.
        shard: Which of how many processes this one is; each gets its share of every step's images.
        is_stopping: Whether the run was asked to stop; see `WorkerPool`.

    Attributes:
        skipped: How often each unreadable file was skipped.

    Raises:
        DataError: If objects are to be pasted and none has a mask.
    """

    def __init__(
        self,
        dataset: Dataset,
        config: DataConfig,
        *,
        batch_size: int,
        seed: int,
        steps: int,
        start_step: int = 0,
        shard: tuple[int, int] = (0, 1),
        is_stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        if config.copy_paste and not dataset.has_masks:
            raise DataError(
                f"{dataset.name}: no object has a mask, so none can be pasted; set data.copy_paste=0"
            )
        self.steps, self.start_step = steps, start_step
        self.skipped: Counter[str] = Counter()
        reader = TrainReader(dataset, config, seed)
        self._order = reader.order  # made once, before the loader processes start
        self._read = _StepReader(reader, batch_size, rank_slice(batch_size, *shard))
        self._workers, self._is_stopping = choose_workers(config), is_stopping

    def __len__(self) -> int:
        return max(0, self.steps - self.start_step)

    def indices(self, step: int) -> list[int]:
        """Return which images of the data set a step trains on (before any is skipped)."""
        return [self._order[position].image for position in self.positions(step)]

    def positions(self, step: int) -> range:
        """Return this process's places of a step in the endless order."""
        return self._read.positions(step)

    def __iter__(self) -> Iterator[TrainBatch]:
        pool = WorkerPool(
            self._read,
            self._workers,
            name="loader processes",
            begin=partial(_begin_worker, loaded_plugins()),
            is_stopping=self._is_stopping,
        )
        for packed in pool.map(range(self.start_step, self.steps)):
            images: list[Tensor] = []
            targets: list[Target] = []
            for item in unpack(packed):
                self._note(item)
                assert item.image is not None
                assert item.target is not None
                images.append(item.image)
                targets.append(item.target)
            yield TrainBatch(images, targets)

    def _note(self, item: TrainItem) -> None:
        """Count and warn of skipped files, and raise what a loader process could not."""
        for name, message in item.skipped:
            if name not in self.skipped:
                warnings.warn(f"skipped: {message}", DprdWarning, stacklevel=3)
            self.skipped[name] += 1
        if item.error:
            raise DataError(item.error)


@dataclass(frozen=True)
class _StepReader:
    """Reads the images of a step; runs in the loader processes.

    Args:
        reader: Reads the image at a position.
        batch_size: Images a step.
        share: Which of them this process of the job takes.
    """

    reader: TrainReader
    batch_size: int
    share: range

    def positions(self, step: int) -> range:
        first = step * self.batch_size
        return range(first + self.share.start, first + self.share.stop)

    def __call__(self, step: int) -> PackedItems:
        return pack([self.reader[position] for position in self.positions(step)])


def choose_workers(config: DataConfig) -> int:
    """Return the number of loader processes: as configured; for -1, by this process's share of cores."""
    if config.workers >= 0:
        return config.workers
    cores = available_cores() // local_size()
    return 0 if cores <= 2 else min(8, cores // 2)


def _begin_worker(plugins: Sequence[str]) -> None:
    """One thread each; where processes start afresh, plugins run in them too."""
    load_plugins(plugins, aloud=False)
    torch.set_num_threads(1)
    cv2.setNumThreads(0)


def iterate_eval(
    dataset: Dataset, config: DataConfig, batch_size: int, limit: int = 0, shard: tuple[int, int] = (0, 1)
) -> Iterator[EvalBatch]:
    """Yield batches in the data set's order, read ahead by threads.

    Batch b is images b B to (b + 1) B - 1, whatever can be read and whoever asks, because padding to the
    largest of a batch changes what the network sees.

    Args:
        dataset: The split.
        config: `test_min_size`, `max_size`, `on_bad_image` (a skipped image is left out, with a warning;
            a batch may be empty then).
        batch_size: Images a batch; the last batch may be smaller.
        limit: Only the first so many images; 0 takes all.
        shard: (rank, number of ranks): this process gets every so many-th batch.

    Raises:
        DataError: At an unreadable image, unless those are skipped.
    """
    total, (rank, ranks) = min(len(dataset), limit or len(dataset)), shard
    starts = range(rank * batch_size, total, ranks * batch_size)
    batches = [range(start, min(start + batch_size, total)) for start in starts]
    items = _read_ahead(dataset, config, [index for batch in batches for index in batch], batch_size)
    for indices in batches:
        batch: list[_EvalItem] = []
        for item in islice(items, len(indices)):
            if not isinstance(item, DataError):
                batch.append(item)
            elif config.on_bad_image == "skip":
                warnings.warn(f"skipped: {item}", DprdWarning, stacklevel=2)
            else:
                raise DataError(f"{item}{OR_SKIP}")
        yield EvalBatch(
            [image for image, _, _ in batch],
            [target for _, target, _ in batch],
            [sample for _, _, sample in batch],
        )


_EvalItem = tuple[Tensor, Target, Sample]


def _read_ahead(
    dataset: Dataset, config: DataConfig, indices: Sequence[int], batch_size: int
) -> Iterator[_EvalItem | DataError]:
    """Yield images in the order of their indices, while threads read as many as the next batch needs."""

    def read(index: int) -> _EvalItem | DataError:
        try:
            sample = dataset[index]
        except DataError as error:
            return error
        return *prepare(sample, config), sample

    threads = max(1, choose_workers(config))
    with ThreadPoolExecutor(threads) as pool:
        calls = (pool.submit(read, index) for index in indices)  # submitted as it is consumed
        waiting = deque(islice(calls, threads + batch_size))
        try:
            while waiting:
                result = waiting.popleft().result()
                waiting.extend(islice(calls, 1))
                yield result
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
