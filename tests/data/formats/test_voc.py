"""Pascal VOC folders as data sets: lists, classes, boxes, masks, difficult objects, and every fault."""

import numpy as np
import pytest
from PIL import Image

from data_folders import both_splits, refused
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.build import build_dataset, describe
from dprd_cli.data.formats.voc import CLASSES

WIDTH, HEIGHT = 64, 48


def config(path, **changes):
    return DataConfig(**{"path": str(path), "workers": 0, **changes})


def load(path, split="train", **changes):
    """Return one split."""
    names = {key: changes.pop(key) for key in ("class_names", "category_ids") if key in changes}
    return build_dataset(config(path, **changes), split, **names)


@pytest.fixture
def folder(tmp_path, voc_folder):
    """One year's folder of two images, of no year."""
    made = voc_folder(tmp_path / "mine")
    made.image("a", ("dog", (5, 5, 34, 40)), ("cat", (40, 4, 63, 20), True)).image(
        "b", ("cat", (1, 1, 64, 48))
    )
    return made.lists(train="a b", val="b")


# --- which images -----------------------------------------------------------------------------------


def test_both_years_train_and_2007_tests(devkit):
    train, val = both_splits(config(devkit))
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
    train, val = both_splits(config(devkit / "VOC2007"))
    assert (train.name, val.name) == (
        f"train ({devkit / 'VOC2007'} 2007_trainval)",
        f"val ({devkit / 'VOC2007'} 2007_test)",
    )
    assert train.file_names[0] == "JPEGImages/000005.jpg"
    # without a test list: train and val, which do not share images
    train, val = both_splits(config(devkit / "VOC2012"))
    assert (train.image_ids.tolist(), val.image_ids.tolist()) == ([2007000027], [2008000002])


def test_the_test_list_of_2012_has_no_annotations_and_is_not_taken(devkit):
    (devkit / "VOC2012/ImageSets/Main/test.txt").write_text("2008_000001\n")
    assert load(devkit, "val").name.endswith("VOCdevkit 2007_test)")
    assert load(devkit / "VOC2012", "val").name.endswith("2012_val)")


def test_named_lists(devkit):
    names = {"voc_train": ["2007_train", "2012_val"], "voc_val": "val"}
    train, val = both_splits(config(devkit, **names))
    assert train.image_ids.tolist() == [5, 2008000002]
    assert val.image_ids.tolist() == [7, 9, 2008000002]  # of both years
    assert val.report.warnings == [
        "1 image shared with the training split (VOC2012/JPEGImages/2008_000002.jpg): "
        "the numbers will be too good"
    ]
    assert len(load(devkit / "VOC2007", voc_train="2007_val")) == 2
    for label in ("2008_train", "tset", "../Main/train", ""):
        assert refused(lambda label=label: load(devkit / "VOC2012", voc_train=[label])) == (
            f"data.voc_train: no image list '{label}'; there are: 2012_train, 2012_trainval, 2012_val"
        )


def test_lists_that_are_not_there(folder):
    (folder.path / "ImageSets/Main/val.txt").unlink()
    assert refused(lambda: load(folder.path, "val")) == (
        f"{folder.path / 'ImageSets/Main/val.txt'}: no such image list, nor test.txt; write one (one "
        "image's name, without suffix, a line), or choose others with --set data.voc_val=LIST"
    )
    folder.lists(train=" ")
    assert refused(lambda: load(folder.path)) == (
        f"{folder.path / 'ImageSets/Main/train.txt'}: lists no image; write one image's name, without "
        "suffix, a line"
    )
    (folder.path / "ImageSets/Main/train.txt").write_bytes(b"\xff\xfe\x00")
    assert "train.txt: cannot read the image list" in refused(lambda: load(folder.path))


def test_coco_files_in_the_folder_come_first(folder):
    (folder.path / "train.json").write_text("{}")
    assert "not COCO instances" in refused(lambda: load(folder.path))
    assert len(load(folder.path, voc_train="train")) == 2


def test_names_that_are_no_numbers_are_counted(folder):
    assert load(folder.path).image_ids.tolist() == [1, 2]


def test_ids_are_different_even_where_the_numbers_are_not(tmp_path, voc_folder):
    for year in ("2007", "2012"):
        voc_folder(tmp_path / f"VOC{year}").image("000001").lists(
            trainval="000001", train="000001", test="000001"
        )
    assert load(tmp_path).image_ids.tolist() == [1, 2]


# --- what is in them ----------------------------------------------------------------------------------


def test_boxes_and_classes(folder):
    data = load(folder.path)
    # columns 5 to 34, counted from 1, are the span from 4 to 34
    assert data[0].boxes.tolist() == [[4, 4, 34, 40], [39, 3, 63, 20]]
    assert data[1].boxes.tolist() == [[0, 0, WIDTH, HEIGHT]]
    assert [data.class_names[label] for label in data[0].labels] == ["dog", "cat"]
    assert (data[0].masks, data[0].has_mask.tolist()) == (None, [False, False])
    assert data[0].image.shape == (HEIGHT, WIDTH, 3)


def test_other_classes_are_sorted(folder):
    folder.image("c", ("zebra", (1, 1, 9, 9))).lists(train="a b c")
    data = load(folder.path)
    assert (data.class_names, data.category_ids) == (("cat", "dog", "zebra"), (1, 2, 3))
    assert data.coco()["categories"] == [
        {"id": i, "name": n} for i, n in enumerate(("cat", "dog", "zebra"), 1)
    ]


def test_classes_of_a_checkpoint(folder):
    data = load(folder.path, class_names=("cow", "dog", "cat"), category_ids=(7, 5, 9))
    assert (data.class_names, data.category_ids) == (("cow", "dog", "cat"), (7, 5, 9))
    assert data[0].labels.tolist() == [1, 2]
    assert [note["category_id"] for note in data.coco()["annotations"]] == [5, 9, 9]
    assert refused(lambda: load(folder.path, class_names=("dog", "cow"))) == (
        f"{folder.xml('a')}: object 2 is a 'cat', which is not a class of the training data or checkpoint "
        "(dog, cow) (2 such: a.xml object 2, b.xml object 1); use data with the same classes"
    )


def test_difficult_objects(folder):
    train, val = both_splits(config(folder.path, voc_val="train"))
    assert train[0].labels.tolist() == [CLASSES.index("dog"), CLASSES.index("cat")]  # as in Detectron2
    assert load(folder.path, skip_difficult=True)[0].labels.tolist() == [CLASSES.index("dog")]
    assert val[0].labels.tolist() == [CLASSES.index("dog")]
    for data in (train, val):  # evaluation ignores them, as it does COCO's crowds
        assert [note["iscrowd"] for note in data.coco()["annotations"]] == [0, 1, 0]
    assert "  1 difficult object, ignored in evaluation" in describe(val)


def test_difficult_may_be_missing_and_parts_are_no_objects(folder):
    text = folder.xml("a").read_text().replace("<difficult>1</difficult>", "")
    part = "<part><name>head</name><bndbox><xmin>1</xmin></bndbox></part></object>"
    folder.xml("a").write_text(text.replace("</object>", part))
    assert [note["iscrowd"] for note in load(folder.path).coco()["annotations"]] == [0, 0, 0]


def test_ground_truth_is_the_files_own(folder):
    truth = load(folder.path, limit=1).coco()
    assert [image["file_name"] for image in truth["images"]] == ["JPEGImages/a.jpg"]
    assert [note["bbox"] for note in truth["annotations"]] == [[4, 4, 30, 36], [39, 3, 24, 17]]
    assert [note["area"] for note in truth["annotations"]] == [30 * 36, 24 * 17]


def test_fractions_of_pixels(folder):
    folder.xml("b").write_text(folder.xml("b").read_text().replace("<xmin>1<", "<xmin>45.70000076293945<"))
    assert load(folder.path)[1].boxes[0, 0] == pytest.approx(44.7)


def test_other_suffixes(folder):
    for suffix in (".PNG", ".jpeg"):
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder.path / "JPEGImages" / f"c{suffix}")
    folder.xml("c").write_text(folder.xml("b").read_text())
    folder.lists(train="c")
    assert load(folder.path).file_names == ["JPEGImages/c.jpeg"]


# --- masks --------------------------------------------------------------------------------------------


def test_masks_where_there_are_any(folder):
    folder.image("a", ("dog", (5, 5, 34, 40)), ("cat", (40, 4, 63, 20)), masks=True)
    data = load(folder.path)
    assert data.has_masks
    assert describe(data)[0].endswith("3 objects (2 with masks, 1 without)")
    sample = data[0]
    expected = np.zeros((2, HEIGHT, WIDTH), dtype=bool)
    expected[0, 5:39, 5:33] = True  # the border of 255 is no object's
    expected[1, 4:19, 40:62] = True
    np.testing.assert_array_equal(sample.masks, expected)
    assert (sample.has_mask.tolist(), data[1].has_mask.tolist()) == ([True, True], [False])
    assert data[1].masks.shape == (1, HEIGHT, WIDTH)
    notes = data.coco()["annotations"]
    assert [note["area"] for note in notes] == [34 * 28, 15 * 22, WIDTH * HEIGHT]


def test_masks_of_no_object_are_left_out(folder):
    values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
    values[5:39, 5:33] = 2  # where object 1 is
    values[45:, :] = 7
    folder.masks("a", values)
    data = load(folder.path)
    assert not data.has_masks
    assert data.report.warnings == [
        "2 masks left out: not in the box of the object of that number (a.png 2, a.png 7)"
    ]


def test_masks_that_cannot_be_used(folder):
    png = folder.png("a")
    folder.masks("a", np.zeros((HEIGHT, WIDTH + 1), dtype=np.uint8))
    assert refused(lambda: load(folder.path)) == (
        f"{png}: 65x48 pixels, but the xml says 64x48; correct the file"
    )
    Image.new("RGB", (WIDTH, HEIGHT)).save(png)
    assert refused(lambda: load(folder.path)) == (
        f"{png}: an image of mode RGB, expected palette or 8-bit grey; correct the file"
    )
    folder.masks("a", np.random.default_rng(0).integers(0, 3, (HEIGHT, WIDTH), dtype=np.uint8))
    png.write_bytes(png.read_bytes()[:900])
    assert refused(lambda: load(folder.path)).startswith(f"{png}: truncated, corrupt or not an image (")
    png.write_text("x")
    assert refused(lambda: load(folder.path)).startswith(f"{png}: truncated, corrupt or not an image (")


def test_a_wrong_size_is_blamed_on_the_xml(folder):
    folder.image("a", ("dog", (5, 5, 34, 40)), masks=True)
    folder.xml("a").write_text(folder.xml("a").read_text().replace("<width>64<", "<width>46<"))
    assert refused(lambda: load(folder.path)) == (
        f"{folder.xml('a')}: <size> says 46x48, but the image and its masks are 64x48 (width x height); "
        "correct the file"
    )


def test_lists_of_one_class_are_refused_with_the_list_to_take(folder):
    listed = folder.path / "ImageSets/Main/cat_train.txt"
    listed.write_text("a -1\nb  1\n")
    assert refused(lambda: load(folder.path, voc_train=["cat_train"])) == (
        f"{listed}: says which images show one class (-1, 0 or 1 after each name), and all of these are in "
        "'train'; take that"
    )


# --- faults of the xml --------------------------------------------------------------------------------

BOMB = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>'


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("</annotation>", "", "not XML (no element found: line "),
        ("<annotation>", "<annotations>", "not XML (mismatched tag: line "),
        ("<annotation>", f"{BOMB}<annotation>", "has a DOCTYPE, which VOC's files do not: "),
        (
            "<annotation>",
            '<!DOCTYPE x SYSTEM "file:///etc/passwd"><annotation>',
            "has a DOCTYPE, which VOC's ",
        ),
        (
            "<annotation>",
            '<?xml version="1.0" encoding="klingon"?><annotation>',
            "not XML (unknown encoding: ",
        ),
        ("<filename>a", "<filename>../a", "<filename> is '../a.jpg', expected a name without folders"),
        ("<filename>a", "<filename>C:\\a", "<filename> is 'C:\\a.jpg', expected a name without folders"),
        ("<filename>a", "<filename>/etc/a", "<filename> is '/etc/a.jpg', expected a name without folders"),
        ("<width>64<", "<width>0<", "<size> has width '0', expected a positive integer"),
        ("<height>48<", "<height>many<", "<size> has height 'many', expected a positive integer"),
        ("size>", "sizes>", "<size> has height '', expected a positive integer"),
        ("<name>cat</name>", "", "object 2 has no <name>"),
        ("<difficult>1<", "<difficult>yes<", "object 2 (cat) has difficult 'yes', expected 0 or 1"),
        (
            "<ymax>20</ymax>",
            "",
            "object 2 (cat) has xmin '40', ymin '4', xmax '63', ymax '', expected four numbers",
        ),
        (
            "<xmax>63<",
            "<xmax>inf<",
            "object 2 (cat) has xmin '40', ymin '4', xmax 'inf', ymax '20', expected four",
        ),
        (
            "<xmin>5<",
            "<xmin>5,5<",
            "object 1 (dog) has xmin '5,5', ymin '5', xmax '34', ymax '40', expected four",
        ),
    ],
)
def test_faults_of_an_xml(folder, old, new, fault):
    text = folder.xml("a").read_text()
    assert old in text
    folder.xml("a").write_text(text.replace(old, new))
    line = refused(lambda: load(folder.path))
    assert line.startswith(f"{folder.xml('a')}: {fault}")
    assert line.endswith("; correct the file")


def test_a_document_type_is_found_in_any_encoding(folder):
    text = folder.xml("a").read_text().replace("<annotation>", f"{BOMB}<annotation>")
    folder.xml("a").write_bytes(text.encode("utf-16"))
    assert "has a DOCTYPE" in refused(lambda: load(folder.path))


def test_faults_of_one_kind_are_told_together(folder):
    for name in ("a", "b"):
        folder.xml(name).write_text("")
    folder.image("c").lists(train="a b c")
    folder.xml("c").write_text("<html></html>")
    assert refused(lambda: load(folder.path)) == (
        f"{folder.xml('a')}: not XML (no element found: line 1, column 0) (2 such: a.xml, b.xml); "
        "1 other problem; correct the file"
    )


def test_missing_annotations(folder):
    folder.xml("a").unlink()
    listed = folder.path / "ImageSets/Main/train.txt"
    assert refused(lambda: load(folder.path)) == (
        f"{folder.xml('a')}: no such annotation file, but {listed} lists 'a'; "
        "correct the list, or restore what is missing"
    )


def test_names_listed_twice_or_with_folders(folder):
    listed = folder.path / "ImageSets/Main/train.txt"
    folder.lists(train="a b a")
    assert refused(lambda: load(folder.path)).startswith(f"{listed}: 'a' is listed twice; correct the list")
    for name in ("../a", "/etc/passwd", "x\\a"):
        folder.lists(train=name)
        assert refused(lambda: load(folder.path)).startswith(
            f"{listed}: '{name}': expected a name without folders"
        )


def test_missing_images(folder):
    place = folder.path / "JPEGImages"
    (place / "a.jpg").unlink()
    missing = f"1 of 2 images missing in {place}: a.jpg"
    assert refused(lambda: load(folder.path)) == (
        f"{folder.path}: {missing}; copy the images into the folder, or take them off the image lists"
    )
    assert load(folder.path, on_bad_image="skip").report.warnings == [f"{missing}; they are skipped"]
    for path in (place / "b.jpg", place):
        path.unlink() if path.is_file() else path.rmdir()
    assert refused(lambda: load(folder.path)) == f"{place}: no such image folder; copy the images there"


def test_links(folder, tmp_path):
    image = folder.path / "JPEGImages/a.jpg"
    image.rename(tmp_path / "outside.jpg")
    image.symlink_to(tmp_path / "outside.jpg")
    assert "is a link that leads out of" in refused(lambda: load(folder.path))
    image.unlink()
    (tmp_path / "outside.jpg").rename(image)
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit/VOC2012").symlink_to(folder.path)  # a year may lie elsewhere
    assert len(load(tmp_path / "kit")) == 2


def test_an_image_of_another_size(folder):
    Image.new("RGB", (7, 5)).save(folder.path / "JPEGImages/a.jpg")
    data = load(folder.path)
    assert refused(lambda: data[0]) == (
        f"{folder.path / 'JPEGImages/a.jpg'}: the image is 7x5, but {folder.xml('a')} says 64x48 "
        "(width x height); correct the file, or restore the image that was annotated"
    )


def test_boxes_outside_are_counted(folder):
    folder.xml("a").write_text(folder.xml("a").read_text().replace("<xmax>34<", "<xmax>3<"))  # 5 to 3
    folder.xml("b").write_text(folder.xml("b").read_text().replace("<xmin>1<", "<xmin>0<"))
    data = load(folder.path)
    assert data.report.warnings == [
        "1 object left out: the box, clipped to the image, has no area (a.xml object 1)",
        "1 box clipped to the image (b.xml object 1)",
    ]
    folder.image("c", ("cat", (1, 1, 64, 48))).lists(train="b c")
    folder.xml("c").write_text(folder.xml("b").read_text())
    assert load(folder.path).report.warnings == [
        "2 boxes clipped to the image (b.xml object 1, c.xml object 1)"
    ]
    assert (len(data[0].boxes), data[1].boxes.tolist()) == (1, [[0, 0, 64, 48]])


def test_nothing_but_empty_images(folder):
    folder.image("a").image("b")
    data = load(folder.path)
    assert (len(data), len(data[0].boxes), data.class_names) == (2, 0, CLASSES)
    assert refused(lambda: load(folder.path, skip_empty=True)) == (
        f"{folder.path} train: no image has an object; train without --set data.skip_empty=true"
    )
