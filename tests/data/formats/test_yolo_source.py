"""Where YOLO's files are found: a description, or a list of names."""

import pytest

from data_folders import load_split, refused
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.yolo_source import find_described, find_names
from tool_exports import cvat_yolo, export, label_img_yolo, label_studio_yolo


def places(find, root):
    source = find(DataConfig(path=str(root)), root)
    return source and sorted(source.parts)


def test_splits_that_the_description_leaves_out(yolo):
    yolo.describe(names=["cat", "dog"])
    assert places(find_described, yolo.root) == ["train", "val"]  # the folders are there
    yolo.describe(names=["cat", "dog"], train="images/train")
    (yolo.root / "images" / "val").rename(yolo.root / "images" / "more")
    assert places(find_described, yolo.root) == ["train"]
    (yolo.root / "images" / "train").rename(yolo.root / "images" / "rest")
    yolo.describe(names=["cat", "dog"])
    assert places(find_described, yolo.root) == ["all"]
    assert find_described(DataConfig(), None) is None


@pytest.mark.parametrize(
    ("writer", "expected"), [(cvat_yolo, ["train"]), (label_studio_yolo, ["all"]), (label_img_yolo, ["all"])]
)
def test_a_list_of_names_is_enough(tmp_path, writer, expected):
    root, _ = export(writer, tmp_path)
    assert places(find_described, root) is None
    assert places(find_names, root) == expected
    assert find_names(DataConfig(), root / "gone") is None


def test_names_that_are_none(tmp_path):
    root, _ = export(label_studio_yolo, tmp_path)
    for text in ("", "cat\ncat\n", "a\x1bb\n"):
        (root / "classes.txt").write_text(text)
        assert refused(lambda: load_split(root)) == (
            f"{root / 'classes.txt'}: expected the classes' names, one a line and each once"
        )
    (root / "classes.txt").write_bytes(b"\xff\xfe\x00")
    assert "cannot read the class names" in refused(lambda: load_split(root))
