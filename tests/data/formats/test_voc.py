"""Pascal VOC folders as data sets: classes, boxes, masks, difficult objects, and what is refused."""

import numpy as np
from PIL import Image

from data_folders import load, load_split, refused
from dprd_cli.data.build import describe
from dprd_cli.data.formats.voc import CLASSES


def test_coco_files_in_the_folder_come_first(voc_year):
    (voc_year.path / "train.json").write_text("{}")
    assert "not COCO instances" in refused(lambda: load_split(voc_year.path))
    assert len(load_split(voc_year.path, voc_train="train")) == 2


def test_names_that_are_no_numbers_are_counted(voc_year):
    assert load_split(voc_year.path).image_ids.tolist() == [1, 2]


def test_ids_are_different_even_where_the_numbers_are_not(tmp_path, voc_folder):
    for year in ("2007", "2012"):
        voc_folder(tmp_path / f"VOC{year}").image("000001", ("cat", (1, 1, 9, 9))).lists(
            trainval="000001", train="000001", test="000001"
        )
    assert load_split(tmp_path).image_ids.tolist() == [1, 2]


# --- what is in them ----------------------------------------------------------------------------------


def test_boxes_and_classes(voc_year):
    data = load_split(voc_year.path)
    # columns 5 to 34, counted from 1, are the span from 4 to 34
    assert data[0].boxes.tolist() == [[4, 4, 34, 40], [39, 3, 63, 20]]
    assert data[1].boxes.tolist() == [[0, 0, 64, 48]]
    assert [data.class_names[label] for label in data[0].labels] == ["dog", "cat"]
    assert (data[0].masks, data[0].has_mask.tolist()) == (None, [False, False])
    assert data[0].image.shape == (48, 64, 3)


def test_other_classes_are_sorted(voc_year):
    voc_year.image("c", ("zebra", (1, 1, 9, 9))).lists(train="a b c")
    data = load_split(voc_year.path)
    assert (data.class_names, data.category_ids) == (("cat", "dog", "zebra"), (1, 2, 3))
    assert data.coco()["categories"] == [
        {"id": i, "name": n} for i, n in enumerate(("cat", "dog", "zebra"), 1)
    ]


def test_classes_of_a_checkpoint(voc_year):
    data = load_split(voc_year.path, class_names=("cow", "dog", "cat"), category_ids=(7, 5, 9))
    assert (data.class_names, data.category_ids) == (("cow", "dog", "cat"), (7, 5, 9))
    assert data[0].labels.tolist() == [1, 2]
    assert [note["category_id"] for note in data.coco()["annotations"]] == [5, 9, 9]
    assert refused(lambda: load_split(voc_year.path, class_names=("dog", "cow"))) == (
        f"{voc_year.xml('a')}: object 2 is a 'cat', which is not a class of the training data or checkpoint "
        "(dog, cow) (2 such: a.xml object 2, b.xml object 1); use data with the same classes"
    )


def test_difficult_objects(voc_year):
    train, val = load(voc_year.path, voc_val="train")
    assert train[0].labels.tolist() == [CLASSES.index("dog"), CLASSES.index("cat")]  # as in Detectron2
    assert load_split(voc_year.path, skip_difficult=True)[0].labels.tolist() == [CLASSES.index("dog")]
    assert val[0].labels.tolist() == [CLASSES.index("dog")]
    for data in (train, val):  # evaluation ignores them, as it does COCO's crowds
        assert [note["iscrowd"] for note in data.coco()["annotations"]] == [0, 1, 0]
    assert "  1 difficult object, ignored in evaluation" in describe(val)


def test_ground_truth_is_the_files_own(voc_year):
    truth = load_split(voc_year.path, limit=1).coco()
    assert [image["file_name"] for image in truth["images"]] == ["JPEGImages/a.jpg"]
    assert [note["bbox"] for note in truth["annotations"]] == [[4, 4, 30, 36], [39, 3, 24, 17]]
    assert [note["area"] for note in truth["annotations"]] == [30 * 36, 24 * 17]


def test_other_suffixes(voc_year):
    for suffix in (".PNG", ".jpeg"):
        Image.new("RGB", (64, 48)).save(voc_year.path / "JPEGImages" / f"c{suffix}")
    voc_year.xml("c").write_text(voc_year.xml("b").read_text())
    voc_year.lists(train="c")
    assert load_split(voc_year.path).file_names == ["JPEGImages/c.jpeg"]


# --- masks --------------------------------------------------------------------------------------------


def test_masks_where_there_are_any(voc_year):
    voc_year.image("a", ("dog", (5, 5, 34, 40)), ("cat", (40, 4, 63, 20)), masks=True)
    data = load_split(voc_year.path)
    assert data.has_masks
    assert describe(data)[0].endswith("3 objects (2 with masks, 1 without)")
    sample = data[0]
    expected = np.zeros((2, 48, 64), dtype=bool)
    expected[0, 5:39, 5:33] = True  # the border of 255 is no object's
    expected[1, 4:19, 40:62] = True
    np.testing.assert_array_equal(sample.masks, expected)
    assert (sample.has_mask.tolist(), data[1].has_mask.tolist()) == ([True, True], [False])
    assert data[1].masks.shape == (1, 48, 64)
    notes = data.coco()["annotations"]
    assert [note["area"] for note in notes] == [34 * 28, 15 * 22, 64 * 48]


def test_masks_of_no_object_are_left_out(voc_year):
    values = np.zeros((48, 64), dtype=np.uint8)
    values[5:39, 5:33] = 2  # where object 1 is
    values[45:, :] = 7
    voc_year.masks("a", values)
    data = load_split(voc_year.path)
    assert not data.has_masks
    assert data.report.warnings == [
        "2 masks left out: not in the box of the object of that number (a.png 2, a.png 7)"
    ]


def test_a_wrong_size_is_blamed_on_the_xml(voc_year):
    voc_year.image("a", ("dog", (5, 5, 34, 40)), masks=True)
    voc_year.xml("a").write_text(voc_year.xml("a").read_text().replace("<width>64<", "<width>46<"))
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{voc_year.xml('a')}: <size> says 46x48, but the image and its masks are 64x48 (width x height); "
        "correct the file"
    )


def test_faults_of_one_kind_are_told_together(voc_year):
    for name in ("a", "b"):
        voc_year.xml(name).write_text("")
    voc_year.image("c").lists(train="a b c")
    voc_year.xml("c").write_text("<html></html>")
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{voc_year.xml('a')}: not XML (no element found: line 1, column 0) (2 such: a.xml, b.xml); "
        "1 other problem; correct the file"
    )


def test_missing_annotations(voc_year):
    voc_year.xml("a").unlink()
    listed = voc_year.path / "ImageSets/Main/train.txt"
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{voc_year.xml('a')}: no such annotation file, but {listed} lists 'a'; "
        "correct the list, or restore what is missing"
    )


def test_names_listed_twice_or_that_lead_out(voc_year):
    listed = voc_year.path / "ImageSets/Main/train.txt"
    voc_year.lists(train="a b a")
    assert refused(lambda: load_split(voc_year.path)).startswith(
        f"{listed}: 'a' is listed twice; correct the list"
    )
    for name in ("../a", "/etc/passwd", "x\\a"):
        voc_year.lists(train=name)
        assert refused(lambda: load_split(voc_year.path)).startswith(
            f"{listed}: '{name}': expected a name inside the folder"
        )


def test_missing_images(voc_year):
    place = voc_year.path / "JPEGImages"
    (place / "a.jpg").unlink()
    missing = f"1 of 2 images missing in {place}: a.jpg"
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{voc_year.path}: {missing}; copy the images into the folder, or take them off the image lists"
    )
    assert load_split(voc_year.path, on_bad_image="skip").report.warnings == [f"{missing}; they are skipped"]
    for path in (place / "b.jpg", place):
        path.unlink() if path.is_file() else path.rmdir()
    assert (
        refused(lambda: load_split(voc_year.path)) == f"{place}: no such image folder; copy the images there"
    )


def test_links(voc_year, tmp_path):
    image = voc_year.path / "JPEGImages/a.jpg"
    image.rename(tmp_path / "outside.jpg")
    image.symlink_to(tmp_path / "outside.jpg")
    assert "is a link that leads out of" in refused(lambda: load_split(voc_year.path))
    image.unlink()
    (tmp_path / "outside.jpg").rename(image)
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit/VOC2012").symlink_to(voc_year.path)  # a year may lie elsewhere
    assert len(load_split(tmp_path / "kit")) == 2


def test_an_image_of_another_size(voc_year):
    Image.new("RGB", (7, 5)).save(voc_year.path / "JPEGImages/a.jpg")
    data = load_split(voc_year.path)
    assert refused(lambda: data[0]) == (
        f"{voc_year.path / 'JPEGImages/a.jpg'}: the image is 7x5, but {voc_year.xml('a')} says 64x48 "
        "(width x height); correct the file, or restore the image that was annotated"
    )


def test_boxes_outside_are_counted(voc_year):
    voc_year.xml("a").write_text(voc_year.xml("a").read_text().replace("<xmax>34<", "<xmax>3<"))  # 5 to 3
    voc_year.xml("b").write_text(voc_year.xml("b").read_text().replace("<xmin>1<", "<xmin>0<"))
    data = load_split(voc_year.path)
    assert data.report.warnings == [
        "1 object left out: the box, clipped to the image, has no area (a.xml object 1)",
        "1 box clipped to the image (b.xml object 1)",
    ]
    voc_year.image("c", ("cat", (1, 1, 64, 48))).lists(train="b c")
    voc_year.xml("c").write_text(voc_year.xml("b").read_text())
    assert load_split(voc_year.path).report.warnings == [
        "2 boxes clipped to the image (b.xml object 1, c.xml object 1)"
    ]
    assert (len(data[0].boxes), data[1].boxes.tolist()) == (1, [[0, 0, 64, 48]])


def test_nothing_but_empty_images(voc_year):
    voc_year.image("a").image("b")
    data = load_split(voc_year.path, "val")
    assert (len(data), len(data[0].boxes), data.class_names) == (1, 0, CLASSES)
    assert refused(lambda: load_split(voc_year.path)) == (
        f"{voc_year.path} train: no object in 2 images of train: nothing would be learned; annotate objects, "
        "or name the right files"
    )
