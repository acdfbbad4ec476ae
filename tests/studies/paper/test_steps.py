"""A step's keys are those in which the presets before and after it differ."""

import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.studies.paper.steps import CASCADE, DPR, MASKS_IN_ALL_STAGES, PART_LOSSES
from dprd_cli.studies.plan import differing


@pytest.mark.parametrize(
    ("before", "after", "steps"),
    [
        ("mask-rcnn", "dprd", (*DPR, *PART_LOSSES)),
        ("mask-rcnn", "cascade-mrcnn", CASCADE),
        ("dprd", "cascade-dprd", (*CASCADE, *MASKS_IN_ALL_STAGES, "model.cascade.part_stages")),
    ],
)
def test_steps_lead_from_one_preset_to_another(before, after, steps):
    one, other = (resolve(preset=name, schedule="1x") for name in (before, after))
    assert set(differing(one, other)) == set(steps)
