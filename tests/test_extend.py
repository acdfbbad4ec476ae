"""docs/extend.md: every example is run as it stands, by the way that its own command takes."""

import json
import re
import sys
import types

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dprd_cli import cli, load, train
from dprd_cli.config import registry
from dprd_cli.config.plugins import load_plugins
from dprd_cli.config.presets import resolve
from dprd_cli.config.schema import DataConfig
from dprd_cli.data.augment import Draw
from dprd_cli.data.build import build_dataset
from dprd_cli.data.synthetic.dataset import SyntheticDataset
from dprd_cli.model.build import build_detector
from dprd_cli.structures.detections import Target
from dprd_cli.training.metrics_log import read_metrics
from paths import TINY
from plugin_files import EXAMPLES, PAGE, forget, forgotten, write_example


@pytest.fixture(autouse=True)
def _no_plugins(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    with forgotten():
        yield


def test_each_kind_has_an_example_of_twenty_lines():
    kinds = {kind for code in EXAMPLES.values() for kind in re.findall(r"^@register\.(\w+)", code, re.M)}
    assert kinds == set(registry.REGISTRIES)
    for name, code in EXAMPLES.items():
        lines = [line for line in code.splitlines() if line and not line.startswith(("import", "from"))]
        assert len(lines) <= 20, name
        assert f"--plugin {name}" in PAGE


def test_a_backbone_of_twenty_lines_trains_evaluates_exports_and_resumes(tmp_path, capsys):
    plugin = write_example(tmp_path, "plain.py")
    small = ["--config", str(TINY), "--plugin", "plain.py", "--backbone", "plain", "--out", "run"]
    assert cli.run(["train", *small, "--steps", "2"]) == 0
    assert f"plugin {plugin}: running its code" in capsys.readouterr().err
    assert f'plugins = ["{plugin}"]' in (tmp_path / "run" / "config.toml").read_text()

    forget()  # a new process: the run's own configuration names it, and it was named before
    assert cli.run(["train", "--resume", "run", "--steps", "3"]) == 0
    forget()
    capsys.readouterr()
    assert cli.run(["eval", "--weights", "run/last.pt", "--no-plots", "--json"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["step"] == 3
    assert f"plugin {plugin}: running its code" in err
    forget()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save("a.png")  # where all is alike, so are scores, and any of them may be kept
    assert cli.run(["export", "run", "--out", "plain.onnx", "--check", "a.png"]) == 0
    forget()
    assert len(load("run/last.pt", device="cpu").predict(["a.png"])) == 1
    assert cli.run(["info", "--plugin", "plain.py", "--backbone", "plain"]) == 0
    forget()

    (tmp_path / "run" / "last.pt").rename(tmp_path / "alone.pt")  # as it comes from somebody else
    capsys.readouterr()
    assert cli.run(["eval", "--weights", "alone.pt", "--no-plots"]) == 2
    assert capsys.readouterr().err == (
        f"error: alone.pt: needs the plugin {plugin}, whose code runs only if you name it: "
        f"--plugin {plugin}\n"
    )
    assert cli.run(["eval", "--weights", "alone.pt", "--no-plots", "--plugin", str(plugin)]) == 0


@pytest.mark.parametrize(
    ("change", "line"),
    [
        (("widths[2:]", "widths[1:5]"), "say [[1, 16, 16, 16], [1, 16, 8, 8], [1, 24, 4, 4], [1, 32, 2, 2]]"),
        (("stride=2", "stride=1"), "of an image [1, 3, 64, 64] it makes [[1, 16, 64, 64], "),
        (("outside), nn.ReLU", "inside), nn.ReLU"), "backbone 'plain' of dprd_plugin_"),
        (("return Backbone(", "return (lambda *_: body)("), "not a Backbone, but a ModuleDict"),
    ],
)
def test_a_backbone_that_gives_other_maps_is_told_so(tmp_path, capsys, change, line):
    path = write_example(tmp_path, "plain.py")
    path.write_text(path.read_text().replace(*change))
    arguments = ["--plugin", "plain.py", "--backbone", "plain"]
    assert cli.run(["info", "--preset", "mask-rcnn-small", *arguments]) in (1, 2)
    assert line in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("apart.py", "model.neck.name=apart"),
        ("template.py", "model.parts.mode=template"),
        ("mean.py", "model.fusion.name=mean"),
    ],
)
def test_a_module_learns_and_detects(tmp_path, name, override):
    load_plugins([str(write_example(tmp_path, name))])
    assert f"--set {override}" in PAGE
    torch.manual_seed(0)
    config = resolve(config_file=TINY, overrides=[override, "model.backbone.name=r10"])
    detector = build_detector(config.model, num_classes=2, with_masks=False)
    boxes = torch.tensor([[8.0, 8.0, 40.0, 48.0]])
    images = [torch.rand(3, 64, 64) * 255]
    losses = detector(images, [Target(boxes, torch.tensor([1]), (64, 64))])
    sum(losses.losses.values()).backward()
    gradients = {name: parameter.grad for name, parameter in detector.named_parameters()}
    assert [name for name, grad in gradients.items() if grad is None or not grad.isfinite().all()] == []
    assert len(detector.eval()(images)) == 1


def test_an_augmentation_changes_the_image_alone(tmp_path):
    load_plugins([str(write_example(tmp_path, "blur.py"))])
    names = json.loads(re.search(r"data\.augmentations=(\[.*?\])", PAGE)[1])
    sample = SyntheticDataset("train", 1, 64, 0)[0]
    config = DataConfig(augmentations=names)
    blurred = 0
    for seed in range(8):
        changed = registry.augmentation.call("blur", sample, Draw(np.random.default_rng(seed), config))
        blurred += not np.array_equal(changed.image, sample.image)
        assert np.array_equal(changed.boxes, sample.boxes)
    assert 0 < blurred < 8


def test_a_reader_finds_checks_and_divides_its_data(tmp_path):
    load_plugins([str(write_example(tmp_path, "table.py"))])
    folder = tmp_path / "data"
    folder.mkdir()
    lines = []
    for number in range(10):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((48, 64, 3), 20 * number, dtype=np.uint8))
        lines.append(f"{number}.png,{'cat' if number % 2 else 'dog'},4,5,{30 + number},40\n")
    (folder / "objects.csv").write_text("".join(lines))
    config = DataConfig(path=str(folder), check_images=False)
    split = build_dataset(config, "train")
    assert split.class_names == ("cat", "dog")
    assert len(split) + len(build_dataset(config, "val", training=split)) == 10
    row = next(index for index in range(len(split)) if split[index].file_name == "0.png")
    assert split[row].boxes.tolist() == [[4, 5, 30, 40]]


def test_a_metric_is_measured_in_training_and_can_choose_the_best(tmp_path):
    plugin = write_example(tmp_path, "counting.py")
    result = train(
        config=TINY,
        plugins=[plugin],
        backbone="r10",
        steps=1,
        overrides=["train.best_metric=counting"],
        out="run",
    )
    assert result.evaluation.metrics["counting"] <= 0
    row = read_metrics(tmp_path / "run" / "metrics.jsonl")[-1]
    assert row["counting"] == result.evaluation.metrics["counting"]
    assert result.best is not None


class FakeTracker(types.ModuleType):
    """Takes a tracker's place: notes every call, and answers each with itself."""

    def __init__(self, name):
        super().__init__(name)
        self.calls, self.fails = [], False
        self.info = types.SimpleNamespace(run_id="7")

    def get_key(self):
        return "7"

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*arguments, **named):
            self.calls.append((name, arguments, named))
            if self.fails:
                raise ConnectionError("no network")
            return self

        return call


@pytest.mark.parametrize(
    ("name", "module", "started"),
    [("mlflow_logger.py", "mlflow", "start_run"), ("comet_logger.py", "comet_ml", "start")],
)
def test_a_logger_gets_numbers_and_images_and_never_breaks_a_run(
    tmp_path, monkeypatch, capsys, name, module, started
):
    fake = FakeTracker(module)
    monkeypatch.setitem(sys.modules, module, fake)
    logger = re.search(rf"--plugin {name} --set (train\.loggers=\w+)", PAGE)[1]
    path = write_example(tmp_path, name)
    line = ["train", "--config", str(TINY), "--backbone", "r10", "--plugin", str(path), "--set", logger]
    assert cli.run([*line, "--steps", "1", "--out", "run"]) == 0
    calls = {call: (arguments, named) for call, arguments, named in fake.calls}
    numbers, named = calls["log_metrics"]
    assert named == {"step": 1}
    assert "eval/bbox_AP50" in numbers[0] or "eval/recall50" in numbers[0]
    assert any("parts_step1.png" in str(call) for call in fake.calls)
    assert next(reversed(calls)) in ("end_run", "end")

    fake.calls.clear()
    assert cli.run(["train", "--resume", "run", "--steps", "2"]) == 0
    assert "7" in str(next(call for call in fake.calls if call[0] == started))  # the same run goes on

    fake.fails = True
    capsys.readouterr()
    assert cli.run(["train", "--resume", "run", "--steps", "3"]) == 0
    assert f"{logger.partition('=')[2]} failed (no network); going on without it" in capsys.readouterr().err
