"""Which part of a data set a folder or file is, by its words."""

from pathlib import Path

import pytest

from dprd_cli.data.formats.source import by_part, part_of, split_folders


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("instances_Train.json", "train"),
        ("annotations/instances_val2017.json", "val"),
        ("validation/labels.json", "val"),
        ("train/val.json", "val"),  # the file's own word comes first
        ("valid/_annotations.coco.json", "val"),
        ("testing.json", "test"),
        ("annotations/instances_default.json", "all"),
        ("training_data/a.json", "train"),
        ("trainer.json", "all"),
        ("via_region_data.json", "all"),
    ],
)
def test_words_of_a_path(path, part):
    assert part_of(Path("/val") / path, Path("/val")) == part
    assert by_part([Path("/val") / path], Path("/val")) == {part: [Path("/val") / path]}


def test_folders_named_after_parts(tmp_path):
    assert split_folders(tmp_path) == {"all": tmp_path}
    for name in ("Valid", "train", "other"):
        (tmp_path / name).mkdir()
    assert split_folders(tmp_path) == {"train": tmp_path / "train", "val": tmp_path / "Valid"}
