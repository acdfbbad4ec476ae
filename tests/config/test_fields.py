"""What holds of every section of the configuration."""

import inspect
import re

import pytest
from pydantic import ValidationError

from dprd_cli.config.fields import Section
from dprd_cli.config.model_schema import ModelConfig


class Pair(Section):
    """Two values.

    Attributes:
        one: The first.
        other: The second.
    """

    one: float = 1.0
    other: str = ""


@pytest.mark.parametrize("values", [{"third": 1}, {"one": float("nan")}, {"other": "x" * 5000}])
def test_sections_are_closed_and_bounded(values):
    with pytest.raises(ValidationError):
        Pair(**values)


def test_every_value_is_described():
    for section in Section.__subclasses__():
        if section is ModelConfig or not section.__module__.startswith("dprd_cli.config."):
            continue  # the sections of a model, and the tables of studies, describe themselves
        described = re.findall(r"^    (\w+): ", inspect.getdoc(section), flags=re.MULTILINE)
        assert described == list(section.model_fields), section.__name__
