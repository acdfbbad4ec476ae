import pytest
import torch

from dprd_cli.config.presets import resolve
from dprd_cli.errors import DataError
from dprd_cli.training.setup import set_up
from paths import TINY


def tiny(*overrides):
    return resolve(config_file=TINY, overrides=["model.backbone.weights=none", *overrides])


def test_the_seed_decides_the_weights_and_a_checkpoint_replaces_them():
    first, again, other = (set_up(tiny(f"train.seed={seed}")).detector.state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)
    setup = set_up(tiny("train.seed=2"))
    saved = {
        "class_names": list(setup.train_set.class_names),
        "category_ids": list(setup.train_set.category_ids),
        "model": other,
        "trained": first,  # "model" is their average then
    }
    resumed = set_up(tiny("train.seed=3"), saved).detector.state_dict()
    assert all(torch.equal(first[name], resumed[name]) for name in first)


def test_classes_of_the_data_and_of_the_checkpoint_must_agree():
    saved = {"class_names": ["cat"], "category_ids": [1], "model": {}}
    with pytest.raises(DataError, match="classes"):
        set_up(tiny(), saved)


def test_both_splits_and_the_masks_are_there():
    setup = set_up(tiny())
    assert (len(setup.train_set), len(setup.val_set), setup.with_masks) == (8, 4, True)
    assert set_up(tiny("model.heads.mask=false")).with_masks is False
    assert setup.device == torch.device("cpu")
