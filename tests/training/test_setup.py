"""What a run is made of: the data's classes and masks decide the detector, the seed its first weights."""

import pytest
import torch

from dprd_cli.errors import DataError, UserError
from dprd_cli.training import setup
from dprd_cli.training.setup import set_up
from training_runs import tiny


def test_masks_follow_the_data():
    class Boxes:
        name, has_masks = "val", False

    assert setup._with_masks(tiny(), Boxes()) is False
    with pytest.raises(DataError, match=r"val: no object has a mask; leave model.heads.mask at auto"):
        setup._with_masks(tiny("model.heads.mask=true"), Boxes())
    Boxes.has_masks = True
    assert setup._with_masks(tiny(), Boxes()) is True
    assert setup._with_masks(tiny("model.heads.mask=false"), Boxes()) is False


def weights(found):
    return found.detector.state_dict()


def test_the_detector_is_of_the_data_and_its_weights_are_the_seeds(caplog):
    with caplog.at_level("INFO", logger="dprd_cli"):
        one = set_up(tiny())
    assert (len(one.train_set), len(one.val_set), one.with_masks) == (8, 4, True)
    assert one.detector.roi_heads.num_classes == len(one.train_set.class_names) == 6
    assert one.device == one.detector.device == torch.device("cpu")
    told = [record.getMessage() for record in caplog.records]
    assert any(line.startswith("synthetic train: 8 images, 6 classes") for line in told)
    again, other = set_up(tiny()), set_up(tiny("train.seed=1"))
    assert all(torch.equal(value, weights(again)[key]) for key, value in weights(one).items())
    assert not all(torch.equal(value, weights(other)[key]) for key, value in weights(one).items())


def saved_of(found, **changes):
    whole = {
        "config": tiny().model_dump(mode="json"),
        "class_names": list(found.train_set.class_names),
        "category_ids": list(found.train_set.category_ids),
    }
    return {**whole, "model": weights(found), **changes}


def test_a_resumed_run_has_the_trained_weights_and_not_their_average():
    trained, average = set_up(tiny("train.seed=1")), set_up(tiny("train.seed=2"))
    found = set_up(tiny(), saved_of(average, trained=weights(trained)))
    assert all(torch.equal(value, weights(found)[key]) for key, value in weights(trained).items())
    found = set_up(tiny(), saved_of(average))  # a run without an average saves its weights as the model
    assert all(torch.equal(value, weights(found)[key]) for key, value in weights(average).items())


def test_weights_of_another_network_are_refused(tmp_path):
    saved = saved_of(set_up(tiny()))
    with pytest.raises(UserError, match="run: checkpoint of another model or class count"):
        set_up(tiny("model.neck.channels=8"), saved, tmp_path / "run")
