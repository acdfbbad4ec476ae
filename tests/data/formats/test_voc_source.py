"""Where VOC's files are found: lists of any name, no list, and xml files beside the images."""

from data_folders import load_split
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.formats.problems import Problems
from dprd_cli.data.formats.voc_source import XmlFiles, find_devkit, find_flat
from tool_exports import cvat_voc, draw, export, label_img, labelme2coco_script, roboflow_voc


def parts(find, root):
    source = find(DataConfig(path=str(root)), root)
    return source and sorted(source.parts)


def test_lists_of_another_name_or_none(tmp_path):
    root, _ = export(cvat_voc, tmp_path)
    assert parts(find_devkit, root) == ["all"]
    for path in (root / "ImageSets" / "Main").iterdir():
        path.unlink()
    assert parts(find_devkit, root) == ["all"]
    assert len(load_split(root, holdout=0)) == 8
    for path in (root / "Annotations").iterdir():
        path.unlink()
    assert parts(find_devkit, root) == []  # VOC's folders, without anything in them


def test_image_folders_alone_are_not_vocs(tmp_path):
    root, _ = export(labelme2coco_script, tmp_path)
    assert parts(find_devkit, root) is None


def test_xml_files_in_folders_of_splits_or_beside_the_images(tmp_path):
    root, _ = export(roboflow_voc, tmp_path)
    assert parts(find_flat, root) == ["train", "val"]
    root, _ = export(label_img, tmp_path)
    assert parts(find_flat, root) == ["all"]
    assert parts(find_flat, tmp_path / "roboflow_voc" / "gone") is None
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "a.xml").write_text("<project/>")
    assert parts(find_flat, tmp_path / "other") is None


def test_every_xml_has_one_image(tmp_path):
    root, _ = export(label_img, tmp_path)
    (root / "img_a.jpg").unlink()
    draw(root / "alone.jpg")
    (root / "more").mkdir()
    (root / "img_b.jpg").rename(root / "more" / "img_b.jpg")  # found by its name
    for place in ("x", "y"):  # which of the two?
        draw(root / place / "img_c.png")
    (root / "img_c.jpg").unlink()
    problems = Problems()
    files = XmlFiles(root, root)
    names = files.file_names(problems)
    assert names == ["more/img_b.jpg", *(f"img_{letter}.jpg" for letter in "defgh")]
    assert files.file_of("more/img_b.jpg") == root / "img_b.xml"
    assert XmlFiles(root, root).file_of("img_d.jpg") == root / "img_d.xml"
    assert {kind: one.line() for kind, one in problems.kinds.items()} == {
        "no image": "2 xml files without one image of the same name, left out (img_a.xml, img_c.xml)",
        "unlabelled": "2 images without an xml file, left out (alone, img_c)",
    }
