"""Fields of the configuration that name what is built in, or a plugin's."""

import pydantic
import pytest

from dprd_cli.config import registered_names as names


@pytest.mark.parametrize(
    ("field", "known"),
    [
        (names.BackboneName, "timm:resnet18"),
        (names.NeckName, "panet"),
        (names.PartsName, "placed"),
        (names.FusionName, "tree"),
        (names.AugmentationName, "copy_paste"),
        (names.LoggerName, "wandb"),
    ],
)
def test_a_field_takes_what_its_registry_knows_and_lists_it_otherwise(field, known):
    adapter = pydantic.TypeAdapter(field)
    assert adapter.validate_python(known) == known
    with pytest.raises(pydantic.ValidationError, match=r"built in: .*docs/extend.md"):
        adapter.validate_python("nothing")
    assert known.startswith("timm:") or known in adapter.json_schema()["anyOf"][0]["enum"]
