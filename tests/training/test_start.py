import pytest

from dprd_cli.config.presets import resolve
from dprd_cli.config.tree import to_toml
from dprd_cli.errors import UsageError, UserError
from dprd_cli.training.start import TrainOptions, find_run, new_config, new_folder, resumed_config


def test_options_become_keys_and_overrides_win():
    options = TrainOptions(
        data="synthetic", preset="dprd-small", backbone="r18", steps=5, overrides=["train.steps=6"]
    )
    config = new_config(options)
    assert (config.preset, config.model.backbone.name, config.train.steps) == ("dprd-small", "r18", 6)


def test_a_detector_to_start_from_brings_no_other_backbone_weights():
    config = new_config(TrainOptions(data="synthetic", weights="demo"))
    assert (config.train.weights, config.model.backbone.weights) == ("demo", "none")
    assert config.preset == "cascade-dprd-small"  # the checkpoint's


def test_the_built_in_data_is_named(caplog):
    with caplog.at_level("INFO", logger="dprd_cli"):
        new_config(TrainOptions())
    assert "training on the built-in data" in caplog.text


def test_a_changed_batch_changes_the_rate_of_a_resumed_run(tmp_path, caplog):
    config = resolve(preset="dprd-small", overrides=["train.batch_size=4", "train.lr=0.01"])
    (tmp_path / "config.toml").write_text(to_toml(config))
    with caplog.at_level("INFO", logger="dprd_cli"):
        changed = resumed_config(tmp_path, TrainOptions(batch_size=16))
    factor = 4 if config.train.optimizer == "sgd" else 2  # linearly, or by the square root
    assert changed.train.lr == pytest.approx(0.01 * factor)
    assert "learning rate" in caplog.text
    kept = resumed_config(tmp_path, TrainOptions(batch_size=16, overrides=["train.lr=0.02"]))
    assert kept.train.lr == 0.02


def test_what_a_run_keeps_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"--preset, --config: a run is resumed with its own"):
        find_run(tmp_path, TrainOptions(preset="dprd", config_file=tmp_path / "a.toml"))
    with pytest.raises(UserError, match="no such run"):
        find_run(tmp_path / "gone", TrainOptions())
    assert find_run(tmp_path, TrainOptions(data="moved", steps=9)) == tmp_path


def test_a_folder_into_which_nothing_was_written_goes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(KeyError), new_folder(resolve(), None) as folder:
        raise KeyError
    assert not folder.exists()
    with new_folder(resolve(), None) as folder:
        pass
    assert folder.exists()
