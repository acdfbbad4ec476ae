"""Hostile files given to whole commands: one line and its exit code, in bounded memory and time."""

import json
import math
import struct
import zlib

import pytest
import torch
from PIL import Image

from dprd_cli.structures.sample import LONGEST_NAME
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import TINY
from security.cage import MEMORY
from security.targets import tiny_payload

ESCAPE = "\x1b]0;title\x07\x1b[2J\x9b5mx\nerror: not ours"


def refused(answer, code, *words):
    """Check that a command ended with a code and a line that is only text, and return the line."""
    assert answer["code"] == code, answer
    line = answer["err"][-1]
    assert line.startswith("error: "), answer
    assert all(word in line for word in words), answer
    assert all(text.isprintable() for text in (*answer["err"], *answer["out"].splitlines())), answer
    assert not any(line.startswith("error: not ours") for line in answer["err"])
    assert "memory" not in line
    assert answer["peak"] < MEMORY
    return line


# ---- checkpoints ----------------------------------------------------------------------------------------


def bomb():
    """Return lists of lists, ten times over, twelve deep."""
    inner = []
    for _ in range(12):
        inner = [inner] * 10
    return inner


def loop():
    """Return a configuration that holds itself."""
    config = {"preset": "dprd"}
    config["model"] = config
    return config


CONFIGS = {
    "model.heads.box_dim": 10**12,
    "model.heads.box_fcs": 10**9,
    "model.heads.mask_convs": 10**7,
    "model.neck.channels": 10**9,
    "model.sampling.rois_per_image": 10**12,
    "data.test_min_size": 10**6,
    "data.max_size": 10**9,
    "train.lr": math.inf,
    "model.neck.name": ESCAPE,
    f"model.{ESCAPE}": 1,
}
#: Within the bounds, but not the network whose tensors the file holds.
WITHIN = {
    "model.heads.box_dim": 8192,
    "model.heads.box_fcs": 64,
    "model.neck.channels": 8192,
    "model.neck.name": "bifpn",
}
PARTS = {
    "config of lists of lists": {"config": {"model": {"neck": {"channels": bomb()}}}},
    "config in itself": {"config": loop()},
    "name with an escape": {"class_names": [ESCAPE, "dog"]},
    "name of two lines": {"class_names": ["a\nb", "dog"]},
    "name that is no text": {"class_names": ["a\ud800", "dog"]},
    "name without end": {"class_names": ["x" * 100_000, "dog"]},
    "version that is a tensor": {"version": torch.ones(3)},
    "format that is a tensor": {"format": torch.ones(3)},
    "tensor of a name with an escape": {"model": {ESCAPE: torch.ones(1)}},
    "tensor of nothing": {"model": {"w": torch.ones(1).expand(10**9)}},
}


@pytest.fixture(scope="module")
def whole():
    return tiny_payload()


def with_key(payload, key, value):
    """Return a checkpoint in whose configuration a key has another value."""
    *path, last = key.split(".", key.count(".") if "\n" not in key else 1)
    config = json.loads(json.dumps(payload["config"]))
    where = config
    for name in path:
        where = where[name]
    where[last] = value
    return {**payload, "config": config}


@pytest.mark.parametrize(("key", "value"), [*CONFIGS.items(), *WITHIN.items()])
def test_a_configuration_is_not_trusted(cage, tmp_path, whole, key, value):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    save_checkpoint(tmp_path / "evil.pt", with_key(whole, key, value))
    answer = cage.run("predict", "a.png", "--weights", "evil.pt", "--out", "out", folder=tmp_path)
    refused(answer, 1, "evil.pt")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", PARTS)
def test_no_part_of_a_checkpoint_is_trusted(cage, tmp_path, whole, kind):
    Image.new("RGB", (64, 48)).save(tmp_path / "a.png")
    content = {"format": "dprd-checkpoint", "version": 1, **whole, **PARTS[kind]}
    torch.save(content, tmp_path / "evil.pt")
    answer = cage.run("predict", "a.png", "--weights", "evil.pt", "--out", "out", folder=tmp_path)
    refused(answer, 1, "evil.pt")
    assert not (tmp_path / "out").exists()


def integer(value):
    return b"\x8a\x08" + struct.pack("<q", value)


def pickled(*parts):
    return b"\x80\x03}X\x05\0\0\0model" + b"".join(parts) + b"s."


def dtype(code):
    return b"cnumpy\ndtype\n(X" + struct.pack("<I", len(code)) + code + b"tR"


NDARRAY, POINTER, MANY = b"cnumpy\nndarray\n", b"B\x08\0\0\0@AAAA\0\0\0", integer(805306368)
PICKLES = {
    "memory": pickled(NDARRAY, b"((", MANY, b"t", dtype(b"f8"), b"tR"),
    "stride of 0": pickled(
        NDARRAY, b"((", MANY, b"t", dtype(b"f8"), POINTER, integer(0), b"(", integer(0), b"ttR"
    ),
    "objects over bytes": pickled(
        b"cbuiltins\nset\n(", NDARRAY, b"((", integer(1), b"t", dtype(b"O"), POINTER, b"tRtR"
    ),
    "scalar of objects": pickled(b"cnumpy.core.multiarray\nscalar\n(", dtype(b"O"), POINTER, b"tR"),
}


@pytest.mark.parametrize("kind", PICKLES)
def test_a_pickle_gets_neither_addresses_nor_memory(cage, tmp_path, kind):
    (tmp_path / "evil.pkl").write_bytes(PICKLES[kind])
    answer = cage.run("weights", "show", "evil.pkl", folder=tmp_path)
    refused(answer, 1, "evil.pkl: contains pickled code")


# ---- images ---------------------------------------------------------------------------------------------


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path, width, height, depth, colour):
    """Write a PNG of zeros, line by line."""
    line = bytes(1 + width * depth // 8 * (3 if colour == 2 else 1))
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b""))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, whole):
    path = tmp_path_factory.mktemp("tiny") / "tiny.pt"
    save_checkpoint(path, whole)
    return path


def test_a_small_file_of_many_pixels(cage, tmp_path, tiny):
    write_png(tmp_path / "a.png", 13000, 13000, 16, 0)
    argv = ("predict", "a.png", "--weights", tiny)
    line = refused(cage.run(*argv, "--out", "one", folder=tmp_path), 3)
    assert "1 of 1" in line
    write_png(tmp_path / "a.png", 9400, 9400, 16, 0)  # less than the usual limit
    answer = cage.run(*argv, "--out", "two", "--save", "csv", folder=tmp_path)
    assert answer["code"] == 0, answer


def test_a_thin_image(cage, tmp_path, tiny):
    write_png(tmp_path / "a.jpg", 70000, 20, 8, 2)
    answer = cage.run("predict", "a.jpg", "--weights", tiny, folder=tmp_path)
    assert answer["code"] == 0, answer


def test_postscript_in_a_jpeg_s_place_starts_nothing(cage, tmp_path, tiny):
    code = "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n(hacked) (w) file closefile showpage\n"
    (tmp_path / "a.jpg").write_text(code)
    answer = cage.run("predict", "a.jpg", "--weights", tiny, folder=tmp_path)
    refused(answer, 3)
    assert not (tmp_path / "hacked").exists()


# ---- data -----------------------------------------------------------------------------------------------

RING = [5, 5, 35, 5, 35, 35, 5, 35]


def write_coco(folder, names=("cat", "dog"), file_name="0.png", segmentation=(RING,)):
    """Write two images in each split, and an object of each class in each."""
    (folder / "images").mkdir(parents=True)
    for number in range(2):
        Image.new("RGB", (64, 48), (90 * number, 20, 30)).save(folder / f"images/{number}.png")
    images = [{"id": n, "file_name": f"{n}.png", "width": 64, "height": 48} for n in range(2)]
    anns = [
        {
            "id": 1 + n,
            "image_id": n % 2,
            "category_id": 1 + n,
            "bbox": [5 + n, 5, 30, 30],
            "area": 900,
            "iscrowd": 0,
        }
        | {"segmentation": [RING]}
        for n in range(len(names))
    ]
    categories = [{"id": n, "name": name} for n, name in enumerate(names, start=1)]
    tree = {"images": images, "annotations": anns, "categories": categories}
    (folder / "val.json").write_text(json.dumps(tree))
    images[0]["file_name"], anns[0]["segmentation"] = file_name, list(segmentation)
    (folder / "train.json").write_text(json.dumps(tree))


def star(corners, radius):
    """Return a polygon there and back across the image, corner by corner."""
    return [v for n in range(corners) for v in (32 + radius * (-1) ** n, 24 + radius * math.sin(n))]


COCO = {
    "absolute": {"file_name": f"/{ESCAPE}"},
    "missing": {"file_name": f"a{ESCAPE}.png"},
    "outside": {"file_name": f"../{ESCAPE}.png"},
    "class with an escape": {"names": (ESCAPE, "dog")},
    "class without end": {"names": ("x" * 100_000, "dog")},
    "class that is a list": {"names": (["x"] * 10**5, "dog")},
    "polygon": {"segmentation": [star(60_000, 600)]},
    "polygon within the image": {"segmentation": [star(60_000, 20)]},
    "many polygons": {"segmentation": [star(100, 600)] * 600},
}


def write_voc(folder, name="dog", listed="000001", file_name="000001.jpg"):
    """Write an image of both splits."""
    for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    Image.new("RGB", (64, 48)).save(folder / "JPEGImages/000001.jpg")
    box = "<bndbox><xmin>5</xmin><ymin>5</ymin><xmax>30</xmax><ymax>30</ymax></bndbox>"
    size = "<size><width>64</width><height>48</height><depth>3</depth></size>"
    thing = f"<object><name>{name}</name><difficult>0</difficult>{box}</object>"
    xml = f"<annotation><filename>{file_name}</filename>{size}{thing}</annotation>"
    (folder / "Annotations/000001.xml").write_text(xml)
    for split in ("train", "val"):
        (folder / f"ImageSets/Main/{split}.txt").write_text(f"{listed if split == 'train' else '000001'}\n")


VOC = {
    "class with an escape": {"name": "dog&#x9b;2Jx"},
    "listed with an escape": {"listed": "a\x1b[2Jb"},
}
LAUGHS = "".join(
    f"{b}: &{b} [{','.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
YOLO = {
    "place with an escape": {"train": '"\\e[2Jx"'},
    "class with an escape": {"names": '["\\e[2Jx"]'},
    "laughs": {"before": f"a: &a [x,x,x,x,x,x,x,x,x]\n{LAUGHS}", "names": "[*i]"},
    "merges": {"before": "a: &a {x: 1, y: 2}\n" + "".join(f"k{n}:\n  <<: [*a, *a, *a]\n" for n in range(99))},
    "label with an escape": {"label": "\x1b[2J 0.5 0.5 0.2 0.2"},
    "label without end": {"label": "0 " + "0 0 1 1 " * 10**5},
}


def write_yolo(folder, before="", train="images/train", names="[a]", label="0 0.5 0.5 0.2 0.2"):
    """Write an image in each split."""
    for split in ("train", "val"):
        for part in ("images", "labels"):
            (folder / part / split).mkdir(parents=True)
        Image.new("RGB", (64, 48)).save(folder / f"images/{split}/0.png")
        (folder / f"labels/{split}/0.txt").write_text(label if split == "train" else "0 0.5 0.5 0.2 0.2")
    (folder / "data.yaml").write_text(f"{before}train: {train}\nval: images/val\nnames: {names}\n")


FOLDERS = [(write_coco, COCO), (write_voc, VOC), (write_yolo, YOLO)]
BAD_DATA = [
    pytest.param(write, kinds[kind], id=f"{write.__name__.removeprefix('write_')}: {kind}")
    for write, kinds in FOLDERS
    for kind in kinds
]


@pytest.mark.parametrize(("write", "changes"), BAD_DATA)
def test_hostile_data_is_refused_in_a_line(cage, tmp_path, write, changes):
    write(tmp_path / "data", **changes)
    refused(cage.run("data", "check", "data", folder=tmp_path), 3, "data")
    argv = (
        "train",
        "--config",
        TINY,
        "--data",
        "data",
        "--set",
        "model.backbone.weights=none",
        "--out",
        "run",
    )
    refused(cage.run(*argv, folder=tmp_path), 3, "data")
    assert not (tmp_path / "run").exists()


#: Printable, and so the user's right; but markup, formulas and the like elsewhere.
NAMES = (
    "$\\frac$",
    "US$ 5^ C$",
    "[/red]",
    "[t-72]",
    "=1+1",
    "@x",
    "<script>",
    "a,b;c",
    ":smile:",
    "%s{0}\\",
    "x" * LONGEST_NAME,
)


def test_names_are_text_wherever_they_are_shown(cage, tmp_path):
    write_coco(tmp_path / "data", names=NAMES)
    settings = (
        "--set",
        "train.steps=1",
        "--set",
        "model.backbone.weights=none",
        "--set",
        "model.test.score_thresh=0",
    )
    kinds = ("--save", "images,coco,csv,labelme,masks,crops")
    lines = [
        ("data", "check", "data"),
        ("data", "stats", "data", "--out", "stats"),
        ("data", "show", "data", "--out", "shown"),
        ("train", "--config", TINY, "--data", "data", *settings, "--out", "run"),
        ("eval", "--weights", "run", "--plots", "plots"),
        ("predict", "data/images/0.png", "--weights", "run", "--score-thresh", "0", "--out", "found", *kinds),
        ("gradcam", "data/images/0.png", "--weights", "run", "--score-thresh", "0", "--max-objects", "1"),
        ("report", "run", "--limit", "2"),
        ("config", "show", "run"),
        ("weights", "show", "run", "--keys"),
    ]
    for argv in lines:
        answer = cage.run(*argv, folder=tmp_path)
        assert answer["code"] == 0, (argv, answer)
        if argv[0] in ("train", "eval"):
            assert all(name[:12] in answer["out"] for name in NAMES), argv
    page = (tmp_path / "run/report.html").read_text()
    assert "<script>a" not in page
    assert "&lt;script&gt;" in page
    table = (tmp_path / "found/results.csv").read_text()
    assert table.count("\n") > 1
    assert ",=" not in table
    assert ",@" not in table


# ---- options --------------------------------------------------------------------------------------------

SETTINGS = {
    "data.train_min_sizes=[]": "data.train_min_sizes",
    "train.patience=1e400": "train.patience",
    "schedule=[[1.0,1.0,1.0,1.0]]": "schedule",
    "model.neck.repeats=inf": "model.neck.repeats",
    "preset=-inf": "preset",
    "preset=\x1b[2J": "preset",
    "train.lr=nan": "train.lr",
    "model.heads.box_dim=" + "9" * 4000: "model.heads.box_dim",
}


@pytest.mark.parametrize("pair", SETTINGS)
def test_settings_without_sense_are_named(cage, tmp_path, pair):
    answer = cage.run("train", "--config", TINY, "--set", pair, "--out", "run", folder=tmp_path)
    refused(answer, 2, SETTINGS[pair])
    assert not (tmp_path / "run").exists()


def test_urls_without_sense_are_skipped_and_counted(cage, tmp_path, tiny):
    urls = (
        "http://[::1/a.png",
        f"http://127.0.0.1:1/{'1' * 5000}.png",
        "http://\x1b[2J/",
        "http://a:99999/",
        "http://",
    )
    answer = cage.run("predict", *urls, "--weights", tiny, folder=tmp_path)
    refused(answer, 3)
    assert sum(line.startswith("skipped: ") for line in answer["err"]) == len(urls)


def test_the_cage_bounds_memory(cage, tmp_path):
    answer = cage.run("predict", "--list", "/dev/zero", "--weights", "demo", folder=tmp_path)
    assert answer["code"] == 5, answer
    assert answer["err"][-1].startswith("error: out of memory")
    assert answer["peak"] < MEMORY
