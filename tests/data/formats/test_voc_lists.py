"""Which images of a Pascal VOC folder are for training and which for evaluation."""

import pytest

from data_folders import load, load_split, refused
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.voc import CLASSES
from dprd_cli.data.formats.voc_lists import ImageList, choose_lists, find_years, read_names
from dprd_cli.errors import DataError


def test_both_years_train_and_2007_tests(devkit):
    train, val = load(devkit)
    assert train.name == f"train ({devkit} 2007_trainval+2012_trainval)"
    assert val.name == f"val ({devkit} 2007_test)"
    assert train.file_names == [
        "VOC2007/JPEGImages/000005.jpg", "VOC2007/JPEGImages/000007.jpg", "VOC2007/JPEGImages/000009.jpg",
        "VOC2012/JPEGImages/2007_000027.jpg", "VOC2012/JPEGImages/2008_000002.jpg",
    ]  # fmt: skip
    assert train.image_ids.tolist() == [5, 7, 9, 2007000027, 2008000002]
    assert val.image_ids.tolist() == [1, 2]
    assert train.class_names == val.class_names == CLASSES
    assert train.category_ids == tuple(range(1, 21))
    assert (train.is_voc, train.has_masks, val.has_masks) == (True, True, False)
    assert [data.report.warnings for data in (train, val)] == [[], []]


def test_one_year(devkit):
    train, val = load(devkit / "VOC2007")
    assert (train.name, val.name) == (
        f"train ({devkit / 'VOC2007'} 2007_trainval)",
        f"val ({devkit / 'VOC2007'} 2007_test)",
    )
    assert train.file_names[0] == "JPEGImages/000005.jpg"
    # without a test list: train and val, which do not share images
    train, val = load(devkit / "VOC2012")
    assert (train.image_ids.tolist(), val.image_ids.tolist()) == ([2007000027], [2008000002])


def test_the_test_list_of_2012_has_no_annotations_and_is_not_taken(devkit):
    (devkit / "VOC2012/ImageSets/Main/test.txt").write_text("2008_000001\n")
    assert load_split(devkit, "val").name.endswith("VOCdevkit 2007_test)")
    assert load_split(devkit / "VOC2012", "val").name.endswith("2012_val)")


def test_named_lists(devkit):
    names = {"voc_train": ["2007_train", "2012_val"], "voc_val": "val"}
    train, val = load(devkit, **names)
    assert train.image_ids.tolist() == [5, 2008000002]
    assert val.image_ids.tolist() == [7, 9, 2008000002]  # of both years
    assert val.report.warnings == [
        "1 image shared with the training split (VOC2012/JPEGImages/2008_000002.jpg): "
        "the numbers will be too good"
    ]
    assert len(load_split(devkit / "VOC2007", voc_train="2007_val")) == 2
    for label in ("2008_train", "tset", "../Main/train", ""):
        assert refused(lambda label=label: load_split(devkit / "VOC2012", voc_train=[label])) == (
            f"data.voc_train: no image list '{label}'; there are: 2012_train, 2012_trainval, 2012_val"
        )


def test_lists_that_are_not_there(voc_year):
    (voc_year.path / "ImageSets/Main/val.txt").unlink()
    assert load_split(voc_year.path, "val").name.endswith("train, 20% held out, seed 0)")
    assert refused(lambda: load_split(voc_year.path, "val", holdout=0)) == (
        f"{voc_year.path}: there are VOC's train annotations, but none of the val split; "
        f"{voc_year.path / 'ImageSets/Main/val.txt'}: no such image list, nor test.txt; write one (one "
        "image's name, without suffix, a line), or choose others with --set data.voc_val=LIST"
    )
    voc_year.lists(train=" ")
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{voc_year.path / 'ImageSets/Main/train.txt'}: lists no image; write one image's name, without "
        "suffix, a line"
    )
    (voc_year.path / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfe\x00")
    assert "train.txt: cannot read the image list" in refused(lambda: load_split(voc_year.path))


def test_lists_of_one_class_are_refused_with_the_list_to_take(voc_year):
    listed = voc_year.path / "ImageSets/Main/cat_train.txt"
    listed.write_text("a -1\nb  1\n")
    assert refused(lambda: load_split(voc_year.path, voc_train=["cat_train"])) == (
        f"{listed}: says which images show one class (-1, 0 or 1 after each name), and all of these are in "
        "'train'; take that"
    )


def test_years_of_a_folder(devkit, tmp_path, voc_folder):
    assert find_years(devkit) == {"2007": devkit / "VOC2007", "2012": devkit / "VOC2012"}
    assert find_years(devkit / "VOC2012") == {"2012": devkit / "VOC2012"}
    voc_folder(tmp_path / "mine")
    assert find_years(tmp_path / "mine") == {"": tmp_path / "mine"}
    (tmp_path / "VOC2010").mkdir()  # holds nothing of VOC's
    assert find_years(tmp_path) == {}


@pytest.mark.parametrize(
    ("year", "there", "split", "expected"),
    [
        ("2007", "trainval test", "train", "2007_trainval"),
        ("2007", "trainval test", "val", "2007_test"),
        ("2007", "train val trainval", "train", "2007_train"),  # trainval holds the images of val
        ("2007", "train val trainval", "val", "2007_val"),
        ("2012", "train val trainval test", "train", "2012_train"),  # 2012's test has no annotations
        ("2012", "train val trainval test", "val", "2012_val"),
        ("", "trainval test", "val", "test"),
    ],
)
def test_lists_are_chosen_by_what_there_is(tmp_path, voc_folder, year, there, split, expected):
    folder = voc_folder(tmp_path / f"VOC{year}").lists(**dict.fromkeys(there.split(), "a"))
    (chosen,) = choose_lists({year: folder.path}, DataConfig(), split)
    assert (chosen.label, read_names(chosen)) == (expected, ["a"])
    assert chosen.path == folder.path / "ImageSets/Main" / f"{expected.rpartition('_')[2]}.txt"


def test_a_list_that_is_empty_or_not_there(tmp_path, voc_folder):
    folder = voc_folder(tmp_path / "VOC2007").lists(train="")
    for name, text in (("train", "lists no image"), ("val", "cannot read the image list")):
        with pytest.raises(DataError, match=text):
            read_names(ImageList(folder.path, "2007", name))
