"""Data sets with a fault each, through the whole check: the exit code, and what it says."""

import json
import struct
import unicodedata
import zlib

import numpy as np
import pytest
import yaml
from PIL import Image

from dprd_cli import cli
from tool_exports import bounds, coco, draw, points, write_json, xml, yolo_labels

SPLITS = (("train", ("t1.png", "t2.png")), ("val", ("v1.png", "v2.png")))
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


def coco_set(root, change=None, **ann):
    """Write a COCO set; `change` gets the training tree, `ann` goes into its annotations."""
    for split, names in SPLITS:
        for name in names:
            draw(root / "images" / name)
        tree = coco(names, **(ann if split == "train" else {}))
        if change is not None and split == "train":
            change(tree)
        write_json(root / f"{split}.json", tree)


def each(key, make):
    """Return a change that gives each annotation what a function makes of it."""

    def change(tree):
        for ann in tree["annotations"]:
            ann[key] = make(ann)

    return change


def renamed(listed, actual="t1.png"):
    """Return a writer of a set that lists `t1.png` under another name, or whose file has another one."""

    def write(root):
        coco_set(root, lambda tree: tree["images"][0].update(file_name=listed))
        (root / "images" / "t1.png").rename(root / "images" / actual)

    return write


def named(name):
    """Return a writer of a set whose splits both have a class of that name."""

    def write(root):
        coco_set(root)
        for split, names in SPLITS:
            tree = coco(names)
            tree["categories"][0]["name"] = name
            write_json(root / f"{split}.json", tree)

    return write


def corners(ann):
    return list(bounds(ann["segmentation"][0]))


def along_rows(ann):
    """Return the box as a mask whose runs go along the rows, where COCO's go down the columns."""
    flat = np.zeros((48, 64), dtype=np.int8)
    x1, y1, x2, y2 = bounds(ann["segmentation"][0])
    flat[y1:y2, x1:x2] = 1
    changes = np.flatnonzero(np.diff(flat.ravel())) + 1
    return {"size": [48, 64], "counts": np.diff([0, *changes, flat.size]).tolist()}


def written(name, content):
    def write(root):
        coco_set(root)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return write


def first_missing(root):
    coco_set(root)
    names = [f"t{n}.png" for n in range(1, 13)]
    for name in names[5:]:
        draw(root / "images" / name)
    for name in names[:2]:
        (root / "images" / name).unlink()
    write_json(root / "train.json", coco(names))


def deep_grey(root):
    coco_set(root)
    for name in SPLITS[0][1]:
        grey = np.linspace(0, 4095, 48 * 64).reshape(48, 64).astype(np.uint16)
        Image.fromarray(grey).save(root / "images" / name)


def much_text(root):
    coco_set(root)
    path = root / "images" / "t1.png"
    body = b"note\0\0" + zlib.compress(b"a" * (2 << 20))
    chunk = b"zTXt" + body
    content = path.read_bytes()
    extra = struct.pack(">I", len(body)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(content[:33] + extra + content[33:])


def lvis(root):
    def forget(tree):
        for image in tree["images"]:
            image["coco_url"] = f"http://images.cocodataset.org/images/{image.pop('file_name')}"

    coco_set(root, forget)


def decomposed(root):
    renamed("Prüfung.png", unicodedata.normalize("NFD", "Prüfung.png"))(root)


def val_alone(root):
    coco_set(root)
    (root / "train.json").unlink()


def same_images(root):
    coco_set(root)
    (root / "images" / "v1.png").write_bytes((root / "images" / "t1.png").read_bytes())


COCO = {
    "areas": (
        lambda r: coco_set(r, area=-5),
        0,
        "4 areas that are not the masks' (or boxes'): they decide APS",
    ),
    "shares": (
        lambda r: coco_set(r, bbox=[0.1, 0.2, 0.3, 0.4], segmentation=[]),
        3,
        "look like shares of the image",
    ),
    "corners": (
        lambda r: coco_set(r, each("bbox", corners)),
        0,
        "all 4 boxes would fit as [x1, y1, x2, y2], as the polygons of 4 prove",
    ),
    "rows": (
        lambda r: coco_set(r, each("segmentation", along_rows)),
        0,
        "4 masks would fit if their runs went along the rows: COCO's go down the columns",
    ),
    "empty masks": (
        lambda r: coco_set(r, segmentation={"size": [48, 64], "counts": [48 * 64]}),
        0,
        "(0 with masks)\\n4 objects whose mask has no pixel",
    ),
    "points": (
        lambda r: coco_set(r, each("segmentation", lambda a: points(a["segmentation"][0]))),
        0,
        "(0 with masks)\\nlooks like a list of points [[x, y], ...]",
    ),
    "nested points": (
        lambda r: coco_set(r, each("segmentation", lambda a: [points(a["segmentation"][0])])),
        3,
        "a polygon holds lists (points), expected flat numbers",
    ),
    "crowds": (
        lambda r: coco_set(r, iscrowd=1),
        3,
        "all 4 annotations of train have iscrowd 1\\ndata.crowds=objects",
    ),
    "nothing": (
        lambda r: coco_set(r, lambda t: t["annotations"].clear()),
        3,
        "no object in 2 images of train",
    ),
    "panoptic": (
        lambda r: coco_set(r, lambda t: t.update(annotations=[{"image_id": 1, "segments_info": []}])),
        3,
        "a panoptic file (segments_info)",
    ),
    "zwnj": (named("\u06a9\u062a\u0627\u0628\u200c\u0647\u0627"), 0, "nothing odd"),
    "wide blank": (named("全角\u3000名"), 0, "nothing odd"),
    "emoji": (named("👩\u200d🚀"), 0, "nothing odd"),
    "control": (named("a\x1b[31mb"), 3, "expected a word"),
    "turned reading": (named("a\u202eb"), 3, "expected a word"),
    "blank around": (named(" cat\n"), 0, "white space around the name, which is dropped"),
    "bom": (written("train.json", "\ufeff" + json.dumps(coco(SPLITS[0][1]))), 0, "nothing odd"),
    "pointer": (written("train.json", LFS), 3, "a Git LFS pointer, not the file itself: run git lfs pull"),
    "image pointer": (written("images/t1.png", LFS), 3, "t1.png: a Git LFS pointer, not the image itself"),
    "web page": (written("images/t1.png", "<!DOCTYPE html><p>Not found"), 3, "a web page, not an image"),
    "text": (much_text, 3, "the image may be sound, but has more text in it than Pillow reads"),
    "12 bits": (
        deep_grey,
        0,
        "reach at most 4095 of 65535, so that they become nearly black (0 to 16 of 255)",
    ),
    "upper case": (renamed("t1.png", "t1.PNG"), 3, "1 of 2 images missing in\\n(t1.PNG is there)"),
    "other suffix": (renamed("t1.png", "t1.jpeg"), 3, "(t1.jpeg is there)"),
    "backslash": (renamed("images\\t1.png"), 0, "1 image found under another name than the file says"),
    "up and back": (renamed("..\\..\\media\\t1.png"), 0, "'..\\..\\media\\t1.png' is t1.png"),
    "sub-folder": (renamed("images/1/t1.png"), 0, "'images/1/t1.png' is t1.png"),
    "coded": (renamed("my%20cat%20%281%29.png", "my cat (1).png"), 0, "is my cat (1).png"),
    "decomposed": (decomposed, 0, "1 image found under another name"),
    "dot slash": (
        lambda r: coco_set(r, lambda t: t["images"][1].update(file_name="./t1.png")),
        0,
        "1 image with the file_name of another",
    ),
    "lvis": (lvis, 0, "2 images found under another name"),
    "val alone": (val_alone, 0, "no train split: the data can be evaluated on, not trained on"),
    "same image": (same_images, 0, "1 image with the pixels of a training image (v1.png is t1.png)"),
}


def told(root, capsys, *flags):
    """Return the exit code of the check and all that it says."""
    code = cli.run(["data", "check", str(root), "--workers", "0", *flags])
    out = capsys.readouterr()
    return code, out.out + out.err


@pytest.mark.parametrize(("write", "code", "expected"), COCO.values(), ids=COCO)
def test_coco(tmp_path, capsys, write, code, expected):
    write(tmp_path)
    found, text = told(tmp_path, capsys)
    assert found == code
    for fragment in expected.split("\\n"):
        assert fragment in text


def test_the_first_images_may_be_missing(tmp_path, capsys):
    first_missing(tmp_path)
    code, text = told(tmp_path, capsys, "--on-bad-image", "skip")
    assert (code, "5 of 12 images missing" in text, "7 images decoded" in text) == (0, True, True)


def yolo_set(root, **description):
    for split in ("train", "val"):
        for number in (1, 2):
            draw(root / "images" / split / f"{split}{number}.png")
            yolo_labels(root / "labels" / split / f"{split}{number}.txt")
    tree = {"names": ["cat", "dog"], "train": "images/train", "val": "images/val"}
    (root / "data.yaml").write_text(yaml.safe_dump(tree | description))


def capitals(root):
    yolo_set(root, train="Images/train", val="Images/val")
    (root / "images").rename(root / "Images")
    (root / "labels").rename(root / "Labels")


def without_objects(root):
    yolo_set(root)
    for path in (root / "labels").rglob("*.txt"):
        path.write_text("")


def listed(root):
    yolo_set(root, train="train.txt")
    (root / "train.txt").write_text("data/images/train/train1.png\ndata/images/train/train2.png\n")


def strays(root):
    yolo_set(root)
    yolo_labels(root / "labels" / "train" / "gone.txt")


def formats(root):
    yolo_set(root)
    for name in ("x.avif", "q.jp2", "y.jfif"):
        draw(root / "images" / "train" / name)
        yolo_labels((root / "labels" / "train" / name).with_suffix(".txt"))
    (root / "images" / "train" / "w.heic").touch()


def posed(points_each, numbers):
    def write(root):
        yolo_set(root, kpt_shape=[points_each, numbers])
        for path in (root / "labels").rglob("*.txt"):
            rest = " ".join(["0.5", "0.5", "1"][:numbers] * points_each)
            path.write_text(f"0 0.5 0.5 0.3 0.3 {rest}\n")

    return write


def broken_exif(root):
    yolo_set(root)
    path = root / "images" / "train" / "train1.png"
    body = b"eXIf" + b"II*\0\xff\xff\xff\xff"
    content = path.read_bytes()
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    path.write_bytes(content[:33] + chunk + content[33:])


YOLO = {
    "capitals": (capitals, 0, "4 objects in 2 classes"),
    "empty": (without_objects, 3, "no object in 2 images of train: nothing would be learned"),
    "list": (listed, 0, "'data/images/train/train1.png' is images/train/train1.png"),
    "stray labels": (strays, 0, "1 label file without an image (gone.txt)"),
    "formats": (formats, 0, "5 images (0 without objects)\\n1 image of a kind that is not read (w.heic)"),
    "string keys": (lambda r: yolo_set(r, names={"0": "cat", "1": "dog"}), 0, "4 objects in 2 classes"),
    "pose of people": (posed(17, 3), 0, "(0 with masks)\\n2 objects with key points (kpt_shape)"),
    "pose": (posed(2, 2), 0, "(0 with masks)\\n2 objects with key points (kpt_shape)"),
    "broken exif": (broken_exif, 0, "2 images decoded"),
    "zwnj": (
        lambda r: yolo_set(r, names=["\u06a9\u062a\u0627\u0628\u200c\u0647\u0627", "全角\u3000名"]),
        0,
        "4 objects in 2 classes",
    ),
}


@pytest.mark.parametrize(("write", "code", "expected"), YOLO.values(), ids=YOLO)
def test_yolo(tmp_path, capsys, write, code, expected):
    write(tmp_path)
    found, text = told(tmp_path, capsys)
    assert found == code
    for fragment in expected.split("\\n"):
        assert fragment in text


def voc_set(root, suffix=".jpg", folder=""):
    names = [f"{folder}{name}" for name in "abc"]
    for name in names:
        draw(root / "JPEGImages" / f"{name}{suffix}")
        xml(root / "Annotations" / f"{name}.xml", f"{name}.jpg")
    (root / "ImageSets" / "Main").mkdir(parents=True)
    for split, some in (("train", names[:2]), ("val", names[2:])):
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(some) + "\n")


@pytest.mark.parametrize("options", [{"suffix": ".avif"}, {"folder": "cam1/"}])
def test_voc_images_of_other_formats_and_in_folders(tmp_path, capsys, options):
    voc_set(tmp_path, **options)
    code, text = told(tmp_path, capsys)
    assert (code, "4 objects in 20 classes" in text, "nothing odd" in text) == (0, True, True)


def test_the_shapes_of_these_sets_are_sound(tmp_path, capsys):
    coco_set(tmp_path)
    assert told(tmp_path, capsys)[1].endswith("can be used: nothing odd\n")
