"""From options to a configuration, a folder and a run: new ones, and those that are resumed."""

from dataclasses import replace
from pathlib import Path

import pytest

from dprd_cli.config.tree import to_toml
from dprd_cli.errors import UsageError, UserError
from dprd_cli.training import loop
from dprd_cli.training.start import (
    TrainOptions,
    begun_run,
    find_run,
    new_config,
    new_folder,
    resumed_config,
    run_training,
)
from paths import TINY
from training_runs import tiny


def test_settings_say_the_same_as_the_options():
    """Weights named in a file or by --set ask for their backbone and pixels, as the options do."""
    for setting in (
        'train.weights="detectron2:COCO-InstanceSegmentation/mask_rcnn_R_50_FPN_3x"',
        'model.backbone.weights="detectron2:MSRA/R-50"',
    ):
        config = new_config(TrainOptions(overrides=[setting]))
        assert config.model.backbone.stride_in_1x1
        assert config.model.backbone.norm == "frozen_bn"
        assert config.model.pixel_std == (1.0, 1.0, 1.0)


def test_a_preset_in_the_file_wins_over_the_checkpoints(tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('preset = "mask-rcnn-small"\n')
    demo = TrainOptions(weights="demo", config_file=path)
    assert new_config(demo).preset == "mask-rcnn-small"
    assert new_config(replace(demo, overrides=["preset=dprd-small"])).preset == "dprd-small"
    assert new_config(replace(demo, config_file=None)).preset == "cascade-dprd-small"  # the checkpoint's


def test_options_are_keys_and_overrides_win():
    options = TrainOptions(config_file=TINY, steps=7, batch_size=3, device="cpu", on_bad_image="skip")
    config = new_config(options)
    assert (config.train.steps, config.train.batch_size, config.train.device) == (7, 3, "cpu")
    assert config.data.on_bad_image == "skip"
    config = new_config(replace(options, backbone="r18", overrides=["train.steps=9"]))
    assert (config.train.steps, config.model.backbone.name) == (9, "r18")


def test_imagenet_is_a_backbones_weights():
    weights = TrainOptions(data="x", preset="dprd", weights="imagenet", schedule="1x")
    config = new_config(weights)
    assert (config.model.backbone.weights, config.train.weights) == ("imagenet", "")
    # a whole detector brings its backbone
    assert new_config(TrainOptions(data="x", weights="demo", schedule="1x")).model.backbone.weights == "none"


def test_the_built_in_data_is_said_where_it_was_not_asked_for(caplog):
    caplog.set_level("INFO", logger="dprd_cli")
    new_config(TrainOptions(config_file=TINY))
    assert [record.getMessage() for record in caplog.records] == [
        "no --data given: training on the built-in data (drawn on the fly; see `dprd data synth`)"
    ]
    caplog.clear()
    new_config(TrainOptions(config_file=TINY, data="synthetic"))
    assert not caplog.records


@pytest.fixture
def saved(tmp_path):
    (tmp_path / "config.toml").write_text(to_toml(tiny()))
    return tmp_path


def test_a_resumed_run_has_its_own_configuration_and_what_is_given_anew(saved):
    assert resumed_config(saved, TrainOptions()) == tiny()
    config = resumed_config(saved, TrainOptions(steps=9, overrides=["train.save_every=5"]))
    assert config == tiny("train.steps=9", "train.save_every=5")


def test_another_batch_has_another_rate_unless_one_is_given(saved, caplog):
    caplog.set_level("INFO", logger="dprd_cli")
    config = resumed_config(saved, TrainOptions(batch_size=8))
    # AdamW: by the square root of 8 / 2
    assert config.train.lr == pytest.approx(2e-3 * 2)
    assert "learning rate 0.004" in caplog.records[0].getMessage()
    config = resumed_config(saved, TrainOptions(batch_size=8, overrides=["train.lr=0.5"]))
    assert config.train.lr == 0.5


def test_what_a_run_keeps_cannot_be_given(saved):
    for name in ("preset", "backbone", "weights", "backbone_weights", "schedule", "image_size", "seed"):
        option = f"--{name.replace('_', '-')}"
        with pytest.raises(UsageError, match=rf"^{option}: a run is resumed with its own"):
            find_run(saved, TrainOptions(**{name: "x"}))
    with pytest.raises(UsageError, match=r"^--config: "):
        find_run(saved, TrainOptions(config_file=TINY))


def test_the_run_is_the_one_given_or_the_newest(saved, tmp_path, monkeypatch, caplog):
    (saved / "last.pt").touch()
    assert find_run(saved, TrainOptions()) == find_run(saved / "last.pt", TrainOptions()) == saved
    with pytest.raises(UserError, match="no such run: gone"):
        find_run(Path("gone"), TrainOptions())
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(UserError, match=r"no run to resume in runs/"):
        find_run(None, TrainOptions())
    with pytest.raises(UserError, match=r"it has no config\.toml"):
        resumed_config(empty, TrainOptions())


def write_then_fail(folder):
    for _ in range(2):
        (folder / "file").touch(exist_ok=False)


def test_a_folder_into_which_nothing_was_written_goes_again(tmp_path):
    with pytest.raises(KeyError), new_folder(tiny(), tmp_path / "empty"):
        raise KeyError
    assert not (tmp_path / "empty").exists()
    with pytest.raises(FileExistsError), new_folder(tiny(), tmp_path / "kept") as folder:
        write_then_fail(folder)
    assert (tmp_path / "kept" / "file").exists()
    with new_folder(tiny(), tmp_path / "out") as folder:
        pass
    assert folder.is_dir()


def test_a_run_goes_on_where_its_processes_were_started_again_and_had_begun(tmp_path, monkeypatch):
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.toml").touch()
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    assert begun_run(tmp_path / "begun") is None
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert begun_run(tmp_path / "begun") == tmp_path / "begun"
    assert begun_run(tmp_path) is begun_run(None) is None


def test_new_runs_and_resumed_ones_are_trained_in_their_folder(tmp_path, monkeypatch):
    asked = []

    def train(config, folder, *, resume, group, on_progress):
        asked.append((config, folder, resume, group.size))
        on_progress(1, 1)
        return folder

    monkeypatch.setattr(loop, "train", train)
    told = []
    tell = lambda done, total: told.append((done, total))  # noqa: E731
    assert run_training(tiny(), out=tmp_path / "new", on_progress=tell) == tmp_path / "new"
    assert run_training(tiny(), tmp_path / "new", on_progress=tell) == tmp_path / "new"
    assert told == [(1, 1), (1, 1)]
    assert asked == [(tiny(), tmp_path / "new", False, 1), (tiny(), tmp_path / "new", True, 1)]
