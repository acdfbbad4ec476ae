"""What reads files from elsewhere, each with files that were changed at random.

A target prepares what it needs in the working folder, and gives a function that makes one attempt with a
`random.Random`. An attempt succeeds, or raises one of the errors that a user is told in a line; whatever else
it raises is a fault of the program. `DEBUG_ATTEMPT=1` leaves the file of the last attempt where it is.
"""

import collections
import contextlib
import io
import json
import random
import struct
import sys
import warnings
import zipfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from dprd_cli import cli
from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import DataConfig
from dprd_cli.config.tree import read_toml, to_toml, validate
from dprd_cli.data.build import build_dataset
from dprd_cli.data.check import check_data
from dprd_cli.data.statistics import dataset_statistics
from dprd_cli.errors import DataError, ResourceError, UserError, one_line
from dprd_cli.evaluation.results_file import collect_results, read_results
from dprd_cli.files.image_facts import inspect_image
from dprd_cli.files.images import read_image, read_size
from dprd_cli.files.output_folder import OutputChoice
from dprd_cli.model.build import build_detector
from dprd_cli.report.measure import ReportOptions
from dprd_cli.report.write import write_report
from dprd_cli.studies.toml import read_study
from dprd_cli.weights.checkpoint import export_safetensors, read_checkpoint, read_tensors, save_checkpoint
from dprd_cli.weights.foreign import read_foreign
from dprd_cli.weights.load import load_model
from dprd_cli.weights.named_config import compare_configs
from paths import TINY
from security import options, pickles
from security.mutations import change_bytes, change_json, change_text, change_tree, words
from small_coco import TREE

TARGETS = {}


def target(function):
    """Register a target under its name."""
    TARGETS[function.__name__.replace("_", " ")] = function
    return function


def attempt_once(attempt, seed):
    """Make an attempt.

    Raises:
        Exception: Whatever is no error of the user's.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            attempt(random.Random(seed))
    except ResourceError as error:
        raise AssertionError(error) from error
    except UserError as error:
        line = one_line(error)
        assert line.isprintable(), line
        assert "memory" not in line, line  # which would have been used up first


def check_named(path, error):
    """Check that a line names the file."""
    assert str(path) in str(error), error


def images(*paths):
    """Write the images of a data set."""
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (12, 8), (200, 20, 90)).save(path)


def use(folder):
    """Read all that training and evaluation would; return the line that refuses the data, or None."""
    config = DataConfig(path=str(folder), workers=0)
    try:
        train = build_dataset(config, "train")
        for data in (train, build_dataset(config, "val", training=train)):
            for index in range(len(data)):
                assert data[index].boxes.shape[1] == 4
            assert data.coco()["images"]
        dataset_statistics(config, resolve().model.rpn)
    except DataError as error:
        check_named(folder, error)
        return str(error)
    return None


def check(folder, refusal):
    """Check that `dprd data check` finds errors where the data is refused, and only there."""
    checks = check_data(DataConfig(path=str(folder), workers=0), workers=0)
    errors = [problem for one in checks for problem in one.problems.of("error")]
    assert bool(errors) == (refusal is not None), (errors, refusal)
    json.dumps([one.to_json() for one in checks])


# ---- data -----------------------------------------------------------------------------------------------


@target
def coco():
    """COCO's json."""
    folder = Path("coco")
    images(folder / "images/a.png", folder / "images/b.png")
    (folder / "val.json").write_text(json.dumps(TREE))

    def attempt(rng):
        (folder / "train.json").write_bytes(change_json(rng, TREE))
        check(folder, use(folder))

    return attempt


YAML = "path: .\ntrain: images/train\nval: images/val\nnc: 2\nnames:\n  0: cat\n  1: dog\n"
YAML_WORDS = words(
    """
    names: train: val: path: nc: [ ] { } &a *a <<:*a - ? !!python/object/apply:os.system[x] !!binary
    !!set !!timestamp images/train ../ 1e999 .nan 1:30:00 '"\\e[2J" 2026-99-01 %YAML#9 : 0 1
    """
)
YAML_WORDS += ["\n", "  ", "'", "\0", "0x" + "f" * 40, "&a ", "*a ", "<<: ", "names: "]
LABELS = "0 0.5 0.5 0.5 0.5\n1 0.1 0.1 0.9 0.1 0.9 0.9\n"
LABEL_WORDS = [
    "0",
    "0.5",
    "1",
    "1.005",
    "-0.2",
    "nan",
    "inf",
    "1e400",
    "x",
    "1_0",
    "\ufeff",
    "\0",
    "9" * 400,
    " ",
    "\n",
]


@target
def yolo():
    """YOLO's data.yaml, labels and lists of images."""
    folder = Path("yolo")
    images(folder / "images/train/a.png", folder / "images/val/a.png")
    for split in ("train", "val"):
        (folder / "labels" / split).mkdir(parents=True)
        (folder / "labels" / split / "a.txt").write_text(LABELS)

    def attempt(rng):
        kind = rng.randrange(3)
        yaml = change_text(rng, YAML, YAML_WORDS) if kind == 0 else YAML.encode()
        labels = change_text(rng, LABELS, LABEL_WORDS) if kind == 1 else LABELS.encode()
        if kind == 2:
            yaml = yaml.replace(b"images/train", b"list.txt")
            known = ("images/train/a.png", "../", "/etc/passwd", "\n", "\0", " ", "a.png", "\x1b[2J")
            (folder / "list.txt").write_bytes(change_text(rng, "images/train/a.png\n", known))
        (folder / "data.yaml").write_bytes(yaml)
        (folder / "labels/train/a.txt").write_bytes(labels)
        check(folder, use(folder))

    return attempt


XML = """<annotation><folder>VOC</folder><filename>000001.jpg</filename>
<size><width>12</width><height>8</height><depth>3</depth></size><segmented>0</segmented>
<object><name>dog</name><pose>Left</pose><truncated>0</truncated><difficult>0</difficult>
<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>9</xmax><ymax>7</ymax></bndbox></object></annotation>
"""
XML_WORDS = words(
    """
    <object> </object> <name> </name> &lt; &#27; &#x85; &a; <![CDATA[ ]]> nan 1e999 -5 [/red] <size/>
    ../../a.jpg <bndbox><xmin>1</xmin></bndbox>
    """
)
XML_WORDS += ["<!DOCTYPE a [<!ENTITY a 'x'>]>", "<?xml version='1.0' encoding='utf-16'?>", "<a xmlns='x'>"]
XML_WORDS += ["9" * 30, "\n", "\0", "\u202e"]


@target
def voc():
    """VOC's xml, image lists and masks."""
    folder = Path("voc")
    for part in ("JPEGImages", "Annotations", "ImageSets/Main", "SegmentationObject"):
        (folder / part).mkdir(parents=True)
    for name in ("000001", "000002"):
        images(folder / f"JPEGImages/{name}.jpg")
        (folder / f"Annotations/{name}.xml").write_text(XML)
    (folder / "ImageSets/Main/val.txt").write_text("000002\n")
    masks = io.BytesIO()
    values = np.zeros((8, 12), np.uint8)
    values[2:6, 3:8] = 1
    Image.fromarray(values).save(masks, "PNG")

    def attempt(rng):
        kind = rng.randrange(4)
        xml = change_text(rng, XML, XML_WORDS) if kind < 2 else XML.encode()
        names = change_text(
            rng, "000001\n", ("000001", "000003", " ", "\n", "\0", "../", "\x1b[2J", "a b", "/")
        )
        (folder / "Annotations/000001.xml").write_bytes(xml)
        (folder / "ImageSets/Main/train.txt").write_bytes(names if kind == 2 else b"000001\n")
        mask = change_bytes(rng, masks.getvalue()) if kind == 3 else masks.getvalue()
        (folder / "SegmentationObject/000001.png").write_bytes(mask)
        check(folder, use(folder))

    return attempt


def sound_images():
    """Return small images of every format and of many modes."""
    rng = np.random.default_rng(0)
    rgb = Image.fromarray(rng.integers(0, 256, (9, 13, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    kinds = """RGB PNG exif, RGBA PNG, P PNG, 1 PNG, I;16 PNG, RGB JPEG exif, CMYK JPEG, L JPEG, P GIF,
        RGB BMP, RGBA WEBP, RGB WEBP lossless, RGB TIFF lzw, F TIFF, I;16 TIFF, RGB TIFF deflate,
        L PPM, RGB MPO"""
    how = {"exif": {"exif": exif}, "lossless": {"lossless": True, "exif": exif}}
    how |= {kind: {"compression": f"tiff_{kind}"} for kind in ("lzw", "deflate")}
    found = []
    for line in kinds.split(","):
        mode, form, *more = line.split()
        image = rgb.convert("I").convert(mode) if mode.startswith("I;") else rgb.convert(mode)
        settings = (
            how[more[0]] if more else {"save_all": True, "append_images": [image]} if form == "GIF" else {}
        )
        file = io.BytesIO()
        with contextlib.suppress(OSError, KeyError):  # a build of Pillow without that format
            image.save(file, form, **settings)
            found.append(file.getvalue())
    return found


@target
def image_files():
    """Images of every format."""
    sound = sound_images()

    def attempt(rng):
        path = Path("image.jpg")
        path.write_bytes(change_bytes(rng, rng.choice(sound)))
        for read in (read_size, read_image, inspect_image):
            try:
                read(path, 10**6)
            except DataError as error:
                check_named(path, error)

    return attempt


# ---- configurations -------------------------------------------------------------------------------------

TOML_WORDS = words(
    """
    [model] [model.heads] [[x]] = inf nan -1 0 1e400 ''' [ ] { } . 2026-01-01 \\ud800 \\u001b[2J # true
    """
)
TOML_WORDS += ["0x" + "f" * 5000, "9" * 5000, "steps = ", "a.b.c = 1\n", "\n", '"', "\0"]


def change_config(rng):
    """Return TOML, as bytes, of a changed configuration."""
    text = to_toml(resolve(config_file=TINY))
    if rng.random() < 0.4:
        return change_text(rng, text, TOML_WORDS)
    lines = text.splitlines()
    for _ in range(rng.randint(1, 3)):
        at = rng.randrange(len(lines))
        key, sign, _ = lines[at].partition(" = ")
        if sign:
            values = (
                "-1",
                "0",
                "1e12",
                "inf",
                "nan",
                "-inf",
                '"x"',
                "[]",
                "[[1]]",
                "true",
                "{a = 1}",
                "0.3",
                "[0, 1]",
            )
            values += (
                '"\\u001b[2J"',
                f'"{"x" * 5000}"',
                "9" * 4000,
                "0x" + "f" * 4000,
                "1",
                "64",
                '"bifpn"',
                '"gn"',
            )
            lines[at] = f"{key} = {rng.choice(values)}"
    return "\n".join(lines).encode()


@target
def toml_configs():
    """Configurations: read, settled, and their networks built without memory."""

    def attempt(rng):
        path = Path("config.toml")
        path.write_bytes(change_config(rng))
        config = resolve(config_file=path)
        compare_configs(str(path))
        validate(read_toml(path), str(path))
        with torch.device("meta"):
            build_detector(config.model, num_classes=3, with_masks=True)

    return attempt


STUDY = """title = "t"
note = "n"
plot = "bars"
preset = "cascade-dprd"
columns = ["bbox_AP"]
pairs = [["a", "b"]]
[variants.a]
label = "A"
paper = {bbox_AP = 1.5}
[variants.b]
model.parts.sigma = 0.4
base = "a"
[variants.c]
base = "a"
part_offsets = "mean"
"""


@target
def study_files():
    """Studies of a user's own."""
    known = (
        *TOML_WORDS,
        "base = ",
        "[variants.d]",
        "model.parts.sigma = ",
        "part_offsets = ",
        '"c"',
        "train.steps = ",
    )

    def attempt(rng):
        path = Path("mine.toml")
        path.write_bytes(change_text(rng, STUDY, known))
        read_study(path)

    return attempt


# ---- weights --------------------------------------------------------------------------------------------


def tiny_payload():
    """Return the smallest checkpoint that can be loaded."""
    config = resolve(config_file=TINY)
    torch.manual_seed(0)
    state = build_detector(config.model, num_classes=2, with_masks=True).state_dict()
    return {
        "config": config.model_dump(mode="json"),
        "class_names": ["cat", "dog"],
        "category_ids": [1, 3],
        "with_masks": True,
        "model": state,
        "step": 7,
    }


def small_payload():
    """Return a checkpoint with a few tensors in place of a network's."""
    return {
        "config": resolve(config_file=TINY).model_dump(mode="json"),
        "class_names": ["cat", "dog"],
        "category_ids": [1, 3],
        "with_masks": False,
        "model": {f"layer{n}.weight": torch.arange(20.0).reshape(4, 5) for n in range(4)},
        "step": 7,
        "optimizer": {
            "state": {0: {"momentum": torch.ones(3)}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
        "interval": {"loss": (torch.tensor(1.0), 2)},
        "best": None,
        "data": {"train": "0" * 64},
    }


@target
def damaged_checkpoints():
    """Checkpoints with a checksum, `.pt` and safetensors: no damage loads."""
    whole = {}
    for suffix in (".pt", ".safetensors"):
        path = Path(f"sound{suffix}")
        save_checkpoint(path, small_payload()) if suffix == ".pt" else export_safetensors(
            small_payload(), path, {}
        )
        read_checkpoint(path)
        whole[suffix] = path.read_bytes()

    def attempt(rng):
        suffix = rng.choice((*whole,))
        data = change_bytes(rng, whole[suffix])
        path = Path(f"damaged{suffix}")
        path.write_bytes(data)
        try:
            read_checkpoint(path)
        except UserError as error:
            check_named(path, error)
        else:
            assert data == whole[suffix], "damage was not noticed"

    return attempt


HOSTILE = [torch.ones(2), torch.ones(2, 3), torch.empty(0), torch.tensor(True), torch.ones(1).expand(1000)]
HOSTILE += [
    b"x",
    (1, 2),
    2**70,
    -1,
    1e400,
    float("nan"),
    None,
    "\ud800",
    "\x1b[2J",
    "x" * 10**5,
    [],
    {},
    [[[[[]]]]],
]


@target
def checkpoint_structures():
    """Checkpoints whose parts are other things than they should be."""

    def attempt(rng):
        path = Path("odd.pt")
        content = {"format": "dprd-checkpoint", "version": 1, **small_payload()}
        content = change_tree(rng, content, [*HOSTILE, content["config"], content["model"]])
        if rng.random() < 0.2:
            loop = [content]
            loop *= 10
            content[rng.choice(("config", "step", "model", "best", "x"))] = loop
        with contextlib.suppress(UnicodeEncodeError):
            torch.save(content, path, _use_new_zipfile_serialization=rng.random() < 0.7)
        for read in (read_checkpoint, read_tensors):
            with contextlib.suppress(UserError):
                read(path)
        load_model(str(path), "cpu")

    return attempt


@target
def loaded_checkpoints():
    """Checkpoints of a real network with another configuration, classes or tensors."""
    whole = tiny_payload()

    def attempt(rng):
        content = {**whole, "model": dict(whole["model"])}
        kind = rng.randrange(3)
        if kind == 0:
            content["config"] = change_tree(rng, whole["config"])
        elif kind == 1:
            content |= change_tree(rng, {key: whole[key] for key in ("class_names", "category_ids", "step")})
        else:
            name = rng.choice((*content["model"],))
            tensor = content["model"].pop(name)
            odd = (
                tensor.int(),
                tensor.double(),
                tensor * float("nan"),
                tensor.flatten()[:1],
                tensor[None],
                None,
            )
            content["model"][rng.choice((name, name, "\x1b[2J"))] = rng.choice(odd)
        path = Path("loaded.pt")
        save_checkpoint(path, content)
        load_model(str(path), "cpu")

    return attempt


def zip_of(rng, pkl):
    """Return a zip file like PyTorch's with that pickle, and numbers in two storages."""
    file = io.BytesIO()
    packed = zipfile.ZIP_DEFLATED if rng.random() < 0.1 else zipfile.ZIP_STORED
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", packed) as archive:
        warnings.simplefilter("ignore")
        archive.writestr("a/data.pkl", pkl)
        for name, size in (("0", 16), ("1", 64), *((("0", 4),) if rng.random() < 0.1 else ())):
            archive.writestr(f"a/data/{name}", bytes(size))
    return file.getvalue()


@target
def pickle_programs():
    """Pickles of any opcodes, bare and in PyTorch's zip files."""
    traps = [Path(name) for name in ("x", "title")]

    def attempt(rng):
        content = pickles.program(rng)
        if rng.random() < 0.2:
            content = change_bytes(rng, content)
        kind = rng.randrange(3)
        path = Path(f"program{('.pkl', '.pt', '.pth')[kind]}")
        magic = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02M\xe9\x03." if kind == 2 else b""
        path.write_bytes(zip_of(rng, content) if kind == 1 else magic + content)
        try:
            read_foreign(path)
        finally:
            assert not any(map(Path.exists, traps))

    return attempt


def numpy_pickle():
    """Return a pickle such as Detectron2 publishes."""
    import pickle

    arrays = {
        f"w{n}": np.arange(24).astype(kind).reshape(4, 6) for n, kind in enumerate(("f4", "f8", "i8", "?"))
    }
    content = {"model": collections.OrderedDict(arrays), "__author__": "x", "flag": np.float32(2)}
    return [pickle.dumps(content, protocol) for protocol in (0, 2, 4, 5)]


@target
def damaged_pickles():
    """Pickles of arrays, and PyTorch's files without a checksum."""
    sound = numpy_pickle()
    states = []
    for zipped in (True, False):
        file = io.BytesIO()
        torch.save({"model": small_payload()["model"]}, file, _use_new_zipfile_serialization=zipped)
        states.append(file.getvalue())

    def attempt(rng):
        is_numpy = rng.random() < 0.5
        path = Path(f"damaged{'.pkl' if is_numpy else '.pth'}")
        path.write_bytes(change_bytes(rng, rng.choice(sound if is_numpy else states)))
        try:
            read_foreign(path)
        except UserError as error:
            check_named(path, error)

    return attempt


@target
def safetensors_files():
    """Safetensors whose headers are changed."""
    path = Path("sound.safetensors")
    export_safetensors(small_payload(), path, {})
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    about = json.loads(header["__metadata__"].pop("content"))
    for key in [key for key in header["__metadata__"] if key.startswith("dprd_check")]:
        del header["__metadata__"][key]

    def attempt(rng):
        own, inner = (
            (header, change_tree(rng, about)) if rng.random() < 0.5 else (change_tree(rng, header), about)
        )
        if isinstance(own.get("__metadata__"), dict):
            own = own | {"__metadata__": own["__metadata__"] | {"content": json.dumps(inner)}}
        text = json.dumps(own).encode()
        size = len(text) if rng.random() < 0.95 else rng.choice((0, 2**20, 2**40, 2**64 - 1))
        file = Path("odd.safetensors")
        file.write_bytes(struct.pack("<Q", size) + text + body)
        for read in (read_checkpoint, read_tensors, lambda place: load_model(str(place), "cpu")):
            try:
                read(file)
            except UserError as error:
                check_named(file, error)

    return attempt


# ---- results and runs -----------------------------------------------------------------------------------

RESULTS = [
    {"image_id": 1, "category_id": 1, "score": 0.9, "bbox": [1, 1, 8, 6]},
    {"image_id": 2, "category_id": 3, "score": 0.5, "bbox": [2, 2, 4, 4]},
]
MASKS = [{**row, "segmentation": {"size": [8, 12], "counts": "X1"}} for row in RESULTS]


@target
def results_files():
    """COCO's results."""

    def attempt(rng):
        path = Path("results.json")
        path.write_bytes(change_json(rng, rng.choice((RESULTS, MASKS))))
        truth = json.loads(json.dumps(TREE))
        for ann in truth["annotations"]:
            ann.setdefault("area", 16)
        try:
            rows = read_results(path, truth).rows
        except DataError as error:
            check_named(path, error)
            return
        with contextlib.redirect_stdout(io.StringIO()):
            collect_results(rows, truth, (1, 3), ("cat", "dog")).summarize()

    return attempt


METRICS = {"kind": "train", "step": 1, "loss": 2.0, "loss_rpn_cls": 0.5, "lr": 0.01, "seconds_per_step": 0.1}
METRICS |= {"grad_norm": 1.0, "part_iou": 0.5, "data_wait": 0.0}
SCORES = {"kind": "eval", "step": 2, "bbox_AP": 10.0, "segm_AP": 9.0, "recall50": 0.5, "images": 4}
AP = {
    "AP": 10.0,
    "AP50": 20.0,
    "AP75": 5.0,
    "APS": None,
    "APM": 1.0,
    "APL": 2.0,
    "AR1": 1,
    "AR10": 2,
    "AR100": 3,
}
EVALUATION = {
    "bbox": AP,
    "segm": AP,
    "classes": [
        {"name": "cat", "objects": 3, "bbox_ap": 1.0, "bbox_ap50": 2.0, "segm_ap": 1.0, "segm_ap50": 3.0}
    ],
    "recall50": 0.5,
    "split": "val",
    "images": 4,
}
ENVIRONMENT = {
    "dprd": "0.1",
    "commit": "abc",
    "packages": {"torch": "2"},
    "devices": [],
    "command": ["dprd", "train"],
}


@target
def run_folders():
    """A page about a run, or an ablation, from files of any content."""
    run = Path("study/run")
    run.mkdir(parents=True)
    sound = {
        "config.toml": to_toml(resolve(config_file=TINY)).encode(),
        "metrics.jsonl": "\n".join(map(json.dumps, (METRICS, SCORES, METRICS | {"step": 3}))).encode(),
        "environment.json": json.dumps(ENVIRONMENT).encode(),
        "results.json": json.dumps(EVALUATION).encode(),
        "plots/analysis.json": json.dumps({"confusion": {"classes": ["cat"], "counts": [[1, 0]]}}).encode(),
        "../study.json": json.dumps({"title": "t", "seeds": 3}).encode(),
        "../table.md": b"# t\n\ntext\n\n| a | b |\n|---|---|\n| 1 | 2 |\n",
        "../table.csv": b"a,b\n1,2\n",
        "../plot.png": sound_images()[0],
    }

    def changed(rng, name):
        if name == "config.toml":
            return change_config(rng)
        if name == "metrics.jsonl":
            rows = (change_json(rng, rng.choice((METRICS, SCORES))) for _ in range(4))
            return b"\n".join(rows)
        trees = {"environment.json": ENVIRONMENT, "results.json": EVALUATION}
        return change_json(rng, trees[name]) if name in trees else change_bytes(rng, sound[name])

    def attempt(rng):
        names = rng.sample((*sound,), rng.randint(1, 3))
        for name, content in sound.items():
            path = run / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(changed(rng, name) if name in names else content)
        output = OutputChoice(Path("page.html"), overwrite=True)
        page = write_report([rng.choice(("study", "study/run"))], output, ReportOptions(evaluate=False))
        json.dumps(page.to_json())
        assert "\x1b" not in Path("page.html").read_text()

    return attempt


# ---- command lines --------------------------------------------------------------------------------------


@target
def command_lines():
    """Every command with odd values of its options."""
    images(Path("a.png"), Path("data/images/a.png"), Path("data/images/b.png"))
    for split in ("train", "val"):
        Path(f"data/{split}.json").write_text(json.dumps(TREE))
    save_checkpoint(Path("tiny.pt"), tiny_payload())
    Path("broken.pt").write_bytes(Path("tiny.pt").read_bytes()[:5000])
    Path("data.yaml").write_text(YAML)
    Path("mine.toml").write_text(STUDY)
    Path("run").mkdir()
    Path("run/config.toml").write_text(to_toml(resolve(config_file=TINY)))

    def attempt(rng):
        argv = options.command_line(rng)
        Path("argv").write_text(ascii(argv))
        with contextlib.redirect_stderr(io.StringIO()) as err:
            code = cli.run(argv)
        sys.stdout.flush()
        assert code in (0, 1, 2, 3), (argv, code, err.getvalue())
        assert "this is a bug" not in err.getvalue(), (argv, err.getvalue())

    return attempt
