"""The network's part of the configuration: which values fit together."""

import pytest
from pydantic import ValidationError

from dprd_cli.config.model_schema import CascadeConfig, ModelConfig
from dprd_cli.config.presets import PRESETS, resolve


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"ious": []}, "ious and box_weights need one entry per stage each"),
        ({"ious": [0.5]}, "ious and box_weights need one entry per stage each"),
        ({"part_stages": [0]}, r"part_stages\.0\n  Input should be greater than 0"),
        ({"part_stages": [4]}, "part_stages counts stages from 1 to 3"),
        ({"mask_stages": [1, 4]}, "mask_stages counts stages from 1 to 3"),
    ],
)
def test_every_stage_of_the_cascade_has_its_settings(values, line):
    with pytest.raises(ValidationError, match=line):
        CascadeConfig(**values)


def test_one_stage_is_no_cascade():
    weights = [[10.0, 10.0, 5.0, 5.0]]
    one = CascadeConfig(ious=[0.5], box_weights=weights, part_stages=[1], mask_stages=[])
    assert (len(one.ious), one.part_stages, one.mask_stages) == (1, (1,), ())


def test_the_defaults_are_the_papers_cascade():
    model = ModelConfig()
    assert (model.cascade.ious, model.cascade.part_stages) == ((0.5, 0.6, 0.7), (1, 3))
    assert (model.parts.mode, model.parts.count, model.parts.sigma) == ("deformable", 4, 0.5)
    settled = model.cascade.model_copy(update={"mask_grad_scale": 1 / 3})
    assert resolve(preset="cascade-dprd", overrides=["data.path=x"]).model.cascade == settled


@pytest.mark.parametrize("preset", PRESETS)
def test_a_model_is_its_json(preset):
    model = resolve(preset=preset).model
    assert ModelConfig.model_validate(model.model_dump(mode="json")) == model
