"""What a run draws leaves the network as it was, and shows something however early it is."""

import pytest
import torch

from dprd_cli.data.loading import TrainLoader
from dprd_cli.files.images import read_image
from dprd_cli.structures.detections import Detections
from dprd_cli.training import figures
from dprd_cli.training.figures import CurveDrawer, draw_batch, draw_curves, draw_parts
from dprd_cli.training.setup import set_up
from training_runs import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def made():
    return set_up(tiny())


def detections(*scores):
    return Detections(
        torch.tensor([0.0, 0.0, 9.0, 9.0]).repeat(len(scores), 1), torch.tensor(scores),
        torch.zeros(len(scores), dtype=torch.int64), (16, 16),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("scores", "shown"),
    [((), 0), ((0.1, 0.05), 2), ((0.4, 0.3, 0.2, 0.1), 3), ((0.9, 0.8, 0.7, 0.6, 0.4), 4)],
)
def test_sure_detections_are_drawn_and_the_first_three_anyway(scores, shown):
    assert len(figures._best(detections(*scores))) == shown


def test_a_batch_is_drawn_with_its_objects(made, tmp_path):
    config = tiny()
    loader = TrainLoader(made.train_set, config.data, batch_size=5, seed=0, steps=1)
    images, targets = next(iter(loader))
    draw_batch(images, targets, made.train_set.class_names, tmp_path / "with.png")
    none = [
        type(target)(target.boxes[:0], target.labels[:0], target.image_size, target.masks[:0])
        for target in targets
    ]
    draw_batch(images, none, made.train_set.class_names, tmp_path / "without.png")
    drawn, plain = (read_image(tmp_path / f"{name}.png", 1 << 30) for name in ("with", "without"))
    assert drawn.shape == plain.shape
    assert abs(drawn.shape[1] - 1280) < 8
    assert (drawn != plain).any()


@pytest.mark.parametrize("training", [True, False])
def test_drawing_parts_changes_nothing(made, tmp_path, training):
    made.detector.train(training)
    before = {key: value.clone() for key, value in made.detector.state_dict().items()}
    threshold = made.detector.roi_heads.selector.score_thresh
    draw_parts(made.detector, made.val_set, tiny(), CPU, tmp_path / "parts.png")
    assert read_image(tmp_path / "parts.png", 1 << 30).shape[1] == 1280
    assert made.detector.training is training
    assert made.detector.roi_heads.selector.score_thresh == threshold > 0
    assert all(torch.equal(value, before[key]) for key, value in made.detector.state_dict().items())


def test_a_threshold_comes_back_after_an_error(made, tmp_path, monkeypatch):
    threshold = made.detector.roi_heads.selector.score_thresh

    def broken(images):
        assert made.detector.roi_heads.selector.score_thresh == 0
        raise RuntimeError

    monkeypatch.setattr(made.detector, "detect", broken)
    with pytest.raises(RuntimeError):
        draw_parts(made.detector, made.val_set, tiny(), CPU, tmp_path / "parts.png")
    assert made.detector.roi_heads.selector.score_thresh == threshold


def test_curves_are_of_the_rows(straight, tmp_path):
    from dprd_cli.training.metrics_log import read_metrics

    draw_curves(read_metrics(straight[0] / "metrics.jsonl"), tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"loss.png", "ap.png", "parts.png"}


def test_curves_take_a_twentieth_of_the_time_at_most(tmp_path, monkeypatch):
    now, drawn = [0.0], []

    def draw(rows, folder):
        drawn.append((now[0], len(rows), folder))
        now[0] += 2.0

    monkeypatch.setattr(figures, "draw_curves", draw)
    drawer = CurveDrawer(tmp_path, clock=lambda: now[0])
    for second in range(0, 101, 10):
        now[0] = max(now[0], float(second))
        drawer.if_cheap([{}] * second)
    # two seconds from 0 s on, then not before 2 + 2 / 0.05 = 42 s
    assert drawn == [(0.0, 0, tmp_path), (50.0, 50, tmp_path), (100.0, 100, tmp_path)]
    drawer.now([])  # when a run ends, in any case
    assert len(drawn) == 4


def test_curves_that_cannot_be_drawn_are_said_and_break_nothing(tmp_path, monkeypatch, caplog):
    caplog.set_level("INFO", logger="dprd_cli")

    def fail(rows, folder):
        raise ZeroDivisionError("by nothing")

    monkeypatch.setattr(figures, "draw_curves", fail)
    CurveDrawer(tmp_path).now([])
    assert [record.getMessage() for record in caplog.records] == ["the curves could not be drawn: by nothing"]
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    CurveDrawer(tmp_path / "file").now([{"kind": "train", "step": 1, "loss": 1.0}])
