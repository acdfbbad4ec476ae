import json

import pytest

from data_folders import write_cups
from dprd_cli.config.facts import DataFacts
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.facts import count_training_images, data_facts
from dprd_cli.errors import DataError, UsageError


def test_facts_by_hand(tmp_path):
    """Images of 24 x 32, a box of 10 x 12 in each but the last."""
    config = DataConfig(path=str(write_cups(tmp_path)))
    side = (10 * 12) ** 0.5 / 24
    assert data_facts(config) == DataFacts(
        images=7, with_objects=6, objects=6, masks=6, classes=2,
        short_side=24, small_object=pytest.approx(side), val_images=5,
    )  # fmt: skip
    assert count_training_images(config) == 7
    assert count_training_images(config.model_copy(update={"skip_empty": True})) == 6


def test_data_without_objects(tmp_path):
    config = DataConfig(path=str(write_cups(tmp_path)))
    tree = json.loads((tmp_path / "train.json").read_text())
    (tmp_path / "train.json").write_text(json.dumps(tree | {"annotations": []}))
    with pytest.raises(DataError, match="no object in 7 images of train"):
        data_facts(config)


def test_the_built_in_data_has_its_own_schedule():
    with pytest.raises(UsageError, match="the built-in data has the schedule small"):
        data_facts(DataConfig())
    assert count_training_images(DataConfig(synthetic_train=8)) == 8
