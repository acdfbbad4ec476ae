"""COCO's test-dev: images and categories, but no annotations, which only the evaluation server has."""

from __future__ import annotations

from dprd_cli.config.schema import DataConfig
from dprd_cli.data.coco_classes import GAP
from dprd_cli.data.formats.coco import CocoDataset
from dprd_cli.data.splits import read_test_split
from dprd_cli.errors import DataError

NO_CATEGORY = -1


def build_test_dev(config: DataConfig, class_names: tuple[str, ...]) -> tuple[CocoDataset, tuple[int, ...]]:
    """Find and check the images of test-dev: an `image_info` file and its image folder.

    Args:
        config: `path`, or `test_json` and `test_images`, say where they are.
        class_names: Classes of the detector. The file may have others, too.

    Returns:
        The split, without objects, and the file's category id of each class, found by name; `NO_CATEGORY` for
        the classes that stand for COCO's gaps in torchvision's models. [K]

    Raises:
        DataError: If the file or images are missing or broken, or a class is not among the categories.
    """
    files = read_test_split(config)
    tree = {**files.tree, "annotations": []}
    dataset = CocoDataset(files.annotations, config, "val", tree=tree)
    dataset.name = f"test-dev ({files.annotations.name})"
    ids = dict(zip(dataset.class_names, dataset.category_ids, strict=True))
    unknown = [name for name in class_names if name not in ids and not name.startswith(GAP)]
    if unknown:
        raise DataError(
            f"{files.annotations.name}: no category '{unknown[0]}', which is a class of the checkpoint "
            f"({len(unknown)} such); pass a checkpoint that was trained on COCO's categories"
        )
    return dataset, tuple(ids.get(name, NO_CATEGORY) for name in class_names)
