"""The package's own parts by name; what plugins make is looked at in tests/test_extend.py."""

import pytest

from dprd_cli.config import registry
from dprd_cli.model.fusion import FusionOptions
from dprd_cli.model.makers import kind_of
from dprd_cli.model.neck import NeckOptions


@pytest.mark.parametrize("name", ["rda", "concat", "tree"])
def test_fusions(name):
    options = FusionOptions(16, 4, 4, "none", residual=False, last_rab=False, concat_relu=False)
    assert type(registry.fusion.call(name, options)).__name__.lower() == f"{name}fusion"


@pytest.mark.parametrize("name", ["fpn", "panet", "bifpn"])
def test_necks(name):
    neck = registry.neck.call(name, NeckOptions((8, 8, 8, 8), 16, "none", 2))
    assert type(neck).__name__.lower() == name


def test_what_a_plugin_made_is_named():
    assert kind_of(3) == "int (docs/extend.md)"
