"""Parts and fusion: values that fit, and those that are refused."""

import pytest
from pydantic import ValidationError

from dprd_cli.config.parts_schema import FusionConfig, PartsConfig


@pytest.mark.parametrize("mode", ["none", "fixed", "deformable", "pooling"])
def test_only_deformable_parts_move(mode):
    assert PartsConfig(mode=mode).moving == (mode == "deformable")


@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_numbers_of_parts_are_table_3s(count):
    assert PartsConfig(count=count).count == count
    with pytest.raises(ValidationError):
        PartsConfig(count=count + 1)


def test_what_the_author_s_figure_has_can_be_chosen():
    assert PartsConfig(source="pyramid").source == "pyramid"
    assert FusionConfig(last="rab").last == "rab"
    with pytest.raises(ValidationError):
        PartsConfig(source="neck")
