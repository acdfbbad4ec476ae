"""A checkpoint's network stays as it is, whatever data it is measured on."""

import pytest

from dprd_cli.config.data_section import with_data_section
from dprd_cli.config.presets import resolve
from dprd_cli.errors import UsageError

CONFIG = resolve(
    preset="dprd-small",
    flags={"data.path": "old", "data.val_json": "val.json", "data.voc_val": ["2007_test"]},
)


def test_without_wishes_nothing_changes():
    assert with_data_section(CONFIG) == CONFIG
    assert with_data_section(CONFIG, path="old") == CONFIG  # the same data keeps its file names


def test_other_data_forgets_the_old_datas_files_and_keeps_the_network():
    found = with_data_section(CONFIG, path="new", on_bad_image="skip")
    assert (found.data.path, found.data.val_json, found.data.voc_val) == ("new", "", ())
    assert found.data.on_bad_image == "skip"
    assert (found.model, found.train) == (CONFIG.model, CONFIG.train)
    assert found.data.test_min_size == CONFIG.data.test_min_size


def test_another_image_size_takes_the_other_sizes_at_test_along():
    base = with_data_section(CONFIG, overrides=["data.test_min_size=100", "data.max_size=200"])
    base = with_data_section(base, overrides=["data.tta_min_sizes=[80, 120]", "data.tta_max_size=300"])
    found = with_data_section(base, image_size=150).data
    assert (found.test_min_size, found.max_size) == (150, 300)
    assert (found.tta_min_sizes, found.tta_max_size) == ((120, 180), 450)
    assert found.train_min_sizes == base.data.train_min_sizes
    assert with_data_section(base, image_size=150, overrides=["data.max_size=7"]).data.max_size == 7


def test_overrides_win():
    found = with_data_section(CONFIG, path="new", overrides=["data.path=newer", "data.val_json=x.json"])
    assert (found.data.path, found.data.val_json) == ("newer", "x.json")


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        ("model.parts.sigma=0.4", "the checkpoint fixes this; only data.* keys can be set here"),
        ("data.pth=x", "no config key 'data.pth'"),
        ("data.path", "expected KEY=VALUE"),
        ("data.test_min_size=tall", "data.test_min_size = 'tall'"),
    ],
)
def test_what_cannot_be_set_is_named(pair, message):
    with pytest.raises(UsageError) as error:
        with_data_section(CONFIG, overrides=[pair])
    assert message in str(error.value)
