"""For all tests: a tiny VOC folder, a detector without a network, a tiny checkpoint, a cache folder."""

import os
import signal
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import Config
from dprd_cli.model.build import build_detector
from dprd_cli.structures.detections import CascadeTrace, Detections
from dprd_cli.weights.checkpoint import save_checkpoint
from paths import TINY

# a shell script's background job ignores Ctrl-C, and nohup the end of a terminal: not so in tests
for number, usual in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, usual)
# programs that tests start decide for themselves: where bfloat16 is emulated it is not faster
os.environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX512_CORE")
WIDTH, HEIGHT = 64, 48
XML = """<annotation>
  <folder>VOC</folder><filename>{name}.jpg</filename>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
  <segmented>0</segmented>{objects}
</annotation>
"""
OBJECT = """
  <object>
    <name>{name}</name><pose>Left</pose><truncated>0</truncated><difficult>{difficult}</difficult>
    <bndbox><xmin>{box[0]}</xmin><ymin>{box[1]}</ymin><xmax>{box[2]}</xmax><ymax>{box[3]}</ymax></bndbox>
  </object>"""


@pytest.fixture(autouse=True)
def in_float32(monkeypatch):
    """Let no number that a test expects depend on what this machine's CPU has for bfloat16."""
    monkeypatch.setattr("dprd_cli.runtime.precision.bf16_instructions", str)


class VocFolder:
    """Writes one year's folder; boxes are VOC's: (xmin, ymin, xmax, ymax) from 1, both ends included."""

    def __init__(self, path):
        self.path = Path(path)
        for part in ("JPEGImages", "Annotations", "ImageSets/Main"):
            (self.path / part).mkdir(parents=True, exist_ok=True)

    def image(self, name, *objects, masks=False):
        """Write an image of noise with (class, box[, difficult]) objects, and boxes as masks."""
        noise = np.random.default_rng(len(objects)).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        values = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        texts = []
        for number, (kind, box, *difficult) in enumerate(objects, start=1):
            texts.append(OBJECT.format(name=kind, box=box, difficult=int(any(difficult))))
            xmin, ymin, xmax, ymax = box
            noise[ymin - 1 : ymax, xmin - 1 : xmax] = 40 * number
            values[ymin - 1 : ymax, xmin - 1 : xmax] = 255
            values[ymin : ymax - 1, xmin : xmax - 1] = number  # within the void border
        Image.fromarray(noise).save(self.path / "JPEGImages" / f"{name}.jpg")
        self.xml(name).write_text(XML.format(name=name, width=WIDTH, height=HEIGHT, objects="".join(texts)))
        if masks:
            self.masks(name, values)
        return self

    def masks(self, name, values):
        """Write an image's instance masks as a palette PNG."""
        image = Image.fromarray(values, mode="P")
        image.putpalette([(31 * i + j) % 256 for i in range(256) for j in range(3)])
        self.png(name).parent.mkdir(exist_ok=True)
        image.save(self.png(name))

    def lists(self, **names):
        """Write image lists, such as trainval="000001 000002"."""
        for key, value in names.items():
            path = self.path / "ImageSets" / "Main" / f"{key}.txt"
            path.write_text("".join(f"{name}\n" for name in value.split()))
        return self

    def xml(self, name):
        """Return the path of an image's annotations."""
        return self.path / "Annotations" / f"{name}.xml"

    def png(self, name):
        """Return the path of an image's masks."""
        return self.path / "SegmentationObject" / f"{name}.png"


@pytest.fixture
def voc_folder():
    """Make a year's folder at a path."""
    return VocFolder


@pytest.fixture
def devkit(tmp_path):
    """Make VOC2007 with trainval and test, and VOC2012 with trainval and a few masks."""
    root = tmp_path / "VOCdevkit"
    dog, cat = ("dog", (5, 5, 34, 40)), ("cat", (20, 10, 60, 45))
    old = VocFolder(root / "VOC2007")
    old.image("000005", dog).image("000007", cat, ("dog", (2, 2, 15, 15), True)).image("000009")
    old.image("000001", dog, ("cat", (40, 4, 63, 20), True)).image("000002", cat, dog)
    old.lists(train="000005", val="000007 000009", trainval="000005 000007 000009", test="000001 000002")
    new = VocFolder(root / "VOC2012")
    new.image("2007_000027", ("person", (10, 3, 30, 44)), masks=True).image(
        "2008_000002", ("dog", (8, 8, 50, 40))
    )
    new.lists(train="2007_000027", val="2008_000002", trainval="2007_000027 2008_000002")
    return root


class LeftHalf(nn.Module):
    """Finds the left half of every image, twice."""

    precision = "fp32"

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen = []
        self.device = torch.device("cpu")

    def detect(self, images, *, masks=True, evidence_from=None):
        self.seen += [tuple(image.shape) for image in images]
        assert all(image.dtype == torch.uint8 for image in images)
        found = [self._one(*image.shape[1:]) for image in images]
        traces = [
            CascadeTrace(d.boxes[:, None], d.labels[:, None, None].repeat(1, 1, 2), None, d.image_size)
            for d in found
        ]
        return SimpleNamespace(detections=found, traces=traces)

    def _one(self, height, width):
        box = torch.tensor([0.0, 0.0, width / 2, height])
        return Detections(
            box.repeat(2, 1),
            torch.tensor([0.9, 0.2]),
            torch.tensor([0, 0]),
            (height, width),
            masks=torch.ones(2, 28, 28),
            part_boxes=box.repeat(2, 4, 1),
        )


def _left_half(min_size=64, max_size=128):
    config = Config()
    data = config.data.model_copy(update={"test_min_size": min_size, "max_size": max_size})
    return SimpleNamespace(
        detector=LeftHalf(),
        config=config.model_copy(update={"data": data}),
        class_names=("cat", "dog"),
        category_ids=(3, 7),
        shown_from=0.5,
    )


@pytest.fixture
def left_half():
    """Make a loaded model that finds the left half of every image."""
    return _left_half


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A detector that was never trained, each of whose parts lies a little off its reference."""
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.pt"
    config = resolve(config_file=TINY, overrides=["model.test.score_thresh=0.0"])
    torch.manual_seed(0)
    state = build_detector(config.model, num_classes=6, with_masks=True).state_dict()
    torch.nn.init.normal_(state["roi_heads.parts.layer.bias"], std=0.1)
    payload = {
        "config": config.model_dump(mode="json"),
        "class_names": ["tadpole", "dumbbell", "flower", "fan", "lizard", "squid"],
        "category_ids": [1, 2, 3, 4, 5, 6],
        "with_masks": True,
        "model": state,
        "step": 3,
    }
    save_checkpoint(path, payload)
    return str(path)


@pytest.fixture(autouse=True)
def _cache_folder(tmp_path_factory, monkeypatch):
    """Keep what is remembered of images out of the user's cache folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _no_lines_about_time(monkeypatch):
    """Let no test's output depend on how slow the machine is."""
    monkeypatch.setattr("dprd_cli.runtime.progress.EVERY", 1e6)
