"""The sections of data and training: values that fit, and those that are refused."""

import pytest
from pydantic import ValidationError

from dprd_cli.config.schema import Config, DataConfig, TrainConfig


def test_a_configuration_cannot_be_changed():
    config = Config()
    with pytest.raises(ValidationError):
        config.preset = "dprd"
    with pytest.raises(ValidationError):
        config.train.lr = 1.0


@pytest.mark.parametrize("field", ["voc_train", "voc_val"])
def test_one_word_is_a_list_of_one(field):
    assert getattr(DataConfig(**{field: "2007_test"}), field) == ("2007_test",)
    assert getattr(DataConfig(**{field: ["a", "b"]}), field) == ("a", "b")


def test_loggers_too():
    assert TrainConfig(loggers="wandb").loggers == ("wandb",)
    with pytest.raises(ValidationError):
        TrainConfig(loggers=["wandb", "paper"])


@pytest.mark.parametrize("pair", [(0, 1), (-1, 1), (1.2, 1.1)])
def test_scale_jitter_is_an_interval_of_positive_factors(pair):
    with pytest.raises(ValidationError, match=r"scale_jitter(\.0\n  Input should be greater than 0| is)"):
        DataConfig(scale_jitter=pair)


def test_an_interval_may_be_a_point():
    assert DataConfig(scale_jitter=(1, 1)).scale_jitter == (1.0, 1.0)


@pytest.mark.parametrize(
    ("section", "values"),
    [
        (DataConfig, {"flip": 1.1}),
        (DataConfig, {"workers": -2}),
        (DataConfig, {"synthetic_size": 63}),
        (DataConfig, {"max_size": 0}),
        (DataConfig, {"on_bad_image": "cry"}),
        (TrainConfig, {"ema": 1.0}),
        (TrainConfig, {"steps": 0}),
        (TrainConfig, {"lr": -1.0}),
        (TrainConfig, {"milestones": [0.5, 2]}),
        (Config, {"modle": {}}),
    ],
)
def test_what_does_not_fit_is_refused(section, values):
    with pytest.raises(ValidationError):
        section(**values)


@pytest.mark.parametrize(("batch", "passes", "most"), [(16, 1, 16), (16, 3, 6), (4, 4, 1), (5, 2, 3)])
def test_the_most_images_of_a_pass(batch, passes, most):
    config = TrainConfig(batch_size=batch, accumulate=passes)
    assert config.pass_size == most
    assert most * passes >= batch > (most - 1) * passes
